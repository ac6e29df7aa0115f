"""The form of a folder: paths that are fine everywhere, and a manifest with one way to write it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.errors import Forged, Malformed
from comity.log.tiles import places_between
from comity.release.form import (
    ALWAYS,
    CARD,
    CONTENT,
    FILES_MAX,
    LICENCE,
    LOG,
    LOG_ENTRIES_MAX,
    MANIFEST,
    MODEL,
    PROOF_BYTES_MAX,
    RELEASE_BYTES_MAX,
    check_paths,
    check_whole,
    folder_name,
    is_content,
    manifest_text,
    parse_manifest,
    path_fault,
    read_checked,
    read_file,
    shown,
)
from comity.values import BLOB_BYTES_MAX, Digest, sha256
from tests.release.world import MemoryFolder

HOSTILE = (
    "../x",
    "/etc/passwd",
    "a/../b",
    "a//b",
    "a/",
    "",
    ".",
    ".hidden",
    "a\\b",
    "c:x",
    "content/model/con",
    "content/model/nul.json",
    "lpt1.txt/x",
    "content/Model/x",
    "content/readme.MD",
    "content/é",
    "content/e\u0301",
    "content/a b",
    "content/a\nb",
    "content/a\u202eb",
    "content/\udcff",
    "content/ends.",
    "content/" + "a" * 65,
    "a/b/c/d/e/f/g",
    "-x",
)


@pytest.mark.parametrize("path", HOSTILE)
def test_attack_40_a_name_that_some_system_reads_otherwise_is_refused(path: str) -> None:
    fine = {"content/model/README.md": 1, "a/b/c/d/e/f": 1, "proof/log/tile/0/x001/002": 1}
    check_paths(fine)
    with pytest.raises(Malformed) as refused:
        check_paths(fine | {path: 1})
    assert str(refused.value).isprintable() and str(refused.value).isascii()


@pytest.mark.parametrize("pair", [("a/b", "a"), ("content/README.md", "content/readme.md")])
def test_attack_40_names_that_collide_are_refused(pair: tuple[str, str]) -> None:
    for path in pair:
        check_paths({path: 1})
    with pytest.raises(Malformed):
        check_paths(dict.fromkeys(pair, 1))


def test_attack_42_count_and_sizes_are_limited() -> None:
    check_paths({f"content/{number}": 0 for number in range(FILES_MAX)})
    with pytest.raises(Malformed, match="at most 10000 files"):
        check_paths({f"content/{number}": 0 for number in range(FILES_MAX + 1)})
    check_paths({"content/a": BLOB_BYTES_MAX, "proof/a": PROOF_BYTES_MAX})
    for path, size in (("content/a", BLOB_BYTES_MAX + 1), ("proof/a", PROOF_BYTES_MAX + 1)):
        with pytest.raises(Malformed, match=path):
            check_paths({path: size})
    files = RELEASE_BYTES_MAX // BLOB_BYTES_MAX
    check_paths({f"content/{n}": BLOB_BYTES_MAX for n in range(files)})
    with pytest.raises(Malformed, match="bytes"):
        check_paths({f"content/{n}": BLOB_BYTES_MAX for n in range(files)} | {"a": 1})


def test_every_tile_of_the_largest_log_has_a_fine_path() -> None:
    for size in (1, 255, 256, 65_537, LOG_ENTRIES_MAX):
        places = list(places_between(0, size))
        assert len(places) + len(ALWAYS) < FILES_MAX
        for place in places[:3] + places[-600::50] + places[-3:]:
            assert path_fault(LOG + place.path()) is None, place


def test_attack_44_content_is_a_closed_list() -> None:
    whole = dict.fromkeys(ALWAYS, 1)
    check_whole(whole | {CONTENT + LICENCE: 1, CONTENT + "reports/safety.json": 1})
    for path in ("content/model/model.pkl", "content/run.py", "content/reports/a/b.json", "x"):
        assert not is_content(path.removeprefix(CONTENT))
        with pytest.raises(Malformed, match=path):
            check_whole(whole | {path: 1})
    for path in ALWAYS:
        with pytest.raises(Malformed, match=path):
            check_whole({other: 1 for other in whole if other != path})


DIGESTS = {CARD: sha256(b"card"), MODEL: sha256(b"model"), LICENCE: sha256(b"do what you like")}


def test_a_manifest_is_sorted_and_comes_back() -> None:
    raw = manifest_text(DIGESTS)
    assert raw.splitlines()[0] == f"{DIGESTS[LICENCE]}  {LICENCE}".encode()
    assert parse_manifest(raw) == DIGESTS


def test_sha256sum_reads_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for path, content in ((CARD, b"card"), (MODEL, b"model"), (LICENCE, b"do what you like")):
        (tmp_path / path).write_bytes(content)
    (tmp_path / MANIFEST).write_bytes(manifest_text(DIGESTS))
    command = ["sha256sum", "--strict", "-c", MANIFEST]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    (tmp_path / CARD).write_bytes(b"cart")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 1


@pytest.mark.parametrize(
    "bend",
    [
        lambda raw: raw[:-1],
        lambda raw: raw + b"\n",
        lambda raw: raw + raw.splitlines(keepends=True)[0],
        lambda raw: b"".join(reversed(raw.splitlines(keepends=True))),
        lambda raw: raw.replace(b"  ", b" *"),
        lambda raw: raw.replace(b"  ", b"   "),
        lambda raw: raw.replace(b"\n", b"\r\n"),
        lambda raw: raw.replace(b"model/README.md", b"model/../x"),
        lambda raw: raw.replace(b"model/README.md", b"MANIFEST.sha256"),
        lambda raw: b"\\" + raw,
        lambda raw: raw.replace(DIGESTS[CARD].encode(), DIGESTS[CARD].upper().encode()),
        lambda raw: raw.replace(DIGESTS[CARD].encode(), DIGESTS[CARD][:32].encode()),
        lambda raw: b"\xc3\xa9" + raw,
    ],
)
def test_attack_38_a_manifest_written_otherwise_is_refused(bend: object) -> None:
    raw = manifest_text(DIGESTS)
    assert callable(bend)
    changed = bend(raw)
    assert changed != raw
    with pytest.raises(Malformed):
        parse_manifest(changed)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_manifest_or_refused_in_one_way(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_manifest(raw)


def test_a_folder_has_a_name_that_is_fine_everywhere() -> None:
    assert folder_name("heart", "1.0") == "heart-1.0"
    for name, version in (("Heart", "1"), ("heart", ""), ("../x", "1"), ("heart", "1/2")):
        with pytest.raises(Malformed):
            folder_name(name, version)


def test_a_file_longer_than_it_says_is_not_read_to_its_end() -> None:
    folder = MemoryFolder({"proof/a": b"x" * 100}, {"proof/a": 1})
    assert read_file(folder, "proof/a", 100) == b"x" * 100
    with pytest.raises(Malformed, match="proof/a"):
        read_file(folder, "proof/a", 99)


def test_attack_43_bytes_that_changed_after_the_check_are_not_taken() -> None:
    folder = MemoryFolder({"content/a": b"as checked"})
    digest = sha256(b"as checked")
    assert b"".join(read_checked(folder, "content/a", digest)) == b"as checked"
    folder.files["content/a"] = b"swapped"
    with pytest.raises(Forged, match="changed"):
        b"".join(read_checked(folder, "content/a", Digest(digest)))


def test_what_is_printed_of_a_path_is_plain() -> None:
    assert shown("a\n\x1b[31m\u202e\udcff") == "a\\n\\x1b[31m\\u202e\\udcff"
