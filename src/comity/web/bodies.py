"""Reading requests and sending files under limits: how much, how long, in which coding.

A sender that stops is cut off; what it sent of a blob stays, and the next try goes on there.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from comity.errors import Malformed, Unavailable
from comity.values import Digest, to_digest

HANG_UP: Final = "comity.hang-up"
"""The extension in which the server leaves the function that ends a connection."""

QUERY_BYTES_MAX: Final = 512
ROOM_BYTES: Final = 2 * 2**20
PIECE_BYTES_LEAST: Final = 64 * 2**10
_PIECE: Final = 2**19
_PARTS_MAX: Final = 128
_HELD_S: Final = 0.1
"""How long bytes that come slowly wait for more, before they are written."""


class TooLarge(Malformed):
    """More than a limit allows; nothing of it is kept."""


class WrongCoding(Malformed):
    """A body that is compressed: it may grow without limit."""


class TokenMissing(Unavailable):
    """No token, or one that is not known (any more)."""


class NotHere(Unavailable):
    """Nothing of this name, or at this address, is here."""


@final
@dataclass(frozen=True, slots=True)
class Times:
    """How long a peer may take. silence_s: between two reads or writes; body_s: for a whole small
    body; head_s: for the head of a request."""

    silence_s: float = 30.0
    body_s: float = 20.0
    head_s: float = 20.0


def check_coding(request: Request) -> None:
    """Refuse a compressed body."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise WrongCoding("send the body as it is, without a content-encoding")


async def read_body(request: Request, bytes_max: int, times: Times) -> bytes:
    """A small body, whole.

    Raises:
        TooLarge, WrongCoding. TimeoutError: it takes too long. ClientDisconnect.
    """
    check_coding(request)
    announced = request.headers.get("content-length", "0")
    if not announced.isascii() or not announced.isdigit():
        raise Malformed("content-length is a number")
    if len(announced) > 12 or int(announced) > bytes_max:
        raise TooLarge(f"a body here has at most {bytes_max} bytes")
    taken = bytearray()
    async with asyncio.timeout(times.body_s):
        async for piece in request.stream():
            taken += piece
            if len(taken) > bytes_max:
                raise TooLarge(f"a body here has at most {bytes_max} bytes")
    return bytes(taken)


@final
class Room:
    """How much memory the bulk bytes on their way in and out may take together.

    The more transfers are under way, the smaller are the pieces in which each is moved, so that
    memory does not grow with the number of members. Nobody waits for room: one who stops in the
    middle slows others a little, and holds nobody up. Only for the event loop's thread.
    """

    def __init__(self) -> None:
        self._count = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count a transfer as under way until the block ends."""
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    def piece_bytes(self) -> int:
        """How many bytes of one transfer may be held now."""
        return max(PIECE_BYTES_LEAST, min(_PIECE, ROOM_BYTES // max(self._count, 1)))


async def pieces_of(request: Request, room: Room, times: Times) -> AsyncIterator[list[bytes]]:
    """The body as it comes, gathered into lists of about as many bytes as there is room for.

    What came before a cut is still given; then ClientDisconnect or TimeoutError is raised.
    """
    held: list[bytes] = []
    held_bytes, held_since_s = 0, 0.0
    cut: Exception | None = None
    stream = aiter(request.stream())
    while cut is None:
        try:
            async with asyncio.timeout(times.silence_s):
                come = await anext(stream)
        except StopAsyncIteration:
            break
        except (ClientDisconnect, TimeoutError) as error:
            cut = error
            break
        now_s = time.monotonic()
        if not held:
            held_since_s = now_s
        held.append(come)
        held_bytes += len(come)
        # Tiny parts take far more memory than they have bytes: their number is limited too. And
        # what comes slowly goes to the disk soon: a host that is killed has less of it to ask for.
        full = held_bytes >= room.piece_bytes() or len(held) >= _PARTS_MAX
        if full or now_s - held_since_s >= _HELD_S:
            yield held
            held, held_bytes = [], 0
    if held_bytes:
        yield held
    if cut is not None:
        raise cut


def query_of(request: Request) -> dict[str, str]:
    """The query's parameters as they stand: nothing in them needs an escape, none comes twice.

    Raises:
        Malformed.
    """
    query: bytes = request.scope["query_string"]
    if len(query) > QUERY_BYTES_MAX:
        raise TooLarge(f"a query has at most {QUERY_BYTES_MAX} bytes")
    found: dict[str, str] = {}
    for part in query.decode("latin-1").split("&") if query else ():
        name, _, value = part.partition("=")
        if name in found:
            raise Malformed("each parameter of a query is said once")
        found[name] = value
    return found


def numbers(request: Request, *texts: str, **limits: int | tuple[str, int]) -> dict[str, int]:
    """The query's numbers by name: known names only, each once, plain decimals up to its limit.

    Args:
        texts: names of parameters that are no numbers and are read elsewhere.
        limits: largest value by name, or (name, largest value) where the name is a Python keyword.
    Raises:
        Malformed.
    """
    largest = dict(
        limit if isinstance(limit, tuple) else (name, limit) for name, limit in limits.items()
    )
    found: dict[str, int] = {}
    for name, text in query_of(request).items():
        if name in texts:
            continue
        plain = text.isascii() and text.isdigit() and len(text) <= 16
        if name not in largest or not plain or int(text) > largest[name]:
            raise Malformed(f"the query takes {', '.join([*texts, *largest]) or 'nothing'}")
        found[name] = int(text)
    if "from" in largest and "from" not in found:
        raise Malformed("the query says from which entry on")
    return found


@final
class FileRange(Response):
    """Bytes start..stop-1 of a file, a piece at a time; a reader that stops taking is cut off."""

    def __init__(
        self,
        path: Path,
        start: int,
        stop: int,
        *,
        threads: ThreadPoolExecutor,
        room: Room,
        times: Times,
    ) -> None:
        super().__init__(headers={"content-length": str(stop - start)})
        self.media_type = "application/octet-stream"
        self._path, self._start, self._stop = path, start, stop
        self._threads, self._room, self._times = threads, room, times

    def digest(self) -> tuple[int, Digest]:
        """How many bytes, and their SHA-256; reads them."""
        digest, count = hashlib.sha256(), 0
        with self._path.open("rb", buffering=0) as file:
            file.seek(self._start)
            while count < self._stop - self._start:
                piece = file.read(min(_PIECE, self._stop - self._start - count))
                if not piece:
                    break
                digest.update(piece)
                count += len(piece)
        return count, to_digest(digest.digest())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(head)
            at = self._start
            with self._room.one():
                while at < self._stop:
                    count = min(self._room.piece_bytes(), self._stop - at)
                    piece = await loop.run_in_executor(
                        self._threads, os.pread, descriptor, count, at
                    )
                    if not piece:
                        break  # cut short on disk: the reader sees too few bytes and asks again
                    at += len(piece)
                    message = {"type": "http.response.body", "body": piece, "more_body": True}
                    async with asyncio.timeout(self._times.silence_s):
                        await send(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            os.close(descriptor)


@final
class Silence(Response):
    """No answer at all: the server hangs up."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"][HANG_UP]["cut"]()
        while (await receive())["type"] != "http.disconnect":
            pass


@final
class FileRow(Response):
    """Whole files of one size, one after the other, as many at a time as there is room for."""

    def __init__(
        self,
        paths: Sequence[Path],
        bytes_each: int,
        *,
        threads: ThreadPoolExecutor,
        room: Room,
        times: Times,
    ) -> None:
        super().__init__(headers={"content-length": str(len(paths) * bytes_each)})
        self.media_type = "application/octet-stream"
        self._paths, self._bytes_each = paths, bytes_each
        self._threads, self._room, self._times = threads, room, times

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        at = 0
        with self._room.one():
            while at < len(self._paths):
                count = max(1, self._room.piece_bytes() // self._bytes_each)
                some = self._paths[at : at + count]
                piece = await loop.run_in_executor(self._threads, _joined, some)
                if len(piece) != len(some) * self._bytes_each:
                    break  # cut short on disk: the reader sees too few bytes
                at += len(some)
                message = {"type": "http.response.body", "body": piece, "more_body": True}
                async with asyncio.timeout(self._times.silence_s):
                    await send(message)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _joined(paths: Sequence[Path]) -> bytes:
    return b"".join(path.read_bytes() for path in paths)
