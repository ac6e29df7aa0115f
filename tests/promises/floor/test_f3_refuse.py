"""F3: each owner refuses any study at its own site, without a reason and without a penalty.

Attack: everybody else says yes in its place, or moves that it must.
"""

from __future__ import annotations

from typing import get_args

from comity.commons.opening import may_take_part
from comity.commons.rulebook import Act
from comity.commons.state import Done, Void
from comity.errors import Rule
from comity.statements.studies import ConsentGive, ConsentRefuse, ConsentWithdraw
from tests.commons.governed import governed
from tests.worlds import digest


def test_nobody_says_yes_in_an_owners_place() -> None:
    world = governed()
    a, b, *_ = world.members
    study = world.register(a)
    dataset = world.declare(b)
    yes = ConsentGive(dataset=dataset, exposed=True, study=study, version=digest("1"))
    for other in world.members:
        if other != b:
            assert world.say(other, yes) == Void(Rule.WRONG_PARTY)
    assert b not in world.study(study).consents


def test_a_refusal_needs_no_reason_and_ends_what_was_given() -> None:
    world = governed()
    a, b, c, *_ = world.members
    study = world.register(a)
    for member in (b, c):
        world.enrol(member, study)
    assert world.say(b, ConsentRefuse(study=study)) == Done()
    assert world.say(c, ConsentWithdraw(study=study)) == Done()
    assert not any(may_take_part(world.state, world.study(study), m) for m in (b, c))


def test_no_motion_is_about_consent() -> None:
    assert set(get_args(Act)) == {"admit", "amend", "exclude", "host", "release", "suspend"}


def test_who_refuses_keeps_every_vote_and_every_right() -> None:
    world = governed()
    a, b, *_ = world.members
    world.done(b, ConsentRefuse(study=world.register(a)))
    assert b in world.state.present and not world.state.is_suspended(b)
