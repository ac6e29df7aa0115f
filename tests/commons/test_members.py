"""Founding, `seen`, and commons time, in commons with really signed statements.

Attacks: a stranger founds, a founder enters with other keys, two roles share a key (17), one clock
that lies moves commons time, `seen` floods the log. Each gets its exact rule.
"""

from __future__ import annotations

import statistics

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.commons import fold, rounds
from comity.commons.charter import Founder
from comity.commons.members import all_deadlines, lower_median
from comity.commons.state import Done, Void
from comity.errors import Forged, Refused, Rule
from comity.statements.governing import CommonsFound, KeySet, Seen
from comity.statements.keysets import key_set_digest, make_possession
from comity.statements.rounds import RoundOpen
from comity.statements.studies import DatasetDeclare, Deadlines
from comity.values import DAY_S, DatasetId, MemberId
from tests.worlds import FIRST_S, World, charter_of, digest, found_body, keys_of


def test_a_commons_is_founded_when_its_last_founder_enters() -> None:
    world = World.empty(charter_of(3))
    for place, member in enumerate(world.members):
        assert world.state.founded_size == 0
        assert world.say(member, found_body(member)) == Done()
        assert world.state.size == place + 1
    assert world.state.founded_size == 3
    assert set(world.state.keys) == set(world.members)


def test_nothing_else_counts_before_all_have_entered() -> None:
    world = World.empty(charter_of(3))
    first, *others = world.members
    world.say(first, found_body(first))
    assert world.say(first, Seen()) == Void(Rule.NOT_FOUNDED)
    body = DatasetDeclare(dataset=DatasetId("rows"), unit="record", version=digest("1"))
    assert world.say(first, body) == Void(Rule.NOT_FOUNDED)
    assert world.say(first, found_body(first)) == Void(Rule.SAID_BEFORE)
    for member in others:
        world.say(member, found_body(member))
    assert world.say(first, body) == Done()


def test_entering_twice_is_void() -> None:
    world = World.of(3)
    member = world.members[1]
    assert world.say(member, found_body(member)) == Void(Rule.SAID_BEFORE)


def test_a_founder_with_other_keys_than_the_charter_lists_is_not_admitted() -> None:
    world = World.empty(charter_of(3))
    me = world.members[0]
    for other in ("member-b", "stranger"):
        body = found_body(MemberId(other))
        with pytest.raises(Refused) as refused:
            world.say(me, body)
        assert refused.value.rule is Rule.KEYS_NOT_IN_CHARTER
        assert fold.check(world.state, me, body, FIRST_S) is Rule.KEYS_NOT_IN_CHARTER


def test_possession_of_each_key_is_shown() -> None:
    world = World.empty(charter_of(3))
    me, other = world.members[0], world.members[1]
    honest, theirs = found_body(me), found_body(other).possession
    for role in ("statement", "head", "host", "model"):
        stolen = msgspec.structs.replace(honest.possession, **{role: getattr(theirs, role)})
        with pytest.raises(Forged):
            world.say(me, CommonsFound(key_set=honest.key_set, possession=stolen))
    assert world.say(me, honest) == Done()


def test_attack_17_one_key_under_two_members_is_not_admitted() -> None:
    # The second founder registers the first one's head key as its own host key.
    thief, victim = keys_of(MemberId("member-b")), keys_of(MemberId("member-a"))
    public = msgspec.structs.replace(thief.key_set.keys, host=victim.key_set.keys.head)
    key_set = KeySet(keys=public, member=MemberId("member-b"), serial=0)
    possession = make_possession(
        key_set, head=thief.head, host=victim.head, model=thief.model, statement=thief.statement
    )
    honest = charter_of(3)
    listed = Founder(id=MemberId("member-b"), keys=key_set_digest(key_set))
    founders = (honest.founders[0], listed, honest.founders[2])
    world = World.empty(charter_of(3, founders=founders))
    world.say(world.members[0], found_body(world.members[0]))
    with pytest.raises(Refused) as refused:
        world.say(world.members[1], CommonsFound(key_set=key_set, possession=possession))
    assert refused.value.rule is Rule.KEY_USED


@given(st.lists(st.integers(0, 99), min_size=1, max_size=9))
def test_commons_time_is_the_lower_median(times: list[int]) -> None:
    assert lower_median(times) == statistics.median_low(times)


@given(
    st.integers(2, 6),
    st.lists(st.tuples(st.integers(0, 5), st.integers(-9_000, 9_000)), max_size=30),
)
def test_commons_time_equals_its_definition_and_never_goes_back(
    count: int, said: list[tuple[int, int]]
) -> None:
    world = World.of(count)
    clocks = dict.fromkeys(world.members, FIRST_S)
    before = world.state.commons_time_s
    assert before == FIRST_S
    for turn, shift_s in said:
        member = world.members[turn % count]
        world.say(member, Seen(), FIRST_S + shift_s)
        clocks[member] = max(clocks[member], FIRST_S + shift_s)
        assert world.state.commons_time_s == statistics.median_low(clocks.values()) >= before
        assert {m: a.time_s for m, a in world.state.authors.items()} == clocks
        before = world.state.commons_time_s


def test_one_clock_that_lies_moves_nothing() -> None:
    world = World.of(3)
    world.say(world.members[0], Seen(), 2**53 - 1)
    assert world.state.commons_time_s == FIRST_S


def test_seen_is_void_within_an_hour_and_counts_after_it() -> None:
    world = World.of(3)
    me = world.members[0]
    assert world.say(me, Seen(), FIRST_S + 3_599) == Void(Rule.TOO_SOON)
    # The void one moved the clock all the same, so the hour begins again.
    assert world.say(me, Seen(), FIRST_S + 3_600) == Void(Rule.TOO_SOON)
    assert world.say(me, Seen(), FIRST_S + 3_600 + 3_600) == Done()
    assert fold.check(world.state, me, Seen(), FIRST_S + 7_201) is Rule.TOO_SOON


def test_seen_counts_at_once_when_a_vote_closes() -> None:
    world = World.of(3, vote_open_s=600)
    study = world.register(world.members[0])
    world.accept(study, "model 1")
    world.propose(world.members[0], study)
    assert world.say(world.members[1], Seen(), FIRST_S + 599) == Void(Rule.TOO_SOON)
    assert world.say(world.members[1], Seen(), FIRST_S + 600) == Done()
    assert world.say(world.members[1], Seen(), FIRST_S + 601) == Void(Rule.TOO_SOON)


def test_seen_counts_at_once_when_a_deadline_of_ones_own_round_passes() -> None:
    world = World.of(4)
    study = world.register(world.members[0], deadlines=_minutes())
    for member in world.members[:3]:
        world.enrol(member, study)
    opened = rounds.expected_open(world.state, study)
    assert isinstance(opened, RoundOpen)
    assert world.say(world.members[0], opened) == Done()
    inside, outside = world.members[1], world.members[3]
    assert world.say(inside, Seen(), FIRST_S + 59) == Void(Rule.TOO_SOON)
    assert world.say(inside, Seen(), FIRST_S + 60) == Done()
    assert world.say(inside, Seen(), FIRST_S + 61) == Void(Rule.TOO_SOON)
    assert world.say(outside, Seen(), FIRST_S + 60) == Void(Rule.TOO_SOON)


def test_attack_48_members_are_held_back_only_above_the_days_quota_of_void_entries() -> None:
    world = World.of(3, void_entries_per_day_max=2)
    me = world.members[0]
    for _ in range(2):
        world.say(me, Seen())
        assert not fold.held_back(world.state, me)
    world.say(me, Seen())
    assert fold.held_back(world.state, me)
    assert not fold.held_back(world.state, world.members[1])
    assert not fold.held_back(world.state, MemberId("stranger"))
    world.pass_time(DAY_S, seen=world.members[1:])
    assert not fold.held_back(world.state, me)
    world.say(me, Seen())
    world.say(me, Seen())
    assert world.state.authors[me].void_count == 1


def test_deadlines_are_listed_in_the_order_of_the_phases() -> None:
    assert all_deadlines(_minutes()) == tuple(range(60, 540, 60))


def _minutes() -> Deadlines:
    return Deadlines(*range(60, 540, 60))
