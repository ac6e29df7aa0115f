"""Fed-Heart-Disease: FLamby's splits to the row, and its published results within .02.

Trained in plain NumPy, without aggregation: this judges recipes, weights and server steps.
Published figures: tables.md 1, "our re-run" column, recomputed by others' code over 20 seeds.
"""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import comity
from comity.demo.heart import DemoData, prepare
from comity.learning import FedAdagrad, FedAdam, FedAvg, FedYogi
from comity.learning.loading import LoadedStudy, load
from comity.learning.local import alone, first_shared
from comity.learning.model import to_flat, to_tensors
from comity.learning.steps import Float64Array, Rule, first_moments, step_chunk
from comity.learning.tables import Table, read_table
from comity.learning.training import Logistic, clipped, generator
from comity.values import labelled_hash, u32
from tests.outside.shared import shared_data

ROUNDS = 15


@dataclass(frozen=True, slots=True)
class Federation:
    loaded: LoadedStudy
    tables: tuple[Table, ...]
    scope: dict[str, object]

    def run(self, rule: Rule, learning_rate: float, seed: int) -> list[Mapping[str, float]]:
        """Fifteen rounds, weighted by training rows; each centre's metrics on its test rows."""
        self.scope["LEARNING_RATE"] = learning_rate
        layout = self.loaded.study.parts.vector
        flat = to_flat(layout, self.loaded.initial(seed))
        moments = first_moments(rule, len(flat))
        for number in range(ROUNDS):
            total, weight = np.zeros(len(flat)), 0
            for member, table in enumerate(self.tables):
                rng = generator(labelled_hash("test", u32(seed), u32(member), u32(number)))
                after, rows = self.loaded.train(to_tensors(layout, flat), table, rng)
                change: Float64Array = to_flat(layout, after).astype(np.float64) - flat
                total += rows * clipped(layout, change)
                weight += rows
            flat, moments = step_chunk(rule, flat, moments, total / weight)
        return [self.loaded.evaluate(to_tensors(layout, flat), table) for table in self.tables]

    def client_mean(self, rule: Rule, learning_rate: float, seeds: range) -> float:
        found = [
            np.mean([metrics["accuracy"] for metrics in self.run(rule, learning_rate, seed)])
            for seed in seeds
        ]
        return float(np.mean(found))


@pytest.fixture(scope="module")
def hearts(tmp_path_factory: pytest.TempPathFactory) -> DemoData:
    return prepare(tmp_path_factory.mktemp("heart"), given=shared_data("heart_disease"))


@pytest.fixture(scope="module")
def federation(hearts: DemoData) -> Federation:
    scope = runpy.run_path(str(Path(comity.__file__).parent / "recipes" / "heart.py"))
    loaded = load(scope)
    tables = tuple(
        read_table(
            loaded.study.columns,
            each.path.read_bytes(),
            file_name=each.path.name,
            missing=loaded.study.missing,
        ).table
        for each in hearts.institutions
    )
    return Federation(loaded, tables, loaded.train.__globals__)


def test_the_splits_are_those_of_flamby(hearts: DemoData, federation: Federation) -> None:
    assert not hearts.simulated and "CC BY 4.0" in hearts.attribution
    assert [(each.name, each.train_rows, each.test_rows) for each in hearts.institutions] == [
        ("cleveland", 199, 104),
        ("hungarian", 172, 89),
        ("switzerland", 30, 16),
        ("va", 85, 45),
    ]
    assert sum(len(table) for table in federation.tables) == 740
    assert federation.tables[2].only("part", "train")["disease"].min() == 1  # all 30 positive
    majority = [
        max(labels.mean(), 1 - labels.mean())
        for table in federation.tables
        for labels in [table.only("part", "test")["disease"]]
    ]
    assert [round(share, 3) for share in majority] == [0.538, 0.629, 0.938, 0.778]


def test_the_rows_and_features_are_those_of_the_published_fit(federation: Federation) -> None:
    """Newton's method on the 740 rows must meet the log likelihood that others computed."""
    coded = federation.scope["coded"]
    assert callable(coded)
    x = np.concatenate([coded(table) for table in federation.tables])
    y = np.concatenate([table["disease"] for table in federation.tables])
    task = Logistic((x - x.mean(axis=0)) / x.std(axis=0), y)
    weights = np.zeros(14)
    rows = np.arange(len(y))
    for _ in range(30):
        chances = task.chances(weights)
        wide = np.column_stack([task.x, np.ones(len(y))])
        bend = (wide * (chances * (1 - chances))[:, None]).T @ wide / len(y)
        weights = weights - np.linalg.solve(bend, task.gradient(weights, rows))
    assert -740 * task.loss(weights) == pytest.approx(-310.892161296315, abs=1e-8)


def test_the_recipe_does_better_together_than_the_majority(federation: Federation) -> None:
    """One seed, the recipe's own: the demo must show something true."""
    study = federation.loaded.study
    together = federation.run(study.rule, 0.01, study.seed)
    assert np.mean([metrics["accuracy"] for metrics in together]) > 0.71
    assert np.mean([metrics["auc"] for metrics in together]) > 0.80
    for member in (1, 3):  # ranking improves, most for the weakest
        table = federation.tables[member]
        flat, _ = alone(
            federation.loaded,
            table,
            first_shared(federation.loaded),
            (labelled_hash("test", u32(number)) for number in range(ROUNDS)),
        )
        by_itself = federation.loaded.evaluate(to_tensors(study.parts.vector, flat), table)
        assert together[member]["auc"] > by_itself["auc"]


@pytest.mark.parametrize(
    ("rule", "learning_rate", "published"),
    [
        (FedAvg(), 0.001, 0.7061),
        (FedAdagrad(0.316228), 0.003162, 0.7363),
        (FedAdam(0.01), 0.01, 0.7373),
        (FedYogi(0.01), 0.003162, 0.7363),
    ],
)
def test_published_client_means_are_met(
    federation: Federation, rule: Rule, learning_rate: float, published: float
) -> None:
    """Bar: within .02 over 20 seeds. The seeds are fixed, so there is no chance in it."""
    assert federation.client_mean(rule, learning_rate, range(20)) == pytest.approx(
        published, abs=0.02
    )
