"""Evidence of a broken protocol: build it, and check it with public keys alone.

A fork: two signed heads of one origin, sizes m <= n. The second head's tree has `other_root` at
size m (shown by a consistency proof), and that is not the root the first head says. O(log n) bytes.
`other_root` must be said: for m a power of two the proof does not hold it.

Both heads of every kind are signed by one host key, also where a member is accused: after a change
of host members may drop what the old host never made final, so two heads of two hosts that do not
agree accuse nobody. Source: log-and-provenance.md 7.3; ADR 34.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from comity.errors import Forged, Malformed
from comity.log.evidence_forms import (
    AuthorFork,
    CosignerFork,
    CosignerRollback,
    Finding,
    HostFork,
    Inadmissible,
    KnownKeys,
    only_lines,
    parse_evidence,
    path_of,
    to_base64,
    write_evidence,
)
from comity.log.heads import SignedHead, TreeHead, parse_signed_head, verify_host
from comity.log.inadmissible import check_author, check_inadmissible
from comity.log.merkle import Tree, verify_consistency
from comity.log.notes import decode_base64
from comity.values import MemberId

Judge = Callable[[int, bytes, bytes], bool | None]
"""(index, root before it, entry) -> whether the entry must not follow; None: cannot tell."""


def check_evidence(evidence: bytes, known: KnownKeys, judge: Judge | None = None) -> Finding:
    """Check evidence of any kind, offline.

    Args:
        known: the keys of the members, from a replayed log or from their id files.
        judge: of a member that holds the log; only it can tell about an entry that is in form,
            signed and in its chain, and still inadmissible.
    Returns:
        What is proven, or with `proven` False: well-formed, signed by the host, and not decidable
        without the log.
    Raises:
        Malformed: not in form, heads of two logs, or in the wrong order.
        Forged: a signature or a proof does not fit, or what is shown is no wrong.
    """
    form = parse_evidence(evidence)
    match form:
        case HostFork():
            first, second = _fork_heads(form)
            accused, public = known.host_of(first, second)
            _check_fork(form, first, second)
            return _fork_found("host", accused, first, second, "signed as host", public)
        case CosignerFork():
            first, second = _fork_heads(form)
            _, public = known.host_of(first, second)
            for signed in (first, second):
                known.cosignature(signed, form.member)
            _check_fork(form, first, second)
            return _fork_found("cosigner", form.member, first, second, "cosigned", public)
        case CosignerRollback():
            return _check_rollback(form, known)
        case AuthorFork():
            return check_author(form, known)
        case Inadmissible():
            return check_inadmissible(form, known, judge)


def check_host_fork(evidence: bytes, host_public: bytes) -> tuple[TreeHead, TreeHead]:
    """Check that the evidence proves that the holder of this *host* key signed two histories.

    Returns:
        The two heads, the smaller one first.
    Raises:
        Malformed: not in form, heads of two logs, or in the wrong order.
        Forged: a signature or the proof does not fit, or the two heads agree.
    """
    form = parse_evidence(evidence)
    if not isinstance(form, HostFork):
        raise Malformed("this is not evidence of a host's fork")
    first, second = _fork_heads(form)
    verify_host(first, host_public)
    verify_host(second, host_public)
    _check_fork(form, first, second)
    return first.head, second.head


def host_fork(first: SignedHead, second: SignedHead, tree: Tree) -> bytes:
    """Evidence from two heads one host signed, and the tree of the larger one.

    Args:
        first: the head with the smaller size (or the same), whose root is not the tree's.
        second: a head of the same origin whose root is the tree's own at its size.
        tree: holds at least the second head's leaves.
    Returns:
        Canonical JSON for `check_evidence`, anywhere, by anyone.
    """
    other_root, proof = _fork_proof(first, second, tree)
    a, b = (only_lines(signed).note().decode() for signed in (first, second))
    return write_evidence(HostFork(a=a, b=b, other_root=other_root, proof=proof))


def cosigner_fork(member: MemberId, first: SignedHead, second: SignedHead, tree: Tree) -> bytes:
    """Evidence that a member cosigned both sides of a host's fork; heads and tree: `host_fork`.

    The notes must hold the host's line and the member's.
    """
    other_root, proof = _fork_proof(first, second, tree)
    a, b = (only_lines(signed, member).note().decode() for signed in (first, second))
    return write_evidence(CosignerFork(a=a, b=b, member=member, other_root=other_root, proof=proof))


def cosigner_rollback(member: MemberId, first: SignedHead, second: SignedHead) -> bytes:
    """Evidence that a member cosigned the smaller head `second` after the larger `first`."""
    assert second.head.size < first.head.size
    a, b = (only_lines(signed, member).note().decode() for signed in (first, second))
    return write_evidence(CosignerRollback(a=a, b=b, member=member))


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


def _fork_proof(first: SignedHead, second: SignedHead, tree: Tree) -> tuple[str, list[str]]:
    m, n = first.head.size, second.head.size
    assert first.head.origin == second.head.origin
    assert 1 <= m <= n
    assert tree.root(n) == second.head.root
    assert tree.root(m) != first.head.root
    return to_base64(tree.root(m)), [to_base64(node) for node in tree.consistency(m, n)]


def _fork_heads(form: HostFork | CosignerFork) -> tuple[SignedHead, SignedHead]:
    first, second = parse_signed_head(form.a.encode()), parse_signed_head(form.b.encode())
    if first.head.origin != second.head.origin:
        raise Malformed("evidence holds heads of two logs")
    return first, second


def _check_fork(form: HostFork | CosignerFork, first: SignedHead, second: SignedHead) -> None:
    other_root = decode_base64(form.other_root, "other_root")
    m, n = first.head.size, second.head.size
    verify_consistency(m, other_root, n, second.head.root, path_of(form.proof))
    if other_root == first.head.root:
        raise Forged("the two heads are of one history")


def _fork_found(
    kind: str, accused: MemberId, first: SignedHead, second: SignedHead, verb: str, public: bytes
) -> Finding:
    assert kind in ("host", "cosigner")
    m, n = first.head.size, second.head.size
    return Finding(
        "host" if kind == "host" else "cosigner",
        accused,
        (m, n),
        True,
        f"{accused} {verb} two histories: a head of size {m} and one of size {n},"
        " of which neither continues the other",
        public,
    )


def _check_rollback(form: CosignerRollback, known: KnownKeys) -> Finding:
    first, second = parse_signed_head(form.a.encode()), parse_signed_head(form.b.encode())
    _, public = known.host_of(first, second)
    early, late = (known.cosignature(signed, form.member) for signed in (first, second))
    sizes = (second.head.size, first.head.size)
    if not (sizes[0] < sizes[1] and early.time_s < late.time_s):
        raise Forged("the second head is not both later and smaller")
    sentence = (
        f"{form.member} cosigned a head of size {sizes[0]} at {late.time_s}, after it had cosigned"
        f" one of size {sizes[1]} at {early.time_s}"
    )
    return Finding("rollback", form.member, sizes, True, sentence, public)
