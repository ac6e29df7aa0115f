"""A small log with real keys from fixed seeds, for the tests of this folder."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comity.log.evidence_forms import KnownKeys
from comity.log.heads import Cosignature, SignedHead, TreeHead, cosign, origin_of, sign_head
from comity.log.merkle import Tree, leaf_hash
from comity.statements.governing import PublicKeys
from comity.values import CommonsId, MemberId, sha256

ORIGIN = origin_of(CommonsId(sha256(b"a charter")))
NOW_S = 1_790_000_000


def key_of(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def public_of(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


HOST_KEY = key_of(9)
HOST = public_of(HOST_KEY)
MEMBERS = tuple(MemberId(name) for name in ("hospital-a", "hospital-b", "uni-c", "bank-d"))
HEAD_KEYS = {member: key_of(20 + at) for at, member in enumerate(MEMBERS)}
KEYS = {member: public_of(key) for member, key in HEAD_KEYS.items()}
STATEMENT_KEYS = {member: key_of(40 + at) for at, member in enumerate(MEMBERS)}
HOST_KEYS = dict(zip(MEMBERS, (HOST_KEY, *map(key_of, (61, 62, 63))), strict=True))
KNOWN = KnownKeys(
    {
        member: [
            PublicKeys(
                head=KEYS[member],
                host=public_of(HOST_KEYS[member]),
                model=bytes(65),
                statement=public_of(STATEMENT_KEYS[member]),
            )
        ]
        for member in MEMBERS
    },
    ORIGIN,
)
"""hospital-a hosts; nobody's model key is asked for."""
QUORUM = 3


def entries_of(count: int, branch: str = "") -> list[bytes]:
    """Entries of one history; another branch is another history from its first entry on."""
    return [f"entry {index} {branch}".encode() for index in range(count)]


def tree_of(entries: list[bytes]) -> Tree:
    return Tree(leaf_hash(entry) for entry in entries)


def head_of(entries: list[bytes], origin: str = ORIGIN) -> TreeHead:
    return TreeHead(origin, len(entries), tree_of(entries).root())


def signed_of(entries: list[bytes], origin: str = ORIGIN) -> SignedHead:
    return sign_head(head_of(entries, origin), HOST_KEY)


def cosigned_by(head: TreeHead, *members: MemberId, time_s: int = NOW_S) -> list[Cosignature]:
    return [cosign(head, member, HEAD_KEYS[member], time_s) for member in members]
