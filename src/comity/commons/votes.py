"""Proposals, votes and the signatures on a release. Decisions are derived, never said.

The electorate is all members at opening; a release needs more than half of all of them
(README.md 4.8, `simple-majority`). A vote closes in commons time.
"""

from __future__ import annotations

from dataclasses import replace

from comity.commons.state import Proposal, State
from comity.errors import Rule
from comity.statements.entries import Entry
from comity.statements.governing import ProposalOpen, ReleaseMotion, ReleaseSign, VoteCast
from comity.values import PROPOSALS_OPEN_PER_MEMBER_MAX


def propose(state: State, entry: Entry, body: ProposalOpen) -> State | Rule:
    """proposal.open: put the newest accepted result of a study to the vote."""
    said, motion = entry.statement, body.release
    if motion.study not in state.studies:
        return Rule.NO_SUCH_THING
    if not _on_newest_result(state, motion):
        return Rule.BASE_CHANGED
    standing = [proposal for proposal in state.proposals.values() if proposal.motion == motion]
    if any(proposal.decided is not False for proposal in standing):
        return Rule.SAID_BEFORE
    mine = sum(state.proposals[voting].author == said.author for voting in state.voting)
    if mine >= PROPOSALS_OPEN_PER_MEMBER_MAX:
        return Rule.TOO_MANY
    proposal = Proposal(
        id=said.id,
        author=said.author,
        index=entry.index,
        motion=motion,
        closes_s=state.commons_time_s + state.charter.vote_open_s,
        electorate=frozenset(state.members),
        votes={},
        decided=None,
        decided_index=0,
        signed={},
    )
    return replace(
        state,
        proposals={**state.proposals, said.id: proposal},
        voting=(*state.voting, said.id),
    )


def cast(state: State, entry: Entry, body: VoteCast) -> State | Rule:
    """vote.cast: a member's answer, or its changed answer; the one that settles it decides."""
    voter = entry.statement.author
    proposal = state.proposals.get(body.proposal)
    if proposal is None:
        return Rule.NO_SUCH_THING
    if voter not in proposal.electorate:
        return Rule.WRONG_PARTY
    if proposal.decided is not None:
        return Rule.VOTE_CLOSED
    if proposal.votes.get(voter) == body.choice:
        return Rule.SAID_BEFORE
    voted = replace(proposal, votes={**proposal.votes, voter: body.choice})
    decided = _settled(voted)
    if decided is not None:
        return _decide(state, voted, decided=decided, index=entry.index)
    return replace(state, proposals={**state.proposals, voted.id: voted})


def sign_release(state: State, entry: Entry, body: ReleaseSign) -> State | Rule:
    """release.sign: a member replayed the log and agrees that this release was decided."""
    member = entry.statement.author
    proposal = state.proposals.get(body.proposal)
    if proposal is None:
        return Rule.NO_SUCH_THING
    decided = proposal.motion
    same = (body.manifest, body.model) == (decided.manifest, decided.model)
    if not proposal.decided or not same:
        return Rule.NOT_DECIDED
    if member in proposal.signed:
        return Rule.SAID_BEFORE
    signed = replace(proposal, signed={**proposal.signed, member: entry.index})
    return replace(state, proposals={**state.proposals, signed.id: signed})


def close_due(state: State, index: int) -> State:
    """The state after commons time has moved: votes whose time is over are decided, with no.

    A vote with a yes majority was decided by the entry that gave it.
    """
    for proposal_id in state.voting:
        proposal = state.proposals[proposal_id]
        if proposal.closes_s <= state.commons_time_s:
            state = _decide(state, proposal, decided=False, index=index)
    return state


def _on_newest_result(state: State, motion: ReleaseMotion) -> bool:
    results = state.studies[motion.study].results
    if not results:
        return False
    return (results[-1].round_no, results[-1].model) == (motion.round_no, motion.model)


def _settled(proposal: Proposal) -> bool | None:
    # More than half of all must say yes; once half say no, that cannot come.
    choices = list(proposal.votes.values())
    if 2 * choices.count("yes") > len(proposal.electorate):
        return True
    if 2 * choices.count("no") >= len(proposal.electorate):
        return False
    return None


def _decide(state: State, proposal: Proposal, *, decided: bool, index: int) -> State:
    closed = replace(proposal, decided=decided, decided_index=index)
    return replace(
        state,
        proposals={**state.proposals, closed.id: closed},
        voting=tuple(voting for voting in state.voting if voting != closed.id),
    )
