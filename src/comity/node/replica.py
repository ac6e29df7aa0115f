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
from comity.commons.state import Epoch, Outcome, State
from comity.errors import ComityError, Forged, HostFault, HostFaultKind, Malformed
from comity.log.evidence import host_fork
from comity.log.evidence_forms import KnownKeys
from comity.log.heads import (
    Cosignature,
    SignedHead,
    TreeHead,
    origin_of,
    parse_cosignature,
    parse_signed_head,
    verify_host,
)
from comity.log.inadmissible import inadmissible_entry, signature_misfit
from comity.log.merkle import leaf_hash
from comity.log.view import View
from comity.statements.entries import Entry
from comity.statements.governing import PublicKeys
from comity.statements.wire import read
from comity.storage.database import pass_by
from comity.storage.dropped import keep_dropped
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
        self.path = path
        self.store = SqliteLogStore(path, hook=hook)
        self.view = View(self.origin)
        self.state: State = found(charter)
        self._unstored: list[Row] = []
        self._newest: StoredHead | None = None
        self._past = (0, self.state)
        self.known_keys = KnownKeys({}, self.origin)
        """Every key set that this copy of the log has shown, by member."""
        self._replay()

    def close(self) -> None:
        """Store what is left and give the file back."""
        try:
            self.flush()
        finally:
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
            Malformed, Forged, HostFault: nothing is stored; the host is at fault. Forged also when
                whoever signed hosts no more, or not yet, after these entries (rule 8, attack 35).
        """
        if len(self._unstored) >= UNSTORED_MAX:
            self.flush()
        signed = parse_signed_head(note)
        taken = self._advance(signed, leaves)
        if taken is None:
            return []
        applied, state = taken
        self._unstored += [_row(entry) for entry, _ in applied]
        self._newest = _stored(signed, note)
        self.state = state
        return applied

    def replace_tail(
        self, keep: int, applied: Sequence[Applied], state: State, note: bytes
    ) -> None:
        """Take another history's entries for all that is above `keep`; durable on return.

        For `histories.check_successor` to allow. Never below the newest final head. What is dropped
        is kept as evidence beside the file, first.

        Args:
            applied: entries from `keep` on, with what became of each. state: after them. note: of
                the head that covers exactly them.
        Raises:
            Unavailable: the disk; nothing has changed.
        """
        assert keep >= self.final_size
        self.flush()
        old = self.store.head()
        assert old is not None, "what is replaced was stored"
        if keep < old.size:
            keep_dropped(self.path.parent, self.store, keep)
        signed = parse_signed_head(note)
        newest = _stored(signed, note)
        # Die here: what would be dropped is in a file as well, and is still in the log.
        self.store.replace_tail(keep, [_row(entry) for entry, _ in applied], old, newest)
        self.view.tree.truncate(keep)
        self.view.tree.extend(leaf_hash(entry.leaf) for entry, _ in applied)
        self.view.head, self._newest, self.state = signed, newest, state
        self._past = (0, found(state.founding))

    def compare(self, notes: Sequence[bytes]) -> None:
        """Compare the heads a host shows with this copy; heads beyond it are left for `take`.

        Raises:
            HostFault(SPLIT_VIEW): one has another root than this copy at its size; with evidence
                where a head of the same host key is stored here.
            Forged: such a one, and the host did not sign it.
            HostFault(ROLLBACK): the newest is older than this copy (attack 2 of the log).
        """
        heads = [parse_signed_head(note) for note in notes]
        for signed in heads:
            self.check_prefix(signed)
        newest = max((signed.head.size for signed in heads), default=0)
        if newest < self.state.size:
            raise HostFault(
                HostFaultKind.ROLLBACK,
                f"the host shows a log of {newest} entries, it has shown {self.state.size}",
            )

    def check_prefix(self, signed: SignedHead) -> bool:
        """Compare a head of any source with this copy; whether it is of this copy's size or less.

        Raises: SPLIT_VIEW and Forged as `compare`. The state is not changed.
        """
        size = signed.head.size
        if size > self.state.size:
            return False
        if not self.view.final_root_known(size, signed.head.root):
            host_public = host_key(self.state, size)
            assert host_public is not None, "size 0 has one root"
            if signed.head.origin != self.origin:
                raise Forged(f"head is of another log; expected origin {self.origin}")
            verify_host(signed, host_public)
            message = f"the host signed another root for size {size}"
            raise HostFault(HostFaultKind.SPLIT_VIEW, message, self._fork(signed, host_public))
        return True

    def _fork(self, signed: SignedHead, host_public: bytes) -> bytes:
        """Evidence that the head is not of this log; empty when no head here is of the same key."""
        final, newest = self.store.head_at(self.store.final()), self.view.head
        mine = [newest] if newest is not None else []
        if final is not None:
            mine.append(parse_signed_head(final.note))
        for head in mine:
            if head.head.size >= signed.head.size and signed_by(head, host_public):
                return host_fork(signed, head, self.view.tree)
        return b""

    def judge(self, index: int, root: bytes, entry: bytes) -> bool | None:
        """Whether an entry must not be at `index` of the log with this root before it.

        Returns:
            None when this copy does not hold that log.
        """
        if index > self.state.size or self.view.tree.root(index) != root:
            return None
        try:
            admit(self.state_before(index), self.view.tree, entry)
        except ComityError:
            return True
        return False

    @property
    def host_public(self) -> bytes | None:
        """The key that signs heads now; None before the host has entered."""
        return _host_key(self.state.epoch)

    def take_cosignatures(self, note: bytes, lines: Iterable[bytes]) -> bool:
        """Count cosignatures of a head below this copy's size; keep them and the head when final.

        Returns:
            Whether a newer final head is now known.
        Raises:
            Malformed, Forged: a line or the head does not fit; nothing is counted.
        """
        signed = parse_signed_head(note)
        size = signed.head.size
        if size <= self.final_size or size > self.view.tree.size:
            return False
        epoch = self.state.epoch_at(size)
        host_public = _host_key(epoch)
        if host_public is None:
            return False
        self.check_prefix(signed)
        verify_host(signed, host_public)
        keys = {member: entered.keys.head for member, entered in epoch.keys.items()}
        cosignatures = [parse_cosignature(line) for line in lines]
        if not self.view.take_cosignatures(size, cosignatures, keys, epoch.quorum):
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
            start, state = 0, found(self.state.founding)
        for at, envelope in enumerate(self.entries(start, index), start):
            state, _ = apply(state, Entry(at, envelope, read(envelope).statement))
        self._past = (index, state)
        return state

    def _advance(
        self, signed: SignedHead, leaves: Sequence[bytes]
    ) -> tuple[list[Applied], State] | None:
        """Fold what the head covers, and take the head if its host is host after that.

        None, and nothing is taken, when the entries do not show the host's key yet.
        """
        applied, state, fault = self._fold(leaves)
        older = signed.head.size < state.size
        host_public = _host_key(state.epoch_at(signed.head.size) if older else state.epoch)
        if host_public is None:
            if fault is not None:
                raise Forged(f"entry {state.size} must not be in the log: {fault}") from fault
            return None
        size, head = self.view.tree.size, self.view.head
        self.view.advance(signed, leaves, host_public)
        self.known_keys = _keys_known(state, self.origin)
        if fault is not None:
            evidence = self._inadmissible(leaves, state.size)
            # What must not be in a log is not in this one: its tree stays that of its state.
            self.view.tree.truncate(size)
            self.view.head = head
            raise HostFault(
                HostFaultKind.INADMISSIBLE,
                f"entry {state.size} must not be in the log: {fault}",
                evidence,
            ) from fault
        return applied, state

    def _fold(self, leaves: Sequence[bytes]) -> tuple[list[Applied], State, ComityError | None]:
        """Admit and apply entries up to the first inadmissible one; neither tree nor state moves.

        Nobody has signed for them yet, so what is wrong with them is not anybody's fault here.
        """
        state, applied, fault = self.state, [], None
        tree = self.view.tree
        size = tree.size
        tree.extend([leaf_hash(leaf) for leaf in leaves])
        try:
            for leaf in leaves:
                entry = admit(state, tree, leaf)
                state, outcome = apply(state, entry)
                applied.append((entry, outcome))
        except ComityError as error:
            fault = error
        finally:
            tree.truncate(size)
        return applied, state, fault

    def _inadmissible(self, leaves: Sequence[bytes], index: int) -> bytes:
        """Evidence about one of the entries that lead to the newest head of the view."""
        signed, first = self.view.head, self.view.tree.size - len(leaves)
        assert signed is not None

        def leaf_at(at: int) -> bytes:
            return leaves[at - first] if at >= first else self.entries(at, at + 1)[0]

        tree, entry = self.view.tree, leaf_at(index)
        evidence = inadmissible_entry(signed, tree, entry, index, leaf_at)
        return signature_misfit(evidence, self.known_keys)

    def _replay(self) -> None:
        stored = self._newest = self.store.head()
        if stored is None:
            return
        leaves = self.store.entries(0, stored.size)
        if len(leaves) != stored.size:
            raise Malformed("the stored log lacks entries; restore its file, or start anew")
        taken = self._advance(parse_signed_head(stored.note), leaves)
        assert taken is not None, "nothing is stored before the host's key is known"
        self.state = taken[1]
        size = self.store.final()
        if size:
            self.view.final = TreeHead(self.origin, size, self.view.tree.root(size))


def host_key(state: State, size: int) -> bytes | None:
    """The *host* key for heads of this size (rule 8), as far as the state knows its epochs."""
    return _host_key(epoch_of(state, size))


def epoch_of(state: State, size: int) -> Epoch:
    """The epoch in force at a size; of what is not here yet, the one in force now."""
    return state.epoch_at(min(size, state.size))


def signed_by(signed: SignedHead, host_public: bytes) -> bool:
    """Whether the holder of this *host* key signed a head."""
    try:
        verify_host(signed, host_public)
    except Forged:
        return False
    return True


def _keys_known(state: State, origin: str) -> KnownKeys:
    known: dict[MemberId, list[PublicKeys]] = {}
    for epoch in (*state.past, state.epoch):
        for member, key_set in epoch.keys.items():
            sets = known.setdefault(member, [])
            if key_set.keys not in sets:
                sets.append(key_set.keys)
    return KnownKeys(known, origin)


def _host_key(epoch: Epoch) -> bytes | None:
    """The *host* key that signs heads in this epoch; None while its host has not entered."""
    host = epoch.keys.get(epoch.host)
    return host.keys.host if host is not None else None


def _known(cosignatures: list[Cosignature], keys: dict[MemberId, bytes]) -> list[Cosignature]:
    return [cosignature for cosignature in cosignatures if cosignature.member in keys]


def _stored(signed: SignedHead, note: bytes) -> StoredHead:
    return StoredHead(signed.head.size, signed.head.root, note)


def _row(entry: Entry) -> Row:
    statement = entry.statement
    return Row(entry.leaf, leaf_hash(entry.leaf), statement.id, statement.author, statement.seq)
