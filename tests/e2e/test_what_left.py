"""What left a site is what its ledger says, to the byte; and after a stop nothing leaves.

Real programs, and a relay on one member's line that writes down every byte. The attack: a node that
sends something it does not tell its owner of, or goes on after the owner said stop.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from comity.commons.attempts import Masking
from comity.node.leaving import left_since
from comity.node.stopping import begin_stop, end_stop
from comity.values import MemberId
from tests.e2e.live import ROOT, Live, live
from tests.e2e.places import free_port
from tests.e2e.prepared import Make
from tests.e2e.taps import HEADERS, Tap, tapped
from tests.e2e.test_kill import assert_nothing_twice

ME = MemberId("m1")


def nothing_else_left(folder: Path, tap: Tap) -> None:
    """Every request that the relay saw is a line of the ledger, and the other way round."""
    report, passed = left_since(folder, 0), tap.requests()
    assert not report.unreadable
    noted = Counter((left.line, left.bytes, str(left.sha256)) for left in report.messages)
    seen = Counter(message.noted for message in passed if message.whole)
    assert all(message.whole for message in passed[:-1])
    assert not seen - noted, "this left, and the ledger does not say so"
    # What was noted and did not pass: questions of the last moment, cut by the end.
    assert all(size == 0 for _, size, _ in noted - seen), noted - seen
    assert all(set(message.headers) <= HEADERS for message in passed)
    kinds = {about.kind for left in report.messages for about in left.about}
    assert {"round.join", "round.commit", "round.reveal", "cosignature"} <= kinds
    assert {"blob of round.join", "blob of round.commit"} <= kinds


def ran(*words: object) -> subprocess.CompletedProcess[str]:
    """A command, as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "comity", *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def comity(*words: object) -> str:
    """What a command that does what it is asked prints."""
    ended = ran(*words)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_ledger_is_what_a_relay_saw_of_a_round(commons: Make, tmp_path: Path) -> None:
    """One node's line of a round in this process; the whole with real programs is below."""
    with (
        commons(4).world(tmp_path) as world,
        tapped(int(world.server.url.rsplit(":", 1)[1])) as tap,
    ):
        desk = world.desk("m1")
        for old in (desk.place.folder / "left").iterdir():
            old.unlink()  # of the preparation
        desk.station.outlet.close()
        desk.station.use_host(tap.url)
        world.run(world.results(1))
        world.settle()
        nothing_else_left(desk.place.folder, tap)


@pytest.mark.slow
def test_the_ledger_is_what_a_relay_saw_of_a_whole_round(commons: Make, tmp_path: Path) -> None:
    """Nothing left that is not in the ledger; nothing is in it that did not try to leave."""
    prepared = commons(4)
    port = free_port()
    with (
        tapped(port) as tap,
        live(prepared, tmp_path / "live", urls={ME: tap.url}, port=port) as running,
    ):
        folder = running.place(ME).folder
        for old in (folder / "left").iterdir():
            old.unlink()  # of the preparation
        running.start()
        running.wait_for_rounds(1, limit_s=120)
        running.stop(ME)
        nothing_else_left(folder, tap)
        report = left_since(folder, 0)
        for left in report.messages:
            for about in left.about:
                if about.kind.startswith("round."):
                    assert (about.study, about.round_no > 0) == (running.study_id, True)
        told = comity("site", "left", "--since", "1d", "--folder", folder)
        assert "blob of round.commit" in told and "round.reveal" in told


@pytest.mark.slow  # five processes; in the default run a stop is tried below, in this one
def test_nothing_leaves_after_a_stop_in_the_middle_of_a_round(
    commons: Make, tmp_path: Path
) -> None:
    prepared = commons(4, twist='__import__("time").sleep(600)')
    port = free_port()
    with (
        tapped(port) as tap,
        live(prepared, tmp_path / "live", urls={ME: tap.url}, port=port) as running,
    ):
        folder = running.place(ME).folder
        running.start()
        running.wait_until(lambda: is_masking(running), 120)
        node = running.running[ME].pid
        running.wait_until(lambda: bool(children(node)), 60)
        told = comity("stop", "--reason", "consent form", "--folder", folder)
        assert "this site is stopped until" in told and "ended 1 study process" in told
        before = passed_up(tap)
        running.wait_until(lambda: not children(node), 60)
        size = running.reader.look().size
        declare = ("data", "add", "more", running.place("m2").table, "--folder")
        comity(*declare, running.place("m2").folder)  # time goes on for the others
        assert running.reader.look().size > size
        add = ("data", "add", "x", running.place(ME).table, "--unencrypted-on-purpose")
        refused = ran(*add, "--folder", folder)
        assert refused.returncode == 1 and "this site is stopped" in refused.stderr
        assert passed_up(tap) == before, "something left a stopped site"
        status = comity("status", "--folder", folder)
        assert "this site is stopped until" in status
        assert running.is_up(ME)
        comity("stop", "--end", "--folder", folder)
        running.wait_until(lambda: passed_up(tap) > before, 60)
        assert not [message for message in tap.requests() if not message.whole][1:]


def is_masking(running: Live) -> bool:
    """Whether the study's members train and commit now, by the host's log."""
    study = running.reader.look().studies.get(running.study_id)
    return study is not None and isinstance(study.current, Masking)


def children(pid: int) -> list[str]:
    """Processes that this one has started and that live; empty when it has ended itself."""
    found: list[str] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        found += listed.read_text().split()
    return found


def passed_up(tap: Tap) -> int:
    """Bytes that have gone towards the host."""
    return sum(map(len, tap.up()))


def test_a_round_goes_on_without_a_stopped_site_which_then_does_what_it_owes(
    commons: Make, tmp_path: Path
) -> None:
    with commons(4).world(tmp_path) as world:
        desk = world.desk("m1")
        desk.silent_before = {"round.commit"}
        world.run(lambda: desk.asleep)
        begin_stop(desk.place.folder, now_s=world.clock(), for_s=3_600, reason="a look")
        desk.wake()
        world.settle()
        world.let_time_pass(world.results(1))
        assert ME not in world.study.results[0].survivors
        assert not world.said("round.commit", ME)
        end_stop(desk.place.folder)
        world.settle()
        assert desk.state.size == world.state.size
        assert_nothing_twice(world.log(), "m1")
