"""What the software promises about speed and size, and how big what is measured is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

ROUND_S_MAX: Final = 0.30
FLOORS_MAX: Final = 2.5
HOST_VECTORS_MAX: Final = 1.5
HOST_VECTORS_APART_MAX: Final = 0.25
"""How far the host's peaks with few and many members may lie apart to count as the same."""
NODE_VECTORS_MAX: Final = 2.5
REPLAY_S_MAX: Final = 15.0
TAKEOVER_S_MAX: Final = 10.0
JOIN_S_MAX: Final = 30.0
SIMULATED_PER_S_MIN: Final = 20.0
DEARER_MAX: Final = 1.5
"""How much dearer an entry may be after the replay than during it, to count as incremental."""
SIMULATED_MAX: Final = 1.05
GOVERNED_PER_S_MIN: Final = 20_000.0
TORCH_MAX: Final = 1.10
"""Of a round's time with plain arrays, what one with a PyTorch model may take."""
QUIET_LOAD: Final = 0.5
STORM_EVERY_S: Final = 2.0


@final
@dataclass(frozen=True, slots=True)
class Sizes:
    """What is measured. Rounds count those after the first; floor rounds come before and after."""

    members: int
    many: int
    small: int
    small_rounds: int
    big: int
    big_rounds: int
    many_rounds: int
    floor_rounds: int
    statements: int
    storm_members: int
    storm_rounds: int
    simulated: int
    partitions: int
    partition_rounds: int
    governed: int
    governors: int


FULL: Final = Sizes(
    5, 20, 100_000, 12, 10_000_000, 8, 2, 5, 70_000, 4, 30, 40, 100, 20, 100_000, 200
)
QUICK: Final = Sizes(3, 4, 1_000, 3, 20_000, 2, 1, 2, 300, 3, 3, 2, 4, 2, 600, 9)
