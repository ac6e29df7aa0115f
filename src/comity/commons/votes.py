"""Proposals, votes and the signatures on a release. Decisions are derived, never said.

The electorate is all members at opening, less those that leave before it is decided. How ballots
become an outcome, and when, is decided in `ballots`. A decision to admit or about the host changes
what may follow the epoch in force (`epochs`).
"""

from __future__ import annotations

from dataclasses import replace

from comity.commons.ballots import answered, early, ended, voting_rule
from comity.commons.charter import group_of, newcomer
from comity.commons.epochs import key_set_name, with_pending
from comity.commons.state import Proposal, State
from comity.errors import Rule
from comity.statements.entries import Entry
from comity.statements.governing import (
    AdmitMotion,
    HostMotion,
    Motion,
    ObjectionAnswer,
    ProposalOpen,
    ProposalWithdraw,
    ReleaseMotion,
    ReleaseSign,
    VoteCast,
)
from comity.values import (
    APPLICATION_OPEN_S,
    MEMBERS_MAX,
    PROPOSALS_OPEN_PER_MEMBER_MAX,
    MemberId,
)


def propose(state: State, entry: Entry, body: ProposalOpen) -> State | Rule:
    """proposal.open: put a release, an admission or a change of host to the vote."""
    said, motion = entry.statement, body.content
    fault = _motion_fault(state, motion)
    if fault is not None:
        return fault
    if stands(state, motion) or _is_open(state, motion):
        return Rule.SAID_BEFORE
    mine = sum(state.proposals[voting].author == said.author for voting in state.voting)
    if mine >= PROPOSALS_OPEN_PER_MEMBER_MAX:
        return Rule.TOO_MANY
    rule, open_s = voting_rule(state.charter, body.motion)
    proposal = Proposal(
        id=said.id,
        author=said.author,
        index=entry.index,
        motion=motion,
        rule=rule,
        stage="voting",
        closes_s=state.commons_time_s + open_s,
        extended=False,
        groups=groups_of(state),
        votes={},
        objections={},
        answer=None,
        decided=None,
        decided_index=0,
        signed={},
    )
    return replace(
        state,
        proposals={**state.proposals, said.id: proposal},
        voting=(*state.voting, said.id),
    )


def stands(state: State, motion: Motion) -> bool:
    """Whether a yes to this motion is in effect; one about the host only until a host changes."""
    since = state.epoch.host_size if isinstance(motion, HostMotion) else 0
    return any(
        bool(proposal.decided) and proposal.motion == motion and proposal.decided_index >= since
        for proposal in state.proposals.values()
    )


def cast(state: State, entry: Entry, body: VoteCast) -> State | Rule:
    """vote.cast: a member's answer, or its changed answer; the one that settles it decides."""
    voter = entry.statement.author
    proposal = state.proposals.get(body.proposal)
    if proposal is None:
        return Rule.NO_SUCH_THING
    if voter not in proposal.electorate:
        return Rule.WRONG_PARTY
    if proposal.decided is not None or proposal.stage != "voting":
        return Rule.VOTE_CLOSED
    if proposal.votes.get(voter) == body.choice:
        return Rule.SAID_BEFORE
    objections = proposal.objections
    if body.choice == "object":
        if not body.reason.strip():
            return Rule.NO_REASON
        objections = {**objections, voter: entry.statement.id}
    votes = {**proposal.votes, voter: body.choice}
    return _counted(state, replace(proposal, votes=votes, objections=objections), entry.index)


def withdraw(state: State, entry: Entry, body: ProposalWithdraw) -> State | Rule:
    """proposal.withdraw: who proposed it takes it back, and nothing is decided."""
    proposal = state.proposals.get(body.proposal)
    if proposal is None:
        return Rule.NO_SUCH_THING
    if proposal.author != entry.statement.author:
        return Rule.WRONG_PARTY
    if proposal.decided is not None or proposal.stage == "waiting":
        return Rule.VOTE_CLOSED
    return _decide(state, proposal, decided=False, index=entry.index)


def answer(state: State, entry: Entry, body: ObjectionAnswer) -> State | Rule:
    """objection.answer: the objections are answered, and all vote again by the fallback rule."""
    proposal = state.proposals.get(body.proposal)
    if proposal is None:
        return Rule.NO_SUCH_THING
    if proposal.author != entry.statement.author:
        return Rule.WRONG_PARTY
    if proposal.decided is not None or proposal.stage != "answering":
        return Rule.VOTE_CLOSED
    if not body.reason.strip():
        return Rule.NO_REASON
    again = answered(state.charter, proposal, entry.statement.id, state.commons_time_s)
    return _kept(state, again)


def sign_release(state: State, entry: Entry, body: ReleaseSign) -> State | Rule:
    """release.sign: a member replayed the log and agrees that this release was decided.

    Once with each key set: outsiders know its newest keys only.
    """
    member = entry.statement.author
    proposal = state.proposals.get(body.proposal)
    if proposal is None:
        return Rule.NO_SUCH_THING
    decided = proposal.release
    if not proposal.decided or decided is None:
        return Rule.NOT_DECIDED
    if (body.manifest, body.model) != (decided.manifest, decided.model):
        return Rule.NOT_DECIDED
    if has_signed(state, proposal, member):
        return Rule.SAID_BEFORE
    signed = replace(proposal, signed={**proposal.signed, member: entry.index})
    return replace(state, proposals={**state.proposals, signed.id: signed})


def has_signed(state: State, proposal: Proposal, member: MemberId) -> bool:
    """Whether a release.sign of the member stands, signed with the keys it has in force."""
    index = proposal.signed.get(member)
    if index is None or member not in state.keys:
        return False
    return state.epoch_at(index).keys.get(member) == state.keys[member]


def signatures_of(state: State, proposal: Proposal) -> tuple[int, ...]:
    """Indexes of the release.sign that an outsider can check with the newest epoch alone."""
    return tuple(i for m, i in proposal.signed.items() if has_signed(state, proposal, m))


def close_due(state: State, index: int) -> State:
    """The state after commons time has moved: what was to end by now has ended, step by step.

    Without a rulebook that is a no, since a yes majority was decided by the entry that gave it.
    """
    for proposal_id in state.voting:
        proposal = state.proposals[proposal_id]
        while proposal.decided is None and proposal.closes_s <= state.commons_time_s:
            state = _took(state, ended(state.charter, proposal, state.commons_time_s), index)
            proposal = state.proposals[proposal_id]
    return state


def without(state: State, member: MemberId, index: int) -> State:
    """The state after the member left or was removed: no open vote counts it any more."""
    for proposal_id in state.voting:
        proposal = state.proposals[proposal_id]
        if member not in proposal.electorate:
            continue
        fewer = replace(
            proposal,
            groups={who: group for who, group in proposal.groups.items() if who != member},
            votes={who: choice for who, choice in proposal.votes.items() if who != member},
        )
        state = _counted(state, fewer, index)
    return state


def groups_of(state: State) -> dict[MemberId, str]:
    """Who votes now, and the group of each as the rulebook makes groups."""
    charter = state.charter
    founders = {founder.id: founder for founder in charter.founders}
    return {
        member: group_of(
            charter, founders.get(member) or newcomer(member, state.countries.get(member, ""))
        )
        for member in state.present
    }


def _motion_fault(state: State, motion: Motion) -> Rule | None:
    match motion:
        case ReleaseMotion():
            if motion.study not in state.studies:
                return Rule.NO_SUCH_THING
            return None if _on_newest_result(state, motion) else Rule.BASE_CHANGED
        case AdmitMotion():
            application = state.changes.applications.get(motion.member)
            if application is None or key_set_name(application.key_set) != motion.keys:
                return Rule.NO_SUCH_THING
            if motion.member in state.changes.admitted or motion.member in state.authors:
                return Rule.SAID_BEFORE
            if application.time_s <= state.commons_time_s - APPLICATION_OPEN_S:
                return Rule.VOTE_CLOSED
            full = len(state.members) + len(state.changes.admitted) >= MEMBERS_MAX
            return Rule.TOO_MANY if full else None
        case _:
            if motion.member == state.host:
                return Rule.SAID_BEFORE
            return None if motion.member in state.changes.offers else Rule.NO_SUCH_THING


def _is_open(state: State, motion: Motion) -> bool:
    return any(state.proposals[voting].motion == motion for voting in state.voting)


def _on_newest_result(state: State, motion: ReleaseMotion) -> bool:
    results = state.studies[motion.study].results
    if not results:
        return False
    return (results[-1].round_no, results[-1].model) == (motion.round_no, motion.model)


def _counted(state: State, proposal: Proposal, index: int) -> State:
    """The state with this vote, decided if nothing can change it any more."""
    return _took(state, early(state.charter, proposal, state.commons_time_s), index)


def _took(state: State, after: Proposal, index: int) -> State:
    if after.decided is None:
        return _kept(state, after)
    return _decide(state, after, decided=after.decided, index=index)


def _kept(state: State, proposal: Proposal) -> State:
    return replace(state, proposals={**state.proposals, proposal.id: proposal})


def _decide(state: State, proposal: Proposal, *, decided: bool, index: int) -> State:
    closed = replace(proposal, decided=decided, decided_index=index)
    state = replace(
        state,
        proposals={**state.proposals, closed.id: closed},
        voting=tuple(voting for voting in state.voting if voting != closed.id),
    )
    motion = closed.motion
    if not decided or not isinstance(motion, AdmitMotion):
        return state
    admitted = (*state.changes.admitted, motion.member)
    return with_pending(replace(state, changes=replace(state.changes, admitted=admitted)))
