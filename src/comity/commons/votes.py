"""Proposals, votes and the signatures on a release. Decisions are derived, never said.

The electorate is all members at opening, one for each affiliation, without whom the motion is
directed against, less those that leave before it is decided. What may be moved and what a yes does
is decided in `motions`; how ballots become an outcome, and when, in `ballots`.
"""

from __future__ import annotations

from dataclasses import replace

from comity.commons import motions, notices
from comity.commons.ballots import answered, early, ended, open_s, voting_rule
from comity.commons.copies import changed
from comity.commons.motions import groups_of
from comity.commons.state import Proposal, State
from comity.errors import Rule
from comity.statements.entries import Entry
from comity.statements.governing import (
    AdmitMotion,
    HostMotion,
    Motion,
    NoticeGive,
    NoticeReply,
    ObjectionAnswer,
    ProposalOpen,
    ProposalWithdraw,
    ReleaseMotion,
    ReleaseSign,
    VoteCast,
)
from comity.values import PROPOSALS_OPEN_PER_MEMBER_MAX, MemberId

_Said = (
    ProposalOpen
    | VoteCast
    | ProposalWithdraw
    | ObjectionAnswer
    | ReleaseSign
    | NoticeGive
    | NoticeReply
)


def say(state: State, entry: Entry, body: _Said) -> State | Rule:
    """The state after a member's statement about what is decided, or the rule that voids it."""
    match body:
        case VoteCast():
            return cast(state, entry, body)
        case ProposalOpen():
            return propose(state, entry, body)
        case ProposalWithdraw():
            return withdraw(state, entry, body)
        case ObjectionAnswer():
            return answer(state, entry, body)
        case ReleaseSign():
            return sign_release(state, entry, body)
        case NoticeGive():
            return notices.give(state, entry, body)
        case NoticeReply():
            return notices.reply(state, entry, body)


def propose(state: State, entry: Entry, body: ProposalOpen) -> State | Rule:
    """proposal.open: put a motion to the vote, by the rule that the charter in force has for it."""
    said, motion, charter = entry.statement, body.content, state.charter
    rule = voting_rule(charter, body.motion)
    if rule is None:
        return Rule.NO_RULE
    fault = motions.motion_fault(state, motion, rule, body.reason)
    if fault is not None:
        return fault
    if stands(state, motion) or _is_open(state, motion):
        return Rule.SAID_BEFORE
    mine = sum(state.proposals[voting].author == said.author for voting in state.voting)
    if mine >= PROPOSALS_OPEN_PER_MEMBER_MAX:
        return Rule.TOO_MANY
    becomes = motions.charter_moved(state, motion)
    new_rule = motions.new_rule(charter, becomes)
    out = motions.accused(motion)
    proposal = Proposal(
        id=said.id,
        author=said.author,
        index=entry.index,
        motion=motion,
        charter=charter,
        rule=rule,
        becomes=becomes,
        new_rule=new_rule,
        stage="voting",
        closes_s=state.commons_time_s + open_s(charter, rule, becomes, new_rule),
        extended=False,
        groups={who: group for who, group in groups_of(state).items() if who != out},
        new_groups=groups_of(state, becomes) if new_rule else {},
        votes={},
        objections={},
        answer=None,
        ending=None,
        decided_index=0,
        signed={},
    )
    state = motions.opened(state, proposal)
    return replace(
        state,
        proposals=state.proposals.adding(said.id, proposal),
        voting=(*state.voting, said.id),
    )


def stands(state: State, motion: Motion) -> bool:
    """Whether a yes to this motion is in effect; one about the host only until a host changes.

    Of an admission, a release or a host; a charter may change again, and a notice serves one vote.
    """
    if not isinstance(motion, AdmitMotion | HostMotion | ReleaseMotion):
        return False
    since = state.epoch.host_size if isinstance(motion, HostMotion) else 0
    return state.passed.get(motion, -1) >= since


def cast(state: State, entry: Entry, body: VoteCast) -> State | Rule:
    """vote.cast: a member's answer, or its changed answer; the one that settles it decides."""
    voter = entry.statement.author
    proposal = state.proposals.get(body.proposal)
    if proposal is None:
        return Rule.NO_SUCH_THING
    if voter not in proposal.groups:
        return Rule.WRONG_PARTY
    if proposal.ending is not None or proposal.stage != "voting":
        return Rule.VOTE_CLOSED
    if proposal.votes.get(voter) == body.choice:
        return Rule.SAID_BEFORE
    if isinstance(proposal.motion, AdmitMotion) and body.choice in ("no", "object"):
        application = state.changes.applications[proposal.motion.member]
        if body.criterion not in application.criteria:
            return Rule.F6_NO_CRITERION
    objections = proposal.objections
    if body.choice == "object":
        if not body.reason.strip():
            return Rule.NO_REASON
        objections = {**objections, voter: entry.statement.id}
    votes = {**proposal.votes, voter: body.choice}
    return _counted(state, changed(proposal, votes=votes, objections=objections), entry.index)


def withdraw(state: State, entry: Entry, body: ProposalWithdraw) -> State | Rule:
    """proposal.withdraw: who proposed it takes it back, and nothing is decided.

    Not over the head of another member that wants it: else one member could move what it is
    against before all others, collect their ballots, and drop it whenever they are about to win.
    With objections it may, since another text is the answer to some.
    """
    proposal = state.proposals.get(body.proposal)
    if proposal is None:
        return Rule.NO_SUCH_THING
    if proposal.author != entry.statement.author:
        return Rule.WRONG_PARTY
    if proposal.decided is not None or proposal.stage == "waiting":
        return Rule.VOTE_CLOSED
    others = {who: choice for who, choice in proposal.votes.items() if who != proposal.author}
    if proposal.stage == "voting" and "yes" in others.values():
        return Rule.VOTE_CLOSED
    if not others and proposal.answer is None:
        state = motions.unopened(state, proposal)
    return _decide(state, replace(proposal, ending="withdrawn"), entry.index)


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
    return _kept(state, answered(proposal, entry.statement.id, state.commons_time_s))


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
    return _kept(state, signed)


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
        while proposal.ending is None and proposal.closes_s <= state.commons_time_s:
            state = _took(state, ended(proposal, state.commons_time_s), index)
            proposal = state.proposals[proposal_id]
    return state


def without(state: State, member: MemberId, index: int) -> State:
    """The state after the member left or was removed: no open vote counts it any more."""
    for proposal_id in state.voting:
        proposal = state.proposals[proposal_id]
        if member not in proposal.groups:
            continue
        fewer = replace(
            proposal,
            groups={who: group for who, group in proposal.groups.items() if who != member},
            new_groups={who: at for who, at in proposal.new_groups.items() if who != member},
            votes={who: choice for who, choice in proposal.votes.items() if who != member},
        )
        state = _counted(state, fewer, index)
    return state


def _is_open(state: State, motion: Motion) -> bool:
    return any(state.proposals[voting].motion == motion for voting in state.voting)


def _counted(state: State, proposal: Proposal, index: int) -> State:
    """The state with this vote, decided if nothing can change it any more."""
    return _took(state, early(proposal, state.commons_time_s), index)


def _took(state: State, after: Proposal, index: int) -> State:
    return _kept(state, after) if after.ending is None else _decide(state, after, index)


def _kept(state: State, proposal: Proposal) -> State:
    return changed(state, proposals=state.proposals.adding(proposal.id, proposal))


def _decide(state: State, proposal: Proposal, index: int) -> State:
    """The state once a proposal has ended; a yes that finds nothing to change is stale."""
    closed = replace(proposal, decided_index=index)
    state = replace(state, voting=tuple(each for each in state.voting if each != closed.id))
    if closed.ending == "passed":
        after = motions.effect(state, closed, index)
        if after is None:
            closed = replace(closed, ending="stale")
        else:
            state = replace(after, passed=after.passed.adding(closed.motion, index))
    return _kept(state, closed)
