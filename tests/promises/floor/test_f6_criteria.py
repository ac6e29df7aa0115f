"""F6: an applicant is refused for a criterion in force when it applied, or not at all.

Attacks: a no without a ground, a ground that is no criterion, a criterion made for one applicant,
a motion that is taken back when it is about to pass.
"""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from comity.commons.amending import amendment
from comity.commons.state import Done, Void
from comity.errors import Malformed, Rule
from comity.statements.governing import (
    AdmitMotion,
    Criterion,
    ProposalWithdraw,
    VoteCast,
    proposal_of,
)
from comity.statements.keysets import key_set_digest
from comity.values import EXIT_S_MIN, MemberId, StatementId
from tests.commons.changes import apply_body
from tests.commons.governed import governed, held, move, move_charter, vote
from tests.worlds import World, keys_of

APPLICANT = MemberId("newcomer")


def applied(world: World) -> None:
    world.say(APPLICANT, apply_body(APPLICANT))


def admission(world: World) -> StatementId:
    keys = key_set_digest(keys_of(APPLICANT).key_set)
    return move(world, world.members[0], AdmitMotion(keys=keys, member=APPLICANT))


@pytest.mark.parametrize("choice", ["no", "object"])
def test_a_no_without_a_criterion_does_not_count(choice: str) -> None:
    world = governed()
    applied(world)
    proposal = admission(world)
    bare = VoteCast(choice="no", proposal=proposal, reason="we do not want it")
    bare = msgspec.structs.replace(bare, choice=choice)
    for voter in world.members[:4]:
        assert world.say(voter, bare) == Void(Rule.F6_NO_CRITERION)
    vote(world, proposal, "yes", world.members[4:])
    assert held(world, proposal).votes == {world.members[4]: "yes"}
    cited = msgspec.structs.replace(bare, criterion="contact")
    assert world.say(world.members[0], cited) == Done()


def test_who_moves_an_admission_first_does_not_stop_it_without_a_criterion() -> None:
    world = governed()
    applied(world)
    proposal = admission(world)
    vote(world, proposal, "yes", world.members[1:])
    back = ProposalWithdraw(proposal=proposal)
    assert world.say(world.members[0], back) == Void(Rule.VOTE_CLOSED)
    world.pass_time(3_600)
    assert held(world, proposal).ending == "passed"


def test_place_and_language_are_no_criteria_and_cannot_even_be_said() -> None:
    assert set(get_args(Criterion)) == {"lawful-data", "ethics-body", "contact", "conformance"}
    world = governed()
    applied(world)
    vote_no = VoteCast(choice="no", proposal=admission(world))
    for said in ("country", "nationality", "language", "location"):
        body = msgspec.structs.replace(vote_no, criterion=said)
        with pytest.raises(Malformed):
            world.envelope(world.members[0], body)


def test_a_criterion_made_for_one_applicant_does_not_refuse_it() -> None:
    few = governed(5, criteria=("contact",))
    more = msgspec.structs.replace(few.state.charter, criteria=("contact", "ethics-body"))
    motion = move_charter(few, few.members[0], more)
    vote(few, motion, "yes")
    few.pass_time(EXIT_S_MIN - 3_600)
    applied(few)  # before the amendment binds
    few.pass_time(3_600)
    assert few.state.charter.criteria == ("contact", "ethics-body")
    proposal = admission(few)
    late = VoteCast(choice="no", proposal=proposal, criterion="ethics-body")
    assert few.say(few.members[0], late) == Void(Rule.F6_NO_CRITERION)
    in_force = msgspec.structs.replace(late, criterion="contact")
    assert few.say(few.members[0], in_force) == Done()


def test_no_amendment_adds_a_criterion_of_place() -> None:
    world = governed()
    terms = amendment(
        world.state.charter, msgspec.structs.replace(world.state.charter, criteria=("contact",))
    )
    bent = msgspec.structs.replace(terms, terms=terms.terms.replace("contact", "country"))
    assert world.say(world.members[0], proposal_of(bent)) == Void(Rule.CHARTER_UNFIT)
