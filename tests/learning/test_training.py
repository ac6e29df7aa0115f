"""Local training: gradients against finite differences, batches, FedProx."""

from __future__ import annotations

import numpy as np
import pytest

from comity.aggregation.layout import Layout, Segment
from comity.learning.steps import Float64Array
from comity.learning.training import (
    Logistic,
    batches,
    clipped,
    first_weights,
    generator,
    sgd,
    sigmoid,
    standardised,
)


def task(rows: int = 40) -> Logistic:
    rng = np.random.default_rng(5)
    return Logistic(rng.normal(size=(rows, 3)), (rng.random(rows) < 0.5).astype(np.float64))


def test_the_gradient_is_that_of_the_loss() -> None:
    logistic = task()
    rows = np.arange(40)
    for seed in range(5):
        weights = np.random.default_rng(seed).normal(size=4)
        slope = logistic.gradient(weights, rows)
        for place in range(4):
            step = np.zeros(4)
            step[place] = 1e-6
            numeric = (logistic.loss(weights + step) - logistic.loss(weights - step)) / 2e-6
            assert slope[place] == pytest.approx(numeric, abs=1e-8)


def test_the_loss_is_stable_and_the_sigmoid_too() -> None:
    logistic = Logistic(np.array([[1000.0], [-1000.0]]), np.array([0.0, 1.0]))
    assert logistic.loss(np.array([1.0, 0.0])) == 1000
    with np.errstate(over="raise", invalid="raise"):
        assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0, 0.5, 1]


def test_each_pass_sees_every_row_once_and_keeps_the_last_batch() -> None:
    found = list(batches(generator(b"\1" * 32), 10, 4, 7))
    assert [len(batch) for batch in found] == [4, 4, 2, 4, 4, 2, 4]
    assert sorted(np.concatenate(found[:3])) == list(range(10))
    assert np.concatenate(found[:3]).tolist() != np.concatenate(found[3:6]).tolist()
    assert list(batches(generator(b"\1" * 32), 10, 4, 0)) == []


def test_the_same_seed_gives_the_same_numbers() -> None:
    assert generator(b"\7" * 32).random() == generator(b"\7" * 32).random()
    assert generator(b"\7" * 32).random() != generator(b"\7" * 31 + b"\0").random()
    assert generator(bytes(32)).integers(0, 2**32) == 0xD9C2825F


def test_sgd_goes_downhill_and_leaves_its_start_alone() -> None:
    logistic = task()
    start = np.zeros(4)
    after = sgd(start, logistic.gradient, batches(generator(bytes(32)), 40, 8, 200), lr=0.1)
    assert logistic.loss(after) < logistic.loss(start) - 0.01
    assert start.tolist() == [0, 0, 0, 0]


def test_the_proximal_term_holds_back() -> None:
    logistic = task()

    def moved(proximal: float) -> float:
        rows = batches(generator(bytes(32)), 40, 8, 200)
        after = sgd(np.zeros(4), logistic.gradient, rows, lr=0.1, proximal=proximal)
        return float(np.abs(after).max())

    assert moved(0.0) > moved(1.0) > moved(5.0) > 0


def test_the_proximal_step_is_that_of_its_formula() -> None:
    def slope(weights: Float64Array, rows: object) -> Float64Array:
        return weights - 3

    after = sgd(np.array([1.0]), slope, iter([np.array([0]), np.array([0])]), lr=0.5, proximal=0.5)
    assert after.tolist() == [1 + 1.0 + 0.5 * (1.0 - 0.5)]


def test_first_weights_lie_where_pytorch_draws_them() -> None:
    drawn = first_weights(np.random.default_rng(0), 16)
    assert drawn.shape == (17,) and np.abs(drawn).max() <= 0.25


def test_standardised_uses_the_training_rows_only() -> None:
    training = np.array([[1.0, 5.0], [3.0, 5.0]])
    found = standardised(np.array([[2.0, 5.0]]), training)
    assert found.tolist() == [[0.0, 0.0]]
    assert standardised(training, training)[0, 0] == pytest.approx(-1 / 2**0.5)


LAYOUT = Layout((Segment("w", "real", (2,), 1, 0), Segment("b", "real", (1,), 1, -2)))


def test_an_update_is_held_within_each_tensors_range() -> None:
    assert clipped(LAYOUT, np.array([5.0, -0.5, -1.0])).tolist() == [1.0, -0.5, -0.25]
