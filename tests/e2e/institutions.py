"""Institutions as people run them: `comity host serve`, `comity node run`, one process each.

with Institutions.made(root, 5) as all_of_them:
    all_of_them.start()
    all_of_them.register(study_text(), phase_s=60)
    all_of_them.host.kill()
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from comity.commons.charter import charter_bytes
from comity.errors import Refused, Rule, Unavailable
from comity.node.control import ask_node
from comity.node.governing import HostReport
from comity.node.governing_wire import AskHost
from comity.node.keyfile import Unencrypted, write_keys
from comity.node.reports import Status, StudyStatus
from comity.node.settings import NodeSettings, write_node_settings
from comity.node.wish_wire import AskStatus, DeclareDataset, RegisterStudy, Result, Wish
from tests.e2e.places import Place, Places, found_places, free_port
from tests.e2e.small_study import table_of

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 240.0
NOT_YET = frozenset({Rule.NO_SUCH_THING, Rule.NOT_DECIDED, Rule.HEAD_UNKNOWN})
"""What is refused only until more of the log is there."""

Answer = TypeVar("Answer")


@dataclass
class Program:
    """A process of ours, ended by its pid."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """As a power cut would."""
        if self.runs:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    def stop(self) -> None:
        """Kindly, and then not."""
        if self.runs:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


def comity(folder: Path, log: str, *words: str) -> Program:
    """Start a command in a process of its own."""
    path = folder / log
    with path.open("ab") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "comity", *words),
                *("--folder", str(folder), "--unencrypted-on-purpose"),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    return Program(process, path)


@dataclass
class Institution:
    """One member: its folder, and what runs there."""

    place: Place
    node: Program | None = None
    host: Program | None = None
    port: int = field(default_factory=free_port)

    @property
    def member(self) -> str:
        return self.place.member

    @property
    def folder(self) -> Path:
        return self.place.folder

    @property
    def url(self) -> str:
        """Where its host would answer."""
        return f"http://127.0.0.1:{self.port}"

    def start_node(self) -> None:
        self.node = comity(self.folder, "node.log", "node", "run", "--verbose")

    def serve(self) -> None:
        """Host, as the member in office does."""
        self.host = comity(
            self.folder, "host.log", "host", "serve", "--listen", f"127.0.0.1:{self.port}"
        )

    def take_over(self) -> None:
        """Become host, forced or by hand-over."""
        self.host = comity(
            self.folder, "host.log", "host", "takeover", "--listen", f"127.0.0.1:{self.port}"
        )

    def ask(self, wish: Wish, kind: type[Answer]) -> Answer:
        answer: Result | None = ask_node(self.folder, wish, timeout_s=240)
        if answer is None:
            raise Unavailable(f"no node of {self.member} answers yet")
        assert isinstance(answer, kind), answer
        return answer

    def status(self) -> Status:
        return self.ask(AskStatus(), Status)

    def hosts(self) -> HostReport:
        return self.ask(AskHost(), HostReport)

    def study(self) -> StudyStatus:
        return self.status().studies[0]


@dataclass
class Institutions:
    """All of one commons. Leaving the block ends every process that was started."""

    places: Places
    all: list[Institution]
    doomed: set[str] = field(default_factory=set)
    """Members whose nodes this test kills: that they ended is no reason to give up."""

    @staticmethod
    def made(root: Path, count: int) -> Institutions:
        """Folders, keys and charter of m0, m1, ...; m0 hosts. Nothing runs."""
        places = found_places(root, [f"m{n}" for n in range(count)], table=b"x\n1\n")
        made = Institutions(places, [Institution(place) for place in places.all])
        for number, each in enumerate(made.all):
            each.place.table.write_bytes(table_of(number))
            each.folder.chmod(0o700)
            write_keys(each.folder / "keys.pem", each.place.keys, passphrase=Unencrypted.ON_PURPOSE)
            (each.folder / "charter.json").write_bytes(charter_bytes(places.charter))
            settings = NodeSettings(
                member=each.place.member, host_url=made.all[0].url, cosign_every_s=1
            )
            write_node_settings(each.folder / "node.toml", settings)
        return made

    def __enter__(self) -> Institutions:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.all:
            for program in (each.node, each.host):
                if program is not None:
                    program.stop()

    def start(self) -> None:
        """Host and nodes, until the commons is founded."""
        self.all[0].serve()
        for each in self.all:
            each.start_node()
        self.until(lambda: all(each.status().founded for each in self.all), "founded")

    def register(self, text: str, *, phase_s: int = 60, train_s: int = 120) -> None:
        """Declare everybody's table, register the study; consent is automatic."""
        for each in self.all:
            each.place.allow(text)
            each.ask(DeclareDataset(f"rows-{each.member}", str(each.place.table)), object)
        declared = len(self.all)
        self.until(lambda: self._declared() == declared, "data sets")
        file = self.all[0].folder.parent / "study.py"
        file.write_text(text)
        wish = RegisterStudy(str(file), phase_s=phase_s, train_s=train_s)
        self.all[-1].ask(wish, object)

    def _declared(self) -> int:
        return sum(len(each.status().datasets) for each in self.all)

    def until(self, ready: Callable[[], bool], what: str, limit_s: float = LIMIT_S) -> None:
        """Wait; what does not answer, or is not in the log yet, counts as not yet.

        A refusal that no waiting ends fails at once, with its own words.
        """
        limit, why = time.monotonic() + limit_s, ""
        while True:
            try:
                if ready():
                    return
            except Refused as refused:
                assert refused.rule in NOT_YET, f"{what}: refused for good: {refused}"
                why = str(refused)
            except Unavailable as away:
                why = str(away)
            except IndexError:
                why = "no study there yet"
            ended = [
                e.member
                for e in self.all
                if e.node is not None and not e.node.runs and e.member not in self.doomed
            ]
            assert not ended, f"{what}: the node of {ended} ended\n{self.logs()}"
            assert time.monotonic() < limit, f"{what}: not in {limit_s} s; {why}\n{self.logs()}"
            time.sleep(0.02)

    def logs(self) -> str:
        """The ends of all logs, for the message of a failing test."""
        parts = []
        for each in self.all:
            for program in (each.node, each.host):
                if program is not None:
                    text = program.log.read_text(errors="replace")[-3_000:]
                    parts.append(f"--- {each.member} {program.log.name}\n{text}")
        return "\n".join(parts)
