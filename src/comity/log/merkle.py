"""The log's tree: RFC 6962 hashing with SHA-256, roots, inclusion and consistency proofs.

Knows hashes only: no entries, no heads, no files. A leaf is hashed behind the byte 0 and an
interior node behind the byte 1, so neither can be passed off as the other. The tree of size 0 has
one root and needs no proof: size 0 never goes through a verifier here.
Source: RFC 6962 2.1, RFC 9162 2.1.3 and 2.1.4; log-and-provenance.md 2.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, final

from comity.errors import Forged, Malformed
from comity.values import LOG_SIZE_MAX, same_bytes

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
"""The root of the tree of size 0."""


def leaf_hash(entry: bytes) -> bytes:
    """The 32-byte hash of one entry's bytes."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The 32-byte hash of an interior node from its two children."""
    return sha256(b"\x01" + left + right).digest()


@final
class Tree:
    """An append-only tree that keeps the hash of every complete subtree, level by level.

    So a root or a proof at any earlier size costs O(log size) hashes. Memory is 64 bytes a leaf.
    The only way back is `truncate`.
    """

    __slots__ = ("_levels", "_size")

    def __init__(self, leaf_hashes: Iterable[bytes] = ()) -> None:
        self._size = 0
        # _levels[k] holds the hashes of the complete subtrees of 2**k leaves, left to right.
        self._levels: list[bytearray] = [bytearray()]
        self.extend(leaf_hashes)

    def __repr__(self) -> str:
        return f"Tree(size={self._size})"

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._size

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash (32 bytes) at the end.

        Raises:
            Malformed: the hash is not 32 bytes; the tree is unchanged.
        """
        _check_hash(leaf, "leaf hash")
        level = self._levels[0]
        level += leaf
        self._size += 1
        size, k = self._size, 0
        while size & 1 == 0:
            parent = sha256(b"\x01" + level[-2 * HASH_BYTES :]).digest()
            k += 1
            if k == len(self._levels):
                self._levels.append(bytearray())
            level = self._levels[k]
            level += parent
            size >>= 1

    def extend(self, leaf_hashes: Iterable[bytes]) -> None:
        """Add leaf hashes in order; the same as appending each, but faster for many.

        Raises:
            Malformed: one of them is not 32 bytes; the tree is unchanged.
        """
        leaves = list(leaf_hashes)
        for leaf in leaves:
            _check_hash(leaf, "leaf hash")
        self._levels[0] += b"".join(leaves)
        self._size += len(leaves)
        k = 0
        while self._size >> (k + 1):
            if k + 1 == len(self._levels):
                self._levels.append(bytearray())
            have, want = len(self._levels[k + 1]) // HASH_BYTES, self._size >> (k + 1)
            if have == want:
                break
            pairs = bytes(self._levels[k][64 * have : 64 * want])
            self._levels[k + 1] += b"".join(
                [sha256(b"\x01" + pairs[at : at + 64]).digest() for at in range(0, len(pairs), 64)]
            )
            k += 1

    def truncate(self, size: int) -> None:
        """Forget every leaf from index `size` on. Raises Malformed when size is out of range."""
        self._check_size(size)
        for k, level in enumerate(self._levels):
            del level[HASH_BYTES * (size >> k) :]
        self._size = size

    def leaf(self, index: int) -> bytes:
        """The leaf hash at an index from 0. Raises Malformed when there is none."""
        return self.hashes(0, index, 1)

    def hashes(self, level: int, first: int, count: int) -> bytes:
        """Hashes of complete subtrees of 2**level leaves, `count` of them from index `first`.

        Returns:
            32 * count bytes.
        Raises:
            Malformed: the tree does not hold them all.
        """
        if level < 0 or first < 0 or count < 0 or (first + count) > self._size >> level:
            raise Malformed(
                f"level {level} of a tree of {self._size} leaves does not hold "
                f"{count} hashes from {first}"
            )
        if count == 0:
            return b""
        return bytes(self._levels[level][HASH_BYTES * first : HASH_BYTES * (first + count)])

    def root(self, size: int | None = None) -> bytes:
        """The root, now or at an earlier size. Raises Malformed when size is out of range."""
        if size is None:
            size = self._size
        self._check_size(size)
        return self._range(0, size)

    def extended_root(self, leaf_hashes: Iterable[bytes]) -> bytes:
        """The root after appending these, without changing the tree.

        Raises:
            Malformed: one of them is not 32 bytes.
        """
        peaks, size = self._peaks(0, self._size), self._size
        for leaf in leaf_hashes:
            _check_hash(leaf, "leaf hash")
            node, size = leaf, size + 1
            rest = size
            while rest & 1 == 0:
                node, rest = node_hash(peaks.pop(), node), rest >> 1
            peaks.append(node)
        return _fold(peaks)

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """The inclusion proof of the leaf at `index` in the tree of that size, leaf side first.

        Raises:
            Malformed: not 0 <= index < size <= the tree's size.
        """
        self._check_size(size)
        if not 0 <= index < size:
            raise Malformed(f"no leaf {index} in a tree of size {size}")
        path, low, high = [], 0, size
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low = middle
        return tuple(reversed(path))

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """The consistency proof that the tree of size `old` is a prefix of the one of size `new`.

        Raises:
            Malformed: not 1 <= old <= new <= the tree's size.
        """
        self._check_size(new)
        if not 1 <= old <= new:
            raise Malformed(f"no consistency proof from size {old} to {new}")
        path, low, high = [], 0, new
        while high != old:
            middle = low + _split(high - low)
            if old <= middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low = middle
        if low:
            # The verifier knows the subtree at the left edge: it is the old root itself.
            path.append(self._range(low, high))
        return tuple(reversed(path))

    def _check_size(self, size: int) -> None:
        if not 0 <= size <= self._size:
            raise Malformed(f"the tree has sizes 0 to {self._size}, not {size}")

    def _peaks(self, low: int, high: int) -> list[bytes]:
        """The complete subtrees that make up the leaves [low, high), largest first.

        `low` is a multiple of the smallest power of two that is at least high - low.
        """
        peaks, rest = [], high - low
        while rest:
            k = rest.bit_length() - 1
            at = HASH_BYTES * (low >> k)
            peaks.append(bytes(self._levels[k][at : at + HASH_BYTES]))
            low, rest = low + (1 << k), rest - (1 << k)
        return peaks

    def _range(self, low: int, high: int) -> bytes:
        return _fold(self._peaks(low, high))


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> None:
    """Check that the leaf hash is at `index` of the tree with that size and root.

    Raises:
        Malformed: index or size out of range, a hash is not 32 bytes, wrong number of hashes.
        Forged: the path leads to another root.
    Source: RFC 9162 2.1.3.2; tests/vectors/log/merkle.json.
    """
    if not 0 <= index < size <= LOG_SIZE_MAX:
        raise Malformed(f"no leaf {index} in a tree of size {size}")
    _check_hashes(leaf, root, *path)
    place, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise Malformed("inclusion proof has too many hashes")
        if place & 1 or place == last:
            node = node_hash(sibling, node)
            while place & 1 == 0 and place:
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise Malformed("inclusion proof has too few hashes")
    if not same_bytes(node, root):
        raise Forged(f"inclusion proof of leaf {index} leads to another root than size {size} has")


def verify_consistency(
    old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]
) -> None:
    """Check that the tree (old, old_root) is a prefix of the tree (new, new_root).

    Raises:
        Malformed: not 1 <= old <= new, a hash is not 32 bytes, wrong number of hashes.
        Forged: the path leads to other roots; sizes are equal and roots are not.
    Source: RFC 9162 2.1.4.2; tests/vectors/log/merkle.json.
    """
    if not 1 <= old <= new <= LOG_SIZE_MAX:
        raise Malformed(f"no consistency proof from size {old} to {new}")
    _check_hashes(old_root, new_root, *path)
    if old == new:
        if path:
            raise Malformed("consistency proof between equal sizes must be empty")
        if not same_bytes(old_root, new_root):
            raise Forged(f"two roots for one size {old}")
        return
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    # When old is a power of two its root is itself a node of the new tree, and is left out.
    hashes = [old_root, *path] if old & (old - 1) == 0 else list(path)
    if not hashes:
        raise Malformed("consistency proof has too few hashes")
    old_node = new_node = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise Malformed("consistency proof has too many hashes")
        if place & 1 or place == last:
            old_node, new_node = node_hash(sibling, old_node), node_hash(sibling, new_node)
            while place & 1 == 0 and place:
                place, last = place >> 1, last >> 1
        else:
            new_node = node_hash(new_node, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise Malformed("consistency proof has too few hashes")
    if not (same_bytes(old_node, old_root) and same_bytes(new_node, new_root)):
        raise Forged(f"the tree of size {old} is not shown to be a prefix of size {new}")


def _split(width: int) -> int:
    """The largest power of two below width (width >= 2)."""
    return 1 << ((width - 1).bit_length() - 1)


def _fold(peaks: list[bytes]) -> bytes:
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def _check_hash(value: bytes, what: str) -> None:
    if len(value) != HASH_BYTES:
        raise Malformed(f"{what} must be {HASH_BYTES} bytes, not {len(value)}")


def _check_hashes(*values: bytes) -> None:
    for value in values:
        _check_hash(value, "hash")
