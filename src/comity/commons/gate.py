"""May this run at my site? Asked by a member's own node before it joins, whatever host or vote say.

The site policy is what one owner decides alone (`site.toml`); what all agreed on is in the charter,
the study's plan and the log. The gate knows them all and refuses with the first reason, in the one
order of `check_run` (governance A6). It reads no clock and no file: facts about this site come in.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, final

import msgspec
from msgspec import Meta, Struct

from comity.commons.state import State, Study
from comity.commons.studies import consent_rule
from comity.errors import Misconfigured, Refused, Rule
from comity.statements.fields import DigestField
from comity.values import CLOCK_APART_S, ROSTER_MAX, DatasetId, Digest, MemberId, StatementId


@final
class SitePolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """`site.toml`. studies: whether a person answers each request for consent, or a yes by itself.

    code: digests of the study files that may run here; empty: any that was consented to. exposed:
    whether a consent of this site may accept that absences show nearly its update
    (aggregation.md 5.10). sandbox: whether a study's code may run where the sandbox has no full
    strength ("warn"), or not at all ("require"). survivors_min: fewest members whose sum this site
    goes into. rounds_max: most rounds of one study. memory_mb_max (MiB), cpu_s_max (seconds of one
    round): limits that the sandbox sets. tell_failures: what all members are told when a study
    fails here: nothing, its kind, or also the exception and the line of the study file (ADR 58).
    """

    format: Literal["comity-site/1"] = "comity-site/1"
    code: Annotated[tuple[DigestField, ...], Meta(max_length=4_096)] = ()
    cpu_s_max: Annotated[int, Meta(ge=1, le=7 * 86_400)] = 3_600
    exposed: bool = False
    memory_mb_max: Annotated[int, Meta(ge=64, le=2**20)] = 4_096
    rounds_max: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    sandbox: Literal["require", "warn"] = "require"
    studies: Literal["ask", "auto"] = "ask"
    survivors_min: Annotated[int, Meta(ge=3, le=ROSTER_MAX)] = 3
    tell_failures: Literal["nothing", "kind", "line"] = "nothing"


@final
@dataclass(frozen=True, slots=True)
class LocalFacts:
    """What only the node knows. code: digest of the study file that would run. versions: of the
    data as they lie here now. sandboxed: whether the sandbox has its full strength here."""

    code: Digest
    versions: Mapping[DatasetId, Digest]
    sandboxed: bool


def parse_site(text: str) -> SitePolicy:
    """Read `site.toml`. What is left out has the default above.

    Raises:
        Misconfigured: names the setting and what is allowed.
    """
    try:
        return msgspec.convert(tomllib.loads(text), SitePolicy)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise Misconfigured(f"site.toml is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise Misconfigured(f"site.toml: {error}") from error


def check_run(
    state: State, me: MemberId, study_id: StatementId, policy: SitePolicy, facts: LocalFacts
) -> None:
    """Whether the study may run on my data now; returns when it may.

    Raises:
        Refused: with the first rule that fails, in this order: the study is registered and not
            finished, and I have not left it (NO_SUCH_THING, WRONG_PARTY); my consent is in force
            (NO_CONSENT, VERSION_NOT_DECLARED, BUDGET_WITHOUT_EVENTS); the code is the plan's and
            allowed here (SITE_FORBIDS); the data are the version I consented to
            (VERSION_NOT_DECLARED); exposure, smallest sum, number of rounds (SITE_FORBIDS); the
            sandbox (SANDBOX_MISSING).
    """
    study = _study(state, me, study_id)
    check_data_use(state, me, study, policy, facts)
    consent = study.consents[me]
    if consent.exposed and not policy.exposed:
        raise _forbidden("exposed = false, but the consent accepts exposure", "consent again")
    _check_sizes(study, policy)
    if policy.sandbox == "require" and not facts.sandboxed:
        raise Refused(
            Rule.SANDBOX_MISSING,
            'site.toml says sandbox = "require", and this machine cannot confine a study fully: '
            "`comity status` says what is missing",
        )


def check_data_use(
    state: State, me: MemberId, study: Study, policy: SitePolicy, facts: LocalFacts
) -> None:
    """Whether the study's code may read my data at all, in a round or beside one.

    Raises:
        Refused: NO_CONSENT, VERSION_NOT_DECLARED, BUDGET_WITHOUT_EVENTS, SITE_FORBIDS, as in
            `check_run`.
    """
    missing = consent_rule(state, study, me)
    if missing is not None:
        raise Refused(
            missing,
            f"this site has no consent in force for study {study.register.name}: "
            "its data owner gives it with `comity consent give`",
        )
    _check_code(study, policy, facts)
    consent = study.consents[me]
    here = facts.versions.get(consent.dataset)
    if here != consent.version:
        came = "it is not here" if here is None else f"here it is version {here[:8]}"
        raise Refused(
            Rule.VERSION_NOT_DECLARED,
            f"expected {consent.dataset} in version {consent.version[:8]}, as consented; {came}: "
            "declare the new version and consent again",
        )


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


def _study(state: State, me: MemberId, study_id: StatementId) -> Study:
    study = state.studies.get(study_id)
    if study is None:
        raise Refused(Rule.NO_SUCH_THING, f"no study {study_id[:8]} is registered in this commons")
    if study.finished:
        raise Refused(Rule.NO_SUCH_THING, f"study {study.register.name} has all its rounds")
    if me in study.left:
        raise Refused(Rule.WRONG_PARTY, f"this site left study {study.register.name}: enrol again")
    return study


def _check_code(study: Study, policy: SitePolicy, facts: LocalFacts) -> None:
    code = study.register.plan.code
    if facts.code != code:
        raise _forbidden(
            f"the study is registered with code {code[:8]}, the file here is {facts.code[:8]}",
            "fetch the registered file",
        )
    if policy.code and code not in policy.code:
        raise _forbidden(f"code {code[:8]} is not in its list", "review it, then list its digest")


def _check_sizes(study: Study, policy: SitePolicy) -> None:
    plan = study.register.plan
    if plan.survivors_min < policy.survivors_min:
        raise _forbidden(
            f"survivors_min = {policy.survivors_min}, the plan's is {plan.survivors_min}",
            "lower it here, or ask for another plan",
        )
    if plan.rounds_max > policy.rounds_max:
        raise _forbidden(
            f"rounds_max = {policy.rounds_max}, the plan's is {plan.rounds_max}",
            "raise it here, or ask for another plan",
        )


def _forbidden(what: str, next_step: str) -> Refused:
    return Refused(Rule.SITE_FORBIDS, f"this site's policy forbids the study: {what}; {next_step}")
