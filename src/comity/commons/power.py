"""What a rule gives each number and group of members: who can pass, block, or stop everything.

For `comity charter check`, before anybody signs. Everything is asked of the tally itself, with
made-up ballots, so it cannot say anything else than what will happen. Source:
governance-benefit-safety-ui.md A2 (`charter check`), A4.4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import final

from comity.commons.tally import DecisionRule, tally, weights
from comity.statements.governing import Choice
from comity.values import MemberId


@final
@dataclass(frozen=True, slots=True)
class GroupPower:
    """One group under one rule. share: of all weight. alone: whether it can do that by itself."""

    group: str
    members: int
    share: Fraction
    passes_alone: bool
    blocks_alone: bool


@final
@dataclass(frozen=True, slots=True)
class Power:
    """What one rule gives.

    yes_needed: fewest members whose yes passes it against everybody else's no.
    blocks: fewest members whose no stops it when everybody else says yes.
    deadlocks: fewest members whose absence stops it when everybody else says yes.
    """

    yes_needed: int
    blocks: int
    deadlocks: int
    groups: tuple[GroupPower, ...]


def power_of(rule: DecisionRule, electorate: Mapping[MemberId, str]) -> Power:
    """Ask the tally what each number of members and each group can do.

    Args:
        electorate: every member and its group; at least one.
    """
    weight = weights(electorate, rule.group_cap)
    heavy = sorted(electorate, key=lambda member: (-weight[member], member))
    total = sum(weight.values(), Fraction(0))

    def passes(yes: Sequence[MemberId], rest: Choice | None) -> bool:
        ballots: dict[MemberId, Choice] = dict.fromkeys(electorate, rest) if rest else {}
        ballots |= dict.fromkeys(yes, "yes")
        return tally(rule, electorate, ballots).outcome == "passed"

    def stops(outside: Sequence[MemberId]) -> bool:  # by its no, or by staying away
        return not passes(outside, "no") or not passes(outside, None)

    groups = []
    for group in sorted(set(electorate.values())):
        inside = [member for member in heavy if electorate[member] == group]
        outside = [member for member in heavy if electorate[member] != group]
        share = Fraction(sum((weight[member] for member in inside), Fraction(0)), total)
        groups.append(GroupPower(group, len(inside), share, passes(inside, "no"), stops(outside)))
    count = len(heavy)
    return Power(
        yes_needed=_least(count, lambda n: passes(heavy[:n], "no")),
        blocks=_least(count, lambda n: not passes(heavy[n:], "no")),
        deadlocks=_least(count, lambda n: not passes(heavy[n:], None)),
        groups=tuple(groups),
    )


def _least(count: int, holds: Callable[[int], bool]) -> int:
    """The least n from 1 to count with holds(n), which never turns false again; count + 1: none."""
    low, high = 1, count + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
