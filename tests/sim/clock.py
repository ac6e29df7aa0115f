"""One time for the whole world, and how far each party's own clock is off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

FIRST_S = 1_790_000_000


@dataclass
class Clock:
    """now_s: true time, POSIX seconds. skew_s: what a party's clock shows beyond it."""

    now_s: int = FIRST_S
    skew_s: dict[str, int] = field(default_factory=dict)

    def of(self, party: str) -> Callable[[], int]:
        """The clock of one party."""
        return lambda: self.now_s + self.skew_s.get(party, 0)
