"""What wakes a node's loop: news from the host or a peer, a study's answer, a wish, the end."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from comity.errors import ComityError, Unavailable
from comity.node.comparing import Compared
from comity.node.remote import Batch, Remote
from comity.node.station import Station

LOG = logging.getLogger(__name__)


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


@final
@dataclass(frozen=True, slots=True)
class Heard:
    """What a host answered to the long-poll; `remote`: the connection it came over."""

    remote: Remote
    batch: Batch


def stopped() -> Unavailable:
    """Why a wish is not fulfilled when the loop has ended."""
    return Unavailable("the node has stopped; start it, and ask again")


def refuse_wishes(events: queue.Queue[Event]) -> None:
    """Nobody waits for a loop that has ended."""
    while not events.empty():
        event = events.get()
        if isinstance(event, Wish):
            event.answer.put(stopped())


def disk_fault(error: OSError | Unavailable) -> Unavailable:
    """What stands in the way at this node's own disk, in words."""
    if isinstance(error, Unavailable):
        return error
    place = error.filename or "a file of this node"
    return Unavailable(f"cannot use {place} ({error.strerror}); free space, then it goes on")


Event = Heard | Trained | Handed | Compared | Wish | Stopped | ComityError


def grant(wish: Wish, station: Station) -> None:
    """Answer a wish, with what it gives or with its error.

    What it says is delivered with the rest: it is kept, so a host that is away is no error.
    """
    try:
        wish.answer.put(wish.fulfil(station))
    except ComityError as error:
        wish.answer.put(error)
    except Exception:
        LOG.exception("wish failed")
        wish.answer.put(Unavailable("the node failed at this; what it logged says why"))
