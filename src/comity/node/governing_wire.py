"""Wishes about who hosts and who belongs, on the wire (`wish_wire.py` has the others)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, final

from msgspec import Meta, Struct

from comity.node import applying, governing, rotating
from comity.node.applying import Applied
from comity.node.deciding_wire import Deciding, DecidingResult, decide
from comity.node.governing import HostReport, MembersReport, Seeded
from comity.node.reviewing_wire import Reviewed, ReviewResult, review
from comity.node.station import Station
from comity.node.wish_fields import FilePath, Name, Url
from comity.node.wishes import Said
from comity.statements.fields import ReasonField, SlugField, StatementIdField, TextField
from comity.statements.governing import KeySet, Possession
from comity.values import ENVELOPE_BYTES_MAX


@final
class AskHost(Struct, frozen=True, tag="host-report", forbid_unknown_fields=True):
    """`governing.host_report`."""


@final
class OfferToHost(Struct, frozen=True, tag="host-offer", forbid_unknown_fields=True):
    """`governing.offer_to_host`."""

    url: Url


@final
class HandOver(Struct, frozen=True, tag="host-handover", forbid_unknown_fields=True):
    """`governing.hand_over`."""

    member: SlugField


@final
class TakeOver(Struct, frozen=True, tag="host-takeover", forbid_unknown_fields=True):
    """`governing.take_over`."""

    url: Url


@final
class ApproveEpoch(Struct, frozen=True, tag="host-approve", forbid_unknown_fields=True):
    """`governing.approve`."""

    what: Name
    url: Annotated[str, Meta(max_length=256)] = ""


@final
class FollowHost(Struct, frozen=True, tag="host-follow", forbid_unknown_fields=True):
    """`governing.follow`."""

    url: Url


@final
class SeedHost(Struct, frozen=True, tag="host-seed", forbid_unknown_fields=True):
    """`governing.seed_host`. folder: absolute."""

    folder: FilePath


@final
class AdmitMember(Struct, frozen=True, tag="member-admit", forbid_unknown_fields=True):
    """`governing.admit`."""

    member: SlugField


@final
class LeaveCommons(Struct, frozen=True, tag="member-leave", forbid_unknown_fields=True):
    """`governing.leave`."""

    reason: TextField = ""


@final
class AskMembers(Struct, frozen=True, tag="members-report", forbid_unknown_fields=True):
    """`governing.members_report`."""


@final
class HandInApplication(Struct, frozen=True, tag="application", forbid_unknown_fields=True):
    """`applying.hand_in`."""

    envelope: Annotated[str, Meta(max_length=ENVELOPE_BYTES_MAX)]


@final
class RotateKeys(Struct, frozen=True, tag="keys-rotate", forbid_unknown_fields=True):
    """`rotating.rotate`. Public keys alone: private ones never leave their file for another."""

    key_set: KeySet
    possession: Possession


@final
class RevokeKeys(Struct, frozen=True, tag="keys-revoke", forbid_unknown_fields=True):
    """`rotating.revoke`."""

    member: SlugField
    reason: ReasonField


@final
class ApproveOwn(Struct, frozen=True, tag="approve-own", forbid_unknown_fields=True):
    """`rotating.approve_own`."""

    claimed: StatementIdField


Governed = (
    AskHost
    | OfferToHost
    | HandOver
    | TakeOver
    | ApproveEpoch
    | FollowHost
    | SeedHost
    | AdmitMember
    | LeaveCommons
    | AskMembers
    | HandInApplication
    | RotateKeys
    | RevokeKeys
    | ApproveOwn
    | Deciding
    | Reviewed
)

GoverningResult = (
    Said | HostReport | Seeded | MembersReport | Applied | DecidingResult | ReviewResult
)


def govern(wish: Governed, station: Station) -> GoverningResult:
    """Grant a wish about who hosts, who belongs, what is decided or reviewed.

    Raises what its function raises.
    """
    if isinstance(wish, Deciding):
        return decide(wish, station)
    if isinstance(wish, Reviewed):
        return review(wish, station)
    match wish:
        case AskHost():
            return governing.host_report(station)
        case OfferToHost():
            return governing.offer_to_host(station, wish.url)
        case HandOver():
            return governing.hand_over(station, wish.member)
        case TakeOver():
            return governing.take_over(station, wish.url)
        case ApproveEpoch():
            return governing.approve(station, wish.what, wish.url)
        case FollowHost():
            return governing.follow(station, wish.url)
        case SeedHost():
            return governing.seed_host(station, Path(wish.folder))
        case AdmitMember():
            return governing.admit(station, wish.member)
        case LeaveCommons():
            return governing.leave(station, wish.reason)
        case AskMembers():
            return governing.members_report(station)
        case HandInApplication():
            return applying.hand_in(station, wish.envelope.encode())
        case RotateKeys():
            return rotating.rotate(station, wish.key_set, wish.possession)
        case RevokeKeys():
            return rotating.revoke(station, wish.member, wish.reason)
        case ApproveOwn():
            return rotating.approve_own(station, wish.claimed)
