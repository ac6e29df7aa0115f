"""P6. Nobody's data are used without their owner's yes, checked by the owner's own node.

Privacy budgets come later; until then a data set with a budget takes no study at all. What the
study's process cannot reach is in tests/node/test_sandbox_attacks.py.
"""

from __future__ import annotations

import pytest

from comity.commons.gate import check_run
from comity.commons.gate_steps import LocalFacts
from comity.commons.rounds import expected_open
from comity.commons.site import SitePolicy
from comity.errors import Refused, Rule
from comity.statements.rounds import RoundOpen
from comity.statements.studies import ConsentGive, ConsentWithdraw, DatasetDeclare
from comity.values import WALLS, Digest, StatementId
from tests.worlds import FIRST_S, World, digest


def commons() -> tuple[World, StatementId]:
    world = World.of(5)
    return world, world.register(world.members[0])


def gate(world: World, study: StatementId, **facts: object) -> Rule | None:
    """By which rule the node of member-b refuses to run the study; None: it runs."""
    me = world.members[1]
    local = LocalFacts(
        code=Digest(str(facts.get("code", digest("code")))),
        versions={world.declare(me, "1"): Digest(str(facts.get("version", digest("1"))))},
        walls=frozenset(WALLS if facts.get("sandboxed", True) else ()),
        now_s=FIRST_S,
        final_size=world.state.size,
        yes="study" if facts.get("person", True) else "",
    )
    policy = SitePolicy(code=(digest("reviewed"),)) if facts.get("reviewed") else SitePolicy()
    try:
        check_run(world.state, me, study, policy, local)
    except Refused as refused:
        return refused.rule
    return None


def test_without_a_yes_nothing_runs_whatever_others_have_said() -> None:
    world, study = commons()
    for member in world.members[2:]:
        world.enrol(member, study)
    assert gate(world, study) is Rule.NO_CONSENT
    world.enrol(world.members[1], study)
    assert gate(world, study) is None


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"code": digest("other code")}, Rule.CODE_NOT_ALLOWED),
        ({"version": digest("2")}, Rule.VERSION_NOT_DECLARED),
        ({"reviewed": True}, Rule.CODE_NOT_ALLOWED),
        ({"sandboxed": False}, Rule.SANDBOX_MISSING),
        ({"person": False}, Rule.WAITS_FOR_PERSON),
    ],
)
def test_a_yes_is_for_this_code_these_data_and_this_policy(
    changed: dict[str, object], rule: Rule
) -> None:
    world, study = commons()
    world.enrol(world.members[1], study)
    assert gate(world, study) is None
    assert gate(world, study, **changed) is rule


def test_a_yes_taken_back_counts_at_once() -> None:
    world, study = commons()
    for member in world.members:
        world.enrol(member, study)
    world.done(world.members[1], ConsentWithdraw(study=study))
    assert gate(world, study) is Rule.NO_CONSENT
    expected = expected_open(world.state, study)
    assert isinstance(expected, RoundOpen) and expected.roster_count == 4


def test_nobody_says_yes_for_others_or_for_other_data() -> None:
    world, study = commons()
    mine = world.declare(world.members[1])
    yes = ConsentGive(dataset=mine, exposed=False, study=study, version=digest("1"))
    for other in (world.members[0], world.members[2]):
        outcome = world.say(other, yes)
        assert getattr(outcome, "rule", None) is Rule.WRONG_PARTY
    world.done(world.members[1], yes)


def test_a_data_set_with_a_budget_takes_no_study_yet() -> None:
    world, study = commons()
    owner, dataset = world.members[1], world.declare(world.members[1])
    with_budget = DatasetDeclare(
        dataset=dataset, unit="person", version=digest("1"), epsilon_millionths=1_000_000
    )
    world.done(owner, with_budget)
    outcome = world.say(
        owner, ConsentGive(dataset=dataset, exposed=False, study=study, version=digest("1"))
    )
    assert getattr(outcome, "rule", None) is Rule.BUDGET_WITHOUT_EVENTS
