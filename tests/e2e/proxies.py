"""Bad networks on loopback: a relay that cuts, throttles, and counts which blob bytes pass.

It reads the heads of the HTTP that passes, so that it can cut "in the middle of this blob" and say
how many bytes of each blob went by in each direction. Real sockets, real threads; one relay is one
member's line, and all its connections share the bandwidth.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import final

PIECE_BYTES = 16_384
_BUFFER_BYTES = 65_536
_BLOB = re.compile(rb"^(PUT|GET) /(?:blobs|vectors)/([0-9a-f]{64})(?:\?(\S*))? ")
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Fate:
    """What a line does to those who use it.

    cut_after_s: every connection is cut when it is so old. cut_blobs: each blob is cut once, at its
    middle, in each direction. bytes_per_s: in each direction.
    """

    cut_after_s: float | None = None
    cut_blobs: bool = False
    bytes_per_s: float | None = None


@final
class Messages:
    """Splits one direction of HTTP/1.1 into heads and bodies, all with a length.

    Args:
        on_head: told each head; on_body: told how many bytes of its body come.
    """

    def __init__(self, on_head: Callable[[bytes], None], on_body: Callable[[int], None]) -> None:
        self._on_head, self._on_body = on_head, on_body
        self._head, self._left = b"", 0

    def take(self, piece: bytes) -> None:
        """The next bytes."""
        while piece:
            if self._left:
                count = min(self._left, len(piece))
                self._on_body(count)
                self._left -= count
                piece = piece[count:]
                continue
            head, end, piece = (self._head + piece).partition(b"\r\n\r\n")
            if not end:
                self._head = head
                return
            self._head = b""
            length = _LENGTH.search(head)
            self._left = int(length[1]) if length else 0
            self._on_head(head)


@dataclass
class Blobs:
    """Bytes of blobs that passed in one direction, by name. sizes: of each, as announced."""

    passed: Counter[str] = field(default_factory=Counter)
    sizes: dict[str, int] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)

    def twice(self) -> float:
        """Bytes that passed more than once, as a fraction of all that had to pass."""
        again = sum(max(0, count - self.sizes[name]) for name, count in self.passed.items())
        return again / max(1, sum(self.sizes.values()))


@final
class Proxy:
    """A relay to a port of this machine. up: towards the host; down: from it.

    Args:
        port: of the host.
        fate: what happens to the connections; may be exchanged while it runs.
    """

    def __init__(self, port: int, fate: Fate) -> None:
        self.fate, self.cuts = fate, 0
        self.up, self.down = Blobs(), Blobs()
        self._target = port
        self._turn = threading.Lock()
        self._free_at_s = {"up": 0.0, "down": 0.0}
        self._closed = threading.Event()
        self._lines: set[socket.socket] = set()
        self._calling = threading.Condition()
        self._unanswered = 0
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hang up."""
        self._closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._turn:
            lines = list(self._lines)
        for line in lines:
            _hang_up(line)
        self._thread.join(5)

    def wait_for_calls(self, count: int, limit_s: float = 60.0) -> None:
        """Wait until so many more connections found nobody at the other end."""
        with self._calling:
            wanted = self._unanswered + count
            assert self._calling.wait_for(lambda: self._unanswered >= wanted, limit_s), "no calls"

    def twice(self) -> float:
        """The larger of the two fractions of blob bytes that passed more than once."""
        return max(self.up.twice(), self.down.twice())

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            onward = socket.socket()
            onward.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            try:
                onward.connect(("127.0.0.1", self._target))
            except OSError:  # the host is away
                _hang_up(line)
                with self._calling:
                    self._unanswered += 1
                    self._calling.notify_all()
                continue
            Connection(self, line, onward).start()

    def pace(self, way: str, count: int) -> None:
        """Wait as long as so many bytes take."""
        rate = self.fate.bytes_per_s
        if rate is None:
            return
        with self._turn:
            begins_s = max(self._free_at_s[way], time.monotonic())
            self._free_at_s[way] = begins_s + count / rate
            wait_s = self._free_at_s[way] - time.monotonic()
        if wait_s > 0:
            self._closed.wait(wait_s)

    def keep(self, *lines: socket.socket) -> None:
        """Remember open sockets, to close them."""
        with self._turn:
            self._lines.update(lines)

    def forget(self, *lines: socket.socket) -> None:
        """These are closed."""
        with self._turn:
            self._lines.difference_update(lines)

    def count_cut(self) -> None:
        """One more connection was cut."""
        with self._turn:
            self.cuts += 1


@final
class Connection:
    """One connection through a relay: two threads, and what they have read."""

    def __init__(self, proxy: Proxy, line: socket.socket, onward: socket.socket) -> None:
        self._proxy, self._line, self._onward = proxy, line, onward
        self._began_s = time.monotonic()
        self._asked: tuple[str, str, dict[str, int]] | None = None
        self._middle: dict[str, int] = {}
        self._cut = False

    def start(self) -> None:
        """Relay until somebody hangs up."""
        self._proxy.keep(self._line, self._onward)
        up = Messages(self._request, lambda count: self._pass(self._proxy.up, "PUT", count))
        down = Messages(self._answer, lambda count: self._pass(self._proxy.down, "GET", count))
        for way in (("up", self._line, self._onward, up), ("down", self._onward, self._line, down)):
            threading.Thread(target=self._relay, args=way, daemon=True).start()

    def _relay(
        self, way: str, source: socket.socket, target: socket.socket, read: Messages
    ) -> None:
        fate = self._proxy.fate
        try:
            while True:
                left_s = None
                if fate.cut_after_s is not None:
                    left_s = self._began_s + fate.cut_after_s - time.monotonic()
                    if left_s <= 0:
                        self._cut = True
                        break
                source.settimeout(left_s)
                piece = source.recv(PIECE_BYTES)
                if not piece:
                    break
                read.take(piece)
                target.settimeout(None)
                target.sendall(piece)
                self._proxy.pace(way, len(piece))  # what was read is on its way: a cut loses none
                if self._cut:
                    break
        except TimeoutError:
            self._cut = True
        except OSError:
            pass
        if self._cut and self._line in self._proxy._lines:
            self._proxy.count_cut()
        self._proxy.forget(self._line, self._onward)
        for line in (self._line, self._onward):
            _hang_up(line)

    def _request(self, head: bytes) -> None:
        found = _BLOB.match(head)
        self._asked = None
        if found is None:
            return
        numbers = re.findall(r"(offset|size|start|stop)=([0-9]+)", (found[3] or b"").decode())
        self._asked = (found[1].decode(), found[2].decode(), {n: int(v) for n, v in numbers})

    def _answer(self, head: bytes) -> None:
        if not head.startswith(b"HTTP/1.1 200 ") and self._asked and self._asked[0] == "GET":
            self._asked = None  # what follows are words, not bytes of a blob

    def _pass(self, blobs: Blobs, method: str, count: int) -> None:
        """Count body bytes of a blob; cut the connection at its middle, once."""
        if self._asked is None or self._asked[0] != method:
            return
        _, name, numbers = self._asked
        begins, ends = (
            (numbers["offset"], numbers["size"])
            if method == "PUT"
            else (numbers["start"], numbers["stop"])
        )
        with self._proxy._turn:
            blobs.passed[name] += count
            blobs.sizes[name] = max(blobs.sizes.get(name, 0), ends)
            at = self._middle.get(name, begins) + count
            self._middle[name] = at
            if self._proxy.fate.cut_blobs and name not in blobs.cut and 2 * at >= ends:
                blobs.cut.add(name)
                self._cut = True


def _hang_up(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
    line.close()


@contextmanager
def proxied(port: int, fate: Fate) -> Iterator[Proxy]:
    """A relay until the block ends."""
    proxy = Proxy(port, fate)
    try:
        yield proxy
    finally:
        proxy.close()
