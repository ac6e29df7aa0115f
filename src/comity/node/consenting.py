"""What the policy of this site makes of each study: who waits for a person, and what would happen.

Nothing here speaks, and no study runs: the gate is asked (`commons/gate.py`), with the facts of
this site or, before a study is registered, with the state that its registration would give.
"""

from __future__ import annotations

from typing import Literal, final

from msgspec import Struct

from comity.commons.fold import suppose
from comity.commons.gate import Verdict, judge
from comity.commons.gate_steps import Case
from comity.commons.site import SitePolicy
from comity.commons.state import Consent, State, Study
from comity.commons.use import MODIFIERS, PERMISSIONS, TermFit
from comity.errors import Refused, Rule
from comity.node.gating import facts, supposed_case, yes_of
from comity.node.lookup import find_study, own_dataset
from comity.node.planning import PlanTerms, StudyParts, plan_of
from comity.node.practice import local_dataset, records_asked
from comity.node.station import Station
from comity.statements.studies import StudyRegister, UseTerms
from comity.values import NOTHING, Digest, MemberId, StatementId, Wall

Answer = Literal["given", "refused", "asked"]
Decision = Literal["by-itself", "waits-for-person", "forbidden"]
"""What the policy says to a request for consent: yes; ask a person; no, whatever a person says."""


@final
class StepShown(Struct, frozen=True):
    """One step of the gate. code: the rule by which it refuses, "" when it lets the study pass."""

    step: str
    code: str = ""
    why: str = ""


@final
class TermShown(Struct, frozen=True):
    """How a study fits one DUO term of the data set: "match", "mismatch" or "ask"."""

    term: str
    name: str
    fit: str
    why: str


@final
class ConsentStatus(Struct, frozen=True):
    """One study, as this site's policy looks at it.

    dataset: "" when a person has to choose one. answer: of this site, in the log. by: "person" or
    "policy", of a consent given. decision, stops: what the policy says of a consent, and which step
    of the gate says so. command: what a person may do.
    """

    id: StatementId
    name: str
    title: str
    author: MemberId
    code: Digest
    use: UseTerms | None
    dataset: str
    answer: Answer
    by: str
    decision: Decision
    stops: StepShown | None
    terms: tuple[TermShown, ...]
    command: str

    @property
    def waits(self) -> bool:
        """Whether a person of this site is waited for."""
        return self.answer == "asked" or (
            self.answer == "given" and self.decision == "waits-for-person"
        )


@final
class ConsentList(Struct, frozen=True, tag="consent-list"):
    """All studies that are not over, oldest first."""

    studies: tuple[ConsentStatus, ...]


@final
class Simulated(Struct, frozen=True, tag="consent-simulated"):
    """What the policy would do with a study. steps: all of the gate, in their order.

    dataset, version: for which it was asked. runs_now: whether a round could begin at this moment,
    once consent is given. rounds, parameters: what the study asks for.
    """

    name: str
    code: Digest
    use: UseTerms | None
    rounds: int
    parameters: int
    dataset: str
    version: Digest
    decision: Decision
    runs_now: bool
    steps: tuple[StepShown, ...]
    terms: tuple[TermShown, ...]


def consents(station: Station) -> ConsentList:
    """How each study that is not over stands at this site.

    Raises:
        Misconfigured: the site policy cannot be read.
    """
    open_studies = (
        study
        for study in station.replica.state.studies.values()
        if not study.finished and station.member not in study.left
    )
    return ConsentList(tuple(_status(station, study) for study in open_studies))


def simulate(
    station: Station,
    study: str,
    *,
    parts: StudyParts | None,
    dataset: str | None,
    policy: SitePolicy,
    walls: frozenset[Wall],
) -> Simulated:
    """What a policy would do with a study, before anybody signs anything.

    Args:
        study: id, its beginning, or name of a registered one; ignored with `parts`.
        parts: of a study file that is not registered; its plan is the one that `comity study
            register` makes by default.
        dataset: of this site; None where it has one only. policy: this site's or another one.
            walls: what holds around a study here.
    Raises:
        Refused: NO_SUCH_THING; STUDY_OUT_OF_BOUNDS. Misconfigured: a policy or file cannot be read.
    """
    state = station.replica.state
    if parts is not None:
        state = _registered(station, parts)
        found = state.studies[StatementId(NOTHING)]
    else:
        found = find_study(state, study)
    declared = own_dataset(state, station.member, dataset)
    consent = found.consents.get(station.member)
    if consent is None or consent.dataset != declared.id:
        consent = Consent(dataset=declared.id, version=declared.version, exposed=False)
    here = facts(
        station,
        found,
        consent,
        code=found.register.plan.code,
        versions={declared.id: local_dataset(station, declared.id).version_now()},
        walls=walls,
        final_size=state.size + 1,
        records=records_asked(station, consent, policy),
    )
    case = Case(state, station.member, found, consent, policy, here)
    verdicts = tuple(judge(case, "run"))
    lasting = [each for each in judge(case, "consent") if each.reason is not None]
    passing = {each.step for each in verdicts if each.reason is None or each.step == "people"}
    return Simulated(
        name=found.register.name,
        code=found.register.plan.code,
        use=found.register.use,
        rounds=found.register.plan.rounds_max,
        parameters=found.register.plan.words,
        dataset=declared.id,
        version=declared.version,
        decision=_decision(lasting),
        runs_now=len(passing) == len(verdicts),
        steps=tuple(map(_shown, verdicts)),
        terms=tuple(map(_term, case.terms)),
    )


def _registered(station: Station, parts: StudyParts) -> State:
    """The state as if this study file were registered by this member now."""
    state = station.replica.state
    plan = plan_of(parts, state.charter, len(state.members), PlanTerms())
    card = parts.card
    body = StudyRegister(name=card.name, plan=plan, title=card.title, use=card.use)
    after = suppose(state, station.member, body, station.clock())
    if isinstance(after, Rule):
        raise Refused(after, "this study could not be registered in this commons now")
    return after


def _status(station: Station, study: Study) -> ConsentStatus:
    state, me = station.replica.state, station.member
    given = study.consents.get(me)
    consent = given or _only_choice(state, me)
    case = supposed_case(station, study, consent, yes_of(station, study, consent))
    refusing = [each for each in judge(case, "consent") if each.reason is not None]
    answer: Answer = "given" if given else "refused" if me in study.refused else "asked"
    by = "" if given is None else "person" if case.facts.yes == "study" else "policy"
    decision = _decision(refusing) if consent is not None else "waits-for-person"
    choose = StepShown(
        "consent", Rule.NO_CONSENT.value, "this site has not exactly one data set: name one"
    )
    stops = choose if consent is None else _shown(refusing[0]) if refusing else None
    give = "give" if given is None else "withdraw"
    return ConsentStatus(
        id=study.id,
        name=study.register.name,
        title=study.register.title,
        author=study.author,
        code=study.register.plan.code,
        use=study.register.use,
        dataset="" if consent is None else consent.dataset,
        answer=answer,
        by=by,
        decision=decision,
        stops=stops,
        terms=tuple(map(_term, case.terms)),
        command=f"comity consent {give} {study.id[:12]}",
    )


def _only_choice(state: State, me: MemberId) -> Consent | None:
    mine = [each for each in state.datasets.values() if each.owner == me]
    if len(mine) != 1:
        return None
    return Consent(dataset=mine[0].id, version=mine[0].version, exposed=False)


def _decision(refusing: list[Verdict]) -> Decision:
    if not refusing:
        return "by-itself"
    return "waits-for-person" if refusing[0].step == "people" else "forbidden"


def _shown(verdict: Verdict) -> StepShown:
    if verdict.reason is None:
        return StepShown(verdict.step)
    return StepShown(verdict.step, verdict.reason.rule.value, verdict.reason.why)


def _term(fit: TermFit) -> TermShown:
    name, _ = {**PERMISSIONS, **MODIFIERS}[fit.term]
    return TermShown(fit.term, name, fit.fit.name.lower(), fit.why)
