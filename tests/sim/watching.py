"""What everybody has said, as who listens to the whole network would have it.

Everything that leaves a node is heard, arrived or not: a lying host may have kept it. Bulk bytes
too. From it `invariants.py` judges what honest members have done.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from comity.errors import ComityError
from comity.statements.entries import Statement
from comity.statements.rounds import (
    RoundAbandon,
    RoundClose,
    RoundConfirm,
    RoundOpen,
    RoundRecover,
    RoundReveal,
    RoundStart,
)
from comity.statements.wire import read
from comity.storage.ports import Attempt
from comity.values import MemberId, StatementId
from tests.sim.network import Asked


class Place(NamedTuple):
    """Where a statement of a round stands: the Open it names (None in an Abandon), its numbers."""

    opened: StatementId | None
    scope: Attempt


@lru_cache(maxsize=20_000)
def statement_of(envelope: bytes) -> Statement:
    """The statement in an envelope; the same bytes are read once."""
    return read(envelope).statement


@dataclass
class Watch:
    """statements: all heard, by id. by_kind: ids by author, kind and place."""

    statements: dict[StatementId, Statement] = field(default_factory=dict)
    envelopes: dict[StatementId, bytes] = field(default_factory=dict)
    opens: dict[StatementId, Statement] = field(default_factory=dict)
    starts: dict[StatementId, list[RoundStart]] = field(default_factory=lambda: defaultdict(list))
    closes: dict[StatementId, RoundClose] = field(default_factory=dict)
    said: dict[tuple[MemberId, str, Attempt], list[Statement]] = field(
        default_factory=lambda: defaultdict(list)
    )
    bulk: dict[str, bytearray] = field(default_factory=dict)
    confirmed: dict[StatementId, set[MemberId]] = field(default_factory=lambda: defaultdict(set))
    reveals: dict[StatementId, dict[MemberId, RoundReveal]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    recovers: dict[StatementId, list[tuple[MemberId, RoundRecover]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    fresh: list[Statement] = field(default_factory=list)

    def hear(self, asked: Asked) -> None:
        """A request has left a node."""
        if asked.method == "PUT":
            name, offset = asked.path.rpartition("/")[2], int(asked.query["offset"])
            held = self.bulk.setdefault(name, bytearray())
            held[offset : offset + len(asked.body)] = asked.body
        elif asked.path == "/statements":
            for envelope in asked.body.split(b"\n"):
                self.take(envelope)

    def take(self, envelope: bytes) -> None:
        """A statement was heard."""
        try:
            said = statement_of(envelope)
        except ComityError:
            return
        if said.id in self.statements:
            return
        self.statements[said.id], self.envelopes[said.id] = said, envelope
        body = said.body
        if isinstance(body, RoundOpen):
            self.opens[said.id] = said
        elif isinstance(body, RoundStart):
            self.starts[body.opened].append(body)
        elif isinstance(body, RoundClose):
            self.closes[said.id] = body
        elif isinstance(body, RoundConfirm):
            self.confirmed[body.closed].add(said.author)
        elif isinstance(body, RoundReveal):
            self.reveals[body.opened][said.author] = body
        elif isinstance(body, RoundRecover):
            self.recovers[body.opened].append((said.author, body))
        place = self.place_of(said)
        if place is not None:
            self.said[said.author, body.tag, place.scope].append(said)
        self.fresh.append(said)

    def by_author(self, author: MemberId) -> Iterator[Statement]:
        """All that one member has said."""
        return (said for said in self.statements.values() if said.author == author)

    def place_of(self, said: Statement) -> Place | None:
        """Of a statement of a round; None of others, and of an attempt nobody has opened."""
        body = said.body
        if isinstance(body, RoundOpen | RoundAbandon):
            opened = said.id if isinstance(body, RoundOpen) else None
            return Place(opened, Attempt(body.study, body.round_no, body.attempt))
        opened_id = getattr(body, "opened", None)
        opening = self.opens.get(opened_id) if opened_id is not None else None
        if opening is None:
            return None
        assert isinstance(opening.body, RoundOpen)
        about = opening.body
        return Place(opened_id, Attempt(about.study, about.round_no, about.attempt))
