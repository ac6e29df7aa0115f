"""A commons of real programs: `comity host serve` and one `comity node run` for each member.

    prepared = prepare(tmp_path / "made", 3, text)      # founded, registered, enrolled
    with live(prepared, tmp_path / "live") as commons:
        commons.start()
        commons.wait_for_rounds(3, limit_s=60)

Clocks are the machine's. Every process is ended by its own pid when the block ends. The host's log
is read beside the nodes, straight from the host, and folded here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from comity.commons.charter import commons_id
from comity.commons.fold import admit, apply, found
from comity.commons.state import Accepted, State, Study
from comity.commons.waiting import waiting_for
from comity.errors import Refused, Unavailable
from comity.log.merkle import Tree, leaf_hash
from comity.node.http_client import Limits
from comity.node.keyfile import Unencrypted, write_keys
from comity.node.remote import Remote
from comity.node.settings import NodeSettings, write_node_settings
from comity.values import MemberId, StatementId, sha256
from tests.e2e.places import Place, Places, free_port
from tests.e2e.preparing import Prepared

ROOT = Path(__file__).resolve().parents[2]
HOST = "host"
_LIMITS = Limits(connect_s=5, silence_s=30, answer_s=30, tries=1, pause_s=0.01, pause_s_max=0.05)


@final
class Reader:
    """What the host's log means, read as a member that only looks."""

    def __init__(self, places: Places, port: int) -> None:
        place = places.all[0]
        self.state: State = found(places.charter)
        self._tree = Tree()
        self._remote = Remote(
            f"http://127.0.0.1:{port}",
            place.member,
            statement_key=place.keys.statement,
            commons=commons_id(places.charter),
            limits=_LIMITS,
        )

    def look(self) -> State:
        """Fold what is new; nothing is new while the host is away."""
        try:
            leaves = self._remote.entries(self.state.size).entries
        except (Unavailable, Refused):
            return self.state
        for leaf in leaves:
            entry = admit(self.state, self._tree, leaf)
            self._tree.append(leaf_hash(leaf))
            self.state, _ = apply(self.state, entry)
        return self.state

    def close(self) -> None:
        """Hang up."""
        self._remote.close()


@final
@dataclass
class Live:
    """The programs of one commons. urls: where each member reaches the host."""

    places: Places
    study_id: StatementId
    port: int
    reader: Reader
    urls: dict[MemberId, str] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _starts: Counter[str] = field(default_factory=Counter)

    @property
    def names(self) -> list[str]:
        """Of all programs: the host and every member's node."""
        return [HOST, *(place.member for place in self.places.all)]

    @property
    def study(self) -> Study:
        """The study, as the host's log has it now."""
        return self.reader.state.studies[self.study_id]

    @property
    def results(self) -> Sequence[Accepted]:
        """Of its rounds so far; none while the host has not answered yet."""
        study = self.reader.look().studies.get(self.study_id)
        return study.results if study else ()

    def place(self, member: str) -> Place:
        """A member's folder and keys."""
        return next(place for place in self.places.all if place.member == member)

    def start(self, *names: str) -> None:
        """Start these programs, or all."""
        for name in names or self.names:
            assert name not in self.running, f"{name} runs"
            self.running[name] = self._started(name)

    def kill(self, name: str) -> None:
        """SIGKILL, and wait until it is gone."""
        process = self.running.pop(name)
        process.kill()
        process.wait(20)

    def is_up(self, name: str) -> bool:
        """Whether the program has said that it runs, since it was last started."""
        return self._out(name).read_bytes().count(b"\n") >= self._starts[name]

    def stop(self, name: str) -> int:
        """SIGTERM, and how it ended."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(60)
        finally:
            process.kill()
            process.wait(20)

    def said(self, name: str) -> str:
        """What a program has written to its stderr, over all its starts."""
        path = self._notes(name)
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_until(self, reached: Callable[[], bool], limit_s: float) -> None:
        """Wait until it is so; fail with what stands in the way."""
        until_s = time.monotonic() + limit_s
        while not reached():
            for name, process in self.running.items():
                assert process.poll() is None, f"{name} ended: {self.said(name)[-2_000:]}"
            assert time.monotonic() < until_s, self.describe()
            time.sleep(0.05)

    def wait_for_rounds(self, count: int, limit_s: float) -> None:
        """Wait until so many rounds have a result."""
        self.wait_until(lambda: len(self.results) >= count, limit_s)

    def models(self) -> list[str]:
        """The digest of the model after each round."""
        return [result.model for result in self.results]

    def have_model(self, digest: str) -> Callable[[], bool]:
        """Whether every node holds this model on its own disk, and the bytes are right."""
        files = [place.folder / "blobs" / digest for place in self.places.all]
        return lambda: all(f.exists() and sha256(f.read_bytes()) == digest for f in files)

    def describe(self) -> str:
        """What stands in the way."""
        state = self.reader.look()
        study = state.studies.get(self.study_id)
        heard = {name: self.said(name)[-600:] for name in self.names}
        phase = type(study.current).__name__ if study else None
        waits = waiting_for(state, study) if study else None
        return f"phase {phase}, rounds {len(self.results)}, {waits}, {heard}"

    def close(self) -> None:
        """End everything."""
        for name in list(self.running):
            self.running[name].send_signal(signal.SIGTERM)
        for name in list(self.running):
            process = self.running.pop(name)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)
        self.reader.close()

    def _out(self, name: str) -> Path:
        return self.places.host_folder.parent / f"{name}.out"

    def _notes(self, name: str) -> Path:
        return self.places.host_folder.parent / f"{name}.notes"

    def _started(self, name: str) -> subprocess.Popen[bytes]:
        arguments: Sequence[object]
        if name == HOST:
            folder = self.places.host.folder
            listen = f"127.0.0.1:{self.port}"
            where = ("--host-folder", self.places.host_folder, "--folder", folder)
            arguments = ("host", "serve", "--listen", listen, *where)
        else:
            place = self.place(name)
            url = self.urls.get(place.member, f"http://127.0.0.1:{self.port}")
            settings = NodeSettings(member=place.member, host_url=url)
            write_node_settings(place.folder / "node.toml", settings)
            arguments = ("node", "run", "--folder", place.folder)
        self._starts[name] += 1
        with self._notes(name).open("ab") as notes, self._out(name).open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "comity", *map(str, arguments), "--unencrypted-on-purpose"],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=notes,
            )


@contextmanager
def live(
    prepared: Prepared, folder: Path, *, urls: Mapping[MemberId, str] | None = None, port: int = 0
) -> Iterator[Live]:
    """The programs of a prepared commons, on a copy of its folders; none is started yet."""
    folder.mkdir(mode=0o700, exist_ok=True)
    places = prepared.copy(folder)
    for place in places.all:
        path = place.folder / "keys.pem"
        write_keys(path, place.keys, passphrase=Unencrypted.ON_PURPOSE)
    at = port or free_port()
    commons = Live(places, prepared.study_id, at, Reader(places, at), dict(urls or {}))
    try:
        yield commons
    finally:
        commons.close()
