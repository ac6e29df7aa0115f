"""The product with one safeguard taken out, inside the simulation only: each must be caught.

A mutant is a list of functions put in the place of the product's own while a world runs. `FOUND`
holds a seed whose world catches it, and the invariant that did; `test_mutants.py` replays them, and
the nightly run looks for each from the first seed on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from comity.aggregation import plan
from comity.commons import attempts, duties, opening, phases
from comity.commons import rounds as round_fold
from comity.commons.attempts import Confirming, End, Ended, Opened, Revealing
from comity.commons.state import State
from comity.host import service
from comity.log import heads, view
from comity.node import (
    cosigning,
    histories,
    loop,
    moving,
    remembering,
    revealing,
    rounds,
    vectors,
    works,
)
from comity.node.station import Station
from comity.statements.entries import Entry
from comity.storage import promises
from comity.storage.journal import SqliteJournal
from comity.storage.ports import Attempt, Ending
from comity.values import Digest, MemberId, StatementId, raw

Patch = tuple[ModuleType | type, str, Any]


def _low_quorum(count: int, colluders: int) -> int:
    return (count + colluders) // 2


def _few_needed(opened: Opened) -> int:
    return opened.survivors_min


def _to_revealing(attempt: Confirming) -> Revealing:
    return Revealing(
        attempt.closed, attempt.confirms, attempt.disputes, {}, {}, {}, attempt.abandons
    )


class _WordCheck:
    """A check value over words modulo 2**32: carries do not count."""

    def __init__(self, close: Digest, words: int) -> None:
        seed = hashlib.shake_256(raw(close)).digest(4 * words)
        self._factors = np.frombuffer(seed, "<u4")
        self._taken, self._value = 0, 0

    def update(self, lo: Any, hi: Any = None) -> None:
        factors = self._factors[self._taken : self._taken + lo.size]
        self._value += int(np.sum(factors.astype(object) * lo.astype(object)))
        self._taken += lo.size

    def digest(self) -> bytes:
        return (self._value % 2**32).to_bytes(16, "big")


def _words_hold(values: Iterable[bytes], total: bytes) -> bool:
    return sum(int.from_bytes(v, "big") for v in values) % 2**32 == int.from_bytes(total, "big")


_say = SqliteJournal.say
_works_ending = works._ending


def _forgetful_say(self: SqliteJournal, envelope: bytes, **said: Any) -> None:
    """Promises live in memory only: a node that starts again has made none."""
    scope, tag = said.get("scope"), said["tag"]
    if scope is not None:
        with self._database.transaction() as writing:
            sql = "UPDATE said SET tag = tag || '~' || seq WHERE study = ? AND round_no = ?"
            writing.execute(sql + " AND attempt = ? AND tag = ?", (*scope, tag))
    _say(self, envelope, **said)
    if scope is not None:
        _memory(self).setdefault(scope, {})[tag] = said["statement_id"]


def _memory(self: SqliteJournal) -> dict[Attempt, dict[str, StatementId]]:
    memory: dict[Attempt, dict[str, StatementId]] = self.__dict__.setdefault("memory", {})
    return memory


def _ending_without_own(ended: Ended, said: frozenset[str]) -> Ending:
    return _works_ending(ended, said | {"round.abandon"})


def _ending_without_few(ended: Ended, said: frozenset[str]) -> Ending:
    if ended.end is End.SEALED and "round.abandon" in said:
        return Ending.SEALED
    return _works_ending(ended, said)


def _recall_only(station: Station, entry: Entry) -> None:
    statement = entry.statement
    tag = statement.body.tag
    state = station.replica.state
    scope = remembering._scope_said(state, entry) if tag.startswith("round.") else None
    station.journal.recall(statement.id, seq=statement.seq, tag=tag, scope=scope, index=entry.index)


def _half_final(head: Any, lines: Any, keys: Any, quorum: int) -> bool:
    return heads.is_final(head, lines, keys, len(keys) // 2)


def _nothing(*_: object, **__: object) -> None:
    return None


def _nobody(*_: object, **__: object) -> tuple[()]:
    return ()


def _no_one(*_: object, **__: object) -> frozenset[MemberId]:
    return frozenset()


def _always(*_: object, **__: object) -> bool:
    return True


def _signs_on(state: State, host_public: bytes) -> bool:
    """Whoever was host once signs for ever."""
    return any(
        epoch.host in epoch.keys and epoch.keys[epoch.host].keys.host == host_public
        for epoch in (state.epoch, *state.past)
    )


def _everywhere(name: str, function: Callable[..., Any], *modules: ModuleType) -> Sequence[Patch]:
    return [(module, name, function) for module in modules]


MUTANTS: dict[str, Sequence[Patch]] = {
    "t - 1": _everywhere("confirm_quorum", _low_quorum, attempts, opening, plan),
    "no Confirm gate": [
        (phases, "_all_confirmed", _always),
        (phases, "_close_confirming", _to_revealing),
    ],
    "no journal": [
        (SqliteJournal, "say", _forgetful_say),
        (SqliteJournal, "promised", lambda self, scope: dict(_memory(self).get(scope, {}))),
        (promises, "check_promises", _nothing),
    ],
    "mod 2^32 check": [
        (vectors, "CheckValue", _WordCheck),
        (revealing, "holds", _words_hold),
    ],
    "no check of the sum": [(revealing, "_check_sum", _nothing)],
    "no own Abandon in R5": [
        (works, "_ending", _ending_without_own),
        (duties, "_after_end", _nobody),
    ],
    "no c+1 in U": [(works, "_ending", _ending_without_few)],
    "R6 off": [
        *_everywhere("check_work", _nothing, rounds, revealing),
        (revealing, "only_set", _nothing),
    ],
    "amnesia rule off": _everywhere("lost_memory", _recall_only, remembering, rounds),
    "P >= u_min only": [(phases, "members_needed", _few_needed)],
    "nearly equal sets": _everywhere(
        "exposed_by", _no_one, opening, phases, duties, rounds, round_fold
    ),
    "half makes a head final": [
        (heads, "_check_quorum", _nothing),
        *_everywhere("is_final", _half_final, view, service),
    ],
    "old host signs on": [
        (service, "may_sign", _signs_on),
        (service, "halt_if_forgotten", _nothing),
    ],
    "left host cosigned": _everywhere("approved", _nothing, cosigning, moving),
    "tail unchecked": [(histories.History, "follows", _always)],
    "caught host spoken to": [(loop, "caught", _nothing)],
}
"""By name: what replaces what."""

FOUND: dict[str, tuple[int, str]] = {
    "t - 1": (1, "confirm gate"),
    "no Confirm gate": (1, "confirm gate"),
    "no journal": (57, "R1 once"),
    "mod 2^32 check": (35, "true sum"),
    "no check of the sum": (7, "true sum"),
    "no own Abandon in R5": (6, "one work, one set"),
    "no c+1 in U": (22, "one work, one set"),
    "R6 off": (5, "one work, one set"),
    "amnesia rule off": (57, "R1 once"),
    "P >= u_min only": (734, "enough to end"),
    "nearly equal sets": (90, "nearly equal sets"),
    "half makes a head final": (4, "final heads"),
    "old host signs on": (25, "liveness"),
    "left host cosigned": (11, "left host"),
    "tail unchecked": (38, "approved tail"),
    "caught host spoken to": (13, "caught"),
}
"""A seed that catches each, and the invariant that breaks."""


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """The product without this safeguard, until the block ends."""
    before = [
        (place, attribute, getattr(place, attribute)) for place, attribute, _ in MUTANTS[name]
    ]
    for place, attribute, function in MUTANTS[name]:
        setattr(place, attribute, function)
    try:
        yield
    finally:
        for place, attribute, original in before:
            setattr(place, attribute, original)
