"""The small Merkle tree over the rows of a join blob, against RFC 6962's definition."""

from __future__ import annotations

import hashlib

import pytest

from comity.values import tree_path, tree_path_root, tree_root


def slow_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word by word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + slow_root(leaves[:half]) + slow_root(leaves[half:])).digest()


@pytest.mark.parametrize("size", [*range(1, 34), 64, 100, 199, 200])
def test_every_leaf_has_a_path_and_no_other_path_fits(size: int) -> None:
    leaves = [index.to_bytes(2, "big") * 64 for index in range(size)]
    root = tree_root(leaves)
    assert root == slow_root(leaves)
    for index in range(size):
        path = tree_path(leaves, index)
        assert len(path) <= 8
        assert tree_path_root(leaves[index], index, size, path) == root
        assert tree_path_root(b"other", index, size, path) != root
        assert tree_path_root(leaves[index], index, size, (*path, bytes(32))) is None
        if path:
            assert tree_path_root(leaves[index], index, size, path[:-1]) is None
            flipped = (bytes([path[0][0] ^ 1]) + path[0][1:], *path[1:])
            assert tree_path_root(leaves[index], index, size, flipped) != root


def test_the_empty_tree_and_indices_outside() -> None:
    assert tree_root([]) == hashlib.sha256(b"").digest()
    assert tree_path_root(b"leaf", 1, 1, ()) is None
    assert tree_path_root(b"leaf", -1, 1, ()) is None
