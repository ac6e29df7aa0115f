"""The small settings of a node's journal: a name and some bytes, each read from disk once.

A node asks for some of them at every step. One process writes, so what was read stays true until
the next `put`, which forgets it first: after a failed commit the disk is asked again.
"""

from __future__ import annotations

from typing import Final, final

from comity.storage.database import Database

TABLE: Final = """
    CREATE TABLE setting (name TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT;
    """


@final
class Settings:
    """Over a database that has the table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, bytes | None] = {}

    def put(self, name: str, content: bytes) -> None:
        """Remember a small setting; durable; no secrets."""
        with self._database.transaction() as writing:
            self._known.pop(name, None)
            writing.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, content))

    def get(self, name: str) -> bytes | None:
        """The setting, or None."""
        with self._database.reading() as reading:
            if name not in self._known:
                sql = "SELECT content FROM setting WHERE name = ?"
                row = reading.execute(sql, (name,)).fetchone()
                self._known[name] = row[0] if row else None
            return self._known[name]
