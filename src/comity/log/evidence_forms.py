"""Evidence as bytes: five kinds of canonical JSON, whose keys are whose, and what a check finds.

Decided here: the form. A file of evidence is small, names no secret, and is read strictly: it
equals the canonical encoding of its own parse, and every string and list in it has a bound. Whether
it proves anything is `evidence.check_evidence`'s to say. Source: log-and-provenance.md 7.3.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from comity.errors import Forged, Malformed
from comity.log.heads import (
    Cosignature,
    SignedHead,
    cosignatures_in,
    cosigner_key_id,
    verify_cosignature,
    verify_host,
)
from comity.log.notes import ED25519_NOTE, decode_base64, note_key_id
from comity.statements.fields import MemberField
from comity.statements.governing import PublicKeys
from comity.values import ENVELOPE_BYTES_MAX, LOG_SIZE_MAX, NOTE_BYTES_MAX, CommonsId, MemberId

PATH_MAX: Final = 64
EVIDENCE_BYTES_MAX: Final = 3 * NOTE_BYTES_MAX
_BASE64_MAX: Final = 4 * (-(-ENVELOPE_BYTES_MAX // 3))

Kind = Literal["host", "cosigner", "rollback", "author", "inadmissible"]
Reason = Literal["form", "commons", "signature", "chain", "head", "replay"]

_Note = Annotated[str, Meta(max_length=NOTE_BYTES_MAX)]
_Hash = Annotated[str, Meta(min_length=44, max_length=44)]
_Path = Annotated[list[_Hash], Meta(max_length=PATH_MAX)]
_Entry = Annotated[str, Meta(max_length=_BASE64_MAX)]
_Index = Annotated[int, Meta(ge=0, lt=LOG_SIZE_MAX)]


class _Form(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all kinds share: they are told apart by `kind`."""


@final
class HostFork(_Form, frozen=True, tag="host"):
    """Two heads of one host; the second one's tree has `other_root` at the first's size."""

    a: _Note
    b: _Note
    other_root: _Hash
    proof: _Path


@final
class CosignerFork(_Form, frozen=True, tag="cosigner"):
    """As `HostFork`, and both heads are cosigned by `member`."""

    a: _Note
    b: _Note
    member: MemberField
    other_root: _Hash
    proof: _Path


@final
class CosignerRollback(_Form, frozen=True, tag="rollback"):
    """`member` cosigned head b later than head a of the same host, and b is the smaller one."""

    a: _Note
    b: _Note
    member: MemberField


@final
class AuthorFork(_Form, frozen=True, tag="author"):
    """Two envelopes (base64) of one author with one `seq`."""

    a: _Entry
    b: _Entry


@final
class Placed(Struct, frozen=True, forbid_unknown_fields=True):
    """An entry (base64) at its index, with the inclusion proof under the head of the evidence."""

    entry: _Entry
    index: _Index
    path: _Path


@final
class Inadmissible(_Form, frozen=True, tag="inadmissible"):
    """An entry below a head the host signed that must not be in any log, and why.

    earlier: for "chain", an entry before it. other_root, proof: for "head" and "replay", the root
    that the head's own tree has at the size the entry names, or just before the entry.
    """

    head: _Note
    placed: Placed
    reason: Reason
    earlier: Placed | UnsetType = UNSET
    other_root: _Hash | UnsetType = UNSET
    proof: _Path | UnsetType = UNSET


Form = HostFork | CosignerFork | CosignerRollback | AuthorFork | Inadmissible

_DECODER: Final[msgspec.json.Decoder[Form]] = msgspec.json.Decoder(Form)


@final
@dataclass(frozen=True, slots=True)
class KnownKeys:
    """Whose keys are whose, as far as the reader knows.

    Args:
        keys: every key set a member has had, in any order. Missing ones prove nothing.
        origin: of the log that the evidence must be about; None takes the one it names, because a
            key serves one commons only.
    """

    keys: Mapping[MemberId, Sequence[PublicKeys]]
    origin: str | None = None

    def host_of(self, *signed: SignedHead) -> tuple[MemberId, bytes]:
        """Whose *host* key, and which, signed all of these heads of one log.

        Raises:
            Malformed: heads of two logs, or two lines of one key. Forged: no known host key signed
                all of them, a signature does not fit, or they are of another log than `origin`.
        """
        origin = signed[0].head.origin
        if any(each.head.origin != origin for each in signed):
            raise Malformed("evidence holds heads of two logs")
        if self.origin not in (None, origin):
            raise Forged("the evidence is about another log")
        for member, key_sets in self.keys.items():
            for public in {keys.host for keys in key_sets}:
                key_id = note_key_id(origin, ED25519_NOTE, public)
                if all(any(line.key_id == key_id for line in each.lines) for each in signed):
                    for each in signed:
                        verify_host(each, public)
                    return member, public
        raise Forged("no host key that is known here signed all heads of the evidence")

    def cosignature(self, signed: SignedHead, member: MemberId) -> Cosignature:
        """The member's cosignature in a note. Raises Forged: none by a key known here, or false."""
        for public in dict.fromkeys(keys.head for keys in self.keys.get(member, ())):
            found = cosignatures_in(signed, {member: public})
            if len(found) > 1:
                raise Malformed(f"two cosignatures of one key of {member}")
            if found:
                verify_cosignature(signed.head, found[0], public)
                return found[0]
        raise Forged(f"no known key of {member} cosigned the head of size {signed.head.size}")

    def commons(self, origin: str) -> CommonsId:
        """The commons that an origin names."""
        return CommonsId(origin.rpartition("/")[2])


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """What evidence shows.

    accused: the member that broke the protocol; for "host" and "inadmissible" the owner of the
    host key. sizes: of the heads in it, smaller first. proven: False when only a member that holds
    the log up to the entry and replays it can tell. sentence: the same in words. public: the one
    key that signed what is held against each other; the host's, but for "author".
    """

    kind: Kind
    accused: MemberId
    sizes: tuple[int, ...]
    proven: bool
    sentence: str
    public: bytes


def parse_evidence(evidence: bytes) -> Form:
    """Read evidence, strictly; nothing in it is checked yet. Raises Malformed."""
    if len(evidence) > EVIDENCE_BYTES_MAX:
        raise Malformed("evidence is too long")
    try:
        form = _DECODER.decode(evidence)
        canonical = write_evidence(form)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Malformed("this is not the JSON of evidence") from None
    if canonical != evidence:
        raise Malformed("evidence is not canonical JSON")
    return form


def write_evidence(form: Form) -> bytes:
    """Canonical JSON. Raises ValueError: a text in it is no Unicode."""
    return msgspec.json.encode(form, order="sorted")


def to_base64(content: bytes) -> str:
    """As in heads: standard, padded."""
    return base64.b64encode(content).decode("ascii")


def path_of(texts: Sequence[str]) -> list[bytes]:
    """The hashes of a proof. Raises Malformed."""
    return [decode_base64(text, "proof") for text in texts]


def only_lines(signed: SignedHead, member: MemberId | None = None) -> SignedHead:
    """With the host's lines and this member's only: others prove nothing, and may be very long."""
    names = {signed.head.origin, str(member)} if member else {signed.head.origin}
    return SignedHead(signed.head, tuple(line for line in signed.lines if line.name in names))


def cosigners(signed: SignedHead, known: KnownKeys) -> frozenset[MemberId]:
    """The members whose good cosignature a note holds; false ones are left out."""
    found = set()
    lines = {(line.name, line.key_id) for line in signed.lines}
    for member, key_sets in known.keys.items():
        if any((str(member), cosigner_key_id(member, keys.head)) in lines for keys in key_sets):
            try:
                known.cosignature(signed, member)
            except (Malformed, Forged):
                continue
            found.add(member)
    return frozenset(found)
