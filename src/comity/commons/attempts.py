"""One attempt of a round, as types: what the log has said so far, one type per phase.

    Joining ─► Readying ─► Resolving ─► Starting ─► Masking ─► Closing ─► Confirming ─► Revealing
       │          │            │           │           └────► Halted ◄────────┘             │
       ▼          ▼            ▼           ▼                     ▼                          ▼
    Ended: unstarted, or by a quorum of Abandons sealed or burned, or by one of Accepts accepted

A phase holds exactly what its protocol step may use; what is not known yet has no field. The types
know no rule: `rounds.py` moves from one to the next. Seats are places in the roster, from 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import final

from comity.statements.rounds import JoinedData, RoundRecover, RoundReveal
from comity.statements.studies import Deadlines
from comity.values import Digest, MemberId, Seat, StatementId, confirm_quorum


@final
@dataclass(frozen=True, slots=True)
class Opened:
    """What round.open fixed. id: H_open. sealing_keys: 1216 bytes each, in seat order.

    time_s: the `time` of round.open; deadlines count from it. index: of its entry.
    """

    id: StatementId
    index: int
    time_s: int
    host: MemberId
    study: StatementId
    round_no: int
    attempt: int
    roster: tuple[MemberId, ...]
    sealing_keys: tuple[bytes, ...]
    colluders: int
    survivors_min: int
    degree: int
    words: int
    layout: Digest
    model: Digest
    moments: Digest | None
    work: Digest
    deadlines: Deadlines
    weights: str
    weight_max: int

    @property
    def count(self) -> int:
        """n, the number of members in the roster."""
        return len(self.roster)

    @property
    def quorum(self) -> int:
        """t = floor((n + c) / 2) + 1."""
        return confirm_quorum(len(self.roster), self.colluders)

    def seat(self, member: MemberId) -> Seat | None:
        """The member's place, from 1; None when it is not in the roster."""
        return Seat(self.roster.index(member) + 1) if member in self.roster else None

    def member(self, seat: Seat) -> MemberId:
        """Who sits there."""
        return self.roster[seat - 1]


@final
@dataclass(frozen=True, slots=True)
class JoinFact:
    """A valid round.join. id: hash(Join)."""

    id: StatementId
    seat: Seat
    ephemeral_key: bytes
    self_commit: Digest
    rows_root: Digest
    blob: Digest
    datasets: tuple[JoinedData, ...]
    weight: int | None


@final
@dataclass(frozen=True, slots=True)
class CommitFact:
    """A valid round.commit. id: hash(Commit); vector: root(y)."""

    id: StatementId
    seat: Seat
    vector: Digest


@final
@dataclass(frozen=True, slots=True)
class AbandonFact:
    """A round.abandon: whether its author had revealed, and the Close it had confirmed."""

    released: bool
    closed: StatementId | None


@final
@dataclass(frozen=True, slots=True)
class Started:
    """What is fixed once round.start is in. dropped from the round before: joins - participants.

    start: hash(Start). binding: ctx. plain: plaintexts of resolved envelopes, (dealer, holder).
    """

    opened: Opened
    joins: Mapping[Seat, JoinFact]
    participants: frozenset[Seat]
    start: StatementId
    binding: Digest
    plain: Mapping[tuple[Seat, Seat], bytes]


@final
@dataclass(frozen=True, slots=True)
class Closed:
    """What is fixed once round.close is in. id: H_close; sum: root(S)."""

    started: Started
    id: StatementId
    index: int
    host: MemberId
    sum: Digest
    commits: Mapping[Seat, CommitFact]
    survivors: frozenset[Seat]

    @property
    def dropped(self) -> frozenset[Seat]:
        """P - U: computed, so that nobody can be named both alive and dropped."""
        return self.started.participants - self.survivors


@final
@dataclass(frozen=True, slots=True)
class Joining:
    """Opened; roster members join."""

    opened: Opened
    joins: Mapping[Seat, JoinFact]
    abandons: Mapping[Seat, AbandonFact]


@final
@dataclass(frozen=True, slots=True)
class Readying:
    """Joins are closed. readies: seat -> dealers it complains of."""

    opened: Opened
    joins: Mapping[Seat, JoinFact]
    readies: Mapping[Seat, frozenset[Seat]]
    abandons: Mapping[Seat, AbandonFact]


@final
@dataclass(frozen=True, slots=True)
class Resolving:
    """Readying is closed and a complaint is open. plain: (dealer, holder) -> plaintext."""

    opened: Opened
    joins: Mapping[Seat, JoinFact]
    readies: Mapping[Seat, frozenset[Seat]]
    plain: Mapping[tuple[Seat, Seat], bytes]
    abandons: Mapping[Seat, AbandonFact]


@final
@dataclass(frozen=True, slots=True)
class Starting:
    """Resolving is closed; the participants are derived and round.start is due."""

    opened: Opened
    joins: Mapping[Seat, JoinFact]
    participants: frozenset[Seat]
    plain: Mapping[tuple[Seat, Seat], bytes]
    abandons: Mapping[Seat, AbandonFact]


@final
@dataclass(frozen=True, slots=True)
class Masking:
    """Members train, mask and commit."""

    started: Started
    commits: Mapping[Seat, CommitFact]
    abandons: Mapping[Seat, AbandonFact]


@final
@dataclass(frozen=True, slots=True)
class Closing:
    """Committing is closed; the survivors are those in `commits`, and round.close is due."""

    started: Started
    commits: Mapping[Seat, CommitFact]
    abandons: Mapping[Seat, AbandonFact]


@final
@dataclass(frozen=True, slots=True)
class Confirming:
    """confirms: seat -> its check value (16 bytes), or None of a member that did not survive."""

    closed: Closed
    confirms: Mapping[Seat, bytes | None]
    disputes: tuple[tuple[Seat, frozenset[Seat]], ...]
    abandons: Mapping[Seat, AbandonFact]


@final
@dataclass(frozen=True, slots=True)
class Revealing:
    """Confirming is closed with a quorum. Disputes in log order: (author, seats it names).

    accepts: seat -> (total, model, moments).
    """

    closed: Closed
    confirms: Mapping[Seat, bytes | None]
    disputes: tuple[tuple[Seat, frozenset[Seat]], ...]
    reveals: Mapping[Seat, RoundReveal]
    recovers: Mapping[Seat, RoundRecover]
    accepts: Mapping[Seat, tuple[Digest, Digest, Digest | None]]
    abandons: Mapping[Seat, AbandonFact]


@final
@dataclass(frozen=True, slots=True)
class Halted:
    """No result can come any more, so every member abandons.

    Either committing closed with fewer than u_min Commits (closed is None), or confirming closed
    with fewer than t Confirms.
    """

    started: Started
    closed: Closed | None
    confirms: Mapping[Seat, bytes | None]
    disputes: tuple[tuple[Seat, frozenset[Seat]], ...]
    abandons: Mapping[Seat, AbandonFact]


class End(Enum):
    """How an attempt ended (aggregation.md 5.5, 5.9)."""

    UNSTARTED = "unstarted"
    SEALED = "sealed"
    BURNED = "burned"
    ACCEPTED = "accepted"


@final
@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that is over. A burned one may still become sealed.

    sets: every U that a Close named in the Accepts or Abandons has (at most one is possible with
    honest members; empty when nothing was closed). total, model, moments: of an accepted one.
    confirmed, revealed: who had said so when it ended; a later Abandon is held against them.
    accepted: who accepted this result, before the quorum or after it.
    """

    opened: Opened
    end: End
    index: int
    started: Started | None
    closed: Closed | None
    sets: frozenset[frozenset[MemberId]]
    abandons: Mapping[Seat, AbandonFact]
    total: Digest | None
    model: Digest | None
    moments: Digest | None
    confirmed: frozenset[Seat] = frozenset()
    revealed: frozenset[Seat] = frozenset()
    accepted: frozenset[Seat] = frozenset()


Live = (
    Joining | Readying | Resolving | Starting | Masking | Closing | Confirming | Revealing | Halted
)


def started_of(attempt: Live | Ended) -> Started | None:
    """What round.start fixed; None before it."""
    match attempt:
        case Joining() | Readying() | Resolving() | Starting():
            return None
        case Confirming() | Revealing():
            return attempt.closed.started
        case _:
            return attempt.started


def joins_of(attempt: Live | Ended) -> Mapping[Seat, JoinFact]:
    """The joins so far; none of an attempt that ended before its start."""
    if isinstance(attempt, Joining | Readying | Resolving | Starting):
        return attempt.joins
    started = started_of(attempt)
    return started.joins if started is not None else {}


def closed_of(attempt: Live | Ended) -> Closed | None:
    """What round.close fixed; None before it."""
    match attempt:
        case Confirming() | Revealing() | Halted() | Ended():
            return attempt.closed
        case _:
            return None


def opened_of(attempt: Live | Ended) -> Opened:
    """What the attempt's round.open fixed, in whatever phase it is."""
    match attempt:
        case Masking() | Closing() | Halted():
            return attempt.started.opened
        case Confirming() | Revealing():
            return attempt.closed.started.opened
        case _:
            return attempt.opened
