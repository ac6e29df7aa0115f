"""A node's memory: what it has said and promised, its round secrets, its works.

Decided here: journal, outbox and the author's `seq` are one table, written in one durable
transaction per statement, whose constraints are the promises of a member (R1 to R3, R8). Knows no
cryptography of rounds and does not judge statements. Secrets lie sealed in the database and their
keys beside it (`erasable.py`). Source: aggregation.md 5.9, 12; contracts in `ports.Journal`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import final

from comity.errors import HeadMoved, Refused, Rule
from comity.storage import promises, remembered
from comity.storage import works as works_table
from comity.storage.database import Database, Schema, pass_by
from comity.storage.disk import DiskFaults
from comity.storage.erasable import KeyFolder, Sealed
from comity.storage.ports import Attempt, Hook, WorkRecord
from comity.values import DatasetId, Digest, StatementId

_COSIGNED = "INSERT OR REPLACE INTO cosigned VALUES (1, ?, ?)"
_SCHEMA = Schema(
    application_id=0x434A524E,  # "CJRN"
    version=1,
    tables="""
    CREATE TABLE said (
        seq INTEGER PRIMARY KEY CHECK (seq >= 0),
        statement_id TEXT NOT NULL UNIQUE,
        tag TEXT NOT NULL,
        study TEXT,
        round_no INTEGER,
        attempt INTEGER,
        idx INTEGER,      -- its place in the log, once it is there
        envelope BLOB,    -- NULL once a final head covers it
        UNIQUE (study, round_no, attempt, tag)
    ) STRICT;
    CREATE TABLE secret (
        name TEXT PRIMARY KEY,
        lock_id TEXT NOT NULL UNIQUE,
        sealed BLOB NOT NULL
    ) STRICT;
    CREATE TABLE cosigned (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        size INTEGER NOT NULL,
        root BLOB NOT NULL CHECK (length(root) = 32)
    ) STRICT;
    CREATE TABLE amnesia (
        study TEXT NOT NULL,
        round_no INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        PRIMARY KEY (study, round_no, attempt)
    ) STRICT, WITHOUT ROWID;
    """
    + remembered.TABLE
    + works_table.TABLE,
)


@final
class SqliteJournal:
    """`ports.Journal` in `folder`/node.sqlite and `folder`/round-keys; see there for the promises.

    Args:
        folder: the node's own, which must exist.
        hook: called at the commit points of `Database`, and at "sealed" and "unlinking".
    """

    def __init__(self, folder: Path, *, hook: Hook = pass_by) -> None:
        self._hook = hook
        self._folder = folder
        self._database = Database(folder / "node.sqlite", _SCHEMA, hook=hook)
        self._settings = remembered.Settings(self._database)
        try:
            with DiskFaults(folder):
                self._locks = KeyFolder(folder / "round-keys")
            self._clear_left_overs()
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Give the file back; again changes nothing."""
        self._database.close()

    # -- statements ---------------------------------------------------------------------------

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
        """Journal a signed statement, its promise, stage and works in one durable transaction."""
        assert tag.startswith("round.") == (scope is not None), (
            "rounds, and they alone, have a scope"
        )
        assert stage is None or scope is not None, "a stage belongs to an attempt"
        assert (tag == "round.abandon") == (released is not None), "abandon says what was released"
        with self._database.transaction() as writing:
            if scope is not None:
                promises.check_promises(writing, scope, tag, released)
            last = _last_said(writing)
            due = last[0] + 1 if last else 0
            if seq != due:
                raise HeadMoved(f"my next statement has seq {due}, not {seq}; build it again")
            writing.execute(
                "INSERT INTO said VALUES (?, ?, ?, ?, ?, ?, NULL, ?)",
                (seq, statement_id, tag, *(scope or (None, None, None)), envelope),
            )
            works_table.record(writing, works)
            if stage is not None and scope is not None:
                locks = self._locks_of(writing, _stage_name(scope))
                lock_id = locks[0] if locks else None
                self._put_secret(writing, _stage_name(scope), stage, lock_id=lock_id)

    def recall(
        self,
        statement_id: StatementId,
        *,
        seq: int,
        tag: str,
        scope: Attempt | None,
        index: int,
        envelope: bytes | None = None,
    ) -> None:
        """Take over a statement of mine that the log holds and this journal does not (R8).

        For a node that was restored: its promises count again. In seq order; again changes nothing.

        Args:
            envelope: its bytes, unless a final head covers it: a change of host may drop it, and
                then it is sent again.
        Raises:
            HeadMoved: `seq` is not the next of my chain.
        """
        with self._database.transaction() as writing:
            held = writing.execute(
                "SELECT 1 FROM said WHERE statement_id = ?", (statement_id,)
            ).fetchone()
            if held is not None:
                return
            last = _last_said(writing)
            due = last[0] + 1 if last else 0
            if seq != due:
                raise HeadMoved(f"my next statement has seq {due}, not {seq}; recall them in order")
            # A void second statement of one tag may be in the log; the first one is the promise.
            if scope is not None and tag in promises.promised(writing, scope):
                scope = None
            writing.execute(
                "INSERT INTO said VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (seq, statement_id, tag, *(scope or (None, None, None)), index, envelope),
            )

    def signed_again(self, statement_id: StatementId, envelope: bytes) -> None:
        """The same statement, not logged yet, in an envelope signed with this member's new keys."""
        with self._database.transaction() as writing:
            writing.execute(
                "UPDATE said SET envelope = ? WHERE statement_id = ? AND idx IS NULL",
                (envelope, statement_id),
            )

    def unlogged_waiting(self) -> list[bytes]:
        """Those of `waiting` that have no place in the log."""
        with self._database.reading() as reading:
            sql = "SELECT envelope FROM said WHERE envelope IS NOT NULL AND idx IS NULL"
            return [envelope for (envelope,) in reading.execute(f"{sql} ORDER BY seq")]

    def waiting(self) -> list[bytes]:
        """Envelopes not yet below a final head, in seq order: to be sent, byte for byte."""
        with self._database.reading() as reading:
            sql = "SELECT envelope FROM said WHERE envelope IS NOT NULL ORDER BY seq"
            return [envelope for (envelope,) in reading.execute(sql)]

    def logged(self, statement_id: StatementId, index: int) -> None:
        """The statement is the log's entry `index`. Raises Refused(AMNESIA): it is not in here."""
        self.logged_all([(statement_id, index)])

    def logged_all(self, placed: Iterable[tuple[StatementId, int]]) -> None:
        """As `logged`, for several statements in one transaction."""
        with self._database.transaction() as writing:
            for statement_id, index in placed:
                found = writing.execute(
                    "UPDATE said SET idx = ? WHERE statement_id = ?", (index, statement_id)
                )
                if found.rowcount == 0:
                    raise Refused(
                        Rule.AMNESIA,
                        f"the log's entry {index} is mine and this journal does not hold it:"
                        " was this node restored? Leave every open round, then recall it",
                    )

    def unlogged(self, keep: int) -> None:
        """Another host's log takes the place of all entries from `keep` on: mine are sent again."""
        with self._database.transaction() as writing:
            writing.execute("UPDATE said SET idx = NULL WHERE idx >= ?", (keep,))

    def settled(self, size: int) -> None:
        """A final head has this size: envelopes below it leave the outbox; their ids stay."""
        with self._database.transaction() as writing:
            writing.execute(
                "UPDATE said SET envelope = NULL WHERE envelope IS NOT NULL AND idx < ?", (size,)
            )

    def last_said(self) -> tuple[int, StatementId] | None:
        """(seq, id) of the end of my chain."""
        with self._database.reading() as reading:
            return _last_said(reading)

    def promised(self, scope: Attempt) -> dict[str, StatementId]:
        """Tag to statement id of all I said in the attempt."""
        with self._database.reading() as reading:
            return promises.promised(reading, scope)

    def said(self, statement_id: StatementId) -> bytes | None:
        """The envelope, while it is in the outbox."""
        with self._database.reading() as reading:
            sql = "SELECT envelope FROM said WHERE statement_id = ?"
            row = reading.execute(sql, (statement_id,)).fetchone()
            return row[0] if row else None

    def holds(self, statement_id: StatementId) -> bool:
        """Whether I remember having said it; if not, and the log has it, I have amnesia (R8)."""
        with self._database.reading() as reading:
            sql = "SELECT 1 FROM said WHERE statement_id = ?"
            return reading.execute(sql, (statement_id,)).fetchone() is not None

    # -- secrets ------------------------------------------------------------------------------

    def keep(self, scope: Attempt, stage: bytes) -> None:
        """Keep round secrets before they are used, replacing the ones before."""
        self._keep(_stage_name(scope), stage)

    def shrink(self, scope: Attempt, stage: bytes) -> None:
        """Keep fewer round secrets, and make all that was kept before unreadable for ever."""
        with self._database.transaction() as writing:
            old = self._locks_of(writing, _stage_name(scope))
            self._put_secret(writing, _stage_name(scope), stage, lock_id=None)
        self._erase_locks(old)

    def stage(self, scope: Attempt) -> bytes | None:
        """The kept round secrets; None when there are none or they were erased."""
        return self._secret(_stage_name(scope))

    def erase(self, scope: Attempt) -> None:
        """Make the round secrets unreadable for ever; promises stay; again changes nothing."""
        self._forget(_stage_name(scope))

    def keep_sealing(self, public_digest: Digest, private: bytes) -> None:
        """Keep the private half of a sealing key, before its public half leaves the node."""
        self._keep(f"sealing/{public_digest}", private)

    def sealing(self, public_digest: Digest) -> bytes | None:
        """The private half; None when it was never here or is erased."""
        return self._secret(f"sealing/{public_digest}")

    def erase_sealing(self, public_digest: Digest) -> None:
        """Make the private half unreadable for ever; again changes nothing."""
        self._forget(f"sealing/{public_digest}")

    def _keep(self, name: str, plain: bytes) -> None:
        with self._database.transaction() as writing:
            locks = self._locks_of(writing, name)
            self._put_secret(writing, name, plain, lock_id=locks[0] if locks else None)

    def _locks_of(self, reading: sqlite3.Connection, name: str) -> list[str]:
        rows = reading.execute("SELECT lock_id FROM secret WHERE name = ?", (name,))
        return [lock_id for (lock_id,) in rows]

    def _put_secret(
        self, writing: sqlite3.Connection, name: str, plain: bytes, *, lock_id: str | None
    ) -> None:
        """Seal under this key file, or a new one when None, and put the row.

        Die before the commit: a new key file opens nothing, and is erased when the journal is next
        opened. Die after it, in `shrink`: so is the old one.
        """
        with DiskFaults(self._folder / "round-keys"):
            kept = self._locks.seal(name, plain, lock_id)
        self._hook("sealed")
        writing.execute("INSERT OR REPLACE INTO secret VALUES (?, ?, ?)", (name, *kept))

    def _secret(self, name: str) -> bytes | None:
        with self._database.reading() as reading:
            sql = "SELECT lock_id, sealed FROM secret WHERE name = ?"
            row = reading.execute(sql, (name,)).fetchone()
            if row is None:
                return None
            with DiskFaults(self._folder / "round-keys"):
                return self._locks.unseal(name, Sealed(*row))

    def _forget(self, name: str) -> None:
        with self._database.reading() as reading:
            sql = "SELECT lock_id FROM secret WHERE name = ?"
            locks = [row[0] for row in reading.execute(sql, (name,))]
        # Die after this line: the row opens nothing, and is deleted when the journal is opened.
        self._erase_locks(locks)
        with self._database.transaction() as writing:
            writing.executemany("DELETE FROM secret WHERE lock_id = ?", [(gone,) for gone in locks])

    def _erase_locks(self, lock_ids: list[str]) -> None:
        self._hook("unlinking")
        with DiskFaults(self._folder / "round-keys"):
            self._locks.erase(lock_ids)

    def _clear_left_overs(self) -> None:
        """Erase key files without a row and rows without a key file: a crash left them."""
        with self._database.reading() as reading:
            rows = {row[0] for row in reading.execute("SELECT lock_id FROM secret")}
        with DiskFaults(self._folder / "round-keys"):
            files = self._locks.lock_ids()
            self._locks.erase(files - rows)
        if rows - files:
            with self._database.transaction() as writing:
                writing.executemany(
                    "DELETE FROM secret WHERE lock_id = ?", [(gone,) for gone in rows - files]
                )

    # -- heads, works, amnesia, settings ------------------------------------------------------

    def cosigned(self, old: tuple[int, bytes] | None, new: tuple[int, bytes]) -> None:
        """Compare and set the newest (size, root) I cosigned, before the signature leaves."""
        assert old is None or new[0] > old[0] or new == old, "a cosigner never goes back"
        with self._database.transaction() as writing:
            if _last_cosigned(writing) != old:
                raise HeadMoved("another head was cosigned meanwhile; check this one against it")
            writing.execute(_COSIGNED, new)

    def cosigned_again_from(self, final: tuple[int, bytes]) -> None:
        """What I cosigned is in a history that was left: I go on from this final head."""
        with self._database.transaction() as writing:
            writing.execute(_COSIGNED, final)

    def last_cosigned(self) -> tuple[int, bytes] | None:
        """The newest (size, root) I cosigned."""
        with self._database.reading() as reading:
            return _last_cosigned(reading)

    def record_work(self, *works: WorkRecord) -> None:
        """Add to what is known of these works; a step taken is never untaken, a set never lost."""
        with self._database.transaction() as writing:
            works_table.record(writing, works)

    def works(self, dataset: DatasetId, version: Digest, work: Digest) -> list[WorkRecord]:
        """Every attempt in which this data version took part in this work (R6)."""
        with self._database.reading() as reading:
            return works_table.read(reading, dataset, version, work)

    def mark_amnesia(self, scopes: Iterable[Attempt]) -> None:
        """Say nothing more in these attempts: this node may have forgotten what it said (R8)."""
        with self._database.transaction() as writing:
            writing.executemany("INSERT OR IGNORE INTO amnesia VALUES (?, ?, ?)", scopes)

    def has_amnesia(self, scope: Attempt) -> bool:
        """Whether the attempt was marked."""
        with self._database.reading() as reading:
            return promises.has_amnesia(reading, scope)

    def put(self, name: str, content: bytes) -> None:
        """Remember a small setting; durable; no secrets."""
        self._settings.put(name, content)

    def get(self, name: str) -> bytes | None:
        """The setting, or None."""
        return self._settings.get(name)


def _last_said(reading: sqlite3.Connection) -> tuple[int, StatementId] | None:
    row = reading.execute("SELECT seq, statement_id FROM said ORDER BY seq DESC LIMIT 1").fetchone()
    return (row[0], StatementId(row[1])) if row else None


def _last_cosigned(reading: sqlite3.Connection) -> tuple[int, bytes] | None:
    row = reading.execute("SELECT size, root FROM cosigned").fetchone()
    return (row[0], row[1]) if row else None


def _stage_name(scope: Attempt) -> str:
    return f"stage/{scope.round_no}/{scope.attempt}/{scope.study}"
