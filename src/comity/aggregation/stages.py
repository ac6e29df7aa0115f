"""The stages of one party in a round, and what it says: what a member may still hold, as types.

    Joined -> Ready -> Started -> Committed -> Revealed      Bystander -> Revealed

Every stage has `to_bytes` and `from_bytes` for the journal; its repr is its name, for it holds
secrets. Source: aggregation.md 5.3 to 5.9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self, final

import msgspec

from comity.aggregation.plan import Terms
from comity.errors import Malformed, Refused, Rule
from comity.values import Digest


class Dealing(NamedTuple):
    """The public part of one Join: `round.join` carries the first three, the blob is named by it.

    epk: 32 bytes. self_commit, rows_root: digests. blob: sealed shares, then rows (5.14).
    """

    epk: bytes
    self_commit: Digest
    rows_root: Digest
    blob: bytes


class Stage(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """What every stage can: be written to the journal and read back, and never be printed."""

    def __repr__(self) -> str:
        return type(self).__name__

    def to_bytes(self) -> bytes:
        """The stage as MessagePack, for the journal: secret bytes."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            Malformed: other bytes, or another stage.
        """
        try:
            return msgspec.msgpack.decode(stored, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Malformed(f"the journal holds no {cls.__name__} here") from None


@final
class Joined(Stage, frozen=True):
    """I dealt. polynomials: coefficients of beta, sigma, mu; the first of each is the secret."""

    terms: Terms
    seat: int
    sealing_key_id: bytes
    polynomials: tuple[tuple[bytes, ...], tuple[bytes, ...], tuple[bytes, ...]]


@final
class Ready(Stage, frozen=True):
    """I opened what was dealt to me. received: dealer -> plaintext (own: shares || zero m)."""

    terms: Terms
    seat: int
    polynomials: tuple[tuple[bytes, ...], tuple[bytes, ...], tuple[bytes, ...]]
    epks: dict[int, bytes]
    rows_roots: dict[int, Digest]
    received: dict[int, bytes]
    complaints: tuple[int, ...]


@final
class Started(Stage, frozen=True):
    """I may mask. Polynomials and sigma are gone: the pair seeds are all that masking needs."""

    terms: Terms
    seat: int
    participants: frozenset[int]
    binding: Digest
    beta: bytes
    mu: bytes
    received: dict[int, bytes]
    pair_seeds: dict[int, bytes]


@final
class Committed(Stage, frozen=True):
    """My Commit is logged (or I was dropped): the pair seeds are gone."""

    terms: Terms
    seat: int
    participants: frozenset[int]
    beta: bytes
    mu: bytes
    received: dict[int, bytes]


@final
class Bystander(Stage, frozen=True):
    """In the roster but not in P: I hold shares of others and no secret of mine that matters."""

    terms: Terms
    seat: int
    participants: frozenset[int]
    received: dict[int, bytes]


@final
class Revealed(Stage, frozen=True):
    """I revealed for one set of survivors, and can answer for no other."""

    terms: Terms
    seat: int
    participants: frozenset[int]
    survivors: frozenset[int]
    received: dict[int, bytes]


@final
@dataclass(frozen=True, slots=True)
class Survivors:
    """U of one attempt, with who dropped out computed from it: nobody can be both.

    Raises:
        Refused(NOT_AS_DERIVED): U is not a part of P.
    """

    participants: frozenset[int]
    survivors: frozenset[int]

    def __post_init__(self) -> None:
        if not self.survivors or not self.survivors <= self.participants:
            raise Refused(Rule.NOT_AS_DERIVED, "survivors are some of the participants")

    @property
    def dropped(self) -> frozenset[int]:
        """D = P - U."""
        return self.participants - self.survivors


@final
@dataclass(frozen=True, slots=True, repr=False)
class DroppedShares:
    """For one dropped seat: my shares of its sigma and mu, and my m towards it if I survived."""

    seat: int
    sigma: bytes
    mu: bytes
    m: bytes | None

    def __repr__(self) -> str:
        return "DroppedShares"


@final
@dataclass(frozen=True, slots=True, repr=False)
class Reveal:
    """What one `round.reveal` says. beta: None outside U. Nothing to send when both are empty."""

    beta: bytes | None
    dropped: tuple[DroppedShares, ...]

    def __repr__(self) -> str:
        return "Reveal"


@final
@dataclass(frozen=True, slots=True, repr=False)
class SilentShares:
    """For one survivor that stays silent: my share of its beta, and of its mu if some dropped."""

    seat: int
    beta: bytes
    mu: bytes | None

    def __repr__(self) -> str:
        return "SilentShares"
