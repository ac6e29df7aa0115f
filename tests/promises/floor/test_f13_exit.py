"""F13: an amendment binds only after a time to leave in; the floor itself has no amendment.

Attacks: a charter without that time, a rule that takes it away, a clock that jumps over it, an
amendment of what says which commons this is.
"""

from __future__ import annotations

import msgspec
import pytest

from comity.commons.amending import TERMS, amendment, charter_digest, terms_of
from comity.commons.charter import Charter, charter_fault
from comity.commons.state import Done, Void
from comity.errors import Rule
from comity.statements.governing import AmendMotion, ProposalWithdraw
from comity.statements.membership import MemberLeave
from comity.values import EXIT_S_MIN
from tests.commons.governed import WINDOW_S, governed, held, move_charter, moved, vote, with_rule


@pytest.mark.parametrize("effect_s", [0, EXIT_S_MIN - 1])
def test_no_charter_is_amended_without_time_to_leave(effect_s: int) -> None:
    world = governed()
    after = with_rule(world.state.charter, "amend", effect_s=effect_s)
    assert "[f13-exit-too-short]" in (charter_fault(after) or "")
    motion = amendment(world.state.charter, after)
    assert moved(world, world.members[0], motion) == Void(Rule.F13_EXIT_TOO_SHORT)


def test_a_jump_of_all_clocks_takes_nothing_from_it() -> None:
    world = governed()
    a, b, c, d, e = world.members
    proposal = move_charter(world, a, with_rule(world.state.charter, "swift", window_s=60))
    vote(world, proposal, "yes", (a, b, c, d))
    world.pass_time(WINDOW_S + 3 * EXIT_S_MIN)
    waiting = held(world, proposal)
    assert waiting.stage == "waiting" and world.state.charter == world.state.founding
    assert waiting.closes_s == world.state.commons_time_s + EXIT_S_MIN
    assert world.say(e, MemberLeave()) == Done()


def test_what_passed_is_not_taken_back_or_hurried_by_its_author() -> None:
    world = governed()
    proposal = move_charter(
        world, world.members[0], with_rule(world.state.charter, "swift", window_s=60)
    )
    vote(world, proposal, "yes")
    back = ProposalWithdraw(proposal=proposal)
    assert world.say(world.members[0], back) == Void(Rule.VOTE_CLOSED)


@pytest.mark.parametrize("key", sorted(set(Charter.__struct_fields__) - set(TERMS)))
def test_what_says_which_commons_this_is_is_no_term(key: str) -> None:
    world = governed()
    charter = world.state.charter
    terms = {**msgspec.to_builtins(terms_of(charter)), key: msgspec.to_builtins(charter)[key]}
    motion = AmendMotion(
        base=charter_digest(charter), terms=msgspec.json.encode(terms, order="sorted").decode()
    )
    assert moved(world, world.members[0], motion) == Void(Rule.CHARTER_UNFIT)


def test_unanimity_does_not_amend_the_floor_either() -> None:
    world = governed()
    after = with_rule(
        world.state.charter, "amend", method="unanimity", yes="", of="cast", effect_s=1
    )
    motion = amendment(world.state.charter, after)
    for member in world.members:
        assert moved(world, member, motion) == Void(Rule.F13_EXIT_TOO_SHORT)
