"""The part of a charter that says how decisions are taken: groups, rules, and what each decides.

Decided here: the form of these tables, on paper and in canonical JSON, and which of them contradict
each other. A charter without them decides by simple majority of all members. What a rule makes of
ballots is decided in `tally`. Source: governance-benefit-safety-ui.md A2, A4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Final, Literal, TypeAlias, final, get_args

from msgspec import Meta, Struct

from comity.commons.tally import DecisionRule
from comity.errors import Misconfigured
from comity.statements.fields import Duration, SlugField
from comity.values import DAY_S, DEADLINE_S_MAX, MEMBERS_MAX, MemberId

Act: TypeAlias = Literal["admit", "amend", "exclude", "host", "release", "suspend"]
"""What is decided by vote."""

ACTS: Final[tuple[Act, ...]] = get_args(Act)
ACTS_NEEDED: Final[tuple[Act, ...]] = ("admit", "host", "release")
"""What every rulebook names a rule for; an act without a rule cannot be moved."""
RULES_MAX: Final = 32

FractionField = Annotated[str, Meta(pattern=r"\A(1|[1-9][0-9]{0,3}/[1-9][0-9]{0,3})\Z")]
"""1, or a share in lowest terms such as 2/3; never a float."""


_Pause = Annotated[int, Meta(ge=0, le=DEADLINE_S_MAX)]


@final
class Groups(Struct, frozen=True, forbid_unknown_fields=True):
    """Who must not be able to decide or to block alone.

    by: the attribute of a founder that makes the groups; members that say nothing there are each a
    group of their own. cap: the most weight of one group where a rule says group_cap.
    """

    by: Literal["affiliation", "country", "region", "sector"]
    cap: FractionField


@final
class RuleText(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One rule, as signed. Durations are seconds of commons time.

    method, quorum, yes, of, min_yes: as in `tally.DecisionRule`. window_s: how long the vote is
    open. group_cap: whether the cap of [groups] holds. effect_s: pause before a decision binds.
    mediation_s, fallback: of `consensus` alone; how long the proposer may answer objections, and
    the rule that decides afterwards.
    """

    method: Literal["majority", "threshold", "unanimity", "consensus"]
    window_s: Duration
    quorum: FractionField = "1/2"
    min_yes: Annotated[int, Meta(ge=1, le=MEMBERS_MAX)] = 1
    yes: FractionField | Literal[""] = ""
    of: Literal["cast", "electorate"] = "cast"
    group_cap: bool = False
    mediation_s: _Pause = 0
    fallback: SlugField | Literal[""] = ""
    effect_s: _Pause = 0
    notice_s: _Pause = 0
    expires_s: _Pause = 0


@final
class Rulebook(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Rules by name, and the name of the rule that each act follows."""

    decisions: dict[Act, SlugField]
    rules: dict[SlugField, RuleText]
    groups: Groups | None = None


def decision_rule(rule: RuleText, book: Rulebook | None) -> DecisionRule:
    """The rule for the tally; book: whose groups hold, where it says group_cap."""
    groups = book.groups if book is not None and rule.group_cap else None
    return DecisionRule(
        method=rule.method,
        quorum=Fraction(rule.quorum),
        min_yes=rule.min_yes,
        yes=Fraction(rule.yes) if rule.yes else Fraction(1, 2),
        of=rule.of,
        group_cap=Fraction(groups.cap) if groups is not None else None,
    )


def rules_of(book: Rulebook, *acts: Act) -> tuple[str, ...]:
    """The names of the rules that may come to decide these acts, fallbacks included."""
    names = [book.decisions[act] for act in acts if act in book.decisions]
    after = [book.rules[name].fallback for name in names if name in book.rules]
    return tuple(name for name in (*names, *after) if name in book.rules)


def rulebook_fault(book: Rulebook, electorate: Mapping[MemberId, str]) -> str | None:
    """Why this rulebook cannot be founded: which key, and what to write instead; None if fine.

    Args:
        electorate: the founders that vote, and the group of each.
    """
    if len(book.rules) > RULES_MAX:
        return f"rules: at most {RULES_MAX}"
    for act in ACTS:
        if act not in book.decisions:
            if act in ACTS_NEEDED:
                return f"decisions.{act}: name the rule by which this is decided"
        elif book.decisions[act] not in book.rules:
            return f"decisions.{act}: no [rules.{book.decisions[act]}] is there"
    used = set(book.decisions.values()) | {rule.fallback for rule in book.rules.values()}
    for name, rule in book.rules.items():
        fault = _rule_fault(book, name, rule)
        if fault is None and name not in used:
            fault = f"rules.{name}: no decision follows it; leave it out"
        for key, acts in _OF_ACTS.items():
            if fault is None and getattr(rule, key) and name not in rules_of(book, *acts):
                what = " or ".join(acts)
                fault = f"rules.{name}.{key[:-2]}: belongs to a rule that decides {what}"
        if fault is None and rule.min_yes > len(electorate):
            fault = f"rules.{name}.min_yes: at most {len(electorate)}, the number of votes"
        if fault is not None:
            return fault
    if book.groups is not None:
        cap = Fraction(book.groups.cap)
        if cap > 1 or str(cap) != book.groups.cap:
            return f"groups.cap: at most 1, in lowest terms: {min(cap, Fraction(1))}"
        if not any(rule.group_cap for rule in book.rules.values()):
            return "groups: no rule says group_cap = true; leave [groups] out, or say it in one"
    return None


_OF_ACTS: Final[dict[str, tuple[Act, ...]]] = {
    "notice_s": ("exclude", "suspend"),
    "expires_s": ("suspend",),
}


def _rule_fault(book: Rulebook, name: str, rule: RuleText) -> str | None:
    where = f"rules.{name}"
    if rule.method == "threshold":
        if not rule.yes or not Fraction(1, 2) < Fraction(rule.yes) <= 1:
            return f"{where}.yes: a share above 1/2, at most 1, as method = threshold needs"
    elif rule.yes or rule.of != "cast":
        return f"{where}: yes and of belong to method = threshold; leave them out"
    if Fraction(rule.quorum) > 1:
        return f"{where}.quorum: a share of at most 1"
    for key in ("quorum", "yes"):
        said = getattr(rule, key)
        if said and str(Fraction(said)) != said:
            return f"{where}.{key}: in lowest terms, {Fraction(said)}"
    if rule.group_cap and book.groups is None:
        return f"{where}.group_cap: needs a [groups] table that says by what, and the cap"
    if rule.method == "consensus":
        if rule.mediation_s < 1:
            return f"{where}.mediation: say how long objections may be answered, such as 14d"
        after = book.rules.get(rule.fallback)
        if after is None or after.method == "consensus":
            return f"{where}.fallback: the name of a rule that is not consensus"
    elif rule.mediation_s or rule.fallback:
        return f"{where}: mediation and fallback belong to method = consensus; leave them out"
    return None


# -- as people write it --------------------------------------------------------------------------

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": DAY_S}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,7})([smhd])")
_TIMED: Final = ("window", "mediation", "effect", "notice", "expires")


def rulebook_tables(said: Mapping[str, Any]) -> dict[str, Any]:
    """The tables `groups`, `rules` and `decisions` of a charter in TOML, in signed form.

    Durations become seconds (`window = "14d"` is `window_s`), `like` takes over another rule.
    What is not such a table is left for the strict reader to refuse.

    Raises:
        Misconfigured: a duration that is none; a `like` that names no rule, or leads in a circle.
    """
    rules = said.get("rules", {})
    written = {key: said[key] for key in ("groups", "decisions") if key in said}
    if not isinstance(rules, dict):
        return {**written, "rules": rules}
    return {**written, "rules": {name: _signed(name, rules, ()) for name in rules}}


def _signed(name: str, rules: Mapping[str, Any], seen: tuple[str, ...]) -> Any:
    rule = rules.get(name)
    if name in seen or len(seen) > RULES_MAX:
        raise Misconfigured(f"rules.{seen[0]}.like: {' -> '.join((*seen, name))} is a circle")
    if rule is None:
        raise Misconfigured(f"rules.{seen[-1]}.like: no [rules.{name}] is there")
    if not isinstance(rule, dict):
        return rule
    signed = dict(rule)
    for key in _TIMED:
        if f"{key}_s" in signed:
            raise Misconfigured(f'rules.{name}.{key}_s: write {key} = "14d" instead')
        if key in signed:
            signed[f"{key}_s"] = duration_s(signed.pop(key), f"rules.{name}.{key}")
    like = signed.pop("like", None)
    if like is None:
        return signed
    if not isinstance(like, str):
        raise Misconfigured(f"rules.{name}.like: the name of a rule")
    return {**_signed(like, rules, (*seen, name)), **signed}


def duration_s(said: object, where: str) -> int:
    """Seconds of `30d`, `72h`, `15m`, `10s`.

    Raises:
        Misconfigured: anything else.
    """
    found = _DURATION.fullmatch(said) if isinstance(said, str) else None
    if found is None:
        raise Misconfigured(f'{where}: a whole number with a unit, such as "14d", "72h" or "30m"')
    return int(found[1]) * _UNITS[found[2]]
