"""A small perceptron: one hidden layer of tanh units, one output, in plain NumPy.

Its gradient is written out, a line for each step back, so that it can be read beside the formula;
bigger networks belong to a framework.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from comity.learning.steps import Float64Array
from comity.learning.training import sigmoid


@final
@dataclass(frozen=True, slots=True)
class Perceptron:
    """Chance of label 1 = sigmoid(tanh(x inner + bias) outer + intercept).

    Weights are one vector, float64: `inner` (features, units) in C order, `bias` (units,), `outer`
    (units,), `intercept` (1,).

    Args:
        x: rows, float64 (rows, features).
        y: labels, 0 or 1, shape (rows,).
        units: width of the hidden layer, from 1.
    """

    x: Float64Array
    y: Float64Array
    units: int

    def chances(self, weights: Float64Array) -> Float64Array:
        """Predicted chance of label 1, shape (rows,)."""
        inner, bias, outer, intercept = self._parts(weights)
        return sigmoid(np.tanh(self.x @ inner + bias) @ outer + intercept)

    def loss(self, weights: Float64Array) -> float:
        """Mean log loss in nats, exact for large scores too."""
        inner, bias, outer, intercept = self._parts(weights)
        scores = np.tanh(self.x @ inner + bias) @ outer + intercept
        return float(np.mean(np.logaddexp(0.0, np.where(self.y > 0.5, -scores, scores))))

    def gradient(self, weights: Float64Array, rows: npt.NDArray[np.intp]) -> Float64Array:
        """Gradient of the mean log loss over these rows, in the order of the weights."""
        inner, bias, outer, intercept = self._parts(weights)
        x = self.x[rows]
        hidden = np.tanh(x @ inner + bias)
        off = (sigmoid(hidden @ outer + intercept) - self.y[rows]) / len(rows)
        back = np.outer(off, outer) * (1.0 - hidden * hidden)
        return np.concatenate(((x.T @ back).ravel(), back.sum(axis=0), off @ hidden, [off.sum()]))

    def _parts(
        self, weights: Float64Array
    ) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
        count, units = self.x.shape[1] * self.units, self.units
        inner, bias, outer, intercept = np.split(weights, [count, count + units, count + 2 * units])
        return inner.reshape(-1, units), bias, outer, intercept


def first_layers(rng: Generator, features_count: int, units: int) -> Float64Array:
    """Each layer drawn from U(-1/sqrt k, 1/sqrt k), k its inputs, as PyTorch does.

    Returns:
        The weights of `Perceptron`, float64, shape ((features + 2) units + 1,).
    """
    inner, outer = 1.0 / math.sqrt(features_count), 1.0 / math.sqrt(units)
    first = rng.uniform(-inner, inner, (features_count + 1) * units)
    return np.concatenate((first, rng.uniform(-outer, outer, units + 1)))
