"""Metrics against scikit-learn, and what they say about nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.metrics import log_loss as reference_log_loss

from comity.learning.evaluation import accuracy, auc, log_loss


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("levels", [3, 10, 10**6])
def test_metrics_equal_those_of_scikit_learn(seed: int, levels: int) -> None:
    """Few levels make many ties."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(57) < 0.4).astype(np.float64)
    chances = rng.integers(1, levels, 57) / levels
    assert auc(labels, chances) == pytest.approx(roc_auc_score(labels, chances), abs=1e-12)
    assert log_loss(labels, chances) == pytest.approx(
        reference_log_loss(labels, chances), rel=1e-12
    )
    assert accuracy(labels, chances) == accuracy_score(labels, chances > 0.5)


def test_certain_predictions_give_a_finite_loss() -> None:
    labels = np.array([1.0, 0.0])
    assert log_loss(labels, np.array([1.0, 0.0])) == pytest.approx(0, abs=1e-12)
    assert 30 < log_loss(labels, np.array([0.0, 1.0])) < 40


def test_what_is_not_defined_is_nan() -> None:
    nothing = np.array([])
    assert math.isnan(accuracy(nothing, nothing)) and math.isnan(log_loss(nothing, nothing))
    assert math.isnan(auc(np.ones(3), np.arange(3.0)))
    assert math.isnan(auc(np.zeros(3), np.arange(3.0)))
