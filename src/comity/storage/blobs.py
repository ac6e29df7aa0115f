"""Bulk bytes in a folder: `<name>` when finished, `<name>.part` while they come in.

Decided here: what a file name may be, where an upload resumes, and when bytes count as safely here.
Knows nothing of what the bytes mean. A part is locked while it is written or finished, and a writer
that has waited checks that the part is still the file under its name. Contracts: `ports.BlobStore`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import final

from comity.errors import Forged, Malformed, Unavailable
from comity.storage.database import pass_by
from comity.storage.disk import DiskFaults, sync_folder
from comity.storage.ports import BlobCheck, Hook
from comity.values import BLOB_BYTES_MAX, BLOB_CHUNK_BYTES, BlobName, is_digest, same_bytes

QUOTA_BYTES = 256 * 2**30
"""How much a blob folder may hold unless its owner says otherwise."""

_CHUNKS_PER_WRITE = 512


class WrongOffset(Unavailable):
    """A chunk that does not start where the stored bytes end. stored: where to resume."""

    def __init__(self, stored: int, offset: int) -> None:
        super().__init__(f"the chunk starts at byte {offset}; go on at byte {stored}")
        self.stored = stored


@final
class FileBlobStore:
    """`ports.BlobStore` in one folder; see there for what each method promises.

    Args:
        folder: made, with mode 0700, when absent. One process owns it.
        quota_bytes: for all blobs together, finished or not.
        blob_bytes_max: for one blob.
        hook: called at "written", "checked", "renamed" and "dropped".
    """

    def __init__(
        self,
        folder: Path,
        *,
        quota_bytes: int = QUOTA_BYTES,
        blob_bytes_max: int = BLOB_BYTES_MAX,
        hook: Hook = pass_by,
    ) -> None:
        self._folder, self._folder_text = folder, str(folder)
        self._quota_bytes = quota_bytes
        self._blob_bytes_max = blob_bytes_max
        self._hook = hook
        self._turn = threading.Lock()
        with DiskFaults(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left_over in folder.glob("*.moving"):
                left_over.unlink()
            # A file renamed just before a crash counts as finished, so its name must be durable.
            sync_folder(folder)
            self._used_bytes = sum(found.stat().st_size for found in os.scandir(folder))

    def used_bytes(self) -> int:
        """Bytes of all blobs here, finished or not."""
        return self._used_bytes

    def unfinished(self) -> list[BlobName]:
        """Names of the blobs that still come in, or whose sender never came back."""
        with DiskFaults(self._folder):
            return sorted(BlobName(part.stem) for part in self._folder.glob("*.part"))

    def stored(self, name: BlobName) -> int:
        """Bytes here, that is the offset at which to resume; the full size once finished."""
        whole = self._whole(name)
        for place in (whole, f"{whole}.part"):
            size = _size(place)
            if size is not None:
                return size
        return 0

    def finished(self, name: BlobName) -> bool:
        """Whether the blob is complete, checked and durable."""
        return _size(self._whole(name)) is not None

    def write(self, name: BlobName, offset: int, chunk: bytes | memoryview) -> None:
        """Append a chunk at exactly the stored offset: all of it or nothing."""
        self._require_room(offset + len(chunk))
        with self.writing(name, offset) as writer:
            writer.write(offset, [chunk])

    @contextmanager
    def writing(self, name: BlobName, offset: int) -> Iterator[BlobWriter]:
        """An unfinished blob, or a new one, open for several writes in a row from `offset` on.

        Raises: Malformed, Unavailable; WrongOffset when the blob is finished.
        """
        whole, part = self._places(name)
        if (size := _size(whole)) is not None:
            raise WrongOffset(size, offset)
        with DiskFaults(part):
            writer = BlobWriter(self, part, _open_part(part, os.O_CREAT))
        try:
            yield writer
        finally:
            writer.close()

    def finish(self, name: BlobName, check: BlobCheck | None = None) -> None:
        """Check the whole file against its name and make it durable; again changes nothing."""
        whole, part = self._places(name)
        if _size(whole) is not None:
            with DiskFaults(self._folder):
                sync_folder(self._folder)  # the call before may have failed at just this
            return
        with DiskFaults(part), ExitStack() as open_file:
            descriptor = _open_part(part, 0)
            open_file.callback(os.close, descriptor)
            size = open_file.enter_context(_locked(descriptor, part))
            try:
                _check(part, name, check)
            except Forged:
                part.unlink()
                self._charge(-size)
                raise
            self._hook("checked")
            os.fsync(descriptor)
            # Die before the rename: the part is complete, and `finish` is called again.
            part.rename(whole)
            self._hook("renamed")
            sync_folder(self._folder)

    def read(self, name: BlobName, start: int, stop: int) -> bytes:
        """Bytes start..stop-1 of a finished blob. Raises Malformed for a range outside it."""
        place = self.path(name)
        with DiskFaults(place):
            descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                size = os.fstat(descriptor).st_size
                if not 0 <= start <= stop <= size:
                    raise Malformed(f"bytes {start} to {stop} of a blob of {size} bytes")
                found = os.pread(descriptor, stop - start, start)
            finally:
                os.close(descriptor)
        if len(found) != stop - start:
            raise Unavailable("the blob was cut short while it was read; try again")
        return found

    def path(self, name: BlobName) -> Path:
        """The file of a finished blob, to stream from; never written to. Raises Unavailable."""
        whole = self._whole(name)
        if _size(whole) is None:
            raise Unavailable(f"blob {name} is not here; fetch it from another member")
        return Path(whole)

    def drop(self, name: BlobName) -> None:
        """Forget the blob, finished or not; durable; again changes nothing."""
        for place in self._places(name):
            with DiskFaults(place):
                size = _size(place)
                if size is not None:
                    place.unlink()
                    self._charge(-size)
        self._hook("dropped")
        with DiskFaults(self._folder):
            sync_folder(self._folder)

    def give_up(self, name: BlobName, target: Path) -> None:
        """Move a finished blob out, to be used for something else. Raises Unavailable."""
        whole = self.path(name)
        with DiskFaults(whole):
            size = whole.stat().st_size
            whole.rename(target)
            self._charge(-size)

    def adopt(self, source: Path, name: BlobName, check: BlobCheck | None = None) -> None:
        """Move a complete local file in; checked and durable as by `finish`."""
        whole, part = self._places(name)
        size = _size(source)
        if size is None:
            if _size(whole) is not None:
                self.finish(name)  # moved in before a crash
                return
            raise Unavailable(f"{source} is no regular file; write it first")
        if size > self._blob_bytes_max:
            raise Malformed(f"a blob holds at most {self._blob_bytes_max} bytes, this one {size}")
        with DiskFaults(source):
            _check(source, name, check)
            self._hook("checked")
            self._charge(size)
            replaced = _size(whole) or 0
            try:
                _move_durably(source, whole)
            except BaseException:
                self._charge(-size)
                raise
            self._charge(-replaced)
            self._hook("renamed")
            sync_folder(self._folder)
            left_over = _size(part)
            if left_over is not None:
                part.unlink()
                self._charge(-left_over)

    def _places(self, name: BlobName) -> tuple[Path, Path]:
        """The file when finished, and before. No other text than a digest becomes a path."""
        whole = self._whole(name)
        return Path(whole), Path(f"{whole}.part")

    def _whole(self, name: BlobName) -> str:
        # As text: a path object costs several times what the look at the disk does.
        if not is_digest(name):
            raise Malformed("a blob's name is 64 lower-case hex digits")
        return f"{self._folder_text}/{name}"

    def _charge(self, count: int) -> None:
        with self._turn:
            if count > 0 and self._used_bytes + count > self._quota_bytes:
                raise Unavailable(
                    f"the blob folder may hold {self._quota_bytes} bytes and is full;"
                    " drop blobs or raise the quota"
                )
            self._used_bytes += count

    def _append(
        self, descriptor: int, part: Path, offset: int, chunks: Sequence[bytes | memoryview]
    ) -> None:
        """Add the chunks at the end of a part, which must be at `offset`: all or nothing."""
        count = sum(map(len, chunks))
        self._require_room(offset + count)
        with DiskFaults(part), _locked(descriptor, part) as stored:
            if offset != stored:
                raise WrongOffset(stored, offset)
            self._charge(count)
            try:
                _write_all(descriptor, chunks, offset)
                self._hook("written")
            except BaseException:
                os.ftruncate(descriptor, offset)
                self._charge(-count)
                raise

    def _require_room(self, end: int) -> None:
        if end > self._blob_bytes_max:
            raise Malformed(f"a blob holds at most {self._blob_bytes_max} bytes, this one {end}")


@final
class BlobWriter:
    """One unfinished blob, open for a sender's chunks; from `FileBlobStore.writing`.

    It locks the blob only while it writes: a sender that stops in the middle keeps nobody out. May
    be closed while another thread writes, which then ends first.
    """

    def __init__(self, store: FileBlobStore, part: Path, descriptor: int) -> None:
        self._store, self._part = store, part
        self._descriptor: int | None = descriptor
        self._turn = threading.Lock()

    def write(self, offset: int, chunks: Sequence[bytes | memoryview]) -> None:
        """Append chunks at exactly the stored offset: all of them or nothing.

        Raises: as `BlobStore.write`.
        """
        with self._turn:
            if self._descriptor is None:
                raise Unavailable("this upload was broken off; ask what is stored")
            self._store._append(self._descriptor, self._part, offset, chunks)

    def close(self) -> None:
        """Give the file back; again changes nothing."""
        with self._turn:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                os.close(descriptor)


def _open_part(part: Path, flags: int) -> int:
    try:
        return os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
    except FileNotFoundError:
        raise Unavailable("nothing of this blob is here; send it from byte 0") from None


@contextmanager
def _locked(descriptor: int, part: Path) -> Iterator[int]:
    """Lock an open part against every other writer, of this process or another; gives its size."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Unavailable("another sender is writing this blob; try again") from None
    try:
        found = os.fstat(descriptor)
        # Between open and lock another writer may have finished or dropped this very file.
        if not _is_at(part, found):
            raise Unavailable("the blob was finished or dropped meanwhile; ask what is stored")
        yield found.st_size
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _is_at(part: Path, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(found, os.lstat(part))
    except FileNotFoundError:
        return False


def _size(place: Path | str) -> int | None:
    """Bytes of a regular file; None when there is none. A link is none."""
    try:
        found = os.lstat(place)
    except FileNotFoundError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _check(place: Path, name: BlobName, check: BlobCheck | None) -> None:
    if check is not None:
        check(place)
        return
    with place.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not same_bytes(digest.encode(), name.encode()):
        raise Forged(f"the bytes have SHA-256 {digest}, their name is {name}; send them again")


def _write_all(descriptor: int, chunks: Sequence[bytes | memoryview], offset: int) -> None:
    rest = [memoryview(chunk).cast("B") for chunk in chunks if len(chunk)]
    while rest:
        count = os.pwritev(descriptor, rest[:_CHUNKS_PER_WRITE], offset)
        offset += count
        while rest and count >= len(rest[0]):
            count -= len(rest.pop(0))
        if count:
            rest[0] = rest[0][count:]


def _move_durably(source: Path, whole: Path) -> None:
    """Rename; from another file system: copy beside the target first, so that it appears whole."""
    with source.open("rb") as file:
        os.fsync(file.fileno())
        if source.stat().st_dev == whole.parent.stat().st_dev:
            source.rename(whole)
            sync_folder(source.parent)
            return
        beside = whole.with_name(f"{whole.name}.moving")
        with beside.open("wb") as copy:
            shutil.copyfileobj(file, copy, BLOB_CHUNK_BYTES)
            copy.flush()
            os.fsync(copy.fileno())
    beside.rename(whole)
    source.unlink()
