"""F4: no vote opens a record, a single update, or a sum of fewer than three members.

Attacks: a charter with smaller sums; voting a member out, suspending it or revoking its keys, so
that the next sum without it shows nearly its update (attack 46, by decision and not by absence).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from comity.commons.amending import amendment
from comity.commons.charter import charter_bytes, charter_fault, parse_charter
from comity.commons.opening import Waiting, expected_open
from comity.commons.state import Void
from comity.errors import Malformed, Rule
from comity.statements.membership import MemberLeave
from comity.statements.rounds import RoundOpen
from comity.statements.studies import StudyRegister
from comity.values import DAY_S, MemberId
from tests.commons.changes import approve, revoke_body
from tests.commons.governed import exclude, governed, moved, suspend, vote
from tests.commons.rounds_world import Rounds
from tests.worlds import World, charter_of, plan_of


def test_no_charter_allows_a_sum_of_two() -> None:
    two = msgspec.structs.replace(charter_of(2).studies, survivors_min=2)
    charter = charter_of(2, studies=two)
    assert "[f4-sum-too-small]" in (charter_fault(charter) or "")
    with pytest.raises(Malformed, match="f4-sum-too-small"):
        parse_charter(charter_bytes(charter))


def test_no_majority_votes_for_smaller_sums() -> None:
    world = governed()
    smaller = msgspec.structs.replace(world.state.charter.studies, survivors_min=2)
    after = msgspec.structs.replace(world.state.charter, studies=smaller)
    motion = amendment(world.state.charter, after)
    assert moved(world, world.members[0], motion) == Void(Rule.F4_SUM_TOO_SMALL)


def summed() -> Rounds:
    """A study with one result, of all five members."""
    world = governed()
    world.done(world.members[0], StudyRegister(name="s", plan=plan_of(5, rounds_max=9)))
    r = Rounds(world, world.last_id, world.members)
    for member in world.members:
        world.enrol(member, r.study_id)
    while not r.study.results:
        r.settle_once()
    assert r.study.results[0].survivors == set(world.members)
    return r


def voted_out(world: World, member: MemberId) -> None:
    a, b, c, *_ = world.members
    vote(world, exclude(world, a, member), "yes")
    approve(world, (a, b, c))


def suspended(world: World, member: MemberId) -> None:
    vote(world, suspend(world, world.members[0], member, 3 * DAY_S), "yes")


def revoked(world: World, member: MemberId) -> None:
    a, b, c, *_ = world.members
    world.done(a, revoke_body(world, member))
    approve(world, (a, b, c))


@pytest.mark.parametrize("out", [voted_out, suspended, revoked])
def test_no_vote_opens_the_update_of_whom_it_takes_out(
    out: Callable[[World, MemberId], None],
) -> None:
    r = summed()
    e = r.members[-1]
    out(r.world, e)
    waiting = expected_open(r.world.state, r.study_id)
    assert isinstance(waiting, Waiting) and waiting.rule is Rule.SET_NEARLY_EQUAL
    assert e in waiting.members


def test_who_leaves_by_its_own_word_has_accepted_that() -> None:
    r = summed()
    r.world.done(r.members[-1], MemberLeave())
    assert isinstance(expected_open(r.world.state, r.study_id), RoundOpen)
