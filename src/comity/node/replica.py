"""This node's own verified copy of the log: entries, heads, and what they mean.

Everything the host sends passes here: the head's signature, the root from the entries, every
entry's form, chain and signature, then the fold. What fails is the host's fault and is never
stored. `flush` makes what was taken durable; a node flushes before it cosigns, so a cosignature
always means "stored". A node that dies before that starts from an earlier head and asks again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, final

from comity.commons.charter import Charter, commons_id
from comity.commons.fold import admit, apply, found
from comity.commons.state import Outcome, State
from comity.errors import ComityError, Forged, HostFault, HostFaultKind, Malformed
from comity.log.heads import (
    Cosignature,
    SignedHead,
    TreeHead,
    origin_of,
    parse_cosignature,
    parse_signed_head,
    verify_host,
)
from comity.log.merkle import leaf_hash
from comity.log.view import View
from comity.statements.entries import Entry
from comity.statements.governing import CommonsFound
from comity.statements.keysets import key_set_digest
from comity.statements.wire import read
from comity.storage.database import pass_by
from comity.storage.log_store import SqliteLogStore
from comity.storage.ports import Hook, Row, StoredHead
from comity.values import MemberId

UNSTORED_MAX: Final = 1_024
"""Entries taken before they are stored at the latest."""

Applied = tuple[Entry, Outcome]


@final
class Replica:
    """One member's copy of one commons' log.

    Args:
        path: of its SQLite file; made when absent.
        charter: the founding charter this member signed; its digest is the commons id.
        hook: called at the commit points of the store.
    Raises:
        HostFault(INADMISSIBLE), Forged: the stored log does not replay; it was changed on disk.
    """

    def __init__(self, path: Path, charter: Charter, *, hook: Hook = pass_by) -> None:
        self.commons = commons_id(charter)
        self.origin = origin_of(self.commons, charter.origin_prefix)
        self.store = SqliteLogStore(path, hook=hook)
        self.view = View(self.origin)
        self.state: State = found(charter)
        self._unstored: list[Row] = []
        self._newest: StoredHead | None = None
        self._past = (0, self.state)
        self._replay()

    def close(self) -> None:
        """Store what is left and give the file back."""
        self.flush()
        self.store.close()

    def flush(self) -> None:
        """Make every entry taken so far, and its head, durable. Raises Unavailable: the disk."""
        if self._newest is None:
            return
        if self._unstored or self.store.head() is None:
            stored = self.store.head()
            first = self._newest.size - len(self._unstored)
            # A commit that failed may be on disk all the same: what is there is not added again.
            rows = self._unstored[(stored.size if stored else 0) - first :]
            if rows or stored is None:
                self.store.append(rows, stored, self._newest)
            self._unstored = []

    @property
    def final_size(self) -> int:
        """Size of the newest final head this node has verified."""
        return self.view.final.size

    def take(self, note: bytes, leaves: Sequence[bytes]) -> list[Applied]:
        """Verify a newer head with the entries that lead to it, replay and store them.

        Args:
            note: the head's signed text form. leaves: entries from this copy's size on.
        Returns:
            What was applied, in order; empty when the host's key is not known yet.
        Raises:
            Malformed, Forged, HostFault: nothing is stored; the host is at fault.
        """
        if len(self._unstored) >= UNSTORED_MAX:
            self.flush()
        signed = parse_signed_head(note)
        host_public = self._host_key(leaves)
        if host_public is None:
            return []
        self.view.advance(signed, leaves, host_public)
        applied, state = self._fold(leaves)
        self._unstored += [_row(entry) for entry, _ in applied]
        self._newest = _stored(signed, note)
        self.state = state
        return applied

    def compare(self, notes: Sequence[bytes]) -> None:
        """Compare the heads a host shows with this copy; heads beyond it are left for `take`.

        Raises:
            HostFault(SPLIT_VIEW): one has another root than this copy at its size.
            HostFault(ROLLBACK): the newest is older than this copy (attack 2 of the log).
        """
        heads = [parse_signed_head(note) for note in notes]
        for signed, note in zip(heads, notes, strict=True):
            size, root = signed.head.size, signed.head.root
            if size <= self.state.size and not self.view.final_root_known(size, root):
                raise HostFault(HostFaultKind.SPLIT_VIEW, f"another root for size {size}", note)
        newest = max((signed.head.size for signed in heads), default=0)
        if newest < self.state.size:
            raise HostFault(
                HostFaultKind.ROLLBACK,
                f"the host shows a log of {newest} entries, it has shown {self.state.size}",
            )

    def take_cosignatures(self, note: bytes, lines: Iterable[bytes]) -> bool:
        """Count cosignatures of a head below this copy's size; keep them and the head when final.

        Returns:
            Whether a newer final head is now known.
        Raises:
            Malformed, Forged: a line or the head does not fit; nothing is counted.
        """
        signed = parse_signed_head(note)
        size = signed.head.size
        host_public = self._host_key(())
        if size <= self.final_size or size > self.view.tree.size or host_public is None:
            return False
        if not self.view.final_root_known(size, signed.head.root):
            raise HostFault(HostFaultKind.SPLIT_VIEW, f"another root for size {size}", note)
        verify_host(signed, host_public)
        keys = {member: entered.keys.head for member, entered in self.state.keys.items()}
        cosignatures = [parse_cosignature(line) for line in lines]
        if not self.view.take_cosignatures(size, cosignatures, keys, self.state.quorum):
            return False
        self.flush()
        self.store.keep_head(_stored(signed, note))
        self.store.cosign(size, [(c.member, c.line()) for c in _known(cosignatures, keys)])
        self.store.set_final(size)
        return True

    def final_head(self) -> tuple[SignedHead, tuple[Cosignature, ...]] | None:
        """The newest final head as the host signed it, with the cosignatures kept for it."""
        size = self.store.final()
        stored = self.store.head_at(size)
        if stored is None:
            return None
        lines = self.store.cosignatures(size)
        return parse_signed_head(stored.note), tuple(parse_cosignature(line) for _, line in lines)

    def newest(self) -> TreeHead | None:
        """The newest head of this copy, to be cosigned."""
        return self.view.head.head if self.view.head else None

    def newest_note(self) -> bytes | None:
        """Its signed text form: shows a host that was restored what it has signed."""
        return self._newest.note if self._newest else None

    def entries(self, start: int, stop: int) -> list[bytes]:
        """Envelopes by index."""
        self.flush()
        return self.store.entries(start, stop)

    def state_before(self, index: int) -> State:
        """What the log meant before its entry `index`; replays it, so ask in rising order."""
        start, state = self._past
        if start > index:
            start, state = 0, found(self.state.charter)
        for at, envelope in enumerate(self.entries(start, index), start):
            state, _ = apply(state, Entry(at, envelope, read(envelope).statement))
        self._past = (index, state)
        return state

    def _host_key(self, leaves: Sequence[bytes]) -> bytes | None:
        """The host's key: from the state, or from its founding statement among these entries."""
        charter = self.state.charter
        if charter.host in self.state.keys:
            return self.state.keys[charter.host].keys.host
        pinned = {founder.id: founder.keys for founder in charter.founders}
        for leaf in leaves:
            statement = read(leaf).statement
            body = statement.body
            if isinstance(body, CommonsFound) and statement.author == charter.host:
                if key_set_digest(body.key_set) != pinned[charter.host]:
                    raise Forged("the host's key set is not the one in the charter")
                return body.key_set.keys.host
        return None

    def _fold(self, leaves: Sequence[bytes]) -> tuple[list[Applied], State]:
        """Admit and apply entries that the newest head covers; the state is not yet ours."""
        state, applied = self.state, []
        for leaf in leaves:
            try:
                entry = admit(state, self.view.tree, leaf)
            except ComityError as error:
                raise HostFault(
                    HostFaultKind.INADMISSIBLE,
                    f"entry {state.size} must not be in the log: {error}",
                    leaf,
                ) from error
            state, outcome = apply(state, entry)
            applied.append((entry, outcome))
        return applied, state

    def _replay(self) -> None:
        stored = self._newest = self.store.head()
        if stored is None:
            return
        leaves = self.store.entries(0, stored.size)
        if len(leaves) != stored.size:
            raise Malformed("the stored log lacks entries; restore its file, or start anew")
        host_public = self._host_key(leaves)
        assert host_public is not None, "nothing is stored before the host's key is known"
        self.view.advance(parse_signed_head(stored.note), leaves, host_public)
        _, self.state = self._fold(leaves)
        size = self.store.final()
        if size:
            self.view.final = TreeHead(self.origin, size, self.view.tree.root(size))


def _known(cosignatures: list[Cosignature], keys: dict[MemberId, bytes]) -> list[Cosignature]:
    return [cosignature for cosignature in cosignatures if cosignature.member in keys]


def _stored(signed: SignedHead, note: bytes) -> StoredHead:
    return StoredHead(signed.head.size, signed.head.root, note)


def _row(entry: Entry) -> Row:
    statement = entry.statement
    return Row(entry.leaf, leaf_hash(entry.leaf), statement.id, statement.author, statement.seq)
