"""Exported logs read by a second implementation: golang.org/x/mod/sumdb of the Go toolchain."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import pytest

from comity.log.heads import parse_signed_head
from comity.release.exported import CHECKPOINT
from tests.outside.second_reader import ask, build
from tests.storage.exports import GREASE, export, grown, lines_of, note_of, open_export
from tests.vectors.exported import SMALL, TALL, unpacked


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("gocheck"))


@pytest.mark.parametrize("size", [3, 255, 256, 257, 513])
def test_it_reads_what_we_export(reader: Path, tmp_path: Path, size: int) -> None:
    world = grown(600)
    export(tmp_path, world, *(s for s in (3, 100, 256) if s < size), size)
    said = ask(reader, tmp_path)
    assert said["size"] == size, said
    assert base64.b64decode(said["root"]) == world.tree.root(size)
    assert (said["signers"], said["quorum"]) == (list(world.members), 3)
    assert said["proofs"] == 2 * size


def test_it_takes_the_golden_logs(reader: Path, tmp_path: Path) -> None:
    for name in (SMALL, TALL):
        folder = unpacked(name, tmp_path / name)
        said = ask(reader, folder)
        assert said["size"] == parse_signed_head((folder / CHECKPOINT).read_bytes()).head.size
        assert said["unknown"] == 1, "the line of a key nobody knows is kept"


def test_it_refuses_what_we_refuse(reader: Path, tmp_path: Path) -> None:
    """Both see the same faults; so agreement on good folders says something."""
    world = grown(600)
    good = tmp_path / "good"
    folder = open_export(good, world)
    folder.export(note_of(world, 300, GREASE), lines_of(world, 300))
    folder.close()
    assert ask(reader, good)["unknown"] == 1
    for path in ("tile/0/000", "tile/entries/001.p/44", "tile/1/000.p/1", CHECKPOINT):
        bad = tmp_path / "bad"
        shutil.copytree(good, bad)
        content = bytearray((bad / path).read_bytes())
        content[-9] ^= 1
        (bad / path).write_bytes(bytes(content))
        assert "refused" in ask(reader, bad), path
        shutil.rmtree(bad)
