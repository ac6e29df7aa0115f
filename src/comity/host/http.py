"""The host's routes: requests to calls, results to bytes, errors to codes. Nothing else.

Every body, header and query has a limit and a time limit; bulk bytes are streamed and never held
whole; compressed bodies are refused. Without a token a stranger learns only that the host is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import formatdate
from typing import Annotated, Final, final

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from comity.errors import Malformed, Unavailable
from comity.host.answers import read_tail, verdict_words
from comity.host.pulse import Pulse
from comity.host.service import Host
from comity.host.uploads import Upload, stored_of
from comity.statements.readers import REQUEST_BYTES_MAX
from comity.storage.blobs import WrongOffset
from comity.values import (
    BLOB_BYTES_MAX,
    ENTRIES_PER_REQUEST_MAX,
    INTEGER_MAX,
    LOG_SIZE_MAX,
    NOTE_BYTES_MAX,
    STATEMENTS_PER_REQUEST_MAX,
    MemberId,
    StatementId,
    is_digest,
)
from comity.web.answering import (
    answered,
    blob_name,
    entries_answer,
    json_answer,
    nothing_here,
    stored_answer,
)
from comity.web.bodies import (
    FileRange,
    FileRow,
    NotHere,
    Room,
    Times,
    TokenMissing,
    TooLarge,
    check_coding,
    numbers,
    pieces_of,
    query_of,
    read_body,
)
from comity.web.dispatch import NAME, Address, Application, Endpoint
from comity.web.readers import TOKEN_LIFE_S, Readers
from comity.web.told import Published

POST_BYTES_MAX: Final = 256 * 1024
TAIL_BYTES_MAX: Final = 16 * 2**20
PIECE_BYTES_MAX: Final = 8 * 2**20
WAIT_S_MAX: Final = 25
_BULK_THREADS: Final = 4
_ANSWERS_MAX: Final = 8
_LOG = logging.getLogger(__name__)


@final
class _CosignatureBody(Struct, frozen=True, forbid_unknown_fields=True):
    size: Annotated[int, Meta(ge=0, le=LOG_SIZE_MAX)]
    line: Annotated[str, Meta(max_length=1_024)]
    note: Annotated[str, Meta(max_length=NOTE_BYTES_MAX)] | None = None


@final
@dataclass(frozen=True, slots=True)
class _Answers:
    """What was answered to the readers of one picture, by the number of entries they had."""

    told: Published
    by_start: dict[int, bytes]


@final
class Routes:
    """The endpoints of one host."""

    def __init__(self, host: Host, *, clock: Callable[[], int], times: Times) -> None:
        self._host = host
        self._clock = clock
        self._times = times
        self._readers = Readers()
        self._bulk_threads = ThreadPoolExecutor(_BULK_THREADS, thread_name_prefix="bulk")
        self._room = Room()
        self._answers = _Answers(host.published, {})
        self.pulse = Pulse(host)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Tie the writer's thread to this event loop."""
        loop = asyncio.get_running_loop()
        self._host.listen(lambda: loop.call_soon_threadsafe(self.pulse.tell))
        try:
            yield
        finally:
            self._bulk_threads.shutdown()

    async def status(self, _: Request) -> Response:
        """What anybody may know: which commons, how long its log is, founded or not."""
        state = self._host.published.state
        answer = json_answer(
            {
                "commons": state.commons,
                "founded": state.founded_size > 0,
                "host": state.host,
                "in_office": self._host.in_office,
                "size": state.size,
            }
        )
        answer.headers["date"] = formatdate(self._clock(), usegmt=True)
        return answer

    async def post_statements(self, request: Request) -> Response:
        """Statements, one a line; what became of each. They authenticate themselves."""
        numbers(request)
        body = await read_body(request, POST_BYTES_MAX, self._times)
        envelopes = body.removesuffix(b"\n").split(b"\n")
        if len(envelopes) > STATEMENTS_PER_REQUEST_MAX:
            raise TooLarge(f"at most {STATEMENTS_PER_REQUEST_MAX} statements a request")
        verdicts = await asyncio.wrap_future(self._host.submit(envelopes))
        results = [verdict_words(verdict) for verdict in verdicts]
        return json_answer({"results": results, "size": self._host.published.state.size})

    async def get_entries(self, request: Request) -> Response:
        """Entries from an index on, and the newest heads; waits for news when there are none."""
        member = self._member(request)
        asked = numbers(
            request,
            start=("from", LOG_SIZE_MAX),
            version=INTEGER_MAX,
            wait_s=WAIT_S_MAX,
            proposed=1,
        )
        start, version = asked["from"], asked.get("version", 0)
        if asked.get("proposed", 0):
            body = await asyncio.to_thread(self._proposed_from, start)
            return Response(body, media_type="application/octet-stream")
        self._host.alarm_if_ahead(member, start)
        await self.pulse.wait(start, version, asked.get("wait_s", 0))
        return Response(await self._entries_from(start), media_type="application/octet-stream")

    async def _entries_from(self, start: int) -> bytes:
        """All who wake at one time and have the same entries get the same bytes, made once."""
        told = self._host.published
        if self._answers.told is not told:
            self._answers = _Answers(told, {})
        by_start = self._answers.by_start
        answer = by_start.get(start)
        if answer is None:
            newest = told.newest_from(start)
            if newest is None:
                newest = tuple(await asyncio.to_thread(self._host.entries, start))
            answer = entries_answer(told, start, newest)
            if len(by_start) < _ANSWERS_MAX:
                by_start[start] = answer
        return answer

    def _proposed_from(self, start: int) -> bytes:
        """The same without waiting, and with what a candidate proposes above its newest head."""
        told = self._host.published
        leaves = tuple(self._host.entries(start))
        if start + len(leaves) >= told.state.size:
            leaves += told.proposed[max(0, start - told.state.size) :]
        return entries_answer(told, start, leaves[:ENTRIES_PER_REQUEST_MAX])

    async def post_tail(self, request: Request) -> Response:
        """What a member holds beyond this log, with the head over it."""
        self._member(request)
        numbers(request)
        body = await read_body(request, TAIL_BYTES_MAX, self._times)
        await asyncio.wrap_future(self._host.take_tail(read_tail(body)))
        return json_answer({"size": self._host.published.state.size})

    async def post_cosignature(self, request: Request) -> Response:
        """A member's cosignature of a head, and the head as this host signed it."""
        self._member(request)
        numbers(request)
        body = await read_body(request, POST_BYTES_MAX, self._times)
        try:
            said = msgspec.json.decode(body, type=_CosignatureBody)
            line, note = said.line.encode(), said.note.encode() if said.note is not None else None
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Malformed("expected {size, line} of a cosignature") from error
        await asyncio.wrap_future(self._host.cosign(said.size, line, note))
        return json_answer({"size": said.size})

    async def post_reader(self, request: Request) -> Response:
        """A token for a member that shows its statement key."""
        numbers(request)
        body = await read_body(request, REQUEST_BYTES_MAX, self._times)
        token = self._readers.admit(self._host.published.state, body, self._clock())
        return json_answer({"token": token, "expires_s": TOKEN_LIFE_S})

    async def blob(self, request: Request) -> Response:
        """A blob to send, to ask about, or to read any range of."""
        member, name = self._member(request), blob_name(request)
        if request.method == "PUT":
            asked = numbers(request, offset=BLOB_BYTES_MAX, size=BLOB_BYTES_MAX)
            upload = self._host.bulk.blob(member, name, asked.get("size", 0))
            return await self._take(request, upload, asked.get("offset", 0), member)
        state = self._host.published.state
        if request.method == "HEAD":
            return stored_answer(*self._host.bulk.stored(state, member, name))
        asked = numbers(request, start=BLOB_BYTES_MAX, stop=BLOB_BYTES_MAX)
        path = self._host.bulk.find(state, name)
        if path is None:
            raise NotHere(f"blob {name} is not here")
        size = path.stat().st_size
        start, stop = asked.get("start", 0), asked.get("stop", size)
        if not start <= stop <= size:
            raise Malformed(f"bytes {start} to {stop} of a blob of {size} bytes")
        threads, room, times = self._bulk_threads, self._room, self._times
        return FileRange(path, start, stop, threads=threads, room=room, times=times)

    async def vector(self, request: Request) -> Response:
        """A masked vector that a participant sends, or asks about."""
        member, name = self._member(request), blob_name(request)
        opened = query_of(request).get("opened", "")
        if not is_digest(opened):
            raise Malformed("opened is the id of the attempt's round.open")
        asked = numbers(request, "opened", offset=BLOB_BYTES_MAX, size=BLOB_BYTES_MAX)
        state = self._host.published.state
        upload = self._host.bulk.vector(state, member, StatementId(opened), name)
        if request.method == "HEAD":
            return stored_answer(*stored_of(upload))
        if asked.get("size") != upload.size:
            raise Malformed(f"a vector of this attempt has {upload.size} bytes")
        return await self._take(request, upload, asked.get("offset", 0), member)

    async def get_sum(self, request: Request) -> Response:
        """Root and size of an attempt's sum, once it is added up."""
        self._member(request)
        numbers(request)
        opened = request.path_params[NAME]
        if not is_digest(opened):
            raise NotHere("no attempt has this name")
        future = self._host.bulk.finished_sum(self._host.published.state, StatementId(opened))
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                done = await asyncio.shield(asyncio.wrap_future(future))
        except TimeoutError:
            raise Unavailable("the vectors are still being added; ask again") from None
        return json_answer({"root": done.root, "size": done.size_bytes})

    async def get_dealings(self, request: Request) -> Response:
        """The join blobs of an attempt, one after the other, by seat."""
        self._member(request)
        numbers(request)
        opened = request.path_params[NAME]
        if not is_digest(opened):
            raise NotHere("no attempt has this name")
        state, dealt = self._host.published.state, self._host.bulk.dealt
        paths, size = await asyncio.to_thread(dealt, state, StatementId(opened))
        threads, room, times = self._bulk_threads, self._room, self._times
        return FileRow(paths, size, threads=threads, room=room, times=times)

    async def _take(
        self, request: Request, upload: Upload, offset: int, member: MemberId
    ) -> Response:
        """Store a piece while it streams in, and finish when it was the last."""
        stored, finished = stored_of(upload)
        if finished:
            return json_answer({"stored": stored, "finished": True})
        check_coding(request)
        length = request.headers.get("content-length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 12):
            raise Malformed("a piece of a blob comes with its content-length")
        end = offset + int(length)
        if int(length) > PIECE_BYTES_MAX:
            raise TooLarge(f"at most {PIECE_BYTES_MAX} bytes a request, not {length}")
        if end > upload.size:
            raise Malformed(f"the piece ends at byte {end} of a blob of {upload.size}")
        if offset != stored:
            raise WrongOffset(stored, offset)
        loop, uploads, at = asyncio.get_running_loop(), self._host.bulk.uploads, offset
        with uploads.writing(upload, offset) as writing, self._room.one():
            async for pieces in pieces_of(request, self._room, self._times):
                await loop.run_in_executor(self._bulk_threads, writing.take, at, pieces)
                at += sum(map(len, pieces))
        if at == upload.size:
            await loop.run_in_executor(self._bulk_threads, uploads.finish, upload)
            _LOG.info("stored blob=%s bytes=%d by=%s", upload.name, at, member)
        return json_answer({"stored": at, "finished": at == upload.size})

    def _member(self, request: Request) -> MemberId:
        """Whose token came with the request."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        member = self._readers.member(token, self._clock()) if scheme == "Bearer" else None
        if member is None:
            raise TokenMissing("ask for a token with POST /readers first")
        return member


def make_app(host: Host, *, clock: Callable[[], int], times: Times) -> tuple[Application, Pulse]:
    """The application, and the pulse that ends its long-polls."""
    routes = Routes(host, clock=clock, times=times)
    table: Mapping[Address, tuple[Endpoint, tuple[str, ...]]] = {
        Address("status", False): (routes.status, ("GET",)),
        Address("statements", False): (routes.post_statements, ("POST",)),
        Address("entries", False): (routes.get_entries, ("GET",)),
        Address("cosignatures", False): (routes.post_cosignature, ("POST",)),
        Address("tails", False): (routes.post_tail, ("POST",)),
        Address("readers", False): (routes.post_reader, ("POST",)),
        Address("blobs", True): (routes.blob, ("GET", "HEAD", "PUT")),
        Address("vectors", True): (routes.vector, ("HEAD", "PUT")),
        Address("sums", True): (routes.get_sum, ("GET",)),
        Address("dealings", True): (routes.get_dealings, ("GET",)),
    }
    endpoints = {
        address: dict.fromkeys(methods, answered(endpoint))
        for address, (endpoint, methods) in table.items()
    }
    return Application(endpoints, nothing_here, routes.lifespan), routes.pulse
