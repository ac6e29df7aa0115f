"""How many whole rounds a simulated world runs in a second of one core, and where the time goes.

The world of `tests/sim`: a host and its members in one process, every invariant looked at after
every step; real statements, signatures (each checked once), sealed shares, masks and SQLite.
"""

from __future__ import annotations

import cProfile
import pstats
import time
from dataclasses import dataclass
from typing import Final, final

from tests.sim.world import Setup, World

_SHOWN: Final = 6


@final
@dataclass(frozen=True, slots=True)
class Simulated:
    """seconds: of processor time, by round. dearest: functions of ours with the most own time."""

    seconds: list[float]
    dearest: list[str]


def measure_sim(*, members: int, rounds: int) -> Simulated:
    """Run rounds of a small model after a first one; then some more under the profiler."""
    seconds: list[float] = []
    with World.of(Setup(members=members)) as world:
        world.run_calm(1)
        for number in range(2, rounds + 2):
            begin = time.process_time()
            world.run_calm(number)
            seconds.append(time.process_time() - begin)
        profile = cProfile.Profile()
        profile.enable()
        world.run_calm(rounds + 3)
        profile.disable()
    return Simulated(seconds, _dearest(pstats.Stats(profile)))


def _dearest(stats: pstats.Stats) -> list[str]:
    """The functions of a profile with the most own time, with their share of all of it."""
    found = stats.stats  # type: ignore[attr-defined]  # it is there
    total = sum(own for _, _, own, _, _ in found.values()) or 1.0
    by_own = sorted(found.items(), key=lambda item: -item[1][2])[:_SHOWN]
    return [f"{name} {own / total:.0%}" for (_, _, name), (_, _, own, _, _) in by_own]
