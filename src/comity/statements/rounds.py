"""What is said in a round: the messages of aggregation.md 5.3, in its order.

One class per tag; a tag never changes meaning, loses or gains a field. `about()` gives the
subjects of the in-toto statement; an empty tuple means the charter. H_open, H_close and
hash(Join) are statement ids; bit sets, seats and encodings are those of aggregation.md 5.14.
What is allowed when is decided in `commons/rounds.py`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, final

from msgspec import Meta, Struct

from comity.statements.fields import (
    About,
    BitSet,
    Bytes16,
    Bytes32,
    Bytes128,
    DatasetField,
    DigestField,
    Positive,
    SealingKey,
    SeatField,
    StatementIdField,
    Words,
)
from comity.values import ROSTER_MAX, ROSTER_MIN, Digest

RosterCount = Annotated[int, Meta(ge=ROSTER_MIN, le=ROSTER_MAX)]


@final
class RoundOpen(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Repeats what the state derives for the next attempt, so that a hash binds it (H_open)."""

    tag: ClassVar[str] = "round.open"
    attempt: Positive
    colluders: Positive
    degree: Positive
    layout: DigestField
    model: DigestField
    plan: DigestField
    quorum: Positive
    roster: DigestField
    roster_count: RosterCount
    round_no: Positive
    study: StatementIdField
    survivors_min: Positive
    words: Words
    work: DigestField
    moments: DigestField | None = None

    def about(self) -> tuple[About, ...]:
        return (("model", self.model), ("study", Digest(self.study)))


@final
class JoinedData(Struct, frozen=True, forbid_unknown_fields=True):
    """A data set that goes into a member's update, by its declared version."""

    dataset: DatasetField
    version: DigestField


@final
class RoundJoin(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """I take part: my ephemeral key, my commitments, and the blob with everybody's sealed shares.

    weight: only in a study with declared weights.
    """

    tag: ClassVar[str] = "round.join"
    blob: DigestField
    datasets: Annotated[tuple[JoinedData, ...], Meta(min_length=1, max_length=16)]
    ephemeral_key: Bytes32
    opened: StatementIdField
    rows_root: DigestField
    self_commit: DigestField
    weight: Positive | None = None

    def about(self) -> tuple[About, ...]:
        return (("dealing", self.blob),)


@final
class RoundReady(Struct, frozen=True, forbid_unknown_fields=True):
    """I opened my shares; complaints: seats of dealers whose envelope failed; my next key."""

    tag: ClassVar[str] = "round.ready"
    complaints: Annotated[tuple[SeatField, ...], Meta(max_length=ROSTER_MAX)]
    joins: DigestField
    opened: StatementIdField
    sealing_key: SealingKey

    def about(self) -> tuple[About, ...]:
        return ()


@final
class ResolvedShare(Struct, frozen=True, forbid_unknown_fields=True):
    """The plaintext of one envelope, in clear, and the path of its row under the Join's root."""

    holder: SeatField
    path: Annotated[tuple[Bytes32, ...], Meta(max_length=8)]
    plaintext: Bytes128


@final
class RoundResolve(Struct, frozen=True, forbid_unknown_fields=True):
    """A dealer answers one complaint. One statement per complainer."""

    tag: ClassVar[str] = "round.resolve"
    opened: StatementIdField
    share: ResolvedShare

    def about(self) -> tuple[About, ...]:
        return ()


@final
class RoundStart(Struct, frozen=True, forbid_unknown_fields=True):
    """Repeats the derived participants; its id completes the binding (ctx)."""

    tag: ClassVar[str] = "round.start"
    joins: DigestField
    opened: StatementIdField
    participants: BitSet

    def about(self) -> tuple[About, ...]:
        return ()


@final
class RoundCommit(Struct, frozen=True, forbid_unknown_fields=True):
    """My masked vector has this root; logged only when the host holds the whole vector."""

    tag: ClassVar[str] = "round.commit"
    binding: DigestField
    opened: StatementIdField
    vector: DigestField

    def about(self) -> tuple[About, ...]:
        return (("vector", self.vector),)


@final
class RoundClose(Struct, frozen=True, forbid_unknown_fields=True):
    """Repeats the derived survivors and says the root of their sum; its id is H_close."""

    tag: ClassVar[str] = "round.close"
    binding: DigestField
    commits: DigestField
    opened: StatementIdField
    sum: DigestField
    survivors: BitSet

    def about(self) -> tuple[About, ...]:
        return (("sum", self.sum),)


@final
class RoundConfirm(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """I confirm this Close and no other; check_value: T of my vector, when I am a survivor."""

    tag: ClassVar[str] = "round.confirm"
    closed: StatementIdField
    opened: StatementIdField
    check_value: Bytes16 | None = None

    def about(self) -> tuple[About, ...]:
        return ()


@final
class RoundDispute(Struct, frozen=True, forbid_unknown_fields=True):
    """The check values of these seats differ from those of their vectors."""

    tag: ClassVar[str] = "round.dispute"
    closed: StatementIdField
    opened: StatementIdField
    seats: Annotated[tuple[SeatField, ...], Meta(min_length=1, max_length=ROSTER_MAX)]

    def about(self) -> tuple[About, ...]:
        return ()


@final
class DroppedShares(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """For one dropped seat: my shares of its sigma and mu, and my m towards it if I survived."""

    mu: Bytes32
    seat: SeatField
    sigma: Bytes32
    m: Bytes32 | None = None


@final
class RoundReveal(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """After the Confirm quorum and a checked sum: my self-mask secret, shares for the dropped."""

    tag: ClassVar[str] = "round.reveal"
    closed: StatementIdField
    opened: StatementIdField
    beta: Bytes32 | None = None
    dropped: Annotated[tuple[DroppedShares, ...], Meta(max_length=ROSTER_MAX)] = ()

    def about(self) -> tuple[About, ...]:
        return ()


@final
class SilentShares(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """For one survivor that stays silent: my share of its beta, and of its mu if some dropped."""

    beta: Bytes32
    seat: SeatField
    mu: Bytes32 | None = None


@final
class RoundRecover(Struct, frozen=True, forbid_unknown_fields=True):
    """Shares of survivors that did not reveal by reveal_by, or revealed a false m."""

    tag: ClassVar[str] = "round.recover"
    closed: StatementIdField
    opened: StatementIdField
    silent: Annotated[tuple[SilentShares, ...], Meta(min_length=1, max_length=ROSTER_MAX)]

    def about(self) -> tuple[About, ...]:
        return ()


@final
class RoundAccept(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """I unmasked and checked the total, and this is the next model (and the rule's next state)."""

    tag: ClassVar[str] = "round.accept"
    closed: StatementIdField
    model: DigestField
    opened: StatementIdField
    total: DigestField
    moments: DigestField | None = None

    def about(self) -> tuple[About, ...]:
        return (("model", self.model),)


@final
class RoundAbandon(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """My last word in an attempt. released: whether I revealed; closed: the Close I confirmed."""

    tag: ClassVar[str] = "round.abandon"
    attempt: Positive
    released: bool
    round_no: Positive
    study: StatementIdField
    closed: StatementIdField | None = None

    def about(self) -> tuple[About, ...]:
        return (("study", Digest(self.study)),)


Rounding = (
    RoundOpen
    | RoundJoin
    | RoundReady
    | RoundResolve
    | RoundStart
    | RoundCommit
    | RoundClose
    | RoundConfirm
    | RoundDispute
    | RoundReveal
    | RoundRecover
    | RoundAccept
    | RoundAbandon
)
ROUNDING: tuple[type[Rounding], ...] = (
    RoundOpen,
    RoundJoin,
    RoundReady,
    RoundResolve,
    RoundStart,
    RoundCommit,
    RoundClose,
    RoundConfirm,
    RoundDispute,
    RoundReveal,
    RoundRecover,
    RoundAccept,
    RoundAbandon,
)
