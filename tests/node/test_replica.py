"""A node's own copy of the log: what it takes, keeps and refuses."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from comity.errors import Forged, HostFault, HostFaultKind, Malformed, Unavailable
from comity.log.heads import sign_head
from comity.log.merkle import Tree, leaf_hash
from comity.node.replica import Replica
from tests.e2e.prepared import Make
from tests.e2e.steps import World


def note_of(world: World, leaves: list[bytes]) -> bytes:
    """The host's signed head over these entries."""
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf_hash(leaf))
    head = world.desks[0].station.replica.newest()
    assert head is not None
    signed = type(head)(head.origin, tree.size, tree.root(tree.size))
    return sign_head(signed, world.places.host.keys.host).note()


def fresh(world: World, folder: Path) -> Replica:
    """An empty copy."""
    return Replica(folder / "copy.sqlite", world.places.charter)


def test_entries_are_taken_once_their_head_covers_them(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        leaves = world.leaves()
        copy = fresh(world, tmp_path)
        applied = copy.take(note_of(world, leaves[:9]), leaves[:9])
        assert len(applied) == 9
        copy.take(note_of(world, leaves), leaves[9:])
        assert copy.state == world.state
        assert copy.entries(0, 100) == leaves
        copy.close()
        again = fresh(world, tmp_path)
        assert again.state == world.state
        again.close()


def test_what_does_not_fit_its_head_is_not_taken(commons: Make, tmp_path: Path) -> None:
    """Attacks 5, 13: cut, reordered and foreign entries; nothing is stored of them."""
    with commons(3).world(tmp_path) as world:
        leaves = world.leaves()
        note = note_of(world, leaves)
        copy = fresh(world, tmp_path)
        swapped = [*leaves[:4], leaves[5], leaves[4], *leaves[6:]]
        with pytest.raises(Forged):
            copy.take(note, swapped)
        with pytest.raises(Malformed):
            copy.take(note, leaves[:-1])
        assert copy.state.size == 0
        copy.take(note, leaves)
        copy.close()


def test_an_entry_that_must_not_be_there_is_the_hosts_fault(commons: Make, tmp_path: Path) -> None:
    """A host that signs a head over a repeated statement proves itself false."""
    with commons(3).world(tmp_path) as world:
        leaves = world.leaves()
        twice = [*leaves, leaves[-1]]
        copy = fresh(world, tmp_path)
        with pytest.raises(HostFault) as caught:
            copy.take(note_of(world, twice), twice)
        assert caught.value.kind is HostFaultKind.INADMISSIBLE
        assert copy.state.size == 0
        copy.close()


def test_a_head_of_another_key_is_forged(commons: Make, tmp_path: Path) -> None:
    """Attack 35: a member that is not host signs a head."""
    with commons(3).world(tmp_path) as world:
        leaves = world.leaves()
        head = world.desks[0].station.replica.newest()
        assert head is not None
        note = sign_head(head, world.places.all[1].keys.host).note()
        copy = fresh(world, tmp_path)
        with pytest.raises(Forged):
            copy.take(note, leaves)
        copy.close()


def test_older_and_other_heads_are_told_apart_from_newer_ones(
    commons: Make, tmp_path: Path
) -> None:
    """Attacks 1, 2 of the log."""
    with commons(3).world(tmp_path) as world:
        leaves = world.leaves()
        copy = fresh(world, tmp_path)
        copy.take(note_of(world, leaves[:-1]), leaves[:-1])
        copy.compare([note_of(world, leaves)])
        copy.compare([note_of(world, leaves[:3]), note_of(world, leaves[:-1])])
        with pytest.raises(HostFault) as older:
            copy.compare([note_of(world, leaves[:3])])
        assert older.value.kind is HostFaultKind.ROLLBACK
        other = [*leaves[:3], *leaves[4:]]
        with pytest.raises(HostFault) as split:
            copy.compare([note_of(world, other)])
        assert split.value.kind is HostFaultKind.SPLIT_VIEW
        copy.close()


def test_entries_that_a_failed_commit_has_stored_are_not_stored_again(
    commons: Make, tmp_path: Path
) -> None:
    """The disk fails after the commit, and what it held persists: found by the simulation."""
    failing = ["committed"]

    def hook(point: str) -> None:
        if point in failing:
            failing.remove(point)
            raise OSError(errno.EIO, "fails but persists")

    with commons(3).world(tmp_path) as world:
        leaves = world.leaves()
        copy = Replica(tmp_path / "copy.sqlite", world.places.charter, hook=hook)
        copy.take(note_of(world, leaves[:9]), leaves[:9])
        with pytest.raises(Unavailable):
            copy.flush()
        copy.flush()
        copy.take(note_of(world, leaves), leaves[9:])
        assert copy.entries(0, 100) == leaves
        copy.close()
