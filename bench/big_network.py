"""For measuring rounds of a PyTorch model: ten layers of any size, and an update that costs little.

The update is that of the recipe `bench`, so that what a round costs beside it can be compared.
"""

import torch
from numpy.random import Generator
from torch import nn

from comity.learning import Column, FedAvg, Study, Table, Tensors
from comity.learning.pytorch import load_state, state_of, tensors_of

NUMBERS = 100_000  # the benchmark writes variants of this line
SIDE = round((NUMBERS / 10) ** 0.5)

NET = nn.Sequential(*(nn.Linear(SIDE - 1, SIDE) for _ in range(10)))

STUDY = Study(
    name="bench",
    title="Benchmark of a round with PyTorch",
    columns=(Column("x", "real"),),
    tensors=tensors_of(NET),
    rounds=1_000,
    rule=FedAvg(),
    weights="equal",
    weight_max=1,
)


def initial(seed: int) -> Tensors:
    """All zeros."""
    with torch.no_grad():
        for parameter in NET.parameters():
            parameter.zero_()
    return state_of(NET)


def train(weights: Tensors, table: Table, rng: Generator) -> tuple[Tensors, int]:
    """Every number moves by the same step."""
    load_state(NET, weights)
    step = rng.uniform(-0.5, 0.5)
    with torch.no_grad():
        for parameter in NET.parameters():
            parameter.add_(step)
    return state_of(NET), len(table)


def evaluate(weights: Tensors, table: Table) -> dict[str, float]:
    """The first number, so that rounds can be told apart."""
    return {"first": float(weights["_0.bias"][0])}
