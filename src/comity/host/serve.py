"""One port, one process: start, serve until told to stop, leave nothing half done.

Decided here: how the server is set up. Memory: uvloop hands every read over as fresh bytes; with
the allocator's defaults each goes back to the kernel and faults in again, which costs three
quarters of the throughput (measured). Two settings at start keep them.
"""

from __future__ import annotations

import asyncio
import datetime
import errno
import ipaddress
import logging
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from comity.commons.charter import Charter
from comity.errors import Misconfigured, Unavailable
from comity.host.bodies import Times
from comity.host.exporting import Exporting
from comity.host.http import make_app
from comity.host.pulse import Pulse
from comity.host.service import Host
from comity.storage.memory import keep_freed_memory
from comity.values import PlainHttp

CONNECTIONS_MAX: Final = 1_024
HEAD_BYTES_MAX: Final = 65_536
KEEP_ALIVE_S: Final = 75
_LOG = logging.getLogger(__name__)


def run_host(
    folder: Path,
    charter: Charter,
    *,
    host_key: Ed25519PrivateKey,
    listen: str = "127.0.0.1:0",
    ready: Callable[[str], None] | None = None,
    clock: Callable[[], int] = lambda: int(time.time()),
    tls: tuple[Path, Path] | PlainHttp | None = None,
    times: Times | None = None,
    tiles: Path | None = None,
) -> None:
    """Host a commons until SIGTERM or SIGINT (in the main thread), or for ever.

    Args:
        folder: the host's. listen: "address:port"; port 0 takes a free one.
        ready: told the URL once the host answers; by default it is printed.
        tls: files of certificate chain and private key, in PEM; None: plain HTTP, which only
            this machine can reach; on purpose: behind a reverse proxy on another machine.
        times: how long a peer may take.
        tiles: a folder that shows every final head as static files.
    Raises:
        Misconfigured: `listen` or the TLS files; or as `Host` and `Exporting`.
        Unavailable: the port is taken; or as `Host`.
    """
    server = HostServer(
        folder,
        charter,
        host_key=host_key,
        listen=listen,
        clock=clock,
        tls=tls,
        times=times,
        tiles=tiles,
    )
    server.run(ready or _print_line)


@final
class HostServer:
    """A host on its port; `run` serves, `stop` (from any thread) ends it. Arguments: `run_host`."""

    def __init__(
        self,
        folder: Path,
        charter: Charter,
        *,
        host_key: Ed25519PrivateKey,
        listen: str,
        clock: Callable[[], int],
        tls: tuple[Path, Path] | PlainHttp | None = None,
        times: Times | None = None,
        tiles: Path | None = None,
    ) -> None:
        keep_freed_memory()
        self._times = times or Times()
        self._exporting: Exporting | None = None
        self._socket = _bind(listen)
        address, port = self._socket.getsockname()[:2]
        try:
            tls_settings = _tls_of(tls, address)
            self.host = Host(folder, charter=charter, host_key=host_key, now=clock)
            if tiles is not None:
                self._exporting = self._exports(folder, tiles, host_key)
        except BaseException:
            self._socket.close()
            raise
        shown = f"[{address}]" if ":" in address else address
        self.url = f"{'https' if tls_settings else 'http'}://{shown}:{port}"
        app, self._pulse = make_app(self.host, clock=clock, times=self._times)
        times_of = self._times

        class Protocol(_Protocol):
            times = times_of

        self._server = _Server(
            uvicorn.Config(
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
            ),
            self._pulse,
        )
        if tls_settings is not None:
            self._server.config.load()
            self._server.config.ssl = tls_settings

    def run(self, ready: Callable[[str], None]) -> None:
        """Serve until `stop`, or a signal when in the main thread."""
        _LOG.info("hosting url=%s size=%d", self.url, self.host.published.state.size)
        try:
            if self._exporting is not None:
                self._exporting.start()
            ready(self.url)
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()
            if self._exporting is not None:
                self._exporting.close()
            self.host.close()
            _LOG.info("stopped url=%s", self.url)

    def _exports(self, folder: Path, tiles: Path, host_key: Ed25519PrivateKey) -> Exporting:
        public = host_key.public_key().public_bytes_raw()
        try:
            return Exporting(self.host, folder, tiles, host_public=public)
        except BaseException:
            self.host.close()
            raise

    def stop(self) -> None:
        """Answer what is under way and end `run`."""
        self._server.should_exit = True


@final
class _Server(uvicorn.Server):
    """uvicorn's server, which ends the long-polls first and leaves with an exit code of 0."""

    def __init__(self, config: uvicorn.Config, pulse: Pulse) -> None:
        super().__init__(config)
        self._pulse = pulse

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._pulse.stop()
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


def _print_line(url: str) -> None:
    sys.stdout.write(f"hosting at {url}\n")
    sys.stdout.flush()
