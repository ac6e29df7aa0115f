"""The host's process, killed with SIGKILL in every phase of a round and started again."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from comity.commons.attempts import (
    Confirming,
    End,
    Joining,
    Live,
    Masking,
    Readying,
    Revealing,
)
from comity.commons.state import Study
from comity.node.keyfile import Unencrypted, write_keys
from tests.e2e.host_process import start_host
from tests.e2e.places import free_port
from tests.e2e.prepared import Make
from tests.e2e.steps import Clock, Desk
from tests.e2e.test_rounds import Plain

PHASES = (Joining, Readying, Masking, Confirming, Revealing)


@pytest.mark.parametrize(
    "phases",
    [
        (Confirming,),
        pytest.param(PHASES, marks=pytest.mark.slow),
    ],
)
def test_nothing_is_lost_when_the_host_is_killed(
    commons: Make, tmp_path: Path, phases: tuple[type[Live], ...]
) -> None:
    prepared = commons(3)
    plain = Plain(prepared.text)
    places = prepared.copy(tmp_path)
    clock, port = Clock(prepared.now_s), free_port()
    keys = tmp_path / "keys.pem"
    tmp_path.chmod(0o700)
    write_keys(keys, places.host.keys, passphrase=Unencrypted.ON_PURPOSE)
    charter = places.host.folder / "charter.json"
    process = start_host(places.host_folder, charter, keys, port, clock.now_s)
    desks: list[Desk] = []
    try:
        for place in places.all:
            desks.append(Desk(place, f"http://127.0.0.1:{port}", clock))
            desks[-1].keep_warm(prepared.warm[place.member])
        desk = desks[0]

        def study() -> Study:
            return desk.state.studies[prepared.study_id]

        for phase in phases:
            move(desks, lambda phase=phase: isinstance(study().current, phase))  # type: ignore[misc]
            before, size = [d.state.size for d in desks], desk.state.size
            process.kill()
            process.wait(20)
            desk.step()  # nobody is there: it waits
            assert desk.stopped is None
            process = start_host(places.host_folder, charter, keys, port, clock.now_s)
            move(desks, lambda size=size: all(d.state.size >= size for d in desks))  # type: ignore[misc]
            assert all(d.state.size >= b for d, b in zip(desks, before, strict=True))
        move(desks, lambda: bool(study().results))
        plain.round(1, 3, (0, 1, 2))
        assert study().results[0].model == plain.digests()[0]
        assert study().ended[0].end is End.ACCEPTED
    finally:
        for open_desk in desks:
            open_desk.close()
        process.kill()
        process.wait(20)


def move(desks: list[Desk], reached: Callable[[], bool]) -> None:
    """Move every node in turn until it is so far."""
    limit = time.monotonic() + 30
    while not reached():
        for desk in desks:
            desk.step()
            assert desk.stopped is None, desk.stopped
        assert time.monotonic() < limit, [(d.state.size, d.station.faults) for d in desks]
