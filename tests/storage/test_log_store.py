"""The log store by itself: real SQLite files, real processes killed at every commit point."""

from __future__ import annotations

import hashlib
import itertools
import signal
import threading
from pathlib import Path

import pytest

from comity.errors import HeadMoved, Malformed, Refused, Rule, Unavailable
from comity.storage.dropped import keep_dropped
from comity.storage.log_store import SqliteLogStore
from comity.storage.ports import StoredHead
from comity.values import MemberId
from tests.storage.crashes import run_script, start_script
from tests.storage.samples import head, line, row


def test_appended_entries_and_heads_are_there_after_opening_again(tmp_path: Path) -> None:
    store = SqliteLogStore(tmp_path / "host.sqlite")
    assert store.head() is None
    store.append([row(0), row(1)], None, head(2))
    store.append([row(2)], head(2), head(3))
    store.close()
    again = SqliteLogStore(tmp_path / "host.sqlite")
    assert again.head() == head(3)
    assert again.entries(1, 9) == [b"leaf1", b"leaf2"]
    assert again.entries(1, 2) == [b"leaf1"]
    assert list(again.leaf_hashes()) == [row(n).leaf_hash for n in range(3)]
    assert list(again.leaf_hashes(2)) == [row(2).leaf_hash]
    assert again.newest_heads(1) == [head(3)]
    assert again.newest_heads(5) == [head(3), head(2)]
    assert again.head_at(2) == head(2)
    assert again.head_at(1) is None
    assert (tmp_path / "host.sqlite").stat().st_mode & 0o777 == 0o600


def test_append_on_another_head_changes_nothing(tmp_path: Path) -> None:
    store = SqliteLogStore(tmp_path / "host.sqlite")
    store.append([row(0)], None, head(1))
    for wrong in (None, head(1, b"other note"), StoredHead(1, bytes(32), b"note")):
        with pytest.raises(HeadMoved):
            store.append([row(1)], wrong, head(wrong.size + 1 if wrong else 1))
    assert store.head() == head(1)
    assert store.entries(0, 9) == [b"leaf0"]


def test_attack_7_and_11_one_statement_and_one_seq_once(tmp_path: Path) -> None:
    store = SqliteLogStore(tmp_path / "host.sqlite")
    store.append([row(0)], None, head(1))
    same_seq = row(0, text=b"other")
    same_id = row(1)._replace(statement_id=row(0).statement_id)
    for bad in (same_seq, same_id):
        with pytest.raises(Refused) as refusal:
            store.append([row(2), bad], head(1), head(3))
        assert refusal.value.rule is Rule.SAID_BEFORE
    assert store.entries(0, 9) == [b"leaf0"]
    store.append([row(0, author="uni-b", text=b"b")], head(1), head(2))


def test_a_head_that_does_not_cover_its_entries_is_our_bug(tmp_path: Path) -> None:
    store = SqliteLogStore(tmp_path / "host.sqlite")
    with pytest.raises(AssertionError):
        store.append([row(0)], None, head(2))
    with pytest.raises(AssertionError):
        store.append([row(0)._replace(leaf_hash=bytes(32))], None, head(1))
    assert store.head() is None


def test_another_host_may_sign_the_same_tree_and_no_other(tmp_path: Path) -> None:
    store = SqliteLogStore(tmp_path / "host.sqlite")
    store.append([row(0)], None, head(1))
    store.append([], head(1), head(1, b"by another host"))
    assert store.newest_heads(9) == [head(1, b"by another host")]
    with pytest.raises(AssertionError):
        store.append([], head(1, b"by another host"), StoredHead(1, bytes(32), b"fork"))


def test_the_newest_cosignature_of_a_member_stays(tmp_path: Path) -> None:
    store = SqliteLogStore(tmp_path / "host.sqlite")
    store.append([row(0)], None, head(1))
    store.cosign(1, [line("b", 5), line("a", 7)])
    store.cosign(1, [line("b", 9), line("a", 6)])
    store.cosign(1, [line("b", 9)])
    assert store.cosignatures(1) == [line("a", 7), line("b", 9)]
    with pytest.raises(Refused) as refusal:
        store.cosign(2, [line("a", 7)])
    assert refusal.value.rule is Rule.HEAD_UNKNOWN
    for bad in (b"", "— a !!!!\n".encode(), "— a AAAA\n".encode()):
        with pytest.raises(Malformed):
            store.cosign(1, [(MemberId("a"), bad)])


def test_the_final_size_never_goes_back(tmp_path: Path) -> None:
    store = SqliteLogStore(tmp_path / "host.sqlite")
    assert store.final() == 0
    store.append([row(0)], None, head(1))
    store.append([row(1)], head(1), head(2))
    store.set_final(2)
    store.set_final(1)
    assert store.final() == 2
    with pytest.raises(Refused) as refusal:
        store.set_final(3)
    assert refusal.value.rule is Rule.HEAD_UNKNOWN


def test_a_batch_of_2000_is_one_short_transaction(tmp_path: Path) -> None:
    store = SqliteLogStore(tmp_path / "host.sqlite")
    store.append([row(n, text=b"x" * 1_000) for n in range(2_000)], None, head(2_000))
    assert len(list(store.leaf_hashes())) == 2_000


KILLED = """
import sys
from pathlib import Path
from comity.storage.log_store import SqliteLogStore
from tests.storage.crashes import kill_at
from tests.storage.samples import head, line, row
path, work, point = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
store = SqliteLogStore(path, hook=kill_at(point))
if work == "append":
    store.append([row(2), row(3)], head(2), head(4))
elif work == "cosign":
    store.cosign(2, [line("a", 9)])
elif work == "replace":
    store.replace_tail(1, [row(7)], head(2), head(2, b"other"))
else:
    store.set_final(2)
"""


@pytest.mark.parametrize("point", ["begun", "committing", "committed"])
@pytest.mark.parametrize("work", ["append", "cosign", "final"])
def test_attack_51_killed_at_any_point_all_or_nothing(
    tmp_path: Path, work: str, point: str
) -> None:
    path = tmp_path / "host.sqlite"
    store = SqliteLogStore(path)
    store.append([row(0), row(1)], None, head(2))
    store.close()
    assert run_script(KILLED, str(path), work, point).returncode == -signal.SIGKILL
    store = SqliteLogStore(path)
    done = point == "committed"
    appended = done and work == "append"
    assert store.head() == (head(4) if appended else head(2))
    assert len(store.entries(0, 9)) == (4 if appended else 2)
    assert store.cosignatures(2) == ([line("a", 9)] if done and work == "cosign" else [])
    assert store.final() == (2 if done and work == "final" else 0)
    # The same work is done after the restart, whatever the disk holds.
    if not appended:
        store.append([row(2), row(3)], head(2), head(4))
    assert store.head() == head(4)


@pytest.mark.parametrize("point", ["begun", "committing", "committed"])
def test_a_tail_is_replaced_whole_or_not_at_all(tmp_path: Path, point: str) -> None:
    """Attack 51 for a change of host: no mixture of two histories, wherever the power goes."""
    path = tmp_path / "log.sqlite"
    store = SqliteLogStore(path)
    store.append([row(0)], None, head(1))
    store.append([row(1)], head(1), head(2))
    store.cosign(2, [line("a", 9)])
    store.close()
    assert run_script(KILLED, str(path), "replace", point).returncode == -signal.SIGKILL
    store = SqliteLogStore(path)
    done = point == "committed"
    assert store.entries(0, 9) == [b"leaf0", b"leaf7" if done else b"leaf1"]
    assert store.head() == head(2, b"other" if done else b"note")
    assert store.cosignatures(2) == ([] if done else [line("a", 9)])
    kept = keep_dropped(tmp_path, store, 1)
    assert kept is not None and len(kept.read_bytes().splitlines()) == 2
    assert keep_dropped(tmp_path, store, 2) is None


def test_what_a_final_head_covers_is_never_replaced(tmp_path: Path) -> None:
    store = SqliteLogStore(tmp_path / "log.sqlite")
    store.append([row(0)], None, head(1))
    store.append([row(1)], head(1), head(2))
    store.set_final(2)
    with pytest.raises(HeadMoved, match="is final"):
        store.replace_tail(1, [row(7)], head(2), head(2, b"other"))
    with pytest.raises(HeadMoved):
        store.replace_tail(2, [row(7)], head(1), head(3))
    assert store.entries(0, 9) == [b"leaf0", b"leaf1"]
    store.replace_tail(2, [row(7)], head(2), head(3))
    assert store.head() == head(3)


@pytest.mark.parametrize("point", ["committing", "committed"])
def test_a_failed_append_tells_the_truth_afterwards(tmp_path: Path, point: str) -> None:
    """Failed (before the commit) and failed but persisted (after it): the disk decides."""
    faults = [Unavailable("the disk failed")]

    def fail_once(reached: str) -> None:
        if reached == point and faults:
            raise faults.pop()

    store = SqliteLogStore(tmp_path / "host.sqlite", hook=fail_once)
    with pytest.raises(Unavailable):
        store.append([row(0)], None, head(1))
    persisted = point == "committed"
    assert store.head() == (head(1) if persisted else None)
    if persisted:
        with pytest.raises(HeadMoved):
            store.append([row(0)], None, head(1))
    else:
        store.append([row(0)], None, head(1))
    assert store.entries(0, 9) == [b"leaf0"]


def test_of_two_threads_on_one_head_one_appends(tmp_path: Path) -> None:
    store = SqliteLogStore(tmp_path / "host.sqlite")
    outcomes: list[str] = []

    def race(author: str) -> None:
        try:
            store.append([row(0, author=author, text=author.encode())], None, head(1))
            outcomes.append("appended")
        except HeadMoved:
            outcomes.append("moved")

    racers = [threading.Thread(target=race, args=(f"m{n}",)) for n in range(8)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sorted(outcomes) == ["appended"] + ["moved"] * 7


RACER = """
import sys
from pathlib import Path
from comity.errors import HeadMoved
from comity.storage.log_store import SqliteLogStore
from tests.storage.samples import head, row
store = SqliteLogStore(Path(sys.argv[1]))
Path(sys.argv[1] + ".lock").unlink()
print("open", flush=True)
sys.stdin.readline()
won = 0
for size in range(40):
    old = head(size) if size else None
    mine = row(size, author=sys.argv[2], text=sys.argv[2].encode())
    try:
        store.append([mine], old, head(size + 1))
        won += 1
    except HeadMoved:
        pass
print(won)
"""


def test_two_processes_racing_append_never_fork_even_without_the_lock(tmp_path: Path) -> None:
    """An operator has deleted the lock file, so both have the database open: one wins each head."""
    path = str(tmp_path / "host.sqlite")
    SqliteLogStore(Path(path)).close()
    racers = []
    for name in ("a", "b"):
        racer = start_script(RACER, path, name)
        assert racer.stdout is not None
        assert racer.stdout.readline() == "open\n"
        racers.append(racer)
    answers = [racer.stdin for racer in racers]
    for stdin in answers:
        assert stdin is not None
        stdin.write("go\n")
        stdin.flush()
    won = [int(racer.communicate(timeout=60)[0]) for racer in racers]
    assert sum(won) == 40
    store = SqliteLogStore(Path(path))
    assert store.head() == head(40)
    assert [leaf[1:] for leaf in store.entries(0, 99)] == [str(n).encode() for n in range(40)]
    assert list(itertools.islice(store.leaf_hashes(), 99)) == [
        hashlib.sha256(b"\x00" + leaf).digest() for leaf in store.entries(0, 99)
    ]
