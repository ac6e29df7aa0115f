"""Signed notes of C2SP: the text, its signature lines, and verifier keys as text.

A strict line parser: bytes that come back from here, written again, are the same bytes. It knows
names, key ids and signature bytes, but not what a signature means; lines of unknown keys (also
post-quantum ones) are kept and ignored. A key id is a hint, the full key decides (attack 20).
Source: c2sp.org/signed-note; log-and-provenance.md 2.1, attacks 17 to 20, 30, 31.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final, final

from comity.errors import Forged, Malformed
from comity.statements.keysets import check_signature
from comity.values import NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX

ED25519_NOTE: Final = 0x01
"""Key type of a host: a plain Ed25519 signature of the note's text."""
ED25519_COSIGNATURE: Final = 0x04
"""Key type of a member that cosigns: Ed25519 with a time."""
ML_DSA_COSIGNATURE: Final = 0x06
"""Key type of a post-quantum cosigner: known as a key, ignored as a signature."""

KEY_ID_BYTES: Final = 4
PUBLIC_KEY_BYTES: Final = {ED25519_NOTE: 32, ED25519_COSIGNATURE: 32, ML_DSA_COSIGNATURE: 1312}

_NAME_CHARS_MAX: Final = 256
_LINE_START: Final = "\u2014 "
_KEY_ID_TEXT = re.compile(r"\A[0-9a-f]{8}\Z")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_NOT_IN_NAME = re.compile(r"[\s+\x00-\x1f\ud800-\udfff]")


@lru_cache(maxsize=4096)
def note_key_id(name: str, key_type: int, public: bytes) -> bytes:
    """The first 4 bytes of SHA-256(name, newline, type byte, public key)."""
    return sha256(name.encode() + b"\n" + bytes([key_type]) + public).digest()[:KEY_ID_BYTES]


@final
@dataclass(frozen=True, slots=True)
class SignatureLine:
    """One line under a note. `key_id`: 4 bytes; `signature`: what follows it, never empty."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> bytes:
        """The line as it stands in the note, with its newline."""
        value = base64.b64encode(self.key_id + self.signature).decode("ascii")
        return f"{_LINE_START}{self.name} {value}\n".encode()


@final
@dataclass(frozen=True, slots=True)
class Note:
    """A text (it ends in a newline) and the lines under it, in their order."""

    text: bytes
    lines: tuple[SignatureLine, ...]

    def note(self) -> bytes:
        """The whole note as bytes."""
        return self.text + b"\n" + b"".join(line.line() for line in self.lines)


@final
@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with its name. `key_type`: one of the three types above; `public`: raw."""

    name: str
    key_type: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The 4-byte id that signature lines carry."""
        return note_key_id(self.name, self.key_type, self.public)

    def text(self) -> str:
        """`<name>+<8 hex>+<base64 of type and key>`, the form other tools read."""
        value = base64.b64encode(bytes([self.key_type]) + self.public).decode("ascii")
        return f"{self.name}+{self.key_id.hex()}+{value}"


def parse_note(raw: bytes) -> Note:
    """Read a signed note; no signature is checked.

    Raises:
        Malformed: over 1 MiB, not UTF-8, a control character other than newline, no final
            newline, no blank line before the signatures, none or more than 512 of them, or a line
            that is not exactly in form.
    """
    if len(raw) > NOTE_BYTES_MAX:
        raise Malformed(f"a note has at most {NOTE_BYTES_MAX} bytes, not {len(raw)}")
    whole = _decode_utf8(raw, "note")
    if _CONTROL.search(whole):
        raise Malformed("a note holds no control characters but newline")
    text, blank, signatures = whole.rpartition("\n\n")
    if not blank or not signatures.endswith("\n"):
        raise Malformed("a note is a text, a blank line, and signature lines that end in newline")
    lines = signatures[:-1].split("\n")
    if len(lines) > NOTE_SIGNATURES_MAX:
        raise Malformed(f"a note has at most {NOTE_SIGNATURES_MAX} signatures, not {len(lines)}")
    return Note((text + "\n").encode(), tuple(_parse_line(line) for line in lines))


def parse_signature_line(raw: bytes) -> SignatureLine:
    """Read one signature line with its newline. Raises Malformed."""
    if len(raw) > NOTE_BYTES_MAX:
        raise Malformed("signature line too long")
    text = _decode_utf8(raw, "signature line")
    if _CONTROL.search(text) or text.count("\n") != 1 or not text.endswith("\n"):
        raise Malformed("a signature line is one line that ends in newline")
    return _parse_line(text[:-1])


def parse_verifier_key(text: str) -> VerifierKey:
    """Read a verifier key; the key id in it must be the one its name and key give.

    Raises:
        Malformed: not in form, an unknown type, a key of the wrong length.
        Forged: the id is another one.
    """
    name, _, rest = text.partition("+")
    key_id, _, value = rest.partition("+")
    check_key_name(name)
    if not _KEY_ID_TEXT.match(key_id):
        raise Malformed("a verifier key is name+8 lower-case hex digits+base64")
    key = decode_base64(value, "verifier key")
    if not key or PUBLIC_KEY_BYTES.get(key[0]) != len(key) - 1:
        raise Malformed("verifier key of an unknown type or a wrong length")
    verifier = VerifierKey(name, key[0], key[1:])
    if verifier.key_id.hex() != key_id:
        raise Forged(f"verifier key says id {key_id}, its name and key give another")
    return verifier


def check_key_name(name: str) -> None:
    """Key names are not empty and hold no space, plus or control character. Raises Malformed."""
    if not 1 <= len(name) <= _NAME_CHARS_MAX:
        raise Malformed(f"a key name has 1 to {_NAME_CHARS_MAX} characters")
    if _NOT_IN_NAME.search(name):
        raise Malformed("a key name holds no spaces, plus signs or control characters")


def decode_base64(text: str, what: str) -> bytes:
    """Standard base64 with padding and clear spare bits, nothing else. Raises Malformed."""
    try:
        value = base64.b64decode(text, validate=True)
    except ValueError:
        value = b""
    if base64.b64encode(value) != text.encode("utf-8", "replace"):
        raise Malformed(f"{what}: not canonical base64")
    return value


def verify_ed25519(public: bytes, signature: bytes, message: bytes, what: str) -> None:
    """Check one Ed25519 signature by the one rule of all members. Raises Forged, naming `what`."""
    try:
        check_signature(public, signature, message)
    except Forged as error:
        raise Forged(f"{what}: {error}") from error


def _parse_line(line: str) -> SignatureLine:
    if not line.startswith(_LINE_START):
        raise Malformed("a signature line starts with an em dash and a space")
    name, space, value = line[len(_LINE_START) :].partition(" ")
    if not space:
        raise Malformed("a signature line is em dash, name, base64")
    check_key_name(name)
    signature = decode_base64(value, "signature line")
    if len(signature) <= KEY_ID_BYTES:
        raise Malformed("a signature line holds a key id and a signature")
    return SignatureLine(name, signature[:KEY_ID_BYTES], signature[KEY_ID_BYTES:])


def _decode_utf8(raw: bytes, what: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed(f"{what} is not UTF-8") from None
