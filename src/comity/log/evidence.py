"""Evidence that a host signed two histories: build it, check it with the host's key alone.

Two signed heads of one origin, sizes m <= n. The second head's tree has `other_root` at size m
(shown by a consistency proof), and that is not the root the first head says. O(log n) bytes.
`other_root` must be said: for m a power of two the proof does not hold it.
Source: log-and-provenance.md 7.3.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Literal

import msgspec

from comity.errors import Forged, Malformed
from comity.log.heads import SignedHead, TreeHead, parse_signed_head, verify_host
from comity.log.merkle import Tree, verify_consistency
from comity.log.notes import decode_base64
from comity.values import NOTE_BYTES_MAX

_PATH_MAX = 64
_EVIDENCE_BYTES_MAX = 3 * NOTE_BYTES_MAX


class _HostFork(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    a: str
    b: str
    kind: Literal["host"]
    other_root: str
    proof: list[str]


_DECODER = msgspec.json.Decoder(_HostFork)


def host_fork(first: SignedHead, second: SignedHead, tree: Tree) -> bytes:
    """Evidence from two heads one host signed, and the tree of the larger one.

    Args:
        first: the head with the smaller size (or the same), whose root is not the tree's.
        second: a head of the same origin whose root is the tree's own at its size.
        tree: holds at least the second head's leaves.
    Returns:
        Canonical JSON for `check_host_fork`, anywhere, by anyone.
    """
    m, n = first.head.size, second.head.size
    assert first.head.origin == second.head.origin
    assert 1 <= m <= n
    assert tree.root(n) == second.head.root
    assert tree.root(m) != first.head.root
    fork = _HostFork(
        a=_host_lines(first).note().decode(),
        b=_host_lines(second).note().decode(),
        kind="host",
        other_root=_base64(tree.root(m)),
        proof=[_base64(node) for node in tree.consistency(m, n)],
    )
    return msgspec.json.encode(fork, order="sorted")


def check_host_fork(evidence: bytes, host_public: bytes) -> tuple[TreeHead, TreeHead]:
    """Check that the evidence proves that the holder of this *host* key signed two histories.

    Returns:
        The two heads, the smaller one first.
    Raises:
        Malformed: not in form, heads of two logs, or in the wrong order.
        Forged: a signature or the proof does not fit, or the two heads agree.
    """
    if len(evidence) > _EVIDENCE_BYTES_MAX:
        raise Malformed("evidence is too long")
    try:
        fork = _DECODER.decode(evidence)
        canonical = msgspec.json.encode(fork, order="sorted")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Malformed("evidence is not the JSON of a host's fork") from None
    if canonical != evidence:
        raise Malformed("evidence is not canonical JSON")
    if len(fork.proof) > _PATH_MAX:
        raise Malformed("evidence holds too long a proof")
    first, second = parse_signed_head(fork.a.encode()), parse_signed_head(fork.b.encode())
    if first.head.origin != second.head.origin:
        raise Malformed("evidence holds heads of two logs")
    other_root = decode_base64(fork.other_root, "other_root")
    path = [decode_base64(node, "proof") for node in fork.proof]
    verify_host(first, host_public)
    verify_host(second, host_public)
    verify_consistency(first.head.size, other_root, second.head.size, second.head.root, path)
    if other_root == first.head.root:
        raise Forged("the two heads are of one history")
    return first.head, second.head


def fork_from_entries(
    first: SignedHead, second: SignedHead, leaf_hashes: Iterable[bytes]
) -> bytes | None:
    """Compare a head with a larger one whose leaves are all at hand.

    Returns:
        Evidence of the fork; None when the first head is a prefix of the second.
    Raises:
        Forged: the leaves do not give the second head's root, so nothing is shown.
    """
    tree = Tree(leaf_hashes)
    if tree.size != second.head.size or tree.root() != second.head.root:
        raise Forged(f"the entries do not give the head of size {second.head.size}")
    if tree.root(first.head.size) == first.head.root:
        return None
    return host_fork(first, second, tree)


def _host_lines(signed: SignedHead) -> SignedHead:
    """Without cosignatures, which prove nothing against the host and could be very long."""
    origin = signed.head.origin
    return SignedHead(signed.head, tuple(line for line in signed.lines if line.name == origin))


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
