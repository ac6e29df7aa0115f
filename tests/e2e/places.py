"""Institutions on this machine: real folders, keys, charter, data files; for tests and benchmarks.

places = found_places(tmp_path, ("a", "b", "c"), rows=b"x\\n1\\n2\\n")
with places.serving() as url:            # the host, in a thread of this process
    loops = [Loop(place.open(url)) for place in places.all]
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from comity.commons.charter import Charter, Founder, StudyBounds, charter_bytes, default_quorum
from comity.commons.state import State
from comity.node.keyfile import MemberKeys, make_keys
from comity.node.loop import Loop
from comity.node.opening import open_station
from comity.node.settings import NodeSettings, write_node_settings
from comity.node.station import Station
from comity.statements.governing import KeySet, PublicKeys
from comity.statements.keysets import key_set_digest
from comity.values import MemberId, sha256

SITE = 'studies = "auto"\nsandbox = "warn"\n'
"""A yes by itself for listed code, of which there is none yet: see `Place.allow`."""


def auto_site(*texts: str) -> str:
    """A site policy that says yes by itself to these study files, and to no others."""
    digests = ", ".join(f'"{sha256(text.encode())}"' for text in texts)
    return f"{SITE}code = [{digests}]\n"


@dataclass
class Place:
    """One institution: its folder, its keys, its table."""

    member: MemberId
    folder: Path
    keys: MemberKeys
    table: Path

    def allow(self, *texts: str) -> None:
        """Let its site policy say yes by itself to these study files, and to no others."""
        site = self.folder / "site.toml"
        kept = [line for line in site.read_text().splitlines() if not line.startswith("code")]
        listed = auto_site(*texts).removeprefix(SITE).splitlines()
        site.write_text("\n".join((*listed, *kept, "")))

    def open(self, url: str) -> Station:
        """Its station, towards a host."""
        settings = NodeSettings(member=self.member, host_url=url)
        write_node_settings(self.folder / "node.toml", settings)
        return open_station(self.folder, self.keys)


@dataclass
class Places:
    """All institutions of one commons, and the host's folder."""

    charter: Charter
    all: list[Place]
    host_folder: Path

    @property
    def host(self) -> Place:
        """The hosting member."""
        return next(place for place in self.all if place.member == self.charter.host)


def key_set_of(member: MemberId, keys: MemberKeys) -> KeySet:
    """A member's key set."""
    public = PublicKeys(
        head=keys.public_head,
        host=keys.public_host,
        model=keys.public_model,
        statement=keys.public_statement,
    )
    return KeySet(keys=public, member=member, serial=0)


def found_places(
    root: Path, members: Sequence[str], *, table: bytes, site: str = SITE, quorum: int | None = None
) -> Places:
    """Make keys, charter and folders; nothing is said yet."""
    keys = {MemberId(name): make_keys() for name in sorted(members)}
    founders = tuple(
        Founder(id=member, keys=key_set_digest(key_set_of(member, mine)))
        for member, mine in keys.items()
    )
    charter = Charter(
        format="comity-charter/1",
        founders=founders,
        host=founders[0].id,
        name="test",
        origin_prefix="comity",
        protocol=1,
        quorum=quorum or default_quorum(len(members)),
        release="simple-majority",
        studies=StudyBounds(
            attempts_max=100,
            colluders_min=1,
            end_by_s_max=86_400,
            rounds_max=1_000,
            survivors_min=3,
        ),
        void_entries_per_day_max=1_000,
        vote_open_s=3_600,
    )
    places = []
    for member, mine in keys.items():
        folder = root / member
        folder.mkdir(mode=0o700, parents=True)
        (folder / "charter.json").write_bytes(charter_bytes(charter))
        (folder / "site.toml").write_text(site)
        data = root / f"{member}.csv"
        data.write_bytes(table)
        places.append(Place(member, folder, mine, data))
    return Places(charter, places, root / "host")


def free_port() -> int:
    """A port of this machine that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Running:
    """A station with its loop in a thread; `error` holds what ended it."""

    station: Station
    loop: Loop
    thread: threading.Thread
    error: list[BaseException] = field(default_factory=list)

    def stop(self) -> None:
        """Stop the loop and give the files back."""
        self.loop.stop()
        self.thread.join(timeout=30)
        self.station.close()


def run_loop(place: Place, url: str) -> Running:
    """Run a node in a thread."""
    station = place.open(url)
    errors: list[BaseException] = []
    loop = Loop(station)

    def serve() -> None:
        try:
            loop.run()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=serve, name=place.member, daemon=True)
    running = Running(station, loop, thread, errors)
    thread.start()
    return running


@contextmanager
def running(places: Places, url: str) -> Iterator[list[Running]]:
    """All nodes, each in a thread, stopped at the end."""
    nodes = [run_loop(place, url) for place in places.all]
    try:
        yield nodes
    finally:
        for node in nodes:
            node.stop()


def wait_until(
    nodes: Sequence[Running], reached: Callable[[State], bool], timeout_s: float = 60.0
) -> None:
    """Wait until the state of every node has come so far; fail with what stands in the way."""
    limit = time.monotonic() + timeout_s
    while not all(reached(node.station.replica.state) for node in nodes):
        errors = [error for node in nodes for error in node.error]
        if errors:
            raise errors[0]
        if time.monotonic() > limit:
            faults = {node.station.member: node.station.faults for node in nodes}
            sizes = [node.station.replica.state.size for node in nodes]
            raise AssertionError(f"not reached in {timeout_s} s; sizes {sizes}, faults {faults}")
        time.sleep(0.01)
