"""For measuring rounds, not for learning: a model of any size and an update that costs little."""

import numpy as np
from numpy.random import Generator

from comity.learning import Column, FedAvg, Study, Table, Tensor, Tensors

NUMBERS = 100_000  # the benchmark writes variants of this line

STUDY = Study(
    name="bench",
    title="Benchmark of a round",
    columns=(Column("x", "real"),),
    tensors=(Tensor("weights", (NUMBERS,), range=1.0),),
    rounds=1_000,
    rule=FedAvg(),
    weights="equal",
    weight_max=1,
)


def initial(seed: int) -> Tensors:
    """All zeros."""
    return {"weights": np.zeros(NUMBERS, np.float32)}


def train(weights: Tensors, table: Table, rng: Generator) -> tuple[Tensors, int]:
    """Every number moves by the same step."""
    step = np.float32(rng.uniform(-0.5, 0.5))
    return {"weights": weights["weights"] + step}, len(table)


def evaluate(weights: Tensors, table: Table) -> dict[str, float]:
    """The first number, so that rounds can be told apart."""
    return {"first": float(weights["weights"][0])}
