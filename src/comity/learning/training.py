"""What studies train with: mini-batches, SGD with a method's pull, Adam, logistic regression.

All of it is plain NumPy and gets its randomness from the caller's generator, so the same seed
gives the same update on the same machine. Models of other libraries fit the same study form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
from numpy.random import PCG64, Generator

from comity.aggregation.layout import Layout
from comity.learning.steps import Float64Array


def batches(
    rng: Generator, rows_count: int, batch_size: int, batches_count: int
) -> Iterator[npt.NDArray[np.intp]]:
    """Row numbers of `batches_count` mini-batches; reshuffled in each pass, the last one kept.

    Args:
        rng: the only source of order.
        rows_count: at least 1.
        batch_size: rows in a batch; the last of a pass may have fewer.
        batches_count: how many batches, over as many passes as it takes.
    """
    assert rows_count >= 1 and batch_size >= 1
    done = 0
    while True:
        order = rng.permutation(rows_count)
        for start in range(0, rows_count, batch_size):
            if done == batches_count:
                return
            yield order[start : start + batch_size]
            done += 1


def sgd(
    weights: Float64Array,
    gradient: Callable[[Float64Array, npt.NDArray[np.intp]], Float64Array],
    rows: Iterator[npt.NDArray[np.intp]],
    *,
    lr: float,
    proximal: float = 0.0,
    offset: Float64Array | None = None,
) -> Float64Array:
    """Gradient steps, one per batch; the weights passed in stay as they are.

    Args:
        weights: float64, any shape.
        gradient: of the mean loss over the rows named, at these weights.
        rows: as `batches` gives them.
        lr: learning rate, above 0.
        proximal, offset: what a method adds to each gradient, as `Pull` says: proximal times the
            way from where the round began, and a constant of the shape of the weights.
    """
    start = weights.astype(np.float64)
    moving = start.copy()
    for batch in rows:
        slope = gradient(moving, batch)
        if proximal:
            slope = slope + proximal * (moving - start)
        if offset is not None:
            slope = slope + offset
        moving -= lr * slope
    return moving


def adam(
    weights: Float64Array,
    gradient: Callable[[Float64Array, npt.NDArray[np.intp]], Float64Array],
    rows: Iterator[npt.NDArray[np.intp]],
    *,
    lr: float = 0.001,
    betas: tuple[float, float] = (0.9, 0.999),
    tau: float = 1e-8,
) -> Float64Array:
    """Adam, one step per batch, with bias correction; for training at one place.

    Args:
        weights, gradient, rows: as for `sgd`.
        tau: added to the root of the second moment.
    Source: Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1.
    """
    moving = weights.astype(np.float64)
    first, second = np.zeros_like(moving), np.zeros_like(moving)
    for number, batch in enumerate(rows, start=1):
        slope = gradient(moving, batch)
        first += (1 - betas[0]) * (slope - first)
        second += (1 - betas[1]) * (slope * slope - second)
        root = np.sqrt(second / (1 - betas[1] ** number)) + tau
        moving -= lr / (1 - betas[0] ** number) * first / root
    return moving


def sigmoid(scores: Float64Array) -> Float64Array:
    """1 / (1 + exp(-score)) without overflow."""
    small = np.exp(-np.abs(scores))
    tops: Float64Array = np.where(scores >= 0, 1.0, small)
    return tops / (1.0 + small)


@final
@dataclass(frozen=True, slots=True)
class Logistic:
    """Logistic regression over rows `x`, float64 (rows, features), and labels `y`, 0 or 1.

    Weights are one vector, float64, shape (features + 1,): the slopes, then the intercept.
    """

    x: Float64Array
    y: Float64Array

    def chances(self, weights: Float64Array) -> Float64Array:
        """Predicted chance of label 1, shape (rows,)."""
        return sigmoid(self.x @ weights[:-1] + weights[-1])

    def loss(self, weights: Float64Array) -> float:
        """Mean log loss in nats, exact for large scores too."""
        scores = self.x @ weights[:-1] + weights[-1]
        signed = np.where(self.y > 0.5, -scores, scores)
        return float(np.mean(np.logaddexp(0.0, signed)))

    def gradient(self, weights: Float64Array, rows: npt.NDArray[np.intp]) -> Float64Array:
        """Gradient of the mean log loss over these rows."""
        x = self.x[rows]
        off = sigmoid(x @ weights[:-1] + weights[-1]) - self.y[rows]
        return np.append(off @ x, off.sum()) / len(rows)


def first_weights(rng: Generator, features_count: int) -> Float64Array:
    """Slopes and intercept drawn from U(-1/sqrt f, 1/sqrt f), as PyTorch's linear layer does."""
    bound = 1.0 / math.sqrt(features_count)
    return rng.uniform(-bound, bound, features_count + 1)


def standardised(x: Float64Array, training: Float64Array) -> Float64Array:
    """Columns with the mean and spread (n - 1, + 1e-9) of the site's own training rows removed."""
    middle: Float64Array = training.mean(axis=0)
    spread: Float64Array = training.std(axis=0, ddof=1)
    return (x - middle) / (spread + 1e-9)


def clipped(layout: Layout, change: Float64Array) -> Float64Array:
    """The change of a model with each entry held within the range of its tensor."""
    held = change.copy()
    place = 0
    for segment in layout.segments:
        part = held[place : place + segment.words]
        np.clip(part, -segment.range_max, segment.range_max, out=part)
        place += segment.words
    return held


def generator(seed: bytes) -> Generator:
    """PCG64 from 32 bytes; the same seed gives the same numbers everywhere."""
    assert len(seed) == 32
    return Generator(PCG64(int.from_bytes(seed, "big")))
