"""A small neural network: hidden layer together, output layer one's own, tuned at each site.

Sites take many steps between rounds, so the next model follows with Nesterov momentum, as in
training with little communication. Change what is marked.
"""

import numpy as np
from numpy.random import Generator

from comity.learning import (
    Column,
    Float64Array,
    Nesterov,
    Perceptron,
    Study,
    Table,
    Tensor,
    Tensors,
    auc,
    batches,
    first_layers,
    log_loss,
    sgd,
)

FEATURES = 2
UNITS = 8

# CHANGE: what every table must have, and the model.
STUDY = Study(
    name="perceptron",
    title="One line that says what is learned",
    columns=(
        Column("age", "integer", unit="years", low=0, high=120),
        Column("smoker", "category", categories=("no", "yes")),
        Column("ill", "label", categories=("no", "yes")),
        Column("part", "category", categories=("train", "test")),
    ),
    tensors=(
        Tensor("inner", (FEATURES, UNITS)),
        Tensor("bias", (UNITS,)),
        Tensor("outer", (UNITS,), own=True),
        Tensor("intercept", (1,), own=True),
    ),
    rounds=10,
    rule=Nesterov(server_lr=0.7, beta=0.9),
    fine_tuning=1,
    weights="hidden",
    weight_max=1024,
)


def initial(seed: int) -> Tensors:
    """Small random weights; also where each site's own output layer begins."""
    return split(first_layers(np.random.default_rng(seed), FEATURES, UNITS))


def train(weights: Tensors, table: Table, rng: Generator) -> tuple[Tensors, int]:
    """100 steps on this site's training rows."""
    rows = table.only("part", "train")
    steps = batches(rng, len(rows), batch_size=16, batches_count=100)
    return split(sgd(joined(weights), network(rows).gradient, steps, lr=0.1)), len(rows)


def evaluate(weights: Tensors, table: Table) -> dict[str, float]:
    """How good the model is here, with this site's own output layer."""
    rows = table.only("part", "test")
    chances = network(rows).chances(joined(weights))
    return {"auc": auc(rows["ill"], chances), "log_loss": log_loss(rows["ill"], chances)}


def joined(weights: Tensors) -> Float64Array:
    """All tensors behind each other, as `Perceptron` takes them."""
    parts = [weights[tensor.name].ravel() for tensor in STUDY.tensors]
    return np.concatenate(parts).astype(np.float64)


def split(vector: Float64Array) -> Tensors:
    """And back."""
    ends = np.cumsum([np.prod(tensor.shape) for tensor in STUDY.tensors])[:-1]
    parts = np.split(vector.astype(np.float32), ends)
    return {
        tensor.name: part.reshape(tensor.shape)
        for tensor, part in zip(STUDY.tensors, parts, strict=True)
    }


def network(rows: Table) -> Perceptron:
    """CHANGE: from columns to numbers of about the same size."""
    x = np.column_stack([rows["age"] / 100, rows["smoker"]])
    return Perceptron(x, rows["ill"], UNITS)
