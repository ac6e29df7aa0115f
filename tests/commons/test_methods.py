"""Methods in plans: which settings go together, and which are void."""

from __future__ import annotations

import pytest

from comity.commons.state import Done, Void
from comity.commons.studies import plan_fault
from comity.errors import Rule
from comity.statements.studies import Method, StudyRegister
from tests.statements.samples import digest
from tests.worlds import World, plan_of

MOMENTS = {"moments": digest("moments")}


@pytest.mark.parametrize(
    ("method", "changes", "names"),
    [
        (Method(), {}, "left out"),
        (Method(own=1, steps=1), {}, "plain has no lr"),
        (Method(own=1, proximal_millionths=1), {}, "plain has no proximal"),
        (Method(name="fedprox", lr_trillionths=1), {}, "fedprox has no lr"),
        (Method(name="scaffold", steps=1), MOMENTS, "scaffold has lr"),
        (Method(name="scaffold", lr_trillionths=1), MOMENTS, "scaffold has lr"),
        (Method(name="scaffold", steps=1, lr_trillionths=1), {}, "moments"),
        (Method(own=1), MOMENTS, "moments"),
    ],
)
def test_a_method_that_contradicts_itself_is_void(
    method: Method, changes: dict[str, object], names: str
) -> None:
    world = World.of(5)
    plan = plan_of(5, method=method, **changes)
    fault = plan_fault(world.charter.studies, plan, 5)
    assert fault is not None and names in fault
    said = world.say(world.members[0], StudyRegister(name="study", plan=plan))
    assert said == Void(Rule.STUDY_OUT_OF_BOUNDS)


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        (Method(name="fedprox"), {}),
        (Method(own=1), {}),
        (Method(fine_tuning=1), {}),
        (Method(name="scaffold", steps=1, lr_trillionths=1), MOMENTS),
    ],
)
def test_a_method_that_fits_is_registered(method: Method, changes: dict[str, object]) -> None:
    world = World.of(5)
    body = StudyRegister(name="study", plan=plan_of(5, method=method, **changes))
    assert world.say(world.members[0], body) == Done()
