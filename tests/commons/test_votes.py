"""Votes on releases, and the signatures that follow a yes.

Attacks: a proposal for a result that is not the newest, a vote after closing, a signature on what
was not decided. Small electorates are tried exhaustively.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Literal

import msgspec
import pytest

from comity.commons.state import Done, Proposal, Void
from comity.errors import Rule
from comity.statements.governing import ProposalOpen, ReleaseMotion, ReleaseSign, Seen, VoteCast
from comity.values import PROPOSALS_OPEN_PER_MEMBER_MAX, StatementId
from tests.worlds import FIRST_S, World, digest

Choice = Literal["yes", "no", "abstain"]
CHOICES: tuple[Choice, ...] = ("yes", "no", "abstain")
NO_SUCH = StatementId(digest("no such thing"))


def with_result(count: int, **changes: int) -> tuple[World, StatementId]:
    """A commons with a study that has one accepted result."""
    world = World.of(count, **changes)
    study = world.register(world.members[0])
    world.accept(study, "model 1")
    return world, study


def with_proposal(count: int, **changes: int) -> tuple[World, StatementId]:
    """A commons with an open proposal to release a result."""
    world, study = with_result(count, **changes)
    return world, world.propose(world.members[0], study)


def motion(study: StatementId, **changes: object) -> ReleaseMotion:
    newest = ReleaseMotion(
        manifest=digest("manifest"), model=digest("model 1"), round_no=1, study=study
    )
    return msgspec.structs.replace(newest, **changes)


def propose(study: StatementId, **changes: object) -> ProposalOpen:
    return ProposalOpen(motion="release", release=motion(study, **changes))


def held(world: World, proposal: StatementId) -> Proposal:
    return world.state.proposals[proposal]


def test_the_newest_result_is_put_to_all_members() -> None:
    world, study = with_result(3, vote_open_s=600)
    assert world.say(world.members[1], propose(study)) == Done()
    proposal = held(world, world.last_id)
    assert proposal.electorate == set(world.members)
    assert (proposal.decided, proposal.closes_s) == (None, FIRST_S + 600)


@pytest.mark.parametrize(
    "changes", [{"round_no": 2}, {"model": digest("model 0")}, {"model": digest("another")}]
)
def test_another_base_than_the_newest_result_is_void(changes: dict[str, object]) -> None:
    world, study = with_result(3)
    assert world.say(world.members[0], propose(study, **changes)) == Void(Rule.BASE_CHANGED)
    world.accept(study, "model 2")
    assert world.say(world.members[0], propose(study)) == Void(Rule.BASE_CHANGED)


def test_no_result_no_proposal() -> None:
    world = World.of(3)
    study = world.register(world.members[0])
    assert world.say(world.members[0], propose(study)) == Void(Rule.BASE_CHANGED)
    assert world.say(world.members[0], propose(NO_SUCH)) == Void(Rule.NO_SUCH_THING)


def test_the_same_motion_stands_once_unless_it_was_rejected() -> None:
    world, study = with_result(3)
    a, b, c = world.members
    world.say(a, propose(study))
    first = world.last_id
    assert world.say(b, propose(study)) == Void(Rule.SAID_BEFORE)
    for voter in (a, b):
        world.say(voter, VoteCast(choice="no", proposal=first))
    assert world.say(b, propose(study)) == Done()
    second = world.last_id
    for voter in (a, c):
        world.say(voter, VoteCast(choice="yes", proposal=second))
    assert held(world, second).decided is True
    assert world.say(c, propose(study)) == Void(Rule.SAID_BEFORE)


def test_open_proposals_of_a_member_are_limited() -> None:
    world, study = with_result(3)
    for number in range(PROPOSALS_OPEN_PER_MEMBER_MAX):
        assert world.say(world.members[0], propose(study, manifest=digest(f"{number}"))) == Done()
    one_more = propose(study, manifest=digest("one more"))
    assert world.say(world.members[0], one_more) == Void(Rule.TOO_MANY)
    assert world.say(world.members[1], one_more) == Done()


@pytest.mark.parametrize("count", [3, 4])
def test_every_way_to_vote_is_decided_as_soon_as_it_is_settled(count: int) -> None:
    start, proposal = with_proposal(count)
    for choices in product(CHOICES, repeat=count):
        world = World(start.charter, start.state)
        world.tree.extend(start.tree.hashes(0, i, 1) for i in range(start.tree.size))
        decided: bool | None = None
        for place, (voter, choice) in enumerate(zip(world.members, choices, strict=True)):
            outcome = world.say(voter, VoteCast(choice=choice, proposal=proposal))
            assert outcome == (Done() if decided is None else Void(Rule.VOTE_CLOSED))
            so_far = choices[: place + 1]
            if decided is None and so_far.count("yes") > count / 2:
                decided = True
            if decided is None and so_far.count("no") >= count / 2:
                decided = False
            assert held(world, proposal).decided is decided
            assert (proposal in world.state.voting) == (decided is None)


def test_a_vote_may_be_changed_until_it_is_decided() -> None:
    world, proposal = with_proposal(3)
    a, b, c = world.members
    assert world.say(a, VoteCast(choice="yes", proposal=proposal)) == Done()
    again = VoteCast(choice="yes", proposal=proposal, reason="told again")
    assert world.say(a, again) == Void(Rule.SAID_BEFORE)
    assert world.say(a, VoteCast(choice="abstain", proposal=proposal)) == Done()
    assert world.say(b, VoteCast(choice="yes", proposal=proposal)) == Done()
    assert held(world, proposal).decided is None
    assert world.say(c, VoteCast(choice="yes", proposal=proposal)) == Done()
    assert held(world, proposal).decided is True
    assert held(world, proposal).decided_index == world.state.size - 1
    assert world.say(a, VoteCast(choice="no", proposal=proposal)) == Void(Rule.VOTE_CLOSED)
    assert world.say(a, VoteCast(choice="no", proposal=NO_SUCH)) == Void(Rule.NO_SUCH_THING)


def test_only_the_electorate_votes() -> None:
    world, proposal = with_proposal(3)
    # All members are the electorate today, so the state is bent to see the rule.
    narrow = replace(held(world, proposal), groups=dict.fromkeys(world.members[1:], ""))
    world.bend(proposals=world.state.proposals.adding(proposal, narrow))
    vote = VoteCast(choice="yes", proposal=proposal)
    assert world.say(world.members[0], vote) == Void(Rule.WRONG_PARTY)
    assert world.say(world.members[1], vote) == Done()


def test_a_vote_closes_in_commons_time_and_votes_after_it_are_void() -> None:
    world, proposal = with_proposal(3, vote_open_s=600)
    a, b, c = world.members
    world.say(a, VoteCast(choice="yes", proposal=proposal))
    # One clock past the deadline does not close it: commons time is the median.
    world.say(b, Seen(), FIRST_S + 600)
    assert held(world, proposal).decided is None
    # This vote is the entry at which commons time gets there, so it comes too late itself.
    late = VoteCast(choice="yes", proposal=proposal)
    assert world.say(c, late, FIRST_S + 600) == Void(Rule.VOTE_CLOSED)
    assert held(world, proposal).decided is False
    assert held(world, proposal).decided_index == world.state.size - 1
    assert world.state.voting == ()


def test_all_votes_that_are_over_close_at_one_entry() -> None:
    world, study = with_result(3, vote_open_s=600)
    for number in range(3):
        world.say(world.members[0], propose(study, manifest=digest(f"{number}")))
    world.pass_time(600)
    assert all(p.decided is False for p in world.state.proposals.values())
    assert len({p.decided_index for p in world.state.proposals.values()}) == 1


def test_members_sign_a_decided_release_once() -> None:
    world, proposal = with_proposal(3)
    a, b, c = world.members
    decided = held(world, proposal).release
    assert decided is not None
    body = ReleaseSign(manifest=decided.manifest, model=decided.model, proposal=proposal)
    assert world.say(a, body) == Void(Rule.NOT_DECIDED)
    for voter in (a, b):
        world.say(voter, VoteCast(choice="yes", proposal=proposal))
    assert world.say(a, body) == Done()
    assert world.say(a, body) == Void(Rule.SAID_BEFORE)
    other = digest("another")
    assert world.say(c, msgspec.structs.replace(body, manifest=other)) == Void(Rule.NOT_DECIDED)
    assert world.say(c, msgspec.structs.replace(body, model=other)) == Void(Rule.NOT_DECIDED)
    missing = msgspec.structs.replace(body, proposal=NO_SUCH)
    assert world.say(c, missing) == Void(Rule.NO_SUCH_THING)
    assert world.say(c, body) == Done()
    assert held(world, proposal).signed == {a: world.state.size - 6, c: world.state.size - 1}


def test_a_rejected_release_is_not_signed() -> None:
    world, proposal = with_proposal(3)
    decided = held(world, proposal).release
    assert decided is not None
    for voter in world.members[:2]:
        world.say(voter, VoteCast(choice="no", proposal=proposal))
    body = ReleaseSign(manifest=decided.manifest, model=decided.model, proposal=proposal)
    assert world.say(world.members[0], body) == Void(Rule.NOT_DECIDED)
