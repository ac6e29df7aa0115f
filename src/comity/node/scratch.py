"""Files for long vectors, used again and again: writing over a file costs far less than a new one.

A fresh file of 40 MB costs the kernel a tenth of a second for its pages alone; one that is written
over costs a copy. What lies in a spare file is garbage to everybody: whoever takes one writes all
of it. Spare files hold masked vectors, sums and old models, never a clear update.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, final

SPARE_BYTES_MIN: Final = 2**20
"""Smaller files are not worth keeping."""

SPARE_COUNT_MAX: Final = 4


@final
class Scratch:
    """A folder of spare files; may be emptied at any time when nothing runs.

    Args:
        folder: made when absent, with mode 0700.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)

    def take(self, target: Path, size: int) -> Path:
        """Put a file of this size at `target`: a spare one, or an empty new one. Returns it."""
        for spare in self._spares():
            if spare.stat().st_size == size:
                spare.rename(target)
                return target
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        return target

    def give(self, path: Path) -> None:
        """Take a file, of a name no other has, that nobody needs any more."""
        if path.stat().st_size < SPARE_BYTES_MIN or len(self._spares()) >= SPARE_COUNT_MAX:
            path.unlink()
            return
        path.rename(self._folder / path.name)

    def _spares(self) -> list[Path]:
        return sorted(self._folder.iterdir())
