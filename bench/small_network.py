"""For measuring what a simulation costs: two layers, a hundred steps on a member's few rows."""

import numpy as np
from numpy.random import Generator

from comity.learning import Column, FedAvg, Study, Table, Tensor, Tensors, batches

INPUTS, HIDDEN, STEPS, BATCH = 20, 32, 100, 10  # as many steps a round as the recipes take

STUDY = Study(
    name="small-network",
    title="A small network, for measuring",
    columns=(
        *(Column(f"x{place}", "real", low=-1, high=1) for place in range(INPUTS)),
        Column("y", "label", categories=("0", "1")),
    ),
    tensors=(
        Tensor("first", (INPUTS, HIDDEN), range=1.0),
        Tensor("bias", (HIDDEN,), range=1.0),
        Tensor("second", (HIDDEN,), range=1.0),
    ),
    rounds=20,
    rule=FedAvg(),
    weights="equal",
    weight_max=1,
)


def initial(seed: int) -> Tensors:
    """Small random weights."""
    dice = np.random.default_rng(seed)
    return {
        "first": dice.normal(0, 0.2, (INPUTS, HIDDEN)).astype(np.float32),
        "bias": np.zeros(HIDDEN, np.float32),
        "second": dice.normal(0, 0.2, HIDDEN).astype(np.float32),
    }


def train(weights: Tensors, table: Table, rng: Generator) -> tuple[Tensors, int]:
    """Mini-batch steps on the logistic loss."""
    x = np.column_stack([table[f"x{place}"] for place in range(INPUTS)]).astype(np.float32)
    y = table["y"].astype(np.float32)
    first, bias, second = weights["first"], weights["bias"], weights["second"]
    for rows in batches(rng, len(y), BATCH, STEPS):
        hidden = np.tanh(x[rows] @ first + bias)
        off = (1 / (1 + np.exp(-hidden @ second)) - y[rows]) / np.float32(len(rows))
        back = np.outer(off, second) * (1 - hidden * hidden)
        second = second - np.float32(0.1) * (hidden.T @ off)
        first = first - np.float32(0.1) * (x[rows].T @ back)
        bias = bias - np.float32(0.1) * back.sum(axis=0)
    return {"first": first, "bias": bias, "second": second}, len(y)


def evaluate(weights: Tensors, table: Table) -> dict[str, float]:
    """How large the weights are."""
    return {"size": float(np.abs(weights["first"]).mean())}
