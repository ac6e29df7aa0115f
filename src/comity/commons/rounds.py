"""The rounds' part of the fold: every round.* statement, and time passing.

`apply_round` finds the attempt a statement is about, lets `dealing` or `revealing` judge it, and
then closes every phase that is over (`phases`). What may be opened is in `opening`, whom a set
would expose in `exposure`. All of it is derived from the log, in integers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from comity.commons import dealing, revealing
from comity.commons.attempts import (
    End,
    Ended,
    Joining,
    Live,
    Opened,
    opened_of,
)
from comity.commons.dealing import expected_start as expected_start
from comity.commons.exposure import exposed_by as exposed_by
from comity.commons.opening import Waiting as Waiting
from comity.commons.opening import expected_open as expected_open
from comity.commons.opening import opened_by
from comity.commons.phases import advance, survivors_of
from comity.commons.phases import next_deadline_s as next_deadline_s
from comity.commons.phases import round_time_s as round_time_s
from comity.commons.revealing import expected_close as expected_close
from comity.commons.state import Accepted, State, Study
from comity.errors import Rule
from comity.statements.entries import Entry, Statement
from comity.statements.rounds import (
    ROUNDING,
    RoundAbandon,
    RoundAccept,
    RoundClose,
    RoundCommit,
    RoundConfirm,
    RoundDispute,
    Rounding,
    RoundJoin,
    RoundOpen,
    RoundReady,
    RoundRecover,
    RoundResolve,
    RoundReveal,
    RoundStart,
)
from comity.values import MemberId, StatementId

_Said = (
    RoundJoin
    | RoundReady
    | RoundResolve
    | RoundStart
    | RoundCommit
    | RoundClose
    | RoundConfirm
    | RoundDispute
    | RoundReveal
    | RoundRecover
    | RoundAccept
)


def apply_round(state: State, entry: Entry) -> tuple[State, Rule | None]:
    """The state after a round.* statement, or the same state and the rule that makes it void.

    Expects the author's new clock in `state.authors` and time already moved (`tick`).
    """
    body = entry.statement.body
    assert isinstance(body, ROUNDING)
    after = _judge(state, entry, body)
    return (state, after) if isinstance(after, Rule) else (after, None)


def tick(state: State, member: MemberId) -> State:
    """Close the phases that are over now that `member` has signed a later time.

    Expects `state.size` to count the entry that did so.
    """
    for study in state.studies.values():
        attempt = study.current
        if attempt is not None and opened_of(attempt).seat(member) is not None:
            after = advance(state, study, attempt, state.size - 1)
            if after is not attempt:
                state = _with_study(state, _placed(study, after))
    return state


def _judge(state: State, entry: Entry, body: Rounding) -> State | Rule:
    if isinstance(body, RoundOpen):
        return _open(state, entry, body)
    if isinstance(body, RoundAbandon):
        return _abandon(state, entry, body)
    found = _find(state, body.opened)
    if isinstance(found, Rule):
        return _accept_late(state, entry, body) if isinstance(body, RoundAccept) else found
    study, attempt = found
    after = _said(state, study, attempt, entry, body)
    if isinstance(after, Rule):
        return after
    if isinstance(body, RoundReady):
        study = _with_key(study, entry.statement.author, body.sealing_key)
        state = replace(state, sealing_keys=state.sealing_keys.adding(body.sealing_key))
    return _settle(state, study, after, entry.index)


def _said(state: State, study: Study, attempt: Live, entry: Entry, body: _Said) -> Live | Rule:
    author = entry.statement.author
    if isinstance(body, RoundStart | RoundClose):
        if not _is_hosting(state, entry.statement):
            return Rule.WRONG_PARTY
        if isinstance(body, RoundStart):
            return dealing.start(attempt, body, entry)
        return revealing.close(attempt, body, entry)
    seat = opened_of(attempt).seat(author)
    if seat is None:
        return Rule.WRONG_PARTY
    if seat in attempt.abandons:
        return Rule.AFTER_ABANDON
    match body:
        case RoundJoin():
            return dealing.join(state, study, attempt, seat, body, entry)
        case RoundReady():
            return dealing.ready(state, attempt, seat, body)
        case RoundResolve():
            return dealing.resolve(attempt, seat, body)
        case RoundCommit():
            return revealing.commit(study, attempt, seat, body, entry)
        case RoundConfirm():
            return revealing.confirm(attempt, seat, body)
        case RoundDispute():
            return revealing.dispute(attempt, seat, body)
        case RoundReveal():
            return revealing.reveal(attempt, seat, body)
        case RoundRecover():
            return revealing.recover(state, attempt, seat, body)
        case RoundAccept():
            return revealing.accept(attempt, seat, body)
        case _:
            assert_never(body)


def _is_hosting(state: State, said: Statement) -> bool:
    """Host now, or at the head the statement names: what a change of host overtook counts too."""
    return said.author in (state.host, state.epoch_at(said.head_size).host)


def _open(state: State, entry: Entry, body: RoundOpen) -> State | Rule:
    if not _is_hosting(state, entry.statement):
        return Rule.WRONG_PARTY
    study = state.studies.get(body.study)
    if study is None:
        return Rule.NO_SUCH_THING
    if study.current is not None:
        return Rule.ATTEMPT_NOT_ENDED
    expected = expected_open(state, study.id)
    if isinstance(expected, Waiting):
        return expected.rule
    # Attempt numbers only grow; gaps are allowed (5.9), for an Open that a change of host lost.
    if body.attempt < expected.attempt or not _same_but_attempt(body, expected):
        return Rule.NOT_AS_DERIVED
    opened = opened_by(state, body, entry.statement, entry.index)
    used = {m: replace(study.enrolled[m], sealing_key=None) for m in opened.roster}
    study = replace(study, attempt=body.attempt, enrolled={**study.enrolled, **used})
    return _settle(state, study, Joining(opened, {}, {}), entry.index)


def _same_but_attempt(body: RoundOpen, expected: RoundOpen) -> bool:
    fields = RoundOpen.__struct_fields__
    return all(getattr(body, f) == getattr(expected, f) for f in fields if f != "attempt")


def _abandon(state: State, entry: Entry, body: RoundAbandon) -> State | Rule:
    study = state.studies.get(body.study)
    if study is None:
        return Rule.NO_SUCH_THING
    attempt = _numbered(study, body)
    if attempt is None:
        return Rule.NO_SUCH_THING
    seat = opened_of(attempt).seat(entry.statement.author)
    if seat is None:
        return Rule.WRONG_PARTY
    if seat in attempt.abandons:
        return Rule.SAID_BEFORE
    if not isinstance(attempt, Ended):
        live = revealing.abandon(attempt, seat, body)
        return live if isinstance(live, Rule) else _settle(state, study, live, entry.index)
    if attempt.end not in (End.BURNED, End.SEALED):
        return Rule.ROUND_NOT_OPEN
    ended = revealing.abandon_ended(attempt, seat, body)
    if isinstance(ended, Rule):
        return ended
    others = tuple(ended if past is attempt else past for past in study.ended)
    return _with_study(state, replace(study, ended=others))


def _accept_late(state: State, entry: Entry, body: RoundAccept) -> State | Rule:
    """An Accept that arrives after the quorum: in effect when it agrees, so nobody is held back."""
    for study in state.studies.values():
        for ended in study.ended[-1:]:
            if ended.opened.id == body.opened and ended.end is End.ACCEPTED:
                after = revealing.accept_ended(ended, entry.statement.author, body)
                if isinstance(after, Rule):
                    return after
                return _with_study(state, replace(study, ended=(*study.ended[:-1], after)))
    found = _find(state, body.opened)
    return found if isinstance(found, Rule) else Rule.PHASE_NOT_OPEN


def _numbered(study: Study, body: RoundAbandon) -> Live | Ended | None:
    current: tuple[Live | Ended, ...] = (study.current,) if study.current is not None else ()
    for attempt in (*current, *reversed(study.ended)):
        opened = opened_of(attempt)
        if (opened.round_no, opened.attempt) == (body.round_no, body.attempt):
            return attempt
    return None


def _find(state: State, opened: StatementId) -> tuple[Study, Live] | Rule:
    for study in state.studies.values():
        if study.current is not None and opened_of(study.current).id == opened:
            return study, study.current
    for study in state.studies.values():
        if any(ended.opened.id == opened for ended in study.ended):
            return Rule.ROUND_NOT_OPEN
    return Rule.NO_SUCH_THING


def _with_key(study: Study, member: MemberId, sealing_key: bytes) -> Study:
    enrolment = study.enrolled.get(member)
    if enrolment is None:
        return study
    fresh = replace(enrolment, sealing_key=sealing_key)
    return replace(study, enrolled={**study.enrolled, member: fresh})


def _settle(state: State, study: Study, attempt: Live, index: int) -> State:
    opened: Opened = opened_of(attempt)
    out = revealing.disputed(attempt)
    if out:
        members = frozenset(opened.member(seat) for seat in out)
        study = replace(study, excluded=study.excluded | members)
    return _with_study(state, _placed(study, advance(state, study, attempt, index)))


def _placed(study: Study, attempt: Live | Ended) -> Study:
    if not isinstance(attempt, Ended):
        return replace(study, current=attempt)
    study = replace(study, current=None, ended=(*study.ended, attempt))
    if attempt.end is not End.ACCEPTED:
        return study
    opened, closed = attempt.opened, attempt.closed
    assert closed is not None and attempt.model is not None and attempt.total is not None
    accepted = Accepted(
        round_no=opened.round_no,
        attempt=opened.attempt,
        opened=opened.id,
        closed=closed.id,
        model=attempt.model,
        moments=attempt.moments,
        total=attempt.total,
        survivors=survivors_of(closed),
        index=attempt.index,
    )
    return replace(study, results=(*study.results, accepted))


def _with_study(state: State, study: Study) -> State:
    return replace(state, studies={**state.studies, study.id: study})
