"""The host's own export: a thread that shows every final head as static files, soon after it is so.

The log does not wait for it: a full disk stops the export, is said, and tried again. Before the
host serves, what the folder shows is compared with the log; who shows more than is stored was
restored from a backup and would fork, so it halts (log-and-provenance.md 5, attack 3).
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Final, final

from comity.errors import ComityError
from comity.host.replay import HALTED
from comity.host.service import Host
from comity.log.heads import parse_signed_head, verify_host
from comity.storage.exporting import ExportAhead, ExportFolder

RETRY_S: Final = 10.0
"""How long to wait after a failed export, unless there is news before."""
_LOG = logging.getLogger(__name__)


@final
class Exporting:
    """Exports a host's log into one folder, from `start` to `close`.

    Args:
        host: open. folder: the host's own. tiles: where the files go.
        host_public: of the key that the host signs with.
    Raises:
        ExportAhead: the files show more than the host holds. If this host's key signed it, the
            host has halted for good. Misconfigured, Unavailable: as `ExportFolder`.
    """

    def __init__(self, host: Host, folder: Path, tiles: Path, *, host_public: bytes) -> None:
        self._host = host
        self._folder = ExportFolder(tiles, host.published.state.founding, self._read)
        self._news = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="host-export", daemon=True)
        try:
            self._folder.compare(host.published.state.size)
        except ExportAhead as error:
            self._folder.close()
            if _signed_by(error.note, host_public):
                (folder / HALTED).write_bytes(error.note)
            raise
        except BaseException:
            self._folder.close()
            raise

    def start(self) -> None:
        """Show what is final now, and follow."""
        self._host.listen(self._news.set)
        self._news.set()
        self._thread.start()

    def close(self) -> None:
        """End after the export under way."""
        self._closing = True
        self._news.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._folder.close()

    def _run(self) -> None:
        done, failed = None, False
        while True:
            self._news.wait(RETRY_S if failed else None)
            self._news.clear()
            if self._closing:
                return
            final_head = self._host.published.final
            if final_head is None or final_head == done:
                continue
            try:
                shown = self._folder.export(final_head.head.note, final_head.lines)
            except ComityError as error:
                failed = True
                _LOG.error("export failed, tried again in %d s: %s", RETRY_S, error)
                continue
            except Exception:
                failed = True
                _LOG.exception("export failed")
                continue
            done, failed = final_head, False
            _LOG.info("exported size=%d files=%d", shown.size, shown.written)

    def _read(self, first: int, count: int) -> list[bytes]:
        taken: list[bytes] = []
        while len(taken) < count:
            more = self._host.entries(first + len(taken))
            if not more:
                break
            taken += more
        return taken[:count]


def _signed_by(note: bytes, host_public: bytes) -> bool:
    try:
        verify_host(parse_signed_head(note), host_public)
    except ComityError:
        return False
    return True
