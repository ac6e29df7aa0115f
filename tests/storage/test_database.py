"""The file: who may open it, what it must be, and which error each failure is."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from comity.errors import Misconfigured, Unavailable
from comity.storage.database import Database
from tests.storage.crashes import run_script, start_script
from tests.storage.samples import NUMBERS


def test_settings_that_durability_rests_on(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.sqlite", NUMBERS)
    with database.reading() as reading:
        found = [
            reading.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        ]
    assert found == ["wal", 2, 1, 1]


def test_a_second_opener_is_told_who_has_it(tmp_path: Path) -> None:
    first = Database(tmp_path / "x.sqlite", NUMBERS)
    with pytest.raises(Unavailable, match="another process has"):
        Database(tmp_path / "x.sqlite", NUMBERS)
    first.close()
    first.close()
    Database(tmp_path / "x.sqlite", NUMBERS).close()
    with pytest.raises(Unavailable, match="closed"), first.reading():
        pass


HOLDER = """
import sys
from pathlib import Path
from comity.storage.database import Database
from tests.storage.samples import NUMBERS
held = Database(Path(sys.argv[1]), NUMBERS)
print("open", flush=True)
sys.stdin.readline()
"""


def test_a_second_process_is_kept_out_until_the_first_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    holder = start_script(HOLDER, str(path))
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    with pytest.raises(Unavailable, match="another process has"):
        Database(path, NUMBERS)
    holder.kill()
    holder.communicate()
    Database(path, NUMBERS).close()


def test_a_foreign_file_is_not_touched(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_bytes(b"dear diary " * 500)
    with pytest.raises(Misconfigured, match="damaged or no database"):
        Database(text, NUMBERS)
    assert text.read_bytes() == b"dear diary " * 500
    other = tmp_path / "other.sqlite"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE song (title TEXT)")
    connection.commit()
    connection.close()
    with pytest.raises(Misconfigured, match="something else"):
        Database(other, NUMBERS)


def test_another_version_is_refused(tmp_path: Path) -> None:
    Database(tmp_path / "x.sqlite", NUMBERS).close()
    with pytest.raises(Misconfigured, match="version 1, this software reads 2"):
        Database(tmp_path / "x.sqlite", NUMBERS._replace(version=2))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    database = Database(path, NUMBERS)
    with database.transaction() as writing:
        writing.executemany(
            "INSERT INTO number VALUES (?, ?)", ((n, bytes(900)) for n in range(99))
        )
    database.close()
    damaged = bytearray(path.read_bytes())
    damaged[8192:12288] = b"\xff" * 4096
    path.write_bytes(damaged)
    with pytest.raises(Misconfigured, match="damaged"):
        Database(path, NUMBERS)


def test_a_missing_folder_and_a_linked_file_are_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="folder"):
        Database(tmp_path / "none" / "x.sqlite", NUMBERS)
    (tmp_path / "link.sqlite").symlink_to(tmp_path / "elsewhere.sqlite")
    with pytest.raises(Unavailable):
        Database(tmp_path / "link.sqlite", NUMBERS)
    assert not (tmp_path / "elsewhere.sqlite").exists()


FULL = """
import resource, sys
from pathlib import Path
from comity.errors import Unavailable
from comity.storage.database import Database
from tests.storage.samples import NUMBERS
database = Database(Path(sys.argv[1]), NUMBERS)
with database.transaction() as writing:
    writing.execute("INSERT INTO number VALUES (1, ?)", (bytes(100),))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    with database.transaction() as writing:
        writing.execute("INSERT INTO number VALUES (2, ?)", (bytes(4_000_000),))
except Unavailable as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with database.transaction() as writing:
    print(writing.execute("SELECT n FROM number").fetchall())
    writing.execute("INSERT INTO number VALUES (3, ?)", (bytes(4_000_000),))
"""


def test_a_full_disk_undoes_the_transaction_and_the_store_goes_on(tmp_path: Path) -> None:
    """A limit on file sizes stands for the full disk; lifting it, for space made free."""
    path = tmp_path / "x.sqlite"
    told = run_script(FULL, str(path))
    assert told.returncode == 0, told.stderr
    said, rows = told.stdout.splitlines()
    assert "disk" in said
    assert rows == "[(1,)]"
    with Database(path, NUMBERS).reading() as reading:
        assert reading.execute("SELECT n FROM number").fetchall() == [(1,), (3,)]


def test_an_error_in_the_block_undoes_it(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.sqlite", NUMBERS)
    with pytest.raises(KeyError), database.transaction() as writing:
        writing.execute("INSERT INTO number VALUES (1, NULL)")
        raise KeyError
    with database.reading() as reading:
        assert reading.execute("SELECT count(*) FROM number").fetchone() == (0,)
