"""A node's open folder: it speaks by the rules, once, and sends again what was not settled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from comity.commons.attempts import joins_of, opened_of
from comity.errors import Forged, Misconfigured, Refused, Rule, Unavailable
from comity.node.answers import Posted
from comity.node.dealings import dealings
from comity.node.opening import open_station
from comity.node.stages import seat_of
from comity.statements.governing import Seen
from comity.statements.wire import read
from comity.values import DAY_S, ROW_BYTES, SEALED_BYTES, BlobName, sha256
from tests.e2e.prepared import Make
from tests.e2e.test_lying_members import until_asleep


def test_what_the_rules_forbid_is_not_said(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        station = world.desk("m1").station
        own = world.study.register
        last = station.journal.last_said()
        out_of_bounds = replace(own, name="x", plan=replace(own.plan, colluders=9))
        with pytest.raises(Refused) as caught:
            station.say(out_of_bounds)
        assert caught.value.rule is Rule.STUDY_OUT_OF_BOUNDS
        assert station.journal.last_said() == last


def test_what_was_said_is_sent_after_a_restart_with_the_same_bytes(
    commons: Make, tmp_path: Path
) -> None:
    """Journalled, not sent, and the node dies: attack 54."""
    with commons(3).world(tmp_path) as world:
        node = world.desk("m1")
        node.sync()
        world.clock.now_s += DAY_S
        said = node.station.say(Seen())
        envelope = node.station.journal.said(said)
        node.die()
        size = world.state.size
        node.restart()
        node.station.deliver()
        assert world.state.size == size + 1
        assert world.leaves()[-1] == envelope
        node.station.deliver()
        assert world.state.size == size + 1, "the host answers what it has with the same index"


def test_attack_12_what_the_host_takes_and_does_not_log_is_noticed_and_sent_again(
    commons: Make, tmp_path: Path
) -> None:
    """The host answers with an index and throws the statement away."""
    with commons(3).world(tmp_path) as world:
        node = world.desk("m1")
        node.sync()
        world.clock.now_s += DAY_S
        station, honest = node.station, node.station.remote.post_statements

        def lose(envelopes: Sequence[bytes]) -> list[Posted]:
            return [Posted(10_000, None, None) for _ in envelopes]

        setattr(station.remote, "post_statements", lose)  # noqa: B010 - a host that lies
        said = station.say(Seen())
        station.deliver()
        setattr(station.remote, "post_statements", honest)  # noqa: B010  # bent
        station.watch_own()
        assert "withheld" not in station.faults, "it may still be on its way"
        world.clock.now_s += station.settings.withheld_s
        station.watch_own()
        assert "has not logged what this node said" in station.faults["withheld"]
        station.deliver()
        assert read(world.leaves()[-1]).statement.id == said
        node.sync()
        station.watch_own()
        assert "withheld" not in station.faults


def test_a_blob_is_what_its_name_says(commons: Make, tmp_path: Path) -> None:
    """Attack 46: the host's bytes are hashed on arrival; false ones are not kept."""
    with commons(3).world(tmp_path) as world:
        station = world.desk("m0").station
        name = BlobName(world.study.register.plan.layout)
        station.blobs.drop(name)
        place = world.server.host.bulk.find(world.state, name)
        assert place is not None
        true = place.read_bytes()
        place.chmod(0o600)
        place.write_bytes(true[:-1] + b"?")
        with pytest.raises(Forged):
            station.blob(name)
        assert not station.blobs.finished(name)
        place.write_bytes(true)
        assert station.blob(name).read_bytes() == true
        with pytest.raises(Unavailable):
            station.blob(sha256(b"nobody has it"))


def test_dealings_come_together_and_each_is_what_its_join_says(
    commons: Make, tmp_path: Path
) -> None:
    """Attack 46: one false blob among them is asked for by its name, and judged there."""
    with commons(3).world(tmp_path) as world:
        until_asleep(world, "m1", "round.confirm")
        opened = opened_of(world.attempt)
        joins = joins_of(world.attempt)
        names = [joins[seat].blob for seat in sorted(joins)]
        size = SEALED_BYTES * (opened.count - 1) + ROW_BYTES * opened.count
        station, bulk = world.desk("m1").station, world.server.host.bulk
        true = [path.read_bytes() for path in bulk.dealt(world.state, opened.id)[0]]
        station.dealt.clear()
        assert dealings(station, opened.id, names, size) == true
        station.dealt.clear()
        assert dealings(station, opened.id, names[:2], size) == true[:2], "one by one"
        station.dealt.clear()
        own = joins[seat_of(station, opened)].blob
        false = next(place for place, name in enumerate(names) if name != own)
        place = bulk.dealt(world.state, opened.id)[0][false]
        place.chmod(0o600)
        place.write_bytes(true[false][:-1] + b"?")
        with pytest.raises(Forged):
            dealings(station, opened.id, names, size)
        place.write_bytes(true[false])
        assert dealings(station, opened.id, names, size) == true


def test_one_process_at_a_time_opens_a_folder(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        place = world.desk("m1").place
        with pytest.raises(Unavailable, match="another process"):
            open_station(place.folder, place.keys)


@pytest.mark.parametrize("missing", ["charter.json", "node.toml"])
def test_a_missing_file_is_named(commons: Make, tmp_path: Path, missing: str) -> None:
    with commons(3).world(tmp_path) as world:
        node = world.desk("m1")
        node.die()
        (node.place.folder / missing).rename(tmp_path / "away")
        with pytest.raises(Misconfigured, match=missing):
            open_station(node.place.folder, node.place.keys)
        (tmp_path / "away").rename(node.place.folder / missing)
        node.restart()


def test_its_name_is_all_it_prints(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        assert repr(world.desk("m1").station) == "Station(m1)"
        first, second = (desk.station.member_secret() for desk in world.desks[:2])
        assert first != second
        assert len(first) == 32
