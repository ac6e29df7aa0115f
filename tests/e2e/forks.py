"""A host that shows two histories: a second one with the same key, and nodes that see only that.

    with fork(world, tmp_path / "b", moved=("m3",)) as other:   # from here on two logs
        world.settle()
        other.settle()

The hosting member's node speaks in both, from copies of one folder: host and it are the adversary.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.places import Place
from tests.e2e.preparing import serve
from tests.e2e.steps import Desk, World


@contextmanager
def fork(world: World, folder: Path, *, moved: Sequence[str]) -> Iterator[World]:
    """A second host on a copy of the log as it is now, and these nodes connected to it alone."""
    for desk in world.desks:
        desk.station.replica.flush()
    liar = world.desk(world.places.charter.host)
    aside = shutil.ignore_patterns("sandbox", "*.lock", "node.sock")
    shutil.copytree(world.places.host_folder, folder / "host")
    shutil.copytree(liar.place.folder, folder / liar.member, ignore=aside)
    places = type(world.places)(world.places.charter, world.places.all, folder / "host")
    server, thread = serve(places, world.clock)
    copy = Place(liar.member, folder / liar.member, liar.place.keys, liar.place.table)
    there = Desk(copy, server.url, world.clock)
    other = World(places, world.clock, server, thread, [there], world.study_id)
    for member in moved:
        desk = world.desk(member)
        connect(desk, server.url)
        world.desks.remove(desk)
        other.desks.append(desk)
    try:
        yield other
    finally:
        world.desks += other.desks[1:]
        there.close()
        server.stop()
        thread.join(20)


def connect(desk: Desk, url: str) -> None:
    """Let a node speak to another host from now on."""
    desk.station.remote.close()
    desk.station.remote = desk.remote_to(url)
