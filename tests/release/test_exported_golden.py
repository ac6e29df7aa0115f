"""Golden exported logs; `tests/outside` says which second implementation took them, and how."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from comity.commons.charter import parse_charter
from comity.log.heads import parse_signed_head
from comity.log.tiles import decode_bundle
from comity.release.exported import CHARTER, CHECKPOINT, check_exported
from comity.storage.exporting import ExportFolder
from comity.storage.folder import DiskFolder
from comity.values import sha256
from tests.storage.exports import GREASE, files_in
from tests.vectors.exported import HERE, SIZES, SMALL, TALL, unpacked

DIGESTS = {
    SMALL: "13988c6080781c0cb60cdb02b75e532721155d7a66b0d721bdfd94abc53afd97",
    TALL: "3cbb77e988036b9c5c37bfd85137bcbcfd009ebf79f55442c5a8ad1e3ad1f877",
}
"""SHA-256 over every path and file, as they were when the second implementation took them."""


def digest_of(files: dict[str, bytes]) -> str:
    return sha256(b"".join(f"{p} {sha256(files[p])}\n".encode() for p in sorted(files)))


@pytest.mark.parametrize("name", [SMALL, TALL])
def test_a_golden_log_is_the_one_that_was_accepted(name: str, tmp_path: Path) -> None:
    files = files_in(unpacked(name, tmp_path / name))
    assert digest_of(files) == DIGESTS[name]


@pytest.mark.parametrize("name", [SMALL, TALL])
def test_a_golden_log_is_verified(name: str, tmp_path: Path) -> None:
    found = check_exported(DiskFolder(unpacked(name, tmp_path / name)), None)
    assert found.head.head.size == SIZES[name][-1]
    assert (len(found.members), found.others, found.beyond) == (3, 1, 0)
    assert GREASE in found.head.lines


@pytest.mark.parametrize("name", [SMALL, TALL])
def test_its_entries_give_the_same_bytes_again(name: str, tmp_path: Path) -> None:
    golden = unpacked(name, tmp_path / name)
    files = files_in(golden)
    entries = _entries(files, SIZES[name][-1])
    folder = ExportFolder(
        tmp_path / "again",
        parse_charter(files[CHARTER]),
        lambda first, count: entries[first : first + count],
    )
    folder.export(files[CHECKPOINT], [])
    folder.close()
    again = files_in(tmp_path / "again")
    older = {path for path in files if path.endswith(f".p/{SIZES[name][0]}")}
    assert again == {path: content for path, content in files.items() if path not in older}
    assert parse_signed_head(again[CHECKPOINT]).note() == files[CHECKPOINT]


def _entries(files: dict[str, bytes], size: int) -> list[bytes]:
    taken: list[bytes] = []
    while len(taken) < size:
        width = min(256, size - len(taken))
        partial = "" if width == 256 else f".p/{width}"
        path = f"tile/entries/{len(taken) // 256:03d}{partial}"
        taken += decode_bundle(files[path], width)
    return taken


def test_the_archive_is_small() -> None:
    packed = (HERE / f"{TALL}.tar.xz").read_bytes()
    assert len(packed) < 65_536 < len(lzma.decompress(packed))
