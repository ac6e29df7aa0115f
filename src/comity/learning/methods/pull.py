"""What a method adds to every gradient of a local step. A study's `train` may take it as `pull`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from comity.learning.steps import Float32Array


@final
@dataclass(frozen=True, slots=True)
class Pull:
    """Add `proximal * (now - start) + offset` to the gradient of each local step.

    `start` is where the round began. With plain averaging both are zero.

    Args:
        proximal: mu of `FedProx`, from 0.
        offset: for every tensor of the study, float32, of its shape: c - c_i of `Scaffold`.
    """

    proximal: float
    offset: dict[str, Float32Array]


def no_offset(shapes: dict[str, tuple[int, ...]]) -> dict[str, Float32Array]:
    """Zeros for every tensor."""
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
