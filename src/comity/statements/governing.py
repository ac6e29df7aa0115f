"""What is said about the commons itself: founding, being alive, proposals, votes, releases.

One class per tag; a tag never changes meaning, loses or gains a field. `about()` gives the
subjects of the in-toto statement; an empty tuple means the charter. Who may say what, and when it
is void, is decided in `commons/`, never here.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias, final

from msgspec import Meta, Struct

from comity.statements.fields import (
    About,
    Bytes32,
    Bytes64,
    Bytes65,
    Count,
    DigestField,
    Duration,
    EvidenceField,
    MemberField,
    Positive,
    ReasonField,
    Signature,
    StatementIdField,
    TextField,
)
from comity.values import EVIDENCE_MAX, JSON_STRING_BYTES_MAX, Digest


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


@final
class AmendMotion(Struct, frozen=True, forbid_unknown_fields=True):
    """Let the charter whose canonical form has the digest `base` say this from now on: canonical
    JSON of all its terms, as `commons/amending.py` reads them."""

    base: DigestField
    terms: EvidenceField

    def __post_init__(self) -> None:
        if len(self.terms.encode()) > JSON_STRING_BYTES_MAX:
            raise ValueError(f"terms have at most {JSON_STRING_BYTES_MAX} bytes of UTF-8")


@final
class ExcludeMotion(Struct, frozen=True, forbid_unknown_fields=True):
    """Let this member be a member no more, for the reasons of the notice it was given."""

    member: MemberField
    notice: StatementIdField


@final
class SuspendMotion(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Keep this member out of new attempts of all studies for so many seconds from the decision.

    notice: the one it was given; left out when the suspension is short.
    """

    member: MemberField
    seconds: Duration
    notice: StatementIdField | None = None


Motion = ReleaseMotion | AdmitMotion | HostMotion | AmendMotion | ExcludeMotion | SuspendMotion

Choice: TypeAlias = Literal["yes", "no", "abstain", "object"]
Criterion: TypeAlias = Literal["lawful-data", "ethics-body", "contact", "conformance"]
"""Why an applicant may be refused; nothing else can be said. It holds data lawfully, an ethics body
answers for it, a person can be reached there, its software conforms."""


@final
class ProposalOpen(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A wish put to the vote. `motion` names the kind; its content is in the field of that name."""

    tag: ClassVar[str] = "proposal.open"
    motion: Literal["release", "admit", "host", "amend", "exclude", "suspend"]
    release: ReleaseMotion | None = None
    admit: AdmitMotion | None = None
    host: HostMotion | None = None
    amend: AmendMotion | None = None
    exclude: ExcludeMotion | None = None
    suspend: SuspendMotion | None = None
    reason: TextField = ""

    def __post_init__(self) -> None:
        # A reader takes what is raised here as any other fault of form (`wire.read`).
        held = (self.release, self.admit, self.host, self.amend, self.exclude, self.suspend)
        said = [content for content in held if content is not None]
        if len(said) != 1 or getattr(self, self.motion) is None:
            raise ValueError(f"a proposal holds the content of its motion alone: {self.motion}")

    @property
    def content(self) -> Motion:
        """What is moved."""
        content: Motion = getattr(self, self.motion)
        return content

    def about(self) -> tuple[About, ...]:
        match self.content:
            case ReleaseMotion() as release:
                return (("manifest", release.manifest), ("model", release.model))
            case AdmitMotion() as admit:
                return (("keys", admit.keys),)
            case AmendMotion() as amend:
                return (("base", amend.base),)
            case ExcludeMotion() as exclude:
                return (("notice", Digest(exclude.notice)),)
            case _:
                return ()


def proposal_of(motion: Motion, reason: str = "") -> ProposalOpen:
    """The proposal.open that puts this motion to the vote."""
    match motion:
        case ReleaseMotion():
            return ProposalOpen(motion="release", release=motion, reason=reason)
        case AdmitMotion():
            return ProposalOpen(motion="admit", admit=motion, reason=reason)
        case HostMotion():
            return ProposalOpen(motion="host", host=motion, reason=reason)
        case AmendMotion():
            return ProposalOpen(motion="amend", amend=motion, reason=reason)
        case ExcludeMotion():
            return ProposalOpen(motion="exclude", exclude=motion, reason=reason)
        case SuspendMotion():
            return ProposalOpen(motion="suspend", suspend=motion, reason=reason)


@final
class VoteCast(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A member's answer to a proposal; the last one before closing counts. An objection has a
    reason; where the rule is not consensus, it counts as no. criterion: on an admission, what the
    applicant does not meet; a no or an objection there needs one."""

    tag: ClassVar[str] = "vote.cast"
    choice: Choice
    proposal: StatementIdField
    reason: TextField = ""
    criterion: Criterion | None = None

    def about(self) -> tuple[About, ...]:
        return (("proposal", Digest(self.proposal)),)


@final
class ProposalWithdraw(Struct, frozen=True, forbid_unknown_fields=True):
    """I do not want this any more; said by who proposed it, while nobody else says yes to it."""

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


@final
class NoticeGive(Struct, frozen=True, forbid_unknown_fields=True):
    """A member is told why others mean to exclude or suspend it, before anybody votes.

    evidence: digests of documents, or ids of statements, that bear the reasons out.
    """

    tag: ClassVar[str] = "notice.give"
    evidence: Annotated[tuple[DigestField, ...], Meta(min_length=1, max_length=EVIDENCE_MAX)]
    member: MemberField
    reason: ReasonField

    def about(self) -> tuple[About, ...]:
        return tuple(("evidence", digest) for digest in self.evidence)


@final
class NoticeReply(Struct, frozen=True, forbid_unknown_fields=True):
    """What the member that was given notice says to it; the newest reply is shown with the vote."""

    tag: ClassVar[str] = "notice.reply"
    notice: StatementIdField
    reason: ReasonField

    def about(self) -> tuple[About, ...]:
        return (("notice", Digest(self.notice)),)


Governing = (
    CommonsFound
    | Seen
    | ProposalOpen
    | VoteCast
    | ProposalWithdraw
    | ObjectionAnswer
    | ReleaseSign
    | NoticeGive
    | NoticeReply
)
GOVERNING: tuple[type[Governing], ...] = (
    CommonsFound,
    Seen,
    ProposalOpen,
    VoteCast,
    ProposalWithdraw,
    ObjectionAnswer,
    ReleaseSign,
    NoticeGive,
    NoticeReply,
)
