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
from comity.errors import Misconfigured
from comity.host.exporting import Exporting
from comity.host.http import make_app
from comity.host.service import Host
from comity.storage.memory import keep_freed_memory
from comity.values import PlainHttp
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
    tls: tuple[Path, Path] | PlainHttp | None = None,
    times: Times | None = None,
    tiles: Path | None = None,
    in_office_only: bool = False,
) -> None:
    """Host a commons until SIGTERM or SIGINT (in the main thread), or for ever.

    Args:
        folder: the host's. listen: "address:port"; port 0 takes a free one.
        ready: told the URL once the host answers; by default it is printed.
        tls: as `Port` takes it. times: how long a peer may take.
        tiles: a folder that shows every final head as static files.
        in_office_only: refuse to start where the log says that another member hosts.
    Raises:
        Misconfigured: `listen` or the TLS files; or as `Host` and `Exporting`; or another member
            hosts.
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
    state = server.host.published.state
    if in_office_only and not server.host.in_office:
        server.close()
        raise Misconfigured(
            f"{state.host} hosts since entry {state.epoch.host_size}, at"
            f" {state.changes.offers.get(state.host, 'an address of its own')}: what this host"
            " would sign counts no more. Your node follows by itself; to host again, offer to, and"
            " run `comity host takeover`"
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
        self._exporting: Exporting | None = None
        self._port = Port(listen, tls)
        try:
            self.host = Host(folder, charter=charter, host_key=host_key, now=clock)
            if tiles is not None:
                self._exporting = self._exports(folder, tiles, host_key)
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
            if self._exporting is not None:
                self._exporting.start()
            ready(self.url)
            self._serving.run()
        finally:
            self.close()
            _LOG.info("stopped url=%s", self.url)

    def close(self) -> None:
        """Give port and folder back, also without having served."""
        self._port.close()
        if self._exporting is not None:
            self._exporting.close()
        self.host.close()

    def _exports(self, folder: Path, tiles: Path, host_key: Ed25519PrivateKey) -> Exporting:
        public = host_key.public_key().public_bytes_raw()
        try:
            return Exporting(self.host, folder, tiles, host_public=public)
        except BaseException:
            self.host.close()
            raise

    def stop(self) -> None:
        """Answer what is under way and end `run`."""
        self._serving.stop()


def _print_line(url: str) -> None:
    sys.stdout.write(f"hosting at {url}\n")
    sys.stdout.flush()
