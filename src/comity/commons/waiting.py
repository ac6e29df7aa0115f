"""Whom a study waits for, in any phase, and why; who is about to enrol."""

from __future__ import annotations

from typing import assert_never

from comity.commons.attempts import (
    Closing,
    Confirming,
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
from comity.commons.opening import Waiting, expected_open, has_unused_key
from comity.commons.phases import committers, joiners, open_complaints
from comity.commons.state import State, Study
from comity.commons.studies import consent_rule
from comity.values import MemberId, Seat


def waiting_for(state: State, study: Study) -> Waiting | None:
    """Whom the study waits for now, in any phase, and why; None when the next Open is due."""
    attempt = study.current
    if attempt is None:
        expected = expected_open(state, study.id)
        if isinstance(expected, Waiting):
            return expected
        coming = still_coming(state, study, state.commons_time_s)
        return Waiting(study.id, coming, "to answer or to enrol, for a while") if coming else None
    seats, reason = _waited_for(study, attempt)
    opened = opened_of(attempt)
    if isinstance(attempt, Starting | Closing):
        return Waiting(study.id, (state.host,), reason)
    return Waiting(study.id, tuple(opened.member(seat) for seat in sorted(seats)), reason)


def _waited_for(study: Study, attempt: Live) -> tuple[frozenset[Seat], str]:
    everybody = frozenset(Seat(seat) for seat in range(1, opened_of(attempt).count + 1))
    here = everybody - attempt.abandons.keys()
    match attempt:
        case Joining():
            return joiners(study, attempt.opened) & here - attempt.joins.keys(), "to join"
        case Readying():
            waited = frozenset(attempt.joins) - attempt.readies.keys()
            return waited & here, "to open its shares and be ready"
        case Resolving():
            dealers = frozenset(dealer for dealer, _ in open_complaints(attempt))
            return dealers, "to answer a complaint about its shares"
        case Starting():
            return frozenset(), "to start the attempt"
        case Masking():
            waited = committers(study, attempt.started) - attempt.commits.keys()
            return waited & here, "to train and commit its masked vector"
        case Closing():
            return frozenset(), "to add the vectors and close"
        case Confirming():
            return here - attempt.confirms.keys(), "to confirm"
        case Revealing():
            silent = attempt.closed.survivors - attempt.reveals.keys()
            if silent & here:
                return silent & here, "to check the sum and reveal"
            return here - attempt.accepts.keys(), "to unmask and accept"
        case Halted():
            return here, "to abandon: too few are left for a result"
        case _:
            assert_never(attempt)


def still_coming(state: State, study: Study, now_s: int) -> tuple[MemberId, ...]:
    """Live members that are about to enrol, so that opening now would leave them out.

    Live: it signed a time within the plan's join_by. Before the first attempt the members that
    have not answered yet count too. A set that grows later would show who came (5.10).
    """
    since_s = now_s - study.register.plan.deadlines.join_by_s
    answered = study.consents.keys() | study.refused | study.left
    return tuple(
        member
        for member in state.present
        if state.authors[member].time_s >= since_s
        and not has_unused_key(study, member)
        and not state.is_suspended(member)
        and (may_enrol(state, study, member) or (study.attempt == 0 and member not in answered))
    )


def may_enrol(state: State, study: Study, member: MemberId) -> bool:
    """Whether the member may enrol now, and has no key that waits for an attempt."""
    if member in study.left | study.excluded or has_unused_key(study, member):
        return False
    if state.is_suspended(member):
        return False
    if consent_rule(state, study, member) is not None:
        return False
    attempt = study.current
    seat = None if attempt is None else opened_of(attempt).seat(member)
    if seat is None:
        return True
    # In an attempt the next key comes with Ready; whoever missed that enrols again.
    match attempt:
        case Joining():
            return False
        case Readying():
            return seat not in attempt.joins or seat in attempt.abandons
        case _:
            return True
