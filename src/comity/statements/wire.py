"""Statements as bytes: the one envelope, the one payload, the one canonical JSON.

A payload is in form if and only if it equals what we would have written for what it says
(log-and-provenance.md 1.1 to 1.3): duplicate or unsorted members, white space, other escapes,
other numbers, other base64 and other subjects all fail that one comparison. Bounds on depth,
arrays and strings are those of the types. Whether a signature fits is `keysets`' business; whether
a statement is allowed, `commons/`'s. `read` and `read_canonical` raise only `Malformed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, Final, Literal, TypeVar, final, get_type_hints

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta, Raw, Struct, field

from comity.errors import Malformed
from comity.statements.entries import Body, Statement
from comity.statements.fields import (
    Bytes32,
    Bytes64,
    CommonsIdField,
    Count,
    EvidenceField,
    LogSize,
    MemberField,
    ReasonField,
    StatementIdField,
    TextField,
)
from comity.statements.governing import GOVERNING
from comity.statements.membership import BELONGING
from comity.statements.rounds import ROUNDING
from comity.statements.studies import STUDYING
from comity.values import (
    ENVELOPE_BYTES_MAX,
    JSON_STRING_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    SUBJECTS_MAX,
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
    body.tag: body for body in (*GOVERNING, *BELONGING, *STUDYING, *ROUNDING)
}
"""Every class that may be said, by its tag."""

# What parsers raise for bad bytes: their own errors, bad UTF-8 or base64, deep nesting.
_NOT_IN_FORM: Final = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)


@final
class _SignatureOf(Struct, frozen=True, forbid_unknown_fields=True):
    keyid: Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")]
    sig: Bytes64


@final
class _Envelope(Struct, frozen=True, forbid_unknown_fields=True):
    payload: bytes
    payloadType: Literal["application/vnd.in-toto+json"]
    signatures: tuple[_SignatureOf]


@final
class _Head(Struct, frozen=True, forbid_unknown_fields=True):
    root: Bytes32
    size: LogSize


@final
class _Predicate(Struct, frozen=True, forbid_unknown_fields=True):
    author: MemberField
    body: Raw
    commons: CommonsIdField
    head: _Head
    prev: StatementIdField
    seq: Count
    time: Count


@final
class _Sha256(Struct, frozen=True, forbid_unknown_fields=True):
    sha256: str


@final
class _Subject(Struct, frozen=True, forbid_unknown_fields=True):
    digest: _Sha256
    name: str


@final
class _Payload(Struct, frozen=True, forbid_unknown_fields=True):
    statement_type: Literal["https://in-toto.io/Statement/v1"] = field(name="_type")
    predicate: _Predicate
    predicateType: str
    subject: Annotated[tuple[_Subject, ...], Meta(min_length=1, max_length=SUBJECTS_MAX)]


_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_PAYLOAD: Final = msgspec.json.Decoder(_Payload)
_BODY_DECODERS: Final[dict[str, msgspec.json.Decoder[Body]]] = {
    f"{PREDICATE_PREFIX}{tag}/v1": msgspec.json.Decoder(body) for tag, body in BODIES.items()
}
_TEXT_BYTES: Final = {
    TextField: TEXT_BYTES_MAX,
    ReasonField: TEXT_BYTES_MAX,
    EvidenceField: JSON_STRING_BYTES_MAX,
}
_TEXTS: Final[dict[str, tuple[tuple[str, int], ...]]] = {
    tag: tuple(
        (name, _TEXT_BYTES[hint])
        for name, hint in get_type_hints(body, include_extras=True).items()
        if hint in _TEXT_BYTES
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
class Unverified(Struct, frozen=True):
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
    _read_payload(payload, pae(payload))
    return _sealed(payload, statement_key)


def sign_again(envelope: bytes, statement_key: Ed25519PrivateKey) -> bytes:
    """The same statement, by id and payload, in an envelope signed with another key.

    For its author, whose keys changed before it was logged. Raises Malformed: no envelope.
    """
    read(envelope)
    return _sealed(_ENVELOPE.decode(envelope).payload, statement_key)


def _sealed(payload: bytes, statement_key: Ed25519PrivateKey) -> bytes:
    keyid = keyid_of(statement_key.public_key().public_bytes_raw())
    signature = _SignatureOf(keyid, statement_key.sign(pae(payload)))
    return _ENCODER.encode(_Envelope(payload, PAYLOAD_TYPE, (signature,)))


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
    try:
        wrapped = _ENVELOPE.decode(envelope)
    except _NOT_IN_FORM as error:
        raise Malformed(f"not an envelope with one signature: {_why(error)}") from error
    if _ENCODER.encode(wrapped) != envelope:
        raise Malformed("this envelope is not the canonical JSON of what it holds")
    signed = pae(wrapped.payload)
    statement = _read_payload(wrapped.payload, signed)
    signature = wrapped.signatures[0]
    return Unverified(statement, signature.keyid, signed, signature.sig)


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
        raise Malformed(f"not a {kind.__name__}: {_why(error)}") from error
    if encoded != blob:
        raise Malformed(f"this {kind.__name__} is not canonical JSON: write it with `canonical`")
    return value


@lru_cache(maxsize=64)
def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(kind)


def _why(error: Exception) -> str:
    # Our parser names the place and the type it expected; escaped, since names may be anybody's.
    return ascii(str(error))[1:-1][:200]


def _write(predicate: _Predicate, body: Body) -> bytes:
    about = body.about() or (("charter", predicate.commons),)
    return _ENCODER.encode(
        _Payload(
            STATEMENT_TYPE,
            predicate,
            f"{PREDICATE_PREFIX}{body.tag}/v1",
            tuple([_Subject(_Sha256(digest), name) for name, digest in about]),
        )
    )


def _read_payload(payload: bytes, signed: bytes) -> Statement:
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise Malformed(f"a payload has at most {PAYLOAD_BYTES_MAX} bytes, not {len(payload)}")
    try:
        read_so_far = _PAYLOAD.decode(payload)
    except _NOT_IN_FORM as error:
        raise Malformed(f"not an in-toto statement of ours: {_why(error)}") from error
    decoder = _BODY_DECODERS.get(read_so_far.predicateType)
    if decoder is None:
        raise Malformed("unknown predicateType: a newer version may know it; look for an update")
    predicate = read_so_far.predicate
    try:
        body = decoder.decode(predicate.body)
        same_body = _ENCODER.encode(body) == bytes(predicate.body)
        written = _write(predicate, body)
        for name, bytes_max in _TEXTS[body.tag]:
            if len(getattr(body, name).encode()) > bytes_max:
                raise Malformed(f"{name} has at most {bytes_max} bytes of UTF-8")
    except _NOT_IN_FORM as error:
        raise Malformed(f"not the body of its type: {_why(error)}") from error
    if not same_body or written != payload:
        raise Malformed(f"this {body.tag} does not equal the canonical encoding of what it says")
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
