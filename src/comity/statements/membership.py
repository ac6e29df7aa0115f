"""What is said about who belongs, with which keys, and who hosts: members, keys, epochs, hosts.

One class per tag; a tag never changes meaning, loses or gains a field. `about()` gives the
subjects of the in-toto statement; an empty tuple means the charter. Whatever changes members, keys
or host takes effect with an epoch (`commons/epochs.py`); only a leaver is off every roster at once.
"""

from __future__ import annotations

from typing import ClassVar, final

from msgspec import Struct

from comity.statements.fields import (
    About,
    AddressField,
    Bytes32,
    DigestField,
    EvidenceField,
    LogSize,
    MemberField,
    Positive,
    ReasonField,
    TextField,
)
from comity.statements.governing import KeySet, Possession
from comity.values import to_digest


@final
class MemberApply(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A stranger asks to be admitted, under this id and with these keys. The only statement of a
    stranger: it is the first of its author's chain, signed with the statement key it brings."""

    tag: ClassVar[str] = "member.apply"
    key_set: KeySet
    possession: Possession
    country: TextField = ""
    name: TextField = ""

    def about(self) -> tuple[About, ...]:
        return ()


@final
class MemberLeave(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """I leave the commons: off every roster at once, out of the quorum with the next epoch."""

    tag: ClassVar[str] = "member.leave"
    reason: TextField = ""

    def about(self) -> tuple[About, ...]:
        return ()


@final
class KeysRotate(Struct, frozen=True, forbid_unknown_fields=True):
    """My next key set, its serial one higher; signed with my old statement key."""

    tag: ClassVar[str] = "keys.rotate"
    key_set: KeySet
    possession: Possession

    def about(self) -> tuple[About, ...]:
        return ()


@final
class KeysRevoke(Struct, frozen=True, forbid_unknown_fields=True):
    """The key set with this digest is in wrong hands: its member is to be without keys and seat."""

    tag: ClassVar[str] = "keys.revoke"
    keys: DigestField
    member: MemberField
    reason: ReasonField

    def about(self) -> tuple[About, ...]:
        return (("keys", self.keys),)


@final
class EpochApprove(Struct, frozen=True, forbid_unknown_fields=True):
    """I approve this document, and no other, as epoch `epoch`."""

    tag: ClassVar[str] = "epoch.approve"
    document: DigestField
    epoch: Positive

    def about(self) -> tuple[About, ...]:
        return (("epoch", self.document),)


@final
class HostOffer(Struct, frozen=True, forbid_unknown_fields=True):
    """I would host, and my host would answer there. The newest offer of a member counts."""

    tag: ClassVar[str] = "host.offer"
    address: AddressField

    def about(self) -> tuple[About, ...]:
        return ()


@final
class HostHandover(Struct, frozen=True, forbid_unknown_fields=True):
    """The hosting member hands over to the member that a vote decided on."""

    tag: ClassVar[str] = "host.handover"
    member: MemberField

    def about(self) -> tuple[About, ...]:
        return ()


@final
class HostTakeover(Struct, frozen=True, forbid_unknown_fields=True):
    """I take over as host, there, on top of this final head, the one that this statement names."""

    tag: ClassVar[str] = "host.takeover"
    address: AddressField
    head_root: Bytes32
    head_size: LogSize

    def about(self) -> tuple[About, ...]:
        return (("head", to_digest(self.head_root)),)


@final
class EvidenceFile(Struct, frozen=True, forbid_unknown_fields=True):
    """Proof that a member broke the protocol: canonical JSON, as `log/evidence.py` makes it."""

    tag: ClassVar[str] = "evidence.file"
    evidence: EvidenceField
    subject: MemberField

    def about(self) -> tuple[About, ...]:
        return ()


Belonging = (
    MemberApply
    | MemberLeave
    | KeysRotate
    | KeysRevoke
    | EpochApprove
    | HostOffer
    | HostHandover
    | HostTakeover
    | EvidenceFile
)
BELONGING: tuple[type[Belonging], ...] = (
    MemberApply,
    MemberLeave,
    KeysRotate,
    KeysRevoke,
    EpochApprove,
    HostOffer,
    HostHandover,
    HostTakeover,
    EvidenceFile,
)
