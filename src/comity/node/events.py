"""What wakes a node's loop: news from the host, a study's answer, a person's wish, the end."""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from comity.errors import ComityError
from comity.node.remote import Batch, Remote
from comity.node.station import Station


@final
@dataclass(frozen=True, slots=True)
class Trained:
    """The study's process has answered."""


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


@final
@dataclass(frozen=True, slots=True)
class Heard:
    """What a host answered to the long-poll; `remote`: the connection it came over."""

    remote: Remote
    batch: Batch


Event = Heard | Trained | Wish | Stopped | ComityError
