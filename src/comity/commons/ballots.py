"""The stages of a vote: when it ends, what its ballots then give, and what follows.

    voting -> ended                            passed, rejected, or lapsed: its quorum missed twice
    voting -> voting                           quorum missed: half as long again, once
    voting -> waiting -> ended                 passed; the pause before it binds
    voting -> answering -> voting -> ...       objections: answered, then the fallback rule decides
    answering -> ended                         nobody answered them: lapsed

Stages end in commons time, under the charter that was in force when the vote was opened. Without a
rulebook a motion needs more than half of all members (README.md 4.8), and is decided as soon as no
ballot can change it; but a charter that names no rule for its own amendment is amended by all of
its members together, and by nobody else. An amendment of that rule must be carried by the old rule
and by the new one. Source: governance-benefit-safety-ui.md A3, A4.1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, assert_never

from comity.commons.charter import Charter
from comity.commons.proposals import Ending, Proposal
from comity.commons.rulebook import Act, RuleText, decision_rule
from comity.commons.tally import OutcomeOfVote, tally
from comity.statements.governing import AmendMotion
from comity.values import DAY_S, EXIT_S_MIN, StatementId

ALL_AGREE: Final = "*"
"""The rule by which a charter that names none is amended; no rule of a charter has this name."""

_ALL_AGREE: Final = RuleText(
    method="unanimity", window_s=30 * DAY_S, quorum="1", effect_s=EXIT_S_MIN
)


def voting_rule(charter: Charter, act: Act) -> str | None:
    """The rule that an act follows, "" for a simple majority; None: the charter has no rule for it.

    Without a rulebook a simple majority admits, releases and changes the host.
    """
    book = charter.rulebook
    if book is not None and act in book.decisions:
        return book.decisions[act]
    if act == "amend":
        return ALL_AGREE
    return "" if book is None and act in ("admit", "host", "release") else None


def rule_text(charter: Charter, name: str) -> RuleText:
    """The rule of that name; `voting_rule` gave it, and it is not ""."""
    if name == ALL_AGREE:
        return _ALL_AGREE
    assert charter.rulebook is not None, "only a rulebook has rules with names"
    return charter.rulebook.rules[name]


def open_s(charter: Charter, name: str, becomes: Charter | None, new_rule: str) -> int:
    """Seconds that a vote is open, by the rule and, of an amendment, by the new one if longer."""
    mine = rule_text(charter, name).window_s if name else charter.vote_open_s
    if becomes is None or not new_rule:
        return mine
    return max(mine, rule_text(becomes, new_rule).window_s)


def early(proposal: Proposal, now_s: int) -> Proposal:
    """The vote after a ballot, or after somebody left; ended if nothing can change it any more.

    By a rule of a rulebook ballots may be changed until the end, so it ends early only when every
    member has voted and none objects (A4.1, step 12).
    """
    if not proposal.rule:
        return replace(proposal, ending=_simple_majority(proposal))
    if proposal.stage != "voting" or len(proposal.votes) < len(proposal.groups):
        return proposal
    if "object" in proposal.votes.values():
        return proposal
    return ended(proposal, now_s)


def ended(proposal: Proposal, now_s: int) -> Proposal:
    """What a vote becomes when its stage ends.

    Args:
        now_s: commons time. What follows is counted from here, so a clock that jumps takes nothing
            from a pause that members have to leave in.
    """
    if not proposal.rule:
        return replace(proposal, ending="rejected")
    match proposal.stage:
        case "voting":
            return _judged(proposal, now_s)
        case "answering":
            return replace(proposal, ending="lapsed")
        case "waiting":
            return replace(proposal, ending="passed")
        case _:
            assert_never(proposal.stage)


def answered(proposal: Proposal, answer: StatementId, now_s: int) -> Proposal:
    """The vote that begins again, without ballots, under the fallback rule."""
    after = replace(
        proposal,
        rule=_after_answer(proposal.charter, proposal.rule),
        stage="voting",
        extended=False,
        votes={},
        answer=answer,
    )
    if after.becomes is not None and after.new_rule:
        after = replace(after, new_rule=_after_answer(after.becomes, after.new_rule))
    seconds = open_s(after.charter, after.rule, after.becomes, after.new_rule)
    return replace(after, closes_s=now_s + seconds)


def _after_answer(charter: Charter, name: str) -> str:
    return rule_text(charter, name).fallback or name


def _judged(proposal: Proposal, now_s: int) -> Proposal:
    rule, outcome = rule_text(proposal.charter, proposal.rule), _outcome(proposal)
    match outcome:
        case "passed":
            pause = _pause(proposal)
            if pause:
                return replace(proposal, stage="waiting", closes_s=now_s + pause)
            return replace(proposal, ending="passed")
        case "objected":
            mediation = max(rule.mediation_s, _new(proposal, "mediation_s"))
            return replace(proposal, stage="answering", closes_s=now_s + mediation)
        case "lapsed" if not proposal.extended and proposal.groups:
            longer = max(1, rule.window_s // 2)
            return replace(proposal, extended=True, closes_s=now_s + longer)
        case _:
            ending: Ending = "lapsed" if outcome == "lapsed" else "rejected"
            return replace(proposal, ending=ending)


def _outcome(proposal: Proposal) -> OutcomeOfVote:
    """By the rule, and of an amendment of the amendment rule by both: the worse of the two."""
    outcomes = [_counted(proposal, proposal.charter, proposal.rule)]
    if proposal.becomes is not None and proposal.new_rule:
        outcomes.append(_counted(proposal, proposal.becomes, proposal.new_rule))
    order: tuple[OutcomeOfVote, ...] = ("lapsed", "rejected", "objected", "passed")
    return min(outcomes, key=order.index)


def _counted(proposal: Proposal, charter: Charter, name: str) -> OutcomeOfVote:
    groups = proposal.groups if charter is proposal.charter else proposal.new_groups
    rule = decision_rule(rule_text(charter, name), charter.rulebook)
    return tally(rule, groups, proposal.votes).outcome


def _pause(proposal: Proposal) -> int:
    """Seconds before it binds; of an amendment never fewer than the floor's (F13)."""
    pause = max(rule_text(proposal.charter, proposal.rule).effect_s, _new(proposal, "effect_s"))
    return max(pause, EXIT_S_MIN) if isinstance(proposal.motion, AmendMotion) else pause


def _new(proposal: Proposal, key: str) -> int:
    if proposal.becomes is None or not proposal.new_rule:
        return 0
    seconds: int = getattr(rule_text(proposal.becomes, proposal.new_rule), key)
    return seconds


def _simple_majority(proposal: Proposal) -> Ending | None:
    # More than half of all must say yes; once half do not, that cannot come.
    choices = list(proposal.votes.values())
    if 2 * choices.count("yes") > len(proposal.groups):
        return "passed"
    if 2 * (choices.count("no") + choices.count("object")) >= len(proposal.groups):
        return "rejected"
    return None
