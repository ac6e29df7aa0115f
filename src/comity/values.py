"""Ids, digests, times, labelled hashes, and every limit with its unit. Knows nothing else.

Times are POSIX seconds (`..._s`), the one unit on the wire and in code. Digests are SHA-256,
written as 64 lower-case hex digits wherever they are text. Labelled hashes: aggregation.md 5.1.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from enum import Enum
from typing import Final, Literal, NewType, get_args

Digest = NewType("Digest", str)
"""SHA-256 as 64 lower-case hex digits."""

MemberId = NewType("MemberId", str)
"""Lower-case ASCII labels joined by dots, 1 to 64 bytes; never used twice in a commons."""

StatementId = NewType("StatementId", str)
"""SHA-256 of a statement's DSSE pre-authentication encoding, 64 hex digits."""

CommonsId = NewType("CommonsId", str)
"""SHA-256 of the founding charter's canonical bytes, 64 hex digits."""

BlobName = NewType("BlobName", str)
"""SHA-256 of the bytes, or the root of a round's vector or sum; 64 hex digits."""

DatasetId = NewType("DatasetId", str)
"""A slug like a member id; unique in a commons."""

Seat = NewType("Seat", int)
"""Place in the roster of an attempt, from 1."""


class PlainHttp(Enum):
    """Given in place of TLS by who wants plain HTTP between machines, say to a reverse proxy."""

    ON_PURPOSE = "on-purpose"


Wall = Literal["network", "files", "processes", "limits", "gpu"]
"""What may hold around a study's process: no network; no other files; no other processes; memory,
time and files bounded; no graphics processor."""

WALLS: Final[tuple[Wall, ...]] = get_args(Wall)

SandboxPolicy = Literal["require", "warn"] | tuple[Wall, ...]
"""Which walls must hold: all, none, or those listed."""


def walls_of(policy: SandboxPolicy) -> frozenset[Wall]:
    """The walls that must hold."""
    if policy == "require":
        return frozenset(WALLS)
    return frozenset() if policy == "warn" else frozenset(policy)


# patterns (msgspec searches, so they are anchored; \\Z, because $ would let a newline pass)
DIGEST_PATTERN: Final = r"\A[0-9a-f]{64}\Z"
SLUG_PATTERN: Final = r"\A[a-z0-9-]+(\.[a-z0-9-]+)*\Z"
DISEASE_PATTERN: Final = r"\A[A-Z][A-Za-z]{1,15}:[0-9A-Za-z]{1,20}\Z"
ADDRESS_PATTERN: Final = r"\A[!-~]+\Z"

# limits of statements (log-and-provenance.md 1)
ENVELOPE_BYTES_MAX: Final = 65_535
PAYLOAD_BYTES_MAX: Final = 40_000
JSON_DEPTH_MAX: Final = 16
JSON_ARRAY_MAX: Final = 4_096
JSON_STRING_BYTES_MAX: Final = 16_384
INTEGER_MAX: Final = 2**53 - 1
SLUG_BYTES_MAX: Final = 64
TEXT_BYTES_MAX: Final = 2_000
ADDRESS_BYTES_MAX: Final = 256
SUBJECTS_MAX: Final = 16
LOG_SIZE_MAX: Final = 2**40 - 1
NOTE_BYTES_MAX: Final = 1_048_576
NOTE_SIGNATURES_MAX: Final = 512
# limits of a commons
MEMBERS_MAX: Final = 200
CHARTER_BYTES_MAX: Final = 1_048_576
DATASETS_PER_MEMBER_MAX: Final = 1_000
STUDIES_OPEN_PER_MEMBER_MAX: Final = 100
SITE_BYTES_MAX: Final = 262_144
DISEASES_MAX: Final = 64
FAILURES_PER_STUDY_MAX: Final = 3
"""Of one member: what its failures can tell at all is bounded (ADR 58)."""

FAILURE_LINE_MAX: Final = 65_535
PROPOSALS_OPEN_PER_MEMBER_MAX: Final = 32
APPLICATIONS_OPEN_MAX: Final = 32
APPLICATION_OPEN_S: Final = 30 * 86_400
EVIDENCE_MAX: Final = 8
NOTICES_OPEN_PER_MEMBER_MAX: Final = 8
NOTICE_OPEN_S: Final = 180 * 86_400
# the floor: what no charter and no vote goes below (governance-benefit-safety-ui.md A5)
NOTICE_S_MIN: Final = 14 * 86_400
EXIT_S_MIN: Final = 14 * 86_400
UNNOTICED_S_MAX: Final = 72 * 3_600
SUSPENSION_S_MAX: Final = 90 * 86_400
SUSPENSION_APART_S: Final = 30 * 86_400
# time
SEEN_INTERVAL_S: Final = 3_600
DAY_S: Final = 86_400
CLOCK_APART_S: Final = 300
DEADLINE_S_MAX: Final = 366 * 86_400
# limits of rounds (aggregation.md 4, 5.1)
ROSTER_MIN: Final = 3
ROSTER_MAX: Final = 200
COMPLETE_GRAPH_MAX: Final = 64
ROW_WORDS: Final = 2**14
CHUNK_WORDS: Final = 2**20
HEADER_WORDS: Final = 6
VECTOR_WORDS_MAX: Final = 2**28
SEALING_KEY_BYTES: Final = 1_216
ENVELOPE_PLAIN_BYTES: Final = 128
SEALED_BYTES: Final = 1_264
ROW_BYTES: Final = 128
# limits of the shell
BLOB_BYTES_MAX: Final = 8 * 2**30
BLOB_CHUNK_BYTES: Final = 2**20
STUDY_FILE_BYTES_MAX: Final = 1_048_576
STATEMENTS_PER_REQUEST_MAX: Final = 256
ENTRIES_PER_REQUEST_MAX: Final = 2_048

NOTHING: Final = Digest("0" * 64)
"""The digest that means "none": before the first statement, the model digest of a query."""

SHARE_FIELD: Final = 2**255 - 19
"""Shares and the secrets they give are below it, 32 bytes big-endian (aggregation.md 5.1)."""

CHECK_FIELD: Final = 2**127 - 1
"""Check values are below it, 16 bytes big-endian (aggregation.md 5.1)."""

LOW_ORDER_X25519: Final = frozenset(
    (
        0,
        1,
        2**255 - 20,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    )
)
"""The five low-order u-coordinates (aggregation.md 5.14)."""

_AGG_DOMAIN: Final = b"comity/agg/v1\x00"
_SLUG = re.compile(SLUG_PATTERN)
_DIGEST = re.compile(DIGEST_PATTERN)


def u16(number: int) -> bytes:
    """Two bytes, big-endian."""
    return number.to_bytes(2, "big")


def u32(number: int) -> bytes:
    """Four bytes, big-endian."""
    return number.to_bytes(4, "big")


def u64(number: int) -> bytes:
    """Eight bytes, big-endian."""
    return number.to_bytes(8, "big")


def length_prefixed(*parts: bytes) -> bytes:
    """lp(): each part behind its length as u64, so that no two lists give the same bytes."""
    return b"".join(u64(len(part)) + part for part in parts)


def labelled_hash(label: str, *parts: bytes) -> bytes:
    """H(label; parts), 32 bytes (aggregation.md 5.1)."""
    return hashlib.sha256(
        _AGG_DOMAIN + label.encode("ascii") + b"\x00" + length_prefixed(*parts)
    ).digest()


def hkdf_info(label: str, *parts: bytes) -> bytes:
    """The info of every HKDF call of a round (aggregation.md 5.1)."""
    return _AGG_DOMAIN + label.encode("ascii") + b"\x00" + length_prefixed(*parts)


def sha256(data: bytes) -> Digest:
    """SHA-256 of bytes as text."""
    return Digest(hashlib.sha256(data).hexdigest())


def to_digest(raw: bytes) -> Digest:
    """32 bytes as text."""
    assert len(raw) == 32
    return Digest(raw.hex())


def raw(digest: str) -> bytes:
    """The 32 bytes of a digest or id that is already known to be in form."""
    return bytes.fromhex(digest)


def is_slug(text: str) -> bool:
    """Whether the text may be a member or data-set id."""
    return 1 <= len(text) <= SLUG_BYTES_MAX and _SLUG.match(text) is not None


def is_digest(text: str) -> bool:
    """Whether the text is 64 lower-case hex digits."""
    return _DIGEST.match(text) is not None


def same_bytes(left: bytes, right: bytes) -> bool:
    """Compare without telling by the time taken where they differ."""
    return hmac.compare_digest(left, right)


def roster_digest(members: tuple[tuple[MemberId, bytes], ...]) -> Digest:
    """H("roster"; id_1, key_1, id_2, key_2, ...) in seat order; key = `sealing_key_id` (5.14)."""
    parts: list[bytes] = []
    for member, key in members:
        parts += [member.encode("ascii"), key]
    return to_digest(labelled_hash("roster", *parts))


def sealing_key_id(sealing_key: bytes) -> bytes:
    """H("agg-key"; 1216 bytes) (5.2)."""
    return labelled_hash("agg-key", sealing_key)


def joins_digest(joins: tuple[tuple[int, str], ...]) -> Digest:
    """H("joins"; u16(seat) || hash(Join)) in seat order; hashes as hex (5.5)."""
    return to_digest(labelled_hash("joins", *(u16(seat) + raw(join) for seat, join in joins)))


def commits_digest(commits: tuple[tuple[int, str], ...]) -> Digest:
    """H("commits"; u16(seat) || hash(Commit)) for the survivors in seat order (5.14)."""
    return to_digest(
        labelled_hash("commits", *(u16(seat) + raw(commit) for seat, commit in commits))
    )


def round_binding(opened: str, joins: tuple[str, ...], started: str) -> Digest:
    """ctx = H("ctx"; H_open, hash(Join_i) for i in P in seat order, hash(Start)) (5.5)."""
    return to_digest(
        labelled_hash("ctx", raw(opened), *(raw(join) for join in joins), raw(started))
    )


def work_digest(code: Digest, parameters: Digest, model: Digest) -> Digest:
    """H("work"; code, parameters, model): what may be summed over one set only (R6)."""
    return to_digest(labelled_hash("work", raw(code), raw(parameters), raw(model)))


def share_leaf(opened: str, dealer: int, holder: int, kind: int, share: bytes) -> bytes:
    """leaf[kind][x] = H("share"; H_open, u16(dealer), u16(holder), u8(kind), share) (5.4)."""
    return labelled_hash("share", raw(opened), u16(dealer), u16(holder), bytes([kind]), share)


def m_commitment(opened: str, dealer: int, holder: int, m: bytes) -> bytes:
    """mcom[j] = H("m-commit"; H_open, u16(i), u16(j), m) (5.4)."""
    return labelled_hash("m-commit", raw(opened), u16(dealer), u16(holder), m)


def share_row(opened: str, dealer: int, holder: int, plaintext: bytes) -> bytes:
    """The 128-byte row of the join blob that a sealed plaintext (128 bytes) must give (5.14).

    The plaintext is share kind 0 || kind 1 || kind 2 || m; the row is three leaves and mcom.
    """
    assert len(plaintext) == ENVELOPE_PLAIN_BYTES
    leaves = [
        share_leaf(opened, dealer, holder, kind, plaintext[32 * kind : 32 * kind + 32])
        for kind in range(3)
    ]
    return b"".join(leaves) + m_commitment(opened, dealer, holder, plaintext[96:])


def confirm_quorum(roster_count: int, colluders: int) -> int:
    """t = floor((n + c) / 2) + 1: Shamir threshold, Confirm, Abandon and Accept quorum (4)."""
    return (roster_count + colluders) // 2 + 1


def neighbours(seat: int, count: int, degree: int) -> frozenset[int]:
    """N(seat): whom it masks with (5.6). degree: count - 1 (everybody), or even (a circulant)."""
    if degree >= count - 1:
        return frozenset(range(1, count + 1)) - {seat}
    steps = range(1, degree // 2 + 1)
    return frozenset((seat - 1 + way * step) % count + 1 for step in steps for way in (-1, 1))


def words_of_vector(data_words: int) -> int:
    """L = 4 * ceil((6 + d) / 4): header, data and zero padding, in words (5.1)."""
    return -(-(HEADER_WORDS + data_words) // 4) * 4


def pack_bits(seats: frozenset[int], count: int) -> bytes:
    """Bit i-1 is seat i, least significant bit first, ceil(count / 8) bytes (5.14)."""
    number = sum(1 << (seat - 1) for seat in seats)
    return number.to_bytes(-(-count // 8), "little")


def unpack_bits(packed: bytes, count: int) -> frozenset[int] | None:
    """The inverse of `pack_bits`; None when the length is wrong or a spare bit is set."""
    if len(packed) != -(-count // 8):
        return None
    number = int.from_bytes(packed, "little")
    if number >> count:
        return None
    return frozenset(seat for seat in range(1, count + 1) if number >> (seat - 1) & 1)


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 Merkle tree hash over the leaves (not yet hashed); 32 bytes.

    Built for the rows of a join blob: at most `ROSTER_MAX` leaves, every level is kept in memory.
    """
    if not leaves:
        return hashlib.sha256(b"").digest()
    return _tree_levels(leaves)[-1][0]


def tree_path(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The RFC 6962 audit path of leaf `index` (from 0), from the leaf upwards."""
    assert 0 <= index < len(leaves)
    path = []
    for level in _tree_levels(leaves)[:-1]:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        index >>= 1
    return tuple(path)


def tree_path_root(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that the leaf and its audit path give; None when the path has a wrong length."""
    if not 0 <= index < size:
        return None
    node, last, rest = hashlib.sha256(b"\x00" + leaf).digest(), size - 1, list(path)
    while last:
        # The last node of a level without a sibling moves up as it is.
        if index ^ 1 <= last:
            if not rest:
                return None
            sibling = rest.pop(0)
            pair = sibling + node if index & 1 else node + sibling
            node = hashlib.sha256(b"\x01" + pair).digest()
        index, last = index >> 1, last >> 1
    return None if rest else node


def _tree_levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    levels = [[hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves]]
    while len(levels[-1]) > 1:
        level = levels[-1]
        above = [
            hashlib.sha256(b"\x01" + level[at] + level[at + 1]).digest()
            for at in range(0, len(level) - 1, 2)
        ]
        if len(level) % 2:
            above.append(level[-1])
        levels.append(above)
    return levels
