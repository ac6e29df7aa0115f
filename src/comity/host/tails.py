"""A longer history of this log that a member hands in: checked from the last entry that is shared.

A candidate learns so what the old host signed and it has not seen; a host that was replaced learns
so that it was. A tail says nothing but what its entries mean: its head is judged with the key of
whoever is host after them (rule 8). Nothing at or below a final head of this store is ever given
up. Source: log-and-provenance.md 7.4; architecture.md 1.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

from comity.commons.charter import Charter
from comity.commons.fold import admit, apply, found
from comity.commons.state import State
from comity.errors import Forged, Malformed, Refused, Rule
from comity.host.drafts import Draft
from comity.log.heads import parse_signed_head, verify_host
from comity.log.merkle import Tree
from comity.statements.entries import Entry
from comity.statements.wire import read
from comity.storage.log_store import SqliteLogStore
from comity.storage.ports import StoredHead

_ENTRIES_PER_READ: Final = 128


@final
@dataclass(frozen=True, slots=True)
class Tail:
    """A signed head and all entries from `start` up to it, as a member sent them; unchecked."""

    note: bytes
    start: int
    leaves: tuple[bytes, ...]


@final
@dataclass(frozen=True, slots=True)
class CheckedTail:
    """What a tail adds after `keep` entries of this log. tree: of the whole log with it."""

    keep: int
    head: StoredHead
    draft: Draft
    tree: Tree

    @property
    def state(self) -> State:
        """What the log means with it."""
        return self.draft.state


def verify_tail(
    tail: Tail, *, state: State, store: SqliteLogStore, origin: str, charter: Charter
) -> CheckedTail | None:
    """Check a tail against this log; None when it adds nothing.

    Args:
        state: what all stored entries mean.
    Raises:
        Malformed, Forged, Refused: it does not continue this log, an entry is not admissible, its
            head is not signed by whoever is host there, or it would undo a final head.
    """
    signed = parse_signed_head(tail.note)
    if signed.head.origin != origin:
        raise Malformed("this is a head of another log")
    if signed.head.size != tail.start + len(tail.leaves) or tail.start > state.size:
        raise Malformed("a tail is all entries from one that is here up to its head")
    keep = tail.start + _shared(store, tail)
    if keep == signed.head.size:
        return None
    if keep < store.final():
        raise Refused(
            Rule.HEAD_UNKNOWN,
            f"the head of size {store.final()} is final here and the tail leaves this log at entry"
            f" {keep}: two histories; keep both, and let the operators talk",
        )
    tree = Tree(list(store.leaf_hashes())[:keep])
    before = state if keep == state.size else _state_at(store, charter, keep)
    draft = _fold(before, tree, tail.leaves[keep - tail.start :])
    after = draft.state
    if tree.root() != signed.head.root:
        raise Forged("the entries of the tail do not give the root of its head")
    host_keys = after.keys.get(after.host)
    if host_keys is None:
        raise Malformed("the tail ends before the first host has entered")
    verify_host(signed, host_keys.keys.host)
    head = StoredHead(signed.head.size, signed.head.root, tail.note)
    return CheckedTail(keep, head, draft, tree)


def supersedes(checked: CheckedTail, here: State) -> bool:
    """Whether a tail that leaves this log takes its place: a newer epoch, or the longer history.

    Of two that one host signed the longer is kept, the same choice for everybody who sees both.
    """
    return (checked.state.epoch.number, checked.head.size) > (here.epoch.number, here.size)


def _shared(store: SqliteLogStore, tail: Tail) -> int:
    """How many entries of the tail are here already, at their places."""
    count = 0
    while count < len(tail.leaves):
        at = tail.start + count
        here = store.entries(at, at + _ENTRIES_PER_READ)
        for leaf, other in zip(here, tail.leaves[count:], strict=False):
            if leaf != other:
                return count
            count += 1
        if len(here) < _ENTRIES_PER_READ:
            break
    return count


def _state_at(store: SqliteLogStore, charter: Charter, size: int) -> State:
    state = found(charter)
    for first in range(0, size, _ENTRIES_PER_READ):
        stop = min(size, first + _ENTRIES_PER_READ)
        for index, leaf in enumerate(store.entries(first, stop), first):
            state, _ = apply(state, Entry(index, leaf, read(leaf).statement))
    return state


def _fold(state: State, tree: Tree, leaves: Sequence[bytes]) -> Draft:
    draft = Draft(state)
    for leaf in leaves:
        entry = admit(draft.state, tree, leaf)
        draft.add(entry, *apply(draft.state, entry))
        tree.append(draft.rows[-1].leaf_hash)
    return draft
