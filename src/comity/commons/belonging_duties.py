"""What a member owes beside rounds: votes, reviews, signatures on releases, approvals of epochs.

Also decided here: who may act while the newest epoch is not below a final head yet
(architecture.md 1.5). Only `duties` asks.
"""

from __future__ import annotations

from collections.abc import Iterator

from comity.commons.owed import AskApprove, AskReview, AskVote, Duty, SayApprove, SignRelease
from comity.commons.reviews import is_reviewed, may_review
from comity.commons.state import Claim, State
from comity.commons.votes import has_signed
from comity.statements.membership import KeysRevoke
from comity.values import MemberId


def epoch_is_final(state: State, final_size: int) -> bool:
    """Whether the last approval of the epoch in force is below a final head."""
    return state.epoch.size <= final_size


def waits_for_epoch(state: State, me: MemberId, final_size: int) -> bool:
    """Whether `me` may say nothing yet: it is a member, or has its keys, by the new epoch alone.

    Everybody else goes on with rounds; only what a new epoch allows waits for it to be final.
    """
    if epoch_is_final(state, final_size):
        return False
    before = state.epoch_at(final_size)
    return before.keys.get(me) != state.epoch.keys[me]


def beside_studies(state: State, me: MemberId, final_size: int) -> Iterator[Duty]:
    """Votes and reviews to be asked for, releases to be signed, epochs to be approved."""
    for proposal in state.proposals.values():
        release = proposal.release
        unsigned = not has_signed(state, proposal, me) and me not in state.changes.going
        if proposal.decided and release is not None and unsigned:
            yield SignRelease(proposal, release)
        voting = proposal.decided is None and proposal.stage == "voting"
        if voting and me in proposal.electorate - proposal.votes.keys():
            yield AskVote(proposal)
    if state.charter.studies.reviewers and me not in state.changes.going:
        for study in state.studies.values():
            asked = not study.finished and may_review(state, study, me)
            if asked and not is_reviewed(state, study):
                yield AskReview(study)
    if epoch_is_final(state, final_size):
        yield from _approvals(state, me)


def _approvals(state: State, me: MemberId) -> Iterator[Duty]:
    for pending in state.changes.pending:
        if me in state.changes.approvals.get(pending.epoch.digest, ()):
            continue
        if pending.claim is None:
            yield SayApprove(pending)
        elif _is_asked(state, pending.claim, me):
            yield AskApprove(pending, pending.claim)


def _is_asked(state: State, claim: Claim, me: MemberId) -> bool:
    # A claim that nobody took up is not asked about for ever; it may be approved all the same.
    fresh = state.commons_time_s < claim.time_s + state.charter.vote_open_s
    accused = isinstance(claim.body, KeysRevoke) and claim.body.member == me
    return fresh and not accused
