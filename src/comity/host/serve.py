"""One port, one process: start, serve until told to stop, leave nothing half done.

Memory: uvloop hands every read over as fresh bytes; with the allocator's defaults each goes back to
the kernel and faults in again, which costs three quarters of the throughput (measured). Two
settings at start keep them.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comity.commons.charter import Charter
from comity.host.http import make_app
from comity.host.service import Host
from comity.storage.memory import keep_freed_memory
from comity.web.bodies import Times
from comity.web.server import Port

_LOG = logging.getLogger(__name__)


def run_host(
    folder: Path,
    charter: Charter,
    *,
    host_key: Ed25519PrivateKey,
    listen: str = "127.0.0.1:0",
    ready: Callable[[str], None] | None = None,
    clock: Callable[[], int] = lambda: int(time.time()),
    tls: tuple[Path, Path] | None = None,
    times: Times | None = None,
) -> None:
    """Host a commons until SIGTERM or SIGINT (in the main thread), or for ever.

    Args:
        folder: the host's. listen: "address:port"; port 0 takes a free one.
        ready: told the URL once the host answers; by default it is printed.
        tls: files of certificate chain and private key, in PEM.
        times: how long a peer may take.
    Raises:
        Misconfigured: `listen` or the TLS files; or as `Host`.
        Unavailable: the port is taken; or as `Host`.
    """
    server = HostServer(
        folder, charter, host_key=host_key, listen=listen, clock=clock, tls=tls, times=times
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
        tls: tuple[Path, Path] | None = None,
        times: Times | None = None,
    ) -> None:
        keep_freed_memory()
        self._port = Port(listen, tls)
        try:
            self.host = Host(folder, charter=charter, host_key=host_key, now=clock)
        except BaseException:
            self._port.close()
            raise
        self.url = self._port.url
        times = times or Times()
        app, pulse = make_app(self.host, clock=clock, times=times)
        self._serving = self._port.server(app, times=times, on_stop=pulse.stop)

    def run(self, ready: Callable[[str], None]) -> None:
        """Serve until `stop`, or a signal when in the main thread."""
        _LOG.info("hosting url=%s size=%d", self.url, self.host.published.state.size)
        try:
            ready(self.url)
            self._serving.run()
        finally:
            self._port.close()
            self.host.close()
            _LOG.info("stopped url=%s", self.url)

    def stop(self) -> None:
        """Answer what is under way and end `run`."""
        self._serving.stop()


def _print_line(url: str) -> None:
    sys.stdout.write(f"hosting at {url}\n")
    sys.stdout.flush()
