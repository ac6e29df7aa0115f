"""The institutions of the demo: each a folder of its own and a process of its own.

Decided here: how the demo makes, starts, kills and asks them. It does what a person would do with
the commands: the same functions, the same processes, the same folders.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, final

from comity.commons.charter import Charter
from comity.demo.heart import DemoData
from comity.errors import ComityError, Unavailable
from comity.node.chartering import new_charter
from comity.node.control import ask_node
from comity.node.founding import enter_commons, new_identity
from comity.node.keyfile import load_keys
from comity.node.reports import Status, StudyStatus
from comity.node.wish_wire import AskStatus, Result, Wish
from comity.values import sha256

LIMIT_S = 120.0
"""How long the demo waits for any one step."""

PAUSE_S = 0.05
Answer = TypeVar("Answer")
Program = subprocess.Popen[bytes]


@final
@dataclass(slots=True)
class Party:
    """One institution: its folder, its data file, its node's process."""

    member: str
    folder: Path
    table: Path
    node: Program | None = None

    def ask(self, wish: Wish, kind: type[Answer]) -> Answer:
        """Ask its running node. Raises Unavailable when none runs."""
        answer: Result | None = ask_node(self.folder, wish)
        if answer is None:
            raise Unavailable(f"the node of {self.member} does not answer")
        assert isinstance(answer, kind)
        return answer

    def status(self) -> Status:
        """Where this member stands."""
        return self.ask(AskStatus(), Status)

    def study(self) -> StudyStatus | None:
        """The demo's one study, as this member sees it."""
        studies = self.status().studies
        return studies[0] if studies else None


@final
@dataclass(slots=True)
class Parties:
    """All institutions of the demo, and the host's process. A context: it stops what it started."""

    root: Path
    data: DemoData
    all: list[Party]
    url: str = ""
    host: Program | None = None
    charter: Charter | None = None
    programs: list[Program] = field(default_factory=list)

    def __enter__(self) -> Parties:
        return self

    def __exit__(self, *_: object) -> None:
        for program in reversed(self.programs):
            stop(program)

    @property
    def hosting(self) -> Party:
        """The institution in office as host."""
        return self.all[0]

    def found(self, name: str) -> Charter:
        """Keys for each, one charter, and a node folder for each that signs it."""
        ids = []
        for party in self.all:
            passphrase = secrets.token_hex(16).encode()
            made = new_identity(party.folder, party.member, passphrase=passphrase)
            secret = party.folder / "passphrase"
            secret.touch(mode=0o600)
            secret.write_bytes(passphrase)
            ids.append(Path(made.id_file))
        charter = new_charter(
            self.root / "charter.toml", name=name, host=self.hosting.member, ids=ids
        )
        self.url = f"http://127.0.0.1:{_free_port()}"
        for party in self.all:
            keys = load_keys(
                party.folder / "keys.pem", passphrase=(party.folder / "passphrase").read_bytes()
            )
            enter_commons(
                party.folder,
                charter,
                keys=keys,
                host_url=self.url,
                studies="auto",
                sandbox="warn",
            )
            self._allow_study(party)
        self.charter = charter
        return charter

    def _allow_study(self, party: Party) -> None:
        """Its site policy says yes by itself to this one study file, and to no other."""
        site = party.folder / "site.toml"
        code = sha256(self.data.recipe.encode())
        text = site.read_text(encoding="utf-8").replace("code = []", f'code = ["{code}"]')
        assert code in text
        site.write_text(text, encoding="utf-8")

    def start_host(self) -> None:
        """Start the host: a process of its own, with a folder of its own."""
        listen = self.url.removeprefix("http://")
        self.host = self._run("host", "serve", self.hosting, "--listen", listen)

    def start_node(self, party: Party) -> None:
        """Start a member's node."""
        party.node = self._run("node", "run", party)

    def kill(self, party: Party) -> None:
        """End a node as a power cut would: `kill -9`."""
        assert party.node is not None
        os.kill(party.node.pid, signal.SIGKILL)
        party.node.wait()

    def _run(self, group: str, command: str, party: Party, *more: str) -> Program:
        log = party.folder / f"{group}.log"
        with log.open("ab") as output:
            program = subprocess.Popen(
                [
                    *(sys.executable, "-m", "comity", group, command),
                    *("--folder", str(party.folder)),
                    *("--passphrase-file", str(party.folder / "passphrase")),
                    *more,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.programs.append(program)
        return program


def make_parties(root: Path, data: DemoData) -> Parties:
    """Folders for the institutions of the data; nothing runs yet."""
    parties = []
    for institution in data.institutions:
        folder = root / institution.name
        folder.mkdir(mode=0o700, parents=True)
        parties.append(Party(institution.name, folder, institution.path))
    return Parties(root, data, parties)


def wait_for(
    ready: Callable[[], bool], what: str, *, parties: Parties, limit_s: float = LIMIT_S
) -> None:
    """Wait until something holds; an answer that does not come counts as "not yet".

    Raises:
        Unavailable: it did not hold in time, or a process ended by itself; says where to look.
    """
    limit = time.monotonic() + limit_s
    while True:
        with contextlib.suppress(ComityError):
            if ready():
                return
        for party in parties.all:
            if party.node is not None and party.node.poll() not in (None, -signal.SIGKILL):
                raise Unavailable(
                    f"the node of {party.member} has ended; see {party.folder / 'node.log'}"
                )
        if parties.host is not None and parties.host.poll() is not None:
            raise Unavailable(f"the host has ended; see {parties.hosting.folder / 'host.log'}")
        if time.monotonic() > limit:
            raise Unavailable(f"{what} did not happen within {limit_s:.0f} s; logs: {parties.root}")
        time.sleep(PAUSE_S)


def stop(program: Program) -> None:
    """End a process by its id, kindly and then not."""
    if program.poll() is None:
        program.terminate()
        try:
            program.wait(timeout=10)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
