"""What a host tells its readers: one unchanging picture at a time, with what most of them ask for.

Decided here: which entries stay in memory. Members follow the log closely, so the newest few serve
nearly every request without a look at the disk.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

from comity.commons.state import State
from comity.storage.log_store import SqliteLogStore
from comity.storage.ports import StoredHead

LEAVES_MAX: Final = 256
"""Entries kept in memory: some rounds of ten members, one of twenty."""

BATCH_BYTES_MAX: Final = 2**20
"""Bytes of entries in one answer: few enough to come through a slow line between two cuts."""


@final
@dataclass(frozen=True, slots=True)
class ShownHead:
    """A stored head with the cosignature lines kept for it."""

    head: StoredHead
    lines: tuple[bytes, ...]


@final
@dataclass(frozen=True, slots=True)
class Published:
    """What the host tells: a state, its heads, and a counter.

    newest: None before the first entry. final: the newest final head, if any. leaves: the newest
    entries, up to the state's size. proposed: what would follow, without a head, at a candidate.
    """

    state: State
    newest: ShownHead | None
    final: ShownHead | None
    leaves: tuple[bytes, ...]
    version: int
    proposed: tuple[bytes, ...] = ()

    @property
    def head(self) -> StoredHead | None:
        """The newest head."""
        return self.newest.head if self.newest else None

    @property
    def shown(self) -> list[ShownHead]:
        """The newest final head, if any, then the newest head."""
        if self.final is None or (self.newest and self.final.head.size == self.newest.head.size):
            return [self.newest] if self.newest else []
        return [self.final, *([self.newest] if self.newest else [])]

    def newest_from(self, start: int) -> tuple[bytes, ...] | None:
        """The entries from `start` on; None when they are not all in memory, or not one answer."""
        first = self.state.size - len(self.leaves)
        if start < first:
            return None
        found = self.leaves[start - first :]
        return found if sum(map(len, found)) <= BATCH_BYTES_MAX else None


def shown_head(store: SqliteLogStore, head: StoredHead | None) -> ShownHead | None:
    """A stored head with its cosignatures."""
    if head is None:
        return None
    return ShownHead(head, tuple(line for _, line in store.cosignatures(head.size)))


def newest_leaves(before: Iterable[bytes], added: Iterable[bytes]) -> tuple[bytes, ...]:
    """What stays in memory once `added` is in the log."""
    return (*before, *added)[-LEAVES_MAX:]
