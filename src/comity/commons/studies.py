"""Data sets, studies, consent, enrolment. Studies are registered, not permitted: what decides
about data is each owner's own consent (README.md 4.8).

Every function here takes the state in which the author's clock has already moved, and returns the
next state or the rule that makes the statement void.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from comity.commons.attempts import opened_of
from comity.commons.charter import StudyBounds
from comity.commons.members import all_deadlines
from comity.commons.state import Consent, Dataset, Enrolment, State, Study
from comity.errors import Rule
from comity.statements.entries import Entry
from comity.statements.keysets import sealing_key_valid
from comity.statements.studies import (
    ConsentGive,
    ConsentRefuse,
    ConsentWithdraw,
    DatasetDeclare,
    Method,
    Plan,
    StudyEnrol,
    StudyFail,
    StudyLeave,
    StudyRegister,
    UpdateRule,
    use_fault,
)
from comity.statements.wire import canonical
from comity.values import (
    DATASETS_PER_MEMBER_MAX,
    FAILURES_PER_STUDY_MAX,
    NOTHING,
    ROSTER_MIN,
    STUDIES_OPEN_PER_MEMBER_MAX,
    MemberId,
    StatementId,
    sha256,
)


def consent_rule(state: State, study: Study, member: MemberId) -> Rule | None:
    """Why the member has no consent in force for the study; None when it has.

    Consent names one version of one data set: a newly declared version needs a new one.
    """
    consent = study.consents.get(member)
    if consent is None:
        return Rule.NO_CONSENT
    declared = state.datasets[consent.dataset]
    if declared.version != consent.version:
        return Rule.VERSION_NOT_DECLARED
    if declared.has_budget:
        return Rule.BUDGET_WITHOUT_EVENTS
    return None


def next_serial(study: Study, member: MemberId) -> int:
    """The serial that the member's next study.enrol must carry."""
    return study.serials.get(member, -1) + 1


def sealing_key_rule(state: State, sealing_key: bytes) -> Rule | None:
    """Why members may not seal to this key: not valid, or shown before in this commons."""
    if not sealing_key_valid(sealing_key):
        return Rule.SEALING_KEY_INVALID
    if sealing_key in state.sealing_keys:
        return Rule.SEALING_KEY_USED
    return None


def plan_fault(bounds: StudyBounds, plan: Plan, count: int) -> str | None:
    """Why a plan is outside the charter's bounds or those of secure sums; None when it fits.

    Args:
        count: number of members of the commons, the largest roster it can have.
    Source: aggregation.md 4.
    """
    survivors_min = max(plan.colluders + 2, bounds.survivors_min)
    if count < ROSTER_MIN:
        return f"a secure sum needs at least {ROSTER_MIN} members, not {count}"
    if plan.colluders < bounds.colluders_min:
        return f"colluders: at least {bounds.colluders_min}, not {plan.colluders}"
    if not survivors_min <= plan.survivors_min <= count:
        return f"survivors_min: from {survivors_min} to {count}, not {plan.survivors_min}"
    # c + 2 <= u_min <= n holds from here on, so t = floor((n + c) / 2) + 1 <= n does too.
    if plan.attempts_max > bounds.attempts_max:
        return f"attempts_max: at most {bounds.attempts_max}, not {plan.attempts_max}"
    if plan.rounds_max > bounds.rounds_max:
        return f"rounds_max: at most {bounds.rounds_max}, not {plan.rounds_max}"
    deadlines = all_deadlines(plan.deadlines)
    if any(later < earlier for earlier, later in pairwise(deadlines)):
        return "deadlines: none before the one before it"
    if deadlines[-1] > bounds.end_by_s_max:
        return f"deadlines: end_by_s at most {bounds.end_by_s_max}, not {deadlines[-1]}"
    if plan.words % 4:
        return f"words: header and data, padded to a multiple of 4, not {plan.words}"
    if plan.code == NOTHING:
        return "code: the digest of the study file"
    weight_max = 1 if plan.weights == "equal" else 2**31 // (4 * count) // 16
    if plan.weight_max > weight_max:
        return f"weight_max: at most {weight_max}, not {plan.weight_max}"
    method = plan.method or Method()
    return (
        _evaluation_fault(plan)
        or _method_fault(plan.method)
        or _update_rule_fault(plan.rule, method, has_moments=plan.moments is not None)
    )


def declare(state: State, entry: Entry, body: DatasetDeclare) -> State | Rule:
    """dataset.declare: an owner's new data set, or a new version of it."""
    owner = entry.statement.author
    declared = Dataset(
        id=body.dataset,
        owner=owner,
        version=body.version,
        unit=body.unit,
        epsilon_millionths=body.epsilon_millionths,
        delta_trillionths=body.delta_trillionths,
    )
    known = state.datasets.get(body.dataset)
    if known is not None and known.owner != owner:
        return Rule.ID_TAKEN
    if known == declared:
        return Rule.SAID_BEFORE
    if known is None:
        owned = sum(dataset.owner == owner for dataset in state.datasets.values())
        if owned >= DATASETS_PER_MEMBER_MAX:
            return Rule.TOO_MANY
    return replace(state, datasets={**state.datasets, body.dataset: declared})


def register(state: State, entry: Entry, body: StudyRegister) -> State | Rule:
    """study.register: a joint piece of work, known from now on by this statement's id."""
    said = entry.statement
    if plan_fault(state.charter.studies, body.plan, len(state.members)) is not None:
        return Rule.STUDY_OUT_OF_BOUNDS
    if body.use is not None and use_fault(body.use) is not None:
        return Rule.STUDY_OUT_OF_BOUNDS
    unfinished = sum(
        study.author == said.author and not study.finished for study in state.studies.values()
    )
    if unfinished >= STUDIES_OPEN_PER_MEMBER_MAX:
        return Rule.TOO_MANY
    study = Study(
        id=said.id,
        author=said.author,
        index=entry.index,
        register=body,
        plan_digest=sha256(canonical(body.plan)),
        consents={},
        refused=frozenset(),
        left=frozenset(),
        excluded=frozenset(),
        enrolled={},
        serials={},
        roster_index=entry.index,
        attempt=0,
        current=None,
        ended=(),
        results=(),
    )
    return replace(state, studies={**state.studies, said.id: study})


def give(state: State, entry: Entry, body: ConsentGive) -> State | Rule:
    """consent.give: the owner's yes for one version; replaces an earlier yes or no."""
    member = entry.statement.author
    study = _under_way(state, body.study)
    declared = state.datasets.get(body.dataset)
    if study is None or declared is None:
        return Rule.NO_SUCH_THING
    if declared.owner != member:
        return Rule.WRONG_PARTY
    if declared.version != body.version:
        return Rule.VERSION_NOT_DECLARED
    if declared.has_budget:
        return Rule.BUDGET_WITHOUT_EVENTS
    consent = Consent(dataset=body.dataset, version=body.version, exposed=body.exposed)
    if study.consents.get(member) == consent:
        return Rule.SAID_BEFORE
    return _with(
        state,
        replace(
            study,
            consents={**study.consents, member: consent},
            refused=study.refused - {member},
            roster_index=entry.index,
        ),
    )


def refuse(state: State, entry: Entry, body: ConsentRefuse) -> State | Rule:
    """consent.refuse: the owner's no; ends a yes as a withdrawal does."""
    study = _under_way(state, body.study)
    if study is None:
        return Rule.NO_SUCH_THING
    if entry.statement.author in study.refused:
        return Rule.SAID_BEFORE
    return _without_consent(state, study, entry)


def withdraw(state: State, entry: Entry, body: ConsentWithdraw) -> State | Rule:
    """consent.withdraw: the owner takes its yes back and is no longer enrolled."""
    study = _under_way(state, body.study)
    if study is None:
        return Rule.NO_SUCH_THING
    if entry.statement.author not in study.consents:
        return Rule.NO_CONSENT
    return _without_consent(state, study, entry)


def enrol(state: State, entry: Entry, body: StudyEnrol) -> State | Rule:
    """study.enrol: in from the next attempt on, with this sealing key; also after leaving."""
    member = entry.statement.author
    study = _under_way(state, body.study)
    if study is None:
        return Rule.NO_SUCH_THING
    if member in study.excluded:
        return Rule.WRONG_PARTY
    if state.is_suspended(member):
        return Rule.SUSPENDED
    refused = consent_rule(state, study, member)
    if refused is not None:
        return refused
    if body.serial != next_serial(study, member):
        return Rule.SERIAL_NOT_NEXT
    unfit = sealing_key_rule(state, body.sealing_key)
    if unfit is not None:
        return unfit
    enrolled = replace(
        study,
        enrolled={**study.enrolled, member: Enrolment(sealing_key=body.sealing_key)},
        serials={**study.serials, member: body.serial},
        left=study.left - {member},
        roster_index=entry.index,
    )
    seen = state.sealing_keys.adding(body.sealing_key)
    return replace(_with(state, enrolled), sealing_keys=seen)


def leave(state: State, entry: Entry, body: StudyLeave) -> State | Rule:
    """study.leave: off every later roster by its own word; for whoever was ever enrolled."""
    member = entry.statement.author
    study = _under_way(state, body.study)
    if study is None:
        return Rule.NO_SUCH_THING
    if member not in study.serials:
        return Rule.WRONG_PARTY
    if member in study.left:
        return Rule.SAID_BEFORE
    return _with(
        state,
        replace(
            study,
            enrolled=_dropping(study, member),
            left=study.left | {member},
            roster_index=entry.index,
        ),
    )


def fail(state: State, entry: Entry, body: StudyFail) -> State | Rule:
    """study.fail: how the study failed at this site; once for an attempt it was asked into."""
    member = entry.statement.author
    study = state.studies.get(body.study)
    if study is None:
        return Rule.NO_SUCH_THING
    attempts = [ended.opened for ended in study.ended]
    if study.current is not None:
        attempts.append(opened_of(study.current))
    named = [each for each in attempts if (each.round_no, each.attempt) == _place(body)]
    if not named:
        return Rule.NO_SUCH_THING
    if named[0].seat(member) is None:
        return Rule.WRONG_PARTY
    told = [_place(failure) for who, failure in study.failures if who == member]
    if _place(body) in told:
        return Rule.SAID_BEFORE
    if len(told) >= FAILURES_PER_STUDY_MAX:
        return Rule.TOO_MANY
    return _with(state, replace(study, failures=(*study.failures, (member, body))))


def _place(body: StudyFail) -> tuple[int, int]:
    return body.round_no, body.attempt


def without(state: State, member: MemberId, index: int) -> State:
    """The state after the member left the commons by its own word: off every later roster."""
    for study in state.studies.values():
        if not study.finished and member in study.serials and member not in study.left:
            state = _with(state, replace(_off(study, member, index), left=study.left | {member}))
    return state


def removed(state: State, member: MemberId, index: int) -> State:
    """The state after others removed the member: off every later roster.

    It did not leave by itself, so it has accepted nothing: a sum that would nearly show its update
    stays refused (aggregation.md 5.10), and nobody opens an update by voting its owner out (F4).
    """
    for study in state.studies.values():
        if not study.finished and member in study.enrolled:
            state = _with(state, _off(study, member, index))
    return state


def _off(study: Study, member: MemberId, index: int) -> Study:
    return replace(study, enrolled=_dropping(study, member), roster_index=index)


def _without_consent(state: State, study: Study, entry: Entry) -> State:
    member = entry.statement.author
    return _with(
        state,
        replace(
            study,
            consents={who: yes for who, yes in study.consents.items() if who != member},
            refused=study.refused | {member},
            enrolled=_dropping(study, member),
            roster_index=entry.index,
        ),
    )


def _dropping(study: Study, member: MemberId) -> dict[MemberId, Enrolment]:
    return {who: enrolment for who, enrolment in study.enrolled.items() if who != member}


def _under_way(state: State, study_id: StatementId) -> Study | None:
    study = state.studies.get(study_id)
    return None if study is None or study.finished else study


def _with(state: State, study: Study) -> State:
    return replace(state, studies={**state.studies, study.id: study})


def _evaluation_fault(plan: Plan) -> str | None:
    # Nothing is trained: one round, whose plain mean is the result.
    if plan.evaluates is None:
        return None
    if plan.evaluates == NOTHING:
        return "evaluates: the digest of a model"
    plain = plan.rule.name == "fedavg" and plan.rule.server_lr_millionths == 1_000_000
    if plan.rounds_max != 1 or plan.method is not None or not plain:
        return "evaluates: one round of fedavg with learning rate 1, and no method"
    return None if plan.weights != "declared" else "evaluates: weights are equal or hidden"


def _method_fault(method: Method | None) -> str | None:
    if method is None:
        return None
    if method == Method():
        return "method: left out when members take plain local steps only"
    steps = bool(method.lr_trillionths or method.steps)
    if method.name != "fedprox" and method.proximal_millionths:
        return f"method: {method.name} has no proximal_millionths"
    if method.name == "scaffold" and not (method.lr_trillionths and method.steps):
        return "method: scaffold has lr_trillionths and steps, from 1"
    if method.name != "scaffold" and steps:
        return f"method: {method.name} has no lr_trillionths and no steps"
    return None


def _update_rule_fault(rule: UpdateRule, method: Method, *, has_moments: bool) -> str | None:
    # fedavg has a learning rate and no memory; momentum a speed; the adaptive rules both moments
    # and tau. With scaffold, the control variate of the commons is in the rule's state as well.
    if rule.name in ("fedavg", "momentum", "nesterov"):
        if rule.beta2_millionths or rule.tau_trillionths:
            return f"rule: {rule.name} has no beta2_millionths and no tau_trillionths"
        if rule.name == "fedavg" and rule.beta1_millionths:
            return "rule: fedavg has server_lr_millionths only"
    else:
        if not 1 <= rule.tau_trillionths <= 10**12:
            return f"rule: tau_trillionths from 1 to 10^12, not {rule.tau_trillionths}"
        if rule.name == "fedadagrad" and rule.beta2_millionths:
            return "rule: fedadagrad has no beta2_millionths"
    if rule.name == "fedavg" and method.name != "scaffold":
        return "moments: fedavg has none" if has_moments else None
    return None if has_moments else f"moments: {rule.name} and {method.name} start from a blob"
