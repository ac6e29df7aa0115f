"""My study: say in a few lines what is learned, from what, and why.

Everybody who is asked to take part reads this file. Change what is marked.
"""

import numpy as np
from numpy.random import Generator

from comity.learning import (
    Column,
    FedAvg,
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
    name="my-study",
    title="One line that says what is learned",
    columns=(
        Column("age", "integer", unit="years", low=0, high=120),
        Column("smoker", "category", categories=("no", "yes")),
        Column("ill", "label", categories=("no", "yes")),
        Column("part", "category", categories=("train", "test")),
    ),
    tensors=(Tensor("weights", (3,), range=0.5),),  # two slopes, one intercept
    rounds=10,
    rule=FedAvg(),
    weights="declared",
    weight_max=1024,
)


def initial(seed: int) -> Tensors:
    """The first model, the same for everybody."""
    return {"weights": np.zeros(3, np.float32)}


def train(weights: Tensors, table: Table, rng: Generator) -> tuple[Tensors, int]:
    """One round at one site: the model after, and how many rows it learned from."""
    rows = table.only("part", "train")
    task = logistic(rows)
    steps = batches(rng, len(rows), batch_size=16, batches_count=50)
    after = sgd(weights["weights"].astype(np.float64), task.gradient, steps, lr=0.1)
    return {"weights": after.astype(np.float32)}, len(rows)


def evaluate(weights: Tensors, table: Table) -> dict[str, float]:
    """How good the model is on rows it never saw."""
    rows = table.only("part", "test")
    chances = logistic(rows).chances(weights["weights"].astype(np.float64))
    return {"auc": auc(rows["ill"], chances), "log_loss": log_loss(rows["ill"], chances)}


def logistic(rows: Table) -> Logistic:
    """CHANGE: from columns to numbers of about the same size."""
    return Logistic(np.column_stack([rows["age"] / 100, rows["smoker"]]), rows["ill"])
