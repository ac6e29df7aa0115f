"""The log in one SQLite file: entries, signed heads, cosignatures. SQLite is the truth.

Decided here: the tables, and that the head is compared and set in the transaction that adds the
entries, so that no crash and no second writer can make two heads of one size. Knows nothing of
signatures or of what entries mean. Source: log-and-provenance.md 5; contracts in `ports.LogStore`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final

from comity.errors import HeadMoved, Malformed, Refused, Rule
from comity.storage.database import Database, Schema, pass_by
from comity.storage.ports import Hook, Row, StoredHead
from comity.values import MemberId

_HASHES_PER_READ = 8_192
_INSERT = (
    "INSERT INTO entry (idx, leaf, leaf_hash, statement_id, author, seq) VALUES (?, ?, ?, ?, ?, ?)"
)
_PUT_HEAD = (
    "INSERT INTO head VALUES (?, ?, ?) ON CONFLICT (size) DO UPDATE SET note = excluded.note"
)

_SCHEMA = Schema(
    application_id=0x434C4F47,  # "CLOG"
    version=1,
    tables="""
    CREATE TABLE entry (
        idx INTEGER PRIMARY KEY,
        leaf_hash BLOB NOT NULL CHECK (length(leaf_hash) = 32),
        statement_id TEXT NOT NULL UNIQUE,
        author TEXT NOT NULL,
        seq INTEGER NOT NULL,
        leaf BLOB NOT NULL,  -- last, so that reading the hashes does not read the leaves
        UNIQUE (author, seq)
    ) STRICT;
    CREATE TABLE head (
        size INTEGER PRIMARY KEY,
        root BLOB NOT NULL CHECK (length(root) = 32),
        note BLOB NOT NULL
    ) STRICT;
    CREATE TABLE cosignature (
        size INTEGER NOT NULL REFERENCES head (size),
        member TEXT NOT NULL,
        time_s INTEGER NOT NULL,
        line BLOB NOT NULL,
        PRIMARY KEY (size, member)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE final (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        size INTEGER NOT NULL REFERENCES head (size)
    ) STRICT
    """,
)


@final
class SqliteLogStore:
    """`ports.LogStore` in the SQLite file at `path`; see there for what each method promises."""

    def __init__(self, path: Path, *, hook: Hook = pass_by) -> None:
        self._database = Database(path, _SCHEMA, hook=hook)

    def close(self) -> None:
        """Give the file back; again changes nothing."""
        self._database.close()

    def head(self) -> StoredHead | None:
        """The head set by the last `append`; None in a new store."""
        with self._database.reading() as reading:
            return _head(reading)

    def entries(self, start: int, stop: int) -> list[bytes]:
        """Leaves start..stop-1 in order; fewer when the log ends before stop."""
        with self._database.reading() as reading:
            rows = reading.execute(
                "SELECT leaf FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx", (start, stop)
            )
            return [leaf for (leaf,) in rows]

    def leaf_hashes(self, start: int = 0) -> Iterator[bytes]:
        """The 32-byte leaf hashes from `start` on, up to the size at the first call."""
        newest = self.head()
        size = newest.size if newest else 0
        for first in range(start, size, _HASHES_PER_READ):
            with self._database.reading() as reading:
                rows = reading.execute(
                    "SELECT leaf_hash FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx",
                    (first, min(size, first + _HASHES_PER_READ)),
                ).fetchall()
            yield from (leaf_hash for (leaf_hash,) in rows)

    def said(self, author: MemberId, seq: int) -> bytes | None:
        """The leaf with an author's statement of that number, if it is here."""
        with self._database.reading() as reading:
            sql = "SELECT leaf FROM entry WHERE author = ? AND seq = ?"
            row = reading.execute(sql, (author, seq)).fetchone()
            return row[0] if row else None

    def append(self, rows: Sequence[Row], old: StoredHead | None, new: StoredHead) -> None:
        """Add rows and the head over them: all or nothing, durable on return."""
        start = old.size if old else 0
        assert new.size == start + len(rows), "a head covers exactly the entries appended under it"
        assert rows or old is None or new.root == old.root, "the same tree has the same root"
        for row in rows:
            assert row.leaf_hash == hashlib.sha256(b"\x00" + row.leaf).digest()
        try:
            with self._database.transaction() as writing:
                if _head(writing) != old:
                    raise HeadMoved(
                        f"the stored head is not the one of size {start} this append builds on;"
                        " read the head again"
                    )
                writing.executemany(
                    _INSERT, ((start + place, *row) for place, row in enumerate(rows))
                )
                writing.execute(_PUT_HEAD, new)
        except sqlite3.IntegrityError as error:
            raise Refused(
                Rule.SAID_BEFORE,
                "a statement of this batch, or its author's seq, is in the log already;"
                " leave it out and append the others",
            ) from error

    def replace_tail(
        self, keep: int, rows: Sequence[Row], old: StoredHead, new: StoredHead
    ) -> None:
        """Drop what is above size `keep` and append these rows and their head: all or nothing."""
        assert new.size == keep + len(rows), "a head covers exactly the entries appended under it"
        with self._database.transaction() as writing:
            if _head(writing) != old:
                raise HeadMoved(f"the stored head is not the one of size {old.size}; read it again")
            if _final(writing) > keep:
                raise HeadMoved(f"a head above size {keep} is final: what it covers is not dropped")
            for table, place in (("cosignature", "size"), ("head", "size")):
                writing.execute(f"DELETE FROM {table} WHERE {place} > ?", (keep,))
            writing.execute("DELETE FROM entry WHERE idx >= ?", (keep,))
            writing.executemany(_INSERT, ((keep + place, *row) for place, row in enumerate(rows)))
            writing.execute(_PUT_HEAD, new)

    def keep_head(self, head: StoredHead) -> None:
        """Keep the signed text of a head below the newest one, unless one of its size is kept."""
        with self._database.transaction() as writing:
            writing.execute("INSERT OR IGNORE INTO head VALUES (?, ?, ?)", head)

    def cosign(self, size: int, lines: Sequence[tuple[MemberId, bytes]]) -> None:
        """Keep cosignature lines of the head of that size; durable; again changes nothing."""
        timed = [(size, member, _time_s(line), line) for member, line in lines]
        with self._database.transaction() as writing:
            _require_head(writing, size)
            writing.executemany(
                "INSERT INTO cosignature VALUES (?, ?, ?, ?) ON CONFLICT (size, member)"
                " DO UPDATE SET time_s = excluded.time_s, line = excluded.line"
                " WHERE excluded.time_s > time_s",
                timed,
            )

    def cosignatures(self, size: int) -> list[tuple[MemberId, bytes]]:
        """The kept lines of that head, by member id."""
        with self._database.reading() as reading:
            rows = reading.execute(
                "SELECT member, line FROM cosignature WHERE size = ? ORDER BY member", (size,)
            )
            return [(MemberId(member), line) for member, line in rows]

    def newest_heads(self, limit: int) -> list[StoredHead]:
        """Up to `limit` heads, largest first."""
        with self._database.reading() as reading:
            rows = reading.execute("SELECT * FROM head ORDER BY size DESC LIMIT ?", (limit,))
            return [StoredHead(*row) for row in rows]

    def head_at(self, size: int) -> StoredHead | None:
        """The head of exactly this size, if one was stored."""
        with self._database.reading() as reading:
            row = reading.execute("SELECT * FROM head WHERE size = ?", (size,)).fetchone()
            return StoredHead(*row) if row else None

    def set_final(self, size: int) -> None:
        """Remember that the head of this size is final; durable; a smaller size changes nothing."""
        with self._database.transaction() as writing:
            _require_head(writing, size)
            writing.execute(
                "INSERT INTO final VALUES (1, ?) ON CONFLICT (one)"
                " DO UPDATE SET size = max(size, excluded.size)",
                (size,),
            )

    def final(self) -> int:
        """Size of the newest final head; 0 when none is."""
        with self._database.reading() as reading:
            return _final(reading)


def _final(reading: sqlite3.Connection) -> int:
    row = reading.execute("SELECT size FROM final").fetchone()
    return int(row[0]) if row else 0


def _head(reading: sqlite3.Connection) -> StoredHead | None:
    row = reading.execute("SELECT * FROM head ORDER BY size DESC LIMIT 1").fetchone()
    return StoredHead(*row) if row else None


def _require_head(reading: sqlite3.Connection, size: int) -> None:
    if reading.execute("SELECT 1 FROM head WHERE size = ?", (size,)).fetchone() is None:
        raise Refused(Rule.HEAD_UNKNOWN, f"no head of size {size} is stored here; sync first")


def _time_s(line: bytes) -> int:
    """The time in "— name base64(key id 4 || time 8 || signature)" (C2SP tlog-cosignature)."""
    try:
        signed = base64.b64decode(line.rstrip(b"\n").rpartition(b" ")[2], validate=True)
    except binascii.Error as error:
        raise Malformed("a cosignature line must end in base64") from error
    if len(signed) < 12 + 64 or signed[4] > 0x7F:
        raise Malformed("a cosignature holds a key id, a time and a signature")
    return int.from_bytes(signed[4:12], "big")
