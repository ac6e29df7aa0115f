"""Texts for people outside: that an entry is in the log, and whom to believe about its heads.

`TlogProof` is c2sp.org/tlog-proof@v1: index, inclusion proof and a signed head in one text.
`policy_text` is c2sp.org/tlog-policy; it is derived from keys and quorum and compared, never
trusted (attack 36).
Source: log-and-provenance.md 2.2, 4.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from comity.errors import Forged, Malformed
from comity.log.heads import (
    SignedHead,
    cosignatures_in,
    is_final,
    parse_signed_head,
    verify_host,
)
from comity.log.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from comity.log.notes import (
    ED25519_COSIGNATURE,
    ED25519_NOTE,
    VerifierKey,
    decode_base64,
)
from comity.values import LOG_SIZE_MAX, NOTE_BYTES_MAX, MemberId

_HEADER: Final = "c2sp.org/tlog-proof@v1"
_TOP_BYTES_MAX: Final = 65_536
_PATH_MAX: Final = LOG_SIZE_MAX.bit_length()
_INDEX = re.compile(r"\Aindex (0|[1-9][0-9]{0,12})\Z")
_GROUP: Final = "members"
_RESERVED: Final = frozenset((_GROUP, "none"))


def default_quorum(members: int) -> int:
    """floor(2n/3) + 1 cosigners of n members (README 4.10)."""
    return 2 * members // 3 + 1


@final
@dataclass(frozen=True, slots=True)
class TlogProof:
    """That an entry is in a log. `index` from 0; `path`: 32-byte hashes, leaf side first;
    `extra`: bytes nobody authenticates, b"" when there are none."""

    index: int
    path: tuple[bytes, ...]
    signed: SignedHead
    extra: bytes = b""

    def text(self) -> bytes:
        """The text form; `parse_tlog_proof` gives this value again."""
        lines = [_HEADER]
        if self.extra:
            lines.append(f"extra {_base64(self.extra)}")
        lines.append(f"index {self.index}")
        lines += [_base64(node) for node in self.path]
        return "\n".join(lines).encode("ascii") + b"\n\n" + self.signed.note()

    def verify(
        self, entry: bytes, host_public: bytes, keys: Mapping[MemberId, bytes], quorum: int
    ) -> frozenset[MemberId]:
        """Check that the entry is in the log under a final head.

        Args:
            entry: the exact bytes of the leaf.
            host_public: *host* key of the host at the head's size.
            keys: *head* keys of the members in force at that size.
            quorum: cosignatures that make a head final there.
        Returns:
            The members whose cosignatures are good.
        Raises:
            Malformed: lengths or ranges do not fit, or a known key's line is not in form.
            Forged: a signature or the path does not fit, or the head is not final.
        """
        head = self.signed.head
        verify_host(self.signed, host_public)
        verify_inclusion(leaf_hash(entry), self.index, head.size, self.path, head.root)
        cosignatures = cosignatures_in(self.signed, keys)
        if not is_final(head, cosignatures, keys, quorum):
            raise Forged(
                f"head of size {head.size} is not final: "
                f"{len(cosignatures)} cosignatures, {quorum} needed"
            )
        return frozenset(cosignature.member for cosignature in cosignatures)


def parse_tlog_proof(raw: bytes) -> TlogProof:
    """Read the text form strictly; nothing is verified.

    Raises:
        Malformed: anything but header, at most one extra line, index, hashes of 32 bytes in
            canonical base64, a blank line and a signed head.
    """
    if len(raw) > _TOP_BYTES_MAX + NOTE_BYTES_MAX:
        raise Malformed("inclusion text is too long")
    top, blank, note = raw.partition(b"\n\n")
    try:
        lines = top.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise Malformed("inclusion text is not ASCII above the head") from None
    if not blank or lines[0] != _HEADER or len(top) > _TOP_BYTES_MAX:
        raise Malformed(f"inclusion text starts with {_HEADER} and has a blank line")
    rest, extra = lines[1:], b""
    if rest and rest[0].startswith("extra "):
        extra = decode_base64(rest[0].removeprefix("extra "), "extra")
        if not extra:
            raise Malformed("inclusion text without extra bytes has no extra line")
        rest = rest[1:]
    match = _INDEX.match(rest[0]) if rest else None
    if match is None or int(match[1]) > LOG_SIZE_MAX:
        raise Malformed("inclusion text says its index as a plain decimal")
    path = tuple(decode_base64(line, "inclusion text") for line in rest[1:])
    if len(path) > _PATH_MAX or any(len(node) != HASH_BYTES for node in path):
        raise Malformed(f"an inclusion proof is at most {_PATH_MAX} hashes of 32 bytes")
    return TlogProof(int(match[1]), path, parse_signed_head(note), extra)


def policy_text(
    origin: str,
    host_public: bytes,
    keys: Mapping[MemberId, bytes],
    quorum: int,
    urls: Mapping[MemberId, str] | None = None,
) -> str:
    """The policy other tools can read: one log, every member a witness, a quorum of them.

    Args:
        origin: origin line of the log, the name of its key.
        host_public: *host* key in force.
        keys: *head* key of each member in force; its order is the order of the lines.
        quorum: cosigners that make a head final.
        urls: where a member's mirror answers, when known (some readers insist on it).
    """
    assert 1 <= quorum <= len(keys)
    lines = [f"log {VerifierKey(origin, ED25519_NOTE, host_public).text()}"]
    # A slug holds no underscore, so a name that the format reserves stays unique with one.
    names = {m: f"{m}_" if m in _RESERVED else str(m) for m in keys}
    for member, public in keys.items():
        url = (urls or {}).get(member)
        witness = (
            f"witness {names[member]} {VerifierKey(member, ED25519_COSIGNATURE, public).text()}"
        )
        lines.append(f"{witness} {url}" if url else witness)
    lines.append(f"group {_GROUP} {quorum} {' '.join(names.values())}")
    lines.append(f"quorum {_GROUP}")
    return "\n".join(lines) + "\n"


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
