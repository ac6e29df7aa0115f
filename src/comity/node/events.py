"""What wakes a node's loop: news from the host or a peer, a study's answer, a wish, the end."""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from comity.errors import ComityError
from comity.node.comparing import Compared
from comity.node.remote import Batch
from comity.node.station import Station


@final
@dataclass(frozen=True, slots=True)
class Trained:
    """The study's process has answered."""


@final
@dataclass(frozen=True, slots=True)
class Handed:
    """A member handed in statements that the host withholds; they are kept."""


@final
@dataclass(frozen=True, slots=True)
class Wish:
    """Something a person asks of the running node; `fulfil` runs in the loop's thread."""

    fulfil: Callable[[Station], object]
    answer: queue.Queue[object]


@final
@dataclass(frozen=True, slots=True)
class Stopped:
    """Leave the loop."""


Event = Batch | Trained | Handed | Compared | Wish | Stopped | ComityError
