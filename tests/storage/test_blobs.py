"""The blob store by itself: a real folder, and real processes killed."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from comity.errors import Forged, Malformed, Unavailable
from comity.storage.blobs import FileBlobStore, WrongOffset
from comity.values import BlobName
from tests.storage.crashes import run_script
from tests.storage.samples import BYTES, NAME, named


def test_an_upload_resumes_and_finishes(tmp_path: Path) -> None:
    store = FileBlobStore(tmp_path / "blobs")
    assert store.stored(NAME) == 0
    store.write(NAME, 0, BYTES[:700])
    store = FileBlobStore(tmp_path / "blobs")
    assert store.stored(NAME) == 700
    assert not store.finished(NAME)
    assert store.unfinished() == [NAME]
    store.write(NAME, 700, memoryview(BYTES)[700:])
    store.finish(NAME)
    store.finish(NAME)
    assert store.finished(NAME)
    assert store.stored(NAME) == len(BYTES)
    assert store.unfinished() == []
    assert store.read(NAME, 10, 20) == BYTES[10:20]
    assert store.path(NAME).read_bytes() == BYTES
    assert (tmp_path / "blobs").stat().st_mode & 0o777 == 0o700
    assert store.path(NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("offset", [0, 699, 701])
def test_a_chunk_at_another_offset_is_told_the_right_one(tmp_path: Path, offset: int) -> None:
    store = FileBlobStore(tmp_path)
    store.write(NAME, 0, BYTES[:700])
    with pytest.raises(WrongOffset, match="go on at byte 700") as wrong:
        store.write(NAME, offset, b"x")
    assert wrong.value.stored == 700
    assert store.stored(NAME) == 700


def test_a_finished_blob_cannot_grow(tmp_path: Path) -> None:
    store = FileBlobStore(tmp_path)
    store.write(NAME, 0, BYTES)
    store.finish(NAME)
    for offset in (0, len(BYTES)):
        with pytest.raises(WrongOffset) as wrong:
            store.write(NAME, offset, b"x")
        assert wrong.value.stored == len(BYTES)
    assert store.read(NAME, 0, len(BYTES)) == BYTES


def test_attack_46_altered_bytes_are_dropped(tmp_path: Path) -> None:
    store = FileBlobStore(tmp_path)
    store.write(NAME, 0, BYTES[:-1] + b"!")
    with pytest.raises(Forged):
        store.finish(NAME)
    assert store.stored(NAME) == 0
    assert store.used_bytes() == 0
    with pytest.raises(Unavailable, match="not here"):
        store.read(NAME, 0, 1)
    store.write(NAME, 0, BYTES)
    store.finish(NAME)


def test_a_vector_is_judged_by_its_own_check(tmp_path: Path) -> None:
    root = BlobName("ab" * 32)

    def is_a_root(place: Path) -> None:
        if place.read_bytes() != BYTES:
            raise Forged("the root does not fit")

    store = FileBlobStore(tmp_path)
    store.write(root, 0, BYTES[:-1])
    with pytest.raises(Forged, match="root"):
        store.finish(root, is_a_root)
    store.write(root, 0, BYTES)
    store.finish(root, is_a_root)
    assert store.read(root, 0, 15) == BYTES[:15]


def test_a_check_that_cannot_read_drops_nothing(tmp_path: Path) -> None:
    def unlucky(place: Path) -> None:
        raise OSError(5, "Input/output error")

    store = FileBlobStore(tmp_path)
    store.write(NAME, 0, BYTES)
    with pytest.raises(Unavailable):
        store.finish(NAME, unlucky)
    store.finish(NAME)


BAD_NAMES = [
    "",
    "a" * 63,
    "a" * 65,
    "A" * 64,
    "g" * 64,
    "../" + "a" * 61,
    "/" + "a" * 63,
    "a" * 32 + "\x00" + "a" * 31,
    "a" * 64 + "\n",
    "a" * 60 + ".key",
    "٣" * 64,
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_attack_40_no_other_name_touches_the_disk(tmp_path: Path, name: str) -> None:
    store = FileBlobStore(tmp_path / "blobs")
    source = tmp_path / "mine"
    source.write_bytes(BYTES)
    bad = BlobName(name)
    for attempt in (
        lambda: store.stored(bad),
        lambda: store.finished(bad),
        lambda: store.write(bad, 0, b"x"),
        lambda: store.finish(bad),
        lambda: store.read(bad, 0, 0),
        lambda: store.path(bad),
        lambda: store.drop(bad),
        lambda: store.adopt(source, bad),
    ):
        with pytest.raises(Malformed):
            attempt()
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "blobs", source]


def test_attack_41_a_planted_link_is_neither_read_nor_written(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    store = FileBlobStore(tmp_path / "blobs")
    (tmp_path / "blobs" / NAME).symlink_to(secret)
    (tmp_path / "blobs" / f"{NAME}.part").symlink_to(secret)
    assert not store.finished(NAME)
    with pytest.raises(Unavailable):
        store.read(NAME, 0, 6)
    with pytest.raises(Unavailable):
        store.write(NAME, 0, b"x")
    with pytest.raises(Unavailable):
        store.adopt(tmp_path / "blobs" / NAME, NAME)
    assert secret.read_bytes() == b"secret"


def test_ranges_outside_a_blob_are_malformed(tmp_path: Path) -> None:
    store = FileBlobStore(tmp_path)
    store.write(NAME, 0, BYTES)
    store.finish(NAME)
    for start, stop in ((-1, 2), (2, 1), (0, len(BYTES) + 1)):
        with pytest.raises(Malformed):
            store.read(NAME, start, stop)
    assert store.read(NAME, len(BYTES), len(BYTES)) == b""


def test_quota_and_size_limit_refuse_and_dropping_makes_room(tmp_path: Path) -> None:
    store = FileBlobStore(tmp_path, quota_bytes=2_000, blob_bytes_max=1_600)
    store.write(NAME, 0, BYTES)
    other = named(b"x" * 600)
    with pytest.raises(Unavailable, match="2000 bytes and is full"):
        store.write(other, 0, b"x" * 600)
    with pytest.raises(Malformed, match="at most 1600"):
        store.write(NAME, len(BYTES), b"x" * 200)
    assert store.stored(NAME) == len(BYTES)
    source = tmp_path / "source"
    source.write_bytes(b"x" * 1_601)
    with pytest.raises(Malformed, match="at most 1600"):
        store.adopt(source, named(b"x" * 1_601))
    store.drop(NAME)
    store.drop(NAME)
    source.unlink()
    store.write(other, 0, b"x" * 600)
    store.finish(other)
    assert store.used_bytes() == 600
    assert FileBlobStore(tmp_path).used_bytes() == 600


def test_a_local_file_is_moved_in(tmp_path: Path) -> None:
    store = FileBlobStore(tmp_path / "blobs", quota_bytes=5_000)
    source = tmp_path / "vector"
    source.write_bytes(BYTES[:-1])
    with pytest.raises(Forged):
        store.adopt(source, NAME)
    assert source.exists()
    source.write_bytes(BYTES)
    store.write(NAME, 0, BYTES[:100])
    store.adopt(source, NAME)
    assert not source.exists()
    store.adopt(source, NAME)
    assert store.read(NAME, 0, len(BYTES)) == BYTES
    assert store.unfinished() == []
    assert store.used_bytes() == len(BYTES)
    with pytest.raises(Unavailable, match="no regular file"):
        store.adopt(source, named(b"another"))


def test_two_writers_of_one_blob_never_mix_their_bytes(tmp_path: Path) -> None:
    store = FileBlobStore(tmp_path)
    content = bytes(range(256)) * 200

    def upload() -> None:
        while (start := store.stored(named(content))) < len(content):
            try:
                store.write(named(content), start, content[start : start + 512])
            except Unavailable:
                continue

    writers = [threading.Thread(target=upload) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    store.finish(named(content))
    assert store.used_bytes() == len(content)


def test_a_sender_that_stops_in_the_middle_keeps_nobody_out(tmp_path: Path) -> None:
    store = FileBlobStore(tmp_path)
    with store.writing(NAME, 0) as stopped:
        stopped.write(0, [BYTES[:10], BYTES[10:20]])
        with store.writing(NAME, 20) as other:
            other.write(20, [BYTES[20:]])
        with pytest.raises(WrongOffset):
            stopped.write(20, [BYTES[20:]])
        store.finish(NAME)
        with pytest.raises(Unavailable, match="finished or dropped"):
            stopped.write(len(BYTES), [b"more"])
    with pytest.raises(Unavailable, match="broken off"):
        stopped.write(len(BYTES), [b"more"])
    assert store.read(NAME, 0, len(BYTES)) == BYTES
    assert store.used_bytes() == len(BYTES)
    with pytest.raises(WrongOffset), store.writing(NAME, 0):
        pass


def test_a_chunk_may_come_in_any_number_of_parts(tmp_path: Path) -> None:
    content = bytes(range(256)) * 8
    name, store = named(content), FileBlobStore(tmp_path)
    with store.writing(name, 0) as writer:
        writer.write(0, [content[k : k + 1] for k in range(len(content))] + [b""])
    store.finish(name)
    assert store.read(name, 0, len(content)) == content


def test_a_writer_during_finish_is_turned_away(tmp_path: Path) -> None:
    store = FileBlobStore(tmp_path)
    store.write(NAME, 0, BYTES)

    def late(place: Path) -> None:
        with pytest.raises(Unavailable, match="another sender"):
            store.write(NAME, len(BYTES), b"poison")

    store.finish(NAME, late)
    assert store.read(NAME, 0, len(BYTES)) == BYTES


KILLED = """
import sys
from pathlib import Path
from comity.storage.blobs import FileBlobStore
from tests.storage.crashes import kill_at
from tests.storage.samples import BYTES, NAME
folder, work, point = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
store = FileBlobStore(folder / "blobs", hook=kill_at(point))
if work == "upload":
    store.write(NAME, 500, BYTES[500:])
    store.finish(NAME)
else:
    (folder / "vector").write_bytes(BYTES)
    store.adopt(folder / "vector", NAME)
"""


@pytest.mark.parametrize("point", ["written", "checked", "renamed"])
def test_attack_51_killed_while_uploading_goes_on(tmp_path: Path, point: str) -> None:
    FileBlobStore(tmp_path / "blobs").write(NAME, 0, BYTES[:500])
    assert run_script(KILLED, str(tmp_path), "upload", point).returncode == -signal.SIGKILL
    store = FileBlobStore(tmp_path / "blobs")
    assert store.finished(NAME) == (point == "renamed")
    start = store.stored(NAME)
    assert start == len(BYTES)
    store.finish(NAME)
    assert store.read(NAME, 0, len(BYTES)) == BYTES


@pytest.mark.parametrize("point", ["checked", "renamed"])
def test_attack_51_killed_while_moving_in_goes_on(tmp_path: Path, point: str) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / f"{NAME}.moving").write_bytes(b"half a copy")
    assert run_script(KILLED, str(tmp_path), "adopt", point).returncode == -signal.SIGKILL
    store = FileBlobStore(tmp_path / "blobs")
    assert store.finished(NAME) == (point == "renamed")
    store.adopt(tmp_path / "vector", NAME)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "blobs", tmp_path / "blobs" / NAME]


def test_a_part_cut_by_a_power_failure_resumes_where_it_ends(tmp_path: Path) -> None:
    store = FileBlobStore(tmp_path)
    store.write(NAME, 0, BYTES)
    with (tmp_path / f"{NAME}.part").open("r+b") as part:
        part.truncate(333)
    store = FileBlobStore(tmp_path)
    assert store.stored(NAME) == 333
    store.write(NAME, 333, BYTES[333:])
    store.finish(NAME)


FULL = """
import resource, sys
from pathlib import Path
from comity.errors import Unavailable
from comity.storage.blobs import FileBlobStore
from tests.storage.samples import BYTES, NAME
store = FileBlobStore(Path(sys.argv[1]))
store.write(NAME, 0, BYTES[:500])
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, resource.RLIM_INFINITY))
try:
    store.write(NAME, 500, BYTES[500:])
except Unavailable as error:
    print(error)
print(store.stored(NAME), store.used_bytes())
"""


def test_a_chunk_that_does_not_fit_on_the_disk_is_taken_back(tmp_path: Path) -> None:
    told = run_script(FULL, str(tmp_path))
    assert told.returncode == 0, told.stderr
    assert "check space" in told.stdout
    assert told.stdout.splitlines()[1] == "500 500"
