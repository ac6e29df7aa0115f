"""The exported log on disk: what is written, in which order, and what a crash leaves."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from pathlib import Path

import pytest

from comity.errors import Forged, Misconfigured, Unavailable
from comity.log.heads import parse_signed_head
from comity.log.tiles import tile_files
from comity.release.exported import CHECKPOINT, WRITING, check_exported
from comity.storage.exporting import ExportAhead
from comity.storage.folder import DiskFolder
from tests.storage.exports import (
    GREASE,
    anchor_at,
    export,
    files_in,
    grown,
    lines_of,
    note_of,
    open_export,
)
from tests.worlds import World

OLD, NEW = 200, 300


def test_the_layout_is_that_of_c2sp_tiles_and_no_file_more(tmp_path: Path) -> None:
    world = grown(NEW)
    done = export(tmp_path, world, NEW)
    found = files_in(tmp_path)
    assert sorted(found) == [
        "checkpoint",
        "comity/charter.json",
        "comity/epochs/0.json",
        "policy.txt",
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/44",
    ]
    assert (done.size, done.written) == (NEW, len(found))
    tiles = dict(tile_files(world.tree, lambda at, n: world.log[at : at + n], 0, NEW))
    assert {path: found[path] for path in tiles} == tiles
    shown = parse_signed_head(found[CHECKPOINT])
    assert [line.name for line in shown.lines[1:]] == list(world.members)
    checked = check_exported(DiskFolder(tmp_path), anchor_at(world, OLD))
    assert checked.anchored and checked.members == world.members and checked.beyond == 0


def test_partial_tiles_stay_until_the_full_one_is_there(tmp_path: Path) -> None:
    world = grown(NEW)
    export(tmp_path, world, 5, OLD)
    assert {"tile/0/000.p/5", "tile/0/000.p/200", "tile/entries/000.p/5"} <= files_in(
        tmp_path
    ).keys()
    export(tmp_path, world, NEW)
    assert not [path for path in files_in(tmp_path) if "/000.p/" in path and "tile/1" not in path]
    check_exported(DiskFolder(tmp_path), anchor_at(world, NEW))


def test_it_goes_on_where_it_stands_and_writes_only_what_is_new(tmp_path: Path) -> None:
    world = grown(NEW)
    export(tmp_path, world, 259)
    assert export(tmp_path, world, 260).written == 3, "entries, a tile, the head"
    assert export(tmp_path, world, 260).written == 0
    folder = open_export(tmp_path, world)
    few = lines_of(world, 261, world.members[:2])
    assert folder.export(note_of(world, 260), lines_of(world, 260)).written == 0
    with pytest.raises(Forged, match="not final"):
        folder.export(note_of(world, 261), few)
    assert folder.shown is not None and folder.shown.head.size == 260
    folder.close()


def test_a_line_of_an_unknown_key_is_kept(tmp_path: Path) -> None:
    """Attack 19: unknown signature lines are ignored and preserved."""
    world = grown(NEW)
    folder = open_export(tmp_path, world)
    folder.export(note_of(world, OLD, GREASE), lines_of(world, OLD))
    folder.close()
    assert GREASE.line() in files_in(tmp_path)[CHECKPOINT]
    assert check_exported(DiskFolder(tmp_path), None).others == 1


def test_files_are_written_from_below_and_the_head_last(tmp_path: Path) -> None:
    steps: list[str] = []
    world = grown(NEW)
    export(tmp_path, world, OLD)
    export(tmp_path, world, NEW, hook=steps.append)
    whats = [what for what, _ in itertools.groupby(step.split()[0] for step in steps)]
    assert whats == ["entries", "tile", "checkpoint", "partial"]
    assert steps[:3] == ["entries written", "entries renamed", "entries synced"]
    assert len(steps) == 3 * 6 + 2


@pytest.mark.parametrize("old", [0, OLD])
def test_a_process_killed_at_any_step_leaves_the_old_head_or_the_new_one(
    tmp_path: Path, old: int
) -> None:
    """Attack 51, with SIGKILL at every commit point of one export."""
    world = grown(NEW)
    before, whole = tmp_path / "before", tmp_path / "whole"
    before.mkdir()
    for size in [size for size in (old,) if size]:
        export(before, world, size)
    export(whole, world, *(size for size in (old, NEW) if size))
    seen = set()
    for step in itertools.count():
        place = tmp_path / f"killed-{step}"
        shutil.copytree(before, place)
        if not _killed(place, world, step):
            break
        head = place / CHECKPOINT
        size = parse_signed_head(head.read_bytes()).head.size if head.exists() else 0
        seen.add(size)
        assert size in (old, NEW)
        if size:
            checked = check_exported(DiskFolder(place, hollow=True), anchor_at(world, size))
            assert checked.head.head.size == size
        export(place, world, NEW)
        assert files_in(place) == files_in(whole), step
        shutil.rmtree(place)
    assert step > 18 and seen == {old, NEW}


def _killed(place: Path, world: World, step: int) -> bool:
    """Export in a child that is killed at its commit point of that number; whether it was."""
    left = [step]

    def hook(_: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            export(place, world, NEW, hook=hook)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_a_log_that_is_behind_the_folder_is_not_built_on(tmp_path: Path) -> None:
    """Attack 3: the database was restored from a backup."""
    world = grown(NEW)
    export(tmp_path, world, NEW)
    folder = open_export(tmp_path, world)
    with pytest.raises(ExportAhead, match="300 entries that this log of 299 does not hold") as told:
        folder.compare(NEW - 1)
    assert parse_signed_head(told.value.note).head.size == NEW
    folder.compare(NEW)
    with pytest.raises(ExportAhead):
        folder.export(note_of(world, OLD), lines_of(world, OLD))
    folder.close()


def test_another_history_in_the_folder_is_not_written_over(tmp_path: Path) -> None:
    world = grown(NEW)
    export(tmp_path, world, OLD)
    other = type(world).of(3)
    while other.tree.size < NEW:
        other.pass_time(1)
    folder = open_export(tmp_path, other)
    with pytest.raises(ExportAhead, match="another one"):
        folder.compare(NEW)
    folder.close()


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    world = grown(NEW)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "index.html").write_text("hello")
    with pytest.raises(Misconfigured, match=r"index\.html"):
        open_export(foreign, world)
    of_four = tmp_path / "of-four"
    export(of_four, type(world).of(4), 4)
    with pytest.raises(Misconfigured, match="name a new folder"):
        open_export(of_four, world)
    (of_four / CHECKPOINT).write_text("hello")
    with pytest.raises(Misconfigured, match="no head"):
        open_export(of_four, world)
    ours = open_export(tmp_path / "ours", world)
    with pytest.raises(Unavailable, match="another process"):
        open_export(tmp_path / "ours", world)
    ours.close()


def test_links_in_the_folder_lead_nowhere(tmp_path: Path) -> None:
    """Whoever can write into the folder must not get other files of the host written."""
    world, out, precious = grown(NEW), tmp_path / "out", tmp_path / "precious"
    precious.write_bytes(b"keys")
    out.mkdir()
    (out / WRITING).symlink_to(precious)
    (out / "policy.txt").symlink_to(precious)
    export(out, world, 5)
    assert precious.read_bytes() == b"keys" and not (out / "policy.txt").is_symlink()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(out / "tile")
    (out / "tile").symlink_to(elsewhere)
    with pytest.raises(Misconfigured, match="is a link"):
        export(out, world, OLD)
    assert not list(elsewhere.iterdir())
    (out / CHECKPOINT).unlink()
    (out / CHECKPOINT).symlink_to(precious)
    with pytest.raises(Unavailable, match="cannot read"):
        open_export(out, world)
    (out / CHECKPOINT).unlink()
    os.mkfifo(out / CHECKPOINT)
    with pytest.raises(Misconfigured, match="no head"):
        open_export(out, world)


def test_what_a_killed_export_left_is_not_looked_at(tmp_path: Path) -> None:
    world = grown(NEW)
    export(tmp_path, world, OLD)
    (tmp_path / WRITING).write_bytes(b"half")
    check_exported(DiskFolder(tmp_path), anchor_at(world, OLD))
    export(tmp_path, world, NEW)
    assert WRITING not in files_in(tmp_path)
