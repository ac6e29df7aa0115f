"""What a change of host made a node or a host drop: kept as evidence, never read by the software.

One file for each time, in `dropped/`, made durable before anything is dropped: the signed heads
with their cosignatures, then the envelopes, as JSON lines. Two heads of one size that one host
signed are its fork; an envelope in here that is in no log is one that its author will send again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from comity.storage.disk import DiskFaults, sync_folder
from comity.storage.log_store import SqliteLogStore
from comity.storage.ports import StoredHead

_HEADS_MAX = 1_024


def keep_dropped(folder: Path, store: SqliteLogStore, keep: int) -> Path | None:
    """Write what `store` holds above size `keep` to a file of its own; None when that is nothing.

    Args:
        folder: where `dropped/` is, or will be.
    Raises:
        Unavailable: the disk; then nothing may be dropped.
    """
    heads = [head for head in store.newest_heads(_HEADS_MAX) if head.size > keep]
    newest = store.head()
    leaves = store.entries(keep, newest.size if newest else keep)
    if not heads and not leaves:
        return None
    content = b"".join(_lines(store, heads, keep, leaves))
    place = folder / "dropped"
    name = f"{keep}-{hashlib.sha256(content).hexdigest()[:16]}.jsonl"
    with DiskFaults(folder):
        place.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(place)
    return place / name


def _lines(
    store: SqliteLogStore, heads: Sequence[StoredHead], keep: int, leaves: Sequence[bytes]
) -> list[bytes]:
    lines = []
    for head in heads:
        cosigned = [line.decode() for _, line in store.cosignatures(head.size)]
        said = {"size": head.size, "note": head.note.decode(), "cosignatures": cosigned}
        lines.append(msgspec.json.encode(said) + b"\n")
    for index, leaf in enumerate(leaves, keep):
        lines.append(msgspec.json.encode({"index": index, "envelope": leaf.decode()}) + b"\n")
    return lines
