"""F1: a member leaves at once, whatever the others decide; its copy and its past stay with it.

Attack: all others try to keep it in, while it is accused, suspended, voted on, or the host.
"""

from __future__ import annotations

import msgspec
import pytest

from comity.commons.amending import charter_digest, terms_of
from comity.commons.state import Done, Void
from comity.errors import Rule
from comity.statements.governing import AmendMotion, ExcludeMotion
from comity.statements.membership import MemberLeave
from comity.values import NOTICE_S_MIN
from tests.commons.governed import governed, held, move, moved, notice, suspend, vote
from tests.worlds import World


def accused(world: World) -> None:
    a, *_, e = world.members
    given = notice(world, a, e, age_s=NOTICE_S_MIN)
    move(world, a, ExcludeMotion(member=e, notice=given))


def suspended(world: World) -> None:
    a, *_, e = world.members
    vote(world, suspend(world, a, e), "yes")


def nothing(world: World) -> None:
    assert world.members


@pytest.mark.parametrize("before", [nothing, accused, suspended])
def test_a_member_leaves_at_once(before: object) -> None:
    world = governed()
    assert callable(before)
    before(world)
    e = world.members[-1]
    assert world.say(e, MemberLeave()) == Done()
    assert e not in world.state.present
    assert world.replayed() == world.state  # and it has every statement to replay


def test_also_the_host_leaves_and_nobody_counts_it_any_more() -> None:
    world = governed()
    assert world.say(world.state.host, MemberLeave()) == Done()
    assert world.state.host not in world.state.present


@pytest.mark.parametrize("key", ["leave", "lock_in_s", "penalty", "floor"])
def test_no_charter_has_a_key_that_keeps_anybody(key: str) -> None:
    world = governed()
    terms = msgspec.json.encode(
        {**msgspec.to_builtins(terms_of(world.state.charter)), key: "never"}, order="sorted"
    )
    motion = AmendMotion(base=charter_digest(world.state.charter), terms=terms.decode())
    assert moved(world, world.members[0], motion) == Void(Rule.CHARTER_UNFIT)


def test_who_left_is_bound_by_no_vote_that_ends_later() -> None:
    world = governed()
    a, *_, e = world.members
    proposal = suspend(world, a, e)
    world.done(e, MemberLeave())
    vote(world, proposal, "yes")
    assert held(world, proposal).ending == "stale" and e not in world.state.suspended
