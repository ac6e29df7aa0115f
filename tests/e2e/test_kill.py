"""Real node processes, killed with SIGKILL at every journal and commit point, and started again.

Attacks 11, 12, 54: whatever was journalled is what is sent; nobody says a thing twice; the round
ends, or is repeated as a new attempt.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from comity.commons.attempts import End
from comity.node.keyfile import Unencrypted, write_keys
from comity.statements.entries import Statement
from comity.statements.rounds import RoundAbandon, RoundOpen
from comity.statements.wire import read
from tests.e2e.node_process import start_node
from tests.e2e.prepared import Make
from tests.e2e.steps import World
from tests.e2e.test_rounds import Plain

JOURNAL = ("saying", "begun", "committing", "committed", "sent")
MEMBER = ("round.join", "round.ready", "round.commit", "round.confirm", "round.reveal")
EVERY = [f"{tag}@{point}" for tag in MEMBER for point in JOURNAL] + [
    "round.join@sealed",
    "round.ready@sealed",
    "round.ready@unlinking",
    "round.commit@sealed",
    "round.commit@unlinking",
    "round.reveal@sealed",
    "round.accept@saying",
    "round.accept@committed",
    "round.accept@sent",
    "round.accept@unlinking",
]
OF_HOST = [
    f"{tag}@{point}" for tag in ("round.open", "round.start", "round.close") for point in JOURNAL
]
SAMPLE = ["round.join@committing", "round.commit@committed", "round.reveal@committed"]


@contextmanager
def node_process(world: World, member: str, point: str) -> Iterator[subprocess.Popen[bytes]]:
    """The member's node as a process, ended by its pid at last."""
    folder = world.desk(member).place.folder
    process = start_node(folder, world.clock.now_s, point)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def move(world: World, reached: Callable[[], bool], why: Callable[[], str]) -> None:
    """Move the other nodes until the process has come so far."""
    limit = time.monotonic() + 40
    while not reached():
        if not world.turn():
            time.sleep(0.01)
        assert time.monotonic() < limit, why()


def journalled(folder: Path) -> dict[str, bytes]:
    """Every envelope that waits in a dead node's journal, by id."""
    with sqlite3.connect(folder / "node.sqlite") as database:
        rows = database.execute("SELECT statement_id, envelope FROM said").fetchall()
    database.close()
    return {name: envelope for name, envelope in rows if envelope is not None}


def run_with_kills(world: World, member: str, points: Sequence[str]) -> None:
    """Kill the node at each point in turn, then let it finish a round; check what it said."""
    victim = world.desk(member)
    write_keys(
        victim.place.folder / "keys.pem", victim.place.keys, passphrase=Unencrypted.ON_PURPOSE
    )
    victim.close()
    world.desks.remove(victim)
    folder = victim.place.folder
    written: dict[str, bytes] = {}
    world.desks.append(victim)
    victim.asleep = True
    for point in points:
        with node_process(world, member, point) as process:
            move(
                world,
                lambda process=process: process.poll() is not None,  # type: ignore[misc]  # bound
                lambda point=point: f"{point} is never reached: {world.describe()}",  # type: ignore[misc]
            )
            errors = (folder / "stderr.txt").read_text()
            assert process.returncode == -signal.SIGKILL, f"{point}: {errors}"
        written |= journalled(folder)
    with node_process(world, member, "never"):
        move(
            world, world.results(1), lambda: world.describe() + (folder / "stderr.txt").read_text()
        )
    leaves = {str(read(leaf).statement.id): leaf for leaf in world.leaves()}
    for name, envelope in written.items():
        assert leaves.get(name) == envelope, "what was journalled is what is sent"
    assert_nothing_twice(world.log(), member)


def assert_nothing_twice(log: Sequence[Statement], member: str) -> None:
    """At most one statement of a kind in an attempt (R1)."""
    said: Counter[tuple[str, object]] = Counter()
    for statement in log:
        body = statement.body
        if statement.author != member or not body.tag.startswith("round."):
            continue
        if isinstance(body, RoundOpen | RoundAbandon):
            said[body.tag, (body.study, body.round_no, body.attempt)] += 1
        else:
            said[body.tag, getattr(body, "opened", None)] += 1
    assert said
    assert set(said.values()) == {1}, said


def test_a_node_killed_at_a_sample_of_points(commons: Make, tmp_path: Path) -> None:
    prepared = commons(3)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        run_with_kills(world, "m2", SAMPLE)
        assert world.study.ended[0].end is End.ACCEPTED
        plain.round(1, 3, (0, 1, 2))
        assert world.study.results[0].model == plain.digests()[0]


@pytest.mark.slow
@pytest.mark.parametrize("point", EVERY)
def test_a_node_killed_at_every_point(commons: Make, tmp_path: Path, point: str) -> None:
    prepared = commons(3)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        run_with_kills(world, "m2", [point])
        plain.round(1, 3, (0, 1, 2))
        assert world.study.results[0].model == plain.digests()[0]


@pytest.mark.slow
@pytest.mark.parametrize("point", OF_HOST)
def test_the_hosting_member_killed_at_every_point(
    commons: Make, tmp_path: Path, point: str
) -> None:
    with commons(3).world(tmp_path) as world:
        run_with_kills(world, "m0", [point])
        assert world.study.results
