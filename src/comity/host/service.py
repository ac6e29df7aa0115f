"""The single writer: admissible? -> append -> sign -> publish.

Decided here: what enters the log. The host judges form, never meaning: an admissible statement is
appended, void or not; one that needs bulk bytes only when they are here, so the entry is the
receipt. Statements that wait while a commit is on its way go into the next one together. Nothing
signed leaves before the transaction that holds it is durable; after a failed one the store says
what is true. The host holds the *host* key and no other, and signs heads, nothing else ever.
Source: architecture.md 1.4, 1.8; log-and-provenance.md 2, 5; attacks 2, 3, 7, 11, 13, 46, 48, 51.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Final, final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comity.commons.charter import Charter
from comity.commons.fold import admit, apply, found, held_back
from comity.commons.state import State
from comity.errors import ComityError, Refused, Rule, Unavailable
from comity.host.bulk import Bulk
from comity.host.drafts import (
    Draft,
    Logged,
    Verdict,
    may_sign,
    only_proposed,
    require_own_key,
)
from comity.host.replay import halt_if_forgotten, own_folder, refuse_when_halted, replay
from comity.host.sums import one_thread
from comity.host.tails import Tail, supersedes, verify_tail
from comity.log.heads import (
    TreeHead,
    is_final,
    origin_of,
    parse_cosignature,
    sign_head,
    verify_cosignature,
)
from comity.log.merkle import Tree
from comity.statements.keysets import check as check_envelope
from comity.statements.wire import read
from comity.storage.database import pass_by
from comity.storage.dropped import keep_dropped
from comity.storage.log_store import SqliteLogStore
from comity.storage.ports import Hook, StoredHead
from comity.values import ENTRIES_PER_REQUEST_MAX, MemberId, StatementId
from comity.web.told import BATCH_BYTES_MAX, Published, ShownHead, newest_leaves, shown_head

LOG: Final = "host.sqlite"
WAITING_MAX: Final = 1_024
PROPOSED_MAX: Final = 4_096
"""Entries that a candidate shows before it is host."""

_ENTRIES_PER_READ: Final = 128
_LOG = logging.getLogger(__name__)


@final
class Host:
    """One commons' log and bulk bytes in one folder.

    Args:
        folder: made when absent; one process owns it.
        charter: of the commons.
        host_key: the *host* key of the member that is host, or would be.
        now: POSIX seconds; only makes the version counter differ after a restart.
        hook: called at the commit points of the log store and the blob store.
        worker: makes what runs one call after the other, by a name for it.
    Raises:
        Misconfigured: the stored log does not replay, or a member has shown that this host signed
            more than is stored. Unavailable: another process, or the disk.
    """

    def __init__(
        self,
        folder: Path,
        *,
        charter: Charter,
        host_key: Ed25519PrivateKey,
        now: Callable[[], int],
        hook: Hook = pass_by,
        worker: Callable[[str], Executor] = one_thread,
    ) -> None:
        self._folder, self._charter = own_folder(folder), charter
        self._host_key, self._host_public = host_key, host_key.public_key().public_bytes_raw()
        self._turn = threading.Lock()
        self._waiting: list[tuple[Sequence[bytes], Future[list[Verdict]]]] = []
        self._in_doubt = False
        self._listeners: list[Callable[[], object]] = []
        self.origin = origin_of(found(charter).commons, charter.origin_prefix)
        self._tree = Tree()
        self._indexes: dict[StatementId, int] = {}
        self._voids: dict[int, Rule] = {}
        self._store = SqliteLogStore(folder / LOG, hook=hook)
        try:
            state = self._take_stored_log()
            self.bulk = Bulk(folder, [f.id for f in charter.founders], hook=hook, worker=worker)
        except BaseException:
            self._store.close()
            raise
        self._draft: Draft | None = None
        self._published = Published(state, *self._stored_heads(), (), now() * 1_000)
        self._writer = worker("host-writer")
        self.bulk.follow(state)

    def close(self) -> None:
        """Finish the commit under way and give the folder back; again changes nothing."""
        self._writer.shutdown(cancel_futures=True)
        self.bulk.close()
        self._store.close()

    @property
    def published(self) -> Published:
        """What the host tells now: one unchanging picture."""
        return self._published

    def listen(self, on_change: Callable[[], object]) -> None:
        """Call `on_change` from the writer's thread after everything that was published."""
        self._listeners.append(on_change)

    def submit(self, envelopes: Sequence[bytes]) -> Future[list[Verdict]]:
        """Queue statements, to be judged in this order; resolved when they are durable.

        Raises:
            Unavailable: too many wait already.
        """
        future: Future[list[Verdict]] = Future()
        with self._turn:
            if len(self._waiting) >= WAITING_MAX:
                raise Unavailable("too many statements wait to be logged; try again in a moment")
            self._waiting.append((envelopes, future))
            if len(self._waiting) == 1:
                self._writer.submit(self._drain)
        return future

    def cosign(self, size: int, line: bytes, note: bytes | None) -> Future[None]:
        """Keep a member's cosignature of the head of that size.

        The future raises Malformed, Forged, or Refused(HEAD_UNKNOWN, UNKNOWN_AUTHOR).
        """
        return self._writer.submit(self._cosign, size, line, note)

    def take_tail(self, tail: Tail) -> Future[None]:
        """Take over what a member holds beyond this log, when its entries bear it out.

        The future raises Malformed, Forged, Refused; Unavailable once this host must halt.
        """
        return self._writer.submit(self._take_tail, tail)

    @property
    def in_office(self) -> bool:
        """Whether this key is the host's after all entries here; else it signs nothing (rule 8)."""
        return may_sign(self._published.state, self._host_public)

    def entries(self, start: int) -> list[bytes]:
        """Entries from `start` on: as many as one answer takes."""
        taken: list[bytes] = []
        size = 0
        while len(taken) < ENTRIES_PER_REQUEST_MAX:
            at = start + len(taken)
            more = self._store.entries(at, min(at + _ENTRIES_PER_READ, self._published.state.size))
            for leaf in more:
                size += len(leaf)
                if size > BATCH_BYTES_MAX:
                    return taken
                taken.append(leaf)
            if len(more) < _ENTRIES_PER_READ:
                break
        return taken[:ENTRIES_PER_REQUEST_MAX]

    def alarm_if_ahead(self, member: MemberId, size: int) -> None:
        """A member names a head beyond this log (attacks 2, 3): refuse, and tell the operator."""
        here = self._published.state.size
        if size > here:
            _LOG.error("alarm=head-beyond-log by=%s names=%d here=%d", member, size, here)
            raise Refused(
                Rule.HEAD_UNKNOWN,
                f"you name a head of size {size}, this log has {here} entries;"
                " if this host signed it, send its note: the host was restored from a backup",
            )

    # -- the writer's thread ------------------------------------------------------------------

    def _drain(self) -> None:
        with self._turn:
            batch, self._waiting = self._waiting, []
        try:
            verdicts = self._append([envelope for sent, _ in batch for envelope in sent])
        except Exception as error:
            if not isinstance(error, ComityError):
                _LOG.exception("append failed")
            for _, future in batch:
                future.set_exception(error)
            return
        for sent, future in batch:
            future.set_result(verdicts[: len(sent)])
            verdicts = verdicts[len(sent) :]

    def _append(self, envelopes: Sequence[bytes]) -> list[Verdict]:
        """Admit each, then one transaction with all rows and the new head."""
        refuse_when_halted(self._folder)
        self._settle_doubt()
        before = self._published
        draft, self._draft = self._draft or Draft(before.state), None
        try:
            verdicts = [self._judge(draft, envelope) for envelope in envelopes]
            if draft.rows and may_sign(draft.state, self._host_public):
                self._commit(before, draft)
            elif draft.rows:
                self._propose(draft)
                verdicts = [only_proposed(verdict, before.state.size) for verdict in verdicts]
        except BaseException:
            self._tree.truncate(before.state.size)
            raise
        return verdicts

    def _judge(self, draft: Draft, envelope: bytes) -> Verdict:
        try:
            said = read(envelope).statement
            known = draft.indexes.get(said.id, self._indexes.get(said.id))
            if known is not None and self._is_entry(draft, known, envelope):
                return Logged(known, draft.voids.get(known, self._voids.get(known)))
            if held_back(draft.state, said.author):
                raise Refused(
                    Rule.HELD_BACK,
                    f"too many statements of {said.author} were void today; try again tomorrow",
                )
            entry = admit(draft.state, self._tree, envelope)
            require_own_key(said, self._charter.host, self._host_public)
            self.bulk.require(draft.state, said)
            after, outcome = apply(draft.state, entry)
            if may_sign(draft.state, self._host_public) > may_sign(after, self._host_public):
                raise Unavailable(
                    f"with this entry {after.host} is host, and signs it: send it to"
                    f" {after.changes.offers.get(after.host, 'that host')}"
                )
            if len(draft.rows) >= PROPOSED_MAX and not may_sign(after, self._host_public):
                raise Unavailable(f"{after.host} is host, not this one; send it there")
        except ComityError as error:
            return self._alarmed(draft.state, envelope, error)
        logged = draft.add(entry, after, outcome)
        self._tree.append(draft.rows[-1].leaf_hash)
        _LOG.info(
            "appended tag=%s index=%d by=%s void=%s",
            said.body.tag,
            entry.index,
            said.author,
            logged.rule.value if logged.rule else "no",
        )
        return logged

    def _propose(self, draft: Draft) -> None:
        """Show entries that no head covers: who is not host yet can do no more (rule 8)."""
        self._draft, before = draft, self._published
        leaves = tuple(row.leaf for row in draft.rows)
        if leaves != before.proposed:
            self._tell(replace(before, proposed=leaves, version=before.version + 1))

    def _take_tail(self, tail: Tail) -> None:
        refuse_when_halted(self._folder)
        self._settle_doubt()
        before, draft = self._published, self._draft
        checked = verify_tail(
            tail, state=before.state, store=self._store, origin=self.origin, charter=self._charter
        )
        if checked is None:
            return
        if may_sign(checked.state, self._host_public):
            # Signed with this very key, and not here: restored from a backup.
            halt_if_forgotten(self._folder, tail.note, self.origin, self._host_public, self._tree)
        if checked.keep < before.state.size:
            if not supersedes(checked, before.state):
                raise Refused(
                    Rule.HEAD_UNKNOWN,
                    f"the tail leaves this log at entry {checked.keep} and is no newer epoch, nor"
                    " longer: hand in the history that the members' new host signs",
                )
            keep_dropped(self._folder, self._store, checked.keep)
        self._in_doubt = True
        if before.head is None:
            self._store.append(checked.draft.rows, None, checked.head)
        else:
            self._store.replace_tail(checked.keep, checked.draft.rows, before.head, checked.head)
        # Die here: the next start replays what the store holds; the proposal is handed in again.
        _LOG.warning("took a tail from=%d to=%d", checked.keep, checked.head.size)
        self._tree, self._draft = checked.tree, None
        kept = {said: at for said, at in self._indexes.items() if at < checked.keep}
        self._indexes = kept | checked.draft.indexes
        voids = {at: rule for at, rule in self._voids.items() if at < checked.keep}
        self._voids = voids | checked.draft.voids
        self._publish(checked.state, *self._stored_heads(), ())
        self._in_doubt = False
        if draft is not None:
            self._append([row.leaf for row in draft.rows])  # proposed again, above the tail

    def _commit(self, before: Published, draft: Draft) -> None:
        head = TreeHead(self.origin, self._tree.size, self._tree.root())
        note = sign_head(head, self._host_key).note()
        new = StoredHead(head.size, head.root, note)
        # If anything fails from here on, the next append asks the store what is true.
        self._in_doubt = True
        self._store.append(draft.rows, before.head, new)
        # Die here: the entries are logged and their authors, who saw no answer, send them again.
        self._indexes |= draft.indexes
        self._voids |= draft.voids
        leaves = newest_leaves(before.leaves, (row.leaf for row in draft.rows))
        self._publish(draft.state, ShownHead(new, ()), before.final, leaves)
        self._in_doubt = False

    def _publish(
        self,
        state: State,
        newest: ShownHead | None,
        final: ShownHead | None,
        leaves: tuple[bytes, ...],
    ) -> None:
        self.bulk.follow(state)  # first: whoever sees the state may send vectors for it
        proposed = tuple(row.leaf for row in self._draft.rows) if self._draft else ()
        version = self._published.version + 1
        self._tell(Published(state, newest, final, leaves, version, proposed))

    def _tell(self, told: Published) -> None:
        self._published = told
        for on_change in self._listeners:
            on_change()

    def _settle_doubt(self) -> None:
        """After anything that failed from the transaction on: what the store holds is true."""
        if not self._in_doubt:
            return
        head = self._store.head()
        if head != self._published.head or self._tree.size != self._published.state.size:
            self._publish(self._take_stored_log(), *self._stored_heads(), ())
        self._in_doubt = False

    def _cosign(self, size: int, line: bytes, note: bytes | None) -> None:
        self._settle_doubt()
        if note is not None:
            halt_if_forgotten(self._folder, note, self.origin, self._host_public, self._tree)
        state = self._published.state
        cosignature = parse_cosignature(line)
        member = cosignature.member
        self.alarm_if_ahead(member, size)
        stored = self._store.head_at(size)
        if stored is None:
            raise Refused(Rule.HEAD_UNKNOWN, f"this host never published a head of size {size}")
        epoch = state.epoch_at(size)
        keys = {known: key_set.keys.head for known, key_set in epoch.keys.items()}
        if member not in keys:
            raise Refused(Rule.UNKNOWN_AUTHOR, "no member of this name is in the log")
        head = TreeHead(self.origin, size, stored.root)
        verify_cosignature(head, cosignature, keys[member])
        kept = dict(self._store.cosignatures(size))
        if member in kept:
            return
        self._store.cosign(size, [(member, line)])
        lines = [parse_cosignature(each) for each in (*kept.values(), line)]
        if 0 < state.founded_size <= size and is_final(head, lines, keys, epoch.quorum):
            self._store.set_final(size)
        self._publish(state, *self._stored_heads(), self._published.leaves)

    # -- guards -------------------------------------------------------------------------------

    def _stored_heads(self) -> tuple[ShownHead | None, ShownHead | None]:
        """The newest head and the newest final one, with their cosignatures."""
        newest, final = self._store.head(), self._store.head_at(self._store.final())
        return shown_head(self._store, newest), shown_head(self._store, final)

    def _take_stored_log(self) -> State:
        replayed = replay(self._folder, self._store, self._charter, origin=self.origin)
        self._draft = None
        self._tree, self._indexes = replayed.tree, replayed.indexes
        self._voids = replayed.voids
        return replayed.state

    def _is_entry(self, draft: Draft, index: int, envelope: bytes) -> bool:
        stored = index - (draft.state.size - len(draft.rows))
        if stored >= 0:
            return draft.rows[stored].leaf == envelope
        return self._store.entries(index, index + 1) == [envelope]

    def _alarmed(self, state: State, envelope: bytes, error: ComityError) -> ComityError:
        """The error; behind an alarm when a member signed that it knows more than is here."""
        if isinstance(error, Refused) and error.rule is Rule.HEAD_UNKNOWN:
            said = read(envelope)
            author = said.statement.author
            try:
                check_envelope(said, state.keys[author].keys.statement)
                self.alarm_if_ahead(author, said.statement.head_size)
            except (KeyError, ComityError) as alarm:
                return alarm if isinstance(alarm, ComityError) else error
        return error
