"""The floor of a round: the same bytes over the same HTTP stack, summed. Nothing else.

    python -m bench.floor serve FOLDER WORDS CLIENTS
    python -m bench.floor send URL SEAT WORDS FOLDER ROUNDS

In it: n client processes, each sends 4 L bytes from a file with the nodes' HTTP client, in requests
of the nodes' size and under their allocator settings; one Starlette app under the host's uvicorn
and allocator settings reads each body as the host does and adds it, as it comes, to an integer sum
with carries in a memory-mapped file; each client fetches the 5 L bytes of the sum and writes them
to a file. A round lasts from one sum fetched to the next, at the first client.
Not in it: training, quantising, masks, hashes, signatures, checks, log, statements, staging of
uploads, fsync, the next model, TLS.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final, final

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.machine import Party, intervals, report
from comity.aggregation.masks import Words
from comity.aggregation.ring import Carries, add_into, chunk_count, chunk_words
from comity.node.http_client import HttpClient, Limits
from comity.node.outlet import NoSite
from comity.node.remote import PIECE_BYTES
from comity.storage.memory import keep_freed_memory
from comity.values import CHUNK_WORDS
from comity.web.bodies import FileRange, Room, Times, pieces_of
from comity.web.server import CONNECTIONS_MAX, KEEP_ALIVE_S, _Protocol

SUM_BYTES: Final = 5
WORD_BYTES: Final = 4
_THREADS: Final = 4
_LIMIT_S: Final = 120.0
assert PIECE_BYTES == WORD_BYTES * CHUNK_WORDS, "one request is one chunk of the sum"


class _Unlimited(_Protocol):
    """The host's protocol, with its usual times."""

    times = Times()


@final
class Adder:
    """Two sums in files, used in turn: one is added to while the other is read."""

    def __init__(self, folder: Path, words: int, clients: int) -> None:
        self._words, self._clients = words, clients
        size = SUM_BYTES * words
        self._paths = [folder / f"sum{turn}" for turn in range(2)]
        self._sums = [
            np.asarray(np.memmap(path, np.uint8, "w+", shape=(size,))) for path in self._paths
        ]
        self._locks = [threading.Lock() for _ in range(chunk_count(words))]
        self._begun: set[tuple[int, int]] = set()
        self._whole: defaultdict[int, int] = defaultdict(int)
        self._summed: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self._threads = ThreadPoolExecutor(_THREADS)
        self._room = Room()

    async def take(self, request: Request) -> Response:
        """One chunk of one client's vector."""
        round_no, k = request.path_params["round_no"], request.path_params["k"]
        held: list[bytes] = []
        with self._room.one():
            async for parts in pieces_of(request, self._room, Times()):
                held += parts
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._threads, self._add, round_no, k, b"".join(held))
        if k == chunk_count(self._words) - 1:
            self._whole[round_no] += 1
            if self._whole[round_no] == self._clients:
                self._begun.clear()
                self._summed[round_no].set()
        return Response()

    async def give(self, request: Request) -> Response:
        """The sum of a round, once all vectors are in it."""
        round_no = request.path_params["round_no"]
        await self._summed[round_no].wait()
        path = self._paths[round_no % 2]
        return FileRange(
            path,
            0,
            SUM_BYTES * self._words,
            threads=self._threads,
            room=self._room,
            times=Times(),
        )

    def _add(self, round_no: int, k: int, piece: bytes) -> None:
        y = np.frombuffer(piece, np.uint32)
        with self._locks[k]:
            lo, hi = self._place(round_no, k)
            if (round_no, k) in self._begun:
                add_into(lo, hi, y)
            else:
                self._begun.add((round_no, k))
                np.copyto(lo, y)
                hi.fill(0)

    def _place(self, round_no: int, k: int) -> tuple[Words, Carries]:
        total, whole = self._sums[round_no % 2], chunk_words(self._words, k)
        base = SUM_BYTES * CHUNK_WORDS * k
        words = total[base : base + WORD_BYTES * whole].view(np.uint32)
        return words, total[base + WORD_BYTES * whole : base + SUM_BYTES * whole]


def serve(folder: Path, words: int, clients: int) -> None:
    """Serve until the input closes."""
    keep_freed_memory()
    bound = socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS_MAX)
    adder = Adder(folder, words, clients)
    app = Starlette(
        routes=[
            Route("/vectors/{round_no:int}/{k:int}", adder.take, methods=["PUT"]),
            Route("/sums/{round_no:int}", adder.give, methods=["GET"]),
        ]
    )
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=_Unlimited,
            ws="none",
            loop="auto",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=5,
        )
    )

    def end_with_input() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=end_with_input, daemon=True).start()
    report("ready", text=f"http://127.0.0.1:{bound.getsockname()[1]}")
    server.run(sockets=[bound])


def send(url: str, seat: int, words: int, folder: Path, rounds: int) -> None:
    """One client: wait for a line, then send and fetch in every round."""
    keep_freed_memory()
    client = HttpClient(url, tls=None, proxy=None, limits=Limits(), outlet=NoSite())
    vector, fetched = folder / f"vector{seat}", folder / f"fetched{seat}"
    random = np.random.default_rng(seat)
    with vector.open("wb") as target:
        for k in range(chunk_count(words)):
            target.write(random.integers(0, 2**32, chunk_words(words, k), np.uint32).data)
    report("ready")
    sys.stdin.readline()
    source = os.open(vector, os.O_RDONLY | os.O_CLOEXEC)
    for round_no in range(rounds):
        for k in range(chunk_count(words)):
            piece = os.pread(source, PIECE_BYTES, PIECE_BYTES * k)
            client.ask("PUT", f"/vectors/{round_no}/{k}", body=piece, bytes_max=1_024, tries=1)
        with fetched.open("wb") as target:
            path, count = f"/sums/{round_no}", SUM_BYTES * words
            for part in client.stream(path, query={}, count=count, token=""):
                target.write(part)
        report("round", round_no + 1)
    sys.stdin.read()
    client.close()


def measure_floor(folder: Path, *, words: int, clients: int, rounds: int) -> list[float]:
    """Seconds of each round after the first.

    Args:
        folder: emptied of what is written here by whoever made it. words: L of the vectors.
        rounds: at least 2.
    Raises:
        Broken: a process failed.
    """
    with ExitStack() as running:
        arguments: list[str | Path] = ["bench.floor", "serve", folder, str(words), str(clients)]
        server = Party("floor server", arguments, folder / "server.notes")
        running.callback(server.stop)
        url = server.wait_for("ready", limit_s=_LIMIT_S).text
        senders = []
        for seat in range(clients):
            arguments = ["bench.floor", "send", url, str(seat), str(words), folder, str(rounds)]
            sender = Party(f"floor client {seat}", arguments, folder / f"client{seat}.notes")
            running.callback(sender.stop)
            senders.append(sender)
        for sender in senders:
            sender.wait_for("ready", limit_s=_LIMIT_S)
        for sender in senders:
            sender.tell("go")
        ends = [
            senders[0].wait_for("round", number + 1, limit_s=_LIMIT_S).at_s
            for number in range(rounds)
        ]
        return intervals(ends)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", place, count, clients]:
            serve(Path(place), int(count), int(clients))
        case ["send", url, seat, count, place, rounds]:
            send(url, int(seat), int(count), Path(place), int(rounds))
        case _:
            sys.exit(__doc__)
