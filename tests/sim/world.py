"""A commons in one process: its hosts, nodes, network, disks and one clock, all from one seed.

    with World.of(Setup(members=4), seed=7) as world:
        world.run_calm(rounds=2)

Every world begins where founding, one study, consent and enrolment are done: that beginning is made
once per `Setup`, by the same nodes, and copied.
"""

from __future__ import annotations

import atexit
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from comity.commons.attempts import Live
from comity.commons.charter import Charter, Founder, StudyBounds, charter_bytes, default_quorum
from comity.commons.duties import SayOpen
from comity.commons.state import State, Study
from comity.node import wishes
from comity.node.keyfile import MemberKeys
from comity.node.planning import PlanTerms
from comity.node.settings import NodeSettings, write_node_settings
from comity.statements.keysets import key_set_digest
from comity.values import DAY_S, MemberId, StatementId
from tests.e2e.places import auto_site
from tests.sim.caches import ALONE_EVERY, shared
from tests.sim.clock import Clock
from tests.sim.hosts import SimHost
from tests.sim.invariants import Judge
from tests.sim.network import SIMULATED, Network
from tests.sim.nodes import SimNode
from tests.sim.studies import TEXT, table_of
from tests.worlds import keys_of

PHASE_S, TRAIN_S = 60, 120
SHM = Path("/dev/shm")


@dataclass(frozen=True)
class Setup:
    """What a world is before anything goes wrong.

    colluders, survivors_min: c and u_min of the plan; None takes the plan's own choice. exposed:
    whether every site accepts that absences show it. studies: how many of the very same plan.
    """

    members: int = 4
    colluders: int = 1
    survivors_min: int | None = None
    exposed: bool = True
    studies: int = 1


@dataclass(frozen=True)
class Begun:
    """Where all worlds of one setup begin."""

    folder: Path
    charter: Charter
    studies: tuple[StatementId, ...]
    now_s: int


@dataclass
class World:
    """All parties. studies: their ids, in the order of the log. candidates: hosts that members have
    set up to take over.

    corrupt: members that lie, or that were rolled back unnoticed. restored: members that came back
    on a backup. host_lies: the host does.
    forked_at: the size up to which both histories of a host are the same.
    """

    setup: Setup
    seed: int
    folder: Path
    charter: Charter
    dice: random.Random
    clock: Clock
    network: Network
    hosts: list[SimHost]
    nodes: list[SimNode]
    studies: tuple[StatementId, ...]
    candidates: dict[MemberId, SimHost] = field(default_factory=dict)
    corrupt: set[MemberId] = field(default_factory=set)
    restored: set[MemberId] = field(default_factory=set)
    host_lies: bool = False
    forked_at: int = 0

    def __post_init__(self) -> None:
        self.judge = Judge(self)
        self.network.heard = self.judge.hear
        self.network.answered = self.judge.offices.answered

    @classmethod
    @contextmanager
    def of(cls, setup: Setup, seed: int = 0) -> Iterator[World]:
        """A world of this setup, in a folder of its own that goes with it."""
        place = tempfile.TemporaryDirectory(prefix="comity-sim-", dir=_memory())
        alone = seed % ALONE_EVERY == ALONE_EVERY - 1
        with shared(alone=alone), place as name:
            begun = begin(setup)
            folder = Path(name) / "world"
            shutil.copytree(begun.folder, folder)
            world = _open(setup, seed, folder, begun.charter, begun.studies, begun.now_s)
            try:
                yield world
            finally:
                world.close()

    def close(self) -> None:
        """Give every file back."""
        for node in self.nodes:
            node.die()
        for host in self.all_hosts:
            if not host.dead:
                host.die()

    @property
    def all_hosts(self) -> list[SimHost]:
        """Those that began, then those that members have set up."""
        return [*self.hosts, *self.candidates.values()]

    @property
    def host(self) -> SimHost:
        """The host in office by the newest epoch; the one that began, while there is no other."""

        def epoch(host: SimHost) -> int:
            return host.service.published.state.epoch.number if host.service.in_office else -1

        return max(self.all_hosts, key=epoch)

    @property
    def state(self) -> State:
        """What its log means."""
        return self.host.service.published.state

    def study(self, number: int = 0) -> Study:
        """What it holds of a study."""
        return self.state.studies[self.studies[number]]

    @property
    def attempt(self) -> Live | None:
        """The attempt under way, if any."""
        return self.study().current

    def node(self, member: str) -> SimNode:
        """The node of a member: the first, if it has two."""
        return next(node for node in self.nodes if node.member == member)

    def turn(self) -> bool:
        """Move every node once, in order; whether anything changed."""
        before = self._progress()
        for node in self.nodes:
            node.step()
            self.judge.look()
        return self._progress() != before

    def _progress(self) -> object:
        told = [host.service.published.version for host in self.all_hosts]
        known = [(n.state.size, n.station.replica.final_size) for n in self.nodes if not n.dead]
        return told, known

    def run_calm(self, rounds: int, turns_max: int = 400) -> int:
        """Let everybody move until the first study has so many results. Returns the turns taken."""
        for turn in range(turns_max):
            if len(self.study().results) >= rounds:
                return turn
            if not self.turn():
                self.clock.now_s += 1 if turn % 8 else PHASE_S + 1
        raise AssertionError(f"no {rounds} rounds in {turns_max} turns: {self.describe()}")

    def describe(self) -> str:
        """Where everybody stands, in a few lines."""
        lines = [f"seed {self.seed}, {self.setup}, now {self.clock.now_s}"]
        for host in self.all_hosts:
            state = host.service.published.state
            phase = [type(study.current).__name__ for study in state.studies.values()]
            size = state.size
            lines.append(f"host {host.name}: dead {host.dead}, size {size}, phase {phase}")
        for node in self.nodes:
            lines.append(
                f"node {node.member}: dead {node.dead}, away {node.away}, stopped {node.stopped!r},"
                f" size {node.state.size}, final {node.station.replica.final_size},"
                f" faults {node.station.faults}"
            )
        return "\n".join(lines)


def names(count: int) -> list[MemberId]:
    """The members of every world: m0, m1, ..."""
    return [MemberId(f"m{number}") for number in range(count)]


def member_keys(member: MemberId) -> MemberKeys:
    """A member's keys, always the same for the same name."""
    keys = keys_of(member)
    return MemberKeys(keys.statement, keys.head, keys.host, keys.model)


@lru_cache(maxsize=32)
def begin(setup: Setup) -> Begun:
    """Found a commons of this setup, register its studies and let everybody enrol."""
    folder = Path(tempfile.mkdtemp(prefix="comity-sim-begin-", dir=_memory()))
    atexit.register(_remove, folder, os.getpid())
    place = folder / "world"
    members = names(setup.members)
    charter = _charter(members)
    tables = folder / "tables"
    tables.mkdir()
    for member in members:
        home = place / member
        home.mkdir(parents=True, mode=0o700)
        (home / "charter.json").write_bytes(charter_bytes(charter))
        exposed = "exposed = true\n" if setup.exposed else ""
        (home / "site.toml").write_text(f'studies = "auto"\nsandbox = "warn"\n{exposed}')
        write_node_settings(home / "node.toml", NodeSettings(member=member, host_url=SIMULATED))
        (home / "site.toml").write_text(auto_site(TEXT) + exposed)
        write_node_settings(
            home / "node.toml", NodeSettings(member=member, host_url="http://simulated")
        )
    clock = Clock()
    world = _open(setup, 0, place, charter, (), clock.now_s)
    _found(world, setup, tables, folder)
    begun = Begun(place, charter, tuple(world.state.studies), world.clock.now_s)
    world.close()
    return begun


def _found(world: World, setup: Setup, tables: Path, folder: Path) -> None:
    def settle() -> None:
        while world.turn():
            pass

    world.nodes[0].lie = lambda node, duty: isinstance(duty, SayOpen)
    settle()
    for number, node in enumerate(world.nodes):
        table = tables / f"{node.member}.csv"
        table.write_bytes(table_of(number))
        wishes.declare_dataset(node.station, f"rows-{node.member}", table)
    settle()
    file = folder / "study.py"
    file.write_text(TEXT)
    terms = PlanTerms(
        colluders=setup.colluders,
        survivors_min=setup.survivors_min,
        attempts_max=100,
        phase_s=PHASE_S,
        train_s=TRAIN_S,
    )
    for number in range(setup.studies):
        wishes.register_study(world.nodes[-1].station, file, terms=terms, name=f"study-{number}")
        settle()
    assert all(len(s.enrolled) == setup.members for s in world.state.studies.values())


def _open(
    setup: Setup,
    seed: int,
    folder: Path,
    charter: Charter,
    studies: tuple[StatementId, ...],
    now_s: int,
) -> World:
    dice, clock = random.Random(seed), Clock(now_s)
    network = Network(random.Random(dice.getrandbits(32)))
    members = names(setup.members)
    host_key = member_keys(members[0]).host
    host = SimHost("a", folder / "host", charter, host_key, clock.of("host"), owner=members[0])
    network.hosts = dict.fromkeys(members, host)
    nodes = [
        SimNode(
            member,
            member_keys(member),
            folder / member,
            network,
            clock.of(member),
            dice.getrandbits(32),
        )
        for member in members
    ]
    return World(setup, seed, folder, charter, dice, clock, network, [host], nodes, studies)


def _memory() -> Path | None:
    """Where files cost no disk; the system's own place when there is none."""
    return SHM if SHM.is_dir() else None


def _remove(folder: Path, made_by: int) -> None:
    if os.getpid() == made_by:
        shutil.rmtree(folder, ignore_errors=True)


def _charter(members: list[MemberId]) -> Charter:
    founders = tuple(
        Founder(id=member, keys=key_set_digest(keys_of(member).key_set)) for member in members
    )
    return Charter(
        format="comity-charter/1",
        founders=founders,
        host=members[0],
        name="simulated",
        origin_prefix="comity",
        protocol=1,
        quorum=default_quorum(len(members)),
        release="simple-majority",
        studies=StudyBounds(
            attempts_max=100, colluders_min=1, end_by_s_max=DAY_S, rounds_max=1_000, survivors_min=3
        ),
        void_entries_per_day_max=1_000,
        vote_open_s=3_600,
    )
