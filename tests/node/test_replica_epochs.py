"""A node's copy across epochs: whose key signs a head of which size (rule 8, attack 35)."""

from __future__ import annotations

from pathlib import Path

import pytest

from comity.errors import Forged, HostFault, HostFaultKind
from comity.log.evidence import check_evidence
from comity.log.heads import TreeHead, cosign, origin_of, parse_signed_head, sign_head
from comity.log.merkle import Tree, leaf_hash
from comity.node.comparing import forks
from comity.node.replica import Replica
from comity.values import MemberId
from tests.commons.changes import admit, approve, hand_over, rotate_body
from tests.worlds import Keys, World, keys_of

NEW = MemberId("new-member")


def head_at(world: World, size: int) -> TreeHead:
    tree = Tree(leaf_hash(leaf) for leaf in world.log[:size])
    return TreeHead(origin_of(world.state.commons), size, tree.root())


def note(world: World, size: int, signer: Keys) -> bytes:
    """A head of the world's log at this size, signed with somebody's host key."""
    return sign_head(head_at(world, size), signer.host).note()


def handed_over() -> tuple[World, int]:
    """A commons in which member-b has hosted since the size that comes with it."""
    world = World.of(4)
    a, b, c, d = world.members
    hand_over(world, b)
    approve(world, (b, c, d))
    assert world.state.host == b and a == world.charter.host
    return world, world.state.epoch.size


def test_a_head_is_signed_by_who_hosts_after_its_entries(tmp_path: Path) -> None:
    world, since = handed_over()
    a, b, *_ = world.members
    copy = Replica(tmp_path / "copy.sqlite", world.charter)
    copy.take(note(world, since - 1, keys_of(a)), world.log[: since - 1])
    copy.take(note(world, since, keys_of(b)), world.log[since - 1 :])
    assert copy.state == world.state
    copy.close()
    again = Replica(tmp_path / "copy.sqlite", world.charter)
    assert again.state == world.state
    again.close()


@pytest.mark.parametrize("together", [True, False])
def test_attack_35_a_former_host_signs_nothing_larger(tmp_path: Path, *, together: bool) -> None:
    world, since = handed_over()
    a, b, *_ = world.members
    copy = Replica(tmp_path / "copy.sqlite", world.charter)
    start = 0 if together else since - 1
    copy.take(note(world, start, keys_of(a)), world.log[:start]) if start else None
    with pytest.raises(Forged):
        copy.take(note(world, since, keys_of(a)), world.log[start:])
    assert copy.state.size == start
    copy.take(note(world, since, keys_of(b)), world.log[start:])
    world.pass_time(4_000)
    with pytest.raises(Forged):
        copy.take(note(world, world.tree.size, keys_of(a)), world.log[since:])
    copy.take(note(world, world.tree.size, keys_of(b)), world.log[since:])
    assert copy.state == world.state
    copy.close()


def test_attack_35_the_next_host_signs_nothing_before_its_epoch(tmp_path: Path) -> None:
    world, since = handed_over()
    _, b, *_ = world.members
    copy = Replica(tmp_path / "copy.sqlite", world.charter)
    with pytest.raises(Forged):
        copy.take(note(world, since - 1, keys_of(b)), world.log[: since - 1])
    assert copy.state.size == 0
    copy.close()


def test_nobody_is_accused_of_entries_that_the_host_did_not_sign_for(tmp_path: Path) -> None:
    world, since = handed_over()
    a, b, *_ = world.members
    twice = [*world.log, world.log[-1]]
    tree = Tree(leaf_hash(leaf) for leaf in twice)
    head = TreeHead(origin_of(world.state.commons), since + 1, tree.root())
    copy = Replica(tmp_path / "copy.sqlite", world.charter)
    with pytest.raises(Forged):
        copy.take(sign_head(head, keys_of(a).host).note(), twice)
    with pytest.raises(HostFault):
        copy.take(sign_head(head, keys_of(b).host).note(), twice)
    assert copy.state.size == 0
    copy.close()


def test_finality_is_counted_with_the_members_and_keys_of_its_size(tmp_path: Path) -> None:
    """A head below the epoch by the members before it; one above by those in it (attack 17)."""
    world = World.of(4)
    a, b, c, d = world.members
    admit(world, NEW)
    world.done(b, rotate_body(b))
    size = world.tree.size
    approve(world, (a, b, c, d)[:3], world.state.changes.pending[0].epoch.digest)
    copy = Replica(tmp_path / "copy.sqlite", world.charter)
    copy.take(note(world, size, keys_of(a)), world.log[:size])
    now = world.tree.size
    copy.take(note(world, now, keys_of(a)), world.log[size:])

    def lines(at: int, members: tuple[MemberId, ...]) -> list[bytes]:
        head = head_at(world, at)
        return [cosign(head, m, keys_of(m).head, world.now_s).line() for m in members]

    assert not copy.take_cosignatures(note(world, now, keys_of(a)), lines(now, (a, b, c)))
    assert not copy.take_cosignatures(note(world, size, keys_of(a)), lines(size, (a, b, NEW)))
    assert copy.take_cosignatures(note(world, size, keys_of(a)), lines(size, (a, b, c)))
    assert copy.take_cosignatures(note(world, now, keys_of(a)), lines(now, (a, b, c, NEW)))
    assert copy.final_size == now
    copy.close()


def other_note(world: World, size: int, signer: Keys) -> bytes:
    """A head of this size over a history that differs in its last entry."""
    tree = Tree([*(leaf_hash(leaf) for leaf in world.log[: size - 1]), leaf_hash(b"another")])
    head = TreeHead(origin_of(world.state.commons), size, tree.root())
    return sign_head(head, signer.host).note()


def test_another_history_of_a_former_host_is_proved_by_its_own_heads_alone(tmp_path: Path) -> None:
    """ADR 34: a head of the host before and one of the host now accuse nobody together."""
    world, since = handed_over()
    a, b, c, d = world.members
    copy = Replica(tmp_path / "copy.sqlite", world.charter)
    copy.take(note(world, since - 1, keys_of(a)), world.log[: since - 1])
    copy.take(note(world, since, keys_of(b)), world.log[since - 1 :])
    small = parse_signed_head(other_note(world, since - 2, keys_of(a)))
    with pytest.raises(HostFault) as caught:
        copy.check_prefix(small)
    assert (caught.value.kind, caught.value.evidence) == (HostFaultKind.SPLIT_VIEW, b"")
    newest = copy.view.head
    assert newest is not None
    assert forks([newest], copy.view.tree, small, None, copy.known_keys) == []
    head = head_at(world, since - 1)
    lines = [cosign(head, m, keys_of(m).head, world.now_s).line() for m in (b, c, d)]
    assert copy.take_cosignatures(note(world, since - 1, keys_of(a)), lines)
    with pytest.raises(HostFault) as proven:
        copy.check_prefix(small)
    found = check_evidence(proven.value.evidence, copy.known_keys)
    assert (found.kind, found.accused, found.proven) == ("host", a, True)
    with pytest.raises(Forged):
        copy.check_prefix(parse_signed_head(other_note(world, since - 2, keys_of(b))))
    copy.close()


def test_what_must_not_be_there_leaves_no_trace_and_names_the_host_now(tmp_path: Path) -> None:
    world, since = handed_over()
    _, b, *_ = world.members
    copy = Replica(tmp_path / "copy.sqlite", world.charter)
    copy.take(note(world, since, keys_of(b)), world.log)
    twice = [*world.log, world.log[-1]]
    tree = Tree(leaf_hash(leaf) for leaf in twice)
    head = TreeHead(origin_of(world.state.commons), since + 1, tree.root())
    with pytest.raises(HostFault) as caught:
        copy.take(sign_head(head, keys_of(b).host).note(), twice[since:])
    found = check_evidence(caught.value.evidence, copy.known_keys)
    assert (found.kind, found.accused, found.proven) == ("inadmissible", b, True)
    assert copy.view.tree.size == copy.state.size == since
    world.pass_time(4_000)
    copy.take(note(world, world.tree.size, keys_of(b)), world.log[since:])
    assert copy.state == world.state
    copy.close()
