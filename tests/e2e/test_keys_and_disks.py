"""What may happen to a member's keys, disk and host, with real programs and SIGKILL.

New keys, a lost disk, a host restored from an old backup, deaths inside a change of host. Nothing
that the log needs is lost, nobody says two things with one number, and nothing old signs again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from comity.errors import Refused
from comity.log.heads import parse_cosignature
from comity.node.control import ask_node
from comity.node.governing_wire import ApproveEpoch, OfferToHost
from comity.node.keyfile import Unencrypted, load_keys
from comity.node.settings import read_node_settings, write_node_settings
from comity.node.wish_wire import DeclareDataset
from comity.node.wishes import Said
from comity.statements.wire import read
from comity.storage.log_store import SqliteLogStore
from tests.e2e.institutions import ROOT, Institution, Institutions, Program
from tests.e2e.places import free_port
from tests.e2e.small_study import study_text
from tests.e2e.test_newcomer import anchor_of, command
from tests.e2e.test_takeover import has_results, host_log, plain_model

PLAIN = "--unencrypted-on-purpose"


def declare(members: Institutions, each: Institution, name: str) -> None:
    """Say something, and wait until everybody has it."""
    wish = DeclareDataset(name, str(each.place.table))
    members.until(lambda: bool(each.ask(wish, Said)), "it speaks: it has read the whole log")
    members.until(
        lambda: all(
            name in {d.id for d in m.status().datasets} or m is not each for m in members.all
        ),
        f"{name} is declared",
    )
    size = each.hosts().size
    members.until(lambda: all(m.hosts().size >= size for m in members.all), "everybody has it")


def start_dying(each: Institution, what: str, count: int) -> Program:
    """The node of an institution, which kills itself."""
    path = each.folder / "node.log"
    words = (sys.executable, "-m", "tests.e2e.dying", str(each.folder), what, str(count))
    with path.open("ab") as output:
        process = subprocess.Popen(
            words,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    return Program(process, path)


def died(program: Program) -> bool:
    """Whether it killed itself, as planned."""
    if program.runs:
        return False
    assert program.process.returncode == -signal.SIGKILL, program.log.read_text()[-3_000:]
    return True


def stop(program: Program | None) -> None:
    """Kindly; a lock on its folder is free afterwards."""
    assert program is not None
    program.stop()


def nothing_twice(each: Institution, member: str) -> None:
    """In a stopped node's log the member has used each number once, without a gap."""
    store = SqliteLogStore(each.folder / "log.sqlite")
    try:
        head = store.head()
        assert head is not None
        said = [read(leaf).statement for leaf in store.entries(0, head.size)]
    finally:
        store.close()
    numbers = Counter(s.seq for s in said if s.author == member)
    assert sorted(numbers) == list(range(len(numbers))) and set(numbers.values()) == {1}


def statement_key(path: Path) -> bytes:
    return load_keys(path, passphrase=Unencrypted.ON_PURPOSE).public_statement


# -- keys ----------------------------------------------------------------------------------------


def rotated(members: Institutions, each: Institution) -> str:
    """The document of the epoch with new keys, once everybody can approve it."""
    claimed = command("keys", "rotate", "--folder", each.folder, PLAIN)
    document = str(claimed["document"])
    assert (each.folder / "keys.next.pem").exists()
    members.until(
        lambda: all(
            document in {p.document for p in m.hosts().pending} for m in members.all if m.node
        ),
        "pending everywhere",
    )
    return document


def approve(approvers: Sequence[Institution], document: str) -> None:
    """They approve; whoever is asked when the epoch is in force already need not."""
    for each in approvers:
        with contextlib.suppress(Refused):
            ask_node(each.folder, ApproveEpoch(document))


@pytest.mark.slow
def test_a_node_killed_while_it_takes_its_new_keys_into_use(tmp_path: Path) -> None:
    """At each point inside adopting: before the new file has the old name, and after it."""
    with Institutions.made(tmp_path, 4) as members:
        members.start()
        victim = members.all[3]
        old = statement_key(victim.folder / "keys.pem")
        document = rotated(members, victim)
        again = command("keys", "rotate", "--folder", victim.folder, PLAIN)
        assert again["document"] == document, "run again, it goes on with the same keys"
        new = statement_key(victim.folder / "keys.next.pem")
        assert victim.node is not None
        members.doomed.add(victim.member)
        victim.node.kill()
        approve(members.all[:3], document)
        members.until(lambda: all(m.hosts().epoch == 1 for m in members.all[:3]), "in force")
        for point in (1, 2, 3):
            victim.node = dying = start_dying(victim, "adopt", point)
            members.until(lambda dying=dying: died(dying), "it dies")  # type: ignore[misc]
            files = [victim.folder / "keys.pem", victim.folder / "keys.next.pem"]
            held = {statement_key(path) for path in files if path.exists()}
            assert new in held, "the keys that the log needs are on disk"
            if not files[1].exists():
                break
        members.doomed.clear()
        victim.start_node()
        members.until(lambda: not (victim.folder / "keys.next.pem").exists(), "adopted")
        members.until(lambda: victim.hosts().epoch == 1, "it runs")
        declare(members, victim, "rows-with-new-keys")
        assert statement_key(victim.folder / "keys.pem") == new != old
        for each in members.all:
            stop(each.node)
        nothing_twice(members.all[0], victim.member)


@pytest.mark.slow
def test_a_running_node_goes_on_with_its_new_keys_by_itself(tmp_path: Path) -> None:
    with Institutions.made(tmp_path, 3) as members:
        members.start()
        victim = members.all[2]
        document = rotated(members, victim)
        approve(members.all[:2], document)
        members.until(lambda: victim.hosts().epoch == 1, "in force")
        members.until(lambda: not (victim.folder / "keys.next.pem").exists(), "final and adopted")
        declare(members, victim, "rows-with-new-keys")
        members.until(
            lambda: victim.hosts().final_size >= victim.hosts().size, "it cosigns: 3 of 3"
        )


# -- disks ---------------------------------------------------------------------------------------


def wipe(each: Institution) -> None:
    """The disk is lost; the operator puts back keys, charter and settings."""
    for path in each.folder.iterdir():
        if path.name in ("keys.pem", "charter.json", "node.toml", "site.toml", "node.log"):
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.slow
def test_a_node_whose_disk_is_lost_is_rebuilt_from_a_mirror_and_goes_on(tmp_path: Path) -> None:
    with Institutions.made(tmp_path, 4) as members:
        mirror = f"127.0.0.1:{free_port()}"
        keeper, victim = members.all[1], members.all[3]
        toml = keeper.folder / "node.toml"
        settings = read_node_settings(toml)
        write_node_settings(toml, msgspec.structs.replace(settings, mirror=mirror))
        members.start()
        declare(members, victim, "rows-before")
        anchor = anchor_of(members, members.all[2], tmp_path / "anchor.txt")
        assert victim.node is not None
        victim.node.kill()
        wipe(victim)
        done = command(
            *("node", "rebuild", "--anchor", anchor, "--from", f"http://{mirror}"),
            *("--from", members.all[0].url, "--folder", victim.folder, PLAIN),
        )
        assert done["said"] == 2, "commons.found and the data set"
        victim.start_node()
        members.until(lambda: bool(victim.status().founded), "it runs")
        declare(members, victim, "rows-after")
        members.until(
            lambda: "cosign" in {fault.subject for fault in victim.status().obstacles},
            "it says that it cosigns nothing",
        )
        document = rotated(members, victim)
        approve(members.all[:3], document)
        members.until(lambda: all(m.hosts().epoch == 1 for m in members.all), "in force")
        declare(members, victim, "rows-with-new-keys")
        members.until(lambda: not (victim.folder / "keys.next.pem").exists(), "adopted")
        members.until(lambda: cosigns(members.all[0], victim), "it cosigns again")
        for each in members.all:
            stop(each.node)
        nothing_twice(members.all[0], victim.member)


def cosigns(host: Institution, victim: Institution) -> bool:
    """Whether the newest final head at the host has a line of this member, by its new key."""
    assert host.node is not None
    path = host.folder / "host" / "host.sqlite"
    copy = host.folder.parent / "looked-at.sqlite"
    for end in ("", "-wal"):
        source = path.with_name(path.name + end)
        if source.exists():
            shutil.copy(source, copy.with_name(copy.name + end))
    store = SqliteLogStore(copy)
    try:
        lines = store.cosignatures(store.final())
        return victim.member in {parse_cosignature(line).member for _, line in lines}
    finally:
        store.close()
        for left in copy.parent.glob("looked-at.sqlite*"):
            left.unlink()


@pytest.mark.slow
def test_log_attack_3_a_host_restored_from_an_old_backup_signs_nothing_more(
    tmp_path: Path,
) -> None:
    with Institutions.made(tmp_path, 4) as members:
        members.start()
        first = members.all[0]
        stop(first.host)
        backup = tmp_path / "backup"
        shutil.copytree(first.folder / "host", backup)
        first.serve()
        declare(members, members.all[2], "rows-after-the-backup")
        size = first.hosts().size
        members.until(lambda: all(m.hosts().final_size >= size for m in members.all), "final")
        stop(first.host)
        shutil.rmtree(first.folder / "host")
        shutil.copytree(backup, first.folder / "host")
        first.serve()
        members.until(lambda: (first.folder / "host" / "halted").exists(), "it is shown and halts")
        members.all[2].ask(DeclareDataset("rows-lost", str(members.all[2].place.table)), Said)
        assert all(m.hosts().size == size for m in members.all), "nobody followed it back"
        stop(first.host)
        first.serve()
        members.until(lambda: first.host is not None and not first.host.runs, "it does not start")
        assert "signed more than is stored here" in host_log(first)


# -- deaths together, and inside a move ----------------------------------------------------------


@pytest.mark.slow
def test_host_and_node_of_one_member_are_killed_together(tmp_path: Path) -> None:
    text = study_text(rounds=3, twist="import time; time.sleep(0.3)")
    with Institutions.made(tmp_path, 3) as members:
        members.start()
        members.register(text)
        first = members.all[0]
        for count in (1, 2):
            members.until(
                lambda count=count: has_results(members.all[1], count),  # type: ignore[misc]
                f"round {count}",
            )
            for program in (first.host, first.node):
                assert program is not None
                program.kill()
            first.serve()
            first.start_node()
        members.until(lambda: all(has_results(m, 3) for m in members.all), "all rounds")
        assert {m.study().model for m in members.all} == {plain_model(text, 3)}


@contextmanager
def moving_away(tmp_path: Path) -> Iterator[tuple[Institutions, Institution]]:
    """Four members whose host is gone; three make another one host while the fourth is down."""
    with Institutions.made(tmp_path, 4) as members:
        members.start()
        old, new, _, victim = members.all
        new.ask(OfferToHost(new.url), Said)
        members.until(lambda: all(new.member in m.hosts().offers for m in members.all), "offer")
        size = max(m.hosts().size for m in members.all)  # what is final is on every disk
        members.until(lambda: all(m.hosts().final_size >= size for m in members.all), "final")
        assert old.host is not None and victim.node is not None
        old.host.kill()
        victim.ask(DeclareDataset("rows-unsent", str(victim.place.table)), Said)
        members.doomed.add(victim.member)
        victim.node.kill()
        new.take_over()
        members.until(lambda: bool(new.hosts().approved), "the candidate's own approval")
        for each in (old, members.all[2]):
            each.ask(ApproveEpoch(new.member, new.url), Said)
        yield members, victim


@pytest.mark.slow
def test_a_node_killed_at_every_commit_point_of_its_move_to_another_host(tmp_path: Path) -> None:
    with moving_away(tmp_path) as (members, victim):
        new, points = members.all[1], 0
        for point in range(1, 40):
            victim.node = dying = start_dying(victim, "move", point)
            members.until(
                lambda dying=dying: died(dying) or victim.hosts().host == new.member,  # type: ignore[misc]
                f"point {point}: dead, or moved",
            )
            if dying.runs:
                break
            points += 1
        assert points >= 4, "the move has its commit points"
        members.until(
            lambda: "rows-unsent" in {d.id for d in victim.status().datasets}, "it is sent again"
        )
        size = max(m.hosts().size for m in members.all)
        members.until(lambda: all(m.hosts().final_size >= size for m in members.all), "final")
        for each in members.all:
            stop(each.node)
            nothing_twice(each, victim.member)
