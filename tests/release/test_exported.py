"""An exported log as a stranger's tools get it: what is refused, and with which words."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.errors import ComityError, Forged, Malformed
from comity.log.heads import cosign, full_note, sign_head
from comity.log.tiles import encode_bundle
from comity.release.exported import CHECKPOINT, ExportedLog, check_exported
from tests.release.world import MemoryFolder
from tests.storage.exports import (
    anchor_at,
    export,
    files_in,
    grown,
    head_of,
    lines_of,
    note_of,
)
from tests.worlds import World, keys_of

SIZE = 300


@lru_cache(maxsize=1)
def good() -> dict[str, bytes]:
    """The files of a log of 300 entries, exported twice."""
    with TemporaryDirectory() as folder:
        export(Path(folder), grown(SIZE), 270, SIZE)
        return files_in(Path(folder))


def check(files: dict[str, bytes], anchored: int | None = SIZE) -> ExportedLog:
    anchor = None if anchored is None else anchor_at(grown(SIZE), anchored)
    return check_exported(MemoryFolder(files), anchor)


def bent(path: str, at: int = -1) -> dict[str, bytes]:
    """The folder with one bit of one file changed."""
    content = bytearray(good()[path])
    content[at] ^= 1
    return {**good(), path: bytes(content)}


def test_an_honest_folder_is_verified() -> None:
    found = check(good())
    assert (found.head.head.size, found.anchored, found.beyond) == (SIZE, True, 0)
    assert found.tiles == len([path for path in good() if path.startswith("tile/")])
    assert found.cosigned_s == grown(SIZE).now_s and found.quorum == 3
    assert not check(good(), None).anchored


@pytest.mark.parametrize("path", sorted(good()))
def test_a_file_that_is_missing_is_named(path: str) -> None:
    """Attack 5: a log that is cut off."""
    files = {name: content for name, content in good().items() if name != path}
    if ".p/14" in path:
        check(files)  # of an older head: whoever reads the newest one does not need it
        return
    with pytest.raises((Malformed, Forged), match=path.replace(".", r"\.")):
        check(files)


@pytest.mark.parametrize("path", sorted(good()))
def test_a_changed_bit_of_any_file_is_seen(path: str) -> None:
    for at in (0, len(good()[path]) // 2, -2):
        with pytest.raises((Malformed, Forged)):
            check(bent(path, at))


def test_a_cut_off_log_under_its_own_older_head_does_not_fit_a_newer_anchor() -> None:
    """Attack 5: nothing in the folder is wrong, and the anchor knows of more."""
    with TemporaryDirectory() as folder:
        export(Path(folder), grown(SIZE), 270)
        files = files_in(Path(folder))
    assert check(files, 270).anchored
    with pytest.raises(Forged, match="cut off, or an old copy"):
        check(files, SIZE)


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/0",
        "tile/00/000",
        "tile/0/x000/000",
        "tile/data/000",
        "tile/0/000.p",
        "tile/8/0/000",
        "index.html",
        "comity/epochs/00.json",
        "comity/x",
        "checkpoint.bak",
    ],
)
def test_a_file_that_no_exported_log_has_is_refused(path: str) -> None:
    """Attack 33: paths that can be written in two ways, and what should not lie there."""
    with pytest.raises(Malformed):
        check({**good(), path: bytes(32)})


def test_malformed_tiles_are_refused() -> None:
    """Attack 33: a full tile where a partial one should be, lengths that run over, bytes after."""
    files = good()
    log = grown(SIZE).log
    for path, content, told in (
        ("tile/0/001.p/44", files["tile/0/000"], "has 1408 bytes"),
        ("tile/0/000", files["tile/0/000"][:-32], "has 8192 bytes"),
        ("tile/entries/001.p/44", encode_bundle(log[256:299]), "ends within an entry"),
        ("tile/entries/001.p/44", files["tile/entries/001.p/44"] + b"\0", "bytes after"),
        ("tile/entries/000", b"\xff\xff" + files["tile/entries/000"][2:], r"tile/entries/000"),
        ("tile/0/001.p/14", files["tile/0/001.p/44"], "has 448 bytes"),
        ("tile/entries/001.p/14", encode_bundle(log[257:271]), "does not hold the tree's entries"),
        ("tile/1/000.p/1", bytes(32), "does not hold the tree's hashes"),
    ):
        with pytest.raises((Malformed, Forged), match=told):
            check({**files, path: content})


def test_tiles_above_the_head_are_counted_and_not_believed() -> None:
    """What a killed export left: whole files above the old head, and a full tile for a partial."""
    with TemporaryDirectory() as folder:
        export(Path(folder), grown(SIZE), 200)
        files = files_in(Path(folder))
    early = {path: good()[path] for path in ("tile/0/000", "tile/entries/000", "tile/1/000.p/1")}
    assert check({**files, **early}, 200).beyond == 3
    without = {path: content for path, content in files.items() if ".p/" not in path}
    assert check({**without, **early}, 200).head.head.size == 200


def test_an_entry_that_must_not_be_in_a_log_is_found_although_all_hashes_fit() -> None:
    """Rule 4.2: hashes prove that nothing changed, not that a host let in only what it may."""
    world = grown(SIZE)
    twice = World(world.charter, world.state, log=[*world.log[:-1], world.log[0]])
    twice.tree.extend(leaf_of(world, at) for at in (*range(SIZE - 1), 0))
    with TemporaryDirectory() as folder, pytest.raises(Forged, match="entry 299 must not be in"):
        export(Path(folder), twice, SIZE)
        check_exported(MemoryFolder(files_in(Path(folder))), None)


def leaf_of(world: World, index: int) -> bytes:
    return world.tree.leaf(index)


def test_heads_that_do_not_count_are_refused() -> None:
    world = grown(SIZE)
    head, a = head_of(world, SIZE), world.members[0]
    stranger = sign_head(head, keys_of(world.members[1]).host).note()
    other_log = note_of(World.of(4), 4)
    forged_line = cosign(replace(head, size=299), a, keys_of(a).head, world.now_s)
    signed = sign_head(head, keys_of(a).host)
    for note, told in (
        (note_of(world, SIZE), "0 members cosigned, 3 are needed"),
        (_with(stranger, lines_of(world, SIZE)), "no signature by the host's key"),
        (other_log, "checkpoint is of comity/"),
        (full_note(signed, [forged_line]), "cosignature of member-a"),
        (note_of(world, SIZE) + lines_of(world, SIZE)[0] * 2, "two cosignatures of one key"),
    ):
        with pytest.raises((Malformed, Forged), match=told):
            check({**good(), CHECKPOINT: note})


def _with(note: bytes, lines: list[bytes]) -> bytes:
    return note + b"".join(lines)


def test_what_lies_beside_counts_only_when_it_follows_from_the_log() -> None:
    """Attack 36: false epochs, a false policy, a charter of somebody else."""
    quorum_of_one = good()["policy.txt"].replace(b"members 3", b"members 1")
    for path, content, told in (
        ("policy.txt", quorum_of_one, "policy.txt is not what follows"),
        ("comity/epochs/0.json", b"{}", "epochs/0.json is not what follows"),
        ("comity/epochs/1.json", good()["comity/epochs/0.json"], "epoch that this log does not"),
    ):
        assert content != good().get(path)
        with pytest.raises(Forged, match=told):
            check({**good(), path: content})


@given(st.sampled_from(sorted(good())), st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_bytes_in_any_file_are_refused_or_change_nothing(path: str, content: bytes) -> None:
    """Files of others raise Malformed or Forged, and nothing else."""
    try:
        check({**good(), path: content})
    except ComityError as error:
        assert isinstance(error, Malformed | Forged)
    else:
        assert content == good()[path]
