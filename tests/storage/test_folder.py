"""Release folders on a real disk: links, pipes, odd names and swaps are refused; writing is whole.

Attack numbers are those of log-and-provenance.md 8.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from comity.errors import ExitCode, Malformed, Misconfigured, Unavailable
from comity.release.form import CONTENT, MODEL
from comity.release.verify import verify
from comity.storage import folder as module
from comity.storage.folder import DiskFolder, write_folder
from comity.values import BLOB_CHUNK_BYTES, sha256
from tests.release.world import released

MADE = released(4)
FILES = MADE.files()
CARD = "content/model/README.md"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An honest release folder, which is verified."""
    path = tmp_path / "study-1"
    write_folder(path, FILES)
    assert verify(DiskFolder(path), MADE.anchor()).code is ExitCode.DONE
    return path


def refused(place: Path, *words: str) -> str:
    verdict = verify(DiskFolder(place), MADE.anchor())
    assert verdict.code is ExitCode.NOT_VERIFIED
    for word in words:
        assert word in verdict.sentence, verdict.sentence
    assert verdict.sentence.isprintable()
    return verdict.sentence


def test_what_is_written_is_read(place: Path) -> None:
    folder = DiskFolder(place)
    assert folder.names() == {path: len(file) for path, file in FILES.items()}
    for path, file in FILES.items():
        assert b"".join(folder.chunks(path)) == file
    assert sorted(os.listdir(place.parent)) == ["study-1"], "no temporary folder is left"


def test_a_blob_is_copied_in_pieces(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(os.urandom(2 * BLOB_CHUNK_BYTES + 5))
    write_folder(tmp_path / "out", {CONTENT + MODEL: blob})
    folder = DiskFolder(tmp_path / "out")
    chunks = list(folder.chunks(CONTENT + MODEL))
    assert [len(chunk) for chunk in chunks] == [BLOB_CHUNK_BYTES, BLOB_CHUNK_BYTES, 5]
    assert sha256(b"".join(chunks)) == sha256(blob.read_bytes())
    assert blob.exists()


def test_a_folder_that_a_link_leads_to_is_read(place: Path) -> None:
    link = place.parent / "link"
    link.symlink_to(place)
    assert verify(DiskFolder(link), MADE.anchor()).code is ExitCode.DONE


def test_attack_41_a_symbolic_link_is_refused(place: Path) -> None:
    outside = place.parent / "outside"
    outside.write_bytes(FILES[CARD])
    (place / CARD).unlink()
    (place / CARD).symlink_to(outside)
    refused(place, CARD, "no regular file")
    (place / CARD).unlink()
    (place / CARD).symlink_to("/nowhere")
    refused(place, CARD, "no regular file")


def test_attack_41_a_linked_folder_is_refused(place: Path) -> None:
    (place / "content").rename(place.parent / "elsewhere")
    (place / "content").symlink_to(place.parent / "elsewhere")
    refused(place, "content", "no regular file")


def test_attack_41_a_hard_link_is_refused(place: Path) -> None:
    os.link(place / CARD, place.parent / "second-name")
    refused(place, CARD, "second name")
    (place.parent / "second-name").unlink()
    assert verify(DiskFolder(place), MADE.anchor()).code is ExitCode.DONE


def pipe(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket is short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("make", [pipe, unix_socket])
def test_attack_41_a_pipe_or_socket_is_refused_and_holds_nobody_up(
    place: Path, make: Callable[[Path], None]
) -> None:
    (place / CARD).unlink()
    make(place / CARD)
    refused(place, CARD, "no regular file")


@pytest.mark.parametrize(
    "name",
    ["Readme.MD", "a b", "a\\b", "c:x", "é", "a\n\x1b[31m", ".hidden", "nul", "x" * 65, "a\udcff"],
)
def test_attack_40_odd_names_are_refused(place: Path, name: str) -> None:
    (place / "content/model" / name).write_bytes(b"x")
    refused(place, "content/model/", "paths and sizes")


def test_attack_40_names_that_differ_by_case_are_refused(place: Path) -> None:
    (place / "content/model/readme.md").write_bytes(b"x")
    if len(os.listdir(place / "content/model")) == len(DiskFolder(place).names()):
        pytest.skip("this disk does not tell case apart")
    refused(place, "README.md", "case")


def test_folders_too_deep_empty_or_too_many_are_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = place / "a/b/c/d/e/f"
    deep.mkdir(parents=True)
    refused(place, "deeper than 5")
    deep.rmdir()
    refused(place, "empty")
    os.removedirs(place / "a/b/c/d/e")
    assert verify(DiskFolder(place), MADE.anchor()).code is ExitCode.DONE
    monkeypatch.setattr(module, "_ENTRIES_MAX", 10)
    refused(place, "at most 10")


def test_attack_42_a_huge_sparse_file_is_not_read(place: Path) -> None:
    with (place / "proof/policy.txt").open("r+b") as file:
        file.truncate(2**40)
    refused(place, "proof/policy.txt", "bytes")


def swap_for_other_file(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def swap_for_link(path: Path) -> None:
    path.rename(path.parent.parent / "aside")
    path.symlink_to(path.parent.parent / "aside")


def swap_for_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"!")


def link_the_folder(path: Path) -> None:
    path.parent.rename(path.parent.parent / "aside")
    path.parent.symlink_to(path.parent.parent / "aside")


@pytest.mark.parametrize(
    "swap", [swap_for_other_file, swap_for_link, swap_for_pipe, grow, link_the_folder, Path.unlink]
)
def test_attack_43_a_file_swapped_between_listing_and_reading_is_refused(
    place: Path, swap: Callable[[Path], None]
) -> None:
    folder = DiskFolder(place)
    assert CARD in folder.names()
    swap(place / CARD)
    with pytest.raises(Malformed, match=r"changed|regular"):
        b"".join(folder.chunks(CARD))
    assert verify(folder, MADE.anchor()).code is ExitCode.NOT_VERIFIED


def test_attack_43_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "out", {CONTENT + MODEL: bytes(2 * BLOB_CHUNK_BYTES)})
    path = tmp_path / "out" / CONTENT / MODEL
    for bend in (b"more", b""):
        chunks = DiskFolder(tmp_path / "out").chunks(CONTENT + MODEL)
        next(chunks)
        with path.open("ab") as file:
            file.write(bend) if bend else file.truncate(BLOB_CHUNK_BYTES + 1)
        with pytest.raises(Malformed, match="changed"):
            list(chunks)


def test_something_that_is_no_folder_is_a_matter_of_settings(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "nothing"):
        with pytest.raises(Misconfigured):
            DiskFolder(path)
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "empty")


def test_a_disk_that_does_not_answer_fails_the_check(place: Path) -> None:
    folder = DiskFolder(place)
    with limited(resource.RLIMIT_NOFILE, 0), pytest.raises(Unavailable):
        folder.names()
    with limited(resource.RLIMIT_NOFILE, 0):
        verdict = verify(folder, MADE.anchor())
    assert verdict.code is ExitCode.NOT_VERIFIED
    folder.names()
    free = os.dup(0)
    os.close(free)
    # The folder itself can be opened and no file in it.
    with limited(resource.RLIMIT_NOFILE, free + 2), pytest.raises(Unavailable):
        b"".join(folder.chunks(CARD))
    assert verify(folder, MADE.anchor()).code is ExitCode.DONE


def test_nothing_is_overwritten(place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "dangling").symlink_to("/nowhere")
    (tmp_path / "empty").mkdir()
    for path in (place, tmp_path / "file", tmp_path / "dangling", tmp_path / "empty"):
        with pytest.raises(Misconfigured, match="exists already"):
            write_folder(path, {"content/x": b"other"})
    assert verify(DiskFolder(place), MADE.anchor()).code is ExitCode.DONE
    assert (tmp_path / "file").read_bytes() == b"mine"


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "content/A", "a\x00b"])
def test_attack_40_a_path_that_leads_outside_is_not_written(tmp_path: Path, path: str) -> None:
    with pytest.raises(Malformed):
        write_folder(tmp_path / "out", {"content/x": b"", path: b"x"})
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        write_folder(tmp_path / "out", {CONTENT + MODEL: tmp_path / "no such blob"})
    with pytest.raises(Unavailable):
        write_folder(tmp_path / "out", {CONTENT + MODEL: tmp_path})
    with pytest.raises(Unavailable):
        write_folder(tmp_path / "nowhere" / "out", {"content/x": b""})
    with limited(resource.RLIMIT_FSIZE, 1_000), pytest.raises(Unavailable):
        write_folder(tmp_path / "out", FILES)
    assert os.listdir(tmp_path) == []
    write_folder(tmp_path / "out", FILES)


@contextmanager
def limited(what: int, soft: int) -> Iterator[None]:
    """A fault of the machine that is really there: this process may not open or write more."""
    before, hard = resource.getrlimit(what)
    resource.setrlimit(what, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (before, hard))
