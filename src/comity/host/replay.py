"""Starting on a stored log: every entry is checked and folded again, or the host does not start.

About 0.3 ms an entry. Source: log-and-provenance.md 5; attacks 2, 3.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from comity.commons.charter import Charter
from comity.commons.fold import admit, apply, found
from comity.commons.state import State, Void
from comity.errors import ComityError, Misconfigured, Rule, Unavailable
from comity.log.heads import TreeHead, parse_signed_head, verify_host
from comity.log.merkle import Tree, leaf_hash
from comity.storage.log_store import SqliteLogStore
from comity.storage.ports import StoredHead
from comity.values import StatementId

HALTED: Final = "halted"
"""A file in the host's folder: the note of a head that this host signed and does not hold."""

_ENTRIES_PER_READ: Final = 128


@final
@dataclass(slots=True)
class Replayed:
    """What the stored log gives. voids: rule of each entry that is void, by index."""

    state: State
    tree: Tree = field(default_factory=Tree)
    indexes: dict[StatementId, int] = field(default_factory=dict)
    voids: dict[int, Rule] = field(default_factory=dict)


def replay(
    folder: Path, store: SqliteLogStore, charter: Charter, *, origin: str, host_public: bytes
) -> Replayed:
    """Fold the stored log from its start, checking every entry again.

    Raises:
        Misconfigured: an entry does not replay, the head is not ours, or the host has halted.
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
        _check_own_head(head, replayed.tree, origin, host_public)
    host = replayed.state.host
    host_keys = replayed.state.keys.get(host)
    if host_keys is not None and host_keys.keys.host != host_public:
        raise Misconfigured(
            f"this is not the host key in force of {host}, who hosts after entry {size};"
            " use that member's key file"
        )
    return replayed


def own_folder(folder: Path) -> Path:
    """The host's folder, made when absent. Raises Unavailable."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"cannot make {folder} ({error.strerror}); check its parent") from error
    return folder


def _check_own_head(stored: StoredHead, tree: Tree, origin: str, host_public: bytes) -> None:
    try:
        signed = parse_signed_head(stored.note)
        verify_host(signed, host_public)
    except ComityError as error:
        raise Misconfigured(
            f"the stored head is not signed with this host key ({error}); use the key file"
            " this folder was made with"
        ) from error
    head = TreeHead(origin, tree.size, tree.root())
    if signed.head != head or (stored.size, stored.root) != (head.size, head.root):
        raise Misconfigured(
            "the stored entries do not give the stored head; restore them from a member's copy"
        )
