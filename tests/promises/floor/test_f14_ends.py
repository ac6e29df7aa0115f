"""F14: what stops somebody ends by itself.

Attacks: a suspension without an end, one beyond the charter's, short ones strung together, a
charter that allows it.
"""

from __future__ import annotations

import pytest

from comity.commons.amending import amendment
from comity.commons.charter import charter_fault
from comity.commons.state import Done, Void
from comity.errors import Malformed, Rule
from comity.statements.governing import SuspendMotion
from comity.values import DAY_S, NOTICE_S_MIN, SUSPENSION_APART_S, SUSPENSION_S_MAX
from tests.commons.governed import (
    EXPIRES_S,
    governed,
    move,
    moved,
    notice,
    suspend,
    vote,
    with_rule,
)


@pytest.mark.parametrize("expires_s", [0, SUSPENSION_S_MAX + 1])
def test_no_charter_suspends_without_an_end(expires_s: int) -> None:
    world = governed()
    after = with_rule(world.state.charter, "urgent", expires_s=expires_s)
    assert "[f14-no-end]" in (charter_fault(after) or "")
    motion = amendment(world.state.charter, after)
    assert moved(world, world.members[0], motion) == Void(Rule.F14_NO_END)


def test_no_vote_suspends_for_longer_than_the_charter_says() -> None:
    world = governed()
    a, *_, e = world.members
    given = notice(world, a, e, age_s=NOTICE_S_MIN)
    longer = SuspendMotion(member=e, seconds=EXPIRES_S + 1, notice=given)
    assert moved(world, a, longer) == Void(Rule.F14_NO_END)
    assert moved(world, a, SuspendMotion(member=e, seconds=EXPIRES_S, notice=given)) == Done()


@pytest.mark.parametrize("seconds", [0, -1, 10**9])
def test_a_suspension_without_an_end_cannot_even_be_said(seconds: int) -> None:
    world = governed()
    with pytest.raises(Malformed):
        moved(world, world.members[0], SuspendMotion(member=world.members[1], seconds=seconds))


def test_it_ends_by_itself_though_nobody_says_anything_about_it() -> None:
    world = governed()
    a, *_, e = world.members
    vote(world, suspend(world, a, e, 2 * DAY_S), "yes")
    assert world.state.is_suspended(e)
    world.pass_time(2 * DAY_S)
    assert not world.state.is_suspended(e)


def test_a_majority_that_suspends_again_and_again_has_to_wait_longer_than_it_may_suspend() -> None:
    world = governed()
    a, *_, e = world.members
    stopped = 0
    began_s = world.state.commons_time_s
    for _ in range(40):
        motion = SuspendMotion(member=e, seconds=3 * DAY_S)
        if moved(world, a, motion, "again") == Done():
            vote(world, world.last_id, "yes")
            stopped += 3 * DAY_S
        world.pass_time(3 * DAY_S)
    whole = world.state.commons_time_s - began_s
    assert (
        0 < stopped * (SUSPENSION_APART_S + 3 * DAY_S) <= (whole + SUSPENSION_APART_S) * 3 * DAY_S
    )


def test_a_noticed_suspension_ends_too() -> None:
    world = governed()
    a, *_, e = world.members
    given = notice(world, a, e, age_s=NOTICE_S_MIN)
    vote(world, move(world, a, SuspendMotion(member=e, seconds=EXPIRES_S, notice=given)), "yes")
    world.pass_time(EXPIRES_S)
    assert not world.state.is_suspended(e)
