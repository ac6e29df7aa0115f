"""The study processes of this program: all of them end at once when the site stops.

Whoever started one waits for it and closes it (`sandbox.py`); this only knows which ones live.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from typing import Final, final

from comity.node.stopping import Halted


@final
class Children:
    """Processes, each the leader of its group; used from several threads."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._live: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def begun(self, child: subprocess.Popen[bytes]) -> None:
        """It lives. Raises Halted: the site is stopped, so whoever started it ends it."""
        with self._turn:
            if self._stopped:
                raise Halted("this site is stopped: no study runs here now")
            self._live.add(child)

    def ended(self, child: subprocess.Popen[bytes]) -> None:
        """It was ended, or is about to be."""
        with self._turn:
            self._live.discard(child)

    def kill_all(self) -> int:
        """End every process and what it started; no other begins. Returns how many there were."""
        with self._turn:
            self._stopped = True
            living = [child for child in self._live if child.poll() is None]
            for child in living:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
            return len(living)

    def allow(self) -> None:
        """Let studies run again."""
        with self._turn:
            self._stopped = False


CHILDREN: Final = Children()
