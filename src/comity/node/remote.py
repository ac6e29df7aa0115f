"""One peer over HTTP: send statements, follow the log, move blobs in pieces that survive cuts.

The other side is trusted with nothing: every answer has a size limit and a time limit, is never
decompressed, and is parsed strictly; whether entries, heads and bytes are what they should be is
checked by whoever asked. What comes back wrong is `Malformed`; what does not come back, or comes
back cut, is `Unavailable` and is tried again, with a limit and growing pauses. Every request may be
repeated: the host answers a statement it has with the same index. Source: architecture.md 1.8.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comity.errors import Forged, Malformed, Unavailable
from comity.node.answers import (
    Batch,
    HostStatus,
    Posted,
    PublishedHead,
    Stored,
    Sum,
    SumInfo,
    parse,
    read_batch,
    read_posted,
)
from comity.node.clients import FROM_NO_SITE, Connect
from comity.node.http_client import Answer, Limits, TokenUnknown, WrongOffset
from comity.node.sources import (
    cut_evenly,
    cut_to,
    in_requests,
    opened_source,
    place_of,
    sha256_is,
    tail_body,
    text_of,
)
from comity.node.tokens import Tokens
from comity.statements.readers import ask_to_read
from comity.storage.ports import BlobCheck
from comity.values import (
    BLOB_BYTES_MAX,
    BlobName,
    CommonsId,
    MemberId,
    PlainHttp,
    StatementId,
    same_bytes,
)

PIECE_BYTES: Final = 4 * 2**20
"""Bytes of a blob in one request, unless fewer are left."""

_PIECE_BYTES_LEAST: Final = 64 * 2**10
_AT_ONCE_BYTES: Final = 256 * 2**10
"""A blob up to this size is sent without asking first whether the host has some of it."""

_ANSWER_MAX: Final = 1_048_576
_TWICE: Final = 2  # for what the caller keeps and sends again: it has other things to do
_ENTRIES_BYTES_MAX: Final = 16 * 2**20
_DOWNLOAD_BYTES: Final = 64 * 2**20

__all__ = ["Batch", "HostStatus", "Limits", "Posted", "PublishedHead", "Remote", "SumInfo"]


@final
class Remote:
    """One peer, asked in the name of one member. May be used from several threads.

    Args:
        url: "http://127.0.0.1:8440" or "https://host.example", without a path.
        member: in whose name. commons: which commons.
        statement_key: proves that; signs requests to read, no more. other_keys: old, or coming.
        clock: POSIX seconds by this machine's clock.
        tls: for https; None takes the system's authorities. On purpose: http to other machines.
        proxy: URL of the institution's proxy, if it has one.
        limits: time limits and number of tries. connect: makes the client.
    Raises:
        Misconfigured: not such a URL.
    """

    def __init__(
        self,
        url: str,
        member: MemberId,
        *,
        statement_key: Ed25519PrivateKey,
        commons: CommonsId,
        other_keys: Sequence[Ed25519PrivateKey] = (),
        clock: Callable[[], int] = lambda: int(time.time()),
        tls: ssl.SSLContext | PlainHttp | None = None,
        proxy: str | None = None,
        limits: Limits | None = None,
        connect: Connect = FROM_NO_SITE,
    ) -> None:
        self._client = connect(url, tls=tls, proxy=proxy, limits=limits or Limits())
        self.url = url
        self._member, self._clock = member, clock

        def request(key: Ed25519PrivateKey) -> bytes:
            return ask_to_read(commons, member, time_s=self._clock(), statement_key=key)

        keys = (statement_key, *other_keys)
        self._tokens = Tokens(self._client, [partial(request, key) for key in keys])

    def __repr__(self) -> str:
        return f"Remote({self._client.url!r}, {self._member!r})"

    def close(self) -> None:
        """Close every connection and end every pause; later calls raise Unavailable."""
        self._client.close()

    def status(self, tries: int | None = None) -> HostStatus:
        """What the host tells anybody, asked so often. Raises Malformed or Unavailable."""
        answer = self._client.ask("GET", "/status", bytes_max=_ANSWER_MAX, tries=tries)
        return parse(answer.body, HostStatus)

    def post_statements(self, envelopes: Sequence[bytes]) -> list[Posted]:
        """Send statements in this order, one answer each; needs no token (they are signed).

        Raises:
            Malformed: the host's answer is none. Unavailable: no answer after several tries.
        """
        answers: list[Posted] = []
        for batch in in_requests(envelopes):
            said = b"\n".join(batch)
            answer = self._client.ask(
                "POST", "/statements", body=said, bytes_max=_ANSWER_MAX, tries=_TWICE
            )
            answers += read_posted(answer.body, len(batch))
        return answers

    def entries(
        self, start: int, version: int = 0, wait_s: int = 0, *, proposed: bool = False
    ) -> Batch:
        """Entries from index `start` on, and the newest heads.

        The host answers at once when its log is longer than `start` or something was cosigned since
        `version`; otherwise when that happens, at the latest after `wait_s` (0 to 25) seconds.

        Args:
            proposed: at once, and with what a candidate proposes above its newest head.
        Raises:
            Malformed, Unavailable. Refused(CLOCK_APART, UNKNOWN_AUTHOR): it lets us not read.
        """
        query = {"from": str(start), "version": str(version), "wait_s": str(wait_s)}
        if proposed:
            query["proposed"] = "1"
        answer = self._ask(
            "GET", "/entries", query=query, bytes_max=_ENTRIES_BYTES_MAX, extra_s=wait_s
        )
        return read_batch(answer.body, start)

    def post_cosignature(self, size: int, line: bytes, note: bytes | None = None) -> None:
        """Hand in a cosignature line of the head of that size.

        Args:
            note: the head as the host signed it: shows a host that was restored from a backup that
                it has signed more than it remembers.
        Raises:
            Forged: it does not fit that head. Refused(HEAD_UNKNOWN): no such head is there.
            Malformed, Unavailable.
        """
        said: dict[str, int | str] = {"size": size, "line": text_of(line)}
        if note is not None:
            said["note"] = text_of(note)
        body = msgspec.json.encode(said)
        self._ask("POST", "/cosignatures", body=body, bytes_max=_ANSWER_MAX, tries=_TWICE)

    def post_tail(self, note: bytes, start: int, leaves: Sequence[bytes]) -> None:
        """Hand in what this member holds beyond the peer's log, and the head over it.

        Raises:
            Malformed, Forged, Refused: it takes it not. Unavailable.
        """
        self._ask("POST", "/tails", body=tail_body(note, start, leaves), bytes_max=_ANSWER_MAX)

    def stored(self, name: BlobName, vector_of: StatementId | None = None) -> tuple[int, bool]:
        """How many bytes of a blob the host has, and whether it is complete and checked."""
        path, query = place_of(name, vector_of)
        answer = self._ask("HEAD", path, query=query, bytes_max=0)
        try:
            stored = int(answer.headers["x-comity-stored"])
            finished = {"true": True, "false": False}[answer.headers["x-comity-finished"]]
        except (KeyError, ValueError):
            raise Malformed("the host did not say how much of the blob it has") from None
        if not 0 <= stored <= BLOB_BYTES_MAX:
            raise Malformed("the host says it has a blob beyond the size limit")
        return stored, finished

    def put_blob(
        self, name: BlobName, source: Path | bytes, *, vector_of: StatementId | None = None
    ) -> None:
        """Send a blob in pieces, going on where an earlier try was cut; returns once it is checked.

        Args:
            vector_of: H_open, when it is my masked vector of that attempt.
        Raises:
            Forged: the bytes do not fit the name. Refused: not now, or not by this member.
            Malformed, Unavailable (also when the source cannot be read).
        """
        path, query = place_of(name, vector_of)
        with opened_source(source) as (size, read):
            # Small ones go at once; else one question may save a piece.
            at_once = size <= _AT_ONCE_BYTES
            offset, finished = (0, False) if at_once else self.stored(name, vector_of)
            tries, count = 0, PIECE_BYTES
            while not finished:
                if offset > size:
                    raise Malformed(f"the host has {offset} bytes of a blob of {size}")
                piece = read(offset, min(count, size - offset))
                try:
                    answer = self._ask(
                        "PUT",
                        path,
                        query=query | {"offset": str(offset), "size": str(size)},
                        body=piece,
                        bytes_max=_ANSWER_MAX,
                        tries=1,
                    )
                    taken = parse(answer.body, Stored)
                    reached, finished = taken.stored, taken.finished
                    if not finished and reached != offset + len(piece):
                        raise Malformed("the host took another number of bytes than it was sent")
                except WrongOffset as error:
                    tries += 1
                    self._client.pause_or_raise(tries, error)
                    reached = error.stored
                except Unavailable as error:
                    tries += 1
                    self._client.pause_or_raise(tries, error)
                    reached, finished = self.stored(name, vector_of)
                if reached > offset:
                    tries = 0
                elif not finished:
                    # A proxy that passes on whole requests only, and is cut before one is whole.
                    count = max(_PIECE_BYTES_LEAST, count // 2)
                offset = reached

    def get_blob(
        self,
        name: BlobName,
        to_path: Path,
        check: BlobCheck | None = None,
        *,
        bytes_max: int = BLOB_BYTES_MAX,
        bytes_count: int | None = None,
    ) -> None:
        """Fetch a blob to a file, going on where `to_path`.part ends; it appears once checked.

        Not durable on return: `BlobStore.adopt` makes it so.

        Args:
            bytes_count: its length, when that is known; otherwise the host is asked first.
            check: raises Forged when the file does not fit; by default its SHA-256 is the name.
        Raises:
            Forged: it does not fit; what came is deleted. Malformed: longer than `bytes_max`.
            Unavailable: the host has it not, the network or our disk fails.
        """
        size = self._size_there(name, bytes_max) if bytes_count is None else bytes_count
        part = to_path.with_name(to_path.name + ".part")
        try:
            while True:
                with part.open("ab") as file:
                    if file.tell() > size:
                        file.truncate(0)
                    resumed = os.fstat(file.fileno()).st_size
                    for piece in self._download(name, resumed, size):
                        file.write(piece)
                try:
                    (check or sha256_is(name))(part)
                    break
                except Forged:
                    part.unlink()
                    # What an earlier try left here may have been torn by a power cut: that is
                    # not the host's fault, so the whole comes once more.
                    if not resumed:
                        raise
            part.rename(to_path)
        except OSError as error:
            raise Unavailable(f"cannot write {to_path} ({error.strerror}); free space") from error

    def small_blob(self, name: BlobName, size: int) -> bytes:
        """A blob of exactly `size` bytes, in memory, named by its SHA-256.

        Raises:
            Forged: other bytes. Malformed: another length. Unavailable: the host has it not.
        """
        content = b"".join(self._download(name, 0, size))
        digest = hashlib.sha256(content).hexdigest()
        if not same_bytes(digest.encode(), name.encode()):
            raise Forged(f"the bytes have SHA-256 {digest}, their name is {name}")
        return content

    def dealings(self, opened: StatementId, count: int, bytes_each: int) -> Iterator[bytes]:
        """The join blobs of an attempt, by seat, unchecked; asked for once, not again.

        Args:
            count: of joins in the log.
        Raises:
            Malformed: not so many bytes. Refused(PHASE_NOT_OPEN): members still join. Unavailable.
        """
        path, token = f"/dealings/{opened}", self._tokens.now()
        pieces = self._client.stream(path, query={}, count=count * bytes_each, token=token)
        return cut_evenly(pieces, bytes_each)

    def read_chunks(
        self, name: BlobName, sizes: Iterable[int], *, first: int = 0
    ) -> Iterator[memoryview]:
        """The bytes of a blob, cut into pieces of these sizes, unchecked.

        One buffer is used again and again: a piece is good until the next one is asked for.

        Args:
            first: how many of these pieces came before, and are not asked for again.
        Raises:
            Malformed: the blob is not as long as the pieces together. Unavailable.
        """
        wanted = list(sizes)
        size = self._size_there(name, BLOB_BYTES_MAX)
        if size != sum(wanted):
            raise Malformed(f"expected a blob of {sum(wanted)} bytes, the host has {size}")
        return cut_to(wanted[first:], self._download(name, sum(wanted[:first]), size))

    def sum_root(self, opened: StatementId) -> SumInfo:
        """Name and size of the attempt's sum, once committing is closed and all is added.

        Raises:
            Refused(PHASE_NOT_OPEN): not yet. Unavailable: still adding after several tries.
        """
        answer = self._ask("GET", f"/sums/{opened}", bytes_max=_ANSWER_MAX, extra_s=30)
        said = parse(answer.body, Sum)
        return SumInfo(said.root, said.size)

    def _size_there(self, name: BlobName, bytes_max: int) -> int:
        size, finished = self.stored(name)
        if not finished:
            raise Unavailable(f"the host does not have blob {name}; ask again later")
        if size > bytes_max:
            raise Malformed(f"the host's blob has {size} bytes, at most {bytes_max} are expected")
        return size

    def _download(self, name: BlobName, start: int, size: int) -> Iterator[bytes]:
        """Pieces of bytes start..size-1; goes on after a cut, in requests of bounded length."""
        at, tries = start, 0
        while at < size:
            stop = min(size, at + _DOWNLOAD_BYTES)
            query = {"start": str(at), "stop": str(stop)}
            try:
                for piece in self._client.stream(
                    f"/blobs/{name}", query=query, count=stop - at, token=self._tokens.now()
                ):
                    at, tries = at + len(piece), 0
                    yield piece
            except TokenUnknown as error:
                tries += 1
                self._tokens.forget_or_raise(tries, error)
            except Unavailable as error:
                tries += 1
                self._client.pause_or_raise(tries, error)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        bytes_max: int,
        query: dict[str, str] | None = None,
        body: bytes | memoryview = b"",
        extra_s: int = 0,
        tries: int | None = None,
    ) -> Answer:
        """Ask with a token; with a new one when the host does not know it any more."""
        tried = 0
        while True:
            try:
                return self._client.ask(
                    method,
                    path,
                    query=query,
                    body=body,
                    bytes_max=bytes_max,
                    extra_s=extra_s,
                    tries=tries,
                    token=self._tokens.now(),
                )
            except TokenUnknown as error:
                tried += 1
                self._tokens.forget_or_raise(tried, error)
