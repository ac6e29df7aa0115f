"""`comity node run` that kills itself with SIGKILL at a commit point of one thing it does.

    python -m tests.e2e.dying FOLDER WHAT COUNT

WHAT is "move" (to another host) or "adopt" (new keys for the old file); the node dies at the
COUNT-th point inside it: before and after each transaction, and each time a file changes its name.
With fewer points it goes on running.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from comity.cli.main import run
from comity.node import loop, moving, opening
from comity.node.machine import Machine

ADOPT = "adopt_if_final"


class Countdown:
    """Dies at the last of so many points that are reached inside what is watched."""

    def __init__(self, count: int) -> None:
        self._left, self._inside = count, False

    def watched(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, inside which points count."""

        def inside(*arguments: object, **named: object) -> object:
            self._inside = True
            try:
                return call(*arguments, **named)
            finally:
                self._inside = False

        return inside

    def point(self, _: str = "") -> None:
        """A point: here the process may die."""
        if not self._inside:
            return
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, with a point before and one after."""

        def between(*arguments: object, **named: object) -> object:
            self.point()
            answer = call(*arguments, **named)
            self.point()
            return answer

        return between


def main(folder: Path, what: str, count: int) -> None:
    """Run the node, bent."""
    countdown = Countdown(count)
    setattr(opening, "Machine", lambda: Machine(hook=countdown.point))  # noqa: B010  # bent
    setattr(os, "replace", countdown.around(os.replace))  # noqa: B010  # bent
    bent = {"move": ((moving, "move"),), "adopt": ((opening, ADOPT), (loop, ADOPT))}[what]
    for module, name in bent:
        setattr(module, name, countdown.watched(getattr(module, name)))
    run(["node", "run", "--verbose", "--folder", str(folder), "--unencrypted-on-purpose"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
