"""The exported log of a node: its verified copy up to the newest final head, as static files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

from msgspec import Struct

from comity.commons.charter import Charter
from comity.errors import Unavailable
from comity.node.station import Station
from comity.storage.exporting import ExportFolder
from comity.storage.log_store import SqliteLogStore


@final
class LogExported(Struct, frozen=True, tag="log-exported"):
    """What an export folder shows now. root: hex; written: files written for it."""

    folder: str
    size: int
    root: str
    written: int


@final
@dataclass(frozen=True, slots=True)
class ExportTask:
    """What an export needs of a node; it may be done beside the loop, which goes on."""

    store: SqliteLogStore
    charter: Charter


def export_task(station: Station) -> ExportTask:
    """Make what is final durable, so that the export finds it. For the loop's thread."""
    station.replica.flush()
    return ExportTask(station.replica.store, station.replica.state.founding)


def export_log(task: ExportTask, out: Path) -> LogExported:
    """Write the exported log, or go on with one that is there. 40 µs an entry of the whole log.

    Args:
        out: the folder; made when absent.
    Raises:
        ExportAhead: it shows more than this copy holds, or another history. Misconfigured: it is
            no exported log. Unavailable: nothing is final yet; the disk.
    """
    store = task.store
    final_head = store.head_at(store.final())
    if final_head is None:
        raise Unavailable("no head is final yet: wait until enough members have cosigned one")
    lines = [line for _, line in store.cosignatures(final_head.size)]
    folder = ExportFolder(
        out, task.charter, lambda first, count: store.entries(first, first + count)
    )
    try:
        shown = folder.export(final_head.note, lines)
    finally:
        folder.close()
    return LogExported(str(out.resolve()), shown.size, shown.root.hex(), shown.written)
