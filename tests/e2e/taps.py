"""A relay that writes down every byte that passes, in each direction, on each connection.

with tapped(port) as tap:
    ...                       # talk to tap.url
    requests(tap.up())        # what was asked, byte for byte
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import final

from comity.values import sha256

HEADERS = {"host", "accept-encoding", "authorization", "content-length"}
"""All that a node says beside the first line and the body."""


@dataclass(frozen=True)
class Message:
    """One HTTP message. whole: whether all of its body passed."""

    line: str
    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def noted(self) -> tuple[str, int, str]:
        """As a line of the ledger says it."""
        return self.line.rsplit(" ", 1)[0], len(self.body), sha256(self.body)


def messages(stream: bytes, *, bodiless: Sequence[bool] = ()) -> list[Message]:
    """The HTTP/1.1 messages of one direction of one connection; nothing may be left over.

    Args:
        bodiless: of each answer, whether its length is announced only (to HEAD).
    """
    found: list[Message] = []
    while stream:
        head, end, stream = stream.partition(b"\r\n\r\n")
        if not end:
            found.append(Message(head.decode(), {}, b"", False))
            break
        line, *rest = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (r.partition(":") for r in rest)
        }
        assert "transfer-encoding" not in headers
        silent = len(found) < len(bodiless) and bodiless[len(found)]
        count = 0 if silent else int(headers.get("content-length", "0"))
        body, stream = stream[:count], stream[count:]
        found.append(Message(line, headers, body, len(body) == count))
    return found


@final
class Tap:
    """A relay to a port of this machine."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._turn = threading.Lock()
        self._passed: list[tuple[bytearray, bytearray]] = []
        self._lines: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def up(self) -> list[bytes]:
        """What came from who called, by connection, in the order of the calls."""
        with self._turn:
            return [bytes(up) for up, _ in self._passed]

    def down(self) -> list[bytes]:
        """What came back."""
        with self._turn:
            return [bytes(down) for _, down in self._passed]

    def requests(self) -> list[Message]:
        """Every request that passed."""
        return [message for stream in self.up() for message in messages(stream)]

    def close(self) -> None:
        """Hang up."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._turn:
            lines = list(self._lines)
        for line in lines:
            _hang_up(line)

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            onward = socket.socket()
            try:
                onward.connect(("127.0.0.1", self._target))
            except OSError:
                line.close()
                continue
            up, down = bytearray(), bytearray()
            with self._turn:
                self._passed.append((up, down))
                self._lines += [line, onward]
            for way in ((line, onward, up), (onward, line, down)):
                threading.Thread(target=self._relay, args=way, daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket, noted: bytearray) -> None:
        with suppress(OSError):
            while piece := source.recv(65_536):
                with self._turn:
                    noted += piece
                target.sendall(piece)
        for line in (source, target):
            _hang_up(line)


def _hang_up(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
    line.close()


@contextmanager
def tapped(port: int) -> Iterator[Tap]:
    """A tap until the block ends."""
    tap = Tap(port)
    try:
        yield tap
    finally:
        tap.close()
