"""Golden exported logs: made once from `tests/worlds.py`, accepted by a second implementation.

`exported-small` lies here as it is; `exported-tall` (full tiles, two levels) as an archive.
Made once by `python -m tests.vectors.exported`, which never changes one that is there.
"""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

from tests.storage.exports import GREASE, files_in, grown, lines_of, note_of, open_export

HERE = Path(__file__).resolve().parent / "log"
SMALL, TALL = "exported-small", "exported-tall"
SIZES = {SMALL: (3, 7), TALL: (200, 259)}
"""The heads that were exported, one after the other; the last one carries an unknown line."""


def unpacked(name: str, into: Path) -> Path:
    """A copy of a golden log in a new folder."""
    if name == SMALL:
        shutil.copytree(HERE / SMALL, into)
        return into
    with tarfile.open(HERE / f"{TALL}.tar.xz") as archive:
        archive.extractall(into, filter="data")
    return into


def make(name: str, into: Path) -> Path:
    """Export the same log again."""
    world = grown(max(SIZES[name]))
    folder = open_export(into, world)
    *olds, newest = SIZES[name]
    for old in olds:
        folder.export(note_of(world, old), lines_of(world, old))
    folder.export(note_of(world, newest, GREASE), lines_of(world, newest))
    folder.close()
    return into


def write() -> None:
    """Write the golden logs that are missing."""
    if not (HERE / SMALL).exists():
        make(SMALL, HERE / SMALL)
    tall = HERE / f"{TALL}.tar.xz"
    if not tall.exists():
        made = make(TALL, HERE / "making")
        with tarfile.open(tall, "x:xz") as archive:
            for path, content in files_in(made).items():
                entry = tarfile.TarInfo(path)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        shutil.rmtree(made)


if __name__ == "__main__":
    write()
