"""The exported log: which files it has, and how a reader checks a folder that may be hostile. Pure.

    checkpoint                      the newest final head, with its cosignatures
    tile/<level>/<index>[.p/<width>], tile/entries/<index>[.p/<width>]
    comity/charter.json  comity/epochs/<number>.json  policy.txt

The first two lines are C2SP's, byte for byte, so other people's tools read them. The third is what
a reader needs to know whose signatures count; it follows from charter and entries, and a copy
counts only when it equals what follows. `storage/exporting.py` writes such a folder.
Source: c2sp.org/tlog-tiles; log-and-provenance.md 2.3, 5; attacks 5, 19, 33, 36.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from comity.commons.charter import Charter, charter_bytes, commons_id, parse_charter
from comity.commons.fold import admit, apply, found
from comity.commons.state import State
from comity.errors import ComityError, Forged, Malformed
from comity.log.heads import (
    SignedHead,
    cosignatures_in,
    newest_quorum_time,
    origin_of,
    parse_signed_head,
    verify_host,
)
from comity.log.merkle import Tree, leaf_hash
from comity.log.tiles import (
    ENTRIES,
    TILE_HEIGHT,
    TILE_WIDTH,
    TilePlace,
    check_hash_tile,
    decode_bundle,
    parse_tile_path,
    places_between,
)
from comity.release.anchor import Anchor
from comity.release.epochs import derived_files, head_keys
from comity.release.form import POLICY as RELEASE_POLICY
from comity.release.form import PROOF_BYTES_MAX, FolderReader, read_file, shown
from comity.values import MemberId

CHECKPOINT: Final = "checkpoint"
TILES: Final = "tile/"
COMITY: Final = "comity/"
CHARTER: Final = f"{COMITY}charter.json"
EPOCHS: Final = f"{COMITY}epochs/"
POLICY: Final = "policy.txt"
WRITING: Final = ".writing"
"""The file that is being written; after a crash it may be left, and nobody looks at it."""

_EPOCH = re.compile(r"\Acomity/epochs/(0|[1-9][0-9]{0,5})\.json\Z")
_RELEASE_EPOCH = re.compile(r"\Aproof/epochs/([0-9]+)\.json\Z")


@final
@dataclass(frozen=True, slots=True)
class ExportedLog:
    """What was found in a folder in which no fault was found.

    members: those that cosigned. cosigned_s: when a quorum had. others: signature lines of keys
    that nobody here knows; kept, and worth nothing. beyond: tiles above the head, not checked.
    """

    commons: str
    head: SignedHead
    members: tuple[MemberId, ...]
    quorum: int
    cosigned_s: int
    others: int
    tiles: int
    beyond: int
    anchored: bool


def files_beside(state: State) -> dict[str, bytes]:
    """Every file that is neither head nor tile: charter, epochs, policy; by path.

    Args:
        state: of a founded commons, after the entries below the exported head.
    """
    files = {CHARTER: charter_bytes(state.founding)}
    for path, content in derived_files(state).items():
        epoch = _RELEASE_EPOCH.match(path)
        if epoch:
            files[f"{EPOCHS}{int(epoch[1])}.json"] = content
        elif path == RELEASE_POLICY:
            files[POLICY] = content
    return files


def check_exported(folder: FolderReader, anchor: Anchor | None) -> ExportedLog:
    """Check a whole exported log, from nothing but its files.

    Every entry is hashed up to the head's root before its meaning is looked at; then all of them
    are admitted and applied again. 0.2 ms an entry; memory: 128 bytes an entry, state and a bundle.

    Args:
        anchor: of the commons; at most as large as the head. None: nobody says that it is not
            another commons that was made up from charter to head.
    Raises:
        Malformed: a file missing, too many, or not in form.
        Forged: entries, tiles, head, signatures, derived files or anchor do not fit together.
        Unavailable: the disk.
    """
    sizes = {path: size for path, size in folder.names().items() if path != WRITING}
    tiles = _tiles_of(sizes)
    charter, signed = _charter(folder, sizes), _head(folder, sizes)
    origin = origin_of(commons_id(charter), charter.origin_prefix)
    if signed.head.origin != origin:
        raise Forged(f"{CHECKPOINT} is of {signed.head.origin}, {CHARTER} of {origin}")
    tree = _hashed(folder, sizes, signed)
    checked = _check_tiles(folder, tiles, tree)
    state = _replay(folder, sizes, charter, tree)
    _check_beside(folder, sizes, state)
    keys = head_keys(state)
    verify_host(signed, state.keys[state.host].keys.host)
    lines = cosignatures_in(signed, keys)
    cosigned_s = newest_quorum_time(signed.head, lines, keys, state.quorum)
    if cosigned_s is None:
        raise Forged(
            f"{CHECKPOINT} is not final: {len(lines)} members cosigned, {state.quorum} are needed"
        )
    return ExportedLog(
        commons=charter.name,
        head=signed,
        members=tuple(sorted(line.member for line in lines)),
        quorum=state.quorum,
        cosigned_s=cosigned_s,
        others=len(signed.lines) - 1 - len(lines),
        tiles=checked,
        beyond=len(tiles) - checked,
        anchored=_anchored(anchor, signed, tree),
    )


def _check_beside(folder: FolderReader, sizes: Mapping[str, int], state: State) -> None:
    expected = files_beside(state)
    for path, content in expected.items():
        if path not in sizes or read_file(folder, path) != content:
            raise Forged(f"{path} is not what follows from charter and entries")
    for path in sorted(sizes):
        if path.startswith(EPOCHS) and path not in expected:
            raise Forged(f"{path} is of an epoch that this log does not have")


def _tiles_of(sizes: Mapping[str, int]) -> dict[str, TilePlace]:
    """The tiles by path. Raises Malformed on any other file than such a folder has."""
    tiles = {}
    for path, size in sizes.items():
        if size > PROOF_BYTES_MAX:
            raise Malformed(f"{shown(path)} has {size} bytes, at most {PROOF_BYTES_MAX} are read")
        if path.startswith(TILES):
            try:
                tiles[path] = parse_tile_path(path)
            except Malformed as error:
                raise Malformed(f"{shown(path)}: {error}") from error
        elif path not in (CHECKPOINT, CHARTER, POLICY) and not _EPOCH.match(path):
            raise Malformed(f"{shown(path)} is too many: no exported log has such a file")
    return tiles


def _charter(folder: FolderReader, sizes: Mapping[str, int]) -> Charter:
    if CHARTER not in sizes:
        raise Malformed(f"{CHARTER} is missing: it says whose signatures count")
    return parse_charter(read_file(folder, CHARTER))


def _head(folder: FolderReader, sizes: Mapping[str, int]) -> SignedHead:
    if CHECKPOINT not in sizes:
        raise Malformed(f"{CHECKPOINT} is missing: nothing was exported here yet")
    return parse_signed_head(read_file(folder, CHECKPOINT))


def _bundle(folder: FolderReader, sizes: Mapping[str, int], place: TilePlace) -> tuple[bytes, ...]:
    """The entries of a place: from its file, or from the full tile that took its place."""
    path = place.path()
    full = TilePlace(place.level, place.index, TILE_WIDTH)
    if path not in sizes and full.path() in sizes:
        path = full.path()
    if path not in sizes:
        raise Malformed(f"{path} is missing: the log is cut off below its head")
    try:
        entries = decode_bundle(
            read_file(folder, path), place.width if path == place.path() else TILE_WIDTH
        )
    except Malformed as error:
        raise Malformed(f"{path}: {error}") from error
    return entries[: place.width]


def _hashed(folder: FolderReader, sizes: Mapping[str, int], signed: SignedHead) -> Tree:
    """The tree of the entries, which has the head's root."""
    tree, size = Tree(), signed.head.size
    for place in places_between(0, size):
        if place.level == ENTRIES:
            tree.extend(leaf_hash(entry) for entry in _bundle(folder, sizes, place))
            continue
        # A reader that asks for hashes must find them too.
        full = TilePlace(place.level, place.index, TILE_WIDTH).path()
        if place.path() not in sizes and full not in sizes:
            raise Malformed(f"{place.path()} is missing: the log is cut off below its head")
    if tree.root() != signed.head.root:
        raise Forged(f"the {size} entries do not give the root of {CHECKPOINT}")
    return tree


def _check_tiles(folder: FolderReader, tiles: Mapping[str, TilePlace], tree: Tree) -> int:
    """Compare every tile below the head with the tree; how many there are."""
    checked = 0
    for path, place in sorted(tiles.items()):
        level = max(place.level, 0)
        if place.first + place.width > tree.size >> (TILE_HEIGHT * level):
            continue
        checked += 1
        try:
            if place.level != ENTRIES:
                check_hash_tile(tree, place, read_file(folder, path))
                continue
            entries = decode_bundle(read_file(folder, path), place.width)
        except (Malformed, Forged) as error:
            raise type(error)(f"{path} does not fit the entries: {error}") from error
        hashes = b"".join(leaf_hash(entry) for entry in entries)
        if hashes != tree.hashes(0, place.first, place.width):
            raise Forged(f"{path} does not hold the tree's entries")
    return checked


def _replay(
    folder: FolderReader, sizes: Mapping[str, int], charter: Charter, hashed: Tree
) -> State:
    """What the log means; the entries are read again, and must be the same ones."""
    state, tree = found(charter), Tree()
    for place in places_between(0, hashed.size):
        if place.level != ENTRIES:
            continue
        for envelope in _bundle(folder, sizes, place):
            try:
                entry = admit(state, tree, envelope)
            except ComityError as error:
                raise Forged(f"entry {tree.size} must not be in the log: {error}") from error
            state, _ = apply(state, entry)
            tree.append(leaf_hash(envelope))
    if tree.root() != hashed.root():
        raise Malformed("the folder was changed while it was read: start again")
    if not state.founded_size:
        raise Forged("the log ends before all founders have entered")
    return state


def _anchored(anchor: Anchor | None, signed: SignedHead, tree: Tree) -> bool:
    if anchor is None:
        return False
    if anchor.origin != signed.head.origin:
        raise Forged(f"{CHECKPOINT} is of {signed.head.origin}, the anchor names {anchor.origin}")
    if anchor.size > tree.size:
        raise Forged(
            f"the anchor's log has {anchor.size} entries, this folder {tree.size}: it is cut off,"
            " or an old copy; ask for a newer one"
        )
    if tree.root(anchor.size) != anchor.root:
        raise Forged(f"the log had another root at size {anchor.size}: two histories were shown")
    return True
