"""A node as a process of its own that kills itself with SIGKILL at a named point.

    python -m tests.e2e.node_process FOLDER NOW_S POINT

POINT is "round.commit@committed": the statement under way, and a point of `SqliteJournal`'s hook
(begun, sealed, committing, committed, unlinking), "saying" (signed, not journalled) or "sent" (the
host has answered). "never" runs until SIGTERM. The clock stands still at NOW_S.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comity.node.control import ControlServer
from comity.node.keyfile import Unencrypted, load_keys
from comity.node.loop import Loop
from comity.node.opening import open_station
from comity.node.station import Station
from comity.statements.wire import read
from comity.storage.journal import SqliteJournal

ROOT = Path(__file__).resolve().parents[2]


def start_node(folder: Path, now_s: int, point: str) -> subprocess.Popen[bytes]:
    """Start it; whoever starts it ends it, by its pid, in a finally."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.node_process", str(folder), str(now_s), point],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        stderr=(folder / "stderr.txt").open("ab"),
    )


class Points:
    """Which statement is under way, and where to die."""

    def __init__(self, wanted: str) -> None:
        self._tag, _, self._point = wanted.partition("@")
        self._under_way = ""

    def under_way(self, tag: str) -> None:
        self._under_way = tag

    def reached(self, point: str) -> None:
        if self._under_way == self._tag and point == self._point:
            os.kill(os.getpid(), signal.SIGKILL)


def watch(station: Station, points: Points) -> None:
    """Let the points be told of everything this station journals and sends."""
    station.journal._hook = points.reached
    station.journal._database._hook = points.reached
    say, post = SqliteJournal.say, station.remote.post_statements

    def said(journal: SqliteJournal, envelope: bytes, **rest: Any) -> None:
        points.under_way(rest["tag"].partition("#")[0])
        points.reached("saying")
        say(journal, envelope, **rest)

    def posted(envelopes: Sequence[bytes]) -> object:
        answers = post(envelopes)
        for envelope in envelopes:
            points.under_way(read(envelope).statement.body.tag)
            points.reached("sent")
        return answers

    SqliteJournal.say = said  # type: ignore[method-assign, assignment]  # bent
    station.remote.post_statements = posted  # type: ignore[method-assign, assignment]  # bent


def main(folder: Path, now_s: int, point: str) -> None:
    """Run until told to stop, or dead."""
    keys = load_keys(folder / "keys.pem", passphrase=Unencrypted.ON_PURPOSE)
    station = open_station(folder, keys, clock=lambda: now_s)
    watch(station, Points(point))
    loop = Loop(station)
    signal.signal(signal.SIGTERM, lambda *_: loop.stop())
    control = ControlServer(station, loop.ask)
    control.start()
    try:
        loop.run()
    finally:
        control.close()
        station.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
