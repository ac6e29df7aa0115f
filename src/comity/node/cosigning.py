"""When this node cosigns a head, and when it refuses to."""

from __future__ import annotations

from typing import Final, final

from comity.commons.duties import something_waits
from comity.errors import Unavailable
from comity.log.heads import cosign
from comity.node.relaying import must_be_logged
from comity.node.remembering import has_forgotten
from comity.node.station import Station, describe
from comity.node.succession import approved

_COSIGNED_AT: Final = "cosigned-at-s"


@final
class Cosigner:
    """Cosigns for one station: at once while something waits, else every few seconds."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._cosigned_at_s = 0
        self._handed_in = 0

    def again(self) -> None:
        """Hand the newest cosignature in once more: the host may have forgotten it."""
        self._handed_in = 0

    def cosign(self) -> None:
        """Cosign the newest head if that is due.

        Raises:
            Unavailable, Refused: the host does not take the line; it is sent again.
        """
        station = self._station
        if station.halted or approved(station) is not None:
            return  # it was caught, or another host was approved: it gets no line of this node
        newest, last = station.replica.newest(), station.journal.last_cosigned()
        held, now_s = station.replica.state.keys.get(station.member), station.clock()
        if newest is None or held is None:
            return  # it is no member (yet)
        if has_forgotten(station):
            station.faults["cosign"] = (
                "this node was rebuilt and does not know what it has cosigned, so it cosigns"
                " nothing with these keys: give it new ones with `comity keys rotate`"
            )
            return
        # The line of a head may not have arrived, so until it has, it is made and sent again.
        again = last == (newest.size, newest.root) and self._handed_in < newest.size
        if last is not None and newest.size <= last[0] and not again:
            return
        due = now_s - self._cosigned_at_s >= station.settings.cosign_every_s
        if not due and not something_waits(station.replica.state, station.replica.final_size):
            return
        if held.keys.head != station.keys.public_head or self._lacks_a_statement(now_s):
            return  # it holds other keys than those in force, or the host keeps something back
        try:
            station.flush()  # a cosignature means: stored and replayed
        except Unavailable as error:
            station.faults["disk"] = describe(error)
            raise
        # A clock that was set back must not make this member's cosignatures look like a rollback.
        time_s = max(now_s, int(station.journal.get(_COSIGNED_AT) or b"0"))
        station.journal.put(_COSIGNED_AT, b"%d" % time_s)
        # From here on this node has spoken for the head, whether or not the line arrives.
        station.journal.cosigned(last, (newest.size, newest.root))
        self._cosigned_at_s = now_s
        line = cosign(newest, station.member, station.keys.head, time_s).line()
        note = station.replica.newest_note()
        station.remote.post_cosignature(newest.size, line, note)
        self._handed_in = newest.size
        station.faults.pop("cosign", None)

    def _lacks_a_statement(self, now_s: int) -> bool:
        """Whether the head lacks a statement that the host must have logged long ago."""
        station = self._station
        missing = station.relay.missing(station.replica, now_s, station.settings.refuse_s)
        if missing is None:
            own = station.withheld_own(now_s, station.settings.refuse_s)
            state, tree = station.replica.state, station.replica.view.tree
            if own is None or not must_be_logged(state, tree, own[1]):
                station.faults.pop("withheld-refused", None)
                return False
            missing = own[0]
        station.faults["withheld-refused"] = (
            f"the host does not log statement {missing.seq} ({missing.body.tag}) of"
            f" {missing.author}, so this node cosigns no head without it; the members decide who"
            " hosts"
        )
        return True
