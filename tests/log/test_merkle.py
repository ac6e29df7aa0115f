"""Exhaustive to size 64 against the recursive definition of RFC 6962, written out here."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.errors import Forged, Malformed
from comity.log.merkle import (
    EMPTY_ROOT,
    Tree,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from comity.values import LOG_SIZE_MAX

SIZE_MAX = 64
LEAVES = [leaf_hash(b"entry %d" % index) for index in range(SIZE_MAX + 1)]
FULL = Tree(LEAVES)
ROOTS = [FULL.root(size) for size in range(SIZE_MAX + 1)]
LARGE = Tree(leaf_hash(b"%d" % index) for index in range(3000))
VECTORS = Path(__file__).parents[1] / "vectors" / "log" / "merkle.json"


def root_by_definition(leaves: list[bytes]) -> bytes:
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return node_hash(root_by_definition(leaves[:half]), root_by_definition(leaves[half:]))


def flipped(value: bytes, bit: int) -> bytes:
    bit %= 8 * len(value)
    changed = bytearray(value)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_root_is_the_definition_at_every_size() -> None:
    for size in range(SIZE_MAX + 1):
        assert ROOTS[size] == root_by_definition(LEAVES[:size])
        assert Tree(LEAVES[:size]).root() == ROOTS[size]


def test_appending_one_by_one_or_many_gives_one_tree() -> None:
    single = Tree()
    for size, leaf in enumerate(LEAVES):
        assert single.size == size
        assert single.root() == FULL.root(size)
        single.append(leaf)
    for cut in range(SIZE_MAX):
        tree = Tree(LEAVES[:cut])
        assert tree.extended_root(LEAVES[cut:]) == FULL.root()
        assert (tree.size, tree.root()) == (cut, ROOTS[cut])
        tree.extend(LEAVES[cut:])
        assert tree.root() == FULL.root()
        assert [tree.leaf(index) for index in range(tree.size)] == LEAVES


def test_truncating_forgets_and_nothing_else() -> None:
    for size in range(SIZE_MAX + 1):
        tree = Tree(LEAVES)
        tree.truncate(size)
        assert (tree.size, tree.root()) == (size, ROOTS[size])
        tree.extend(LEAVES[size:])
        assert tree.root() == FULL.root()
        assert tree.hashes(3, 0, 8) == FULL.hashes(3, 0, 8)


def test_every_inclusion_proof_holds_and_no_changed_bit_does() -> None:
    for size in range(1, SIZE_MAX + 1):
        for index in range(size):
            path, root, leaf = FULL.inclusion(index, size), ROOTS[size], LEAVES[index]
            verify_inclusion(leaf, index, size, path, root)
            bit = 7 * size + index
            for at, node in enumerate(path):
                bad = (*path[:at], flipped(node, bit + at), *path[at + 1 :])
                with pytest.raises(Forged):
                    verify_inclusion(leaf, index, size, bad, root)
            with pytest.raises(Forged):
                verify_inclusion(flipped(leaf, bit), index, size, path, root)
            with pytest.raises(Forged):
                verify_inclusion(leaf, index, size, path, flipped(root, bit))


def test_every_consistency_proof_holds_and_no_changed_bit_does() -> None:
    for new in range(1, SIZE_MAX + 1):
        for old in range(1, new + 1):
            path, old_root, new_root = FULL.consistency(old, new), ROOTS[old], ROOTS[new]
            verify_consistency(old, old_root, new, new_root, path)
            bit = 11 * new + old
            for at, node in enumerate(path):
                bad = (*path[:at], flipped(node, bit + at), *path[at + 1 :])
                with pytest.raises(Forged):
                    verify_consistency(old, old_root, new, new_root, bad)
            with pytest.raises(Forged):
                verify_consistency(old, flipped(old_root, bit), new, new_root, path)
            with pytest.raises(Forged):
                verify_consistency(old, old_root, new, flipped(new_root, bit), path)


def test_an_inclusion_proof_fits_one_place_only() -> None:
    for size in range(1, 17):
        for index in range(size):
            path = FULL.inclusion(index, size)
            for place in range(size):
                if place != index:
                    with pytest.raises((Malformed, Forged)):
                        verify_inclusion(LEAVES[index], place, size, path, ROOTS[size])


def test_attack_32_leaf_and_node_cannot_be_confused() -> None:
    # The attack: show an interior node's preimage (64 bytes) as an entry of a smaller tree.
    left, right = LEAVES[0], LEAVES[1]
    verify_inclusion(left, 0, 2, (right,), ROOTS[2])
    forged_entry = left + right
    with pytest.raises(Forged):
        verify_inclusion(leaf_hash(forged_entry), 0, 1, (), ROOTS[2])
    assert leaf_hash(forged_entry) != node_hash(left, right)


def test_attack_32_proof_lengths_follow_from_index_and_size() -> None:
    for size in range(1, 33):
        for index in range(size):
            path = FULL.inclusion(index, size)
            for bad in ((*path, LEAVES[0]), path[:-1]):
                if len(bad) != len(path):
                    with pytest.raises(Malformed, match=r"too (many|few)"):
                        verify_inclusion(LEAVES[index], index, size, bad, ROOTS[size])
        for old in range(1, size):
            path = FULL.consistency(old, size)
            with pytest.raises(Malformed, match="too many"):
                verify_consistency(old, ROOTS[old], size, ROOTS[size], (*path, LEAVES[0]))
            with pytest.raises(Malformed, match="too few"):
                verify_consistency(old, ROOTS[old], size, ROOTS[size], path[:-1])
    with pytest.raises(Malformed, match="empty"):
        verify_consistency(3, ROOTS[3], 3, ROOTS[3], (LEAVES[0],))


@pytest.mark.parametrize(
    ("index", "size"), [(0, 0), (1, 1), (5, 3), (-1, 3), (2**64 - 1, 1), (0, LOG_SIZE_MAX + 1)]
)
def test_attack_32_index_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(Malformed):
        verify_inclusion(LEAVES[0], index, size, (), LEAVES[0])


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 3), (4, 3), (-1, 3), (1, LOG_SIZE_MAX + 1)])
def test_attack_32_sizes_without_a_consistency_proof(old: int, new: int) -> None:
    with pytest.raises(Malformed):
        verify_consistency(old, EMPTY_ROOT, new, ROOTS[3], ())


@pytest.mark.parametrize("short", [b"", bytes(31), bytes(33)])
def test_attack_32_a_hash_is_32_bytes(short: bytes) -> None:
    good = bytes(32)
    for leaf, path, root in ((short, good, good), (good, short, good), (good, good, short)):
        with pytest.raises(Malformed, match="32 bytes"):
            verify_inclusion(leaf, 0, 2, (path,), root)
        with pytest.raises(Malformed, match="32 bytes"):
            verify_consistency(1, leaf, 2, root, (path,))
    tree = Tree(LEAVES[:5])
    with pytest.raises(Malformed):
        tree.append(short)
    with pytest.raises(Malformed):
        tree.extend([LEAVES[5], short])
    with pytest.raises(Malformed):
        tree.extended_root([LEAVES[5], short])
    assert (tree.size, tree.root()) == (5, ROOTS[5])


def test_equal_sizes_with_two_roots_are_forged() -> None:
    verify_consistency(3, ROOTS[3], 3, ROOTS[3], ())
    with pytest.raises(Forged, match="two roots"):
        verify_consistency(3, ROOTS[3], 3, ROOTS[4], ())


def test_a_tree_refuses_what_it_does_not_hold() -> None:
    tree = Tree(LEAVES[:5])
    for size in (-1, 6):
        with pytest.raises(Malformed):
            tree.root(size)
        with pytest.raises(Malformed):
            tree.truncate(size)
    for index, size in ((5, 5), (-1, 5), (0, 6), (0, 0)):
        with pytest.raises(Malformed):
            tree.inclusion(index, size)
    for old, new in ((0, 5), (3, 2), (3, 6)):
        with pytest.raises(Malformed):
            tree.consistency(old, new)
    for level, first, count in (
        (0, 5, 1),
        (-1, 0, 1),
        (0, -1, 1),
        (0, 0, -1),
        (2, 1, 1),
        (9, 0, 1),
    ):
        with pytest.raises(Malformed):
            tree.hashes(level, first, count)
    with pytest.raises(Malformed):
        tree.leaf(5)
    assert tree.hashes(0, 5, 0) == b""
    assert repr(tree) == "Tree(size=5)"


@given(st.integers(1, 3000), st.data())
def test_proofs_of_larger_trees(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))
    verify_inclusion(LARGE.leaf(index), index, size, LARGE.inclusion(index, size), LARGE.root(size))
    verify_consistency(old, LARGE.root(old), size, LARGE.root(size), LARGE.consistency(old, size))


@given(
    st.integers(-2, 2**41),
    st.integers(-2, 2**41),
    st.lists(st.sampled_from([*LEAVES[:3], b"", bytes(31)]), max_size=45),
)
def test_verifiers_raise_malformed_or_forged_only(a: int, b: int, path: list[bytes]) -> None:
    with contextlib.suppress(Malformed, Forged):
        verify_inclusion(LEAVES[0], a, b, path, ROOTS[9])
    with contextlib.suppress(Malformed, Forged):
        verify_consistency(a, ROOTS[1], b, ROOTS[9], path)


def test_golden_vectors() -> None:
    golden = json.loads(VECTORS.read_text())
    tree = Tree(leaf_hash(bytes.fromhex(entry)) for entry in golden["entries"])
    assert [tree.root(size).hex() for size in range(tree.size + 1)] == golden["roots"]
    for case in golden["inclusion"]:
        path = tree.inclusion(case["index"], case["size"])
        assert [node.hex() for node in path] == case["path"]
    for case in golden["consistency"]:
        path = tree.consistency(case["old"], case["new"])
        assert [node.hex() for node in path] == case["path"]
