"""This node's verified copy of the log, served read-only to members, in the form a host answers.

Decided here: what a mirror shows. Heads with the cosignatures kept for them, entries, and the blobs
that the log names for all: study files, layouts, models, moments, manifests; never a masked vector
or sealed shares. It takes one thing: statements that the host withholds, which it relays
(`relaying.py`). It knows no key and signs nothing. A node that has caught its host goes on serving.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, final

from starlette.requests import Request
from starlette.responses import Response

from comity.commons.state import State
from comity.errors import ComityError, Malformed, Misconfigured, Unavailable
from comity.node.leaving import Ledger
from comity.node.relaying import Relay
from comity.node.replica import Replica
from comity.node.settings import NodeSettings
from comity.statements.readers import REQUEST_BYTES_MAX
from comity.storage.blobs import FileBlobStore
from comity.storage.ports import StoredHead
from comity.values import (
    BLOB_BYTES_MAX,
    ENTRIES_PER_REQUEST_MAX,
    INTEGER_MAX,
    LOG_SIZE_MAX,
    STATEMENTS_PER_REQUEST_MAX,
    BlobName,
    sha256,
)
from comity.web.answering import (
    answered,
    blob_name,
    entries_answer,
    error_said,
    json_answer,
    nothing_here,
    stored_answer,
)
from comity.web.bodies import (
    FileRange,
    NotHere,
    Room,
    Silence,
    Times,
    TokenMissing,
    TooLarge,
    numbers,
    read_body,
)
from comity.web.dispatch import Address, Application, Endpoint
from comity.web.readers import TOKEN_LIFE_S, Readers
from comity.web.server import Port
from comity.web.told import BATCH_BYTES_MAX, Published, ShownHead

POST_BYTES_MAX: Final = 256 * 1024
WAIT_S_MAX: Final = 25
_ENTRIES_PER_READ: Final = 128
_BULK_THREADS: Final = 2
_LINE_MAX: Final = 300
_ADDRESSES: Final = frozenset({"status", "statements", "entries", "readers", "blobs"})
LOG = logging.getLogger(__name__)


@final
class Mirror:
    """The mirror of one node, from `start` to `close`.

    Args:
        settings: `mirror` is not empty.
        on_relayed: called from a thread of the mirror once a statement is kept.
    Raises:
        Misconfigured: the address, or plain HTTP beyond this machine. Unavailable: the port.
    """

    def __init__(
        self,
        settings: NodeSettings,
        replica: Replica,
        blobs: FileBlobStore,
        relay: Relay,
        *,
        outlet: Ledger,
        clock: Callable[[], int],
        on_relayed: Callable[[], None],
    ) -> None:
        self._replica, self._blobs, self._relay = replica, blobs, relay
        self._clock, self._on_relayed, self._outlet = clock, on_relayed, outlet
        self._times = Times()
        self._readers = Readers()
        self._room = Room()
        self._bulk_threads = ThreadPoolExecutor(_BULK_THREADS, thread_name_prefix="mirror-bulk")
        self._told = Published(replica.state, None, None, (), int(time.time()) * 1_000)
        self._public: tuple[State | None, frozenset[str]] = (None, frozenset())
        self.publish()
        self._port = Port(settings.mirror, _tls_of(settings))
        self.url = self._port.url
        self._serving = self._port.server(
            self._application(), times=self._times, on_stop=lambda: None
        )
        self._thread = threading.Thread(target=self._serving.run, name="mirror", daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()
        LOG.info("mirror url=%s", self.url)

    def close(self) -> None:
        """Answer what is under way, and end."""
        self._serving.stop()
        if self._thread.is_alive():
            self._thread.join(20)
        self._port.close()

    def cut(self) -> None:
        """End every connection at once; `close` ends the rest."""
        self._serving.cut()

    def publish(self) -> None:
        """Show what the replica has stored; called by the loop after it made entries durable."""
        store = self._replica.store
        newest, final = store.head(), store.head_at(store.final())
        if newest is None or newest.size != self._replica.state.size:
            return
        told = self._told
        shown = (self._shown(newest), self._shown(final))
        if (shown, self._replica.state) != ((told.newest, told.final), told.state):
            self._told = Published(self._replica.state, *shown, (), told.version + 1)

    def _shown(self, head: StoredHead | None) -> ShownHead | None:
        if head is None:
            return None
        lines = tuple(line for _, line in self._replica.store.cosignatures(head.size))
        return ShownHead(head, lines)

    # -- routes -------------------------------------------------------------------------------

    def _application(self) -> Application:
        table: Mapping[Address, tuple[Endpoint, tuple[str, ...]]] = {
            Address("status", False): (self._status, ("GET",)),
            Address("statements", False): (self._post_statements, ("POST",)),
            Address("entries", False): (self._get_entries, ("GET",)),
            Address("readers", False): (self._post_reader, ("POST",)),
            Address("blobs", True): (self._blob, ("GET", "HEAD")),
        }
        endpoints = {
            address: dict.fromkeys(methods, self._noted(answered(endpoint)))
            for address, (endpoint, methods) in table.items()
        }
        return Application(endpoints, self._noted(nothing_here), self._lifespan)

    def _noted(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint, whose answers are in the ledger before they go."""

        async def noted(request: Request) -> Response:
            response = await endpoint(request)
            try:
                await asyncio.to_thread(self._note, request, response)
            except Unavailable:
                return Silence()
            return response

        return noted

    def _note(self, request: Request, response: Response) -> None:
        asked = request.client
        to = f"{asked.host}:{asked.port}" if asked else "unknown"
        # A stranger chooses the address it asks for: only the beginning of it is kept.
        path = f"{request.url.path}?{request.url.query}".rstrip("?")[:_LINE_MAX]
        if isinstance(response, FileRange):
            count, digest, kind = *response.digest(), "blob"
        else:
            body = bytes(response.body) if request.method != "HEAD" else b""
            first = request.url.path[1:].partition("/")[0]
            about = first if first in _ADDRESSES else "an unknown address"
            count, digest, kind = len(body), sha256(body), f"answer about {about}"
        self._outlet.answering(to, f"{request.method} {path}", count, digest, kind)

    @asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self._bulk_threads.shutdown()

    async def _status(self, _: Request) -> Response:
        state = self._told.state
        return json_answer(
            {
                "commons": state.commons,
                "founded": state.founded_size > 0,
                "host": state.host,
                "in_office": False,
                "size": state.size,
            }
        )

    async def _post_statements(self, request: Request) -> Response:
        """Statements that the host withholds, one a line; they authenticate themselves."""
        numbers(request)
        body = await read_body(request, POST_BYTES_MAX, self._times)
        envelopes = body.removesuffix(b"\n").split(b"\n")
        if len(envelopes) > STATEMENTS_PER_REQUEST_MAX:
            raise TooLarge(f"at most {STATEMENTS_PER_REQUEST_MAX} statements a request")
        results = await asyncio.to_thread(self._take, envelopes)
        return json_answer({"results": results, "size": self._told.state.size})

    def _take(self, envelopes: list[bytes]) -> list[dict[str, str | int]]:
        results: list[dict[str, str | int]] = []
        for envelope in envelopes:
            try:
                self._relay.take(self._told.state, envelope)
            except ComityError as error:
                results.append(error_said(error))
            else:
                message = "kept here, and handed to the host in its name"
                results.append({"error": "Unavailable", "message": message})
        self._on_relayed()
        return results

    async def _get_entries(self, request: Request) -> Response:
        self._check_token(request)
        asked = numbers(
            request, start=("from", LOG_SIZE_MAX), version=INTEGER_MAX, wait_s=WAIT_S_MAX
        )
        told, start = self._told, asked["from"]
        leaves = await asyncio.to_thread(self._leaves, start, told.state.size)
        return Response(entries_answer(told, start, leaves), media_type="application/octet-stream")

    def _leaves(self, start: int, size: int) -> list[bytes]:
        taken: list[bytes] = []
        bytes_count = 0
        while len(taken) < ENTRIES_PER_REQUEST_MAX:
            at = start + len(taken)
            more = self._replica.store.entries(at, min(at + _ENTRIES_PER_READ, size))
            for leaf in more:
                bytes_count += len(leaf)
                if bytes_count > BATCH_BYTES_MAX:
                    return taken
                taken.append(leaf)
            if len(more) < _ENTRIES_PER_READ:
                break
        return taken[:ENTRIES_PER_REQUEST_MAX]

    async def _post_reader(self, request: Request) -> Response:
        numbers(request)
        body = await read_body(request, REQUEST_BYTES_MAX, self._times)
        token = self._readers.admit(self._told.state, body, self._clock())
        return json_answer({"token": token, "expires_s": TOKEN_LIFE_S})

    async def _blob(self, request: Request) -> Response:
        self._check_token(request)
        name = blob_name(request)
        if name not in self._public_names() or not self._blobs.finished(name):
            if request.method == "HEAD":
                return stored_answer(0, False)
            raise NotHere(f"blob {name} is not here")
        path = self._blobs.path(name)
        size = path.stat().st_size
        if request.method == "HEAD":
            return stored_answer(size, True)
        asked = numbers(request, start=BLOB_BYTES_MAX, stop=BLOB_BYTES_MAX)
        start, stop = asked.get("start", 0), asked.get("stop", size)
        if not start <= stop <= size:
            raise Malformed(f"bytes {start} to {stop} of a blob of {size} bytes")
        threads, room, times = self._bulk_threads, self._room, self._times
        return FileRange(path, start, stop, threads=threads, room=room, times=times)

    def _public_names(self) -> frozenset[str]:
        state = self._told.state
        if self._public[0] is not state:
            self._public = (state, public_blobs(state))
        return self._public[1]

    def _check_token(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or self._readers.member(token, self._clock()) is None:
            raise TokenMissing("ask for a token with POST /readers first")


def public_blobs(state: State) -> frozenset[str]:
    """The blobs that the log names for every member."""
    names: set[BlobName | str | None] = set()
    for study in state.studies.values():
        names |= set(study.register.plan.blobs)
        for result in study.results:
            names |= {result.model, result.moments}
    for proposal in state.proposals.values():
        if proposal.release is not None:
            names.add(proposal.release.manifest)
    return frozenset(str(name) for name in names if name is not None)


def _tls_of(settings: NodeSettings) -> tuple[Path, Path] | None:
    chain, secret = settings.mirror_chain, settings.mirror_key
    if bool(chain) != bool(secret):
        raise Misconfigured("node.toml: mirror_chain and mirror_key go together")
    if chain:
        return Path(chain), Path(secret)
    address = settings.mirror.rpartition(":")[0].strip("[]")
    if address not in ("127.0.0.1", "::1", "localhost"):
        raise Misconfigured(
            f"node.toml: mirror {settings.mirror} is reached from outside this machine: give"
            " mirror_chain and mirror_key, or listen on 127.0.0.1 behind a proxy that serves TLS"
        )
    return None
