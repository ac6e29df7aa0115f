"""The one way out of a site: who must be told before bytes leave, and connections that obey.

`HttpClient` tells its outlet of every request before it goes, and every piece of it asks the outlet
again, so a stop (`stopping.py`) holds in the middle of a body as well. Knows no route.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, final

import httpcore

_PIECE_BYTES: Final = 256 * 1024
"""How much of a body goes to the system before the outlet is asked again."""

_AT_ONCE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: closing throws away what the system has not sent yet."""


class Outlet(Protocol):
    """What stands between a site and everybody else; used from several threads."""

    @property
    def backend(self) -> httpcore.NetworkBackend:
        """Makes the connections on which messages leave."""
        ...

    def leaving(self, to: str, line: str, body: bytes) -> None:
        """Take note that this message leaves now. Raises Unavailable: it must not.

        Args:
            to: host and port. line: its first line, with no secret in it. body: whole.
        """
        ...


@final
class NoSite:
    """The outlet of who has no node folder: nobody's data are behind it, so nothing is noted."""

    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()

    @property
    def backend(self) -> httpcore.NetworkBackend:
        """The system's own."""
        return self._backend

    def leaving(self, to: str, line: str, body: bytes) -> None:
        """Let it pass."""


@final
class Lines(httpcore.NetworkBackend):
    """Connections that ask before each piece, and can all be cut at once.

    Args:
        check: raises Unavailable when nothing may leave now.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self.check = check
        self._plain = httpcore.SyncBackend()
        self._open: set[_Line] = set()
        self._turn = threading.Lock()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """As `httpcore.SyncBackend`; raises Unavailable when nothing may leave."""
        self.check()
        stream = self._plain.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Line(self, stream)

    def sleep(self, seconds: float) -> None:
        """Between tries of httpcore's own; there are none."""
        time.sleep(seconds)

    def keep(self, line: _Line) -> None:
        """It is open."""
        with self._turn:
            self._open.add(line)

    def forget(self, line: _Line) -> None:
        """It is closed, or became another."""
        with self._turn:
            self._open.discard(line)

    def cut(self) -> None:
        """End every connection; what the system holds of it is thrown away."""
        with self._turn:
            lines = list(self._open)
        for line in lines:
            line.cut()


@final
class _Line(httpcore.NetworkStream):
    """One connection."""

    def __init__(self, lines: Lines, stream: httpcore.NetworkStream) -> None:
        self._lines, self._stream = lines, stream
        lines.keep(self)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        for at in range(0, len(view), _PIECE_BYTES):
            try:
                self._lines.check()
            except BaseException:
                self._linger_not()
                raise
            self._stream.write(bytes(view[at : at + _PIECE_BYTES]), timeout)

    def close(self) -> None:
        self._lines.forget(self)
        self._stream.close()

    def start_tls(
        self,
        ssl_context: Any,  # as httpcore declares it
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        self._lines.check()
        stream = self._stream.start_tls(ssl_context, server_hostname, timeout)
        self._lines.forget(self)
        return _Line(self._lines, stream)

    def get_extra_info(self, info: str) -> Any:  # as httpcore declares it
        return self._stream.get_extra_info(info)

    def cut(self) -> None:
        """End it now, from another thread: who waits for it is woken."""
        self._linger_not()
        with contextlib.suppress(OSError):
            self._socket().shutdown(socket.SHUT_RDWR)

    def _linger_not(self) -> None:
        with contextlib.suppress(OSError):
            self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)

    def _socket(self) -> socket.socket:
        found = self.get_extra_info("socket")
        assert isinstance(found, socket.socket)
        return found
