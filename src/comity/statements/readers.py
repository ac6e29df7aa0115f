"""Asking a host to read: a signed request that shows who asks, outside every author chain.

A DSSE envelope with its own payload type, so that it can never be taken for a statement. The host
answers it with a token that is good for an hour (architecture.md 1.8). Whether the time in it is
near enough is the host's to judge; `read_request` raises only `Malformed`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta, Struct

from comity.statements.fields import Bytes64, CommonsIdField, Count, MemberField
from comity.statements.keysets import check_signature
from comity.statements.wire import canonical, keyid_of, pae, read_canonical
from comity.values import CommonsId, MemberId

READER_TYPE: Final = "application/vnd.comity.reader+json"
REQUEST_BYTES_MAX: Final = 2_048


@final
class ReaderRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Who asks, of which commons, and the time (POSIX seconds) by its own clock."""

    commons: CommonsIdField
    member: MemberField
    time: Count


@final
class _Signature(Struct, frozen=True, forbid_unknown_fields=True):
    keyid: str
    sig: Bytes64


@final
class _Envelope(Struct, frozen=True, forbid_unknown_fields=True):
    payload: bytes
    payloadType: Literal["application/vnd.comity.reader+json"]
    signatures: Annotated[tuple[_Signature, ...], Meta(min_length=1, max_length=1)]


def ask_to_read(
    commons: CommonsId, member: MemberId, *, time_s: int, statement_key: Ed25519PrivateKey
) -> bytes:
    """The signed request of a member, as the body of `POST /readers`."""
    payload = canonical(ReaderRequest(commons, member, time_s))
    signature = _Signature(
        keyid_of(statement_key.public_key().public_bytes_raw()),
        statement_key.sign(pae(payload, payload_type=READER_TYPE)),
    )
    return canonical(_Envelope(payload, READER_TYPE, (signature,)))


def read_request(envelope: bytes) -> tuple[ReaderRequest, bytes, bytes]:
    """The request, the bytes that were signed and the signature (64 bytes), not yet checked.

    Raises:
        Malformed: anything else than a canonical envelope of a canonical request.
    """
    outer = read_canonical(envelope, _Envelope, REQUEST_BYTES_MAX)
    request = read_canonical(outer.payload, ReaderRequest, REQUEST_BYTES_MAX)
    signed = pae(outer.payload, payload_type=READER_TYPE)
    return request, signed, outer.signatures[0].sig


def check_request(envelope: bytes, public_raw: bytes) -> ReaderRequest:
    """The request, once its signature fits the member's statement key (32 bytes).

    Raises:
        Malformed: as `read_request`. Forged: made with another key.
    """
    request, signed, signature = read_request(envelope)
    check_signature(public_raw, signature, signed)
    return request
