"""The stages of a vote: when it ends, what its ballots then give, and what follows.

    voting -> decided                          passed, rejected, or its quorum missed twice
    voting -> voting                           quorum missed: half as long again, once
    voting -> waiting -> decided               passed; the pause before it binds
    voting -> answering -> voting -> ...       objections: answered, then the fallback rule decides
    answering -> decided                       nobody answered them: no

Stages end in commons time. Without a rulebook a motion needs more than half of all members
(README.md 4.8), and is decided as soon as no ballot can change it. Source:
governance-benefit-safety-ui.md A3, A4.1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from comity.commons.charter import Charter
from comity.commons.rulebook import Act, Rulebook, decision_rule
from comity.commons.state import Proposal
from comity.commons.tally import tally
from comity.values import StatementId


def voting_rule(charter: Charter, motion: Act) -> tuple[str, int]:
    """The rule a motion follows ("" without a rulebook), and how many seconds its vote is open."""
    book = charter.rulebook
    if book is None:
        return "", charter.vote_open_s
    name = book.decisions[motion]
    return name, book.rules[name].window_s


def early(charter: Charter, proposal: Proposal, now_s: int) -> Proposal:
    """The vote after a ballot, or after somebody left; decided if nothing can change it any more.

    By a rulebook ballots may be changed until the end, so it ends early only when every member
    has voted and none objects (A4.1, step 12).
    """
    if charter.rulebook is None:
        return replace(proposal, decided=_simple_majority(proposal))
    choices = list(proposal.votes.values())
    if proposal.stage != "voting" or "object" in choices or len(choices) < len(proposal.groups):
        return proposal
    return ended(charter, proposal, now_s)


def ended(charter: Charter, proposal: Proposal, now_s: int) -> Proposal:
    """What a vote becomes when its stage ends.

    Args:
        now_s: commons time. What follows is counted from here, so a clock that jumps takes nothing
            from a pause that members have to leave in.
    """
    book = charter.rulebook
    if book is None:
        return replace(proposal, decided=False)
    match proposal.stage:
        case "voting":
            return _judged(book, proposal, now_s)
        case "answering":
            return replace(proposal, decided=False)
        case "waiting":
            return replace(proposal, decided=True)
        case _:
            assert_never(proposal.stage)


def answered(charter: Charter, proposal: Proposal, answer: StatementId, now_s: int) -> Proposal:
    """The vote that begins again, without ballots, under the fallback rule."""
    book = charter.rulebook
    assert book is not None, "without a rulebook nothing waits for an answer"
    fallback = book.rules[proposal.rule].fallback
    return replace(
        proposal,
        rule=fallback,
        stage="voting",
        closes_s=now_s + book.rules[fallback].window_s,
        extended=False,
        votes={},
        answer=answer,
    )


def _judged(book: Rulebook, proposal: Proposal, now_s: int) -> Proposal:
    rule = book.rules[proposal.rule]
    counted = tally(decision_rule(book, proposal.rule), proposal.groups, proposal.votes)
    match counted.outcome:
        case "passed" if rule.effect_s:
            return replace(proposal, stage="waiting", closes_s=now_s + rule.effect_s)
        case "passed":
            return replace(proposal, decided=True)
        case "objected":
            return replace(proposal, stage="answering", closes_s=now_s + rule.mediation_s)
        case "lapsed" if not proposal.extended and proposal.groups:
            longer = max(1, rule.window_s // 2)
            return replace(proposal, extended=True, closes_s=now_s + longer)
        case _:
            return replace(proposal, decided=False)


def _simple_majority(proposal: Proposal) -> bool | None:
    # More than half of all must say yes; once half do not, that cannot come.
    choices = list(proposal.votes.values())
    if 2 * choices.count("yes") > len(proposal.groups):
        return True
    if 2 * (choices.count("no") + choices.count("object")) >= len(proposal.groups):
        return False
    return None
