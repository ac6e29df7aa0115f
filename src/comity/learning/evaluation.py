"""How good predictions are: AUC, log loss, accuracy. NumPy only; nothing is clipped in silence.

Accuracy alone misleads where one outcome is rare, so studies report all three
(tables.md 1: always guessing each centre's majority is right in .721 of the heart test rows).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from comity.learning.steps import Float64Array

CERTAIN: Final = 1e-15


def accuracy(labels: Float64Array, chances: Float64Array) -> float:
    """Share of rows on the right side of 0.5; a chance of exactly 0.5 predicts 0.

    Args:
        labels: 0 or 1, shape (rows,).
        chances: predicted chance of 1, shape (rows,).
    Returns:
        From 0 to 1; NaN without rows.
    """
    if len(labels) == 0:
        return math.nan
    return float(np.mean((chances > 0.5) == (labels > 0.5)))


def log_loss(labels: Float64Array, chances: Float64Array) -> float:
    """Mean of -log(chance given to what happened), in nats; chances are held off 0 and 1 by 1e-15.

    Returns:
        0 is perfect, log 2 is a coin; NaN without rows.
    """
    if len(labels) == 0:
        return math.nan
    held = np.clip(chances, CERTAIN, 1 - CERTAIN)
    return float(-np.mean(np.where(labels > 0.5, np.log(held), np.log1p(-held))))


def auc(labels: Float64Array, scores: Float64Array) -> float:
    """Chance that a row of label 1 scores above a row of label 0; a tie counts one half.

    Returns:
        From 0 to 1; NaN when only one label occurs.
    """
    positives = int(np.count_nonzero(labels > 0.5))
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        return math.nan
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[place]  # equal scores share their middle rank, from 1
    above = float(ranks[labels > 0.5].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives)
