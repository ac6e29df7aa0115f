"""What the log says, for people: pages of it, one entry, its proof, what became of a statement.

Texts of other members come out as they were written: whoever prints them makes them harmless first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

import msgspec
from msgspec import Struct

from comity.commons.fold import apply, found
from comity.commons.state import Outcome, Void
from comity.errors import Refused, Rule
from comity.log.heads import full_note, parse_signed_head
from comity.log.proofs import TlogProof
from comity.node.station import Station
from comity.statements.entries import Entry
from comity.statements.wire import read
from comity.values import MemberId, StatementId

ENTRIES_MAX: Final = 1_000
"""Entries on one page of the log."""


@final
class LogLine(Struct, frozen=True):
    """One entry of the log. void: by which rule it has no effect; "" when it took effect."""

    index: int
    tag: str
    author: MemberId
    time_s: int
    id: StatementId
    void: str


@final
class LogPage(Struct, frozen=True, tag="log-page"):
    """Entries start, start + 1, ... of a log of `size`."""

    start: int
    size: int
    lines: tuple[LogLine, ...]


@final
class EntryShown(Struct, frozen=True, tag="entry"):
    """One entry whole. payload: the in-toto statement, JSON text. envelope: as in the log."""

    line: LogLine
    payload: str
    envelope: str


@final
class EntryProof(Struct, frozen=True, tag="entry-proof"):
    """That an entry is in the log: c2sp.org/tlog-proof@v1, checked by anyone with the keys."""

    index: int
    size: int
    text: str


@final
class Logged(Struct, frozen=True, tag="logged"):
    """What the log made of a statement. index: -1 while it is not in. void: rule, or ""."""

    index: int
    void: str


def log_entries(station: Station, start: int = 0, count: int = 100) -> LogPage:
    """A page of the log, with what became of each entry.

    Args:
        start: index of the first; a negative one counts from the end. count: at most ENTRIES_MAX.
    """
    size = station.replica.state.size
    first = max(0, min(start if start >= 0 else size + start, size))
    stop = min(first + max(0, min(count, ENTRIES_MAX)), size)
    lines = [_line(entry, outcome) for entry, outcome in _replayed(station, first, stop)]
    return LogPage(first, size, tuple(lines))


def show_entry(station: Station, index: int) -> EntryShown:
    """One entry whole. Raises Refused(NO_SUCH_THING): beyond the end of this copy."""
    _check_index(station, index, station.replica.state.size)
    entry, outcome = next(_replayed(station, index, index + 1))
    payload = msgspec.json.decode(entry.leaf, type=_Payload).payload
    return EntryShown(_line(entry, outcome), payload.decode(), entry.leaf.decode())


def prove_entry(station: Station, index: int) -> EntryProof:
    """Prove to anyone that an entry is in the log, under the newest final head.

    Raises:
        Refused(NO_SUCH_THING): not below a final head, yet or ever.
    """
    size = station.replica.final_size
    _check_index(station, index, size)
    final = station.replica.final_head()
    assert final is not None
    signed, cosignatures = final
    path = station.replica.view.tree.inclusion(index, size)
    head = parse_signed_head(full_note(signed, cosignatures))
    return EntryProof(index, size, TlogProof(index, path, head).text().decode())


def logged(station: Station, statement: StatementId, start: int = 0) -> Logged:
    """What the log made of a statement; looks at entries from `start` on."""
    size = station.replica.state.size
    for index, envelope in enumerate(station.replica.entries(start, size), start):
        if read(envelope).statement.id == statement:
            _, outcome = next(_replayed(station, index, index + 1))
            return Logged(index, _void(outcome))
    return Logged(-1, "")


@final
class _Payload(Struct, frozen=True):
    payload: bytes


def _replayed(station: Station, start: int, stop: int) -> Iterator[tuple[Entry, Outcome]]:
    """Entries with their outcomes, by folding the verified copy again from its start."""
    state = found(station.replica.state.founding)
    for index, envelope in enumerate(station.replica.entries(0, stop)):
        entry = Entry(index, envelope, read(envelope).statement)
        state, outcome = apply(state, entry)
        if index >= start:
            yield entry, outcome


def _line(entry: Entry, outcome: Outcome) -> LogLine:
    said = entry.statement
    return LogLine(entry.index, said.body.tag, said.author, said.time_s, said.id, _void(outcome))


def _void(outcome: Outcome) -> str:
    return outcome.rule.value if isinstance(outcome, Void) else ""


def _check_index(station: Station, index: int, size: int) -> None:
    if not 0 <= index < size:
        raise Refused(
            Rule.NO_SUCH_THING,
            f"expected the index of an entry, 0 to {size - 1}, not {index}"
            if size
            else "there is no such entry here yet: run the node until it has the log",
        )
