"""Starting on a stored log: every entry is checked and folded again, or the host does not start.

About 0.3 ms an entry. Source: log-and-provenance.md 5; attacks 2, 3.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from comity.commons.charter import Charter
from comity.commons.fold import admit, apply, found
from comity.commons.state import State, Void
from comity.errors import ComityError, Malformed, Misconfigured, Rule, Unavailable
from comity.log.heads import TreeHead, parse_signed_head, verify_host
from comity.log.merkle import Tree, leaf_hash
from comity.storage.log_store import SqliteLogStore
from comity.storage.ports import StoredHead
from comity.values import StatementId

HALTED: Final = "halted"
"""A file in the host's folder: the note of a head that this host signed and does not hold."""

_ENTRIES_PER_READ: Final = 128
_LOG = logging.getLogger(__name__)


@final
@dataclass(slots=True)
class Replayed:
    """What the stored log gives. voids: rule of each entry that is void, by index."""

    state: State
    tree: Tree = field(default_factory=Tree)
    indexes: dict[StatementId, int] = field(default_factory=dict)
    voids: dict[int, Rule] = field(default_factory=dict)


def replay(folder: Path, store: SqliteLogStore, charter: Charter, *, origin: str) -> Replayed:
    """Fold the stored log from its start, checking every entry again.

    The head must be signed by whoever is host after all entries, which need not be this host.

    Raises:
        Misconfigured: an entry does not replay, nor the head, or the host has halted.
    """
    if (folder / HALTED).exists():
        raise Misconfigured(
            f"{folder / HALTED} says that this host signed more than is stored here;"
            " let another member host, as docs/operating.md says"
        )
    head = store.head()
    size = head.size if head else 0
    replayed = Replayed(found(charter))
    for first in range(0, size, _ENTRIES_PER_READ):
        for leaf in store.entries(first, first + _ENTRIES_PER_READ):
            try:
                entry = admit(replayed.state, replayed.tree, leaf)
            except ComityError as error:
                raise Misconfigured(
                    f"entry {replayed.tree.size} of {folder} does not replay ({error});"
                    " it is of another charter, or damaged: restore it from a member's copy"
                ) from error
            replayed.state, outcome = apply(replayed.state, entry)
            replayed.tree.append(leaf_hash(leaf))
            replayed.indexes[entry.statement.id] = entry.index
            if isinstance(outcome, Void):
                replayed.voids[entry.index] = outcome.rule
    if head is not None:
        host_keys = replayed.state.keys.get(replayed.state.host)
        _check_head(head, replayed.tree, origin, host_keys.keys.host if host_keys else None)
    return replayed


def halt_if_forgotten(
    folder: Path, note: bytes, origin: str, host_public: bytes, tree: Tree
) -> None:
    """Stop for good when a note shows that this key signed what is not stored here.

    Raises:
        Malformed, Forged: no head of this log, or not signed with this key. Unavailable: halted.
    """
    signed = parse_signed_head(note)
    if signed.head.origin != origin:
        raise Malformed("this is a head of another log")
    verify_host(signed, host_public)
    size = signed.head.size
    if size <= tree.size and tree.root(size) == signed.head.root:
        return
    _LOG.critical("alarm=forgotten-head size=%d here=%d", size, tree.size)
    (folder / HALTED).write_bytes(note)
    refuse_when_halted(folder)


def refuse_when_halted(folder: Path) -> None:
    """Raise Unavailable when this host has been shown to have forgotten what it signed."""
    if (folder / HALTED).exists():
        raise Unavailable(
            "this host has signed a head it does not remember, so it appends nothing more;"
            " another member must host"
        )


def own_folder(folder: Path) -> Path:
    """The host's folder, made when absent. Raises Unavailable."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"cannot make {folder} ({error.strerror}); check its parent") from error
    return folder


def _check_head(stored: StoredHead, tree: Tree, origin: str, host_public: bytes | None) -> None:
    head = TreeHead(origin, tree.size, tree.root())
    try:
        signed = parse_signed_head(stored.note)
        if host_public is not None:
            verify_host(signed, host_public)
    except ComityError as error:
        raise Misconfigured(
            f"the stored head is not signed by the host of this log ({error}); restore the folder"
            " from a member's copy"
        ) from error
    if signed.head != head or (stored.size, stored.root) != (head.size, head.root):
        raise Misconfigured(
            "the stored entries do not give the stored head; restore them from a member's copy"
        )
