"""Failures that the simulation found, made shorter: each must stay as it is now.

A history here is an operation list with its setup, as `histories.shorter` printed it, not a seed:
seeds change their meaning whenever a chance in `histories.py` does.
"""

from __future__ import annotations

from tests.sim.operations import Op
from tests.sim.themes import History
from tests.sim.world import Setup

REGRESSIONS: dict[str, History] = {
    # The disk failed after the commit of entries had persisted. The node stored them a second time,
    # and its loop ended with an AssertionError instead of going on.
    "entries that a failed commit has stored": History(
        0,
        Setup(members=4),
        (
            Op("turn"),
            Op("pass", number=11),
            Op("disk", 1, 0, "fail committed"),
            Op("step", 1),
            Op("step", 1),
            Op("step", 1),
        ),
        live=True,
    ),
}
"""By what went wrong."""
