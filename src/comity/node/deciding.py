"""What a person may ask of a node about motions, notices, and what was decided.

As in `wishes.py`, each function says at most one statement, and answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import final

from msgspec import Struct

from comity.commons import amending
from comity.commons.charter import Charter, charter_bytes
from comity.commons.motions import groups_of
from comity.commons.proposals import Proposal
from comity.commons.state import State
from comity.errors import Misconfigured, Refused, Rule, Unavailable
from comity.node.asks import motion_words
from comity.node.founding import read_charter
from comity.node.station import Station
from comity.node.wishes import Said, say_once
from comity.statements.governing import (
    ExcludeMotion,
    NoticeGive,
    NoticeReply,
    SuspendMotion,
    proposal_of,
)
from comity.values import (
    BLOB_BYTES_MAX,
    Digest,
    MemberId,
    StatementId,
    is_digest,
    sha256,
)


@final
class MotionLine(Struct, frozen=True):
    """A proposal. what: in a few words. ending: "" while open. closes_s: commons time when its
    stage ends. votes: choice by member. voters: how many may vote.
    """

    id: StatementId
    author: MemberId
    what: str
    rule: str
    stage: str
    ending: str
    closes_s: int
    votes: dict[MemberId, str]
    objections: dict[MemberId, StatementId]
    voters: int


@final
class NoticeLine(Struct, frozen=True):
    """A notice that stands. reply: the newest answer of its member, None when it said nothing."""

    id: StatementId
    author: MemberId
    member: MemberId
    time_s: int
    reply: StatementId | None


@final
class Decisions(Struct, frozen=True, tag="decisions"):
    """What was put to the vote, newest last, and what stands around it. Times: commons time.

    suspended: who is, and until when. charter: digest of the one in force; amended: how often.
    """

    commons_time_s: int
    charter: Digest
    amended: int
    proposals: tuple[MotionLine, ...]
    notices: tuple[NoticeLine, ...]
    suspended: dict[MemberId, int]


@final
class CharterText(Struct, frozen=True, tag="charter-in-force"):
    """The charter in force, in its canonical form."""

    charter: Digest
    text: str


def decisions(station: Station, *, everything: bool = False) -> Decisions:
    """What is open, and with `everything` also what has ended."""
    state = station.replica.state
    shown = (p for p in state.proposals.values() if everything or p.ending is None)
    return Decisions(
        commons_time_s=state.commons_time_s,
        charter=amending.charter_digest(state.charter),
        amended=len(state.amendments),
        proposals=tuple(_line(state, proposal) for proposal in shown),
        notices=tuple(
            NoticeLine(n.id, n.author, n.member, n.time_s, n.reply) for n in state.notices.values()
        ),
        suspended={m: s.until_s for m, s in state.suspended.items() if state.is_suspended(m)},
    )


def charter_in_force(station: Station) -> CharterText:
    """The charter in force, to be changed and moved again."""
    charter = station.replica.state.charter
    return CharterText(amending.charter_digest(charter), charter_bytes(charter).decode())


def propose_amendment(station: Station, file: Path, *, reason: str = "") -> Said:
    """Put the charter in this file to the vote, in place of the one in force.

    Args:
        file: the whole charter as it shall be, TOML or canonical JSON.
    Raises:
        Misconfigured: it is no charter, or changes what no vote changes; says which key.
        Refused: the rule of the floor, CHARTER_UNFIT, SAID_BEFORE.
    """
    state = station.replica.state
    after = read_charter(file, groups_of(state))
    _check_kept(state.charter, after)
    motion = amending.amendment(state.charter, after)
    return say_once(station, proposal_of(motion, reason), "vote on an amendment")


def propose_exclusion(station: Station, notice: str, *, reason: str = "") -> Said:
    """Put to the vote that the member of a notice is a member no more.

    Args:
        notice: id of the notice or its beginning.
    Raises:
        Refused: NO_RULE, TOO_FEW, F5_NO_NOTICE, F5_NOTICE_TOO_YOUNG.
    """
    state = station.replica.state
    found = _notice(state, notice)
    motion = ExcludeMotion(member=state.notices[found].member, notice=found)
    return say_once(station, proposal_of(motion, reason), f"vote on excluding {motion.member}")


def propose_suspension(
    station: Station, member: str, seconds: int, *, notice: str = "", reason: str = ""
) -> Said:
    """Put to the vote that a member stays out of new attempts of all studies for a time.

    Raises:
        Refused: NO_RULE, TOO_FEW, TOO_SOON, NO_REASON, F5_NO_NOTICE, F5_NOTICE_TOO_YOUNG,
            F14_NO_END.
    """
    state = station.replica.state
    found = _notice(state, notice) if notice else None
    motion = SuspendMotion(member=MemberId(member), seconds=seconds, notice=found)
    return say_once(station, proposal_of(motion, reason), f"vote on suspending {member}")


def give_notice(station: Station, member: str, *, reason: str, evidence: tuple[str, ...]) -> Said:
    """Tell a member why it may be excluded or suspended.

    Args:
        evidence: files, of which the digest is said, or digests and ids of statements as they are.
    Raises:
        Refused: NO_SUCH_THING, WRONG_PARTY, NO_REASON, TOO_MANY. Misconfigured: no such file.
    """
    digests = tuple(_digest(each) for each in evidence)
    body = NoticeGive(evidence=digests, member=MemberId(member), reason=reason)
    return say_once(station, body, f"notice to {member}")


def reply_to_notice(station: Station, notice: str, answer: str) -> Said:
    """Answer a notice to this member. Raises Refused: NO_SUCH_THING, WRONG_PARTY, NO_REASON."""
    found = _notice(station.replica.state, notice)
    return say_once(station, NoticeReply(notice=found, reason=answer), f"notice {found[:12]}")


def _line(state: State, proposal: Proposal) -> MotionLine:
    return MotionLine(
        id=proposal.id,
        author=proposal.author,
        what=motion_words(state, proposal.motion),
        rule=proposal.rule or "simple-majority",
        stage=proposal.stage,
        ending=proposal.ending or "",
        closes_s=proposal.closes_s,
        votes={member: str(choice) for member, choice in proposal.votes.items()},
        objections=dict(proposal.objections),
        voters=len(proposal.groups),
    )


def _check_kept(before: Charter, after: Charter) -> None:
    if amending.with_terms(after, amending.terms_of(before)) == before:
        return
    kept = [key for key in Charter.__struct_fields__ if key not in amending.TERMS]
    changed = [key for key in kept if getattr(before, key) != getattr(after, key)]
    raise Misconfigured(
        f"no vote changes {', '.join(changed)}: leave it as `comity charter current` shows it"
    )


def _notice(state: State, text: str) -> StatementId:
    found = [each for each in state.notices if len(text) >= 4 and each.startswith(text)]
    if len(found) == 1:
        return found[0]
    there = ", ".join(each[:8] for each in state.notices) or "none"
    raise Refused(
        Rule.NO_SUCH_THING, f"no notice, or several, begin with {text[:64]!r}; there is {there}"
    )


def _digest(evidence: str) -> Digest:
    if is_digest(evidence):
        return Digest(evidence)
    path = Path(evidence)
    try:
        if path.stat().st_size > BLOB_BYTES_MAX:
            raise Misconfigured(f"{path} is above {BLOB_BYTES_MAX} bytes: give its SHA-256 instead")
        return sha256(path.read_bytes())
    except FileNotFoundError as error:
        raise Misconfigured(
            f"{evidence[:200]} is neither a file nor 64 hex digits (a digest, a statement's id)"
        ) from error
    except OSError as error:
        raise Unavailable(f"cannot read {path} ({error.strerror})") from error
