"""The field types that statements are made of, each with its bound. Strict: nothing is converted.

Bytes are standard base64 on the wire (msgspec), digests and ids are text (`values.py`). An absent
optional field is left out; a null is never canonical.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from comity.values import (
    ADDRESS_BYTES_MAX,
    ADDRESS_PATTERN,
    DEADLINE_S_MAX,
    DIGEST_PATTERN,
    DISEASE_PATTERN,
    INTEGER_MAX,
    JSON_STRING_BYTES_MAX,
    LOG_SIZE_MAX,
    ROSTER_MAX,
    SEALING_KEY_BYTES,
    SLUG_BYTES_MAX,
    SLUG_PATTERN,
    TEXT_BYTES_MAX,
    VECTOR_WORDS_MAX,
    CommonsId,
    DatasetId,
    Digest,
    MemberId,
    Seat,
    StatementId,
)

_HEX = Meta(pattern=DIGEST_PATTERN)
_SLUG = Meta(pattern=SLUG_PATTERN, min_length=1, max_length=SLUG_BYTES_MAX)

DigestField = Annotated[Digest, _HEX]
StatementIdField = Annotated[StatementId, _HEX]
CommonsIdField = Annotated[CommonsId, _HEX]
MemberField = Annotated[MemberId, _SLUG]
DatasetField = Annotated[DatasetId, _SLUG]
SlugField = Annotated[str, _SLUG]
TextField = Annotated[str, Meta(max_length=TEXT_BYTES_MAX)]
ReasonField = Annotated[str, Meta(min_length=1, max_length=TEXT_BYTES_MAX)]
"""Free text that may not be empty."""
AddressField = Annotated[
    str, Meta(pattern=ADDRESS_PATTERN, min_length=1, max_length=ADDRESS_BYTES_MAX)
]
"""Where a host answers: printable ASCII without spaces."""
DiseaseField = Annotated[str, Meta(pattern=DISEASE_PATTERN, max_length=SLUG_BYTES_MAX)]
"""A term of an ontology of diseases, such as MONDO:0004995."""
EvidenceField = Annotated[str, Meta(min_length=1, max_length=JSON_STRING_BYTES_MAX)]
LogSize = Annotated[int, Meta(ge=0, le=LOG_SIZE_MAX)]
Count = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
Positive = Annotated[int, Meta(ge=1, le=INTEGER_MAX)]
Duration = Annotated[int, Meta(ge=1, le=DEADLINE_S_MAX)]
"""Seconds."""
SeatField = Annotated[Seat, Meta(ge=1, le=ROSTER_MAX)]
Words = Annotated[int, Meta(ge=8, le=VECTOR_WORDS_MAX)]
Millionths = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
Bytes16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Bytes64 = Annotated[bytes, Meta(min_length=64, max_length=64)]
Bytes65 = Annotated[bytes, Meta(min_length=65, max_length=65)]
Bytes128 = Annotated[bytes, Meta(min_length=128, max_length=128)]
Signature = Annotated[bytes, Meta(min_length=8, max_length=72)]
SealingKey = Annotated[bytes, Meta(min_length=SEALING_KEY_BYTES, max_length=SEALING_KEY_BYTES)]
BitSet = Annotated[bytes, Meta(min_length=1, max_length=-(-ROSTER_MAX // 8))]

About = tuple[str, Digest]
"""One thing a statement is about: a name and a digest."""
