"""Two things every file of ours needs: a folder synced to disk, and a name for what went wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from comity.errors import Unavailable


@contextmanager
def disk_faults(place: Path) -> Iterator[None]:
    """Turn an OSError of the block into Unavailable, which names the place and the next step."""
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"cannot use {place} ({error.strerror}); check space and permissions of the disk"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a new, renamed or removed file is so only after this."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
