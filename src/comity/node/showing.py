"""What another host, or one that wants to be, shows: read within bounds, replayed as it comes.

Any member may offer an address, so whoever answers there may lie about everything and show entries
without end. A node reads on only for what one member cannot make up: up to a head that a quorum
known to it has cosigned, and a bounded stretch above that head or above the last new epoch. Each
entry is judged before the next batch is asked for. Nothing is kept (ADR 49).
Source: architecture.md 1.5; log-and-provenance.md 7.4.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

from comity.commons.state import State
from comity.errors import ComityError, Forged, Malformed
from comity.log.heads import parse_signed_head
from comity.node.answers import PublishedHead
from comity.node.comparing import final_by_lines, with_lines
from comity.node.histories import History, Reading, try_history
from comity.node.station import Station

LOG = logging.getLogger(__name__)

UNSETTLED_ENTRIES_MAX: Final = 10_000
"""Entries that are read above what no single member can make up."""

UNSETTLED_BYTES_MAX: Final = 64 * 2**20
"""Bytes of such entries."""

SETTLED_BYTES_EACH: Final = 8_192
"""Bytes that are read for each entry below that, on average: what is settled was not small talk."""


@final
@dataclass(frozen=True, slots=True)
class Shown:
    """What a peer shows. signed: what its newest head covers. whole: that, and what it proposes.

    note: its newest head; b"" when it has none.
    """

    signed: History
    whole: History
    note: bytes


def look(station: Station, url: str, *, fill_up: bool = True) -> Shown:
    """Read a peer's log above this node's newest final head, and replay it; nothing is kept.

    Args:
        fill_up: give it first what this node holds under a signed head and it does not.
    Raises:
        HostFault: what it shows can be in no log, or undoes what is final here.
        Forged: a head of another log. Malformed: more than is read without a cosigned head.
        Malformed, Unavailable, Refused: it does not answer as a host does.
    """
    replica, remote = station.replica, station.remote_to(url)
    start = replica.final_size
    reading, leaves, bytes_read = Reading(replica, start), list[bytes](), 0
    while True:
        batch = remote.entries(reading.size, proposed=True)
        if not batch.entries:
            break
        leaves += batch.entries
        bytes_read += sum(map(len, batch.entries))
        above = _settled(reading.state, batch.heads, replica.origin) - start
        if (
            len(leaves) > max(0, above) + UNSETTLED_ENTRIES_MAX
            or bytes_read > max(0, above) * SETTLED_BYTES_EACH + UNSETTLED_BYTES_MAX
        ):
            raise Malformed(
                f"{url} shows more than {UNSETTLED_ENTRIES_MAX} entries that no head with enough"
                " cosignatures covers, and no new epoch in them: not read to the end; ask its"
                " operator, and the other members, which host they follow"
            )
        reading.add(batch.entries)
    whole = reading.history()
    note = batch.heads[-1].note if batch.heads else b""
    covered = parse_signed_head(note).head.size if note else 0
    if fill_up and not whole.follows(replica) and hand_in(station, url, min(covered, start)):
        return look(station, url, fill_up=False)
    signed = whole
    if covered < whole.size:
        signed = try_history(replica, start, leaves[: max(0, covered - start)])
    return Shown(signed, whole, note)


def _settled(state: State, heads: Sequence[PublishedHead], origin: str) -> int:
    """Up to which size no single member can have made a history up, as far as it was read.

    Args:
        state: what it means so far: whose cosignatures count, and since when.
    Raises: Malformed. Forged: it is another log's.
    """
    settled = state.epoch.size
    for shown in heads:
        signed = with_lines(shown)
        if signed.head.origin != origin:
            raise Forged("this is a head of another log")
        if signed.head.size > settled and final_by_lines(state, signed):
            settled = signed.head.size
    return settled


def hand_in(station: Station, url: str, start: int) -> bool:
    """Give a peer what this copy holds from `start` on, and its head; whether it took it."""
    replica = station.replica
    note = replica.newest_note()
    if note is None:
        return False
    try:
        leaves = replica.entries(start, replica.state.size)
        station.remote_to(url).post_tail(note, start, leaves)
    except ComityError as error:
        LOG.info("tail not taken at=%s why=%s", url, error)
        return False
    return True
