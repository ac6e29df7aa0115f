"""Two things every file of ours needs: a folder synced to disk, and a name for what went wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import final

from comity.errors import Unavailable


@final
class DiskFaults:
    """Turns an OSError of the block into Unavailable, which names the place and the next step."""

    __slots__ = ("_place",)

    def __init__(self, place: Path) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise Unavailable(
                f"cannot use {self._place} ({error.strerror}); check space and permissions of the"
                " disk"
            ) from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a new, renamed or removed file is so only after this."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
