"""Who can pass, block or deadlock: equal to trying every set of members."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.commons.power import power_of
from comity.commons.tally import HALF, DecisionRule, tally
from comity.statements.governing import Choice
from comity.values import MemberId

THIRD, TWO_THIRDS = Fraction(1, 3), Fraction(2, 3)
WEIGHTY = DecisionRule("threshold", TWO_THIRDS, 3, yes=TWO_THIRDS, group_cap=THIRD)
RULES = [
    WEIGHTY,
    DecisionRule("majority", HALF, 2),
    DecisionRule("threshold", TWO_THIRDS, 1, yes=Fraction(3, 4), of="electorate"),
    DecisionRule("unanimity", HALF, 1),
    DecisionRule("consensus", HALF, 2),
]


def electorate(groups: str) -> dict[MemberId, str]:
    return {MemberId(f"m{at:03}"): group for at, group in enumerate(groups)}


def slow(rule: DecisionRule, who: dict[MemberId, str]) -> tuple[int, int, int]:
    def least(wins: Iterable[int]) -> int:
        return min(wins, default=len(who) + 1)

    def outcome(yes: Iterable[MemberId], rest: Choice | None) -> bool:
        ballots: dict[MemberId, Choice] = dict.fromkeys(who, rest) if rest else {}
        ballots |= dict.fromkeys(yes, "yes")
        return tally(rule, who, ballots).outcome == "passed"

    sets = [set(chosen) for size in range(1, len(who) + 1) for chosen in combinations(who, size)]
    everyone = set(who)
    return (
        least(len(s) for s in sets if outcome(s, "no")),
        least(len(s) for s in sets if not outcome(everyone - s, "no")),
        least(len(s) for s in sets if not outcome(everyone - s, None)),
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.method)
@given(groups=st.text("XYZ", min_size=2, max_size=6))
def test_it_says_what_trying_every_set_says(rule: DecisionRule, groups: str) -> None:
    who = electorate(groups)
    found = power_of(rule, who)
    assert (found.yes_needed, found.blocks, found.deadlocks) == slow(rule, who)


def test_the_cap_keeps_a_large_group_from_deciding_or_blocking() -> None:
    who = electorate("X" * 10 + "Y" + "Z")
    rule = replace(WEIGHTY, min_yes=2, quorum=Fraction(0))
    capped = power_of(rule, who)
    assert [group.share for group in capped.groups] == [THIRD] * 3
    assert not any(group.passes_alone or group.blocks_alone for group in capped.groups)
    # The quorum counts members: a large group that stays away can stop what it cannot outvote.
    assert power_of(replace(rule, quorum=TWO_THIRDS), who).groups[0].blocks_alone
    # Two members outside cannot be three that say yes: min_yes gives the large group its no back.
    assert power_of(WEIGHTY, who).groups[0].blocks_alone
    free = power_of(DecisionRule("threshold", TWO_THIRDS, 3, yes=TWO_THIRDS), who)
    assert free.groups[0].passes_alone and free.groups[0].blocks_alone


def test_with_two_groups_each_can_block_and_the_tool_says_so() -> None:
    found = power_of(WEIGHTY, electorate("XXXXXYYYYY"))
    assert [group.blocks_alone for group in found.groups] == [True, True]
