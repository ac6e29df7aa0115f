"""What a node asks its people, in plain words: a consent, a vote, whether to approve an epoch."""

from __future__ import annotations

from typing import final

from msgspec import Struct

from comity.commons.duties import AskApprove, AskConsent, AskReview, AskVote, Duty
from comity.commons.state import Claim, State
from comity.statements.governing import (
    AdmitMotion,
    AmendMotion,
    ExcludeMotion,
    HostMotion,
    Motion,
    ReleaseMotion,
    SuspendMotion,
)
from comity.statements.membership import HostTakeover, KeysRotate
from comity.values import StatementId


@final
class Asked(Struct, frozen=True):
    """A question to this site's people. subject: "consent", "review", "vote" or "epoch".

    answer: the command. id: of the study, the proposal, or the document of the epoch.
    """

    subject: str
    id: StatementId
    name: str
    answer: str


def asked(state: State, duty: Duty) -> Asked | None:
    """The question that a duty puts to people; None when the node needs nobody."""
    match duty:
        case AskConsent(study=study):
            command = f"comity consent give {study.id[:12]}"
            return Asked("consent", study.id, study.register.name, command)
        case AskReview(study=study):
            command = f"comity review show {study.id[:12]}"
            return Asked("review", study.id, study.register.name, command)
        case AskVote(proposal=proposal):
            name = motion_words(state, proposal.motion)
            return Asked("vote", proposal.id, name, f"comity vote {proposal.id[:12]} yes")
        case AskApprove(pending=pending, claim=claim):
            document = pending.epoch.digest
            command = f"comity host approve {document[:12]}"
            return Asked("epoch", StatementId(document), claim_words(claim), command)
        case _:
            return None


def motion_words(state: State, motion: Motion) -> str:
    """What a vote is about, in a few words."""
    match motion:
        case ReleaseMotion():
            return state.studies[motion.study].register.name
        case AdmitMotion():
            return f"admit {motion.member}"
        case HostMotion():
            return f"let {motion.member} host"
        case AmendMotion():
            return "amend the charter"
        case ExcludeMotion():
            return f"exclude {motion.member}"
        case SuspendMotion():
            return f"suspend {motion.member} for {whole_hours(motion.seconds)}"


def whole_hours(seconds: int) -> str:
    """A duration as people say it, rounded up."""
    hours = -(-seconds // 3_600)
    return f"{hours // 24} days" if hours % 24 == 0 and hours > 72 else f"{hours} hours"


def claim_words(claim: Claim) -> str:
    """What a member's word asks for, in a few words."""
    body = claim.body
    match body:
        case KeysRotate():
            return f"{claim.author} has new keys: ask there, not through the host, if it is so"
        case HostTakeover():
            return f"{claim.author} takes over as host, at {body.address}"
        case _:
            return f"{claim.author} says the keys of {body.member} are in wrong hands"
