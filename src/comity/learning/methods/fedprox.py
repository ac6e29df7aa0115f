"""FedProx: each local step is pulled back to where the round began.

It keeps members whose data differ much from running apart. Nothing crosses but the update.
Source: Li et al., "Federated optimization in heterogeneous networks" (MLSys 2020). Identity: mu = 0
is FedAvg.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from comity.errors import StudyFault, StudyFaultKind
from comity.learning.steps import MILLION, whole

MU_MAX: Final = 1_000


@final
@dataclass(frozen=True, slots=True)
class FedProx:
    """Adds mu / 2 * |weights - start|^2 to the local loss.

    Args:
        mu: from 0 to 1000, in whole millionths; 0 is plain averaging.
    """

    mu: float

    def __post_init__(self) -> None:
        if not 0 <= self.mu <= MU_MAX:
            raise StudyFault(
                StudyFaultKind.NOT_LOADABLE, f"study file: mu is a number from 0 to {MU_MAX}"
            )
        whole(self.mu, MILLION)
