"""Wishes about motions, notices and the charter in force, on the wire (`deciding.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, final

from msgspec import Meta, Struct

from comity.node import deciding
from comity.node.deciding import CharterText, Decisions
from comity.node.station import Station
from comity.node.wish_fields import FilePath, Name
from comity.node.wishes import Said
from comity.statements.fields import Duration, ReasonField, SlugField, TextField
from comity.values import EVIDENCE_MAX


@final
class AskDecisions(Struct, frozen=True, tag="decisions-report", forbid_unknown_fields=True):
    """`deciding.decisions`."""

    everything: bool = False


@final
class AskCharter(Struct, frozen=True, tag="charter-current", forbid_unknown_fields=True):
    """`deciding.charter_in_force`."""


@final
class ProposeAmendment(Struct, frozen=True, tag="propose-amend", forbid_unknown_fields=True):
    """`deciding.propose_amendment`. file: absolute."""

    file: FilePath
    reason: TextField = ""


@final
class ProposeExclusion(Struct, frozen=True, tag="propose-exclude", forbid_unknown_fields=True):
    """`deciding.propose_exclusion`."""

    notice: Name
    reason: TextField = ""


@final
class ProposeSuspension(Struct, frozen=True, tag="propose-suspend", forbid_unknown_fields=True):
    """`deciding.propose_suspension`."""

    member: SlugField
    seconds: Duration
    notice: Annotated[str, Meta(max_length=64)] = ""
    reason: TextField = ""


@final
class GiveNotice(Struct, frozen=True, tag="notice-give", forbid_unknown_fields=True):
    """`deciding.give_notice`. evidence: absolute paths, or digests."""

    member: SlugField
    reason: ReasonField
    evidence: Annotated[tuple[FilePath, ...], Meta(min_length=1, max_length=EVIDENCE_MAX)]


@final
class ReplyToNotice(Struct, frozen=True, tag="notice-reply", forbid_unknown_fields=True):
    """`deciding.reply_to_notice`."""

    notice: Name
    answer: ReasonField


Deciding = (
    AskDecisions
    | AskCharter
    | ProposeAmendment
    | ProposeExclusion
    | ProposeSuspension
    | GiveNotice
    | ReplyToNotice
)

DecidingResult = Said | Decisions | CharterText


def decide(wish: Deciding, station: Station) -> DecidingResult:
    """Grant a wish about what is decided. Raises what its function raises."""
    match wish:
        case AskDecisions():
            return deciding.decisions(station, everything=wish.everything)
        case AskCharter():
            return deciding.charter_in_force(station)
        case ProposeAmendment():
            return deciding.propose_amendment(station, Path(wish.file), reason=wish.reason)
        case ProposeExclusion():
            return deciding.propose_exclusion(station, wish.notice, reason=wish.reason)
        case ProposeSuspension():
            return deciding.propose_suspension(
                station, wish.member, wish.seconds, notice=wish.notice, reason=wish.reason
            )
        case GiveNotice():
            return deciding.give_notice(
                station, wish.member, reason=wish.reason, evidence=wish.evidence
            )
        case ReplyToNotice():
            return deciding.reply_to_notice(station, wish.notice, wish.answer)
