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
    # The old host had been told who hosts now. A member that had not approved read the new log
    # there, sent its cosignature to the old host, was refused, and took that for a lie.
    "a member that reads of the new host at the old one": History(
        0,
        Setup(members=5),
        (Op("turn", number=1), Op("take over", 1), Op("turn", number=4), Op("turn", number=3)),
        live=True,
    ),
    # The same, but the old host had signed two entries of that member alone, and dropped them.
    "a member whose entries the old host drops for the new log": History(
        0,
        Setup(members=4),
        (
            Op("turn", number=1),
            Op("die", 3),
            Op("turn", number=3),
            Op("step", 1),
            Op("take over", 1),
        ),
        live=True,
    ),
    # The member that had registered the study left before anybody had trained: its first model was
    # with it and the old host only.
    "a study whose author leaves before the host changes": History(
        0,
        Setup(members=5),
        (
            Op("turn", number=3),
            Op("leave", 4),
            Op("step"),
            Op("turn", number=1),
            Op("take over", 3),
        ),
        live=True,
    ),
}
"""By what went wrong."""
