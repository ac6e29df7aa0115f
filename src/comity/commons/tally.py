"""How ballots become an outcome: one pure function, in exact fractions.

Decided here: who counts, when a vote has its quorum, what passes under each method, and what one
group may weigh at most. Who may vote at all, and what follows from an outcome, is decided in
`votes`. Source: governance-benefit-safety-ui.md A4.1, A4.4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, TypeAlias, final

from comity.statements.governing import Choice
from comity.values import MemberId

Method: TypeAlias = Literal["majority", "threshold", "unanimity", "consensus"]
OutcomeOfVote: TypeAlias = Literal["passed", "rejected", "lapsed", "objected"]

HALF: Final = Fraction(1, 2)


@final
@dataclass(frozen=True, slots=True)
class DecisionRule:
    """How one kind of decision is taken.

    Attributes:
        method: majority (of those who took a side), threshold, unanimity or consensus.
        quorum: least share of the base that must cast a ballot; abstentions count, 0 to 1.
        min_yes: least number of members that say yes, from 1; where fewer are left, all of them.
        yes: share of yes that passes; of `threshold` alone, above 1/2 and at most 1.
        of: what the share is taken of: those who took a side, or the whole base.
        group_cap: the most weight that one group may carry, 0 < cap <= 1; None: all weigh the same.
    """

    method: Method
    quorum: Fraction
    min_yes: int
    yes: Fraction = HALF
    of: Literal["cast", "electorate"] = "cast"
    group_cap: Fraction | None = None


@final
@dataclass(frozen=True, slots=True)
class Tally:
    """The outcome and what it rests on. Weights are fractions; without a group cap, members.

    base: members whose ballots could count. cast: of them, those who cast one. yes, no: weight of
    those who took a side; an objection is in `no`. objectors: members that object.
    """

    outcome: OutcomeOfVote
    base: int
    cast: int
    yes: Fraction
    no: Fraction
    total: Fraction
    objectors: tuple[MemberId, ...]


def tally(
    rule: DecisionRule,
    electorate: Mapping[MemberId, str],
    ballots: Mapping[MemberId, Choice],
    *,
    without: Collection[MemberId] = (),
) -> Tally:
    """Count ballots under a rule (A4.1, steps 2, 5, 7 to 9, 11).

    Args:
        electorate: who could vote at opening, and the group of each.
        ballots: the last valid ballot of each member; of strangers, none counts.
        without: members that left by their own statement before closing, and the subject of an
            exclusion or suspension: they are out of the base, and their ballots void.
    """
    base = {member: group for member, group in electorate.items() if member not in without}
    counted = {member: choice for member, choice in ballots.items() if member in base}
    weight = weights(base, rule.group_cap)
    total = sum(weight.values(), Fraction(0))
    yes = sum((weight[m] for m, choice in counted.items() if choice == "yes"), Fraction(0))
    no = sum(
        (weight[m] for m, choice in counted.items() if choice in ("no", "object")), Fraction(0)
    )
    objectors = tuple(sorted(m for m, choice in counted.items() if choice == "object"))
    supporters = sum(choice == "yes" for choice in counted.values())
    outcome: OutcomeOfVote
    if not base or len(counted) < rule.quorum * len(base):
        outcome = "lapsed"
    elif rule.method == "consensus" and objectors:
        outcome = "objected"
    elif supporters < min(rule.min_yes, len(base)):  # of fewer than min_yes, all must want it
        outcome = "rejected"
    elif _carries(rule, yes, no, total, supporters == len(base)):
        outcome = "passed"
    else:
        outcome = "rejected"
    return Tally(outcome, len(base), len(counted), yes, no, total, objectors)


def _carries(
    rule: DecisionRule, yes: Fraction, no: Fraction, total: Fraction, everyone: bool
) -> bool:
    match rule.method:
        case "majority" | "consensus":  # a tie is rejected: nobody has a casting vote
            return yes > no
        case "threshold":
            return yes >= rule.yes * (total if rule.of == "electorate" else yes + no)
        case "unanimity":
            return everyone


def weights(groups: Mapping[MemberId, str], cap: Fraction | None) -> dict[MemberId, Fraction]:
    """What each member weighs, so that no group weighs more than `cap` of the total (A4.4).

    Below 1/cap groups this cannot be: then all groups weigh the same.
    """
    sizes = Counter(groups.values())
    level = None if cap is None else group_level(list(sizes.values()), cap)
    if level is None:
        return dict.fromkeys(groups, Fraction(1))
    return {m: min(Fraction(1), Fraction(level, sizes[group])) for m, group in groups.items()}


def group_level(sizes: Collection[int], cap: Fraction) -> Fraction | None:
    """The L with L = cap x sum of min(size, L); None when no group is above the cap.

    With fewer than 1/cap groups there is no such L above 0; then it is the smallest size.
    """
    if not sizes or max(sizes) <= cap * sum(sizes):
        return None
    ordered = sorted(sizes, reverse=True)
    if len(ordered) * cap < 1:
        return Fraction(ordered[-1])
    rest = sum(ordered)
    for capped, size in enumerate(ordered, 1):
        rest -= size
        if cap * capped >= 1:
            break
        level = Fraction(cap * rest, 1 - cap * capped)
        smaller = ordered[capped] if capped < len(ordered) else 0
        if smaller <= level < size:
            return level
    return Fraction(ordered[-1])
