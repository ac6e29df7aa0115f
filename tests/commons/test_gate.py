"""The gate: what a site's own node refuses, whatever host, plan or vote say (P6).

Each step is made to fail alone, which shows that no other step stops the honest case and that none
hides it; the order is tried by breaking everything and mending it step by step.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import pytest

from comity.commons.gate import (
    case_of,
    check_data_use,
    check_open_time,
    check_run,
    first_refusal,
    judge,
)
from comity.commons.gate_steps import STEPS, Case, LocalFacts
from comity.commons.site import DatasetPolicy, SitePolicy, begins_now, parse_site
from comity.errors import Refused, Rule
from comity.statements.studies import (
    ConsentWithdraw,
    DatasetDeclare,
    StudyLeave,
    StudyPause,
    UseTerms,
)
from comity.values import DAY_S, WALLS, DatasetId, MemberId, StatementId
from tests.commons.rounds_world import Rounds
from tests.worlds import FIRST_S, World, digest

ROWS = DatasetId("data-of-member-b")
ME = MemberId("member-b")
HEALTH = "DUO:0000006"
FACTS = LocalFacts(
    code=digest("code"),
    versions={ROWS: digest("1")},
    walls=frozenset(WALLS),
    now_s=FIRST_S,
    final_size=10**6,
    yes="study",
    records={ROWS: 9},
)


@dataclass
class Here:
    """A site at which a study may run, to bend."""

    world: World
    study: StatementId
    policy: SitePolicy = field(default_factory=SitePolicy)
    facts: LocalFacts = FACTS

    def site(self, **changes: object) -> None:
        self.policy = msgspec.structs.replace(self.policy, **changes)

    def know(self, **changes: object) -> None:
        self.facts = replace(self.facts, **changes)  # type: ignore[arg-type]  # any fact

    @property
    def case(self) -> Case:
        study = self.world.state.studies[self.study]
        return case_of(self.world.state, ME, study, self.policy, self.facts)

    @property
    def stopped(self) -> tuple[str, Rule] | None:
        """The first step that refuses, and its rule."""
        found = first_refusal(self.case, "run")
        return None if found is None else (found[0], found[1].rule)


def here(*, exposed: bool = False, use: UseTerms | None = None) -> Here:
    world = World.of(5)
    study = world.register(world.members[0], use=use)
    world.enrol(ME, study, exposed=exposed)
    return Here(world, study)


def withdraw(site: Here) -> None:
    site.world.say(ME, ConsentWithdraw(study=site.study))


def give_budget(site: Here) -> None:
    budget = DatasetDeclare(dataset=ROWS, unit="record", version=digest("1"), epsilon_millionths=1)
    site.world.say(ME, budget)


def leave(site: Here) -> None:
    site.world.say(ME, StudyLeave(study=site.study))


def pause(site: Here) -> None:
    other = site.world.members[0]
    site.world.say(other, StudyPause(reason="a column is not what it says", study=site.study))


def demand_reviews(site: Here) -> None:
    charter = site.world.state.charter
    bounds = msgspec.structs.replace(charter.studies, reviewers=1, review_orgs=1)
    changed = msgspec.structs.replace(charter, studies=bounds)
    site.world.state = replace(site.world.state, charter=changed)


def finish(site: Here) -> None:
    for round_no in (1, 2, 3):
        site.world.accept(site.study, f"model {round_no}")


def declare_again(site: Here) -> None:
    site.world.declare(ME, "2")


def pin(site: Here, **changes: object) -> None:
    site.site(dataset={ROWS: msgspec.convert(changes, DatasetPolicy)})


FAILURES: dict[str, tuple[str, Rule, Callable[[Here], None]]] = {
    "host not trusted": ("head", Rule.TOO_SOON, lambda s: s.know(halted="two histories")),
    "head not final": ("head", Rule.TOO_SOON, lambda s: s.know(final_size=0)),
    "finished": ("study", Rule.NO_SUCH_THING, finish),
    "left": ("study", Rule.WRONG_PARTY, leave),
    "paused": ("pause", Rule.STUDY_PAUSED, pause),
    "no consent": ("consent", Rule.NO_CONSENT, withdraw),
    "other use": ("use", Rule.USE_MISMATCH, lambda s: pin(s, use="DUO:0000011")),
    "time over": ("use", Rule.USE_MISMATCH, lambda s: pin(s, use=HEALTH, until="2027-01-15")),
    "other code": ("code", Rule.CODE_NOT_ALLOWED, lambda s: s.know(code=digest("x"))),
    "code not listed": ("code", Rule.CODE_NOT_ALLOWED, lambda s: s.site(code=(digest("y"),))),
    "nobody read it": ("review", Rule.NOT_REVIEWED, demand_reviews),
    "no data": ("version", Rule.VERSION_NOT_DECLARED, lambda s: s.know(versions={})),
    "file changed": (
        "version",
        Rule.VERSION_NOT_DECLARED,
        lambda s: s.know(versions={ROWS: digest("2")}),
    ),
    "declared anew": ("version", Rule.VERSION_NOT_DECLARED, declare_again),
    "not the owner's version": (
        "version",
        Rule.VERSION_NOT_DECLARED,
        lambda s: pin(s, version=digest("2")),
    ),
    "small sums": ("participants", Rule.SITE_FORBIDS, lambda s: s.site(survivors_min=5)),
    "budget": ("budget", Rule.BUDGET_WITHOUT_EVENTS, give_budget),
    "many rounds": ("sizes", Rule.SITE_FORBIDS, lambda s: s.site(rounds_max=2)),
    "large model": ("sizes", Rule.SITE_FORBIDS, lambda s: s.site(parameters_max=8)),
    "few rows": (
        "records",
        Rule.SITE_FORBIDS,
        lambda s: pin(s, records_min=10),
    ),
    "day": ("hours", Rule.OUTSIDE_HOURS, lambda s: s.site(hours="20:00-06:00 UTC")),
    "weak machine": (
        "sandbox",
        Rule.SANDBOX_MISSING,
        lambda s: s.know(walls=frozenset(WALLS) - {"limits"}),
    ),
    "nobody was asked": ("people", Rule.WAITS_FOR_PERSON, lambda s: s.know(yes="")),
}
"""Each step and each way in which it can fail alone, but for the rate, which takes rounds."""


def test_what_the_owner_consented_to_may_run() -> None:
    site = here(use=UseTerms(purpose="health"))
    pin(site, use=HEALTH, version=digest("1"), until="2999-01-01", records_min=9)
    site.site(code=(digest("code"),), hours="08:00-09:00 UTC", sandbox=("network", "limits"))
    assert FIRST_S % DAY_S == 8 * 3_600, "the world begins at eight in the morning"
    assert site.stopped is None
    check_run(site.world.state, ME, site.study, site.policy, site.facts)


@pytest.mark.parametrize("name", FAILURES)
def test_each_step_alone_stops_a_study(name: str) -> None:
    step, rule, bend = FAILURES[name]
    site = here(use=UseTerms(purpose="health"))
    assert site.stopped is None
    bend(site)
    assert site.stopped == (step, rule)
    said = [verdict for verdict in judge(site.case, "run") if verdict.reason is not None]
    assert [verdict.step for verdict in said] == [step], "only that step fails"
    with pytest.raises(Refused, match=f"stops at {step}: ") as refused:
        check_run(site.world.state, ME, site.study, site.policy, site.facts)
    assert refused.value.rule is rule


def test_the_steps_stand_in_the_order_of_the_design_and_each_is_tried() -> None:
    names = [step.name for step in STEPS]
    assert names == [
        *("head", "study", "pause", "consent", "use", "code", "review", "version"),
        *("participants", "budget", "sizes", "records", "rate", "hours", "sandbox", "people"),
    ]
    assert {step for step, _, _ in FAILURES.values()} == set(names) - {"rate"}
    page = (Path(__file__).parents[2] / "docs/site-policy.md").read_text(encoding="utf-8")
    gate = page.split("\n## The gate\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", gate, re.MULTILINE) == names


def test_the_first_reason_in_the_fixed_order_is_told() -> None:
    """All steps that a policy or a fact can break are broken; each is mended in turn."""
    site = here(exposed=False, use=UseTerms(purpose="health"))
    order = [
        "host not trusted",
        "other use",
        "code not listed",
        "small sums",
        "many rounds",
        "day",
        "weak machine",
        "nobody was asked",
    ]
    good_policy, good_facts = site.policy, site.facts
    for first in range(len(order)):
        site.policy, site.facts = good_policy, good_facts
        for name in order[first:]:
            FAILURES[name][2](site)
        assert site.stopped == FAILURES[order[first]][:2]


def test_a_study_that_is_not_registered_does_not_run() -> None:
    site = here()
    with pytest.raises(Refused) as refused:
        check_run(site.world.state, ME, StatementId(digest("none")), site.policy, FACTS)
    assert refused.value.rule is Rule.NO_SUCH_THING


def test_a_consent_to_exposure_needs_a_policy_that_allows_it() -> None:
    site = here(exposed=True)
    assert site.stopped == ("participants", Rule.SITE_FORBIDS)
    site.site(exposed=True)
    assert site.stopped is None


def test_beside_rounds_a_finished_study_may_be_evaluated_and_only_with_consent() -> None:
    for bend, refused in ((finish, None), (withdraw, Rule.NO_CONSENT)):
        site = here()
        bend(site)
        study = site.world.state.studies[site.study]
        try:
            check_data_use(site.world.state, ME, study, site.policy, site.facts)
            rule = None
        except Refused as error:
            rule = error.rule
        assert rule is refused


def test_no_more_rounds_in_a_day_than_the_owner_allows() -> None:
    """Counted are attempts that started with this site, in all studies, in the last 24 hours."""
    rounds = Rounds.of(5, rounds_max=3)
    rounds.settle()
    assert len(rounds.study.results) == 3
    other = rounds.world.register(rounds.world.members[0], "other")
    rounds.world.enrol(ME, other)
    site = Here(rounds.world, other, facts=replace(FACTS, now_s=rounds.world.now_s))
    site.site(rounds_per_day_max=4)
    assert site.stopped is None
    site.site(rounds_per_day_max=3)
    assert site.stopped == ("rate", Rule.SITE_FORBIDS)
    site.know(now_s=rounds.world.now_s + DAY_S)
    assert site.stopped is None


@pytest.mark.parametrize(
    ("mode", "listed", "yes", "passes"),
    [
        ("ask", True, "study", True),
        ("ask", True, "code", False),
        ("ask", True, "", False),
        ("first-time", False, "study", True),
        ("first-time", False, "code", True),
        ("first-time", True, "", False),
        ("auto", True, "study", True),
        ("auto", True, "", True),
        ("auto", False, "", False),
        ("auto", False, "code", False),
        ("auto", False, "study", True),
    ],
)
def test_who_has_to_say_yes(mode: str, listed: bool, yes: str, passes: bool) -> None:
    """`auto` without a list lets no code through: the limit of earlier versions is gone."""
    site = here()
    site.site(studies=mode, code=(digest("code"),) if listed else ())
    site.know(yes=yes)
    assert site.stopped == (None if passes else ("people", Rule.WAITS_FOR_PERSON))


def test_what_no_rule_can_tell_waits_for_a_person_in_every_mode() -> None:
    for mode in ("ask", "first-time", "auto"):
        site = here()
        site.site(studies=mode, code=(digest("code"),))
        pin(site, use=HEALTH)
        site.know(yes="code")
        assert site.stopped == ("people", Rule.WAITS_FOR_PERSON)
        site.know(yes="study")
        assert site.stopped is None


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        ("20:00-06:00 UTC", (20 * 60, 23 * 60 + 59, 0, 5 * 60 + 59), (6 * 60, 19 * 60 + 59)),
        ("06:00-20:00 UTC", (6 * 60, 19 * 60 + 59), (20 * 60, 0, 5 * 60 + 59)),
        ("00:00-24:00 UTC", (0, 23 * 60 + 59), ()),
        ("", (0, 12 * 60), ()),
    ],
)
def test_hours_begin_and_end_at_their_minutes(
    hours: str, inside: tuple[int, ...], outside: tuple[int, ...]
) -> None:
    policy = parse_site(f'hours = "{hours}"')
    day_s = FIRST_S // DAY_S * DAY_S
    assert all(begins_now(policy, day_s + 60 * minute) for minute in inside)
    assert not any(begins_now(policy, day_s + 60 * minute) for minute in outside)


@pytest.mark.parametrize("apart_s", [-301, -300, 0, 300, 301])
def test_a_round_opened_by_a_clock_too_far_from_mine_is_refused(apart_s: int) -> None:
    if abs(apart_s) <= 300:
        check_open_time(FIRST_S + apart_s, FIRST_S)
        return
    with pytest.raises(Refused, match="301 s") as refused:
        check_open_time(FIRST_S + apart_s, FIRST_S)
    assert refused.value.rule is Rule.CLOCK_APART
