"""This member's secrets of an attempt, in and out of the journal, and what was dealt to it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from comity.aggregation.plan import AttemptPlan
from comity.aggregation.sharing import SealingSecret
from comity.aggregation.stages import (
    Bystander,
    Committed,
    Dealing,
    Joined,
    Ready,
    Revealed,
    Started,
    Survivors,
)
from comity.commons.attempts import Closed, JoinFact, Opened
from comity.errors import Malformed, Refused, Rule
from comity.node.dealings import dealings
from comity.node.station import Station
from comity.storage.ports import Attempt
from comity.values import ROW_BYTES, SEALED_BYTES, Digest, MemberId, Seat, sha256

AnyStage = Joined | Ready | Started | Committed | Bystander | Revealed

_DECODER: msgspec.msgpack.Decoder[AnyStage] = msgspec.msgpack.Decoder(AnyStage)


def scope_of(opened: Opened) -> Attempt:
    """The scope of this member's promises in an attempt."""
    return Attempt(opened.study, opened.round_no, opened.attempt)


def plan_of(opened: Opened) -> AttemptPlan:
    """The attempt as this member's own fold derives it."""
    return AttemptPlan(
        opened=Digest(opened.id),
        roster=opened.roster,
        sealing_keys=opened.sealing_keys,
        n=opened.count,
        c=opened.colluders,
        t=opened.quorum,
        u_min=opened.survivors_min,
        k=opened.degree,
        words=opened.words,
    )


def seat_of(station: Station, opened: Opened) -> Seat:
    """My place; duties of a round go to its roster only."""
    seat = opened.seat(station.member)
    assert seat is not None
    return seat


def members_of(opened: Opened, seats: frozenset[Seat]) -> frozenset[MemberId]:
    """Who sits there."""
    return frozenset(opened.member(seat) for seat in seats)


def survivors_of(closed: Closed) -> Survivors:
    """U within P, as `aggregation/` takes it."""
    return Survivors(
        frozenset(map(int, closed.started.participants)), frozenset(map(int, closed.survivors))
    )


def stage_of(station: Station, scope: Attempt) -> AnyStage | None:
    """My stage in the attempt; None when I have none, or it was erased.

    Raises:
        Malformed: the journal holds something else there.
    """
    stored = station.journal.stage(scope)
    if stored is None:
        return None
    try:
        return _DECODER.decode(stored)
    except msgspec.MsgspecError:
        raise Malformed("the journal holds no stage of a round here") from None


def sealing_secret(station: Station, opened: Opened) -> SealingSecret:
    """The private half of my sealing key that the Open pinned.

    Raises:
        Refused(AMNESIA): it is gone; I sit this attempt out and enrol again.
    """
    public = opened.sealing_keys[seat_of(station, opened) - 1]
    stored = station.journal.sealing(sha256(public))
    if stored is None:
        raise Refused(
            Rule.AMNESIA,
            "the private half of this node's sealing key is gone; it sits this attempt out",
        )
    return SealingSecret(stored)


def dealings_of(
    station: Station, opened: Opened, joins: Mapping[Seat, JoinFact]
) -> dict[int, Dealing]:
    """What was dealt, by dealer; blobs are fetched when they are not here.

    Raises:
        Unavailable, Forged: the host does not serve a blob, or another one.
    """
    bytes_count = SEALED_BYTES * (opened.count - 1) + ROW_BYTES * opened.count
    seats = sorted(joins)
    blobs = dealings(station, opened.id, [joins[seat].blob for seat in seats], bytes_count)
    return {
        int(seat): Dealing(
            joins[seat].ephemeral_key, joins[seat].self_commit, joins[seat].rows_root, blob
        )
        for seat, blob in zip(seats, blobs, strict=True)
    }
