"""Statements as bytes: the one envelope, the one payload, the one canonical JSON.

A payload is in form if and only if it equals what we would have written for what it says
(log-and-provenance.md 1.1 to 1.3): duplicate or unsorted members, white space, other escapes,
other numbers, other base64 and other subjects all fail that one comparison. Bounds on depth,
arrays and strings are those of the types. Whether a signature fits is `keysets`' business; whether
a statement is allowed, `commons/`'s. `read` and `read_canonical` raise only `Malformed`.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, Final, TypeVar, final, get_type_hints

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta, Raw, Struct

from comity.errors import Malformed
from comity.statements.entries import Body, Statement
from comity.statements.fields import (
    Bytes32,
    CommonsIdField,
    Count,
    MemberField,
    StatementIdField,
    TextField,
)
from comity.statements.governing import GOVERNING
from comity.statements.rounds import ROUNDING
from comity.statements.studies import STUDYING
from comity.values import (
    ENVELOPE_BYTES_MAX,
    LOG_SIZE_MAX,
    PAYLOAD_BYTES_MAX,
    TEXT_BYTES_MAX,
    CommonsId,
    MemberId,
    StatementId,
)

T = TypeVar("T", bound=Struct)

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_PREFIX: Final = "https://comity/statement/"
BODIES: Final[dict[str, type[Body]]] = {
    body.tag: body for body in (*GOVERNING, *STUDYING, *ROUNDING)
}
"""Every class that may be said, by its tag."""

# An envelope and a payload are these pieces around what varies; nothing in them is optional.
_ENVELOPE_HEAD: Final = b'{"payload":"'
_ENVELOPE_KEYID: Final = b'","payloadType":"%b","signatures":[{"keyid":"' % PAYLOAD_TYPE.encode()
_ENVELOPE_SIG: Final = b'","sig":"'
_ENVELOPE_END: Final = b'"}]}'
_KEYID_CHARS: Final = 16
_SIG_CHARS: Final = 88
_KEYID_AT: Final = -(_KEYID_CHARS + len(_ENVELOPE_SIG) + _SIG_CHARS + len(_ENVELOPE_END))
_SIG_AT: Final = -(_SIG_CHARS + len(_ENVELOPE_END))
_PAYLOAD_HEAD: Final = b'{"_type":"%b","predicate":' % STATEMENT_TYPE.encode()
_PAYLOAD_TAG: Final = b',"predicateType":"%b' % PREDICATE_PREFIX.encode()
_HEX: Final = frozenset(b"0123456789abcdef")
# What parsers raise for bad bytes: their own errors, bad UTF-8 or base64, deep nesting.
_NOT_IN_FORM: Final = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)


@final
class _Head(Struct, frozen=True, forbid_unknown_fields=True):
    root: Bytes32
    size: Annotated[int, Meta(ge=0, le=LOG_SIZE_MAX)]


@final
class _Predicate(Struct, frozen=True, forbid_unknown_fields=True):
    author: MemberField
    body: Raw
    commons: CommonsIdField
    head: _Head
    prev: StatementIdField
    seq: Count
    time: Count


_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_PREDICATE: Final = msgspec.json.Decoder(_Predicate)
_BODY_DECODERS: Final[dict[bytes, msgspec.json.Decoder[Body]]] = {
    tag.encode(): msgspec.json.Decoder(body) for tag, body in BODIES.items()
}
_TEXTS: Final[dict[str, tuple[str, ...]]] = {
    tag: tuple(
        name
        for name, hint in get_type_hints(body, include_extras=True).items()
        if hint == TextField
    )
    for tag, body in BODIES.items()
}
"""Free text of each body: msgspec bounds its characters, the profile its bytes."""


@final
@dataclass(frozen=True, slots=True)
class Draft:
    """What an author is about to sign; the fields are those of `Statement`.

    head_root: 32 bytes. time_s: POSIX seconds by the author's own clock.
    """

    author: MemberId
    commons: CommonsId
    seq: int
    prev: StatementId
    head_size: int
    head_root: bytes
    time_s: int
    body: Body


@final
@dataclass(frozen=True, slots=True)
class Unverified:
    """A statement in form whose signature nobody has checked yet: give it to `keysets.check`.

    keyid: 16 hex digits, a hint. signed: the pre-authentication encoding, the bytes that the
    signature (64 bytes) must fit.
    """

    statement: Statement
    keyid: str
    signed: bytes
    signature: bytes


def pae(payload: bytes, *, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """DSSE's pre-authentication encoding: what is signed (log-and-provenance.md 1.1)."""
    name = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def statement_id(payload: bytes) -> StatementId:
    """SHA-256 of the pre-authentication encoding; the signature's bytes are not in it."""
    return StatementId(sha256(pae(payload)).hexdigest())


def payload_of(draft: Draft) -> bytes:
    """The canonical payload. Does not check that the fields are in bounds: `sign` does."""
    predicate = _Predicate(
        author=draft.author,
        body=Raw(_ENCODER.encode(draft.body)),
        commons=draft.commons,
        head=_Head(root=draft.head_root, size=draft.head_size),
        prev=draft.prev,
        seq=draft.seq,
        time=draft.time_s,
    )
    return _write(predicate, draft.body)


def sign(draft: Draft, statement_key: Ed25519PrivateKey) -> bytes:
    """The envelope of a statement, ready to be sent and stored byte for byte.

    Raises:
        Malformed: a field is out of bounds, so nobody could read it; nothing is signed.
    """
    payload = payload_of(draft)
    signed = pae(payload)
    _read_payload(payload, signed)
    keyid = keyid_of(statement_key.public_key().public_bytes_raw())
    envelope = _envelope(payload, keyid.encode(), statement_key.sign(signed))
    if len(envelope) > ENVELOPE_BYTES_MAX:
        raise Malformed(f"an envelope has at most {ENVELOPE_BYTES_MAX} bytes, not {len(envelope)}")
    return envelope


@lru_cache(maxsize=4096)
def keyid_of(public_raw: bytes) -> str:
    """First 16 hex digits of SHA-256 of an Ed25519 key's SubjectPublicKeyInfo in DER (RFC 8410)."""
    return sha256(bytes.fromhex("302a300506032b6570032100") + public_raw).hexdigest()[:16]


def read(envelope: bytes) -> Unverified:
    """Read an envelope, strictly; its signature is not checked. About 10 µs.

    Raises:
        Malformed: anything else than the canonical bytes of one statement with one signature.
    """
    if len(envelope) > ENVELOPE_BYTES_MAX:
        raise Malformed(f"an envelope has at most {ENVELOPE_BYTES_MAX} bytes, not {len(envelope)}")
    # What follows the payload has a fixed length, so each piece is found by counting.
    keyid = envelope[_KEYID_AT : _KEYID_AT + _KEYID_CHARS]
    end_of_payload = _KEYID_AT - len(_ENVELOPE_KEYID)
    try:
        payload = a2b_base64(envelope[len(_ENVELOPE_HEAD) : end_of_payload])
        signature = a2b_base64(envelope[_SIG_AT : -len(_ENVELOPE_END)])
    except ValueError as error:
        raise Malformed("payload and sig of an envelope are standard base64") from error
    if _envelope(payload, keyid, signature) != envelope or len(signature) != 64:
        raise Malformed(
            "expected a canonical DSSE envelope of one in-toto statement with one 64-byte signature"
        )
    if not _HEX.issuperset(keyid):
        raise Malformed("a keyid is 16 lower-case hex digits")
    signed = pae(payload)
    return Unverified(_read_payload(payload, signed), keyid.decode(), signed, signature)


def canonical(value: Struct) -> bytes:
    """The canonical JSON of a document: sorted members, no white space."""
    return _ENCODER.encode(value)


def read_canonical(blob: bytes, kind: type[T], bytes_max: int) -> T:
    """Read a canonical JSON document (a charter, a key set, a layout).

    Args:
        kind: a Struct that forbids unknown fields and bounds its strings and arrays.
        bytes_max: size limit, checked before anything is parsed.
    Raises:
        Malformed: too big, not of this kind, or not the canonical encoding of itself.
    """
    if len(blob) > bytes_max:
        raise Malformed(f"a {kind.__name__} has at most {bytes_max} bytes, not {len(blob)}")
    try:
        value: T = _decoder(kind).decode(blob)
        encoded = _ENCODER.encode(value)
    except _NOT_IN_FORM as error:
        raise Malformed(f"not a {kind.__name__}: {type(error).__name__}") from error
    if encoded != blob:
        raise Malformed(f"this {kind.__name__} is not canonical JSON: write it with `canonical`")
    return value


@lru_cache(maxsize=64)
def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(kind)


def _envelope(payload: bytes, keyid: bytes, signature: bytes) -> bytes:
    return b"".join(
        (
            _ENVELOPE_HEAD,
            b2a_base64(payload, newline=False),
            _ENVELOPE_KEYID,
            keyid,
            _ENVELOPE_SIG,
            b2a_base64(signature, newline=False),
            _ENVELOPE_END,
        )
    )


def _write(predicate: _Predicate, body: Body) -> bytes:
    # Subjects need no escapes: names are those in the classes, digests are hex.
    subjects = ",".join(
        f'{{"digest":{{"sha256":"{digest}"}},"name":"{name}"}}'
        for name, digest in body.about() or (("charter", predicate.commons),)
    )
    return b'%b%b%b%b/v1","subject":[%b]}' % (
        _PAYLOAD_HEAD,
        _ENCODER.encode(predicate),
        _PAYLOAD_TAG,
        body.tag.encode(),
        subjects.encode(),
    )


def _read_payload(payload: bytes, signed: bytes) -> Statement:
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise Malformed(f"a payload has at most {PAYLOAD_BYTES_MAX} bytes, not {len(payload)}")
    # In a canonical payload only subjects follow the type, and they never hold these bytes. Bytes
    # that lead us to another place do not survive the comparison below.
    end = payload.rfind(_PAYLOAD_TAG)
    tag = payload[end + len(_PAYLOAD_TAG) : payload.find(b"/v1", end)]
    decoder = _BODY_DECODERS.get(tag) if end >= 0 else None
    if decoder is None:
        raise Malformed(f"expected an in-toto statement of a type {PREDICATE_PREFIX}<tag>/v1")
    try:
        predicate = _PREDICATE.decode(payload[len(_PAYLOAD_HEAD) : end])
        body = decoder.decode(predicate.body)
        written = _write(msgspec.structs.replace(predicate, body=Raw(_ENCODER.encode(body))), body)
        too_long = any(
            len(getattr(body, name).encode()) > TEXT_BYTES_MAX for name in _TEXTS[body.tag]
        )
    except _NOT_IN_FORM as error:
        raise Malformed(f"not the fields of {tag.decode()}: {type(error).__name__}") from error
    if written != payload:
        raise Malformed(f"this {body.tag} does not equal the canonical encoding of what it says")
    if too_long:
        raise Malformed(f"a text of {body.tag} has at most {TEXT_BYTES_MAX} bytes of UTF-8")
    return Statement(
        StatementId(sha256(signed).hexdigest()),
        predicate.author,
        predicate.commons,
        predicate.seq,
        predicate.prev,
        predicate.head.size,
        predicate.head.root,
        predicate.time,
        body,
    )
