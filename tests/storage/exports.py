"""A log in memory to export: final heads of any size, entries, an unknown signature line."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from comity.log.heads import SignedHead, TreeHead, cosign, origin_of, sign_head
from comity.log.notes import SignatureLine
from comity.release.anchor import Anchor, anchor_of
from comity.statements.governing import Seen
from comity.storage.database import pass_by
from comity.storage.exporting import Exported, ExportFolder
from comity.storage.ports import Hook
from comity.values import MemberId
from tests.worlds import World, keys_of, seed

GREASE = SignatureLine("grease.example", b"\x00\x01\x02\x03", seed("grease"))
"""A line of a key that nobody knows (attack 19)."""


@lru_cache(maxsize=4)
def grown(count: int) -> World:
    """A founded commons of three whose log has so many entries; most of them are void."""
    world = World.of(3)
    while world.tree.size < count:
        world.say(world.members[world.tree.size % 3], Seen())
    return world


def head_of(world: World, size: int) -> TreeHead:
    """The head of the world's log at a size."""
    origin = origin_of(world.state.commons, world.charter.origin_prefix)
    return TreeHead(origin, size, world.tree.root(size))


def note_of(world: World, size: int, *more: SignatureLine) -> bytes:
    """The head as its host signed it."""
    signed = sign_head(head_of(world, size), keys_of(world.charter.host).host)
    return SignedHead(signed.head, (*signed.lines, *more)).note()


def lines_of(world: World, size: int, members: Sequence[MemberId] | None = None) -> list[bytes]:
    """Cosignatures of all members, or of these."""
    head, now_s = head_of(world, size), world.now_s
    signing = world.members if members is None else members
    return [cosign(head, each, keys_of(each).head, now_s).line() for each in signing]


def anchor_at(world: World, size: int) -> Anchor:
    """What a member gives away at that size."""
    return anchor_of(head_of(world, size))


def open_export(root: Path, world: World, hook: Hook = pass_by) -> ExportFolder:
    """The folder, on the world's log."""
    return ExportFolder(
        root, world.charter, lambda first, count: world.log[first : first + count], hook=hook
    )


def export(root: Path, world: World, *sizes: int, hook: Hook = pass_by) -> Exported:
    """Export the heads of these sizes, one after the other."""
    folder = open_export(root, world, hook)
    try:
        for size in sizes:
            done = folder.export(note_of(world, size), lines_of(world, size))
    finally:
        folder.close()
    return done


def files_in(root: Path) -> dict[str, bytes]:
    """Every file of a folder by its path."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
