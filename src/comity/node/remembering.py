"""What this node forgets, and what it never forgets, as the log moves on.

Secrets die as soon as the log shows that they are not needed; how an attempt ended is kept for R6;
a node that finds that it has lost its memory says nothing more where it may have spoken (R8). All
of it may be done again, so a node that died in between only starts with `resume`. Numbers in
comments are the rows of aggregation-review.md 5.
"""

from __future__ import annotations

import logging
from typing import Final

from comity.aggregation.secagg import committed
from comity.aggregation.stages import Started
from comity.commons.attempts import Closed, Ended, Opened, opened_of
from comity.commons.state import Done, Outcome, State
from comity.errors import Refused, Rule
from comity.node.models import forget_models
from comity.node.stages import scope_of, stage_of
from comity.node.station import Station
from comity.node.works import ended_works, forgotten_works
from comity.statements.entries import Entry
from comity.statements.rounds import RoundAbandon, RoundCommit, RoundOpen
from comity.statements.wire import read
from comity.storage.journal import SqliteJournal
from comity.storage.ports import Attempt, WorkRecord
from comity.values import BlobName, Seat, StatementId, sha256

LOG = logging.getLogger(__name__)

FORGOTTEN: Final = "cosigned/forgotten"
"""Setting of the journal: public *head* key whose cosignatures this journal does not know."""


def settle(station: Station, entry: Entry, outcome: Outcome) -> list[Opened]:
    """Forget what an applied entry makes superfluous; the attempts that need no update any more."""
    state, statement = station.replica.state, entry.statement
    body, mine = statement.body, statement.author == station.member
    over: list[Opened] = []
    if isinstance(outcome, Done):
        if isinstance(body, RoundCommit) and mine:
            over += _after_commit(station, body.opened)
        if isinstance(body, RoundAbandon):
            _after_abandon(station, body)
    for study in state.studies.values():
        # One head may cover the ends of several attempts.
        for ended in reversed(study.ended):
            if ended.index < entry.index:
                break
            if ended.index == entry.index:
                _after_end(station, ended)
                over.append(ended.opened)
    return over


def resume(station: Station) -> None:
    """At the start of a node: look for lost memory, and do again what an end may have cut short."""
    state, journal = station.replica.state, station.journal
    author, last = state.authors.get(station.member), journal.last_said()
    if author is not None and author.seq > (last[0] if last else -1):
        for index, envelope in enumerate(station.replica.entries(0, state.size)):
            statement = read(envelope).statement
            if statement.author == station.member and not journal.holds(statement.id):
                lost_memory(station, Entry(index, envelope, statement))
    works: list[WorkRecord] = []
    for study in state.studies.values():
        for ended in study.ended:
            seat, scope = ended.opened.seat(station.member), scope_of(ended.opened)
            if seat is None:
                continue
            works += _works(station, ended, scope)
            key = sha256(ended.opened.sealing_keys[seat - 1])
            if journal.stage(scope) is not None or journal.sealing(key) is not None:
                _after_end(station, ended)
    journal.record_work(*works)


def lost_memory(station: Station, entry: Entry) -> None:
    """The log holds a statement of mine that my journal does not: amnesia (R8).

    Nothing more is said in any attempt opened so far, and for R6 this node took part in the works
    of all that were started.
    """
    statement = entry.statement
    works: list[WorkRecord] = []
    scopes: list[Attempt] = []
    for study in station.replica.state.studies.values():
        for attempt in (*study.ended, *([study.current] if study.current else [])):
            if opened_of(attempt).seat(station.member) is not None:
                scope = scope_of(opened_of(attempt))
                works += forgotten_works(station, attempt, scope)
                scopes.append(scope)
    station.journal.record_work(*works)
    station.journal.mark_amnesia(scopes)
    for scope in scopes:
        if station.journal.stage(scope) is not None:
            station.journal.erase(scope)
    tag = statement.body.tag
    scope_said = _scope_said(station.replica.state, entry) if tag.startswith("round.") else None
    station.journal.recall(
        statement.id,
        seq=statement.seq,
        tag=tag,
        scope=scope_said,
        index=entry.index,
        envelope=entry.leaf if entry.index >= station.replica.final_size else None,
    )
    LOG.error("amnesia: this folder lost a statement that the log holds tag=%s", tag)


def forget_cosigning(journal: SqliteJournal, head_public: bytes) -> None:
    """This journal is a new one: what this *head* key cosigned, and approved, nobody here knows."""
    journal.put(FORGOTTEN, head_public)


def has_forgotten(station: Station) -> bool:
    """Whether the keys in use may have cosigned heads, or approved a host, that nobody here knows.

    Then they cosign nothing more and approve no host: only new keys have no past
    (log-and-provenance.md 3.3).
    """
    return station.journal.get(FORGOTTEN) == station.keys.public_head


def require_memory(station: Station) -> None:
    """Raises Refused(AMNESIA): this node may have approved another host, and has forgotten it."""
    if has_forgotten(station):
        raise Refused(
            Rule.AMNESIA,
            "this node was rebuilt and may have approved another host before: two approvals could"
            " make two histories. Give it new keys first: `comity keys rotate`",
        )


def _after_commit(station: Station, opened_id: StatementId) -> list[Opened]:
    """7: erase sigma and the seeds: my vector is safe with the host."""
    for study in station.replica.state.studies.values():
        if study.current is not None and opened_of(study.current).id == opened_id:
            scope = scope_of(opened_of(study.current))
            stage = stage_of(station, scope)
            if isinstance(stage, Started):
                station.journal.shrink(scope, committed(stage).to_bytes())
            return [opened_of(study.current)]
    return []


def _after_abandon(station: Station, body: RoundAbandon) -> None:
    """R5, R7: an attempt that is over may become sealed, or sealed for me, by a late Abandon."""
    for ended in station.replica.state.studies[body.study].ended:
        opened = ended.opened
        same = (opened.round_no, opened.attempt) == (body.round_no, body.attempt)
        if same and opened.seat(station.member) is not None:
            station.journal.record_work(*_works(station, ended, scope_of(opened)))


def _after_end(station: Station, ended: Ended) -> None:
    """14: remember how it ended for R6, erase every secret of the attempt, drop the vectors."""
    opened = ended.opened
    seat = opened.seat(station.member)
    if seat is None:
        return
    scope = scope_of(opened)
    station.journal.record_work(*_works(station, ended, scope))
    station.journal.erase(scope)
    station.journal.erase_sealing(sha256(opened.sealing_keys[seat - 1]))
    if ended.closed is not None:
        _drop_vectors(station, ended.closed, seat)
    forget_models(station, station.replica.state.studies[opened.study])
    station.dealt.clear()


def _works(station: Station, ended: Ended, scope: Attempt) -> list[WorkRecord]:
    known = not station.journal.has_amnesia(scope)
    return (ended_works if known else forgotten_works)(station, ended, scope)


def _drop_vectors(station: Station, closed: Closed, seat: Seat) -> None:
    mine = closed.commits.get(seat)
    if mine is not None and station.blobs.finished(BlobName(mine.vector)):
        target = station.work / f"{closed.id}.old"
        station.blobs.give_up(BlobName(mine.vector), target)
        station.scratch.give(target)
    station.checked_sums.discard(closed.id)
    fetched = station.sums.pop(closed.id, None)
    if fetched is not None:
        station.scratch.give(fetched[0])
    coming = station.coming_sums.pop(closed.id, None)
    if coming is not None:
        coming.path.unlink(missing_ok=True)


def _scope_said(state: State, entry: Entry) -> Attempt | None:
    """The attempt a round statement of mine was about, as far as it is still known."""
    body = entry.statement.body
    if isinstance(body, RoundOpen | RoundAbandon):
        return Attempt(body.study, body.round_no, body.attempt)
    opened_id = getattr(body, "opened", None)
    for study in state.studies.values():
        for attempt in (*study.ended, *([study.current] if study.current else [])):
            if opened_of(attempt).id == opened_id:
                return scope_of(opened_of(attempt))
    return None
