"""Plans that evaluate a given model; what sites may tell of failures, how often, and who."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from comity.commons import fold
from comity.commons.exposure import exposed_by
from comity.commons.opening import expected_open
from comity.commons.state import Done, Study
from comity.commons.studies import plan_fault
from comity.errors import Rule
from comity.statements.rounds import RoundOpen
from comity.statements.studies import Method, StudyFail, StudyRegister, UpdateRule
from comity.statements.wire import canonical
from comity.values import (
    FAILURE_LINE_MAX,
    FAILURES_PER_STUDY_MAX,
    NOTHING,
    Digest,
    StatementId,
    work_digest,
)
from tests.commons.rounds_world import Rounds
from tests.worlds import World, digest, plan_of

GIVEN = digest("given")


def test_an_evaluation_is_one_plain_round_of_a_given_model() -> None:
    bounds = World.of(5).charter.studies
    plan = plan_of(5, evaluates=GIVEN, rounds_max=1)
    assert plan_fault(bounds, plan, 5) is None
    assert (
        plan_fault(bounds, msgspec.structs.replace(plan, weights="hidden", weight_max=9), 5) is None
    )
    rule = UpdateRule(name="fedavg", server_lr_millionths=500_000)
    for wrong in (
        {"evaluates": NOTHING},
        {"rounds_max": 2},
        {"rule": rule},
        {"method": Method(fine_tuning=1)},
        {"weights": "declared", "weight_max": 9},
    ):
        fault = plan_fault(bounds, msgspec.structs.replace(plan, **wrong), 5)
        assert fault is not None and fault.startswith("evaluates"), wrong


def test_a_plan_without_a_given_model_has_the_bytes_it_had() -> None:
    plan = plan_of(5)
    assert b"evaluates" not in canonical(plan)
    assert canonical(msgspec.structs.replace(plan, evaluates=GIVEN)).count(GIVEN.encode()) == 1
    assert GIVEN in msgspec.structs.replace(plan, evaluates=GIVEN).blobs
    body = StudyRegister(name="s", plan=msgspec.structs.replace(plan, evaluates=GIVEN))
    assert ("evaluates", GIVEN) in body.about()


def test_the_work_of_an_evaluation_is_that_of_its_model() -> None:
    """R6: the same model and code over another set is the same work; another model is not."""
    r = Rounds.of(4, evaluates=GIVEN, rounds_max=1)
    body = expected_open(r.world.state, r.study_id)
    plan = r.study.register.plan
    assert isinstance(body, RoundOpen)
    assert body.work == work_digest(plan.code, plan.parameters, GIVEN)


def test_evaluations_of_one_model_or_of_one_study_are_compared() -> None:
    """5.10: two sums of nearly equal metrics over nearly equal sets would show a member's row."""
    r = Rounds.of(5, evaluates=GIVEN, rounds_max=1)
    *others, e = r.members
    r.settle()
    assert r.study.finished and r.study.results[0].survivors == set(r.members)

    def of(given: str) -> Study:
        plan = msgspec.structs.replace(r.study.register.plan, evaluates=given)
        register = msgspec.structs.replace(r.study.register, plan=plan)
        return replace(
            r.study, id=StatementId(digest("again")), register=register, ended=(), results=()
        )

    four = frozenset(others)
    assert exposed_by(of(GIVEN), r.world.state, four) == {e}
    assert exposed_by(of(GIVEN), r.world.state, frozenset(r.members)) == frozenset()
    assert exposed_by(of(digest("model 2")), r.world.state, four) == frozenset()
    # Once both are models of one study, their metrics are nearly equal.
    trained = r.world.register(r.host, "trained")
    r.world.accept(trained, "model 1")
    assert exposed_by(of(digest("model 2")), r.world.state, four) == frozenset()
    r.world.bend_study(
        trained,
        results=(
            replace(r.study.results[0], model=Digest(GIVEN)),
            replace(r.study.results[0], model=digest("model 2")),
        ),
    )
    assert exposed_by(of(digest("model 2")), r.world.state, four) == {e}


def test_a_site_tells_of_a_failure_once_for_an_attempt_it_was_asked_into() -> None:
    r = Rounds.of(4, strangers=1)
    r.done(r.host, r.open())
    failed = StudyFail(attempt=1, kind="code-failed", round_no=1, study=r.study_id)
    for wrong in (
        {"attempt": 2},
        {"round_no": 2},
        {"study": digest("no study")},
    ):
        assert r.void(r.members[1], msgspec.structs.replace(failed, **wrong)) is Rule.NO_SUCH_THING
    assert r.void(r.world.members[4], failed) is Rule.WRONG_PARTY
    r.done(r.members[1], failed)
    assert r.study.failures == ((r.members[1], failed),)
    changed = msgspec.structs.replace(failed, line=7)
    assert r.void(r.members[1], changed) is Rule.SAID_BEFORE
    r.done(r.members[2], changed)


def test_a_site_tells_of_three_failures_in_a_study() -> None:
    """ADR 58: what codes can carry out of a site is bounded by the fold, not by its node alone."""
    r = Rounds.of(4)
    member = r.members[1]
    failed = StudyFail(attempt=1, kind="not-finite", round_no=1, study=r.study_id)
    r.done(r.host, r.open())
    r.done(member, failed)
    told = tuple(
        (member, msgspec.structs.replace(failed, attempt=2 + number))
        for number in range(FAILURES_PER_STUDY_MAX - 1)
    )
    one = r.study.failures
    r.world.bend_study(r.study_id, failures=told)
    r.done(member, failed)
    r.world.bend_study(
        r.study_id, failures=(*told, (member, msgspec.structs.replace(failed, attempt=9)))
    )
    assert fold.check(r.world.state, member, failed, r.world.now_s) is Rule.TOO_MANY
    r.world.bend_study(r.study_id, failures=one)
    assert r.say(r.members[2], failed) == Done()


def test_a_code_holds_no_text_and_no_long_line() -> None:
    form = {"attempt": 1, "kind": "code-failed", "round_no": 1, "study": digest("s")}
    msgspec.convert({**form, "line": FAILURE_LINE_MAX, "raised": "ValueError"}, StudyFail)
    for wrong in (
        {"line": FAILURE_LINE_MAX + 1},
        {"line": -1},
        {"raised": "PatientError"},
        {"kind": "patient-4711"},
        {"words": "x"},
    ):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({**form, **wrong}, StudyFail)
