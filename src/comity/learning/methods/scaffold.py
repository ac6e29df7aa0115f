"""SCAFFOLD: each member corrects its local steps by how its gradients differ from everybody's.

A member keeps its control variate c_i at home, about its own mean gradient; the commons has c,
their mean, as state of the update rule beside the model. Each local gradient gets c - c_i added.
After K steps of rate lr, c_i becomes c_i - c + (start - end) / (K lr): option II of the source.

One thing differs. The source sends c_i's change and moves c by it; here a member sends c_i itself,
as further segments of its masked vector, and c is their weighted mean. While everybody takes part
it is the same c; with absences no stale c_i counts, and a member that lost its own does no lasting
harm.

Source: Karimireddy et al., "SCAFFOLD: stochastic controlled averaging for federated learning"
(ICML 2020). Identities: equal control variates are FedAvg; so is the first round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np

from comity.errors import StudyFault, StudyFaultKind
from comity.learning.steps import TRILLION, Float32Array, whole

STEPS_MAX: Final = 10**9


@final
@dataclass(frozen=True, slots=True)
class Scaffold:
    """SCAFFOLD with a fixed number of local steps.

    Args:
        steps: K, local gradient steps a round, as the study's `train` takes them; from 1.
        lr: their learning rate, above 0, at most 1000, in whole trillionths.
        range: the largest entry of a control variate; larger ones are clipped to it.
    """

    steps: int
    lr: float
    range: float = 1.0

    def __post_init__(self) -> None:
        counted = isinstance(self.steps, int) and not isinstance(self.steps, bool)
        if not counted or not 1 <= self.steps <= STEPS_MAX:
            _refuse(f"Scaffold: steps is a whole number from 1 to {STEPS_MAX}")
        if not 0 < self.lr <= 1_000 or whole(self.lr, TRILLION) == 0:
            _refuse("Scaffold: lr is from a trillionth to 1000")
        if not 2.0**-60 <= self.range <= 2.0**60:
            _refuse("Scaffold: range is a number from 2**-60 to 2**60")


def next_control(
    method: Scaffold, own: Float32Array, commons: Float32Array, update: Float32Array
) -> Float32Array:
    """A member's control variate after a round, clipped to the method's range.

    Args:
        own, commons: c_i and c before the round, flat, float32, shape (words of the model,).
        update: weights after minus before, of the same shape. All finite.
    """
    after = update.astype(np.float64)
    after /= -(method.steps * method.lr)
    after += own
    after -= commons
    return np.clip(after, -method.range, method.range).astype(np.float32)


def check_control(control: Float32Array) -> None:
    """Raises StudyFault(NOT_FINITE) for a control variate with NaN or infinity."""
    if not np.isfinite(control).all():
        raise StudyFault(
            StudyFaultKind.NOT_FINITE,
            "a control variate of SCAFFOLD is NaN or infinite: a smaller learning rate, or another"
            " first model, is needed",
        )


def _refuse(message: str) -> None:
    raise StudyFault(StudyFaultKind.NOT_LOADABLE, f"study file: {message}")
