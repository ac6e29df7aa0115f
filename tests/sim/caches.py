"""What the simulation computes once for all nodes of a process: pure functions of bytes.

Ten parties in one process check the same signatures, read the same bytes and fold the same entries.
Each is still checked, the first time, by the product's own function; what raised is never kept.
Nothing that depends on a party, on order or on time is here. A signature that a party has just made
is known to fit, so only those that come from elsewhere, or were changed, are computed again.

Folding is shared within one world, and by identity: whoever has the very state object that somebody
has folded an entry onto gets that result. So parties that took other entries share nothing.

One world in `ALONE_EVERY` shares neither: there every signature is checked once, and "same state"
compares what each party folded by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comity.aggregation import linear_check, sharing
from comity.commons import fold
from comity.commons.charter import Charter, charter_bytes
from comity.commons.state import Outcome, State
from comity.host import replay, service, tails
from comity.log import heads, notes
from comity.log.heads import SignedHead, TreeHead
from comity.log.merkle import Tree
from comity.node import histories, remembering, replica, station
from comity.statements import keysets, readers, wire
from comity.statements.entries import Entry
from tests.sim import watching

ALONE_EVERY = 11
"""A prime, so that every theme of `histories.py` has such worlds."""

_KEPT = 65_536

_verify = keysets.check_signature
_fitting: set[tuple[bytes, bytes, bytes]] = set()

_check_possession = lru_cache(_KEPT)(keysets.check_possession)
_read = lru_cache(_KEPT)(wire.read)
_linear_self_check = lru_cache(1)(linear_check.self_check)
_sharing_self_check = lru_cache(1)(sharing.self_check)


def _check_signature(public_raw: bytes, signature: bytes, message: bytes) -> None:
    """As `keysets.check_signature`."""
    if (public_raw, signature, message) not in _fitting:
        _verify(public_raw, signature, message)
        _fits(public_raw, signature, message)


def _fits(public_raw: bytes, signature: bytes, message: bytes) -> None:
    if len(_fitting) >= _KEPT:
        _fitting.clear()
    _fitting.add((public_raw, signature, message))


@lru_cache(_KEPT)
def _public_of(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes_raw()


def _sign(draft: wire.Draft, statement_key: Ed25519PrivateKey) -> bytes:
    """As `wire.sign`."""
    made = _read(envelope := wire.sign(draft, statement_key))
    _fits(_public_of(statement_key), made.signature, made.signed)
    return envelope


def _sign_head(head: TreeHead, host_key: Ed25519PrivateKey) -> SignedHead:
    """As `heads.sign_head`."""
    signed = heads.sign_head(head, host_key)
    _fits(_public_of(host_key), signed.lines[0].signature, head.text())
    return signed


class _Folded:
    """The folds of one world. A state is kept with what came of it, so its identity stays its own.

    A tree is that of the log its state is the meaning of, so it is not asked about.
    """

    def __init__(self) -> None:
        self._first: dict[bytes, State] = {}
        self._admitted: dict[tuple[int, bytes], tuple[State, Entry]] = {}
        self._applied: dict[tuple[int, bytes], tuple[State, State, Outcome]] = {}

    def found(self, charter: Charter) -> State:
        """As `fold.found`."""
        return self._first.setdefault(charter_bytes(charter), fold.found(charter))

    def admit(self, state: State, tree: Tree, envelope: bytes) -> Entry:
        """As `fold.admit`."""
        kept = self._admitted.get((id(state), envelope))
        if kept is None:
            kept = (state, fold.admit(state, tree, envelope))
            self._admitted[id(state), envelope] = kept
        return kept[1]

    def apply(self, state: State, entry: Entry) -> tuple[State, Outcome]:
        """As `fold.apply`."""
        kept = self._applied.get((id(state), entry.leaf))
        if kept is None or entry.index != state.size:
            kept = (state, *fold.apply(state, entry))
            self._applied[id(state), entry.leaf] = kept
        return kept[1], kept[2]


Place = tuple[ModuleType, str, Callable[..., Any]]

_ALWAYS: tuple[Place, ...] = (
    *((module, "check_signature", _check_signature) for module in (keysets, notes, readers)),
    *((module, "read", _read) for module in (fold, service, remembering, replica, station)),
    (watching, "read", _read),
    (fold, "check_possession", _check_possession),
    (linear_check, "self_check", _linear_self_check),
    (sharing, "self_check", _sharing_self_check),
)


def _together() -> Iterator[Place]:
    """What is shared in a world whose parties do not fold alone."""
    folded = _Folded()
    yield station, "sign", _sign
    yield service, "sign_head", _sign_head
    for module in (replay, service, tails, histories, replica):
        for name in ("found", "admit", "apply"):
            if hasattr(module, name):
                yield module, name, getattr(folded, name)


@contextmanager
def shared(*, alone: bool = False) -> Iterator[None]:
    """Compute once, until the block ends. alone: without what was made here, and without folds."""
    if alone:
        _fitting.clear()
    places = [*_ALWAYS, *(() if alone else _together())]
    before = [(module, name, getattr(module, name)) for module, name, _ in places]
    for module, name, kept in places:
        setattr(module, name, kept)
    try:
        yield
    finally:
        for module, name, original in before:
            setattr(module, name, original)
