"""Going over to a host: what is read before this node speaks there, and which promise outlives it.

Attacks 53 of aggregation and 16 of the log, at the moment when a copy begins to name another host.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from comity.errors import Unavailable
from comity.host.serve import HostServer
from comity.node import governing, wishes
from comity.node.succession import approve, approve_settled, approved, next_url, take_over
from tests.e2e.steps import Desk
from tests.node.test_succession import Commons, founded


def tell(desk: Desk, left: HostServer) -> None:
    """Show a host that was left who follows it."""
    replica = desk.station.replica
    note, start = replica.newest_note(), replica.final_size
    assert note is not None
    leaves = replica.entries(start, replica.state.size)
    desk.station.remote_to(left.url).post_tail(note, start, leaves)


def test_attack_53_a_restored_node_reads_the_new_hosts_log_before_it_speaks(
    tmp_path: Path,
) -> None:
    """What it said at the new host is not in the log of the old one, where it starts to read."""
    with founded(tmp_path) as commons:
        desk, old = commons.desk(3), commons.world.server
        desk.close()
        shutil.copytree(desk.place.folder, tmp_path / "snapshot")
        desk.open()
        server = commons.candidate(1)
        take_over(commons.desk(1).station, server.url)
        for number in (2, 3):
            approve(commons.desk(number).station, server.url)
        commons.move(1, 3)
        tell(commons.desk(1), old)
        assert old.host.published.state.host == "m1"
        commons.say(3, "rows-3")
        said = desk.state.authors[desk.member]
        desk.close()
        shutil.rmtree(desk.place.folder)
        shutil.copytree(tmp_path / "snapshot", desk.place.folder)
        desk.open()
        desk.loop.begin()
        desk.sync()
        applied = desk.loop._moving.step()
        assert applied == () and desk.station.remote.url == server.url
        desk.loop._moved(applied)
        with pytest.raises(Unavailable, match="still reading"):
            wishes.declare_dataset(desk.station, "rows-again", desk.place.table)
        desk.sync()
        wishes.declare_dataset(desk.station, "rows-again", desk.place.table)
        last = desk.station.journal.last_said()
        assert last is not None and last[0] == said.seq + 1, "nothing was said twice"


def test_a_promise_for_a_later_epoch_outlives_a_move_to_an_earlier_one(tmp_path: Path) -> None:
    """The attack: who approved epoch 2 of one log is shown an epoch 1 of another, with the approval
    it gave before; its cosignature for that one would stand for two histories."""
    with founded(tmp_path, 5) as commons:
        victim, old_host = commons.desk(3), commons.desk(0)
        governing.leave(commons.desk(4).station)
        commons.desk(4).station.deliver()
        heard(commons)
        settled = victim.state.changes.pending[0]
        approve_settled(victim.station, settled)
        victim.station.deliver()
        heard(commons)
        first = commons.candidate(1)
        take_over(commons.desk(1).station, first.url)
        for desk in (old_host, victim):
            approve(desk.station, first.url)
        assert first.host.in_office
        old_host.station.journal.put("host/approved", b"")  # it lies
        for desk in (old_host, commons.desk(2)):
            approve_settled(desk.station, settled)
            desk.station.deliver()
        commons.desk(2).sync()
        assert commons.desk(2).state.epoch.digest == settled.epoch.digest
        second = commons.candidate(2)
        take_over(commons.desk(2).station, second.url)
        approve(victim.station, second.url)
        cosigned = victim.station.journal.last_cosigned()
        victim.station.journal.put("host/next", first.url.encode())
        commons.move(3)
        assert (victim.state.host, victim.state.epoch.number) == ("m1", 1)
        promise = approved(victim.station)
        assert promise is not None and (promise.member, promise.epoch) == ("m2", 2)
        commons.world.clock.now_s += 60
        victim.loop._cosigner.cosign()
        final = victim.station.replica.final_size
        assert cosigned is not None and victim.station.journal.last_cosigned() == cosigned
        assert final <= cosigned[0] < victim.state.size


def heard(commons: Commons) -> None:
    for desk in commons.world.desks:
        desk.sync()


def test_where_a_promise_was_given_is_looked_at_until_it_is_over(tmp_path: Path) -> None:
    """Another host is named first, by the old one's log: the approved one may still come."""
    with founded(tmp_path) as commons:
        victim, liar, old = commons.desk(2), commons.desk(1), commons.world.server
        first, second = commons.candidate(1), commons.candidate(3)
        take_over(liar.station, first.url)
        approve(victim.station, first.url)
        liar.station.journal.put("host/approved", b"")  # it approves two
        take_over(commons.desk(3).station, second.url)
        for number in (0, 1):
            approve(commons.desk(number).station, second.url)
        commons.move(3)
        tell(commons.desk(3), old)
        victim.sync()
        applied = victim.loop._moving.step()
        assert applied == () and victim.station.remote.url == second.url
        assert approved(victim.station) is not None
        assert next_url(victim.station) == first.url
