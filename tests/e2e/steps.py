"""Real nodes and a real host, moved one event at a time, under the test's own clock.

A `Desk` is a node: its folder, journal, log copy, HTTP connection, study process and loop are the
real ones; only who moves next, and what time it is, is the test's choice. So every order of events
can be had, and no test waits for a deadline.

    with prepared.world(tmp_path) as world:  # preparing.py
        world.desk("m3").silent_before = {"round.commit"}
        world.settle()
        world.clock.now_s += 100
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from comity.commons.attempts import Live, opened_of
from comity.commons.duties import Duty, SayOpen, SayResolve, duties
from comity.commons.fold import admit, apply, found
from comity.commons.state import State, Study, Void
from comity.commons.waiting import waiting_for
from comity.errors import ComityError, Refused, Rule, Unavailable
from comity.host.serve import HostServer
from comity.log.merkle import Tree, leaf_hash
from comity.node.loop import Loop
from comity.node.opening import open_station
from comity.node.practice import Running
from comity.node.remote import Remote
from comity.node.rounds import round_tag
from comity.node.settings import NodeSettings, write_node_settings
from comity.node.stages import scope_of
from comity.node.station import Station, describe
from comity.statements.entries import Body, Statement
from comity.statements.rounds import RoundAbandon, RoundOpen
from comity.statements.wire import Draft, read, sign
from comity.storage.ports import Attempt
from comity.values import NOTHING, WALLS, MemberId, Seat, StatementId
from tests.e2e.places import Place, Places

START_S = 1_790_000_000
Phase = TypeVar("Phase", bound=Live)


@dataclass
class Clock:
    """The time of every machine in a world."""

    now_s: int = START_S

    def __call__(self) -> int:
        return self.now_s


class Desk:
    """One node. silent_before: tags it does not say; once one is due, the node is asleep."""

    def __init__(self, place: Place, url: str, clock: Callable[[], int]) -> None:
        self.place, self.url, self.clock = place, url, clock
        self.silent_before: set[str] = set()
        self.asleep = False
        self.stopped: ComityError | None = None
        self.warm: dict[StatementId, Running] = {}
        self.open()

    def open(self) -> None:
        """Start the node on its folder."""
        self.closed = False
        settings = NodeSettings(member=self.place.member, host_url=self.url)
        write_node_settings(self.place.folder / "node.toml", settings)
        self.station: Station = open_station(self.place.folder, self.place.keys, clock=self.clock)
        self.loop = Loop(self.station)
        self.loop._rounds._practice._running.update(self.warm)
        self.loop._rounds._practice._walls = frozenset(WALLS) if self.warm else None

    def keep_warm(self, warm: dict[StatementId, Running]) -> None:
        """Use study processes that run already."""
        self.warm = warm
        self.loop._rounds._practice._running.update(warm)
        self.loop._rounds._practice._walls = frozenset(WALLS)

    @property
    def member(self) -> MemberId:
        return self.place.member

    @property
    def state(self) -> State:
        return self.station.replica.state

    @property
    def training(self) -> bool:
        """Whether a study process is at work."""
        running = self.loop._rounds._practice._running.values()
        return any(r.sandbox.busy for r in running)

    def step(self) -> None:
        """Ask the host once, take what came, and do what is owed, as the loop does."""
        if self.asleep or self.stopped:
            return
        try:
            self.sync()
        except (Unavailable, Refused) as error:  # the loop's poller keeps such a one as an event
            self.station.faults["host"] = describe(error)
        except ComityError as error:
            self.stopped = error
            return
        try:
            if self.silent_before & {tag_of(self.state, duty) for duty in self.owed()}:
                self.asleep = True
                return
            self.loop._work()
        except ComityError as error:
            self.stopped = error

    def sleep_before(self, *tags: str) -> None:
        """Fall silent where it would say one of these."""
        self.silent_before = set(tags)

    def wake(self) -> None:
        """Go on."""
        self.silent_before, self.asleep = set(), False

    def sync(self) -> None:
        """Only take what the host has."""
        batch = self.station.remote.entries(self.state.size + len(self.loop._pending))
        self.loop._settle()
        self.loop._take(batch)

    def owed(self) -> tuple[Duty, ...]:
        """What is owed now."""
        final_size = self.station.replica.final_size
        return duties(self.state, self.member, final_size, self.clock())

    def remote_to(self, url: str) -> Remote:
        """A connection of this node to another host."""
        return Remote(
            url,
            self.member,
            statement_key=self.place.keys.statement,
            commons=self.station.replica.commons,
            clock=self.clock,
        )

    def die(self) -> None:
        """End like a killed process: nothing more is written."""
        self.closed = True
        self._save_warm()
        self.station.remote.close()
        self.station.replica.store.close()
        self.station.journal.close()

    def restart(self) -> None:
        """Come back on the same folder."""
        self.stopped, self.asleep, self.silent_before = None, False, set()
        self.open()

    def close(self) -> None:
        """End in good order."""
        if not self.closed:
            self.closed = True
            self._save_warm()
            self.station.close()

    def _save_warm(self) -> None:
        # The study processes stay warm for the next test: they cost half a second each.
        running = self.loop._rounds._practice._running
        for study, kept in list(running.items()):
            if study in self.warm and kept.sandbox.alive:
                while kept.sandbox.busy:  # the next test asks it afresh
                    with suppress(ComityError):
                        kept.sandbox.poll()
                    time.sleep(0.002)
                kept.asked, kept.trained = None, None
                del running[study]
        self.loop._rounds.close()

    def lie(self, body: Body, tag: str | None = None, *, stage: bytes | None = None) -> StatementId:
        """Say something without asking the rules: what a dishonest member may do.

        Args:
            tag: under which the journal keeps it; another than the body's to say a thing twice.
            stage: what the node keeps of it for its own later steps.
        """
        last = self.station.journal.last_said()
        final = self.station.replica.view.final
        envelope = sign(
            Draft(
                author=self.member,
                commons=self.station.replica.commons,
                seq=last[0] + 1 if last else 0,
                prev=last[1] if last else StatementId(NOTHING),
                head_size=final.size,
                head_root=final.root,
                time_s=self.clock(),
                body=body,
            ),
            self.place.keys.statement,
        )
        said = read(envelope).statement
        attempt = next(
            (study.current for study in self.state.studies.values() if study.current), None
        )
        scope = None
        if isinstance(body, RoundOpen | RoundAbandon):
            scope = Attempt(body.study, body.round_no, body.attempt)
        elif body.tag.startswith("round.") and attempt:
            scope = scope_of(opened_of(attempt))
        self.station.journal.say(
            envelope,
            statement_id=said.id,
            seq=said.seq,
            tag=tag or body.tag,
            scope=scope,
            stage=stage,
            released=body.released if isinstance(body, RoundAbandon) else None,
        )
        self.station.deliver_again()
        self.station.deliver()
        return said.id


def tag_of(state: State, duty: Duty) -> str | None:
    """The tag of the statement a duty leads to, of rounds."""
    if isinstance(duty, SayResolve):
        return "round.resolve"
    if isinstance(duty, SayOpen):
        return "round.open"
    said = round_tag(state, duty)
    return said[1] if said else type(duty).__name__


@dataclass
class World:
    """A commons whose nodes the test moves."""

    places: Places
    clock: Clock
    server: HostServer
    thread: threading.Thread
    desks: list[Desk]
    study_id: StatementId

    def desk(self, member: str) -> Desk:
        """The node of a member."""
        return next(desk for desk in self.desks if desk.member == member)

    @property
    def state(self) -> State:
        """What the host's log means."""
        return self.server.host.published.state

    @property
    def study(self) -> Study:
        return self.state.studies[self.study_id]

    @property
    def attempt(self) -> Live:
        """The attempt under way."""
        assert self.study.current is not None, "no attempt is under way"
        return self.study.current

    def seat(self, member: str) -> Seat:
        """The member's place in the attempt under way."""
        seat = opened_of(self.attempt).seat(MemberId(member))
        assert seat is not None
        return seat

    def leaves(self) -> list[bytes]:
        """Every envelope in the log."""
        leaves: list[bytes] = []
        while more := self.server.host.entries(len(leaves)):
            leaves += more
        return leaves

    def log(self) -> list[Statement]:
        """Every statement in the log."""
        return [read(leaf).statement for leaf in self.leaves()]

    def said(self, tag: str, member: str | None = None) -> list[Statement]:
        """Statements of a kind in the log, by a member."""
        return [
            statement
            for statement in self.log()
            if statement.body.tag == tag and member in (None, statement.author)
        ]

    def run(self, reached: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Move every node in turn until it is so far; fail when nothing moves any more."""
        limit, still = time.monotonic() + timeout_s, 0
        while not reached():
            if not self.turn():
                still += 1
                assert still < 40, f"nothing moves; {self.describe()}"
                time.sleep(0.003)
            else:
                still = 0
            assert time.monotonic() < limit, f"not reached; {self.describe()}"

    def settle(self, enough: Callable[[], bool] = lambda: False, timeout_s: float = 60.0) -> None:
        """Move every node in turn until nothing moves any more, or it is enough."""
        limit, still = time.monotonic() + timeout_s, 0
        while still < 4 and not enough():
            still = 0 if self.turn() else still + 1
            assert time.monotonic() < limit, f"never settles; {self.describe()}"

    def turn(self) -> bool:
        """Move every node once; whether anything changed."""
        before = self._progress()
        for desk in self.desks:
            desk.step()
        if any(desk.training for desk in self.desks if not desk.asleep and not desk.stopped):
            time.sleep(0.003)
            return True
        return self._progress() != before

    def _progress(self) -> object:
        published = self.server.host.published
        known = [(d.state.size, d.station.replica.final_size, d.asleep) for d in self.desks]
        return published.version, known

    def until(self, phase: type[Phase]) -> Phase:
        """Move until the attempt under way is in this phase, for everybody who listens."""
        self.run(lambda: isinstance(self.study.current, phase))
        attempt = self.attempt
        assert isinstance(attempt, phase)
        return attempt

    def round(self, number: int) -> None:
        """Move until this round has a result that every running node has seen."""
        self.run(lambda: len(self.study.results) >= number)
        size = self.state.size
        self.run(lambda: all(d.state.size >= size for d in self.desks if not d.asleep))

    def outcome(self, statement_id: StatementId) -> Rule | None:
        """By which rule a logged statement is void; None when it took effect."""
        state = found(self.places.charter)
        tree = Tree()
        for leaf in self.leaves():
            entry = admit(state, tree, leaf)
            state, outcome = apply(state, entry)
            tree.append(leaf_hash(leaf))
            if entry.statement.id == statement_id:
                return outcome.rule if isinstance(outcome, Void) else None
        raise AssertionError("this statement is not in the log")

    def let_time_pass(self, enough: Callable[[], bool], *, limit_s: int = 1_200) -> None:
        """Move on, minute by minute, until it is enough; do nothing more at the limit."""
        until_s = self.clock.now_s + limit_s
        while not enough() and self.clock.now_s < until_s:
            self.settle(enough)
            if not enough():
                self.clock.now_s += 61

    def results(self, number: int) -> Callable[[], bool]:
        """Whether so many rounds have a result."""
        return lambda: len(self.study.results) >= number

    def describe(self) -> str:
        """What stands in the way, for the message of a failing test."""
        study = self.state.studies.get(self.study_id)
        waits = waiting_for(self.state, study) if study else None
        nodes = [
            (d.member, d.state.size, d.asleep, d.stopped, d.station.faults) for d in self.desks
        ]
        phase = type(study.current).__name__ if study else None
        return f"phase {phase}, size {self.state.size}, waits {waits}, nodes {nodes}"
