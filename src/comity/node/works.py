"""R6: one work is summed over one set only. What this node took part in is remembered for ever.

A work is the same code, parameters and model; a data version that took part in one attempt of it
may take part in another only if the first is sealed for this member, or shows the very same set
(aggregation.md 5.9).
"""

from __future__ import annotations

from comity.commons.attempts import End, Ended, Opened
from comity.errors import Refused, Rule
from comity.node.station import Station
from comity.storage.ports import Attempt, Ending, WorkRecord
from comity.values import DatasetId, Digest, MemberId, roster_digest


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


def check_work(station: Station, opened: Opened, dataset: DatasetId, version: Digest) -> None:
    """Refuse to join an attempt whose work might be summed over a second set (R6).

    Raises:
        Refused(WORK_SUMMED_BEFORE): and what would have to hold.
    """
    for past in station.journal.works(dataset, version, opened.work):
        if not (past.committed or past.confirmed or past.revealed):
            continue
        if past.ending in (Ending.SEALED, Ending.UNSTARTED):
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
    station: Station, opened: Opened, dataset: DatasetId, version: Digest
) -> frozenset[MemberId] | None:
    """The one set over which I may confirm this work; None while every set is open."""
    for past in station.journal.works(dataset, version, opened.work):
        if past.ending in (Ending.ACCEPTED, Ending.BURNED) and past.survivors is not None:
            return past.survivors
    return None


def ended_works(station: Station, ended: Ended, scope: Attempt) -> list[WorkRecord]:
    """What an ended attempt becomes in memory: sealed only if it is sealed for me (R5)."""
    opened = ended.opened
    study = station.replica.state.studies[opened.study]
    consent = study.consents.get(station.member)
    promised = station.journal.promised(scope)
    if consent is None or ("round.commit" not in promised and "round.confirm" not in promised):
        return []
    sets = sorted(ended.sets, key=sorted)
    return [
        work_record(
            opened,
            scope,
            consent.dataset,
            consent.version,
            committed="round.commit" in promised,
            confirmed="round.confirm" in promised,
            revealed="round.reveal" in promised,
            survivors=sets[0] if len(sets) == 1 else None,
            ending=_ending(ended, frozenset(promised)),
        )
    ]


def _ending(ended: Ended, said: frozenset[str]) -> Ending:
    match ended.end:
        case End.UNSTARTED:
            return Ending.UNSTARTED
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
