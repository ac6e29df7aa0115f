"""This site's own row of an evaluation: what it puts into the sum, kept in the node's journal.

It never leaves the site; the pooled row is what everybody sees.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from comity.commons.state import Study
from comity.learning.given import from_sum
from comity.node.models import layout_of
from comity.node.station import Station
from comity.values import StatementId


def note_own_row(station: Station, study: Study, vector: Path) -> None:
    """Keep this site's own metrics, as they go into the sum.

    Args:
        vector: the flat float32 file that the study's process wrote, checked before.
    """
    row = from_sum(layout_of(station, study), np.fromfile(vector, "<f4"))
    station.journal.put(_place(study.id), msgspec.msgpack.encode(row))


def own_row(station: Station, study: Study) -> dict[str, float]:
    """This site's own metrics; empty before it has any."""
    kept = station.journal.get(_place(study.id))
    return msgspec.msgpack.decode(kept, type=dict[str, float]) if kept else {}


def _place(study: StatementId) -> str:
    return f"own-row/{study}"
