"""What is said about the commons itself: founding, being alive, proposals, votes, releases.

One class per tag; a tag never changes meaning, loses or gains a field. `about()` gives the
subjects of the in-toto statement; an empty tuple means the charter. Who may say what, and when it
is void, is decided in `commons/`, never here.
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias, final

from msgspec import Struct

from comity.statements.fields import (
    About,
    Bytes32,
    Bytes64,
    Bytes65,
    Count,
    DigestField,
    MemberField,
    Positive,
    Signature,
    StatementIdField,
    TextField,
)
from comity.values import Digest


@final
class PublicKeys(Struct, frozen=True, forbid_unknown_fields=True):
    """The four standing keys of a member (architecture.md 1.5), each used in one commons only.

    statement, head, host: Ed25519, 32 bytes raw. model: P-256, 65 bytes, uncompressed point.
    """

    head: Bytes32
    host: Bytes32
    model: Bytes65
    statement: Bytes32


@final
class KeySet(Struct, frozen=True, forbid_unknown_fields=True):
    """The document whose digest the charter pins: SHA-256 of its canonical JSON."""

    keys: PublicKeys
    member: MemberField
    serial: Count


@final
class Possession(Struct, frozen=True, forbid_unknown_fields=True):
    """Each key's signature over `keysets.possession_text`: a head's text, so that a host key never
    signs anything that is not one. head, host, statement: Ed25519; model: ECDSA in DER."""

    head: Bytes64
    host: Bytes64
    model: Signature
    statement: Bytes64


@final
class CommonsFound(Struct, frozen=True, forbid_unknown_fields=True):
    """A founder enters: this is my key set, and I hold its keys. Signed with its statement key."""

    tag: ClassVar[str] = "commons.found"
    key_set: KeySet
    possession: Possession

    def about(self) -> tuple[About, ...]:
        return ()


@final
class Seen(Struct, frozen=True, forbid_unknown_fields=True):
    """I am here, and this is my clock: moves commons time and round time."""

    tag: ClassVar[str] = "seen"

    def about(self) -> tuple[About, ...]:
        return ()


@final
class ReleaseMotion(Struct, frozen=True, forbid_unknown_fields=True):
    """Publish the result of an accepted round as the content that `manifest` names."""

    manifest: DigestField
    model: DigestField
    round_no: Positive
    study: StatementIdField


@final
class AdmitMotion(Struct, frozen=True, forbid_unknown_fields=True):
    """Admit the applicant with this id and the key set of this digest, which it applied with."""

    keys: DigestField
    member: MemberField


@final
class HostMotion(Struct, frozen=True, forbid_unknown_fields=True):
    """Let this member, which has offered to, host from a hand-over on."""

    member: MemberField


Motion = ReleaseMotion | AdmitMotion | HostMotion

Choice: TypeAlias = Literal["yes", "no", "abstain", "object"]


@final
class ProposalOpen(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A wish put to the vote. `motion` names the kind; its content is in the field of that name."""

    tag: ClassVar[str] = "proposal.open"
    motion: Literal["release", "admit", "host"]
    release: ReleaseMotion | None = None
    admit: AdmitMotion | None = None
    host: HostMotion | None = None
    reason: TextField = ""

    def __post_init__(self) -> None:
        # A reader takes what is raised here as any other fault of form (`wire.read`).
        said = {"release": self.release, "admit": self.admit, "host": self.host}
        if [name for name, content in said.items() if content is not None] != [self.motion]:
            raise ValueError(f"a proposal holds the content of its motion alone: {self.motion}")

    @property
    def content(self) -> Motion:
        """What is moved."""
        content = self.release or self.admit or self.host
        assert content is not None
        return content

    def about(self) -> tuple[About, ...]:
        match self.content:
            case ReleaseMotion() as release:
                return (("manifest", release.manifest), ("model", release.model))
            case AdmitMotion() as admit:
                return (("keys", admit.keys),)
            case _:
                return ()


def proposal_of(motion: Motion, reason: str = "") -> ProposalOpen:
    """The proposal.open that puts this motion to the vote."""
    match motion:
        case ReleaseMotion():
            return ProposalOpen(motion="release", release=motion, reason=reason)
        case AdmitMotion():
            return ProposalOpen(motion="admit", admit=motion, reason=reason)
        case _:
            return ProposalOpen(motion="host", host=motion, reason=reason)


@final
class VoteCast(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A member's answer to a proposal; the last one before closing counts. An objection has a
    reason; where the rule is not consensus, it counts as no."""

    tag: ClassVar[str] = "vote.cast"
    choice: Choice
    proposal: StatementIdField
    reason: TextField = ""

    def about(self) -> tuple[About, ...]:
        return (("proposal", Digest(self.proposal)),)


@final
class ProposalWithdraw(Struct, frozen=True, forbid_unknown_fields=True):
    """I do not want this any more; said by who proposed it, while it is open."""

    tag: ClassVar[str] = "proposal.withdraw"
    proposal: StatementIdField

    def about(self) -> tuple[About, ...]:
        return (("proposal", Digest(self.proposal)),)


@final
class ObjectionAnswer(Struct, frozen=True, forbid_unknown_fields=True):
    """What the proposer says to the objections; the vote begins again under the fallback rule."""

    tag: ClassVar[str] = "objection.answer"
    proposal: StatementIdField
    reason: TextField

    def about(self) -> tuple[About, ...]:
        return (("proposal", Digest(self.proposal)),)


@final
class ReleaseSign(Struct, frozen=True, forbid_unknown_fields=True):
    """I replayed the log; the decision for this release stands and its content is this one."""

    tag: ClassVar[str] = "release.sign"
    manifest: DigestField
    model: DigestField
    proposal: StatementIdField

    def about(self) -> tuple[About, ...]:
        return (("manifest", self.manifest), ("model", self.model))


Governing = (
    CommonsFound | Seen | ProposalOpen | VoteCast | ProposalWithdraw | ObjectionAnswer | ReleaseSign
)
GOVERNING: tuple[type[Governing], ...] = (
    CommonsFound,
    Seen,
    ProposalOpen,
    VoteCast,
    ProposalWithdraw,
    ObjectionAnswer,
    ReleaseSign,
)
