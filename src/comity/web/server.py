"""One port that answers under limits: listen, TLS, uvicorn with the bounds that it lacks.

Decided here: how a server is set up, for a host and for a node's mirror alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import errno
import ipaddress
import logging
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

import uvicorn
from cryptography import x509
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from comity.errors import Misconfigured, Unavailable
from comity.values import PlainHttp
from comity.web.bodies import HANG_UP, Times
from comity.web.dispatch import Application

CONNECTIONS_MAX: Final = 1_024
HEAD_BYTES_MAX: Final = 65_536
KEEP_ALIVE_S: Final = 75


@final
class Port:
    """An address that is taken: connections wait there until something serves it.

    Args:
        listen: "address:port"; port 0 takes a free one.
        tls: files of certificate chain and private key, in PEM; None: plain HTTP, which only
            this machine can reach; on purpose: behind a reverse proxy on another machine.
    Raises:
        Misconfigured: `listen` or the TLS files. Unavailable: the port is taken.
    """

    def __init__(self, listen: str, tls: tuple[Path, Path] | PlainHttp | None = None) -> None:
        self._socket = _bind(listen)
        address, port = self._socket.getsockname()[:2]
        try:
            self._tls = _tls_of(tls, address)
        except BaseException:
            self._socket.close()
            raise
        shown = f"[{address}]" if ":" in address else address
        self.url = f"{'https' if self._tls else 'http'}://{shown}:{port}"

    def close(self) -> None:
        """Give the address back."""
        self._socket.close()

    def server(self, app: Application, *, times: Times, on_stop: Callable[[], None]) -> Serving:
        """What serves an application here. on_stop: called first when it is to end."""
        times_of = times

        class Protocol(_Protocol):
            times = times_of

        config = uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            loop="auto",
            lifespan="on",
            log_config=None,
            log_level=logging.WARNING,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=5,
            backlog=CONNECTIONS_MAX,
        )
        server = _Server(config, on_stop)
        if self._tls is not None:
            config.load()
            config.ssl = self._tls
        return Serving(server, self._socket)


@final
class Serving:
    """An application on its port."""

    def __init__(self, server: _Server, bound: socket.socket) -> None:
        self._server, self._socket = server, bound

    def run(self) -> None:
        """Serve until `stop`, or a signal when in the main thread."""
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Answer what is under way and end `run`; may be called from any thread."""
        self._server.should_exit = True

    def cut(self) -> None:
        """End every connection, answered or not, and `run`; may be called from any thread."""
        self._server.cut()


@final
class _Server(uvicorn.Server):
    """uvicorn's server, which ends the long-polls first and leaves with an exit code of 0."""

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def cut(self) -> None:
        self.should_exit = self.force_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stop()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        told = (signal.SIGTERM, signal.SIGINT)
        for number in told:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in told:
                loop.remove_signal_handler(number)


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol with what it lacks: a size and a time limit for the head of a request."""

    times: Times

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._in_head = True
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(self.times.head_s, self._cut)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES_MAX:
            self._cut()

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._head_timer.cancel()
        self._head_timer = self.loop.call_later(self.times.head_s, self._cut)
        super().on_message_begin()
        self.scope["extensions"] = {HANG_UP: {"cut": self._cut}}

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_timer.cancel()
        super().on_headers_complete()

    def _cut(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.abort()


def _bind(listen: str) -> socket.socket:
    address, _, port = listen.rpartition(":")
    address = address.strip("[]")
    if not address or not port.isdigit() or int(port) > 65_535:
        raise Misconfigured(f"listen must look like 127.0.0.1:8440 or [::]:8440, not {listen!r}")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, int(port)))
        bound.listen(CONNECTIONS_MAX)  # whoever is told the URL may connect at once
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise Unavailable(
                f"port {port} of {address} is in use by another program;"
                " stop it, or choose another port in listen"
            ) from error
        raise Misconfigured(f"cannot listen on {listen} ({error.strerror})") from error
    return bound


def _tls_of(tls: tuple[Path, Path] | PlainHttp | None, address: str) -> ssl.SSLContext | None:
    if tls is None and not ipaddress.ip_address(address).is_loopback:
        raise Misconfigured(
            f"{address} is reached from other machines, and plain HTTP shows them everything: give"
            " --tls-chain and --tls-key, or listen on 127.0.0.1 behind a reverse proxy here;"
            " --plain-http-on-purpose is for a reverse proxy on another machine"
        )
    if tls is None or isinstance(tls, PlainHttp):
        return None
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    settings.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        settings.load_cert_chain(*tls)
        certificate = x509.load_pem_x509_certificates(tls[0].read_bytes())[0]
    except (OSError, ssl.SSLError, ValueError) as error:
        raise Misconfigured(f"cannot use the TLS files ({error}); expected PEM") from error
    now = datetime.datetime.now(datetime.UTC)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise Misconfigured(
            f"the certificate in {tls[0]} is valid from {certificate.not_valid_before_utc:%Y-%m-%d}"
            f" to {certificate.not_valid_after_utc:%Y-%m-%d}, so every node would refuse it: renew"
            " it, or set this machine's clock"
        )
    return settings
