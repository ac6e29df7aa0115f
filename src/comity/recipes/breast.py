"""Malignant or benign, from measured cell nuclei: logistic regression.

For the demo without network: its four institutions are simulated. Each site standardises with the
mean and spread of its own training rows, then takes 100 small gradient steps a round.
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

MEASURES = (
    *("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity"),
    *("concave_points", "symmetry", "fractal_dimension"),
)
FEATURES = (
    *(f"mean_{measure}" for measure in MEASURES),
    *(f"{measure}_error" for measure in MEASURES),
    *(f"worst_{measure}" for measure in MEASURES),
)

STUDY = Study(
    name="breast",
    title="Malignant or benign, from measured cell nuclei (simulated institutions)",
    columns=(
        *(Column(name, "real", low=0, high=10_000) for name in FEATURES),
        Column("malignant", "label", categories=("0", "1")),
        Column("part", "category", categories=("train", "test")),
    ),
    tensors=(Tensor("slopes", (30,), range=1.0), Tensor("intercept", (1,), range=1.0)),
    rounds=15,
    rule=FedAdam(server_lr=0.01),
    weights="hidden",
    weight_max=256,
    seed=42,
)

LEARNING_RATE = 0.01
BATCH_SIZE = 4
STEPS_A_ROUND = 100


def initial(seed: int) -> Tensors:
    """Small random weights, the same for everybody."""
    return split(first_weights(np.random.default_rng(seed), len(FEATURES)))


def train(weights: Tensors, table: Table, rng: Generator) -> tuple[Tensors, int]:
    """100 steps on this site's training rows."""
    rows = table.only("part", "train")
    task = Logistic(features(rows, table), rows["malignant"])
    steps = batches(rng, len(rows), BATCH_SIZE, STEPS_A_ROUND)
    return split(sgd(joined(weights), task.gradient, steps, lr=LEARNING_RATE)), len(rows)


def evaluate(weights: Tensors, table: Table) -> dict[str, float]:
    """How good the model is on this site's test rows."""
    rows = table.only("part", "test")
    labels = rows["malignant"]
    chances = Logistic(features(rows, table), labels).chances(joined(weights))
    return {
        "accuracy": accuracy(labels, chances),
        "auc": auc(labels, chances),
        "log_loss": log_loss(labels, chances),
    }


def features(rows: Table, table: Table) -> Float64Array:
    """30 columns, standardised."""
    training = table.only("part", "train")
    return standardised(
        np.column_stack([rows[name] for name in FEATURES]),
        np.column_stack([training[name] for name in FEATURES]),
    )


def joined(weights: Tensors) -> Float64Array:
    """The model as one vector: slopes, then intercept."""
    return np.concatenate((weights["slopes"], weights["intercept"])).astype(np.float64)


def split(vector: Float64Array) -> Tensors:
    """The vector as the model's two tensors."""
    slopes, intercept = np.split(vector.astype(np.float32), [len(FEATURES)])
    return {"slopes": slopes, "intercept": intercept}
