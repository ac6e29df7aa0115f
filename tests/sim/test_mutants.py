"""Each safeguard is missed when it is gone: the simulation catches every mutant of the product.

The seed kept for each is below 2,000. The honest product passes the same seeds.
"""

from __future__ import annotations

import pytest

from tests.sim.histories import fails, history
from tests.sim.mutants import FOUND, MUTANTS, mutated

SEEDS_MAX = 2_000


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_the_mutant_is_caught_and_the_honest_product_is_not(name: str) -> None:
    seed, invariant = FOUND[name]
    assert seed < SEEDS_MAX
    story = history(seed)
    assert fails(story) is None, "the honest product breaks nothing here"
    with mutated(name):
        violation = fails(story)
    assert violation is not None and violation.name == invariant


def test_the_product_is_whole_again_after_a_mutant() -> None:
    before = {(place, what): getattr(place, what) for p in MUTANTS.values() for place, what, _ in p}
    for name in MUTANTS:
        with mutated(name):
            pass
    assert all(getattr(place, what) is kept for (place, what), kept in before.items())


@pytest.mark.nightly
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_each_mutant_is_caught_within_2000_seeds(name: str) -> None:
    with mutated(name):
        assert any(fails(history(seed)) for seed in range(SEEDS_MAX))
