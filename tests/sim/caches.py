"""What the simulation computes once for all nodes of a process: pure functions of bytes.

Ten parties in one process check the same signatures and read the same bytes. Each is still checked,
the first time, by the product's own function; what raised is never kept. Nothing that depends on a
party, on order or on time is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import Any

from comity.aggregation import linear_check, sharing
from comity.commons import fold
from comity.host import service
from comity.log import notes
from comity.node import remembering, replica, station
from comity.statements import keysets, readers, wire

_KEPT = 65_536

_check_signature = lru_cache(_KEPT)(keysets.check_signature)
_check_possession = lru_cache(_KEPT)(keysets.check_possession)
_read = lru_cache(_KEPT)(wire.read)
_linear_self_check = lru_cache(1)(linear_check.self_check)
_sharing_self_check = lru_cache(1)(sharing.self_check)

_PLACES: tuple[tuple[ModuleType, str, Callable[..., Any]], ...] = (
    *((module, "check_signature", _check_signature) for module in (keysets, notes, readers)),
    *((module, "check_possession", _check_possession) for module in (fold,)),
    *((module, "read", _read) for module in (fold, service, remembering, replica, station)),
    (linear_check, "self_check", _linear_self_check),
    (sharing, "self_check", _sharing_self_check),
)


@contextmanager
def shared() -> Iterator[None]:
    """Compute once, until the block ends."""
    before = [(module, name, getattr(module, name)) for module, name, _ in _PLACES]
    for module, name, kept in _PLACES:
        setattr(module, name, kept)
    try:
        yield
    finally:
        for module, name, original in before:
            setattr(module, name, original)
