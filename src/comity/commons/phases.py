"""When a phase of an attempt closes and what it closes into. Nobody says it; the log implies it.

A phase closes at the first entry where all concerned have spoken, or where round time has reached
its deadline (aggregation.md 5.3, 5.5, 5.9). Who abandoned has spoken. No deadline ends a started
attempt: that takes t equal Accepts or t Abandons (R5, R7).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from comity.commons.attempts import (
    AbandonFact,
    Closed,
    Closing,
    Confirming,
    End,
    Ended,
    Halted,
    Joining,
    Live,
    Masking,
    Opened,
    Readying,
    Resolving,
    Revealing,
    Started,
    Starting,
    closed_of,
    opened_of,
    started_of,
)
from comity.commons.exposure import burned_set, exposed_by
from comity.commons.state import State, Study
from comity.values import Digest, MemberId, Seat


def members_needed(opened: Opened) -> int:
    """max(u_min, t): with fewer participants neither quorum could ever form (4)."""
    return max(opened.survivors_min, opened.quorum)


def joiners(study: Study, opened: Opened) -> frozenset[Seat]:
    """Whose Joins joining waits for: all, or those that may commit when they are enough (R6)."""
    only = burned_set(study)
    if only is None or len(only) < members_needed(opened):
        return frozenset(Seat(seat) for seat in range(1, opened.count + 1))
    return seats_of(opened, only)


def committers(study: Study, started: Started) -> frozenset[Seat]:
    """Who may commit: the participants, after a burned attempt those of its set only (R6)."""
    only = burned_set(study)
    if only is None:
        return started.participants
    return started.participants & seats_of(started.opened, only)


def seats_of(opened: Opened, members: frozenset[MemberId]) -> frozenset[Seat]:
    """The members' places in the roster."""
    return frozenset(
        Seat(seat) for seat, member in enumerate(opened.roster, start=1) if member in members
    )


def round_time_s(state: State, opened: Opened) -> int:
    """Lower median, over the roster, of the largest `time` each has signed (0: never spoke)."""
    authors = state.authors
    times = sorted(authors[member].time_s if member in authors else 0 for member in opened.roster)
    return times[(len(times) - 1) // 2]


def next_deadline_s(attempt: Live, now_s: int) -> int | None:
    """The deadline the attempt waits for at round time `now_s`, POSIX seconds; None when none.

    Closing has none in the fold; members lose patience at confirm_by. A Revealing attempt waits
    for reveal_by, then for end_by.
    """
    opened = opened_of(attempt)
    by = opened.deadlines
    match attempt:
        case Joining():
            after = by.join_by_s
        case Readying():
            after = by.ready_by_s
        case Resolving():
            after = by.resolve_by_s
        case Starting():
            after = by.start_by_s
        case Masking():
            after = by.commit_by_s
        case Closing() | Confirming():
            after = by.confirm_by_s
        case Revealing():
            after = by.reveal_by_s if now_s < opened.time_s + by.reveal_by_s else by.end_by_s
        case Halted():
            return None
        case _:
            assert_never(attempt)
    return opened.time_s + after


def complainers(readies: Mapping[Seat, frozenset[Seat]]) -> dict[Seat, frozenset[Seat]]:
    """For each dealer complained of, the holders that complain."""
    by_dealer: dict[Seat, set[Seat]] = {}
    for holder, dealers in readies.items():
        for dealer in dealers:
            by_dealer.setdefault(dealer, set()).add(holder)
    return {dealer: frozenset(holders) for dealer, holders in by_dealer.items()}


def open_complaints(attempt: Readying | Resolving) -> frozenset[tuple[Seat, Seat]]:
    """(dealer, holder) of the complaints that are still worth an answer.

    Not those of a dealer that is out of P anyway: it is not ready, has abandoned, or more than c
    complain (then it is false, and answering would publish honest shares; 5.5).
    """
    plain = attempt.plain if isinstance(attempt, Resolving) else {}
    return frozenset(
        (dealer, holder)
        for dealer, holders in complainers(attempt.readies).items()
        if dealer in attempt.readies
        and dealer not in attempt.abandons
        and len(holders) <= attempt.opened.colluders
        for holder in holders
        if (dealer, holder) not in plain
    )


def participants_of(attempt: Readying | Resolving) -> frozenset[Seat]:
    """P: ready, not gone, at most c complainers, every complaint resolved (5.5)."""
    against = complainers(attempt.readies)
    plain = attempt.plain if isinstance(attempt, Resolving) else {}
    return frozenset(
        seat
        for seat in attempt.readies
        if seat not in attempt.abandons
        and len(against.get(seat, ())) <= attempt.opened.colluders
        and all((seat, holder) in plain for holder in against.get(seat, ()))
    )


def advance(state: State, study: Study, attempt: Live, index: int) -> Live | Ended:
    """Close every phase that is over at the entry `index`; the same object when none is."""
    now_s = round_time_s(state, opened_of(attempt))
    while True:
        after = _next(state, study, attempt, index, now_s)
        if isinstance(after, Ended) or after is attempt:
            return after
        attempt = after


def _next(state: State, study: Study, attempt: Live, index: int, now_s: int) -> Live | Ended:
    ended = _by_quorum(attempt, index)
    if ended is not None:
        return ended
    deadline_s = next_deadline_s(attempt, now_s)
    late = deadline_s is not None and now_s >= deadline_s
    match attempt:
        case Joining():
            out = joiners(study, attempt.opened) - attempt.joins.keys() - attempt.abandons.keys()
            return attempt if out and not late else _close_joining(attempt, index)
        case Readying():
            waits = (
                not late and attempt.joins.keys() - attempt.readies.keys() - attempt.abandons.keys()
            )
            return attempt if waits else _close_readying(attempt, index)
        case Resolving():
            waiting = not late and open_complaints(attempt)
            return attempt if waiting else _close_resolving(state, study, attempt, index)
        case Starting():
            return end(attempt, End.UNSTARTED, index) if late else attempt
        case Masking():
            due = committers(study, attempt.started)
            out = due - attempt.commits.keys() - attempt.abandons.keys()
            return attempt if out and not late else _close_masking(study, attempt)
        case Confirming():
            return _close_confirming(attempt) if late or _all_confirmed(attempt) else attempt
        case Closing() | Revealing() | Halted():
            return attempt
        case _:
            assert_never(attempt)


def _all_confirmed(attempt: Confirming) -> bool:
    opened = opened_of(attempt)
    spoke = attempt.confirms.keys() | attempt.abandons.keys()
    enough = len(attempt.confirms) >= opened.quorum and attempt.closed.survivors <= spoke
    return enough or len(spoke) == opened.count


def _close_joining(attempt: Joining, index: int) -> Readying | Ended:
    if len(attempt.joins) < members_needed(attempt.opened):
        return end(attempt, End.UNSTARTED, index)
    return Readying(attempt.opened, attempt.joins, {}, attempt.abandons)


def _close_readying(attempt: Readying, index: int) -> Resolving | Ended:
    if len(attempt.readies) < members_needed(attempt.opened):
        return end(attempt, End.UNSTARTED, index)
    return Resolving(attempt.opened, attempt.joins, attempt.readies, {}, attempt.abandons)


def _close_resolving(
    state: State, study: Study, attempt: Resolving, index: int
) -> Starting | Ended:
    opened, seats = attempt.opened, participants_of(attempt)
    members = frozenset(opened.member(seat) for seat in seats)
    summed = burned_set(study) or members
    # Every honest member would refuse a set that R6 or 5.10 forbids, so nobody starts it.
    refused = not summed <= members or exposed_by(study, state, summed)
    if len(seats) < members_needed(opened) or refused:
        return end(attempt, End.UNSTARTED, index)
    return Starting(opened, attempt.joins, seats, attempt.plain, attempt.abandons)


def _close_masking(study: Study, attempt: Masking) -> Closing | Halted:
    few = len(attempt.commits) < attempt.started.opened.survivors_min
    # After a burned attempt a set that lacks one of its members would be confirmed by nobody.
    if few or (burned_set(study) and attempt.commits.keys() != committers(study, attempt.started)):
        return Halted(attempt.started, None, {}, (), attempt.abandons)
    return Closing(attempt.started, attempt.commits, attempt.abandons)


def _close_confirming(attempt: Confirming) -> Revealing | Halted:
    closed, confirms, disputes = attempt.closed, attempt.confirms, attempt.disputes
    if len(confirms) < closed.started.opened.quorum:
        return Halted(closed.started, closed, confirms, disputes, attempt.abandons)
    return Revealing(closed, confirms, disputes, {}, {}, {}, attempt.abandons)


def _by_quorum(attempt: Live, index: int) -> Ended | None:
    quorum = opened_of(attempt).quorum
    if isinstance(attempt, Revealing) and attempt.accepts:
        result, count = Counter(attempt.accepts.values()).most_common(1)[0]
        if count >= quorum:
            return end(attempt, End.ACCEPTED, index, result)
    if len(attempt.abandons) >= quorum:
        return end(attempt, kind_of(attempt.abandons, quorum), index)
    return None


def kind_of(abandons: Mapping[Seat, AbandonFact], quorum: int) -> End:
    """Sealed when t of the Abandons are by members that had not revealed (R5), else burned."""
    kept = sum(not fact.released for fact in abandons.values())
    return End.SEALED if kept >= quorum else End.BURNED


def end(
    attempt: Live,
    kind: End,
    index: int,
    result: tuple[Digest, Digest, Digest | None] | None = None,
) -> Ended:
    """The attempt, over at this entry. result: (total, model, moments) of an accepted one."""
    closed = closed_of(attempt)
    confirms = attempt.confirms if isinstance(attempt, Confirming | Revealing | Halted) else {}
    reveals = attempt.reveals if isinstance(attempt, Revealing) else {}
    accepts = attempt.accepts if isinstance(attempt, Revealing) else {}
    total, model, moments = result or (None, None, None)
    ended = Ended(
        opened=opened_of(attempt),
        end=kind,
        index=index,
        started=started_of(attempt),
        closed=closed,
        sets=frozenset(),
        abandons=attempt.abandons,
        total=total,
        model=model,
        moments=moments,
        confirmed=frozenset(confirms),
        revealed=frozenset(reveals),
        accepted=frozenset(seat for seat, said in accepts.items() if said == result),
    )
    return replace(ended, sets=sets_of(ended))


def sets_of(ended: Ended) -> frozenset[frozenset[MemberId]]:
    """Every U that a Close named in its Accepts or Abandons has."""
    closed = ended.closed
    if closed is None:
        return frozenset()
    named = ended.end is End.ACCEPTED or any(
        fact.closed == closed.id for fact in ended.abandons.values()
    )
    return frozenset({survivors_of(closed)}) if named else frozenset()


def survivors_of(closed: Closed) -> frozenset[MemberId]:
    """U as members."""
    opened = closed.started.opened
    return frozenset(opened.member(seat) for seat in closed.survivors)
