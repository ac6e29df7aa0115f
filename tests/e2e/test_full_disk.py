"""A node's disk that is full, at each write of a round: it says so, loses nothing, and goes on.

In one world every write of one node fails once; in the other a running `comity node run` is put
under a limit of the system (RLIMIT_FSIZE) again and again, which fails every write that grows a
file, also in the middle of one.
"""

from __future__ import annotations

import errno
import io
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bench.plain import train_plain
from bench.rounds import TABLE, write_study

from comity.node.planning import PlanTerms
from comity.node.vectors import write_whole
from tests.e2e.live import live
from tests.e2e.prepared import Make
from tests.e2e.preparing import prepare
from tests.e2e.steps import Desk
from tests.e2e.test_kill import assert_nothing_twice
from tests.e2e.test_rounds import Plain, same_as_plain

AFTER = frozenset({"committed", "renamed", "dropped", "unlinking"})
"""Points after a write: what fails there has happened."""


class FullOnce:
    """Fails each write of a node once, the first time it comes to it: no space left on device."""

    def __init__(self, desk: Desk) -> None:
        self.failed: list[str] = []
        station = desk.station
        for name, owner in (
            ("journal", station.journal),
            ("journal db", station.journal._database),
            ("log", station.replica.store._database),
            ("blobs", station.blobs),
        ):
            vars_of: Any = owner
            vars_of._hook = partial(self.reached, name)
        self._about = ""
        perform = desk.loop._perform

        def performed(duty: object) -> None:
            self._about = type(duty).__name__
            try:
                perform(duty)  # type: ignore[arg-type]  # as meant
            finally:
                self._about = ""

        desk.loop._perform = performed  # type: ignore[method-assign]  # bent

    def reached(self, owner: str, point: str) -> None:
        place = f"{self._about} {owner} {point}"
        if point not in AFTER and place not in self.failed:
            self.failed.append(place)
            raise OSError(errno.ENOSPC, "No space left on device", owner)


def test_every_write_of_a_round_may_fail_once(commons: Make, tmp_path: Path) -> None:
    prepared = commons(4)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        node = world.desk("m2")
        full = FullOnce(node)
        told: set[str] = set()

        def round_is_over() -> bool:
            told.update(node.station.faults.values())
            assert node.stopped is None, node.stopped
            return bool(world.study.results)

        world.run(round_is_over)
        same_as_plain(world, plain, (0, 1, 2, 3), 4)
        world.settle()
        assert_nothing_twice(world.log(), "m2")
        failed = " ".join(full.failed)
        for duty in ("SayJoin", "SayReady", "SayCommit", "SayConfirm", "SayReveal"):
            assert f"{duty} journal db committing" in failed
        assert "SayCommit blobs checked" in failed and " log begun" in failed
        assert len(full.failed) >= 20
        assert any("No space left on device" in text for text in told), told
        node.loop._serve(None)  # as every few seconds, with nothing to hear
        assert not node.loop._unsettled and not node.station._own
        assert "disk" not in node.station.faults


def test_a_write_that_takes_only_a_part_is_gone_on_with() -> None:
    """Near the end of a disk `write` says how much it took; a vector that lost its end is fatal."""

    class Narrow(io.BytesIO):
        def write(self, piece: object) -> int:
            return super().write(bytes(piece)[:7])  # type: ignore[call-overload]  # bytes

    narrow = Narrow()
    write_whole(narrow, b"0123456789" * 5)
    assert narrow.getvalue() == b"0123456789" * 5


def test_a_file_that_cannot_grow_is_said_and_never_half_written(tmp_path: Path) -> None:
    """The system's limit in the middle of a write: the rest is refused, not forgotten."""
    code = (
        "import resource, sys\n"
        "from comity.node.vectors import write_whole\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))\n"
        "write_whole(open(sys.argv[1], 'wb', 0), b'x' * 2_000)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "f")], capture_output=True, text=True
    )
    assert ran.returncode == 1 and "File too large" in ran.stderr
    assert (tmp_path / "f").stat().st_size == 1_000


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_running_node_whose_disk_fills_up_again_and_again(tmp_path: Path) -> None:
    """Every other second no file of the node can grow; it is not restarted, no round fails."""
    rounds, members = 6, 3
    file = write_study(tmp_path / "study.py", 300_000, rounds)
    terms = PlanTerms(phase_s=300, train_s=300)
    prepared = prepare(tmp_path / "made", members, file.read_text(), terms=terms)
    prepared.close()
    unlimited = resource.RLIM_INFINITY
    with live(prepared, tmp_path / "live") as commons:
        commons.start()
        victim = commons.running["m1"]
        commons.wait_for_rounds(1, 60)
        until_s = time.monotonic() + 300
        full = False
        while len(commons.results) < rounds:
            full = not full
            limits = (4_096, unlimited) if full else (unlimited, unlimited)
            resource.prlimit(victim.pid, resource.RLIMIT_FSIZE, limits)
            pause_s = time.monotonic() + 1.0
            commons.wait_until(lambda pause_s=pause_s: time.monotonic() > pause_s, 10)  # type: ignore[misc]
            assert time.monotonic() < until_s, commons.describe()
        resource.prlimit(victim.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
        commons.wait_until(commons.have_model(commons.models()[-1]), 60)
        assert victim.poll() is None
        names = [place.member for place in commons.places.all]
        assert commons.models() == train_plain(file, TABLE, names, rounds).models
        assert len(commons.study.ended) == rounds
        assert all(len(result.survivors) == members for result in commons.results)
        said = commons.said("m1")
        assert "cannot use" in said or "is full" in said, said[-2_000:]
        assert "Traceback" not in said
        assert commons.stop("m1") == 0
        assert signal.Signals(signal.SIGXFSZ).name not in said
