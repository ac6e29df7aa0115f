"""SCAFFOLD: sites whose data differ correct their local steps by how they differ from everybody.

Each site keeps a control variate at home; the mean of all of them comes out of the secure sum. Use
it where plain averaging drifts: many local steps, data that differ much. Change what is marked.
"""

import numpy as np
from numpy.random import Generator

from comity.learning import (
    Column,
    FedAvg,
    Logistic,
    Pull,
    Scaffold,
    Study,
    Table,
    Tensor,
    Tensors,
    auc,
    batches,
    log_loss,
    sgd,
)

STEPS_A_ROUND = 50  # what is said to Scaffold is what `train` does
LEARNING_RATE = 0.1

# CHANGE: what every table must have, and the model.
STUDY = Study(
    name="scaffold",
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
    method=Scaffold(steps=STEPS_A_ROUND, lr=LEARNING_RATE),
    weights="hidden",
    weight_max=1024,
)


def initial(seed: int) -> Tensors:
    """The first model, the same for everybody."""
    return {"weights": np.zeros(3, np.float32)}


def train(weights: Tensors, table: Table, rng: Generator, pull: Pull) -> tuple[Tensors, int]:
    """One round at one site; `pull.offset` is what SCAFFOLD adds to each gradient."""
    rows = table.only("part", "train")
    steps = batches(rng, len(rows), batch_size=16, batches_count=STEPS_A_ROUND)
    after = sgd(
        weights["weights"].astype(np.float64),
        logistic(rows).gradient,
        steps,
        lr=LEARNING_RATE,
        offset=pull.offset["weights"].astype(np.float64),
    )
    return {"weights": after.astype(np.float32)}, len(rows)


def evaluate(weights: Tensors, table: Table) -> dict[str, float]:
    """How good the model is on rows it never saw."""
    rows = table.only("part", "test")
    chances = logistic(rows).chances(weights["weights"].astype(np.float64))
    return {"auc": auc(rows["ill"], chances), "log_loss": log_loss(rows["ill"], chances)}


def logistic(rows: Table) -> Logistic:
    """CHANGE: from columns to numbers of about the same size."""
    return Logistic(np.column_stack([rows["age"] / 100, rows["smoker"]]), rows["ill"])
