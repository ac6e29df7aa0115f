"""A host in the simulation: the real `Host` on a simulated disk, and its routes without HTTP."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comity.commons.charter import Charter
from comity.errors import ComityError, Malformed, Unavailable
from comity.host.answers import read_tail, verdict_words
from comity.host.http import _CosignatureBody
from comity.host.service import Host
from comity.host.uploads import Upload, stored_of
from comity.node.http_client import Answer
from comity.storage.blobs import WrongOffset
from comity.values import BlobName, MemberId, StatementId
from comity.web.answering import entries_answer
from comity.web.bodies import NotHere, TokenMissing
from comity.web.readers import TOKEN_LIFE_S, Readers
from tests.sim.disk import Died, Disk
from tests.sim.network import Asked


class Turns(Executor):
    """One thread that is no thread: what is submitted runs when it is told to, in order."""

    def __init__(self, _: str = "") -> None:
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue a call."""
        future: Future[Any] = Future()
        self._waiting.append((future, lambda: fn(*args, **kwargs)))
        return future

    def run(self) -> None:
        """Do all that waits, and what comes of it."""
        while self._waiting:
            future, call = self._waiting.popleft()
            try:
                future.set_result(call())
            except Exception as error:
                future.set_exception(error)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Forget what waits."""
        self._waiting.clear()


class SimHost:
    """One host process, which may die and start again. name: which, when there are several. owner:
    the member whose host key it holds.

    lying: it forgets what members show it of its other history. bend: what it makes of an answer.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        charter: Charter,
        host_key: Ed25519PrivateKey,
        clock: Callable[[], int],
        *,
        owner: MemberId,
    ) -> None:
        self.owner = owner
        self.name, self.folder, self.clock = name, folder, clock
        self.disk = Disk()
        self.dead = True
        self.lying = False
        self.bend: Callable[[SimHost, Asked, Answer], Answer] | None = None
        self._charter, self._host_key = charter, host_key
        self.start()

    def start(self) -> None:
        """Start, or start again, on its folder."""
        self._turns: list[Turns] = []
        self._readers = Readers()
        self._told: tuple[object, dict[int, bytes]] = (None, {})
        self.service = Host(
            self.folder,
            charter=self._charter,
            host_key=self._host_key,
            now=self.clock,
            hook=self.disk.hook,
            worker=self._worker,
        )
        self.dead = False
        self._run()

    def die(self) -> None:
        """End as a killed process does."""
        self.dead = True
        self.service.close()

    def _worker(self, name: str) -> Turns:
        turns = Turns(name)
        self._turns.append(turns)
        return turns

    def _run(self) -> None:
        for turns in self._turns * 2:  # the writer gives the adder work, which gives none back
            turns.run()

    def _done(self, future: Future[Any]) -> Any:
        self._run()
        if not future.done():
            raise Unavailable("still at work")
        return future.result()

    def submit(self, envelopes: list[bytes]) -> list[Any]:
        """Log statements."""
        return list(self._done(self.service.submit(envelopes)))

    def answer(self, asked: Asked) -> Answer:
        """Serve one request. Raises ComityError, which the network carries back."""
        if self.dead:
            raise Unavailable("simulated: nobody is there")
        try:
            answer = self._route(asked)
        except Died:
            self.die()
            raise Unavailable("simulated: the host died") from None
        except ComityError:
            raise
        except OSError as error:
            raise Unavailable(f"the host failed: {error}") from None
        return self.bend(self, asked, answer) if self.bend else answer

    def _route(self, asked: Asked) -> Answer:
        first, _, name = asked.path.removeprefix("/").partition("/")
        service = self.service
        if first == "statements":
            verdicts = self.submit(asked.body.split(b"\n"))
            results = [verdict_words(verdict) for verdict in verdicts]
            return _json({"results": results, "size": service.published.state.size})
        if first == "status":
            state = service.published.state
            return _json(
                {
                    "commons": state.commons,
                    "founded": state.founded_size > 0,
                    "host": state.host,
                    "in_office": service.in_office,
                    "size": state.size,
                }
            )
        if first == "readers":
            token = self._readers.admit(service.published.state, asked.body, self.clock())
            return _json({"token": token, "expires_s": TOKEN_LIFE_S})
        member = self._readers.member(asked.token, self.clock())
        if member is None:
            raise TokenMissing("ask for a token with POST /readers first")
        match first:
            case "entries":
                start = int(asked.query["from"])
                if "proposed" in asked.query:
                    return Answer({}, self._proposed(start))
                service.alarm_if_ahead(member, start)
                return Answer({}, self._entries(start))
            case "cosignatures":
                said = msgspec.json.decode(asked.body, type=_CosignatureBody)
                note = None if said.note is None or self.lying else said.note.encode()
                self._done(service.cosign(said.size, said.line.encode(), note))
                return _json({"size": said.size})
            case "tails":
                self._done(service.take_tail(read_tail(asked.body)))
                return _json({"size": service.published.state.size})
            case "blobs":
                return self._blob(asked, member, BlobName(name))
            case "vectors":
                opened = StatementId(asked.query["opened"])
                state = service.published.state
                upload = service.bulk.vector(state, member, opened, BlobName(name))
                if asked.method == "HEAD":
                    return _stored(*stored_of(upload))
                return self._take(upload, asked)
            case "sums":
                future = service.bulk.finished_sum(service.published.state, StatementId(name))
                done = self._done(future)
                return _json({"root": done.root, "size": done.size_bytes})
            case "dealings":
                paths, _ = service.bulk.dealt(service.published.state, StatementId(name))
                return Answer({}, b"".join(path.read_bytes() for path in paths))
            case _:
                raise NotHere("there is nothing at this address")

    def _entries(self, start: int) -> bytes:
        told = self.service.published
        if self._told[0] is not told:
            self._told = (told, {})
        answer = self._told[1].get(start)
        if answer is None:
            newest = told.newest_from(start)
            leaves = newest if newest is not None else self.service.entries(start)
            answer = self._told[1][start] = entries_answer(told, start, leaves)
        return answer

    def _proposed(self, start: int) -> bytes:
        told = self.service.published
        leaves = tuple(self.service.entries(start))
        if start + len(leaves) >= told.state.size:
            leaves += told.proposed[max(0, start - told.state.size) :]
        return entries_answer(told, start, leaves)

    def _blob(self, asked: Asked, member: MemberId, name: BlobName) -> Answer:
        bulk, state = self.service.bulk, self.service.published.state
        if asked.method == "PUT":
            return self._take(bulk.blob(member, name, int(asked.query["size"])), asked)
        if asked.method == "HEAD":
            return _stored(*bulk.stored(state, member, name))
        path = bulk.find(state, name)
        if path is None:
            raise NotHere(f"blob {name} is not here")
        whole = path.read_bytes()
        start, stop = int(asked.query.get("start", 0)), int(asked.query.get("stop", len(whole)))
        if not start <= stop <= len(whole):
            raise Malformed(f"bytes {start} to {stop} of a blob of {len(whole)} bytes")
        return Answer({}, whole[start:stop])

    def _take(self, upload: Upload, asked: Asked) -> Answer:
        stored, finished = stored_of(upload)
        offset = int(asked.query["offset"])
        if not finished:
            if offset != stored:
                raise WrongOffset(stored, offset)
            self.service.bulk.uploads.write(upload, offset, asked.body)
            stored = offset + len(asked.body)
            if stored == upload.size:
                self.service.bulk.uploads.finish(upload)
                finished = True
        return _json({"stored": stored, "finished": finished})


def _json(value: object) -> Answer:
    return Answer({}, msgspec.json.encode(value))


def _stored(stored: int, finished: bool) -> Answer:
    return Answer(
        {"x-comity-stored": str(stored), "x-comity-finished": "true" if finished else "false"}, b""
    )
