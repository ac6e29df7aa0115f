"""One party of a measured commons, as a process of its own: the host, or a member's node.

    python -m bench.party host FOLDER MEMBER_FOLDER
    python -m bench.party node FOLDER TABLE MEMBERS

They report events as lines of JSON (`bench.machine.Event`) and end when their input closes. A node
takes two words: `declare`, and `register FILE`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import final

from bench.machine import report
from comity.commons.charter import parse_charter
from comity.host.serve import run_host
from comity.node import wishes
from comity.node.keyfile import Unencrypted, load_host_key, load_keys
from comity.node.loop import Loop
from comity.node.opening import open_station
from comity.node.station import Station


def host(folder: Path, member_folder: Path) -> None:
    """Serve until the input closes."""
    charter = parse_charter((member_folder / "charter.json").read_bytes())
    key = load_host_key(member_folder / "keys.pem", passphrase=Unencrypted.ON_PURPOSE)

    def end_with_input() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_input, daemon=True).start()
    run_host(folder, charter, host_key=key, ready=lambda url: report("ready", text=url))


def node(folder: Path, table: Path, members: int) -> None:
    """Run a node until the input closes."""
    keys = load_keys(folder / "keys.pem", passphrase=Unencrypted.ON_PURPOSE)
    station = open_station(folder, keys)
    watch = Watch(members)
    loop = Loop(station, watch.look)

    def listen() -> None:
        for line in sys.stdin:
            match line.rstrip("\n").split("\t"):
                case ["declare"]:
                    loop.ask(lambda s: wishes.declare_dataset(s, s.member, table))
                case ["register", file]:
                    study = Path(file)
                    loop.ask(lambda s: wishes.register_study(s, study))  # noqa: B023  # at once
        loop.stop()

    threading.Thread(target=listen, daemon=True).start()
    try:
        loop.run()
    finally:
        station.close()


@final
class Watch:
    """Reports what a node sees in its log, each thing once."""

    def __init__(self, members: int) -> None:
        self._members = members
        self._said: set[str] = set()
        self._rounds = 0

    def look(self, station: Station) -> None:
        """Called in the loop's thread after every change."""
        state = station.replica.state
        if 0 < state.founded_size <= station.replica.final_size:
            self._once("founded")
        if len(state.datasets) == self._members:
            self._once("declared")
        for study in state.studies.values():
            for result in study.results[self._rounds :]:
                self._rounds += 1
                if len(result.survivors) != self._members:
                    raise RuntimeError(f"round {self._rounds} was not over all members")
                report("round", self._rounds, result.model)

    def _once(self, kind: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            report(kind)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["host", folder, member_folder]:
            host(Path(folder), Path(member_folder))
        case ["node", folder, table, members]:
            node(Path(folder), Path(table), int(members))
        case _:
            sys.exit(__doc__)
