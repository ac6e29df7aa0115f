"""The floor: what no charter may say, whoever signed it or voted for it.

A charter that says it cannot be founded, and an amendment that would say it is void before anybody
votes. What hangs on one statement (a notice too young, a refusal without a criterion) is checked
where that statement is judged, always before any rule of the charter. The names of the rules begin
with the right they keep, as in governance-benefit-safety-ui.md A5.
"""

from __future__ import annotations

from typing import NamedTuple

from comity.commons.rulebook import Rulebook, rules_of
from comity.errors import Rule
from comity.values import DAY_S, EXIT_S_MIN, NOTICE_S_MIN, ROSTER_MIN, SUSPENSION_S_MAX


class BelowFloor(NamedTuple):
    """The right that a charter would take, and the key that would, with what is allowed."""

    rule: Rule
    text: str


def floor_fault(book: Rulebook | None, survivors_min: int) -> BelowFloor | None:
    """The first right that these keys of a charter would take; None when they take none.

    Args:
        survivors_min: the fewest members of a sum that the charter allows.
    """
    if survivors_min < ROSTER_MIN:
        text = f"studies.survivors_min: at least {ROSTER_MIN} members in every sum"
        return BelowFloor(Rule.F4_SUM_TOO_SMALL, text)
    if book is None:
        return None
    for name in rules_of(book, "amend"):
        if book.rules[name].effect_s < EXIT_S_MIN:
            text = f"rules.{name}.effect: at least {EXIT_S_MIN // DAY_S}d to leave in, as it amends"
            return BelowFloor(Rule.F13_EXIT_TOO_SHORT, text)
    name = book.decisions.get("exclude", "")
    if name and book.rules[name].notice_s < NOTICE_S_MIN:
        text = f"rules.{name}.notice: at least {NOTICE_S_MIN // DAY_S}d, as it excludes"
        return BelowFloor(Rule.F5_NOTICE_TOO_SHORT, text)
    name = book.decisions.get("suspend", "")
    if name and not 1 <= book.rules[name].expires_s <= SUSPENSION_S_MAX:
        text = f"rules.{name}.expires: up to {SUSPENSION_S_MAX // DAY_S}d, as it suspends"
        return BelowFloor(Rule.F14_NO_END, text)
    return None
