"""Tiles: paths and contents in the C2SP form, and every form that is refused."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from comity.errors import Forged, Malformed
from comity.log.merkle import Tree, leaf_hash, node_hash
from comity.log.tiles import (
    ENTRIES,
    TILE_WIDTH,
    TilePlace,
    check_bundle,
    check_hash_tile,
    decode_bundle,
    encode_bundle,
    hash_tile,
    parse_tile_path,
    places_between,
    tile_files,
)
from comity.values import LOG_SIZE_MAX

COUNT = 700
LOG = [b"entry %d" % index for index in range(COUNT)]
TREE = Tree(leaf_hash(entry) for entry in LOG)


def read(first: int, count: int) -> list[bytes]:
    return LOG[first : first + count]


@pytest.mark.parametrize(
    ("place", "path"),
    [
        (TilePlace(0, 0, 256), "tile/0/000"),
        (TilePlace(0, 1234067, 256), "tile/0/x001/x234/067"),
        (TilePlace(3, 99, 8), "tile/3/099.p/8"),
        (TilePlace(ENTRIES, 1000, 255), "tile/entries/x001/000.p/255"),
    ],
)
def test_paths(place: TilePlace, path: str) -> None:
    assert place.path() == path
    assert parse_tile_path(path) == place


@given(st.integers(-1, 3), st.integers(0, 2**39), st.integers(1, 256))
def test_a_path_comes_back_as_its_place(level: int, index: int, width: int) -> None:
    place = TilePlace(level, index >> 8 * (max(level, 0) + 1), width)
    assert parse_tile_path(place.path()) == place


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/data/000",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/../000",
        "tile/0/000\n",
        "tile/0/٠٠٠",
        "tile/0/x004/x294/x967/295",
        "tile/4/000.p/256",
        "tile/5/000.p/1",
        "tile/0/" + "x001/" * 30 + "000",
        "",
    ],
)
def test_attack_33_paths_out_of_form_are_refused(path: str) -> None:
    with pytest.raises(Malformed):
        parse_tile_path(path)


@given(
    st.text()
    | st.from_regex(r"tile/(entries|[0-9]{1,2})/(x[0-9]{3}/){0,5}[0-9]{3}(\.p/[0-9]{1,3})?")
)
@example("tile/0/x004/x294/x967/295.p/255")
def test_path_parser_raises_malformed_only(path: str) -> None:
    with contextlib.suppress(Malformed):
        assert parse_tile_path(path).path() == path


def test_the_layout_the_specification_describes_for_70_000_entries() -> None:
    places = list(places_between(0, 70_000))
    by_level = {level: [p for p in places if p.level == level] for level in range(-1, 4)}
    assert [len(by_level[level]) for level in range(-1, 4)] == [274, 274, 2, 1, 0]
    assert [p.width for p in by_level[0]] == [256] * 273 + [112]
    assert [p.width for p in by_level[1]] == [256, 17]
    assert [p.width for p in by_level[2]] == [1]
    assert [p.level for p in places] == sorted(p.level for p in places)
    assert list(places_between(0, 256))[-1] == TilePlace(1, 0, 1)
    assert list(places_between(70_000, 70_000)) == []
    assert parse_tile_path(list(places_between(LOG_SIZE_MAX - 1, LOG_SIZE_MAX))[1].path())


def test_growing_step_by_step_writes_the_whole_log_and_every_signed_partial_tile() -> None:
    written: dict[str, bytes] = {}
    sizes = [0, 1, 2, 255, 256, 257, 511, 600, 700]
    for old, new in pairwise(sizes):
        for path, content in tile_files(TREE, read, old, new):
            assert written.setdefault(path, content) == content
        for path, content in tile_files(TREE, read, 0, new):
            assert written[path] == content
    assert {p.path() for p in places_between(0, 255)} <= set(written)


def test_a_tile_of_level_1_holds_roots_of_full_tiles() -> None:
    content = hash_tile(TREE, TilePlace(1, 0, 2))
    assert (
        content
        == Tree(leaf_hash(e) for e in LOG[:256]).root()
        + Tree(leaf_hash(e) for e in LOG[256:512]).root()
    )
    assert node_hash(content[:32], content[32:]) == TREE.root(512)
    for bad in (TilePlace(1, 0, 3), TilePlace(0, 2, 189), TilePlace(9, 0, 1)):
        with pytest.raises(Malformed):
            hash_tile(TREE, bad)


def test_attack_33_hash_tiles_are_checked_against_the_tree() -> None:
    for place in (TilePlace(0, 0, 256), TilePlace(0, 2, 188), TilePlace(1, 0, 2)):
        content = hash_tile(TREE, place)
        check_hash_tile(TREE, place, content)
        with pytest.raises(Forged):
            check_hash_tile(TREE, place, content[:-1] + bytes([content[-1] ^ 1]))
        for bad in (content[:-1], content + b"\x00", content[:-32], content * 2, b""):
            with pytest.raises(Malformed):
                check_hash_tile(TREE, place, bad)
    # The attack: a full tile where a partial one was asked for.
    with pytest.raises(Malformed):
        check_hash_tile(TREE, TilePlace(0, 0, 12), hash_tile(TREE, TilePlace(0, 0, 256)))


def test_attack_33_entry_bundles_hold_exactly_their_entries() -> None:
    place = TilePlace(ENTRIES, 2, 188)
    content = encode_bundle(read(512, 188))
    assert check_bundle(TREE, place, content) == tuple(LOG[512:700])
    assert decode_bundle(encode_bundle([b"", b"a"]), 2) == (b"", b"a")
    with pytest.raises(Forged):
        check_bundle(TREE, place, content[:-1] + b"!")
    for bad in (content[:-1], content + b"\x00", content + b"\x00\x00", b"", b"\x00"):
        with pytest.raises(Malformed):
            check_bundle(TREE, place, bad)
    overrun = b"\xff\xff" + b"short"
    for width in (1, 2):
        with pytest.raises(Malformed):
            decode_bundle(overrun, width)
    with pytest.raises(Malformed):
        decode_bundle(encode_bundle([b"a", b"b"]), 1)
    with pytest.raises(Malformed):
        decode_bundle(encode_bundle([b"a", b"b"]), 3)


def test_entries_have_at_most_65_535_bytes() -> None:
    most = bytes(65_535)
    assert decode_bundle(encode_bundle([most]), 1) == (most,)
    with pytest.raises(Malformed):
        encode_bundle([most + b"x"])


@given(st.binary(max_size=40), st.integers(1, TILE_WIDTH))
def test_bundle_parser_raises_malformed_only(content: bytes, width: int) -> None:
    with contextlib.suppress(Malformed):
        assert encode_bundle(decode_bundle(content, width)) == content
