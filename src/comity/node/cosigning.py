"""Cosigning: this member's word that it holds and has replayed every entry below a head."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from comity.commons.duties import something_waits
from comity.log.heads import cosign
from comity.node.station import Station


@final
class Cosigner:
    """Cosigns the newest head for one host: at once while something waits, else every few seconds.

    Args:
        station: the member's open folder.
        flush: makes durable what was taken: a cosignature means "stored and replayed".
    """

    def __init__(self, station: Station, flush: Callable[[], None]) -> None:
        self._station, self._flush = station, flush
        self._cosigned_at_s = 0
        self._handed_in = 0

    def hand_in_again(self) -> None:
        """Show a host that forgot what it signed its own head, and my line under it."""
        self._handed_in = 0
        self.cosign()

    def cosign(self) -> None:
        """Raises Unavailable, Refused: the line is made, and is handed in again later."""
        station = self._station
        newest, last = station.replica.newest(), station.journal.last_cosigned()
        held, now_s = station.replica.state.keys.get(station.member), station.clock()
        if newest is None or held is None or held.keys.head != station.keys.public_head:
            return  # it is no member (yet), or holds other keys than those in force
        # The line of a head may not have arrived, so until it has, it is made and sent again.
        again = last == (newest.size, newest.root) and self._handed_in < newest.size
        if last is not None and newest.size <= last[0] and not again:
            return
        due = now_s - self._cosigned_at_s >= station.settings.cosign_every_s
        if not due and not something_waits(station.replica.state, station.replica.final_size):
            return
        self._flush()
        # From here on this node has spoken for the head, whether or not the line arrives.
        station.journal.cosigned(last, (newest.size, newest.root))
        self._cosigned_at_s = now_s
        line = cosign(newest, station.member, station.keys.head, now_s).line()
        note = station.replica.newest_note()
        station.remote.post_cosignature(newest.size, line, note)
        self._handed_in = newest.size
        station.faults.pop("cosign", None)
