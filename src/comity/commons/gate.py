"""May this run at my site? Asked by a member's own node before anything runs, whatever others say.

`gate_steps` has the questions; here is who asks which of them, and when. The first one that is
answered with a reason refuses. A node asks before it joins a round and before it commits, before
study code reads data beside rounds, and before it gives a consent; `comity consent simulate` asks
all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, final

from comity.commons.gate_steps import STEPS, Case, LocalFacts, Reason
from comity.commons.site import SitePolicy
from comity.commons.state import State, Study
from comity.errors import Refused, Rule
from comity.values import CLOCK_APART_S, MemberId, StatementId


@final
@dataclass(frozen=True, slots=True)
class Verdict:
    """What one step says; reason: None when it lets the study pass."""

    step: str
    reason: Reason | None


def judge(case: Case, at: Literal["run", "use", "consent"]) -> Iterator[Verdict]:
    """What each step that concerns this moment says, in their order; lazily, so that a first
    reason costs no more than it must."""
    order = ("consent", "use", "run")
    for step in STEPS:
        if order.index(step.at) <= order.index(at):
            yield Verdict(step.name, step.judge(case))


def first_refusal(case: Case, at: Literal["run", "use", "consent"]) -> tuple[str, Reason] | None:
    """The first step that refuses, by name, and its reason; None when all let the study pass."""
    for verdict in judge(case, at):
        if verdict.reason is not None:
            return verdict.step, verdict.reason
    return None


def check_run(
    state: State, me: MemberId, study_id: StatementId, policy: SitePolicy, facts: LocalFacts
) -> None:
    """Whether the study may run on my data now; returns when it may.

    Raises:
        Refused: with the first rule that fails, in the order of `STEPS`; NO_SUCH_THING when no
            such study is registered.
    """
    study = state.studies.get(study_id)
    if study is None:
        raise Refused(Rule.NO_SUCH_THING, f"no study {study_id[:8]} is registered in this commons")
    _check(case_of(state, me, study, policy, facts), "run")


def check_data_use(
    state: State, me: MemberId, study: Study, policy: SitePolicy, facts: LocalFacts
) -> None:
    """Whether the study's code may read my data at all, beside a round.

    Raises:
        Refused: as `check_run`, without the steps that are about rounds only.
    """
    _check(case_of(state, me, study, policy, facts), "use")


def case_of(
    state: State, me: MemberId, study: Study, policy: SitePolicy, facts: LocalFacts
) -> Case:
    """The case of a study with this site's own consent, as it stands in the log."""
    return Case(state, me, study, study.consents.get(me), policy, facts)


def check_open_time(opened_time_s: int, now_s: int) -> None:
    """Whether a round's start is near my own clock; its deadlines count from it.

    Raises:
        Refused: CLOCK_APART when they differ by more than five minutes (architecture.md 1.6).
    """
    apart_s = abs(now_s - opened_time_s)
    if apart_s > CLOCK_APART_S:
        side = "behind" if opened_time_s < now_s else "ahead of"
        raise Refused(
            Rule.CLOCK_APART,
            f"the round was opened {apart_s} s {side} this clock, and {CLOCK_APART_S} s are "
            "allowed: set both clocks; the study opens its next attempt by itself",
        )


def _check(case: Case, at: Literal["run", "use"]) -> None:
    found = first_refusal(case, at)
    if found is not None:
        step, reason = found
        raise Refused(reason.rule, f"the gate of this site stops at {step}: {reason.why}")
