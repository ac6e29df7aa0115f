"""Disks that fail, and processes that die, at a named commit point; backups of a folder.

The files and SQLite databases are real, in memory (`/dev/shm`). What a death loses is decided here:
a transaction whose COMMIT had not begun is gone, one whose COMMIT had returned is there (SQLite
itself sees to both); bytes of an upload that was not finished may be gone (a power cut); everything
a process held in memory is gone. Nothing finished is ever lost but by `restore`.
"""

from __future__ import annotations

import random
import shutil
from collections import deque
from pathlib import Path

from comity.errors import Unavailable

POINTS = (
    *("begun", "committing", "committed", "sealed", "unlinking"),
    *("written", "checked", "renamed", "dropped"),
)
"""The commit points of `Database`, the journal and `FileBlobStore`."""


class Died(BaseException):
    """The process ends here: nothing of it runs any more."""


class Disk:
    """One party's disk: what happens at the next commit points, as armed.

    Faults: "die" ends the process before the point is passed; "fail" is an input/output error, as
    `DiskFaults` names it. At "committed" and "renamed" the change is on disk all the same: it
    fails but persists.
    """

    def __init__(self) -> None:
        self._armed: deque[tuple[str, str, int]] = deque()
        self.passed = 0

    def arm(self, what: str, point: str, count: int = 0) -> None:
        """Let `what` happen the next time `point` is reached, after passing it `count` times."""
        self._armed.append((what, point, count))

    def calm(self) -> None:
        """Nothing more happens."""
        self._armed.clear()

    def hook(self, point: str) -> None:
        """The `Hook` of every store on this disk."""
        self.passed += 1
        if not self._armed or self._armed[0][1] != point:
            return
        what, _, count = self._armed.popleft()
        if count:
            self._armed.appendleft((what, point, count - 1))
        elif what == "die":
            raise Died(point)
        else:
            raise Unavailable("simulated input/output error")


def cut_power(folder: Path, dice: random.Random) -> None:
    """Lose what was not synced: the end of every unfinished upload."""
    for part in sorted(folder.rglob("*.part")):
        with part.open("r+b") as file:
            file.truncate(dice.randint(0, part.stat().st_size))


def copy_folder(source: Path, target: Path) -> None:
    """A backup, or a restore: the whole folder as it stands, replacing what is there."""
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.lock", "*.sock"))
