"""The questions of the gate: each a pure function of one case, in the one order of governance A6.

A step answers with a reason, or lets the study pass. It looks at a `Case` and at nothing else: what
all agreed on is in the state and the plan, what the owner decides is in the policy, and facts about
the site come in. Another question is another line of `STEPS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, final

from comity.commons.attempts import Started, started_of
from comity.commons.reviews import is_reviewed, pauses, reviews_missing
from comity.commons.site import SitePolicy, begins_now, terms_of
from comity.commons.state import Consent, State, Study
from comity.commons.use import Fit, TermFit, match_terms
from comity.errors import Rule
from comity.values import DAY_S, DatasetId, Digest, MemberId, Wall

Yes = Literal["study", "code", ""]
"""What a person of this site said yes to: this very study on these data; another study with this
code on these data; neither. A yes by software is no such yes."""


@final
@dataclass(frozen=True, slots=True)
class LocalFacts:
    """What only the node knows.

    code: digest of the study file that would run. versions: of the data as they lie here now.
    walls: which of the walls hold around a study's process here. now_s: POSIX seconds by this
    node's clock. final_size: of the newest final head that it verified; halted: why it trusts its
    host no more, "" while it does. yes: what a person said yes to. records: rows of a data set, of
    those whose policy names a least number.
    """

    code: Digest
    versions: Mapping[DatasetId, Digest]
    walls: frozenset[Wall]
    now_s: int
    final_size: int
    yes: Yes = ""
    halted: str = ""
    records: Mapping[DatasetId, int] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True)
class Case:
    """A study that is about to run at a site, and all that the answer may depend on.

    consent: the one in force, or the one that the question is about; None: there is none.
    """

    state: State
    me: MemberId
    study: Study
    consent: Consent | None
    policy: SitePolicy
    facts: LocalFacts

    @property
    def terms(self) -> tuple[TermFit, ...]:
        """How the study fits each term of the data set; empty when the policy states none."""
        stated = None if self.consent is None else terms_of(self.policy, self.consent.dataset)
        if stated is None:
            return ()
        return match_terms(stated, self.study.register.use, self.facts.now_s)


@final
@dataclass(frozen=True, slots=True)
class Reason:
    """Why a step refuses: its code, and a sentence for people with what to do next."""

    rule: Rule
    why: str


@final
@dataclass(frozen=True, slots=True)
class Step:
    """One question of the gate. at: it is about "run": the moment of a round; "use": any moment at
    which the study's code reads these data; "consent": also whether a yes may be given by policy.
    """

    name: str
    judge: Callable[[Case], Reason | None]
    at: Literal["run", "use", "consent"]


# -- the steps, in the order in which they are asked ---------------------------------------------


def _head(case: Case) -> Reason | None:
    if case.facts.halted:
        return Reason(
            Rule.TOO_SOON,
            f"this node trusts its host no more: {case.facts.halted}; `comity status` says what to"
            " do",
        )
    if case.study.index >= case.facts.final_size:
        return Reason(
            Rule.TOO_SOON,
            "the study's registration is below no final head yet: wait until enough members have"
            " cosigned one",
        )
    return None


def _study(case: Case) -> Reason | None:
    name = case.study.register.name
    if case.study.finished:
        return Reason(Rule.NO_SUCH_THING, f"study {name} has all its rounds")
    if case.me in case.study.left:
        return Reason(Rule.WRONG_PARTY, f"this site left study {name}: enrol again")
    return None


def _pause(case: Case) -> Reason | None:
    for member, pause in pauses(case.state, case.study).items():
        return Reason(
            Rule.STUDY_PAUSED,
            f"{member} paused study {case.study.register.name} ({pause.reason}): it goes on by"
            " itself",
        )
    return None


def _consented(case: Case) -> Reason | None:
    if case.consent is None:
        return Reason(
            Rule.NO_CONSENT,
            f"this site has no consent in force for study {case.study.register.name}: its data"
            " owner gives it with `comity consent give`",
        )
    return None


def _use(case: Case) -> Reason | None:
    against = [each.why for each in case.terms if each.fit is Fit.MISMATCH]
    if against:
        return Reason(
            Rule.USE_MISMATCH,
            f"the data set's terms in site.toml do not allow this study: {'; '.join(against)}."
            " Refuse it, or let the owner change the terms",
        )
    return None


def _code(case: Case) -> Reason | None:
    code, listed = case.study.register.plan.code, case.policy.code
    if case.facts.code != code:
        return Reason(
            Rule.CODE_NOT_ALLOWED,
            f"the study is registered with code {code[:8]}, the file here is"
            f" {case.facts.code[:8]}: fetch the registered file",
        )
    if listed and code not in listed:
        return Reason(
            Rule.CODE_NOT_ALLOWED,
            f"code {code[:8]} is not in the list of site.toml: read it, then list its digest"
            f" {code}",
        )
    return None


def _review(case: Case) -> Reason | None:
    if not is_reviewed(case.state, case.study):
        reviewers, organisations = reviews_missing(case.state, case.study)
        return Reason(
            Rule.NOT_REVIEWED,
            f"the file of study {case.study.register.name} lacks {reviewers} reviewers, or"
            f" {organisations} organisations: `comity review give`",
        )
    return None


def _version(case: Case) -> Reason | None:
    consent = case.consent
    if consent is None:
        return None
    named = case.policy.dataset.get(consent.dataset)
    expected = f"expected {consent.dataset} in version {consent.version[:8]}, as consented; "
    if case.state.datasets[consent.dataset].version != consent.version:
        came = "another version is declared since then: consent again"
    elif case.facts.versions.get(consent.dataset) is None:
        came = "it is not here: `comity data add` it again"
    elif case.facts.versions[consent.dataset] != consent.version:
        here = case.facts.versions[consent.dataset]
        came = f"here it is version {here[:8]}: declare the new version and consent again"
    elif named is not None and named.version not in ("", consent.version):
        came = (
            f"site.toml lets version {named.version[:8]} be used: let the owner name this one there"
        )
    else:
        return None
    return Reason(Rule.VERSION_NOT_DECLARED, expected + came)


def _participants(case: Case) -> Reason | None:
    plan = case.study.register.plan
    if plan.survivors_min < case.policy.survivors_min:
        return _forbidden(
            f"survivors_min = {case.policy.survivors_min}, the plan's is {plan.survivors_min}",
            "lower it here, or ask for another plan",
        )
    if case.consent is not None and case.consent.exposed and not case.policy.exposed:
        return _forbidden("exposed = false, but the consent accepts exposure", "consent again")
    return None


def _budget(case: Case) -> Reason | None:
    consent = case.consent
    if consent is not None and case.state.datasets[consent.dataset].has_budget:
        return Reason(
            Rule.BUDGET_WITHOUT_EVENTS,
            f"{consent.dataset} has a privacy budget, and studies of this version declare no"
            " privacy events: declare it without one, if that is meant",
        )
    return None


def _sizes(case: Case) -> Reason | None:
    plan, policy = case.study.register.plan, case.policy
    for name, asked, most in (
        ("rounds_max", plan.rounds_max, policy.rounds_max),
        ("parameters_max", plan.words, policy.parameters_max),
    ):
        if asked > most:
            return _forbidden(
                f"{name} = {most}, the plan's number is {asked}",
                "raise it here, or ask for another plan",
            )
    return None


def _records(case: Case) -> Reason | None:
    consent = case.consent
    named = None if consent is None else case.policy.dataset.get(consent.dataset)
    if consent is None or named is None or not named.records_min:
        return None
    rows = case.facts.records.get(consent.dataset, 0)
    if rows < named.records_min:
        return _forbidden(
            f"records_min = {named.records_min} of {consent.dataset}, the file has fewer rows",
            "lower it here, or declare more rows",
        )
    return None


def _rate(case: Case) -> Reason | None:
    most = case.policy.rounds_per_day_max
    if _rounds_since(case, case.facts.now_s - DAY_S) >= most:
        return _forbidden(
            f"rounds_per_day_max = {most}, and there were as many in the last 24 hours",
            "it goes on by itself when the oldest of them is a day ago",
        )
    return None


def _hours(case: Case) -> Reason | None:
    if not begins_now(case.policy, case.facts.now_s):
        return Reason(
            Rule.OUTSIDE_HOURS,
            f"site.toml lets work begin at {case.policy.hours} only: it goes on by itself then",
        )
    return None


def _sandbox(case: Case) -> Reason | None:
    missing = sorted(case.policy.walls - case.facts.walls)
    if missing:
        return Reason(
            Rule.SANDBOX_MISSING,
            f"site.toml demands what this machine cannot keep up around a study:"
            f" {', '.join(missing)}; `comity doctor` says why: mend it, or let the owner take"
            " it out of sandbox",
        )
    return None


def _people(case: Case) -> Reason | None:
    if case.facts.yes == "study":
        return None
    code = case.study.register.plan.code
    unsure = [each.why for each in case.terms if each.fit is Fit.ASK]
    if case.policy.studies == "ask":
        why = 'studies = "ask" in site.toml, and no person of this site has said yes'
    elif unsure:
        why = f"only a person can tell whether it fits the data set's terms: {'; '.join(unsure)}"
    elif case.policy.studies == "first-time" and case.facts.yes != "code":
        why = f"no person has let code {code[:8]} use this version of the data before"
    elif case.policy.studies == "auto" and code not in case.policy.code:
        why = f'studies = "auto" holds for listed code, and {code[:8]} is not in code of site.toml'
    else:
        return None
    return Reason(
        Rule.WAITS_FOR_PERSON,
        f"study {case.study.register.name} waits for a person: {why};"
        f" `comity consent give {case.study.id[:12]}`",
    )


def _rounds_since(case: Case, since_s: int) -> int:
    """Attempts of all studies after a moment in which this site's data were at work; without the
    live one of this study, which the question is about."""
    started: list[Started] = []
    for study in case.state.studies.values():
        started += [each.started for each in study.ended if each.started is not None]
        if study.id != case.study.id and study.current is not None:
            live = started_of(study.current)
            started += [live] if live is not None else []
    return sum(
        each.opened.time_s > since_s and each.opened.seat(case.me) in each.participants
        for each in started
    )


def _forbidden(what: str, next_step: str) -> Reason:
    return Reason(Rule.SITE_FORBIDS, f"this site's policy forbids the study: {what}; {next_step}")


STEPS: Final[tuple[Step, ...]] = (
    Step("head", _head, "run"),
    Step("study", _study, "run"),
    Step("pause", _pause, "use"),
    Step("consent", _consented, "consent"),
    Step("use", _use, "consent"),
    Step("code", _code, "consent"),
    Step("review", _review, "use"),
    Step("version", _version, "consent"),
    Step("participants", _participants, "consent"),
    Step("budget", _budget, "consent"),
    Step("sizes", _sizes, "consent"),
    Step("records", _records, "use"),
    Step("rate", _rate, "run"),
    Step("hours", _hours, "use"),
    Step("sandbox", _sandbox, "use"),
    Step("people", _people, "consent"),
)
"""All questions, in their order (governance A6)."""
