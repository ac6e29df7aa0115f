"""What the host and the node may rely on from their disks, as promises about durability and races.

Three ports: `LogStore` (entries, heads, cosignatures), `BlobStore` (bulk bytes by name), `Journal`
(what a node has said and must never forget or contradict). "Durable on return" means: after a power
cut at any later moment the change is there. Every method may be called from any thread.

A method that fails has changed nothing, with one exception that no disk can avoid: when a commit
itself fails with `Unavailable`, the change may or may not be there. The next call reads what the
disk really holds, so the caller asks again (`head`, `last_said`, `stored`) and assumes neither.

Errors: `Unavailable` (disk full, input/output error, another process owns the store) and
`Misconfigured` (the file is damaged or is not ours). Others are named where they are raised.

Source: architecture.md 1.8; log-and-provenance.md 5; aggregation.md 5.6 (R4), 5.9.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple, Protocol

from comity.errors import Refused, Rule
from comity.values import BlobName, DatasetId, Digest, MemberId, StatementId

Hook = Callable[[str], None]
"""Called with the name of each commit point, before it is passed; tests stop a process there."""

BlobCheck = Callable[[Path], None]
"""Reads the whole file at a path and raises Forged when it does not fit the blob's name."""


class Row(NamedTuple):
    """One entry in the log store. leaf: the stored bytes; leaf_hash: SHA-256(00 || leaf)."""

    leaf: bytes
    leaf_hash: bytes
    statement_id: str
    author: str
    seq: int


class StoredHead(NamedTuple):
    """A head as the log store keeps it. root: 32 bytes; note: its signed text form."""

    size: int
    root: bytes
    note: bytes


class Attempt(NamedTuple):
    """One attempt of one round of one study: the scope of a member's promises in a round."""

    study: str
    round_no: int
    attempt: int


class Ending(Enum):
    """How an attempt ended, as far as this member knows (aggregation.md 5.9, R5 to R7)."""

    OPEN = "open"
    SEALED = "sealed"
    ACCEPTED = "accepted"
    BURNED = "burned"
    UNSTARTED = "unstarted"


class WorkRecord(NamedTuple):
    """That this member took part with one data version in one work (R6); kept for ever.

    roster: digest of the attempt's roster; threshold: its t. survivors: the set U of the Close this
    member confirmed or revealed for, None before that.
    """

    dataset: DatasetId
    version: Digest
    work: Digest
    attempt: Attempt
    roster: Digest
    threshold: int
    committed: bool = False
    confirmed: bool = False
    revealed: bool = False
    survivors: frozenset[MemberId] | None = None
    ending: Ending = Ending.OPEN


class SaidBefore(Refused):
    """This member has said such a statement in this attempt; only those first bytes may be sent.

    statement_id: the one said before. Its bytes, while unsettled, are in `Journal.said`.
    """

    def __init__(self, statement_id: StatementId, message: str) -> None:
        super().__init__(Rule.SAID_BEFORE, message)
        self.statement_id = statement_id


class LogStore(Protocol):
    """A log's entries and heads. One process owns it; a second one cannot open it."""

    def head(self) -> StoredHead | None:
        """The head set by the last `append`; None in a new store."""
        ...

    def entries(self, start: int, stop: int) -> list[bytes]:
        """Leaves start..stop-1 in order; fewer when the log ends before stop."""
        ...

    def leaf_hashes(self, start: int = 0) -> Iterator[bytes]:
        """The 32-byte leaf hashes from `start` on, up to the size at the first call."""
        ...

    def append(self, rows: Sequence[Row], old: StoredHead | None, new: StoredHead) -> None:
        """Add rows and the head over them: all or nothing, durable on return.

        Compare and set are one step: of two callers with the same `old` exactly one gets through.
        No rows and the same size and root replace the note only (another host signs the same tree).

        Raises:
            HeadMoved: the stored head is not `old`.
            Refused(SAID_BEFORE): a statement id, or an author's seq, is in the log already.
        """
        ...

    def replace_tail(
        self, keep: int, rows: Sequence[Row], old: StoredHead, new: StoredHead
    ) -> None:
        """Drop entries, heads and cosignatures above size `keep`, append rows and their head.

        All or nothing, durable on return: for a reader whose host was replaced. What is dropped is
        the caller's to keep first.

        Raises:
            HeadMoved: the stored head is not `old`, or a final head covers what would be dropped.
        """
        ...

    def cosign(self, size: int, lines: Sequence[tuple[MemberId, bytes]]) -> None:
        """Keep cosignature lines of the head of that size; durable; again changes nothing.

        One line per member and size stays: the one with the newest time in it.

        Raises:
            Malformed: not a cosignature line. Refused(HEAD_UNKNOWN): no head of that size is here.
        """
        ...

    def cosignatures(self, size: int) -> list[tuple[MemberId, bytes]]:
        """The kept lines of that head, by member id."""
        ...

    def newest_heads(self, limit: int) -> list[StoredHead]:
        """Up to `limit` heads, largest first."""
        ...

    def set_final(self, size: int) -> None:
        """Remember that the head of this size is final; durable; a smaller size changes nothing.

        Raises:
            Refused(HEAD_UNKNOWN): no head of that size is here.
        """
        ...

    def final(self) -> int:
        """Size of the newest final head; 0 when none is."""
        ...


class BlobStore(Protocol):
    """Bulk bytes by name: SHA-256 of the bytes, or the root of a round's vector or sum.

    Unfinished bytes survive a crash of the process, so an upload goes on where it was; after a
    power cut fewer may be there. Finished ones are durable. Two writers of one blob cannot mix
    their bytes. Every method raises Malformed for a name that is not 64 lower-case hex digits.
    """

    def stored(self, name: BlobName) -> int:
        """Bytes here, that is the offset at which to resume; the full size once finished."""
        ...

    def finished(self, name: BlobName) -> bool:
        """Whether the blob is complete, checked and durable."""
        ...

    def write(self, name: BlobName, offset: int, chunk: bytes | memoryview) -> None:
        """Append a chunk at exactly the stored offset: all of it or nothing.

        Raises:
            WrongOffset: with the right offset; the bytes here are untouched.
            Malformed: the blob would exceed the size limit. Unavailable: quota or disk is full, or
                another writer is at work on this blob.
        """
        ...

    def finish(self, name: BlobName, check: BlobCheck | None = None) -> None:
        """Check the whole file against its name and make it durable; again changes nothing.

        Args:
            check: by default the SHA-256 of the bytes must be the name.
        Raises:
            Forged: the bytes do not fit and are dropped. Unavailable: nothing is here.
        """
        ...

    def read(self, name: BlobName, start: int, stop: int) -> bytes:
        """Bytes start..stop-1 of a finished blob. Raises Malformed for a range outside it."""
        ...

    def path(self, name: BlobName) -> Path:
        """The file of a finished blob, to stream from; never written to. Raises Unavailable."""
        ...

    def drop(self, name: BlobName) -> None:
        """Forget the blob, finished or not; durable; again changes nothing."""
        ...

    def adopt(self, source: Path, name: BlobName, check: BlobCheck | None = None) -> None:
        """Move a complete local file in; checked and durable as by `finish`.

        Raises:
            Forged: the bytes do not fit; the source stays. Unavailable: no such regular file.
        """
        ...


class Journal(Protocol):
    """What this node has promised; durable before anything leaves it. One process owns it."""

    def say(
        self,
        envelope: bytes,
        *,
        statement_id: StatementId,
        seq: int,
        tag: str,
        scope: Attempt | None = None,
        stage: bytes | None = None,
        released: bool | None = None,
        works: Sequence[WorkRecord] = (),
    ) -> None:
        """Journal a signed statement, its promise, stage and works in one durable transaction.

        Only after this returns may the envelope leave the node; from then on these bytes are sent,
        never others (R1).

        Args:
            tag: of the statement; `round.resolve#3` for the answer to the holder at seat 3, since a
                dealer answers each complaint once.
            scope: the attempt, for every `round.*` tag and for no other.
            stage: new round secrets of `scope`, replacing the kept ones.
            released: for `round.abandon`, what it says about my own reveal.
        Raises:
            SaidBefore: this tag was said in this attempt; nothing changes.
            HeadMoved: `seq` is not the next of my chain; build the statement again.
            Refused: AFTER_ABANDON, NOT_TRUTHFUL (R3), PHASE_NOT_OPEN (recover before reveal, R2),
                AMNESIA (R8).
        """
        ...

    def waiting(self) -> list[bytes]:
        """Envelopes not yet below a final head, in seq order: to be sent, byte for byte."""
        ...

    def logged(self, statement_id: StatementId, index: int) -> None:
        """The statement is the log's entry `index`. Raises Refused(AMNESIA): it is not in here."""
        ...

    def settled(self, size: int) -> None:
        """A final head has this size: envelopes below it leave the outbox; their ids stay."""
        ...

    def last_said(self) -> tuple[int, StatementId] | None:
        """(seq, id) of the end of my chain."""
        ...

    def promised(self, scope: Attempt) -> dict[str, StatementId]:
        """Tag to statement id of all I said in the attempt."""
        ...

    def said(self, statement_id: StatementId) -> bytes | None:
        """The envelope, while it is in the outbox."""
        ...

    def keep(self, scope: Attempt, stage: bytes) -> None:
        """Keep round secrets before they are used, replacing the ones before."""
        ...

    def shrink(self, scope: Attempt, stage: bytes) -> None:
        """Keep fewer round secrets, and make all that was kept before unreadable for ever."""
        ...

    def stage(self, scope: Attempt) -> bytes | None:
        """The kept round secrets; None when there are none or they were erased."""
        ...

    def erase(self, scope: Attempt) -> None:
        """Make the round secrets unreadable for ever; promises stay; again changes nothing."""
        ...

    def cosigned(self, old: tuple[int, bytes] | None, new: tuple[int, bytes]) -> None:
        """Compare and set the newest (size, root) I cosigned; the signature leaves only afterwards.

        Raises:
            HeadMoved: the stored one is not `old`.
        """
        ...

    def last_cosigned(self) -> tuple[int, bytes] | None:
        """The newest (size, root) I cosigned."""
        ...
