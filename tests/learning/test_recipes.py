"""Recipes with methods do what they say: three sites, a few rounds, better than at first."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

import comity
from comity.learning.loading import LoadedStudy, load
from comity.learning.local import Shared, first_kept, first_shared, learn, next_shared, seen
from comity.learning.steps import Float32Array
from comity.learning.tables import Table, read_table
from comity.learning.training import clipped, generator

RECIPES = Path(comity.__file__).parent / "recipes"
ROUNDS = 5


def table(loaded: LoadedStudy, place: int) -> Table:
    """Illness follows smoking and age; each site has another base rate."""
    dice = np.random.default_rng(place)
    lines = ["age,smoker,ill,part"]
    for row in range(120):
        age, smoker = int(dice.integers(20, 90)), int(dice.integers(0, 2))
        score = 2.0 * smoker + (age - 55) / 20 - 2.0 + 1.5 * place
        ill = dice.random() < 1 / (1 + np.exp(-score))
        part = "test" if row % 3 == 0 else "train"
        lines.append(f"{age},{'yes' if smoker else 'no'},{'yes' if ill else 'no'},{part}")
    raw = "\n".join(lines).encode()
    return read_table(loaded.study.columns, raw, file_name="table.csv").table


def losses(
    loaded: LoadedStudy, tables: list[Table], shared: Shared, kept: list[Float32Array]
) -> list[float]:
    return [
        loaded.evaluate(seen(loaded.study, shared.model, own), rows)["log_loss"]
        for own, rows in zip(kept, tables, strict=True)
    ]


@pytest.mark.parametrize("name", ["minimal", "scaffold", "own_head", "perceptron"])
def test_a_recipe_learns(name: str) -> None:
    loaded = load(runpy.run_path(str(RECIPES / f"{name}.py")))
    tables = [table(loaded, place) for place in range(3)]
    shared, kept = first_shared(loaded), [first_kept(loaded) for _ in tables]
    before = losses(loaded, tables, shared, kept)
    for number in range(ROUNDS):
        learned = [
            learn(loaded, rows, shared, own, generator(bytes([number, place]) * 16))
            for place, (rows, own) in enumerate(zip(tables, kept, strict=True))
        ]
        kept = [each.kept for each in learned]
        updates = [
            clipped(loaded.study.parts.vector, each.update.astype(np.float64)) for each in learned
        ]
        shared = next_shared(loaded.study, shared, np.mean(updates, axis=0))
    after = losses(loaded, tables, shared, kept)
    assert np.mean(after) < np.mean(before) - 0.05
    if loaded.study.parts.own.segments:
        assert len({each.tobytes() for each in kept}) == 3, "each site has its own"
