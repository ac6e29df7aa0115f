"""The site policy: what one owner decides alone, as it stands in `site.toml`.

Decided here: the form of that file, and which settings contradict each other. What it makes of a
study is decided in `gate`. Strict: a setting that is unknown, or that could never have an effect,
is refused with its line and with what to write instead; nobody's data hang on a typing error.
Source: governance-benefit-safety-ui.md A7.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar, final

import msgspec
from msgspec import Meta, Struct

from comity.commons.use import MODIFIERS, PERMISSIONS, TIME_LIMIT, DatasetTerms
from comity.commons.written import line_of
from comity.errors import Misconfigured
from comity.statements.fields import DatasetField, DigestField, DiseaseField
from comity.values import (
    DATASETS_PER_MEMBER_MAX,
    DAY_S,
    DISEASES_MAX,
    ROSTER_MAX,
    SITE_BYTES_MAX,
    VECTOR_WORDS_MAX,
    DatasetId,
    SandboxPolicy,
    Wall,
    is_slug,
    walls_of,
)

Table = TypeVar("Table", bound=Struct)
_Hours = Annotated[str, Meta(pattern=r"\A([0-2]\d:[0-5]\d-[0-2]\d:[0-5]\d UTC)?\Z")]
_Day = Annotated[str, Meta(pattern=r"\A(\d{4}-\d\d-\d\d)?\Z")]


@final
class DatasetPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """One data set of this site: `[dataset.NAME]`.

    version: the only one that may be used, as it was declared. use: a DUO permission.
    modifiers: DUO modifiers. diseases: of use DS, every term the owner takes for it. until: the
    day before which use ends, YYYY-MM-DD in UTC. records_min: fewest rows that the file must have.
    """

    diseases: Annotated[tuple[DiseaseField, ...], Meta(max_length=DISEASES_MAX)] = ()
    modifiers: Annotated[tuple[str, ...], Meta(max_length=len(MODIFIERS))] = ()
    records_min: Annotated[int, Meta(ge=0, le=10**12)] = 0
    until: _Day = ""
    use: str = ""
    version: DigestField | Literal[""] = ""

    @property
    def terms(self) -> DatasetTerms | None:
        """The terms of use; None when none are stated."""
        if not self.use:
            return None
        until_s = _day_s(self.until) or 0 if self.until else 0
        return DatasetTerms(self.use, self.modifiers, frozenset(self.diseases), until_s)


@final
class SitePolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """`site.toml`. studies: who answers a request for consent: a person each time, a person the
    first time that a study file is to use a data set, or this policy for the files of `code`.

    code: digests of the study files that may run here; empty: any that a person consented to.
    exposed: whether a consent of this site may accept that absences show nearly its update
    (aggregation.md 5.10). hours: when a study's work may begin; "" for any time. survivors_min:
    fewest members whose sum this site goes into. rounds_max: most rounds of one study.
    rounds_per_day_max: most rounds of all studies in 24 hours. parameters_max: most numbers of an
    update. round_s_max: seconds of one round's training. sandbox: which walls must hold around a
    study's process: all ("require"), those listed, or none ("warn"). memory_mb_max (MiB),
    cpu_s_max (processor seconds of one round), file_mb_max (MiB of each file it may write),
    open_files_max: limits that the sandbox sets. tell_failures: what all members are told when a
    study fails here: nothing, its kind, or also the exception and the line of the study file (ADR
    58). dataset: by data-set id.
    """

    format: Literal["comity-site/1"] = "comity-site/1"
    code: Annotated[tuple[DigestField, ...], Meta(max_length=4_096)] = ()
    cpu_s_max: Annotated[int, Meta(ge=1, le=7 * DAY_S)] = 3_600
    dataset: Annotated[
        dict[DatasetField, DatasetPolicy], Meta(max_length=DATASETS_PER_MEMBER_MAX)
    ] = msgspec.field(default_factory=dict)
    exposed: bool = False
    file_mb_max: Annotated[int, Meta(ge=1, le=2**20)] = 1_024
    hours: _Hours = ""
    memory_mb_max: Annotated[int, Meta(ge=64, le=2**20)] = 4_096
    open_files_max: Annotated[int, Meta(ge=32, le=4_096)] = 128
    parameters_max: Annotated[int, Meta(ge=8, le=VECTOR_WORDS_MAX)] = VECTOR_WORDS_MAX
    round_s_max: Annotated[int, Meta(ge=1, le=7 * DAY_S)] = 7 * DAY_S
    rounds_max: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    rounds_per_day_max: Annotated[int, Meta(ge=1, le=100_000)] = 100_000
    sandbox: SandboxPolicy = "require"
    studies: Literal["ask", "first-time", "auto"] = "ask"
    survivors_min: Annotated[int, Meta(ge=3, le=ROSTER_MAX)] = 3
    tell_failures: Literal["nothing", "kind", "line"] = "nothing"

    @property
    def walls(self) -> frozenset[Wall]:
        """Which walls must hold."""
        return walls_of(self.sandbox)


def parse_site(text: str) -> SitePolicy:
    """Read `site.toml`. What is left out has the default above.

    Raises:
        Misconfigured: names the setting, its line, and what is allowed.
    """
    if len(text) > SITE_BYTES_MAX:
        raise Misconfigured(f"site.toml has at most {SITE_BYTES_MAX} bytes")
    try:
        said = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise Misconfigured(f"site.toml is not TOML: {error}") from error
    try:
        return _policy_of(said)
    except Misconfigured as error:
        raise Misconfigured(f"site.toml: {error}{line_of(text, str(error))}") from error


def begins_now(policy: SitePolicy, now_s: int) -> bool:
    """Whether a study's work may begin at this time of the day (UTC)."""
    if not policy.hours:
        return True
    start, end = _minutes(policy.hours)
    minute = now_s % DAY_S // 60
    return start <= minute < end if start < end else minute >= start or minute < end


def _policy_of(said: Mapping[str, Any]) -> SitePolicy:
    tables = said.get("dataset", {})
    if isinstance(tables, dict):
        for name, table in tables.items():
            if not is_slug(name):
                raise Misconfigured(
                    f"dataset.{name[:64]}: a data set is named as in `comity data add`, with a-z,"
                    " 0-9, hyphens and dots"
                )
            fault = _dataset_fault(_read(table, DatasetPolicy, f"dataset.{name}."))
            if fault is not None:
                raise Misconfigured(f"dataset.{name}.{fault}")
    policy = _read(said, SitePolicy, "")
    if policy.hours:
        start, end = _minutes(policy.hours)
        if start == end or max(start, end) > DAY_S // 60:
            raise Misconfigured(
                'hours: two different times of a day, as "20:00-06:00 UTC"; leave it out for always'
            )
    for key, listed in (("code", policy.code), ("sandbox", policy.sandbox)):
        if isinstance(listed, tuple) and len(set(listed)) < len(listed):
            raise Misconfigured(f"{key}: the same entry stands there twice")
    if policy.sandbox == ():
        raise Misconfigured('sandbox: list at least one wall, or write "warn" if none has to hold')
    return policy


def _dataset_fault(policy: DatasetPolicy) -> str | None:
    """Which key of a data set's table cannot be, and what to write instead; None when all can."""
    if policy.use and policy.use not in PERMISSIONS:
        known = ", ".join(f"{term} ({name})" for term, (name, _) in PERMISSIONS.items())
        return f"use: one of {known}, not {policy.use[:32]!r}"
    for modifier in policy.modifiers:
        if modifier not in MODIFIERS:
            return f"modifiers: no DUO modifier {modifier[:32]!r}; they are listed in the docs"
    if len(set(policy.modifiers)) < len(policy.modifiers):
        return "modifiers: each once"
    if not policy.use and (policy.modifiers or policy.diseases or policy.until):
        return "use: say the permission first, such as DUO:0000042; modifiers narrow it"
    named = {PERMISSIONS[policy.use][0]} if policy.use else set()
    named |= {MODIFIERS[modifier][0] for modifier in policy.modifiers}
    if ("DS" in named) != bool(policy.diseases):
        return "diseases: listed exactly when use is DUO:0000007 (DS)"
    if {"POA", "NPOA"} <= named:
        return "modifiers: DUO:0000044 (NPOA) forbids all that DUO:0000011 (POA) allows; drop one"
    if policy.until and not _day_s(policy.until):  # the first day of all would be "no end"
        return f'until: a day as "2027-12-31", not {policy.until!r}'
    if TIME_LIMIT in policy.modifiers and not policy.until:
        return f'until: say when use ends, as "2027-12-31"; {TIME_LIMIT} (TS) says that it does'
    return None


def _read(said: object, kind: type[Table], where: str) -> Table:
    """A table as its type. Raises Misconfigured, beginning with the path of the key."""
    try:
        return msgspec.convert(said, kind)
    except msgspec.ValidationError as error:
        text = str(error)
        unknown = re.search(r"unknown field `([^`]*)`", text)
        if unknown is not None:
            raise Misconfigured(
                f"{where}{unknown[1]}: unknown; {_instead(unknown[1], kind)}"
            ) from (error)
        place = re.search(r" - at `\$\.?(\w*)", text)
        raise Misconfigured(f"{where}{place[1] if place else ''}: {text}") from error


_INSTEAD: Final[Mapping[str, str]] = {
    "budget": "declare the data set without one; privacy budgets are not in this version",
    "cpu": "write cpu_s_max = 3600",
    "gpu": "leave it out; a study gets no graphics processor in this version",
    "kinds": "leave it out; each study is asked about",
    "max": "write memory_mb_max, cpu_s_max, rounds_max and the others by themselves",
    "memory": "write memory_mb_max = 4096",
    "minutes_per_round": "write round_s_max = 1800",
    "mode": 'write studies = "ask", "first-time" or "auto"',
    "network": "leave it out; no study has network",
    "only_code": 'write code = ["<digest of the study file>"]',
    "run": "write its keys at the top, without a table; mode is called studies",
    "site": "leave it out; the file lies in the folder of its site",
}
"""Settings that people may expect from elsewhere, and what stands here instead."""


def _instead(key: str, kind: type[Struct]) -> str:
    if key in _INSTEAD:
        return _INSTEAD[key]
    near = difflib.get_close_matches(key, kind.__struct_fields__, 1)
    known = ", ".join(kind.__struct_fields__)
    return f"did you mean {near[0]}?" if near else f"what may stand there: {known}"


def _minutes(hours: str) -> tuple[int, int]:
    start, end = hours.removesuffix(" UTC").split("-")
    first, last = (60 * int(each[:2]) + int(each[3:]) for each in (start, end))
    return first, last


def _day_s(text: str) -> int | None:
    """POSIX seconds at which a day of the Gregorian calendar begins in UTC; None: no such day."""
    year, month, day = map(int, text.split("-"))
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    lengths = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if year < 1970 or not 1 <= month <= 12 or not 1 <= day <= lengths[month - 1]:
        return None
    before = year - 1
    days = 365 * before + before // 4 - before // 100 + before // 400
    return (days + sum(lengths[: month - 1]) + day - 1 - _EPOCH_DAYS) * DAY_S


_EPOCH_DAYS: Final = 719_162
"""Days from 0001-01-01 to 1970-01-01."""


def terms_of(policy: SitePolicy, dataset: DatasetId) -> DatasetTerms | None:
    """The terms that the policy states for a data set; None when it states none."""
    known = policy.dataset.get(dataset)
    return None if known is None else known.terms
