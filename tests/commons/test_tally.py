"""The tally: published vectors, edge cases, and that no group decides or blocks alone.

The numbers are those of governance-benefit-safety-ui.md A4.3. Not here: 9 (minimum block), 15 and
16 (dormancy), 20 and 21 (double majority), which no rule offers.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from comity.commons.tally import (
    HALF,
    DecisionRule,
    OutcomeOfVote,
    Tally,
    group_level,
    tally,
    weights,
)
from comity.statements.governing import Choice
from comity.values import MemberId

THIRD, TWO_THIRDS = Fraction(1, 3), Fraction(2, 3)
CHOICES: dict[str, Choice] = {"y": "yes", "n": "no", "a": "abstain", "o": "object"}
MAJORITY = DecisionRule("majority", HALF, 2)
TWO_OF_THREE = DecisionRule("threshold", HALF, 2, yes=TWO_THIRDS)
MOST_CAST = DecisionRule("threshold", HALF, 2, yes=Fraction(3, 4))
MOST_OF_ALL = DecisionRule("threshold", HALF, 2, yes=Fraction(3, 4), of="electorate")
CONSENSUS = DecisionRule("consensus", TWO_THIRDS, 2)
UNANIMITY = DecisionRule("unanimity", HALF, 2)


def member(at: int) -> MemberId:
    return MemberId("abcdefghijklmnopqrstuvwxyz"[at])


def count(rule: DecisionRule, said: str, *, base: int = 5, without: str = "") -> Tally:
    """Ballots of a, b, c, ... in turn; "-" is none."""
    electorate = {member(at): "one" for at in range(base)}
    ballots = {member(at): CHOICES[word] for at, word in enumerate(said) if word != "-"}
    return tally(rule, electorate, ballots, without=[MemberId(each) for each in without])


@pytest.mark.parametrize(
    ("number", "rule", "said", "base", "without", "outcome"),
    [
        (1, MAJORITY, "yyn", 5, "", "passed"),
        (2, MAJORITY, "yynn", 5, "", "rejected"),
        (3, MAJORITY, "yya", 5, "", "passed"),
        (4, MAJORITY, "yy", 5, "", "lapsed"),
        (5, MAJORITY, "yaa", 5, "", "rejected"),
        (6, TWO_OF_THREE, "yyn", 3, "", "passed"),
        (7, TWO_OF_THREE, "yyynn", 5, "", "rejected"),
        (8, MOST_CAST, "yyn", 3, "", "rejected"),
        (10, MOST_OF_ALL, "yyyy-", 5, "", "passed"),
        (11, MOST_OF_ALL, "yyya-", 5, "", "rejected"),
        (12, MAJORITY, "yyn", 5, "a", "rejected"),
        (13, MOST_OF_ALL, "yyy--", 5, "e", "passed"),
        (14, TWO_OF_THREE, "yyn-n", 5, "e", "passed"),
        (17, CONSENSUS, "yyyo", 5, "", "objected"),
        (18, CONSENSUS, "yyyn", 5, "", "passed"),
        (19, UNANIMITY, "yya", 3, "", "rejected"),
        (22, MAJORITY, "yy", 2, "ab", "lapsed"),
    ],
)
def test_vector(
    number: int, rule: DecisionRule, said: str, base: int, without: str, outcome: OutcomeOfVote
) -> None:
    assert count(rule, said, base=base, without=without).outcome == outcome, number


def test_unanimity_is_every_member_of_the_base() -> None:
    assert count(UNANIMITY, "yyy", base=3).outcome == "passed"
    assert count(UNANIMITY, "yy-", base=3).outcome == "rejected"


def test_a_room_of_abstainers_decides_nothing() -> None:
    assert count(TWO_OF_THREE, "aaaaa").outcome == "rejected"
    assert count(CONSENSUS, "aaaaa").outcome == "rejected"


def test_an_objection_outside_consensus_counts_as_no() -> None:
    said = count(MAJORITY, "yyoo")
    assert (said.outcome, said.no) == ("rejected", Fraction(2))
    assert said.objectors == (member(2), member(3))


def test_ballots_of_strangers_do_not_count() -> None:
    ballots: dict[MemberId, Choice] = {MemberId("x"): "yes", MemberId("y"): "yes"}
    assert tally(MAJORITY, {member(0): "one"}, ballots).cast == 0


@pytest.mark.parametrize(
    ("sizes", "level"),
    [
        ((6, 3, 2, 1), 3),
        ((10, 1, 1), 1),
        ((4, 4, 4), None),
        ((7, 5, 3, 3, 2), Fraction(13, 2)),
        ((5, 5), 5),
        ((3, 1), 1),
    ],
)
def test_the_level_of_the_cap(sizes: tuple[int, ...], level: Fraction | None) -> None:
    assert group_level(sizes, THIRD) == level


def grouped(sizes: list[int]) -> dict[MemberId, str]:
    return {
        MemberId(f"g{group}m{at}"): f"g{group}"
        for group, size in enumerate(sizes)
        for at in range(size)
    }


CAPS = st.fractions(Fraction(1, 10), Fraction(9, 10), max_denominator=20)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), CAPS)
def test_the_level_solves_its_equation(sizes: list[int], cap: Fraction) -> None:
    assume(len(sizes) * cap >= 1)
    level = group_level(sizes, cap)
    if level is None:
        assert max(sizes) <= cap * sum(sizes)
    else:
        assert level == cap * sum(min(Fraction(size), level) for size in sizes)
        assert level < max(sizes)


@st.composite
def caps_that_fit(draw: st.DrawFn) -> tuple[list[int], Fraction, Fraction]:
    """Group sizes, a cap and a share as the claim of A4.4 asks for them."""
    share = draw(st.fractions(Fraction(11, 20), Fraction(19, 20), max_denominator=20))
    cap = draw(st.fractions(Fraction(1, 20), 1 - share, max_denominator=20))
    least = -(-cap.denominator // cap.numerator)
    return draw(st.lists(st.integers(1, 15), min_size=least, max_size=least + 4)), cap, share


@given(caps_that_fit())
def test_no_group_passes_or_blocks_alone(fits: tuple[list[int], Fraction, Fraction]) -> None:
    sizes, cap, share = fits
    electorate = grouped(sizes)
    rule = DecisionRule("threshold", Fraction(0), 1, yes=share, of="electorate", group_cap=cap)
    for group in set(electorate.values()):
        alone: dict[MemberId, Choice] = {
            m: "yes" if electorate[m] == group else "no" for m in electorate
        }
        against: dict[MemberId, Choice] = {
            m: "no" if electorate[m] == group else "yes" for m in electorate
        }
        assert tally(rule, electorate, alone).outcome == "rejected"
        assert tally(rule, electorate, against).outcome == "passed"


def test_below_one_over_cap_groups_all_groups_weigh_the_same() -> None:
    weight = weights(grouped([9, 1]), THIRD)
    assert sum(w for m, w in weight.items() if m.startswith("g0")) == 1
    assert weight[MemberId("g1m0")] == 1


@given(st.lists(st.sampled_from("ynao-"), min_size=1, max_size=9), st.integers(0, 8))
def test_one_more_yes_never_hurts(said: list[str], at: int) -> None:
    assume(at < len(said) and said[at] in "na-")
    better = "".join([*said[:at], "y", *said[at + 1 :]])
    for rule in (MAJORITY, TWO_OF_THREE, MOST_OF_ALL, UNANIMITY, CONSENSUS):
        if count(rule, "".join(said), base=len(said)).outcome == "passed":
            assert count(rule, better, base=len(said)).outcome == "passed"


def test_where_fewer_than_min_yes_are_left_all_of_them_decide() -> None:
    rule = DecisionRule("majority", HALF, 3)
    assert count(rule, "yy---", without="cde").outcome == "passed"
    assert count(rule, "yn---", without="cde").outcome == "rejected"
    assert count(rule, "y----", without="cde").outcome == "rejected"
    assert count(rule, "yy---").outcome == "lapsed"
    assert count(rule, "yya--").outcome == "rejected"  # of five, two are still too few
