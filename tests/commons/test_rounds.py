"""Every phase times every round statement; who may say it; and rounds that go well.

How: `round_phases` stops one study in each phase; a statement that is right in its own phase is
asked in all of them.
"""

from __future__ import annotations

import pytest

from comity.commons import fold, rounds
from comity.commons.attempts import End, Ended, Revealing, closed_of
from comity.commons.state import Done
from comity.errors import Rule
from comity.statements.entries import Body
from comity.values import MemberId
from tests.commons.round_phases import LIVE, stopped_in
from tests.commons.rounds_world import Rounds

STATEMENTS = (
    *("open", "join", "ready", "resolve", "start", "commit", "close", "confirm"),
    *("dispute", "reveal", "recover", "accept", "abandon"),
)

_CODES = {
    "+": None,
    "live": Rule.ATTEMPT_NOT_ENDED,
    "shut": Rule.PHASE_CLOSED,
    "not": Rule.PHASE_NOT_OPEN,
    "soon": Rule.TOO_SOON,
    "few": Rule.TOO_FEW,
    "who": Rule.WRONG_PARTY,
    "said": Rule.SAID_BEFORE,
    "quo": Rule.BEFORE_QUORUM,
    "over": Rule.ROUND_NOT_OPEN,
    "near": Rule.SET_NEARLY_EQUAL,
    "none": Rule.NO_SUCH_THING,
}

#                   open join rea  res  sta  com  clo  con  dis  rev  rec  acc  aba
TABLE = {
    "none":             "+    none none none none none none none none none none none none",
    "joining":          "live +    not  not  soon not  soon not  not  not  not  not  +",
    "readying":         "live shut +    not  soon not  soon not  not  not  not  not  +",
    "resolving":        "live shut shut +    soon not  soon not  not  not  not  not  +",
    "starting":         "live shut shut shut +    not  soon not  not  not  not  not  +",
    "masking":          "live shut shut shut shut +    soon not  not  not  not  not  +",
    "closing":          "live shut shut shut shut shut +    not  not  not  not  not  +",
    "confirming":       "live shut shut shut shut shut shut +    +    quo  quo  quo  +",
    "revealing":        "live shut shut shut shut shut shut shut +    +    who  +    +",
    "recovering":       "live shut shut shut shut shut shut shut +    said +    +    +",
    "too few commits":  "live shut shut shut shut shut few  not  not  not  not  not  +",
    "too few confirms": "live shut shut shut shut shut shut shut +    quo  quo  quo  +",
    "unstarted":        "few  over over over over over over over over over over over over",
    "sealed":           "+    over over over over over over over over over over over +",
    "burned":           "+    over over over over over over over over over over over +",
    "accepted":         "near over over over over over over over over over over +    over",
}  # fmt: skip  # one case a line


def body_for(r: Rounds, name: str, phase: str) -> tuple[MemberId, Body]:
    """Who says it, and a body that is right wherever the statement is."""
    a, b, c, d, _ = r.members
    if name == "open":
        allowed = phase in ("sealed", "burned")
        return a, r.open() if allowed else Rounds.of(5, strangers=1).open()
    if name in ("start", "close"):
        return a, getattr(r, name)()
    if name == "resolve":
        return b, r.resolve(b, c)
    if name == "dispute":
        return b, r.dispute(c)
    if name == "recover":
        return b, r.recover(r.seat(d))
    if name == "accept":
        return b, r.accept()
    return b, getattr(r, name)(b)


@pytest.mark.parametrize("phase", [phase for phase in TABLE if phase != "none"])
@pytest.mark.parametrize("name", STATEMENTS)
def test_each_statement_in_each_phase(phase: str, name: str) -> None:
    r = stopped_in(phase)
    author, body = body_for(r, name, phase)
    expected = _CODES[TABLE[phase].split()[STATEMENTS.index(name)]]
    before = r.world.state
    assert fold.check(before, author, body, r.world.now_s) == expected
    assert (r.say(author, body) == Done()) == (expected is None)
    if expected is not None:
        assert r.world.state.studies == before.studies


@pytest.mark.parametrize("name", STATEMENTS)
def test_nothing_is_said_about_an_attempt_that_nobody_opened(name: str) -> None:
    r, never = Rounds.of(5, strangers=1), stopped_in("joining")
    author, body = (r.host, r.open()) if name == "open" else body_for(never, name, "joining")
    expected = _CODES[TABLE["none"].split()[STATEMENTS.index(name)]]
    assert fold.check(r.world.state, author, body, r.world.now_s) == expected


@pytest.mark.parametrize("phase", LIVE)
@pytest.mark.parametrize("name", [name for name in STATEMENTS if name != "open"])
def test_abandon_is_the_last_statement_of_a_member(phase: str, name: str) -> None:
    r = stopped_in(phase)
    _, b, *_ = r.members
    author, body = body_for(r, name, phase)
    r.done(b, r.abandon(b))
    if author == b:
        rule = Rule.SAID_BEFORE if name == "abandon" else Rule.AFTER_ABANDON
        assert r.void(b, body) is rule


@pytest.mark.parametrize("phase", LIVE)
@pytest.mark.parametrize("name", STATEMENTS)
def test_only_the_party_concerned_speaks(phase: str, name: str) -> None:
    r = stopped_in(phase)
    _, body = body_for(r, name, phase)
    *_, stranger = r.world.members
    assert r.void(stranger, body) is Rule.WRONG_PARTY
    if name in ("open", "start", "close"):
        assert r.void(r.members[1], body) is Rule.WRONG_PARTY


@pytest.mark.parametrize("count", [3, 4, 5, 7])
def test_a_round_that_goes_well(count: int) -> None:
    r = Rounds.of(count)
    r.settle()
    assert r.study.finished
    assert [result.round_no for result in r.study.results] == [1, 2, 3]
    assert all(result.survivors == set(r.members) for result in r.study.results)
    assert [ended.end for ended in r.study.ended] == [End.ACCEPTED] * 3
    assert r.world.replayed() == r.world.state


@pytest.mark.parametrize("count", [4, 5, 7])
def test_a_survivor_short_of_the_end_is_recovered(count: int) -> None:
    r = Rounds.of(count, rounds_max=1)
    gone, others = r.members[-1], r.members[:-1]
    while not isinstance(r.study.current, Revealing):
        r.settle(*others)
        if not isinstance(r.study.current, Revealing):
            r.perform(gone)
    r.settle(*others)
    assert not r.study.finished
    r.pass_deadline(*others)
    r.settle(*others)
    assert isinstance(r.last, Ended)
    assert r.seat(gone) not in r.last.revealed
    assert r.study.results[-1].survivors == set(r.members)


@pytest.mark.parametrize("count", [4, 5, 7])
def test_a_round_goes_on_without_a_member_that_never_comes(count: int) -> None:
    r = Rounds.of(count, rounds_max=1)
    *others, gone = r.members
    r.settle(*others)
    r.pass_deadline(*others)
    r.settle(*others)
    if r.study.current is not None:
        r.pass_deadline(*others)
        r.settle(*others)
    assert r.study.results[-1].survivors == set(others)
    assert gone not in r.study.results[-1].survivors


@pytest.mark.parametrize("count", [4, 5, 7])
def test_a_round_goes_on_without_a_member_that_drops_out(count: int) -> None:
    r = Rounds.of(count, rounds_max=1)
    *others, gone = r.members
    r.settle(*others)
    r.perform(gone)  # join
    r.settle(*others)
    r.perform(gone)  # ready
    r.settle(*others)
    r.pass_deadline(*others)
    r.settle(*others)
    closed = closed_of(r.last)
    assert closed is not None
    assert closed.dropped == {r.seat(gone)}
    while r.study.current is not None:
        r.pass_deadline(*others)
        r.settle(*others)
    assert r.study.results[-1].survivors == set(others)


def test_three_members_have_no_slack() -> None:
    r = Rounds.of(3)
    a, b, c = r.members
    r.settle(a, b)
    r.pass_deadline(a, b)
    assert isinstance(r.last, Ended)
    assert r.last.end is End.UNSTARTED
    waiting = rounds.expected_open(r.world.state, r.study_id)
    assert isinstance(waiting, rounds.Waiting)
    assert c in waiting.members
