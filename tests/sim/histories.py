"""Histories from seeds: what goes wrong in each world, how it heals, how it is made shorter.

`history(seed)` says everything: the same seed is the same world. What keeps a world from going on
(a host that lies, a fork) ends in no demand but safety; every other one must, once healed, give a
result within bounded turns.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from comity.commons.opening import Waiting, expected_open
from comity.commons.state import State, Study
from comity.errors import Rule
from tests.sim import successions, themes
from tests.sim.belonging import agree
from tests.sim.judging import Violation
from tests.sim.operations import Op, perform
from tests.sim.themes import History
from tests.sim.world import PHASE_S, World

HEALED_TURNS_MAX = 160


def history(seed: int) -> History:
    """The history of a seed."""
    dice = random.Random(seed)
    theme = THEMES[seed % len(THEMES)]
    return theme(seed, dice)


def play(story: History) -> World | None:
    """Run a history to its end. Raises Violation, with the seed and the operations in its text."""
    with World.of(story.setup, story.seed) as world:
        for op in story.ops:
            perform(world, op)
        if story.live:
            heal(world)
            go_on(world)
        return world


def heal(world: World) -> None:
    """Everything works again; nothing that was lost comes back."""
    world.network.apart.clear()
    world.network.faults.clear()
    world.network.late.clear()
    world.clock.skew_s.clear()
    for host in world.all_hosts:
        host.disk.calm()
        if host.dead:
            host.start()
    for node in world.nodes:
        node.disk.calm()
        node.away = False
        if node.dead:
            node.restart()


def go_on(world: World) -> None:
    """Liveness: with everybody able to talk, the next result comes within bounded turns.

    But for a study that waits by 5.10 and names whom for: nobody in it accepts to be exposed.
    """
    due = [len(study.results) + 1 for study in world.state.studies.values()]
    for turn in range(HEALED_TURNS_MAX):
        studies = world.state.studies.values()
        if any(len(study.results) >= count for study, count in zip(studies, due, strict=True)):
            return
        if not world.setup.exposed and all(_waits(world.state, study) for study in studies):
            return
        agree(world)
        for node in world.nodes:
            if node.dead:
                node.restart()
        if not world.turn():
            for node in world.nodes:
                node.step(clock=True)
            world.clock.now_s += PHASE_S + 1 if turn % 2 else 1
    raise Violation("liveness", f"no result in {HEALED_TURNS_MAX} turns: {world.describe()}")


def _waits(state: State, study: Study) -> bool:
    if study.current is not None:
        return False
    expected = expected_open(state, study.id)
    return isinstance(expected, Waiting) and expected.rule is Rule.SET_NEARLY_EQUAL


THEMES: tuple[Callable[[int, random.Random], History], ...] = (
    themes.weather,
    themes.split_close,
    themes.restored,
    themes.liar,
    themes.two_histories,
    themes.twins,
    themes.absent,
    themes.false_host,
    themes.small_set,
    themes.rolled_back,
    successions.forced,
    successions.planned,
    successions.members_change,
    successions.caught,
)


# -- shorter ---------------------------------------------------------------------------------------


def fails(story: History) -> Violation | None:
    """The violation of a history, if there is one."""
    try:
        play(story)
    except Violation as violation:
        return violation
    return None


def shorter(story: History, name: str, tries_max: int = 400) -> History:
    """Delete operations, many at a time and then few, as long as the same invariant breaks."""
    ops, tries, size = list(story.ops), 0, max(1, len(story.ops) // 2)
    while size:
        at = 0
        while at < len(ops) and tries < tries_max:
            fewer = ops[:at] + ops[at + size :]
            tries += 1
            found = fails(_with(story, fewer))
            if found is not None and found.name == name:
                ops = fewer
            else:
                at += size
        size //= 2
    return _with(story, ops)


def _with(story: History, ops: Sequence[Op]) -> History:
    return History(story.seed, story.setup, tuple(ops), story.live)
