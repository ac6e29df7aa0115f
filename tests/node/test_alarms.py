"""What a node keeps of what it caught, and what that makes it do."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import msgspec
import pytest

from comity.errors import Forged, HostFault, HostFaultKind, Malformed, Unavailable
from comity.log.evidence import check_evidence
from comity.log.evidence_forms import KnownKeys
from comity.log.heads import (
    SignedHead,
    TreeHead,
    cosign,
    full_note,
    parse_cosignature,
    parse_signed_head,
    sign_head,
)
from comity.log.inadmissible import inadmissible_entry
from comity.log.merkle import Tree, leaf_hash
from comity.node import evidence_wishes, wishes
from comity.node.alarms import Alarms, read_alarm
from comity.node.answers import Batch, PublishedHead
from comity.node.comparing import Compared, Comparer, forks, leaf_hashes_of
from comity.node.reacting import proven_against_host
from comity.statements.governing import Seen
from comity.values import DAY_S
from tests.e2e.prepared import Make
from tests.e2e.steps import Desk, World
from tests.log.test_evidence import FORK


def note_over(world: World, leaves: list[bytes]) -> bytes:
    """A head that the host signs over any entries."""
    tree = Tree(map(leaf_hash, leaves))
    head = TreeHead(world.desks[0].station.replica.origin, tree.size, tree.root())
    return sign_head(head, world.places.host.keys.host).note()


def unknown(evidence: bytes) -> None:
    """Nothing is known by which to check it."""


def shown(desk: Desk, note: bytes, entries: list[bytes]) -> Batch:
    return Batch(1, (PublishedHead(note, ()),), desk.state.size, tuple(entries))


def test_the_same_thing_is_kept_once_and_found_again(tmp_path: Path) -> None:
    alarms = Alarms(tmp_path)
    assert alarms.names() == []
    name = alarms.keep(FORK, unknown)
    assert alarms.keep(FORK, unknown) == name
    seen = alarms.raise_alarm("split-view", "two roots", 5, notes=[b"a head"], evidence=[name])
    assert alarms.raise_alarm("split-view", "two roots", 9, notes=[b"a head"]) == seen
    assert sorted(Alarms(tmp_path).names()) == sorted([name, seen])
    assert Alarms(tmp_path).evidence() == [(name, FORK)]
    alarm = read_alarm(alarms.read(seen))
    assert (alarm.time_s, alarm.evidence) == (5, (name,))
    assert base64.b64decode(alarm.notes[0]) == b"a head"
    assert (tmp_path / "evidence").stat().st_mode & 0o77 == 0
    for wrong in ("../node.toml", "nothing-0.json", ""):
        with pytest.raises(Unavailable):
            alarms.read(wrong)
    with pytest.raises(Malformed):
        alarms.keep(b"{}", unknown)


def test_a_damaged_file_stops_nothing(tmp_path: Path) -> None:
    alarms = Alarms(tmp_path)
    (tmp_path / "evidence").mkdir()
    for name in ("host-0.json", "alarm-0.json"):
        (tmp_path / "evidence" / name).write_bytes(b"\xff")
    alarms.keep(FORK, unknown)
    assert len(alarms.evidence()) == 1
    assert alarms.raise_alarm("split-view", "two roots", 5) in alarms.names()
    with pytest.raises(Malformed, match="damaged"):
        read_alarm(b"{")


def test_an_inadmissible_entry_is_evidence_and_is_not_taken(commons: Make, tmp_path: Path) -> None:
    """The host signs a head over a statement of another key; the node's tree stays its own."""
    with commons(3).world(tmp_path) as world:
        victim = world.desk("m1")
        victim.sync()
        leaves = world.leaves()
        before, size = victim.station.replica.view.head, victim.state.size
        bad = [leaves[3], b'{"no":"statement"}']
        for entry in bad:
            note = note_over(world, [*leaves[:size], entry])
            with pytest.raises(HostFault) as fault:
                victim.station.replica.take(note, [entry])
            assert fault.value.kind is HostFaultKind.INADMISSIBLE
            found = check_evidence(fault.value.evidence, victim.station.replica.known_keys)
            assert (found.kind, found.accused, found.proven) == ("inadmissible", "m0", True)
            assert victim.station.replica.view.head == before
            assert victim.station.replica.view.tree.size == size
        with pytest.raises(HostFault):
            victim.loop._take(shown(victim, note, [bad[-1]]))
        assert victim.station.halted
        victim.die()
        victim.restart()
        assert proven_against_host(victim.station)


def test_what_only_a_member_can_tell_is_told_by_a_member(commons: Make, tmp_path: Path) -> None:
    """An entry names a key that is in no log, as after a rotation: strangers cannot judge it."""
    with commons(3).world(tmp_path) as world:
        victim, other = world.desk("m1"), world.desk("m2")
        for desk in (victim, other):
            desk.sync()
        leaves, size = world.leaves(), victim.state.size
        said = json.loads(leaves[-1])
        said["signatures"][0]["keyid"] = "0" * 16
        entry = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
        log = leaves[: size - 1]
        replica = other.station.replica
        note = note_over(world, [*log, entry])
        signed = parse_signed_head(note)
        tree = Tree(map(leaf_hash, [*log, entry]))
        evidence = inadmissible_entry(signed, tree, entry, size - 1, log.__getitem__)
        assert not check_evidence(evidence, replica.known_keys).proven
        assert check_evidence(evidence, replica.known_keys, replica.judge).proven
        assert replica.judge(size - 1, bytes(32), entry) is None
        true = inadmissible_entry(
            parse_signed_head(note_over(world, leaves)),
            Tree(map(leaf_hash, leaves)),
            leaves[-1],
            len(leaves) - 1,
            leaves.__getitem__,
        )
        with pytest.raises(Forged, match="may be in a log"):
            check_evidence(true, replica.known_keys, replica.judge)


def test_what_is_no_proof_stops_a_node_until_it_is_restarted(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        victim = world.desk("m1")
        victim.sync()
        note = note_over(world, world.leaves()[:3])
        with pytest.raises(HostFault) as older:
            victim.loop._take(Batch(1, (PublishedHead(note, ()),), victim.state.size, ()))
        assert older.value.kind is HostFaultKind.ROLLBACK
        alarm = read_alarm(victim.station.alarms.read(victim.station.alarms.names()[0]))
        assert (alarm.kind, base64.b64decode(alarm.notes[0])) == ("rollback", note)
        listed = evidence_wishes.list_evidence(victim.station)
        assert listed.halted and not listed.lines[0].proven
        victim.die()
        victim.restart()
        assert proven_against_host(victim.station) is None
        victim.sync()
        assert not victim.station.halted
        world.clock.now_s += DAY_S
        victim.station.say(Seen())


def test_the_evidence_of_a_former_host_stops_nobody(commons: Make, tmp_path: Path) -> None:
    """The key that signs now is another: what the old one did is history."""
    with commons(3).world(tmp_path) as world:
        victim = world.desk("m1")
        victim.sync()
        leaves = world.leaves()
        other = parse_signed_head(note_over(world, [*leaves[:5], b"another"]))
        with pytest.raises(HostFault) as fault:
            victim.station.replica.check_prefix(other)
        victim.station.alarms.keep(fault.value.evidence, unknown)
        assert proven_against_host(victim.station)
        known = victim.station.replica.known_keys
        others = KnownKeys({m: sets for m, sets in known.keys.items() if m != "m0"}, known.origin)
        with pytest.raises(Forged, match="no host key"):
            check_evidence(fault.value.evidence, others)


def test_members_that_cosigned_both_sides_are_named(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        desk = world.desk("m1")
        desk.sync()
        leaves = world.leaves()
        keys = {place.member: place.keys.head for place in world.places.all}

        def head(entries: list[bytes], *members: str) -> SignedHead:
            signed = parse_signed_head(note_over(world, entries))
            lines = [
                cosign(signed.head, place.member, keys[place.member], world.clock.now_s)
                for place in world.places.all
                if place.member in members
            ]
            return parse_signed_head(full_note(signed, lines))

        mine = head(leaves, "m0", "m1", "m2")
        other = head([*leaves[:4], b"x"], "m0", "m2")
        known = desk.station.replica.known_keys
        found = forks([mine], Tree(map(leaf_hash, leaves)), other, None, known)
        kinds = [(f.kind, f.accused) for f in (check_evidence(e, known) for e in found)]
        assert kinds == [("host", "m0"), ("cosigner", "m0"), ("cosigner", "m2")]


@pytest.mark.parametrize("final", [True, False])
def test_two_final_heads_that_do_not_agree_are_called_by_their_name(
    commons: Make, tmp_path: Path, final: bool
) -> None:
    """Only where the other history has its quorum too: then nobody's software picks a winner."""
    with commons(3).world(tmp_path) as world:
        desk = world.desk("m1")
        desk.sync()
        size = desk.station.replica.final_size
        leaves = world.leaves()[:size]
        tree = Tree(map(leaf_hash, leaves))
        mine = parse_signed_head(note_over(world, leaves))
        signed = parse_signed_head(note_over(world, [*leaves[:-1], b"x"]))
        cosigners = world.places.all if final else world.places.all[:1]
        lines = [
            cosign(signed.head, place.member, place.keys.head, world.clock.now_s)
            for place in cosigners
        ]
        other = parse_signed_head(full_note(signed, lines))
        evidence = tuple(forks([mine], tree, other, None, desk.station.replica.known_keys))
        desk.loop._react(Compared("http://peer", size, size, evidence, (other.note(),)))
        assert ("TWO FINAL HEADS" in desk.station.halted) == final
        assert desk.station.halted, "a fork it is either way"
        assert len(desk.station.alarms.evidence()) == 1
        assert desk.station.replica.final_size == size, "nothing final is given up"


def test_a_claim_without_entries_is_not_fetched_for_ever(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        remote = world.desk("m1").station.remote
        with pytest.raises(Malformed):
            leaf_hashes_of(remote, 10**9, 10**6)
        with pytest.raises(Unavailable):
            leaf_hashes_of(remote, world.state.size + 1)
        assert leaf_hashes_of(remote, world.state.size) == [*map(leaf_hash, world.leaves())]


def test_attack_05_a_head_without_its_entries_is_said(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        desk = world.desk("m1")
        desk.sync()
        leaves, size = world.leaves(), desk.state.size
        desk.loop._take(shown(desk, note_over(world, [*leaves[:size], b"more"]), []))
        assert "gives none after" in desk.station.faults["truncated"]
        assert not desk.station.halted
        desk.sync()
        assert "truncated" not in desk.station.faults


def test_attack_06_what_the_host_keeps_back_shows_at_a_peer(commons: Make, tmp_path: Path) -> None:
    """The peer's final head is longer: it is compared, said, and not taken."""
    with commons(3).world(tmp_path) as world:
        behind, ahead = world.desk("m1"), world.desk("m2")
        for desk in (behind, ahead):
            desk.sync()
            desk.station.flush()
        size = behind.state.size
        world.clock.now_s += 100
        world.desk("m0").sync()
        world.desk("m0").lie(Seen())
        for _ in range(3):
            for desk in (world.desk("m0"), ahead):
                desk.sync()
                desk.loop._cosigner.cosign()
        line = cosign_of(world, "m1")
        world.desk("m0").station.remote.post_cosignature(size + 1, line)
        ahead.sync()
        assert ahead.station.replica.final_size == size + 1
        ahead.station.settings = msgspec.structs.replace(
            ahead.station.settings, mirror="127.0.0.1:0"
        )
        url = ahead.loop._peers.start()
        replica = behind.station.replica
        remote = behind.remote_to(url)
        try:
            comparer = Comparer(replica.store, replica.origin)
            found = comparer.compare(url, remote, replica.known_keys, behind.state)
            assert found is not None
            assert (found.final_size, found.evidence) == (size + 1, ())
            behind.loop._react(found)
            assert "keeps news back" in behind.station.faults["freeze"]
            assert behind.state.size == size
            behind.sync()
            behind.loop._react(found)
            assert "freeze" not in behind.station.faults
        finally:
            remote.close()
            ahead.loop._peers.close()


def cosign_of(world: World, member: str) -> bytes:
    """A cosignature of the host's newest head by a member whose node does not know it yet."""
    leaves = world.leaves()
    head = parse_signed_head(note_over(world, leaves)).head
    place = world.desk(member).place
    return cosign(head, place.member, place.keys.head, world.clock.now_s).line()


def test_attack_06_an_old_final_head_is_called_stale(commons: Make, tmp_path: Path) -> None:
    """Its age is that of the q-th newest cosignature, so one false time does not hide it."""
    with commons(3).world(tmp_path) as world:
        desk = world.desk("m1")
        desk.sync()

        def said() -> str:
            obstacles = {o.subject: o.why for o in wishes.status(desk.station).obstacles}
            return obstacles.get("stale", "")

        assert not said()
        world.clock.now_s += desk.station.settings.head_age_s_max + 60
        assert "cosigned by enough members" in said()


def test_heads_travel_in_files(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        one, two = world.desk("m1"), world.desk("m2")
        for desk in (one, two):
            desk.sync()
        file = tmp_path / "head.txt"
        file.write_text(evidence_wishes.show_head(one.station).text)
        found = evidence_wishes.compare_head(two.station, file)
        assert (found.verdict, found.size) == ("same", one.state.size)
        leaves = world.leaves()
        file.write_bytes(note_over(world, [*leaves, b"one more"]))
        assert evidence_wishes.compare_head(two.station, file).verdict == "longer"
        head = one.station.replica.newest()
        assert head is not None
        file.write_bytes(sign_head(head, world.places.all[1].keys.host).note())
        with pytest.raises(Forged):
            evidence_wishes.compare_head(two.station, file)
        file.write_bytes(note_over(world, [*leaves[:4], b"other"]))
        with pytest.raises(HostFault):
            evidence_wishes.compare_head(two.station, file)
        assert two.station.halted
        assert evidence_wishes.list_evidence(two.station).lines[-1].proven


def test_a_clock_that_is_set_back_does_not_look_like_a_rollback(
    commons: Make, tmp_path: Path
) -> None:
    """Times in one member's cosignatures never go back (ADR 34)."""
    with commons(3).world(tmp_path) as world:
        desk = world.desk("m1")
        times = []
        post = desk.station.remote.post_cosignature

        def seen(size: int, line: bytes, note: bytes | None = None) -> None:
            times.append(parse_cosignature(line).time_s)
            post(size, line, note)

        setattr(desk.station.remote, "post_cosignature", seen)  # noqa: B010 - looks on
        for back_s in (0, 50):
            world.clock.now_s += 100
            world.desk("m2").sync()
            world.desk("m2").lie(Seen())
            world.clock.now_s -= back_s + (150 if back_s else 0)
            desk.loop._cosigner._cosigned_at_s = 0
            desk.sync()
            desk.loop._work()
        assert len(times) >= 2
        assert times == sorted(times)
