"""When a node looks for another host, and where; each step short, so that the loop goes on.

It looks where a person said, where the log says that a hand-over is due, and, while its host does
not answer, at every address that a member has offered. It moves only by what it replays itself
(`succession.move`). The host it left is told once, by a tail: it then knows what it may not sign.
"""

from __future__ import annotations

import logging
from typing import Final, final

from comity.errors import ComityError, Refused, Unavailable
from comity.node.addresses import known_urls
from comity.node.histories import Applied
from comity.node.station import Station, describe
from comity.node.succession import approved, follow, move, next_url, switch

PROBE_EVERY_S: Final = 2.0
TELL_EVERY_S: Final = 5.0
SHUN_S: Final = 10.0
"""How long an address that showed what cannot be is not probed; doubles up to `SHUN_S_MAX`."""

SHUN_S_MAX: Final = 600.0
_LOG = logging.getLogger(__name__)


@final
class Moving:
    """Goes on with a change of host, one look at a time.

    waits: whether this node has approved one, and until it is in force tells the old host nothing:
    what that one still signs can become nobody's history. is_near: whether a change is under way,
    so that the loop looks again soon. Both as of the last step: asking them needs no disk.
    """

    def __init__(self, station: Station) -> None:
        self._station, self._now_s = station, station.machine.monotonic_s
        self._probed = 0
        self._probe_at_s = self._tell_at_s = 0.0
        self._shunned: dict[str, tuple[float, float]] = {}  # until when, and for how long
        self._left: str | None = None
        self.waits = approved(station) is not None
        self.is_near = next_url(station) is not None

    def has_approved(self) -> bool:
        """Whether another host is approved by now; also when this node's disk cannot tell."""
        try:
            self.waits = approved(self._station) is not None
        except Unavailable:
            return True
        return self.waits

    def step(self) -> tuple[Applied, ...] | None:
        """Look once; the entries of the new host's log once this node has moved, else None."""
        station = self._station
        url = next_url(station) or self._probe()
        before = station.remote.url
        applied = self.look(url) if url is not None and url != before else None
        if applied is None and switch(station):
            applied = ()
        waited, self.waits = self.waits, approved(station) is not None
        if waited and not self.waits:
            follow(station, "")  # it is over: what was approved is in force, or can never be
        self.is_near = next_url(station) is not None
        if applied is not None:
            self._left = before
        return applied

    def look(self, url: str) -> tuple[Applied, ...] | None:
        """Move to the host at `url` if its own log makes it host in a later epoch; else None."""
        station = self._station
        try:
            applied = move(station, url)
        except (Unavailable, Refused) as error:
            _LOG.debug("no new host yet url=%s why=%s", url, error)
            return None
        except ComityError as error:
            if station.faults.get("new host") != describe(error):
                _LOG.error("not followed url=%s why=%s", url, error)
                station.faults["new host"] = describe(error)
            _, pause_s = self._shunned.get(url, (0.0, SHUN_S / 2))
            pause_s = min(2 * pause_s, SHUN_S_MAX)
            self._shunned[url] = self._now_s() + pause_s, pause_s
            return None
        self._shunned.pop(url, None)
        if applied is not None:
            station.faults.pop("new host", None)
        return applied

    def tell_left(self) -> None:
        """Show the host that was left who follows it, until it has taken that in; never waits."""
        station, url = self._station, self._left
        if url is None or self._now_s() < self._tell_at_s:
            return
        self._tell_at_s = self._now_s() + TELL_EVERY_S
        replica = station.replica
        note, epoch = replica.newest_note(), replica.state.epoch
        if note is None or not epoch.size:
            return
        start = max(0, min(epoch.size, replica.final_size) - 1_000)
        leaves = replica.entries(start, replica.state.size)

        def tell() -> None:
            try:
                station.remote_to(url).post_tail(note, start, leaves)
            except Unavailable as error:
                _LOG.debug("left host not told url=%s why=%s", url, error)
                return
            except ComityError as error:
                _LOG.info("left host does not take it url=%s why=%s", url, error)
            self._left = None

        station.machine.aside(tell)

    def _probe(self) -> str | None:
        """While the host does not answer: the next known address whose host is in office."""
        station = self._station
        if "host" not in station.faults or self._now_s() < self._probe_at_s:
            return None
        self._probe_at_s = self._now_s() + PROBE_EVERY_S
        known = known_urls(station.replica.state, station.member, station.settings)
        now_s = self._now_s()
        urls = [
            url
            for url in known
            if url != station.remote.url and self._shunned.get(url, (0.0, 0.0))[0] <= now_s
        ]
        if not urls:
            return None
        url = urls[self._probed % len(urls)]
        self._probed += 1
        return url
