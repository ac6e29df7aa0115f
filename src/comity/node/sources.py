"""What a `Remote` sends and how it checks what it fetched: bytes of this machine, no network."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from comity.errors import Forged, Malformed, Unavailable
from comity.storage.ports import BlobCheck
from comity.values import STATEMENTS_PER_REQUEST_MAX, BlobName, StatementId, same_bytes, u16

POST_BYTES_MAX: Final = 256 * 1024
"""Most bytes of statements in one request; the host takes no more."""


def in_requests(envelopes: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Batches that the host takes in one request."""
    batch: list[bytes] = []
    size = 0
    for envelope in envelopes:
        full = size + len(envelope) + 1 > POST_BYTES_MAX
        if batch and (full or len(batch) == STATEMENTS_PER_REQUEST_MAX):
            yield batch
            batch, size = [], 0
        batch.append(envelope)
        size += len(envelope) + 1
    if batch:
        yield batch


@contextmanager
def opened_source(source: Path | bytes) -> Iterator[tuple[int, Callable[[int, int], bytes]]]:
    """Size of the source, and a function that reads `count` bytes at an offset of it."""
    if isinstance(source, bytes):
        yield len(source), lambda offset, count: source[offset : offset + count]
        return
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"cannot read {source} ({error.strerror})") from error
    try:
        yield (
            os.fstat(descriptor).st_size,
            lambda offset, count: os.pread(descriptor, count, offset),
        )
    finally:
        os.close(descriptor)


def sha256_is(name: BlobName) -> BlobCheck:
    """Raises Forged when a file's SHA-256 is not the name."""

    def check(path: Path) -> None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if not same_bytes(digest.encode(), name.encode()):
            raise Forged(f"the bytes have SHA-256 {digest}, their name is {name}")

    return check


def place_of(name: BlobName, vector_of: StatementId | None) -> tuple[str, dict[str, str]]:
    """Path and query of a blob, or of a vector in its attempt."""
    if vector_of is None:
        return f"/blobs/{name}", {}
    return f"/vectors/{name}", {"opened": vector_of}


def text_of(raw: bytes) -> str:
    """A note or a line of it as text. Raises Malformed."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Malformed("a note and its lines are UTF-8") from None


def cut_evenly(pieces: Iterable[bytes], bytes_each: int) -> Iterator[bytes]:
    """The same bytes in pieces of one size; what is left over at the end is not given."""
    come = bytearray()
    for piece in pieces:
        come += piece
        while len(come) >= bytes_each:
            yield bytes(come[:bytes_each])
            del come[:bytes_each]


def cut_to(sizes: Sequence[int], pieces: Iterator[bytes]) -> Iterator[memoryview]:
    """The same bytes in pieces of these sizes, in one buffer that is used again and again."""
    room = memoryview(bytearray(max(sizes, default=0)))
    rest = memoryview(b"")
    for count in sizes:
        filled = 0
        while filled < count:
            if not rest:
                rest = memoryview(next(pieces))
            taken = min(len(rest), count - filled)
            room[filled : filled + taken] = rest[:taken]
            filled, rest = filled + taken, rest[taken:]
        yield room[:count]


def tail_body(note: bytes, start: int, leaves: Sequence[bytes]) -> bytes:
    """A head and the entries from `start` up to it, as a host takes them."""
    line = {"note": text_of(note), "from": start, "count": len(leaves)}
    parts = [part for leaf in leaves for part in (u16(len(leaf)), leaf)]
    return b"".join((msgspec.json.encode(line), b"\n", *parts))
