"""Everything between this node and other members: its mirror, theirs, and what is relayed.

One thread asks the peers; it decides nothing. What it finds comes to the loop as events, and what
the loop wants handed over it leaves here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, final

from comity.errors import ComityError, Forged, Malformed
from comity.node.comparing import Compared, Comparer
from comity.node.events import Event, Handed
from comity.node.http_client import HttpClient, Limits
from comity.node.mirror import Mirror
from comity.node.reacting import caught_by_peer, keep, names_other_head
from comity.node.relaying import must_be_logged, other_head
from comity.node.remote import Remote
from comity.node.settings import authorities
from comity.node.station import Station, describe

LOG = logging.getLogger(__name__)

_LIMITS: Final = Limits(connect_s=5.0, answer_s=30.0, tries=1)


@final
class Peers:
    """The company of one station.

    Args:
        emit: gives the loop an event; called from several threads.
    """

    def __init__(self, station: Station, emit: Callable[[Event], None]) -> None:
        self._station, self._emit = station, emit
        self._comparer = Comparer(station.replica.store, station.replica.origin)
        self._mirror: Mirror | None = None
        self._remotes: dict[str, Remote] = {}
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="peers", daemon=True)
        self._to_hand: tuple[bytes, ...] = ()

    def start(self) -> str:
        """Serve the mirror and ask the peers, as the settings say; the mirror's URL, or "".

        Raises:
            Misconfigured, Unavailable: as `Mirror` and `Remote`.
        """
        station, settings = self._station, self._station.settings
        for url in settings.peers:
            self._remotes[url] = Remote(
                url,
                station.member,
                statement_key=station.keys.statement,
                commons=station.replica.commons,
                clock=station.clock,
                tls=authorities(settings, url),
                proxy=settings.proxy or None,
                limits=_LIMITS,
                connect=partial(HttpClient, outlet=station.outlet),
            )
        if settings.mirror:
            self._mirror = Mirror(
                settings,
                station.replica,
                station.blobs,
                station.relay,
                outlet=station.outlet,
                clock=station.clock,
                on_relayed=lambda: self._emit(Handed()),
            )
            self._mirror.start()
        if self._remotes:
            self._thread.start()
        return self._mirror.url if self._mirror else ""

    def close(self) -> None:
        """End the thread and the mirror; again changes nothing."""
        self._stopping.set()
        self._wake.set()
        for remote in self._remotes.values():
            remote.close()
        if self._thread.is_alive():
            self._thread.join(20)
        if self._mirror is not None:
            self._mirror.close()

    def cut(self) -> None:
        """Let the mirror answer nobody any more; may be called from any thread."""
        if self._mirror is not None:
            self._mirror.cut()

    def publish(self) -> None:
        """Let the mirror show what was made durable."""
        if self._mirror is not None:
            self._mirror.publish()

    def hand_over(self, envelopes: Iterable[bytes]) -> None:
        """Give statements that the host withholds to every peer, until they are logged."""
        wanted = tuple(envelopes)
        if wanted != self._to_hand:
            self._to_hand = wanted
            self._wake.set()

    # -- in the loop's thread -----------------------------------------------------------------

    def turn(self) -> None:
        """Deliver what is relayed, once more; see what the log made of it. Raises Unavailable."""
        station = self._station
        relay, replica = station.relay, station.replica
        for evidence in relay.settle(replica):
            why = "a member signed two statements with one number"
            station.faults["evidence"] = f"{why}: `comity evidence list`"
            keep(station, "two-statements", why, [evidence], ())
        for kept in relay.waiting():
            if other_head(replica, kept.said):
                names_other_head(station, kept.said, kept.envelope)
            elif not station.halted and must_be_logged(
                replica.state, replica.view.tree, kept.envelope
            ):
                # The very bytes of its author; its answer starts the second delay.
                station.remote.post_statements([kept.envelope])
                relay.answered(kept.said.id, station.clock())

    def take(self, compared: Compared) -> None:
        """What a peer's mirror showed: a fork stops the node, a longer log is said."""
        station = self._station
        if compared.evidence and not station.halted:
            caught_by_peer(station, compared)
        behind = compared.final_size - station.replica.state.size
        if behind > 0:
            station.faults["freeze"] = (
                f"{compared.url} shows a final head of {compared.final_size} entries, the host has"
                f" shown this node {station.replica.state.size}; if this stays, it keeps news back"
            )
        else:
            station.faults.pop("freeze", None)

    # -- in the thread of its own -------------------------------------------------------------

    def _ask(self) -> None:
        while not self._stopping.is_set():
            for url, remote in self._remotes.items():
                self._ask_one(url, remote)
            self._wake.wait(self._station.settings.compare_every_s)
            self._wake.clear()

    def _ask_one(self, url: str, remote: Remote) -> None:
        replica = self._station.replica
        try:
            if self._to_hand:
                remote.post_statements(self._to_hand)
            found = self._comparer.compare(url, remote, replica.known_keys, replica.state)
            if found is not None and not self._stopping.is_set():
                self._emit(found)
        except (Forged, Malformed) as error:
            LOG.warning("peer url=%s why=%s", url, describe(error))
        except ComityError as error:
            LOG.debug("peer not reached url=%s why=%s", url, describe(error))
