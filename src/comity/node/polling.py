"""The thread that holds the long-poll to the host open; it decides nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, final

from comity.errors import ComityError
from comity.node.events import Event, Heard
from comity.node.reacting import TRUNCATED
from comity.node.station import Station

AGAIN_S: Final = 1.0
"""How long to wait before asking a host again that gave no answer."""


@final
class Poller:
    """Asks the station's host for news, and hands each answer over before it asks again.

    Args:
        asked: (index of the next entry, version, seconds to wait), at the time of the question.
        tell: takes each answer; `taken` lets the next question be asked.
    """

    def __init__(
        self,
        station: Station,
        asked: Callable[[], tuple[int, int, int]],
        tell: Callable[[Event], None],
    ) -> None:
        self._station, self._asked, self._tell = station, asked, tell
        self._stopping = threading.Event()
        self._taken = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="poll", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; a question that is under way ends by itself."""
        self._stopping.set()
        self._taken.set()

    def taken(self) -> None:
        """The last answer has been dealt with."""
        self._taken.set()

    def _poll(self) -> None:
        while not self._stopping.is_set():
            remote = self._station.remote
            if self._station.halted:
                self._stopping.wait(AGAIN_S)
                continue
            try:
                batch = remote.entries(*self._asked())
            except ComityError as error:
                # What a host did not answer that is no longer ours is nobody's concern.
                if remote is self._station.remote:
                    self._tell(error)
                    self._stopping.wait(AGAIN_S)
                continue
            self._taken.clear()
            self._tell(Heard(remote, batch))
            self._taken.wait()
            if "disk" in self._station.faults or TRUNCATED in self._station.faults:
                self._stopping.wait(AGAIN_S)
