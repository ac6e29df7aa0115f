"""Reading requests and sending files under limits: how much, how long, in which coding.

A sender that stops is cut off; what it sent of a blob stays, and the next try goes on there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from comity.errors import Malformed, Unavailable

QUERY_BYTES_MAX: Final = 512
_PIECE: Final = 2**20


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


async def pieces_of(request: Request, size: int, times: Times) -> AsyncIterator[memoryview]:
    """The body in pieces of `size` bytes and a last shorter one, in one buffer used again.

    What came before a cut is still given; then ClientDisconnect or TimeoutError is raised.
    """
    room = memoryview(bytearray(max(size, 1)))
    filled = 0
    cut: Exception | None = None
    stream = aiter(request.stream())
    while cut is None:
        try:
            async with asyncio.timeout(times.silence_s):
                come = memoryview(await anext(stream))
        except StopAsyncIteration:
            break
        except (ClientDisconnect, TimeoutError) as error:
            cut = error
            break
        while come:
            taken = min(len(come), len(room) - filled)
            room[filled : filled + taken] = come[:taken]
            filled, come = filled + taken, come[taken:]
            if filled == len(room):
                yield room
                filled = 0
    if filled:
        yield room[:filled]
    if cut is not None:
        raise cut


def numbers(request: Request, *texts: str, **limits: int | tuple[str, int]) -> dict[str, int]:
    """The query's numbers by name: known names only, each once, plain decimals up to its limit.

    Args:
        texts: names of parameters that are no numbers and are read elsewhere.
        limits: largest value by name, or (name, largest value) where the name is a Python keyword.
    Raises:
        Malformed.
    """
    if len(request.scope["query_string"]) > QUERY_BYTES_MAX:
        raise TooLarge(f"a query has at most {QUERY_BYTES_MAX} bytes")
    largest = dict(
        limit if isinstance(limit, tuple) else (name, limit) for name, limit in limits.items()
    )
    found: dict[str, int] = {}
    for name, text in request.query_params.multi_items():
        if name in texts:
            continue
        plain = text.isascii() and text.isdigit() and len(text) <= 16
        if name not in largest or name in found or not plain or int(text) > largest[name]:
            raise Malformed(f"the query takes {', '.join([*texts, *largest]) or 'nothing'}")
        found[name] = int(text)
    if "from" in largest and "from" not in found:
        raise Malformed("the query says from which entry on")
    return found


@final
class FileRange(Response):
    """Bytes start..stop-1 of a file, a piece at a time; a reader that stops taking is cut off."""

    def __init__(
        self, path: Path, start: int, stop: int, threads: ThreadPoolExecutor, times: Times
    ) -> None:
        super().__init__(headers={"content-length": str(stop - start)})
        self.media_type = "application/octet-stream"
        self._path, self._start, self._stop = path, start, stop
        self._threads, self._times = threads, times

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(head)
            at = self._start
            while at < self._stop:
                count = min(_PIECE, self._stop - at)
                piece = await loop.run_in_executor(self._threads, os.pread, descriptor, count, at)
                if not piece:
                    break  # cut short on disk: the reader sees too few bytes and asks again
                at += len(piece)
                async with asyncio.timeout(self._times.silence_s):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            os.close(descriptor)
