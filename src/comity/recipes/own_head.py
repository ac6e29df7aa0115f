"""Slopes together, intercept one's own: for sites where the outcome is more or less frequent.

The slopes are learned in the secure sum; each site's intercept never leaves it. Ranking is learned
from everybody, and each site keeps its own calibration. Change what is marked.
"""

import numpy as np
from numpy.random import Generator

from comity.learning import (
    Column,
    FedAvg,
    Float64Array,
    Logistic,
    Study,
    Table,
    Tensor,
    Tensors,
    auc,
    batches,
    log_loss,
    sgd,
)

# CHANGE: what every table must have, and the model.
STUDY = Study(
    name="own-head",
    title="One line that says what is learned",
    columns=(
        Column("age", "integer", unit="years", low=0, high=120),
        Column("smoker", "category", categories=("no", "yes")),
        Column("ill", "label", categories=("no", "yes")),
        Column("part", "category", categories=("train", "test")),
    ),
    tensors=(Tensor("slopes", (2,), range=0.5), Tensor("intercept", (1,), own=True)),
    rounds=10,
    rule=FedAvg(),
    weights="hidden",
    weight_max=1024,
)


def initial(seed: int) -> Tensors:
    """The first model; also where each site's own intercept begins."""
    return {"slopes": np.zeros(2, np.float32), "intercept": np.zeros(1, np.float32)}


def train(weights: Tensors, table: Table, rng: Generator) -> tuple[Tensors, int]:
    """One round at one site: all tensors after; what is the site's own stays there."""
    rows = table.only("part", "train")
    steps = batches(rng, len(rows), batch_size=16, batches_count=50)
    after = sgd(joined(weights), logistic(rows).gradient, steps, lr=0.1)
    slopes, intercept = np.split(after.astype(np.float32), [2])
    return {"slopes": slopes, "intercept": intercept}, len(rows)


def evaluate(weights: Tensors, table: Table) -> dict[str, float]:
    """How good the model is here, with this site's own intercept."""
    rows = table.only("part", "test")
    chances = logistic(rows).chances(joined(weights))
    return {"auc": auc(rows["ill"], chances), "log_loss": log_loss(rows["ill"], chances)}


def joined(weights: Tensors) -> Float64Array:
    """Slopes, then intercept."""
    return np.concatenate((weights["slopes"], weights["intercept"])).astype(np.float64)


def logistic(rows: Table) -> Logistic:
    """CHANGE: from columns to numbers of about the same size."""
    return Logistic(np.column_stack([rows["age"] / 100, rows["smoker"]]), rows["ill"])
