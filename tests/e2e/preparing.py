"""A commons that has founded itself, registered a study and enrolled: copied for each test."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from comity.host.serve import HostServer
from comity.node import wishes
from comity.node.planning import PlanTerms
from comity.node.practice import Running
from comity.values import NOTHING, MemberId, StatementId
from tests.e2e.places import Place, Places, found_places
from tests.e2e.small_study import study_text, table_of
from tests.e2e.steps import Clock, Desk, World

PHASE_S = 60
TRAIN_S = 120


@dataclass
class Prepared:
    """A commons that has founded itself, registered a study and enrolled; copied for each test."""

    root: Path
    places: Places
    study_id: StatementId
    text: str
    now_s: int
    warm: dict[MemberId, dict[StatementId, Running]] = field(default_factory=dict)

    def copy(self, folder: Path) -> Places:
        """The institutions' folders and the host's, copied."""
        all_places = []
        for place in (*self.places.all,):
            copied = folder / place.member
            shutil.copytree(place.folder, copied, ignore=shutil.ignore_patterns("sandbox"))
            all_places.append(Place(place.member, copied, place.keys, place.table))
        shutil.copytree(self.places.host_folder, folder / "host")
        return Places(self.places.charter, all_places, folder / "host")

    @contextmanager
    def world(self, folder: Path) -> Iterator[World]:
        """The commons on a copy of its folders, its host serving."""
        places = self.copy(folder)
        with opened(places, self.study_id, Clock(self.now_s)) as world:
            for desk in world.desks:
                desk.keep_warm(self.warm[desk.member])
            yield world

    def close(self) -> None:
        """End the study processes."""
        for kept in self.warm.values():
            for running in kept.values():
                running.sandbox.close()


@contextmanager
def opened(places: Places, study_id: StatementId, clock: Clock) -> Iterator[World]:
    """The nodes and the host of a commons, as far as it has come."""
    server, thread = serve(places, clock)
    desks: list[Desk] = []
    try:
        desks += [Desk(place, server.url, clock) for place in places.all]
        yield World(places, clock, server, thread, desks, study_id)
    finally:
        for desk in desks:
            desk.close()
        server.stop()
        thread.join(20)


def serve(places: Places, clock: Callable[[], int]) -> tuple[HostServer, threading.Thread]:
    """The host, in a thread, on a free port of this machine."""
    server = HostServer(
        places.host_folder,
        places.charter,
        host_key=places.host.keys.host,
        listen="127.0.0.1:0",
        clock=clock,
    )
    thread = threading.Thread(target=server.run, args=(lambda url: None,), daemon=True)
    thread.start()
    return server, thread


def prepare(
    root: Path,
    count: int,
    text: str | None = None,
    *,
    terms: PlanTerms | None = None,
    exposed: Sequence[str] = (),
    model: Path | None = None,
    site: str = "",
) -> Prepared:
    """Found a commons of `count` members, register the study, let all of them enrol.

    Args:
        exposed: members whose site consents to being exposed.
        model: that an evaluation is given. site: more lines of everybody's site policy.
    """
    text = text or study_text()
    names = [f"m{number}" for number in range(count)]
    places = found_places(root, names, table=b"x\n1\n")
    for number, place in enumerate(places.all):
        place.table.write_bytes(table_of(number))
        place.allow(text)
        policy = place.folder / "site.toml"
        consents = "exposed = true\n" if place.member in exposed else ""
        policy.write_text(policy.read_text() + site + consents)
    clock = Clock()
    file = root / "study.py"
    file.write_text(text)
    with opened(places, StatementId(NOTHING), clock) as world:
        world.run(lambda: all(d.station.replica.final_size >= count for d in world.desks))
        for desk in world.desks:
            wishes.declare_dataset(desk.station, f"rows-{desk.member}", desk.place.table)
        world.run(lambda: len(world.state.datasets) == count)
        wanted = terms or PlanTerms(phase_s=PHASE_S, train_s=TRAIN_S)
        author = world.desks[-1].station
        given = None if model is None else str(model)
        said = wishes.register_study(author, file, terms=wanted, model=given)
        world.study_id = said.statement
        world.desks[0].silent_before = {"round.open"}
        world.run(lambda: world.desks[0].asleep)
        assert len(world.study.enrolled) == count, world.describe()
        warm = {}
        for desk in world.desks:
            practice = desk.loop._rounds._practice
            practice.prepare(world.study)
            warm[desk.member] = desk.warm = dict(practice._running)
    return Prepared(root, places, world.study_id, text, clock.now_s, warm)
