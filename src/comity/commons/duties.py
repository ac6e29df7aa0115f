"""What one party owes now: a pure function of the log, the newest final head, and its own clock.

The log is the queue: performing a duty is visible in the next state, so nothing is ever marked as
done, and nothing is to be repaired after a crash. A duty stands here only if the log allows it
now. What only the node knows (its journal, its site's policy, whether a sum holds, R6) may keep it
from performing one; then it says round.abandon instead. Source: architecture.md 1.5, 1.9;
aggregation-review.md 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import assert_never

from comity.commons.attempts import (
    Closing,
    Confirming,
    End,
    Ended,
    Halted,
    Joining,
    Live,
    Masking,
    Readying,
    Resolving,
    Revealing,
    Starting,
    opened_of,
)
from comity.commons.belonging_duties import beside_studies, epoch_is_final, waits_for_epoch
from comity.commons.dealing import expected_start
from comity.commons.exposure import attempts_of_round, exposed_by
from comity.commons.opening import (
    expected_open,
    may_take_part,
)
from comity.commons.owed import AskApprove as AskApprove
from comity.commons.owed import AskConsent as AskConsent
from comity.commons.owed import AskReview as AskReview
from comity.commons.owed import AskVote as AskVote
from comity.commons.owed import Duty as Duty
from comity.commons.owed import SayAbandon as SayAbandon
from comity.commons.owed import SayAccept as SayAccept
from comity.commons.owed import SayApprove as SayApprove
from comity.commons.owed import SayClose as SayClose
from comity.commons.owed import SayCommit as SayCommit
from comity.commons.owed import SayConfirm as SayConfirm
from comity.commons.owed import SayEnrol as SayEnrol
from comity.commons.owed import SayFound as SayFound
from comity.commons.owed import SayJoin as SayJoin
from comity.commons.owed import SayOpen as SayOpen
from comity.commons.owed import SayReady as SayReady
from comity.commons.owed import SayRecover as SayRecover
from comity.commons.owed import SayResolve as SayResolve
from comity.commons.owed import SayReveal as SayReveal
from comity.commons.owed import SaySeen as SaySeen
from comity.commons.owed import SayStart as SayStart
from comity.commons.owed import SignRelease as SignRelease
from comity.commons.phases import (
    committers,
    joiners,
    next_deadline_s,
    open_complaints,
    round_time_s,
    survivors_of,
)
from comity.commons.reviews import pauses
from comity.commons.state import State, Study
from comity.commons.votes import signatures_of
from comity.commons.waiting import may_enrol, still_coming
from comity.statements.rounds import RoundOpen
from comity.values import DAY_S, MemberId, Seat


def duties(state: State, me: MemberId, final_size: int, now_s: int) -> tuple[Duty, ...]:
    """What `me` owes and has not said in the log, the most urgent first.

    Args:
        final_size: size of the newest final head that this party has verified.
        now_s: its clock; decides about `seen`, and how long a host waits for who is still coming.
    """
    if me not in state.members:
        return ()
    if me not in state.keys:
        return (SayFound(),)
    if not 0 < state.founded_size <= final_size:
        return ()
    if waits_for_epoch(state, me, final_size):
        return ()
    owed: list[Duty] = []
    for study in state.studies.values():
        if not _moves_by_speaking(state, study, me, now_s):
            owed += _in_study(state, study, me, final_size, now_s)
    owed += beside_studies(state, me, final_size)
    if _owes_seen(state, me, now_s):
        owed.append(SaySeen())
    return tuple(owed)


def something_waits(state: State, final_size: int) -> bool:
    """Whether a node should cosign at once: something below waits for a final head (1.5)."""
    if max(state.founded_size, state.epoch.size) > final_size:
        return True
    for study in state.studies.values():
        begins = study.current is None or isinstance(study.current, Joining)
        if begins and not study.finished and study.roster_index >= final_size:
            return True
    return any(
        len(signed) >= state.quorum and sorted(signed)[state.quorum - 1] >= final_size
        for signed in (signatures_of(state, each) for each in state.proposals.values())
    )


def may_owe_more(before: State, after: State) -> bool:
    """Whether somebody may owe something after these entries that it did not owe before them.

    False only when all that happened is one more of several within a phase: who relays the log may
    then hold it back for a moment, and tell of several at once.
    """
    same = (
        before.founded_size == after.founded_size
        and before.epoch is after.epoch
        and before.changes is after.changes
        and before.datasets is after.datasets
        and before.proposals is after.proposals
        and len(before.studies) == len(after.studies)
    )
    return not same or any(
        study is not before.studies[study_id] and _moved_on(before.studies[study_id], study)
        for study_id, study in after.studies.items()
    )


def _moved_on(before: Study, after: Study) -> bool:
    if after.current is None or type(before.current) is not type(after.current):
        return True
    if isinstance(before.current, Revealing) and isinstance(after.current, Revealing):
        return can_unmask(after.current) and not can_unmask(before.current)
    same = before.consents is after.consents and before.left is after.left
    return not same or before.pauses is not after.pauses


def _in_study(
    state: State, study: Study, me: MemberId, final_size: int, now_s: int
) -> Iterator[Duty]:
    for ended in attempts_of_round(study):
        yield from _after_end(ended, me)
    attempt = study.current
    hosting = me == state.host and epoch_is_final(state, final_size)
    if attempt is not None:
        if hosting:
            yield from _of_host(attempt)
        seat = opened_of(attempt).seat(me)
        if seat is not None and seat not in attempt.abandons:
            yield from _in_attempt(state, study, attempt, seat, final_size)
    elif hosting:
        expected = expected_open(state, study.id)
        if isinstance(expected, RoundOpen) and not still_coming(state, study, now_s):
            yield SayOpen(expected)
    if study.finished or me in state.changes.going:
        return
    if may_enrol(state, study, me):
        yield SayEnrol(study)
    if me not in study.consents and me not in study.refused | study.left:
        yield AskConsent(study)


def _after_end(ended: Ended, me: MemberId) -> Iterator[Duty]:
    # R3, R5: who dealt in an attempt that was sealed or burned abandons it before it joins again.
    seat = ended.opened.seat(me)
    if seat is None or seat in ended.abandons or ended.started is None:
        return
    if ended.end in (End.SEALED, End.BURNED) and seat in ended.started.joins:
        yield SayAbandon(ended, None, "the attempt has ended without a result")


def _moves_by_speaking(state: State, study: Study, me: MemberId, now_s: int) -> bool:
    """Whether the clock of `me` alone closes the phase: then it first says `seen`, no more.

    Otherwise it would speak about a phase that its own entry closes or opens, while others may
    still come before that entry.
    """
    attempt, author = study.current, state.authors[me]
    if attempt is None or opened_of(attempt).seat(me) is None:
        return False
    deadline_s = next_deadline_s(attempt, round_time_s(state, opened_of(attempt)))
    if deadline_s is None or not author.time_s < deadline_s <= now_s:
        return False
    later = replace(state, authors={**state.authors, me: replace(author, time_s=now_s)})
    return round_time_s(later, opened_of(attempt)) >= deadline_s


def _of_host(attempt: Live) -> Iterator[Duty]:
    if isinstance(attempt, Starting):
        yield SayStart(expected_start(attempt))
    if isinstance(attempt, Closing):
        yield SayClose(attempt)


def _in_attempt(
    state: State, study: Study, attempt: Live, seat: Seat, final_size: int
) -> Iterator[Duty]:
    opened = opened_of(attempt)
    willing = may_take_part(state, study, opened.member(seat)) and not pauses(state, study)
    now_s = round_time_s(state, opened)
    match attempt:
        case Joining():
            final = min(study.roster_index, opened.index) < final_size
            due = joiners(study, opened) - attempt.joins.keys()
            if final and willing and seat in due:
                yield SayJoin(opened)
        case Readying():
            if seat in attempt.joins and seat not in attempt.readies:
                yield SayReady(attempt) if willing else _unwilling(attempt)
        case Resolving():
            for dealer, holder in sorted(open_complaints(attempt)):
                if dealer == seat:
                    yield SayResolve(attempt, holder)
        case Starting():
            pass
        case Masking():
            if seat in committers(study, attempt.started) - attempt.commits.keys():
                yield SayCommit(attempt.started) if willing else _unwilling(attempt)
        case Closing():
            if now_s >= opened.time_s + opened.deadlines.confirm_by_s:
                yield SayAbandon(attempt, None, "the host did not close by confirm_by")
        case Confirming():
            if seat not in attempt.confirms:
                yield from _confirming(state, study, attempt)
        case Revealing():
            yield from _revealing(attempt, seat, now_s)
        case Halted():
            few = "Commits" if attempt.closed is None else "Confirms"
            yield SayAbandon(attempt, None, f"too few {few} came for a result")
        case _:
            assert_never(attempt)


def _unwilling(attempt: Live) -> SayAbandon:
    return SayAbandon(attempt, None, "consent is no longer in force, or the study is paused")


def _confirming(state: State, study: Study, attempt: Confirming) -> Iterator[Duty]:
    exposed = exposed_by(study, state, survivors_of(attempt.closed))
    if exposed:
        names = ", ".join(sorted(exposed))
        yield SayAbandon(attempt, None, f"the sum would nearly show the update of {names}")
    else:
        yield SayConfirm(attempt.closed)


def _revealing(attempt: Revealing, seat: Seat, now_s: int) -> Iterator[Duty]:
    opened, closed = opened_of(attempt), attempt.closed
    able = opened.count - len(attempt.abandons.keys() - attempt.accepts.keys())
    if able < opened.quorum:
        yield SayAbandon(attempt, None, "too few members are left to accept a result")
        return
    if seat not in attempt.reveals and (seat in closed.survivors or closed.dropped):
        yield SayReveal(attempt)
    said = attempt.recovers[seat].silent if seat in attempt.recovers else ()
    silent = closed.survivors - attempt.reveals.keys() - {entry.seat for entry in said}
    if seat in attempt.reveals and silent and now_s >= opened.time_s + opened.deadlines.reveal_by_s:
        yield SayRecover(attempt, frozenset(silent))
    if seat not in attempt.accepts and can_unmask(attempt):
        yield SayAccept(attempt)
    elif now_s >= opened.time_s + opened.deadlines.end_by_s and _is_stuck(attempt, seat):
        yield SayAbandon(attempt, None, "no result by end_by")


def can_unmask(attempt: Revealing) -> bool:
    """Whether the log holds every secret that unmasking takes, if all shares are true.

    Each survivor's beta, or t shares of it; t shares for each dropped (every Reveal has one).
    """
    closed, quorum = attempt.closed, opened_of(attempt).quorum
    if closed.dropped and len(attempt.reveals) < quorum:
        return False
    shares = {seat: 0 for seat in closed.survivors - attempt.reveals.keys()}
    for recover in attempt.recovers.values():
        for entry in recover.silent:
            if entry.seat in shares:
                shares[entry.seat] += 1
    return all(count >= quorum for count in shares.values())


def _is_stuck(attempt: Revealing, seat: Seat) -> bool:
    # Whoever accepted goes on waiting for the others, until all have spoken and differ.
    if seat not in attempt.accepts:
        return seat in attempt.reveals or seat not in attempt.closed.survivors
    spoke = attempt.accepts.keys() | attempt.abandons.keys()
    return len(spoke) == opened_of(attempt).count


def _owes_seen(state: State, me: MemberId, now_s: int) -> bool:
    mine_s = state.authors[me].time_s
    if now_s - mine_s >= DAY_S:
        return True
    return any(mine_s < deadline_s <= now_s for deadline_s in _deadlines(state, me))


def _deadlines(state: State, me: MemberId) -> Iterator[int]:
    """What waits for time to pass: votes, pauses, and the live attempts that `me` is in."""
    for proposal in state.voting:
        yield state.proposals[proposal].closes_s
    for study in state.studies.values():
        yield from (pause.until_s for pause in study.pauses.values())
        attempt = study.current
        if attempt is not None and opened_of(attempt).seat(me) is not None:
            deadline_s = next_deadline_s(attempt, round_time_s(state, opened_of(attempt)))
            if deadline_s is not None:
                yield deadline_s
