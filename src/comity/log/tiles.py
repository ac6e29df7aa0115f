"""The log as static files: C2SP tile paths and contents, made and checked. No files are touched.

A hash tile holds up to 256 hashes of complete subtrees of 256**level leaves; an entry bundle up to
256 entries behind their lengths. A hash tile from elsewhere is believed only when it equals what a
tree with a verified root holds.
Source: c2sp.org/tlog-tiles; log-and-provenance.md 2.3, attack 33.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

from comity.errors import Forged, Malformed
from comity.log.merkle import HASH_BYTES, Tree, leaf_hash
from comity.values import ENVELOPE_BYTES_MAX, LOG_SIZE_MAX, u16

TILE_WIDTH: Final = 256
TILE_HEIGHT: Final = 8
ENTRIES: Final = -1
"""The level of an entry bundle."""
ENTRY_BUNDLE_BYTES_MAX: Final = TILE_WIDTH * (ENVELOPE_BYTES_MAX + 2)

EntryReader = Callable[[int, int], Sequence[bytes]]
"""(first index, count) -> that many entries' bytes."""

_LEVEL_MAX: Final = 63
_PATH_CHARS_MAX: Final = 64
_PATH = re.compile(
    r"\Atile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?\Z"
)


@final
@dataclass(frozen=True, slots=True)
class TilePlace:
    """Which tile: `level` from 0, or ENTRIES; `index` from 0; `width` 1 to 256, 256 when full."""

    level: int
    index: int
    width: int

    def __post_init__(self) -> None:
        assert ENTRIES <= self.level <= _LEVEL_MAX
        assert self.index >= 0
        assert 1 <= self.width <= TILE_WIDTH

    @property
    def first(self) -> int:
        """Index, at its own level, of the first hash or entry in it."""
        return self.index * TILE_WIDTH

    def path(self) -> str:
        """`tile/<level>/<index in groups of three digits>[.p/<width>]`, under the log's prefix."""
        groups = [f"{self.index % 1000:03d}"]
        rest = self.index // 1000
        while rest:
            groups.append(f"x{rest % 1000:03d}")
            rest //= 1000
        level = "entries" if self.level == ENTRIES else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(reversed(groups))}{partial}"


def parse_tile_path(path: str) -> TilePlace:
    """Read a path; it must be the only way to write that place.

    Raises:
        Malformed: not in form, leading zeros or groups, width 0 or 256 and more in `.p`, a level
            or an index beyond every log.
    """
    match = _PATH.match(path) if len(path) <= _PATH_CHARS_MAX else None
    if match is None:
        raise Malformed("not the path of a tile")
    level = ENTRIES if match[1] == "entries" else int(match[1])
    index = int(match[2].replace("/", "").replace("x", ""))
    width = TILE_WIDTH if match[3] is None else int(match[3])
    if level > _LEVEL_MAX or width > TILE_WIDTH:
        raise Malformed("a tile has level 0 to 63 and width 1 to 255 in .p")
    place = TilePlace(level, index, width)
    if place.path() != path:
        raise Malformed(f"a tile has one path, here {place.path()}")
    if (place.first + width) << (TILE_HEIGHT * max(level, 0)) > LOG_SIZE_MAX:
        raise Malformed("no log is so large that it has that tile")
    return place


def places_between(old: int, new: int) -> Iterator[TilePlace]:
    """The tiles to write when a log grows from one signed size to the next.

    Entry bundles first, then level 0 upward: nothing is published before what it is made of.
    The partial tile of every signed size is among them; with old = 0 it is the whole log.
    """
    assert 0 <= old <= new <= LOG_SIZE_MAX
    yield from _places_of_level(ENTRIES, old, new)
    level = 0
    while old != new:
        yield from _places_of_level(level, old, new)
        old, new, level = old >> TILE_HEIGHT, new >> TILE_HEIGHT, level + 1


def tile_files(tree: Tree, read: EntryReader, old: int, new: int) -> Iterator[tuple[str, bytes]]:
    """(path, content) of every tile to write when the log grows from `old` to `new` entries.

    Raises:
        Malformed: the tree does not reach `new`, or an entry is too long.
    """
    for place in places_between(old, new):
        if place.level == ENTRIES:
            entries = read(place.first, place.width)
            assert len(entries) == place.width
            yield place.path(), encode_bundle(entries)
        else:
            yield place.path(), hash_tile(tree, place)


def hash_tile(tree: Tree, place: TilePlace) -> bytes:
    """The content of a hash tile. Raises Malformed when the tree does not hold it all."""
    assert place.level != ENTRIES
    return tree.hashes(TILE_HEIGHT * place.level, place.first, place.width)


def check_hash_tile(tree: Tree, place: TilePlace, content: bytes) -> None:
    """Check a tile from elsewhere against a tree whose root is verified.

    Raises:
        Malformed: not width * 32 bytes, or not a tile of this tree.
        Forged: other hashes than the tree's.
    """
    if len(content) != HASH_BYTES * place.width:
        raise Malformed(f"a tile of width {place.width} has {HASH_BYTES * place.width} bytes")
    if hash_tile(tree, place) != content:
        raise Forged(f"{place.path()} does not hold the tree's hashes")


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """The content of an entry bundle: each entry behind its length in two bytes, big-endian.

    Raises:
        Malformed: an entry is longer than 65,535 bytes.
    """
    assert 1 <= len(entries) <= TILE_WIDTH
    if any(len(entry) > ENVELOPE_BYTES_MAX for entry in entries):
        raise Malformed(f"an entry has at most {ENVELOPE_BYTES_MAX} bytes")
    return b"".join(u16(len(entry)) + entry for entry in entries)


def decode_bundle(content: bytes, width: int) -> tuple[bytes, ...]:
    """Read an entry bundle that must hold exactly `width` entries.

    Raises:
        Malformed: a length runs over the end, fewer entries, or bytes after the last.
    """
    entries, at = [], 0
    for _ in range(width):
        start = at + 2
        at = start + int.from_bytes(content[at:start], "big")
        if start > len(content) or at > len(content):
            raise Malformed(f"an entry bundle of width {width} ends within an entry")
        entries.append(content[start:at])
    if at != len(content):
        raise Malformed(f"an entry bundle of width {width} has bytes after its last entry")
    return tuple(entries)


def check_bundle(tree: Tree, place: TilePlace, content: bytes) -> tuple[bytes, ...]:
    """Read an entry bundle and check every entry against a tree whose root is verified.

    Raises:
        Malformed: not in form, or not a bundle of this tree.
        Forged: an entry is not the tree's.
    """
    assert place.level == ENTRIES
    hashes = tree.hashes(0, place.first, place.width)
    entries = decode_bundle(content, place.width)
    if b"".join(leaf_hash(entry) for entry in entries) != hashes:
        raise Forged(f"{place.path()} does not hold the tree's entries")
    return entries


def _places_of_level(level: int, old: int, new: int) -> Iterator[TilePlace]:
    """`old` and `new` count the hashes (or entries) of this level."""
    if old == new:
        return
    for index in range(old // TILE_WIDTH, new // TILE_WIDTH):
        yield TilePlace(level, index, TILE_WIDTH)
    if new % TILE_WIDTH:
        yield TilePlace(level, new // TILE_WIDTH, new % TILE_WIDTH)
