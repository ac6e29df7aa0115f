"""P8, of the whole log: whoever has its files and an anchor needs to believe nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from comity.errors import Forged
from comity.log.tiles import encode_bundle
from comity.release.exported import check_exported
from comity.storage.folder import DiskFolder
from tests.storage.exports import anchor_at, export, grown

SIZE = 40


def test_a_stranger_checks_every_entry_from_files_alone(tmp_path: Path) -> None:
    world = grown(SIZE)
    export(tmp_path, world, SIZE)
    found = check_exported(DiskFolder(tmp_path), anchor_at(world, 30))
    assert (found.head.head.size, found.members, found.anchored) == (SIZE, world.members, True)


def test_whoever_publishes_the_files_can_neither_leave_out_nor_put_in(tmp_path: Path) -> None:
    """Attacks 5 and 33 of the log: a statement left out, another in its place."""
    world = grown(SIZE)
    export(tmp_path, world, SIZE)
    bundle = tmp_path / "tile" / "entries" / "000.p" / "40"
    for entries in (
        [*world.log[:20], *world.log[19:39]],
        [*world.log[:20], world.log[21], world.log[20], *world.log[22:40]],
    ):
        bundle.write_bytes(encode_bundle(entries))
        with pytest.raises(Forged, match="do not give the root"):
            check_exported(DiskFolder(tmp_path), anchor_at(world, SIZE))


def test_an_older_copy_does_not_pass_for_the_log_of_a_newer_anchor(tmp_path: Path) -> None:
    world = grown(SIZE)
    export(tmp_path, world, SIZE - 1)
    with pytest.raises(Forged, match="cut off, or an old copy"):
        check_exported(DiskFolder(tmp_path), anchor_at(world, SIZE))
