"""The gate: what a site's own node refuses, whatever host, plan or vote say (P6).

Each refusal is triggered alone, and the order is tried by breaking several things at once.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.commons.gate import LocalFacts, SitePolicy, check_open_time, check_run, parse_site
from comity.errors import Misconfigured, Refused, Rule
from comity.statements.studies import ConsentWithdraw, DatasetDeclare, StudyLeave
from comity.values import DatasetId, Digest, MemberId, StatementId
from tests.worlds import FIRST_S, World, digest

ROWS = DatasetId("data-of-member-b")
FACTS = LocalFacts(code=digest("code"), versions={ROWS: digest("1")}, sandboxed=True)
ME = MemberId("member-b")


def enrolled(*, exposed: bool = False) -> tuple[World, StatementId]:
    world = World.of(5)
    study = world.register(world.members[0])
    world.enrol(ME, study, exposed=exposed)
    return world, study


def refusal(
    world: World, study: StatementId, policy: SitePolicy | None = None, facts: LocalFacts = FACTS
) -> Rule | None:
    try:
        check_run(world.state, ME, study, policy or SitePolicy(), facts)
    except Refused as refused:
        return refused.rule
    return None


def site(**changes: object) -> SitePolicy:
    return msgspec.structs.replace(SitePolicy(), **changes)


def test_what_the_owner_consented_to_may_run() -> None:
    world, study = enrolled()
    assert refusal(world, study) is None
    assert refusal(world, study, site(code=(digest("code"),))) is None


def test_only_a_registered_unfinished_study_runs() -> None:
    world, study = enrolled()
    assert refusal(world, StatementId(digest("none"))) is Rule.NO_SUCH_THING
    for round_no in (1, 2, 3):
        world.accept(study, f"model {round_no}")
    assert refusal(world, study) is Rule.NO_SUCH_THING


def test_leaving_binds_ones_own_node() -> None:
    world, study = enrolled()
    world.say(ME, StudyLeave(study=study))
    assert refusal(world, study) is Rule.WRONG_PARTY


def test_without_consent_in_force_nothing_runs() -> None:
    world, study = enrolled()
    world.say(ME, ConsentWithdraw(study=study))
    assert refusal(world, study) is Rule.NO_CONSENT


def test_a_new_version_or_a_budget_ends_what_may_run() -> None:
    world, study = enrolled()
    body = DatasetDeclare(dataset=ROWS, unit="record", version=digest("1"), epsilon_millionths=1)
    world.say(ME, body)
    assert refusal(world, study) is Rule.BUDGET_WITHOUT_EVENTS
    world.declare(ME, "2")
    assert refusal(world, study) is Rule.VERSION_NOT_DECLARED


@pytest.mark.parametrize("versions", [{}, {ROWS: digest("2")}])
def test_the_data_here_are_the_version_consented_to(versions: dict[DatasetId, Digest]) -> None:
    world, study = enrolled()
    facts = replace(FACTS, versions=versions)
    assert refusal(world, study, facts=facts) is Rule.VERSION_NOT_DECLARED


def test_other_code_than_the_registered_does_not_run() -> None:
    world, study = enrolled()
    assert refusal(world, study, facts=replace(FACTS, code=digest("x"))) is Rule.SITE_FORBIDS


@pytest.mark.parametrize(
    "policy",
    [site(code=(digest("another"),)), site(survivors_min=5), site(rounds_max=2)],
)
def test_the_site_policy_forbids(policy: SitePolicy) -> None:
    world, study = enrolled()
    assert refusal(world, study, policy) is Rule.SITE_FORBIDS


def test_a_consent_to_exposure_needs_a_policy_that_allows_it() -> None:
    world, study = enrolled(exposed=True)
    assert refusal(world, study) is Rule.SITE_FORBIDS
    assert refusal(world, study, site(exposed=True)) is None


def test_a_missing_sandbox_stops_a_site_that_requires_it() -> None:
    world, study = enrolled()
    bare = replace(FACTS, sandboxed=False)
    assert refusal(world, study, facts=bare) is Rule.SANDBOX_MISSING
    assert refusal(world, study, site(sandbox="warn"), bare) is None


def test_the_first_reason_in_the_fixed_order_is_told() -> None:
    world, study = enrolled()
    worst = LocalFacts(code=digest("x"), versions={}, sandboxed=False)
    strict = site(survivors_min=5)
    assert refusal(world, study, strict, worst) is Rule.SITE_FORBIDS
    worst = replace(worst, code=FACTS.code)
    assert refusal(world, study, strict, worst) is Rule.VERSION_NOT_DECLARED
    worst = replace(worst, versions=FACTS.versions)
    assert refusal(world, study, strict, worst) is Rule.SITE_FORBIDS
    assert refusal(world, study, None, worst) is Rule.SANDBOX_MISSING
    world.say(ME, ConsentWithdraw(study=study))
    assert refusal(world, study, strict, worst) is Rule.NO_CONSENT


@pytest.mark.parametrize("apart_s", [-301, -300, 0, 300, 301])
def test_a_round_opened_by_a_clock_too_far_from_mine_is_refused(apart_s: int) -> None:
    if abs(apart_s) <= 300:
        check_open_time(FIRST_S + apart_s, FIRST_S)
        return
    with pytest.raises(Refused, match="301 s") as refused:
        check_open_time(FIRST_S + apart_s, FIRST_S)
    assert refused.value.rule is Rule.CLOCK_APART


def test_site_toml_is_read_with_safe_defaults() -> None:
    assert parse_site("") == SitePolicy()
    default = SitePolicy()
    assert (default.studies, default.sandbox, default.exposed) == ("ask", "require", False)
    text = f'format = "comity-site/1"\nstudies = "auto"\ncode = ["{digest("code")}"]\n'
    assert parse_site(text) == site(studies="auto", code=(digest("code"),))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('sandbox = "off"', "sandbox"),
        ("sandboxed = true", "sandboxed"),
        ("survivors_min = 2", "survivors_min"),
        ('rounds_max = "many"', "rounds_max"),
        ('code = ["abc"]', "code"),
        ("exposed = 1", "exposed"),
        ('format = "comity-site/2"', "format"),
        ("studies = ", "not TOML"),
        ("code = " + "[" * 5_000, "not TOML"),
    ],
)
def test_site_toml_names_the_setting_that_is_wrong(text: str, names: str) -> None:
    with pytest.raises(Misconfigured, match=names):
        parse_site(text)


@given(st.text(max_size=60))
def test_any_other_site_toml_is_refused_as_misconfigured(text: str) -> None:
    try:
        policy = parse_site(text)
    except Misconfigured:
        return
    assert policy == SitePolicy()
