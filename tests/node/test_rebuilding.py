"""A node whose disk was lost: it goes on in its chain, and cosigns and approves nothing by mistake.

Attack 53, and the compare-and-set of cosignatures: what a new journal does not know, its keys do
not sign for. A lying copy is refused as a newcomer refuses it (`test_bootstrap.py`).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from comity.errors import HostFault, HostFaultKind, Misconfigured, Refused, Rule
from comity.node import wishes
from comity.node.beginning import Begun, rebuild
from comity.node.remembering import has_forgotten
from comity.node.settings import NodeSettings
from comity.node.succession import approve, follow, take_over
from comity.release.anchor import Anchor, anchor_of
from comity.statements.wire import read
from comity.storage.journal import SqliteJournal
from comity.values import StatementId
from tests.node.test_succession import Commons, founded, stop_old


def lost(commons: Commons, number: int) -> Anchor:
    """The disk of a member is gone; another member gives an anchor."""
    desk = commons.desk(number)
    desk.close()
    for path in desk.place.folder.iterdir():
        if path.name not in ("charter.json", "site.toml"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return anchor_of(commons.desk(1).station.replica.view.final)


def rebuilt(commons: Commons, number: int, anchor: Anchor, *sources: str) -> Begun:
    desk = commons.desk(number)
    settings = NodeSettings(member=desk.member, host_url=commons.world.server.url)
    return rebuild(
        desk.place.folder,
        commons.places.charter,
        anchor,
        settings,
        desk.place.keys,
        sources=sources,
        clock=commons.world.clock,
    )


def test_a_rebuilt_node_speaks_on_and_neither_cosigns_nor_approves_a_host(tmp_path: Path) -> None:
    with founded(tmp_path) as commons:
        commons.say(3, "rows-3", 1)
        desk, anchor = commons.desk(3), lost(commons, 3)
        begun = rebuilt(commons, 3, anchor)
        assert begun.said == 2
        with pytest.raises(Refused) as refused:
            rebuilt(commons, 3, anchor)
        assert refused.value.rule is Rule.SAID_BEFORE, "a node begins once"
        desk.open()
        assert has_forgotten(desk.station)
        said = wishes.declare_dataset(desk.station, "rows-after", desk.place.table).statement
        desk.station.deliver()
        commons.desk(1).sync()
        assert commons.desk(1).state.authors[desk.member].last == said
        assert commons.desk(1).state.authors[desk.member].seq == 2, "its chain goes on"
        commons.world.clock.now_s += 60
        desk.step()
        assert desk.station.journal.last_cosigned() is None
        assert "keys rotate" in desk.station.faults["cosign"]
        server = commons.candidate(1)
        stop_old(commons)
        take_over(commons.desk(1).station, server.url)
        with pytest.raises(Refused) as refused:
            approve(desk.station, server.url)
        assert refused.value.rule is Rule.AMNESIA
        with pytest.raises(Refused) as refused:
            take_over(desk.station, server.url)
        assert refused.value.rule is Rule.AMNESIA


def test_what_a_rebuilt_node_had_said_is_sent_again_when_a_tail_drops_it(tmp_path: Path) -> None:
    """It is in the log above the final head; a new host goes on without it, and gets it again."""
    with founded(tmp_path) as commons:
        said = commons.say(3, "rows-3")
        desk, anchor = commons.desk(3), lost(commons, 3)
        rebuilt(commons, 3, anchor)
        desk.open()
        assert said in waiting(desk.station.journal), "its bytes are kept until they are final"
        stop_old(commons)
        server = commons.candidate(1)
        assert server.host.published.state.size < desk.state.size, "it has not seen the last entry"
        take_over(commons.desk(1).station, server.url)
        for number in (2, 0):
            approve(commons.desk(number).station, server.url)
        follow(desk.station, server.url)
        commons.move(1, 3)
        desk.station.deliver()
        commons.desk(1).sync()
        assert commons.desk(1).state.authors[desk.member].last == said


def waiting(journal: SqliteJournal) -> set[StatementId]:
    return {read(envelope).statement.id for envelope in journal.waiting()}


def test_two_copies_that_do_not_agree_are_refused(tmp_path: Path) -> None:
    with founded(tmp_path) as commons:
        commons.say(3, "rows-3", 1)
        fork = commons.candidate(0, "fork")
        desk = commons.desk(2)
        desk.station.remote = desk.station.remote_to(fork.url)
        wishes.declare_dataset(desk.station, "rows-2", desk.place.table)
        desk.station.deliver()
        anchor = lost(commons, 3)
        with pytest.raises(HostFault) as caught:
            rebuilt(commons, 3, anchor, commons.world.server.url, fork.url)
        assert caught.value.kind is HostFaultKind.SPLIT_VIEW
        assert not (commons.desk(3).place.folder / "log.sqlite").exists()


def test_a_node_with_its_memory_is_not_rebuilt(tmp_path: Path) -> None:
    with founded(tmp_path, 3) as commons:
        desk = commons.desk(2)
        anchor = anchor_of(commons.desk(1).station.replica.view.final)
        desk.close()
        (desk.place.folder / "log.sqlite").unlink()
        with pytest.raises(Misconfigured, match="memory"):
            rebuilt(commons, 2, anchor)


def test_a_rebuild_that_was_killed_before_its_first_line_is_done_again(tmp_path: Path) -> None:
    """An empty journal is no memory; a node that ran with it would cosign with what it forgot."""
    with founded(tmp_path, 3) as commons:
        desk, anchor = commons.desk(2), lost(commons, 2)
        SqliteJournal(desk.place.folder).close()
        rebuilt(commons, 2, anchor)
        desk.open()
        assert has_forgotten(desk.station)
