"""Whatever goes wrong and whoever lies: the invariants hold, and a healed world goes on.

A failing seed is printed with its operations, made shorter: put those into `regressions.py`.
"""

from __future__ import annotations

import os

import pytest

from tests.sim.histories import THEMES, fails, history, play, shorter
from tests.sim.operations import perform
from tests.sim.regressions import REGRESSIONS
from tests.sim.world import Setup, World

SEEDS = 300
SEEDS_A_TEST = 20
NIGHTLY_SEEDS = int(os.environ.get("COMITY_SIM_SEEDS", "20000"))
NIGHTLY_A_TEST = 500


def _hold(first: int, count: int) -> None:
    for seed in range(first, first + count):
        story = history(seed)
        violation = fails(story)
        if violation is not None:
            short = shorter(story, violation.name)
            pytest.fail(
                f"seed {seed} ({THEMES[seed % len(THEMES)].__name__}): {violation}\n"
                f"shorter: {short.setup}, live={short.live}, {list(short.ops)}"
            )


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_A_TEST))
def test_every_invariant_holds_in_every_world(first: int) -> None:
    _hold(first, SEEDS_A_TEST)


@pytest.mark.nightly
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("first", range(SEEDS, NIGHTLY_SEEDS, NIGHTLY_A_TEST))
def test_every_invariant_holds_in_many_worlds(first: int) -> None:
    _hold(first, min(NIGHTLY_A_TEST, NIGHTLY_SEEDS - first))


@pytest.mark.parametrize("name", sorted(REGRESSIONS))
def test_what_was_found_once_stays_away(name: str) -> None:
    play(REGRESSIONS[name])


def test_a_calm_world_gives_a_result_every_round_and_the_same_to_everybody() -> None:
    with World.of(Setup(members=4)) as world:
        world.run_calm(3)
        world.turn()
        digests = {node.state.studies[world.studies[0]].model for node in world.nodes}
        assert len(digests) == 1
        assert not any(node.stopped for node in world.nodes)


def test_the_same_seed_is_the_same_world() -> None:
    def trace(seed: int) -> list[object]:
        story, seen = history(seed), list[object]()
        with World.of(story.setup, story.seed) as world:
            for op in story.ops:
                perform(world, op)
                said = [
                    (s.author, s.seq, s.body.tag) for s in world.judge.watch.statements.values()
                ]
                nodes = [(n.dead, n.state.size) for n in world.nodes]
                hosts = [(h.dead, h.service.published.state.size) for h in world.hosts]
                seen.append((op, len(said), said[-1:], nodes, hosts))
        return seen

    for seed in range(len(THEMES)):
        assert trace(seed) == trace(seed)


def test_a_failing_history_is_made_shorter() -> None:
    from tests.sim.mutants import FOUND, mutated

    seed, name = FOUND["no Confirm gate"]
    with mutated("no Confirm gate"):
        short = shorter(history(seed), name, tries_max=40)
        violation = fails(short)
    assert violation is not None and violation.name == name
    assert len(short.ops) < len(history(seed).ops)
