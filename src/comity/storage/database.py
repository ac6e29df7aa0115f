"""One SQLite file, one writer process, short durable transactions.

Decided here: WAL with synchronous=FULL (NORMAL can lose a committed head and is forbidden), the
lock that keeps a second process out, how a file proves to be ours, and which error each failure of
SQLite is. Knows no table.

After a failed COMMIT nobody knows whether it is on disk. The connection is then closed, and the
next call opens the file again, which moves every committed page into it and syncs it: memory never
says anything the disk does not hold. Source: log-and-provenance.md 5.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, final

from comity.errors import Misconfigured, Unavailable
from comity.storage.disk import DiskFaults, sync_folder
from comity.storage.ports import Hook

BUSY_TIMEOUT_MS = 5_000


class Schema(NamedTuple):
    """What a file of ours is.

    application_id: 31 bits in its header. version: of the tables, from 1. tables: their SQL.
    """

    application_id: int
    version: int
    tables: str


def pass_by(point: str) -> None:
    """The hook that does nothing."""


@final
class Database:
    """A SQLite file that this process alone may open.

    Args:
        path: the file; made, with mode 0600, when absent. Its folder must exist.
        schema: what the file must be.
        hook: called at "begun", "committing" and "committed" of every transaction.
    Raises:
        Unavailable: another process has it open, or the disk fails.
        Misconfigured: the file is damaged, foreign, or of another version.
    """

    def __init__(self, path: Path, schema: Schema, *, hook: Hook = pass_by) -> None:
        self._path = path
        self._schema = schema
        self._hook = hook
        self._turn = threading.RLock()
        self._faults = _FaultsNamed(path)
        self._reading = _Reading(self)
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._lock = _lock(path)
        try:
            self._open()
        except BaseException:
            os.close(self._lock)
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run the block in one write transaction; durable when the block is left without an error.

        An error in the block undoes all of it. IntegrityError passes through unchanged.
        """
        with self._turn, self._faults:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._hook("begun")
                yield connection
                self._hook("committing")
            except BaseException:
                connection.rollback()
                raise
            try:
                # Die before this line: nothing happened. Die after it: all of it did.
                connection.execute("COMMIT")
                self._hook("committed")
            except BaseException:
                self._drop_connection()
                raise

    def reading(self) -> _Reading:
        """Run the block's queries over one unchanging picture."""
        return self._reading

    def close(self) -> None:
        """Close the file and give up the lock; again changes nothing."""
        with self._turn:
            if not self._closed:
                self._closed = True
                self._drop_connection()
                os.close(self._lock)

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._closed:
            raise Unavailable(f"{self._path} is closed; open it again")
        if self._connection is None:
            with self._faults:
                self._connection = _connect(self._path, self._schema)
        return self._connection


def _lock(path: Path) -> int:
    """Take the lock file beside the database, for as long as its descriptor is open."""
    beside = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Unavailable(
            f"cannot open {beside} ({error.strerror}); check that its folder exists and is writable"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Unavailable(
            f"another process has {path} open; stop it first, or wait until it has ended"
        ) from error
    return descriptor


def _connect(path: Path, schema: Schema) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise Misconfigured(f"{path} is on a file system without shared memory; move it")
        for setting in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            connection.execute(f"PRAGMA {setting}")
        # Whatever was committed is in the file and synced before anything is answered from it.
        _truncate_wal(connection)
        _check_identity(connection, path, schema)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_identity(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (application_id, version, tables) == (0, 0, 0):
        # One transaction: a file is either still empty or complete.
        connection.executescript(
            f"BEGIN IMMEDIATE; {schema.tables};"
            f"PRAGMA application_id = {schema.application_id};"
            f"PRAGMA user_version = {schema.version}; COMMIT;"
        )
        sync_folder(path.parent)
        return
    if application_id != schema.application_id:
        raise Misconfigured(f"{path} is a database of something else; name another file")
    if version != schema.version:
        raise Misconfigured(
            f"{path} has tables of version {version}, this software reads {schema.version};"
            " use the software that wrote it"
        )
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise Misconfigured(f"{path} is damaged; restore it as docs/operating.md says")


def _truncate_wal(connection: sqlite3.Connection) -> None:
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise Unavailable("another program is reading the database; end it and try again")


@final
class _FaultsNamed:
    """Turns SQLite's failures into ours; a broken constraint is for the caller to explain."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        path = self._path
        if error is None or isinstance(error, sqlite3.IntegrityError):
            return
        if isinstance(error, OSError):
            with DiskFaults(path):
                raise error
        if isinstance(error, sqlite3.OperationalError):
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
                message = f"the disk of {path} is full; free some space, then go on"
                raise Unavailable(message) from error
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_ERROR:
                raise AssertionError(f"our own SQL is wrong: {error}") from error
            raise Unavailable(
                f"cannot use {path} ({error.sqlite_errorname}); check the disk and its permissions"
            ) from error
        if isinstance(error, sqlite3.DatabaseError):
            raise Misconfigured(
                f"{path} is damaged or no database of ours ({error.sqlite_errorname});"
                " restore it as docs/operating.md says"
            ) from error


@final
class _Reading:
    """The block of `Database.reading`: holds its turn. A class, for it is entered at every step."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> sqlite3.Connection:
        self._database._turn.acquire()
        try:
            return self._database._open()
        except BaseException:
            self._database._turn.release()
            raise

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._database._turn.release()
        self._database._faults.__exit__(kind, error, trace)
