"""What the next attempt of a study is: derived from the log alone, so that no host picks anything.

`round.open` repeats it, and a repeat that differs is void. While nothing can be opened, `Waiting`
says whom the study waits for, and why (aggregation.md 4, 5.2, 5.9, 5.10).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from comity.commons.attempts import End, Opened
from comity.commons.exposure import attempts_of_round, exposed_by
from comity.commons.reviews import may_review, pauses, reviews_missing
from comity.commons.state import State, Study
from comity.commons.studies import consent_rule
from comity.errors import Rule
from comity.statements.entries import Statement
from comity.statements.rounds import RoundOpen
from comity.values import (
    COMPLETE_GRAPH_MAX,
    ROSTER_MIN,
    MemberId,
    StatementId,
    confirm_quorum,
    roster_digest,
    sealing_key_id,
    work_digest,
)


@final
@dataclass(frozen=True, slots=True)
class Waiting:
    """Whom a study waits for (may be nobody in particular) and why, in plain words.

    rule: by which a round.open said now would be void.
    """

    study: StatementId
    members: tuple[MemberId, ...]
    reason: str
    rule: Rule = field(default=Rule.TOO_FEW, compare=False)


def mask_degree(count: int, colluders: int, survivors_min: int) -> int:
    """k: n - 1 up to 64 members, then the smallest even k >= c + (n - u_min) + 1 (4)."""
    if count <= COMPLETE_GRAPH_MAX:
        return count - 1
    least = colluders + (count - survivors_min) + 1
    return min(least + least % 2, count - 1)


def may_take_part(state: State, study: Study, member: MemberId) -> bool:
    """Enrolled, with consent in force, neither left nor excluded; its key may be used up.

    A suspended member ends the attempt it is in, so this does not ask for that.
    """
    return (
        member in study.enrolled
        and consent_rule(state, study, member) is None
        and member not in study.left
        and member not in study.excluded
    )


def may_be_called(state: State, study: Study, member: MemberId) -> bool:
    """Whether a new attempt may have the member in its roster: it may take part, has an unused
    key, and is not suspended."""
    return (
        has_unused_key(study, member)
        and may_take_part(state, study, member)
        and not state.is_suspended(member)
    )


def has_unused_key(study: Study, member: MemberId) -> bool:
    """Whether an Open may pin a sealing key of it."""
    enrolment = study.enrolled.get(member)
    return enrolment is not None and enrolment.sealing_key is not None


def expected_open(state: State, study_id: StatementId) -> RoundOpen | Waiting:
    """The next attempt's round.open, with the lowest number it may have, or why there is none.

    Assumes that the study exists and that no attempt of it is live.
    """
    study = state.studies[study_id]
    plan = study.register.plan
    roster = _roster(state, study)
    if isinstance(roster, Waiting):
        return roster
    count = len(roster)
    model, moments = study.model
    keyed = tuple((member, sealing_key_id(_sealing_key(study, member))) for member in roster)
    return RoundOpen(
        attempt=study.attempt + 1,
        colluders=plan.colluders,
        degree=mask_degree(count, plan.colluders, plan.survivors_min),
        layout=plan.layout,
        model=model,
        plan=study.plan_digest,
        quorum=confirm_quorum(count, plan.colluders),
        roster=roster_digest(keyed),
        roster_count=count,
        round_no=study.round_no,
        study=study.id,
        survivors_min=plan.survivors_min,
        words=plan.words,
        work=work_digest(plan.code, plan.parameters, plan.evaluates or model),
        moments=moments,
    )


def opened_by(state: State, body: RoundOpen, statement: Statement, index: int) -> Opened:
    """What a valid round.open fixes."""
    study = state.studies[body.study]
    plan = study.register.plan
    roster = _roster(state, study)
    assert not isinstance(roster, Waiting)
    return Opened(
        id=statement.id,
        index=index,
        time_s=statement.time_s,
        host=statement.author,
        study=study.id,
        round_no=body.round_no,
        attempt=body.attempt,
        roster=roster,
        sealing_keys=tuple(_sealing_key(study, member) for member in roster),
        colluders=body.colluders,
        survivors_min=body.survivors_min,
        degree=body.degree,
        words=body.words,
        layout=body.layout,
        model=body.model,
        moments=body.moments,
        work=body.work,
        deadlines=plan.deadlines,
        weights=plan.weights,
        weight_max=plan.weight_max,
    )


def _roster(state: State, study: Study) -> tuple[MemberId, ...] | Waiting:
    """Who is in the next attempt, in seat order."""
    plan = study.register.plan
    if study.finished:
        return Waiting(study.id, (), "all rounds of the plan have a result", Rule.ROUND_NOT_OPEN)
    held = _held(state, study)
    if held is not None:
        return held
    tried = attempts_of_round(study)
    if len(tried) >= plan.attempts_max:
        reason = f"paused: all {plan.attempts_max} attempts of round {study.round_no} are used up"
        return Waiting(study.id, (), reason, Rule.ROUND_NOT_OPEN)
    burned = [attempt.opened.roster for attempt in tried if attempt.end is End.BURNED]
    if burned:
        return _roster_again(state, study, burned[-1])
    roster = tuple(sorted(m for m in study.enrolled if may_be_called(state, study, m)))
    needed = max(plan.survivors_min, ROSTER_MIN, confirm_quorum(len(roster), plan.colluders))
    if len(roster) < needed:
        reason = f"{len(roster)} members are enrolled with an unused key, {needed} are needed"
        return Waiting(study.id, _missing(state, study, roster), reason)
    exposed = exposed_by(study, state, frozenset(roster))
    if exposed:
        reason = (
            "the set of members would differ from an earlier one so little that their updates "
            "would show, and they have not consented to being exposed"
        )
        return Waiting(study.id, tuple(sorted(exposed)), reason, Rule.SET_NEARLY_EQUAL)
    return roster


def _held(state: State, study: Study) -> Waiting | None:
    """Why no round opens, whoever is enrolled: its file is not reviewed, or somebody paused it."""
    reviewers, organisations = reviews_missing(state, study)
    if reviewers or organisations:
        able = tuple(m for m in state.present if may_review(state, study, m))
        reason = (
            f"the study file lacks {max(reviewers, organisations)} reviews that the charter demands"
        )
        return Waiting(study.id, able, reason, Rule.NOT_REVIEWED)
    for member, pause in pauses(state, study).items():
        return Waiting(study.id, (), f"{member} paused it: {pause.reason}", Rule.STUDY_PAUSED)
    return None


def _roster_again(
    state: State, study: Study, roster: tuple[MemberId, ...]
) -> tuple[MemberId, ...] | Waiting:
    # R6: after a burned attempt only the same roster may sum this work again.
    out = tuple(m for m in roster if not may_be_called(state, study, m))
    reason = "an attempt burned, so this round needs the same members again, each with a new key"
    return Waiting(study.id, out, reason) if out else roster


def _missing(state: State, study: Study, roster: tuple[MemberId, ...]) -> tuple[MemberId, ...]:
    out = study.refused | study.left | study.excluded | frozenset(roster)
    return tuple(member for member in state.present if member not in out)


def _sealing_key(study: Study, member: MemberId) -> bytes:
    sealing_key = study.enrolled[member].sealing_key
    assert sealing_key is not None
    return sealing_key
