"""Presence of heart disease from ten routine measurements: logistic regression.

Each site standardises with the mean and spread of its own training rows, then takes 100 small
gradient steps a round. Rows marked "test" are never trained on.
"""

import numpy as np
from numpy.random import Generator

from comity.learning import (
    Column,
    FedAdam,
    Float64Array,
    Logistic,
    Study,
    Table,
    Tensor,
    Tensors,
    accuracy,
    auc,
    batches,
    first_weights,
    log_loss,
    sgd,
    standardised,
)

STUDY = Study(
    name="heart",
    title="Presence of heart disease from ten routine measurements",
    columns=(
        Column("age", "integer", unit="years", low=0, high=120),
        Column("sex", "category", categories=("0", "1")),
        Column("cp", "category", categories=("1", "2", "3", "4")),
        Column("trestbps", "real", unit="mm Hg", low=0, high=300),
        Column("chol", "real", unit="mg/dl", low=0, high=1000),
        Column("fbs", "category", categories=("0", "1")),
        Column("restecg", "category", categories=("0", "1", "2")),
        Column("thalach", "real", unit="1/min", low=0, high=300),
        Column("exang", "category", categories=("0", "1")),
        Column("oldpeak", "real", unit="mm", low=-10, high=10),
        Column("disease", "label", categories=("0", "1")),
        Column("part", "category", categories=("train", "test")),
    ),
    tensors=(Tensor("slopes", (13,), range=1.0), Tensor("intercept", (1,), range=1.0)),
    rounds=15,
    rule=FedAdam(server_lr=0.01),
    weights="hidden",
    weight_max=256,
    missing="drop rows",
    seed=42,
)

LEARNING_RATE = 0.01
BATCH_SIZE = 4
STEPS_A_ROUND = 100


def initial(seed: int) -> Tensors:
    """Small random weights, the same for everybody."""
    return split(first_weights(np.random.default_rng(seed), 13))


def train(weights: Tensors, table: Table, rng: Generator) -> tuple[Tensors, int]:
    """100 steps on this site's training rows."""
    rows = table.only("part", "train")
    task = Logistic(features(rows, table), rows["disease"])
    steps = batches(rng, len(rows), BATCH_SIZE, STEPS_A_ROUND)
    return split(sgd(joined(weights), task.gradient, steps, lr=LEARNING_RATE)), len(rows)


def evaluate(weights: Tensors, table: Table) -> dict[str, float]:
    """How good the model is on this site's test rows."""
    rows = table.only("part", "test")
    labels = rows["disease"]
    chances = Logistic(features(rows, table), labels).chances(joined(weights))
    return {
        "accuracy": accuracy(labels, chances),
        "auc": auc(labels, chances),
        "log_loss": log_loss(labels, chances),
    }


def features(rows: Table, table: Table) -> Float64Array:
    """13 columns: categories with k values become k - 1 columns of 0 and 1."""
    return standardised(coded(rows), coded(table.only("part", "train")))


def coded(rows: Table) -> Float64Array:
    """The columns as numbers, before they are standardised."""
    plain = ("age", "sex", "trestbps", "chol", "fbs", "thalach", "exang", "oldpeak")
    columns = [rows[name] for name in plain]
    columns += [1.0 * (rows["cp"] == value) for value in (1, 2, 3)]
    columns += [1.0 * (rows["restecg"] == value) for value in (1, 2)]
    return np.column_stack(columns)


def joined(weights: Tensors) -> Float64Array:
    """The model as one vector: slopes, then intercept."""
    return np.concatenate((weights["slopes"], weights["intercept"])).astype(np.float64)


def split(vector: Float64Array) -> Tensors:
    """The vector as the model's two tensors."""
    slopes, intercept = np.split(vector.astype(np.float32), [13])
    return {"slopes": slopes, "intercept": intercept}
