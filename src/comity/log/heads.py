"""Heads: what the host signs, what members cosign, and when a head is final.

The text form of a head is the C2SP checkpoint, byte for byte, without extension lines. The host
signs the text as it is (note type 0x01, key name = origin), so a host key signs heads and nothing
else, ever. A member cosigns with its *head* key and a time (type 0x04, key name = member id).
A head is final with the host's signature and cosignatures of a quorum, counted by member, never
by line or key. Which key is whose, and which quorum holds at a size, is the caller's to know.
Source: log-and-provenance.md 2.1, 2.2.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comity.errors import Forged, Malformed
from comity.log.merkle import EMPTY_ROOT, HASH_BYTES
from comity.log.notes import (
    ED25519_COSIGNATURE,
    ED25519_NOTE,
    Note,
    SignatureLine,
    check_key_name,
    decode_base64,
    note_key_id,
    parse_note,
    parse_signature_line,
    verify_ed25519,
)
from comity.values import INTEGER_MAX, LOG_SIZE_MAX, CommonsId, MemberId, is_slug

ORIGIN_PREFIX: Final = "comity"
_SIZE = re.compile(r"\A(0|[1-9][0-9]{0,12})\Z")
_TIME_BYTES: Final = 8
_SIGNATURE_BYTES: Final = 64


def origin_of(commons: CommonsId, prefix: str = ORIGIN_PREFIX) -> str:
    """The origin line of a commons: it names the charter, so no head fits two commons."""
    return f"{prefix}/{commons}"


@final
@dataclass(frozen=True, slots=True)
class TreeHead:
    """Summary of a log. `origin`: ASCII, no spaces; `size`: below 2**40; `root`: 32 bytes."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        assert 0 <= self.size <= LOG_SIZE_MAX
        assert len(self.root) == HASH_BYTES
        assert self.size or self.root == EMPTY_ROOT

    def text(self) -> bytes:
        """The three lines that are signed, each with its newline."""
        root = base64.b64encode(self.root).decode("ascii")
        return f"{self.origin}\n{self.size}\n{root}\n".encode("ascii")


@final
@dataclass(frozen=True, slots=True)
class SignedHead:
    """A head with every signature line as received: the host's, cosignatures, unknown ones."""

    head: TreeHead
    lines: tuple[SignatureLine, ...]

    def note(self) -> bytes:
        """The signed note as bytes; parsing it gives this value again."""
        return Note(self.head.text(), self.lines).note()


@final
@dataclass(frozen=True, slots=True)
class Cosignature:
    """One member's signature of a head. `key_id`: 4 bytes; `signature`: 64 bytes."""

    member: MemberId
    key_id: bytes
    time_s: int
    signature: bytes

    def line(self) -> bytes:
        """The note line with its newline."""
        return self.signature_line().line()

    def signature_line(self) -> SignatureLine:
        """The same as a line of a note."""
        value = self.time_s.to_bytes(_TIME_BYTES, "big") + self.signature
        return SignatureLine(self.member, self.key_id, value)


def parse_tree_head(text: bytes) -> TreeHead:
    """Read the three lines of a head.

    Raises:
        Malformed: other than three lines, origin not printable ASCII without spaces, size with a
            sign or a leading zero or not below 2**40, root not 32 bytes, an empty tree with a
            root other than the one it has.
    """
    try:
        lines = text.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise Malformed("a head is ASCII") from None
    if len(lines) != 4 or lines[3]:
        raise Malformed("a head is three lines: origin, size, root")
    origin, size_text, root_text, _ = lines
    check_key_name(origin)
    if not origin.isprintable():
        raise Malformed("an origin is printable ASCII")
    if not _SIZE.match(size_text) or int(size_text) > LOG_SIZE_MAX:
        raise Malformed(f"a size is a plain decimal up to {LOG_SIZE_MAX}")
    root = decode_base64(root_text, "root")
    if len(root) != HASH_BYTES:
        raise Malformed(f"a root has {HASH_BYTES} bytes, not {len(root)}")
    size = int(size_text)
    if size == 0 and root != EMPTY_ROOT:
        raise Malformed("an empty log has one root: SHA-256 of nothing")
    return TreeHead(origin, size, root)


@lru_cache(maxsize=64)
def parse_signed_head(raw: bytes) -> SignedHead:
    """Read a signed note that holds a head; no signature is checked. Raises Malformed."""
    note = parse_note(raw)
    return SignedHead(parse_tree_head(note.text), note.lines)


def sign_head(head: TreeHead, host_key: Ed25519PrivateKey) -> SignedHead:
    """Sign a head as its host; the only thing a host key is ever used for."""
    key_id = note_key_id(head.origin, ED25519_NOTE, host_key.public_key().public_bytes_raw())
    return SignedHead(head, (SignatureLine(head.origin, key_id, host_key.sign(head.text())),))


def verify_host(signed: SignedHead, host_public: bytes) -> None:
    """Check that the host with this *host* key (32 bytes) signed the head.

    Raises:
        Forged: no line of that key (say, another host's, attack 35), or it does not fit.
        Malformed: two lines of that key.
    """
    origin = signed.head.origin
    key_id = note_key_id(origin, ED25519_NOTE, host_public)
    lines = [line for line in signed.lines if line.name == origin and line.key_id == key_id]
    if not lines:
        raise Forged(f"head of size {signed.head.size} has no signature by the host's key")
    if len(lines) > 1:
        raise Malformed(f"head of size {signed.head.size} has two lines of the host's key")
    verify_ed25519(host_public, lines[0].signature, signed.head.text(), "host signature")


def cosign(
    head: TreeHead, member: MemberId, head_key: Ed25519PrivateKey, time_s: int
) -> Cosignature:
    """Sign someone else's head: "I hold and have replayed every entry below this size".

    The caller must have done so, and must have stored (size, root) before this leaves the node.
    """
    assert 0 < time_s <= INTEGER_MAX
    key_id = cosigner_key_id(member, head_key.public_key().public_bytes_raw())
    return Cosignature(member, key_id, time_s, head_key.sign(_cosigned_text(head, time_s)))


def cosigner_key_id(member: MemberId, head_public: bytes) -> bytes:
    """The 4-byte id of a member's *head* key."""
    return note_key_id(member, ED25519_COSIGNATURE, head_public)


def parse_cosignature(raw: bytes) -> Cosignature:
    """Read one cosignature line with its newline. Raises Malformed."""
    return _to_cosignature(parse_signature_line(raw))


def verify_cosignature(head: TreeHead, cosignature: Cosignature, head_public: bytes) -> None:
    """Check one cosignature with the member's *head* key (32 bytes).

    Raises:
        Forged: made with another key, for another head, or another time.
    """
    if cosignature.key_id != cosigner_key_id(cosignature.member, head_public):
        raise Forged(f"cosignature of {cosignature.member} names another key")
    text = _cosigned_text(head, cosignature.time_s)
    verify_ed25519(head_public, cosignature.signature, text, f"cosignature of {cosignature.member}")


def cosignatures_in(signed: SignedHead, keys: Mapping[MemberId, bytes]) -> tuple[Cosignature, ...]:
    """The lines of a note that name a known member's *head* key; all others are ignored.

    Raises:
        Malformed: such a line is not in the form of a cosignature (the whole note is refused).
    """
    known = {(str(m), cosigner_key_id(m, public)) for m, public in keys.items()}
    return tuple(
        _to_cosignature(line) for line in signed.lines if (line.name, line.key_id) in known
    )


def final_members(
    head: TreeHead, cosignatures: Iterable[Cosignature], keys: Mapping[MemberId, bytes]
) -> frozenset[MemberId]:
    """The members in force whose cosignature of this head is good.

    Args:
        keys: *head* key of every member in force at this size; all different.
    Raises:
        Malformed: two cosignatures of one known key (attack 17).
        Forged: a cosignature that names a known key does not fit (attack 18).
    """
    assert len(set(keys.values())) == len(keys), "registration lets no key serve two members"
    return frozenset(_checked(head, cosignatures, keys))


def is_final(
    head: TreeHead,
    cosignatures: Iterable[Cosignature],
    keys: Mapping[MemberId, bytes],
    quorum: int,
) -> bool:
    """Whether a quorum of the members in force cosigned; the host's signature is checked apart.

    Raises:
        Malformed, Forged: as `final_members`.
    """
    _check_quorum(quorum, len(keys))
    return len(final_members(head, cosignatures, keys)) >= quorum


def newest_quorum_time(
    head: TreeHead,
    cosignatures: Iterable[Cosignature],
    keys: Mapping[MemberId, bytes],
    quorum: int,
) -> int | None:
    """The newest time at or after which a quorum cosigned, in POSIX seconds; None if not final.

    It bounds how old a head is even when some members lie about the time.
    Raises:
        Malformed, Forged: as `final_members`.
    """
    _check_quorum(quorum, len(keys))
    times = sorted((c.time_s for c in _checked(head, cosignatures, keys).values()), reverse=True)
    return times[quorum - 1] if len(times) >= quorum else None


def full_note(signed: SignedHead, cosignatures: Iterable[Cosignature]) -> bytes:
    """The signed head with these cosignatures under it; a line they replace is left out."""
    new = {(c.member, c.key_id): c.signature_line() for c in cosignatures}
    kept = (line for line in signed.lines if (line.name, line.key_id) not in new)
    return SignedHead(signed.head, (*kept, *new.values())).note()


def _checked(
    head: TreeHead, cosignatures: Iterable[Cosignature], keys: Mapping[MemberId, bytes]
) -> dict[MemberId, Cosignature]:
    good: dict[MemberId, Cosignature] = {}
    for cosignature in cosignatures:
        member = cosignature.member
        if member not in keys or cosignature.key_id != cosigner_key_id(member, keys[member]):
            continue
        if member in good:
            raise Malformed(f"two cosignatures of one key of {member}")
        verify_cosignature(head, cosignature, keys[member])
        good[member] = cosignature
    return good


def _check_quorum(quorum: int, members: int) -> None:
    assert 2 * quorum > members, "a quorum is more than half of the members"


def _cosigned_text(head: TreeHead, time_s: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % time_s + head.text()


def _to_cosignature(line: SignatureLine) -> Cosignature:
    if not is_slug(line.name):
        raise Malformed("a cosignature names a member")
    if len(line.signature) != _TIME_BYTES + _SIGNATURE_BYTES:
        raise Malformed("a cosignature is 8 bytes of time and 64 of signature")
    time_s = int.from_bytes(line.signature[:_TIME_BYTES], "big")
    if not 0 < time_s <= INTEGER_MAX:
        raise Malformed("a cosignature's time is in POSIX seconds, above 0")
    return Cosignature(MemberId(line.name), line.key_id, time_s, line.signature[_TIME_BYTES:])
