"""R6: one work is summed over one set only. What this node took part in is remembered for ever.

A work is the same code, parameters and model; a data version that took part in one attempt of it
may take part in another only if the first is sealed for this member, or shows the very same set
(aggregation.md 5.9).
"""

from __future__ import annotations

from collections.abc import Mapping

from comity.commons.attempts import End, Ended, JoinFact, Live, Opened, opened_of, started_of
from comity.errors import Refused, Rule
from comity.node.station import Station
from comity.storage.ports import Attempt, Ending, WorkRecord
from comity.values import DatasetId, Digest, MemberId, Seat, roster_digest


def work_record(
    opened: Opened,
    scope: Attempt,
    dataset: DatasetId,
    version: Digest,
    *,
    committed: bool = False,
    confirmed: bool = False,
    revealed: bool = False,
    survivors: frozenset[MemberId] | None = None,
    ending: Ending = Ending.OPEN,
) -> WorkRecord:
    """That my data version takes part in the work of an attempt."""
    return WorkRecord(
        dataset=dataset,
        version=version,
        work=opened.work,
        attempt=scope,
        roster=_roster(opened),
        threshold=opened.quorum,
        committed=committed,
        confirmed=confirmed,
        revealed=revealed,
        survivors=survivors,
        ending=ending,
    )


def joined_data(
    station: Station, opened: Opened, joins: Mapping[Seat, JoinFact]
) -> tuple[DatasetId, Digest] | None:
    """The data version of mine that an attempt is about: of my Join, else of my consent now.

    A consent that changed or ended since the Join changes nothing about what was joined.
    """
    seat = opened.seat(station.member)
    mine = joins.get(seat) if seat is not None else None
    if mine is not None and mine.datasets:
        return mine.datasets[0].dataset, mine.datasets[0].version
    consent = station.replica.state.studies[opened.study].consents.get(station.member)
    return None if consent is None else (consent.dataset, consent.version)


def check_work(
    station: Station,
    opened: Opened,
    dataset: DatasetId,
    version: Digest,
    *,
    but: Attempt | None = None,
) -> None:
    """Refuse an attempt whose work might be summed over a second set (R6).

    Asked before the Join, and again before the Commit and the Confirm: meanwhile a twin of the
    study may have taken the work further.

    Args:
        but: this very attempt, once it is in the works itself.
    Raises:
        Refused(WORK_SUMMED_BEFORE): and what would have to hold.
    """
    for past in station.journal.works(dataset, version, opened.work):
        if past.attempt == but or not (past.committed or past.confirmed or past.revealed):
            continue
        if past.ending is Ending.SEALED:
            continue
        same_roster = past.roster == _roster(opened) and past.threshold == opened.quorum
        ended = past.ending in (Ending.ACCEPTED, Ending.BURNED)
        if not (ended and same_roster and past.survivors is not None):
            raise Refused(
                Rule.WORK_SUMMED_BEFORE,
                f"this work was begun in round {past.attempt.round_no}, attempt"
                f" {past.attempt.attempt}; it may be repeated only over the same members, or once"
                " that attempt is sealed",
            )


def only_set(
    station: Station,
    opened: Opened,
    dataset: DatasetId,
    version: Digest,
    *,
    but: Attempt | None = None,
) -> frozenset[MemberId] | None:
    """The one set over which I may confirm this work; None while every set is open."""
    for past in station.journal.works(dataset, version, opened.work):
        if past.attempt == but:
            continue
        if past.ending in (Ending.ACCEPTED, Ending.BURNED) and past.survivors is not None:
            return past.survivors
    return None


def ended_works(station: Station, ended: Ended, scope: Attempt) -> list[WorkRecord]:
    """What an ended attempt becomes in memory: sealed only if it is sealed for me (R5)."""
    promised = station.journal.promised(scope)
    if "round.commit" not in promised and "round.confirm" not in promised:
        return []
    return _works(station, ended, scope, frozenset(promised))


def forgotten_works(station: Station, attempt: Live | Ended, scope: Attempt) -> list[WorkRecord]:
    """What a node that lost its memory takes for true of an attempt it was in (R8).

    It counts itself as having committed if the attempt was started, and as having said only what
    the log shows: an Abandon that is there was true.
    """
    opened = opened_of(attempt)
    seat = opened.seat(station.member)
    if seat is None or started_of(attempt) is None:
        return []
    said = {"round.commit"}
    mine = attempt.abandons.get(seat)
    if mine is not None:
        said |= {"round.abandon", "round.reveal"} if mine.released else {"round.abandon"}
    return _works(station, attempt, scope, frozenset(said))


def _works(
    station: Station, attempt: Live | Ended, scope: Attempt, said: frozenset[str]
) -> list[WorkRecord]:
    opened, started = opened_of(attempt), started_of(attempt)
    about = joined_data(station, opened, started.joins if started else {})
    if about is None:
        return []
    sets = sorted(attempt.sets, key=sorted) if isinstance(attempt, Ended) else []
    return [
        work_record(
            opened,
            scope,
            *about,
            committed="round.commit" in said,
            confirmed="round.confirm" in said,
            revealed="round.reveal" in said,
            survivors=sets[0] if len(sets) == 1 else None,
            ending=_ending(attempt, said) if isinstance(attempt, Ended) else Ending.OPEN,
        )
    ]


def _ending(ended: Ended, said: frozenset[str]) -> Ending:
    match ended.end:
        case End.UNSTARTED:
            # Another host's log may not hold the Start that I acted on: what I did stays done.
            acted = said & {"round.commit", "round.confirm", "round.reveal"}
            return Ending.OPEN if acted else Ending.UNSTARTED
        case End.ACCEPTED:
            return Ending.ACCEPTED
        case End.BURNED:
            return Ending.BURNED
        case End.SEALED:
            if "round.abandon" not in said:
                return Ending.OPEN
            if "round.reveal" not in said:
                return Ending.SEALED
            unreleased = {seat for seat, fact in ended.abandons.items() if not fact.released}
            survived = ended.closed.survivors if ended.closed else frozenset()
            enough = len(unreleased & survived) >= ended.opened.colluders + 1
            return Ending.SEALED if enough else Ending.OPEN


def _roster(opened: Opened) -> Digest:
    """Of the members alone: their sealing keys change from attempt to attempt."""
    return roster_digest(tuple((member, b"") for member in opened.roster))
