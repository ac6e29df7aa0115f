"""The journal's secrets: sealed, shrunk, erased; and kills at every commit point."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from comity.errors import Misconfigured, Rule, Unavailable
from comity.storage.journal import SqliteJournal
from comity.values import Digest
from tests.storage.crashes import run_script
from tests.storage.journals import all_bytes, refused, say
from tests.storage.samples import HERE, NEXT, SECRET, an_id

# -- secrets ----------------------------------------------------------------------------------


def test_secrets_never_lie_open_on_the_disk(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path)
    journal.keep(HERE, SECRET)
    journal.keep_sealing(Digest("44" * 32), SECRET)
    assert journal.stage(HERE) == journal.sealing(Digest("44" * 32)) == SECRET
    assert SECRET[:16] not in all_bytes(tmp_path)
    assert (tmp_path / "round-keys").stat().st_mode & 0o777 == 0o700
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "round-keys").iterdir()}
    assert modes == {0o600}


def test_erased_secrets_are_in_no_file_and_opened_by_none(tmp_path: Path) -> None:
    """The thief copies the whole folder after the erasure, old pages included."""
    journal = SqliteJournal(tmp_path)
    journal.keep(HERE, SECRET)
    journal.keep_sealing(Digest("44" * 32), SECRET)
    journal.keep(NEXT, b"of another attempt")
    names = {path.name for path in (tmp_path / "round-keys").iterdir()}
    locks = {path.name: path.read_bytes() for path in (tmp_path / "round-keys").iterdir()}
    journal.erase(HERE)
    journal.erase(HERE)
    journal.erase_sealing(Digest("44" * 32))
    left = all_bytes(tmp_path)
    kept = {path.name for path in (tmp_path / "round-keys").iterdir()}
    assert len(names) == 3
    assert len(kept) == 1
    for name in names - kept:
        assert locks[name] not in left
    assert SECRET[:16] not in left
    assert journal.stage(HERE) is None
    assert journal.sealing(Digest("44" * 32)) is None
    assert journal.stage(NEXT) == b"of another attempt"


def test_a_shrunk_stage_makes_the_older_ones_unreadable(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path)
    journal.keep(HERE, b"the one before")
    journal.keep(HERE, SECRET)
    (first,) = (tmp_path / "round-keys").iterdir()
    old_lock = first.read_bytes()
    journal.shrink(HERE, b"without sigma")
    assert journal.stage(HERE) == b"without sigma"
    assert len(list((tmp_path / "round-keys").iterdir())) == 1
    assert old_lock not in all_bytes(tmp_path)


def test_an_overwritten_key_file_holds_zeros_before_it_goes(tmp_path: Path) -> None:
    """A second name for the key file, as a snapshot tool may make one, shows the overwriting."""
    journal = SqliteJournal(tmp_path)
    journal.keep(HERE, SECRET)
    (lock,) = (tmp_path / "round-keys").iterdir()
    os.link(lock, tmp_path / "snapshot")
    journal.erase(HERE)
    assert (tmp_path / "snapshot").read_bytes() == bytes(32)


def test_a_damaged_or_foreign_key_file_is_refused(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path)
    journal.keep(HERE, SECRET)
    (lock,) = (tmp_path / "round-keys").iterdir()
    for wrong in (bytes(32), b"short"):
        lock.write_bytes(wrong)
        with pytest.raises(Misconfigured, match="does not fit"):
            journal.stage(HERE)


# -- crashes and races ------------------------------------------------------------------------

KILLED = """
import sys
from pathlib import Path
from comity.storage.journal import SqliteJournal
from tests.storage.crashes import kill_at
from tests.storage.samples import HERE, SECRET, an_id
folder, work, point = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
armed = []
hook = lambda reached: armed and kill_at(point)(reached)
journal = SqliteJournal(folder, hook=hook)
armed.append(True)
if work == "say":
    journal.say(b"1", statement_id=an_id(1), seq=1, tag="round.join", scope=HERE, stage=b"new")
elif work == "shrink":
    journal.shrink(HERE, b"less")
elif work == "erase":
    journal.erase(HERE)
else:
    journal.cosigned(None, (5, bytes(32)))
"""


@pytest.mark.parametrize(
    ("work", "point"),
    [
        *(("say", at) for at in ("begun", "sealed", "committing", "committed")),
        *(("shrink", at) for at in ("begun", "sealed", "committing", "committed", "unlinking")),
        *(("erase", at) for at in ("unlinking", "begun", "committing", "committed")),
        *(("cosigned", at) for at in ("begun", "committing", "committed")),
    ],
)
def test_attack_51_killed_at_any_point_all_or_nothing(
    tmp_path: Path, work: str, point: str
) -> None:
    journal = SqliteJournal(tmp_path)
    say(journal, "seen", scope=None)
    journal.keep(HERE, b"old")
    journal.close()
    assert run_script(KILLED, str(tmp_path), work, point).returncode == -signal.SIGKILL
    journal = SqliteJournal(tmp_path)
    done = point in ("committed", "unlinking")
    assert journal.promised(HERE) == ({"round.join": an_id(1)} if work == "say" and done else {})
    assert len(journal.waiting()) == (2 if work == "say" and done else 1)
    assert journal.last_cosigned() == ((5, bytes(32)) if work == "cosigned" and done else None)
    match work:
        case "say":
            assert journal.stage(HERE) == (b"new" if done else b"old")
        case "erase":
            assert journal.stage(HERE) == (b"old" if point == "unlinking" else None)
        case "shrink":
            assert journal.stage(HERE) == (b"less" if done else b"old")
        case _:
            assert journal.stage(HERE) == b"old"
    # No key file is left that opens nothing, whatever the moment of death.
    locks = list((tmp_path / "round-keys").iterdir())
    assert len(locks) == (journal.stage(HERE) is not None)


@pytest.mark.parametrize("point", ["committing", "committed"])
def test_a_failed_say_tells_the_truth_afterwards(tmp_path: Path, point: str) -> None:
    """Failed (before the commit) and failed but persisted (after it): the disk decides."""
    faults: list[Unavailable] = []

    def fail_once(reached: str) -> None:
        if reached == point and faults:
            raise faults.pop()

    journal = SqliteJournal(tmp_path, hook=fail_once)
    journal.keep(HERE, b"old")
    faults.append(Unavailable("the disk failed"))
    with pytest.raises(Unavailable):
        journal.say(
            b"0", statement_id=an_id(0), seq=0, tag="round.confirm", scope=HERE, stage=b"new"
        )
    persisted = point == "committed"
    assert journal.waiting() == ([b"0"] if persisted else [])
    assert journal.stage(HERE) == (b"new" if persisted else b"old")
    if persisted:
        refused(journal, Rule.SAID_BEFORE, "round.confirm")
    else:
        say(journal, "round.confirm")
