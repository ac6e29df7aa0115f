"""A node that runs until it is told to end, and waits while its site is stopped.

    Running(folder, own_keys, ready=show).run()

A stop ends the loop, the study processes and every connection at once, and closes the folder; when
its time is over the folder is opened again, and what is owed follows from the log as after a crash.
When the log has put other keys of this member in force, the folder is opened again with those.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

from comity.node.children import CHILDREN
from comity.node.control import ControlServer
from comity.node.loop import Loop
from comity.node.opening import open_own
from comity.node.rotating import OwnKeys
from comity.node.station import Station, system_clock
from comity.node.stopping import stop_of

LOG = logging.getLogger(__name__)

LOOK_S: Final = 0.5
"""How often a stopped node looks whether the stop is over."""


@final
class Running:
    """One `comity node run`.

    Args:
        folder: of the node. own_keys: reads its keys, each time the folder is opened.
        ready: called each time the node begins to serve its commands.
    """

    def __init__(
        self, folder: Path, own_keys: Callable[[], OwnKeys], *, ready: Callable[[Station], None]
    ) -> None:
        self._folder, self._own_keys, self._ready = folder, own_keys, ready
        self._told = threading.Event()
        self._loop: Loop | None = None

    def end(self) -> None:
        """Make `run` return soon; may be called from any thread or a signal handler."""
        self._told.set()
        if self._loop is not None:
            self._loop.stop()

    def run(self) -> None:
        """Serve until `end`. Raises: as `open_own`, `ControlServer.start` and `Loop.run`."""
        said = ""
        while not self._told.is_set():
            stop = stop_of(self._folder, system_clock())
            if stop is None:
                said = ""
                self._serve()
                continue
            if stop.words != said:
                said = stop.words
                LOG.warning("stopped why=%s", said)
            self._told.wait(LOOK_S)

    def _serve(self) -> None:
        CHILDREN.allow()
        station = open_own(self._folder, self._own_keys())
        try:
            loop = self._loop = Loop(station)
            if self._told.is_set():
                return
            control = ControlServer(station, loop.ask, on_stop=lambda: end_at_once(station, loop))
            control.start()
            try:
                # Whoever stops the site now reaches this node; who did while the folder was being
                # opened found nobody to tell, and left the file.
                if stop_of(self._folder, system_clock()) is not None:
                    return
                self._ready(station)
                loop.run()
            finally:
                control.close()
        finally:
            self._loop = None
            station.close()


def end_at_once(station: Station, loop: Loop) -> int:
    """End what this node has under way, in the middle of it. Returns how many studies ran.

    The stop's file is there before: nothing is sent from here on, whatever this finds.
    """
    loop.stop()
    count = CHILDREN.kill_all()
    station.outlet.cut()
    loop.cut()
    LOG.warning("stopped at once studies=%d", count)
    return count
