"""Bulk bytes on their way in: hashed while they stream, so that finishing reads nothing again.

Decided here: what one upload is and how big it must be. An upload that was cut, or that began
before a restart, goes on at its last byte; its hash is then made from the file, once.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, final

from comity.host.sums import VectorHash, require_name, vector_check
from comity.storage.blobs import BlobWriter, FileBlobStore
from comity.storage.ports import BlobCheck
from comity.values import BlobName, Digest, MemberId, Seat

HASHES_MAX: Final = 512
"""Uploads hashed on the way at one time; more are hashed from their files."""


class RunningHash(Protocol):
    """A name in the making. count: bytes taken."""

    count: int

    def take(self, piece: memoryview) -> None:
        """Take the next bytes; never more than the whole has."""
        ...

    def name(self) -> Digest:
        """The name of all bytes taken."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Upload:
    """Where a blob goes, how many bytes it has in all, and how its name comes from its bytes.

    scope: what tells uploads of one name apart: who sends a blob; a vector's attempt and seat.
    check: None for SHA-256.
    """

    name: BlobName
    size: int
    store: FileBlobStore
    scope: str
    new_hash: Callable[[], RunningHash]
    check: BlobCheck | None


@final
class Sha256Hash:
    """SHA-256 as a `RunningHash`."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.count = 0

    def take(self, piece: memoryview) -> None:
        """Take the next bytes."""
        self._hash.update(piece)
        self.count += len(piece)

    def name(self) -> Digest:
        """The digest of all bytes taken."""
        return Digest(self._hash.hexdigest())


def blob_upload(name: BlobName, size: int, store: FileBlobStore, member: MemberId) -> Upload:
    """An upload named by the SHA-256 of its bytes."""
    return Upload(name, size, store, member, Sha256Hash, None)


def vector_upload(
    name: BlobName, store: FileBlobStore, *, binding: Digest, seat: Seat, words: int
) -> Upload:
    """An upload of the seat's masked vector, named by its root."""
    return Upload(
        name,
        4 * words,
        store,
        f"{binding}/{seat}",
        lambda: VectorHash(binding, seat, words),
        vector_check(binding, seat, words, name),
    )


@final
@dataclass(slots=True)
class _Hashing:
    turn: threading.Lock = field(default_factory=threading.Lock)
    running: RunningHash | None = None


@final
@dataclass(frozen=True, slots=True)
class Writing:
    """One request's bytes of an upload, on their way to its file and its hash."""

    upload: Upload
    hashing: _Hashing
    writer: BlobWriter

    def take(self, offset: int, pieces: Sequence[bytes | memoryview]) -> None:
        """Store pieces at exactly the end of what is there, and hash them.

        Raises: as `BlobStore.write`.
        """
        hashing = self.hashing
        with hashing.turn:
            if offset == 0:
                hashing.running = self.upload.new_hash()
            self.writer.write(offset, pieces)
            running = hashing.running
            if running is not None and running.count == offset:
                for piece in pieces:
                    running.take(memoryview(piece))


@final
class Uploads:
    """Uploads under way; used from any thread."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._hashing: OrderedDict[tuple[str, BlobName], _Hashing] = OrderedDict()

    def write(self, upload: Upload, offset: int, piece: bytes | memoryview) -> None:
        """Store one piece at exactly the end of what is there, and hash it.

        Raises: as `BlobStore.write`.
        """
        with self.writing(upload, offset) as writing:
            writing.take(offset, [piece])

    @contextmanager
    def writing(self, upload: Upload, offset: int) -> Iterator[Writing]:
        """Take an upload's bytes from `offset` on, in several pieces.

        Raises: as `FileBlobStore.writing`.
        """
        with upload.store.writing(upload.name, offset) as writer:
            yield Writing(upload, self._of(upload), writer)

    def finish(self, upload: Upload) -> None:
        """Check the whole and make it durable. Raises: as `BlobStore.finish`."""
        hashing = self._of(upload)
        with hashing.turn:
            running, hashing.running = hashing.running, None
            check = upload.check
            if running is not None and running.count == upload.size:
                check = _is_named(running.name(), upload.name)
            try:
                upload.store.finish(upload.name, check)
            finally:
                with self._turn:
                    self._hashing.pop((upload.scope, upload.name), None)

    def _of(self, upload: Upload) -> _Hashing:
        place = (upload.scope, upload.name)
        with self._turn:
            hashing = self._hashing.setdefault(place, _Hashing())
            self._hashing.move_to_end(place)
            if len(self._hashing) > HASHES_MAX:
                self._hashing.popitem(last=False)
            return hashing


def stored_of(upload: Upload) -> tuple[int, bool]:
    """Bytes here, and whether the blob is complete and checked."""
    finished = upload.store.finished(upload.name)
    return upload.store.stored(upload.name), finished


def _is_named(computed: Digest, name: BlobName) -> BlobCheck:
    def check(_: Path) -> None:
        require_name(computed, name)

    return check
