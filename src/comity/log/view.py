"""One reader's trusted picture of the log: it moves forward, or raises and stays as it was.

The root is always recomputed from the entries, never taken from the host. Whether an entry is
admissible, who is host at a size and who is a member is decided above, by replaying the entries.
Source: log-and-provenance.md 7.1 steps 1 to 3, attacks 1, 2, 5, 35.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import final

from comity.errors import Forged, HostFault, HostFaultKind, Malformed
from comity.log.evidence import fork_from_entries, host_fork
from comity.log.heads import Cosignature, SignedHead, TreeHead, is_final, verify_host
from comity.log.merkle import EMPTY_ROOT, Tree, leaf_hash
from comity.values import ENVELOPE_BYTES_MAX, MemberId, same_bytes


@final
class View:
    """What one reader has verified of one log.

    Attributes:
        origin: the only origin this view takes.
        tree: the leaf hashes of every entry taken; its size is that of the newest head.
        head: the newest accepted head as the host signed it; None before the first.
        final: the newest final head; size 0 at first.
    """

    __slots__ = ("final", "head", "origin", "tree")

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.tree = Tree()
        self.head: SignedHead | None = None
        self.final = TreeHead(origin, 0, EMPTY_ROOT)

    def __repr__(self) -> str:
        return f"View(origin={self.origin!r}, size={self.tree.size}, final={self.final.size})"

    def advance(self, signed: SignedHead, leaves: Sequence[bytes], host_public: bytes) -> None:
        """Take a newer head with all entries between the newest head and it.

        Args:
            signed: the head; extra signature lines are kept with it and not looked at.
            leaves: the exact bytes of entries tree.size, tree.size + 1, ... of the log.
            host_public: *host* key (32 bytes) of whoever is host at the head's size.
        Raises:
            Malformed: the number of entries does not lead to the head, or an entry is longer
                than the tile format takes.
            Forged: another origin, no good host signature, entries that do not give the root.
            HostFault(ROLLBACK): an older head of this history (the evidence is empty: it may be
                a stale copy).
            HostFault(SPLIT_VIEW): the same or a smaller size with another root; the evidence is
                for `check_host_fork`.
        """
        self._check_signed(signed, host_public)
        size, root = signed.head.size, signed.head.root
        self._check_against_tree(signed)
        if size != self.tree.size + len(leaves):
            raise Malformed(
                f"{len(leaves)} entries after {self.tree.size} do not lead to a head of size {size}"
            )
        for leaf in leaves:
            if len(leaf) > ENVELOPE_BYTES_MAX:
                raise Malformed(f"an entry has at most {ENVELOPE_BYTES_MAX} bytes")
        hashes = [leaf_hash(leaf) for leaf in leaves]
        if not same_bytes(self.tree.extended_root(hashes), root):
            raise Forged(f"the entries do not give the root of the head of size {size}")
        self.tree.extend(hashes)
        self.head = signed

    def check_history(
        self, signed: SignedHead, leaf_hashes: Iterable[bytes], host_public: bytes
    ) -> None:
        """Compare a larger head with the newest one, given all its leaf hashes from index 0.

        For a head whose entries do not follow this tree: it says whether the host shows two
        histories. Nothing is taken.
        Raises:
            Malformed: the head is not larger than the newest one.
            Forged: another origin, no good host signature, leaves that do not give the root.
            HostFault(SPLIT_VIEW): the newest head is no prefix of it; with evidence.
        """
        self._check_signed(signed, host_public)
        if self.head is None or signed.head.size <= self.head.head.size:
            raise Malformed("only a head larger than the newest one is compared this way")
        if self.head.head.size == 0:
            return
        evidence = fork_from_entries(self.head, signed, leaf_hashes)
        if evidence is not None:
            raise _split_view(self.head.head.size, evidence)

    def take_cosignatures(
        self,
        size: int,
        cosignatures: Iterable[Cosignature],
        keys: Mapping[MemberId, bytes],
        quorum: int,
    ) -> bool:
        """Count the cosignatures of this tree's own root at a size; final when a quorum signed.

        Args:
            size: of a head the members cosigned; at most the tree's.
            cosignatures: as gathered; those of unknown keys are ignored.
            keys: *head* key of every member in force at that size.
            quorum: of the charter in force; more than half of the members.
        Returns:
            Whether `final` is of this size or a larger one; then nothing more is counted.
        Raises:
            Malformed: no such size here yet, or two cosignatures of one key.
            Forged: a cosignature of a known key does not fit this tree's root: it is for another
                history, or made up. Nothing of the list is counted.
        """
        head = TreeHead(self.origin, size, self.tree.root(size))
        if size <= self.final.size:
            return True
        if not is_final(head, cosignatures, keys, quorum):
            return False
        self.final = head
        return True

    def final_root_known(self, size: int, root: bytes) -> bool:
        """Whether this tree's own root at that size is that root (false when size is not here).

        What replay can check of the head a statement names; that it was final is its author's
        duty, and cosignatures are not in the log.
        """
        return 0 <= size <= self.tree.size and self.tree.root(size) == root

    def _check_signed(self, signed: SignedHead, host_public: bytes) -> None:
        if signed.head.origin != self.origin:
            raise Forged(f"head is of another log; expected origin {self.origin}")
        verify_host(signed, host_public)

    def _check_against_tree(self, signed: SignedHead) -> None:
        size, newest = signed.head.size, self.head
        if newest is None or size > newest.head.size:
            return
        if self.tree.root(size) != signed.head.root:
            raise _split_view(size, host_fork(signed, newest, self.tree))
        if size < newest.head.size:
            raise HostFault(
                HostFaultKind.ROLLBACK,
                f"head of size {size} is older than {newest.head.size}, seen before",
            )


def _split_view(size: int, evidence: bytes) -> HostFault:
    return HostFault(
        HostFaultKind.SPLIT_VIEW, f"two roots for size {size} signed by one host", evidence
    )
