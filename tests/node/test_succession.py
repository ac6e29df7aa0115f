"""Another host: what a node approves, what it never follows, and what it sends again.

Real nodes and hosts in one process. The old host is gone in each test, or lies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import pytest

from comity.errors import ComityError, Forged, HostFault, HostFaultKind, Refused, Rule, Unavailable
from comity.host.serve import HostServer
from comity.log.heads import TreeHead, parse_signed_head, sign_head
from comity.node import governing, wishes
from comity.node.histories import check_successor, try_history
from comity.node.showing import look
from comity.node.succession import approve, approved, take_over
from comity.statements.membership import HostOffer, HostTakeover
from comity.values import NOTHING, StatementId
from tests.e2e.places import Places, found_places
from tests.e2e.preparing import serve
from tests.e2e.steps import Clock, Desk, World


@dataclass
class Commons:
    """Four founded members, their nodes, and whatever hosts run."""

    world: World
    root: Path
    servers: list[tuple[HostServer, Thread]] = field(default_factory=list)

    @property
    def places(self) -> Places:
        return self.world.places

    def desk(self, number: int) -> Desk:
        return self.world.desks[number]

    def candidate(self, number: int, name: str = "next") -> HostServer:
        """A host of this member on its node's own copy."""
        desk, folder = self.desk(number), self.root / f"{name}-{number}"
        governing.seed_host(desk.station, folder)
        places = Places(self.places.charter, self.places.all, folder)
        server = HostServer(
            folder,
            places.charter,
            host_key=desk.place.keys.host,
            listen="127.0.0.1:0",
            clock=self.world.clock,
        )
        thread = Thread(target=server.run, args=(lambda url: None,), daemon=True)
        thread.start()
        self.servers.append((server, thread))
        return server

    def say(self, number: int, dataset: str, *heard_by: int) -> StatementId:
        """A member says something, which these hear and do not cosign yet."""
        desk = self.desk(number)
        said = wishes.declare_dataset(desk.station, dataset, desk.place.table).statement
        desk.station.deliver()
        for each in (number, *heard_by):
            self.desk(each).sync()
        return said

    def move(self, *numbers: int) -> None:
        """Let these look for the next host until they have moved."""
        for number in numbers:
            desk = self.desk(number)
            for _ in range(20):
                applied = desk.loop._moving.step()
                if applied is not None:
                    desk.loop._moved(applied)
                    break
            assert applied is not None, desk.station.faults


@contextmanager
def founded(root: Path, count: int = 4) -> Iterator[Commons]:
    """Everybody has entered, the head is final, the host still serves."""
    places = found_places(root, [f"m{n}" for n in range(count)], table=b"x\n1\n")
    clock = Clock()
    server, thread = serve(places, clock)
    desks = [Desk(place, server.url, clock) for place in places.all]
    world = World(places, clock, server, thread, desks, StatementId(NOTHING))
    commons = Commons(world, root)
    try:
        world.run(lambda: all(d.station.replica.final_size >= count for d in desks))
        yield commons
    finally:
        for desk in desks:
            desk.close()
        for running, waiting in ((server, thread), *commons.servers):
            running.stop()
            waiting.join(20)


def stop_old(commons: Commons) -> None:
    commons.world.server.stop()
    commons.world.thread.join(20)


def rule_of(refusal: pytest.ExceptionInfo[Refused]) -> Rule:
    return refusal.value.rule


def test_three_of_four_make_another_member_host_and_nothing_is_lost(tmp_path: Path) -> None:
    with founded(tmp_path) as commons:
        last = commons.say(3, "rows-3", 1)
        unsent = wishes.declare_dataset(
            commons.desk(2).station, "rows-2", commons.desk(2).place.table
        ).statement
        stop_old(commons)
        server = commons.candidate(1)
        take_over(commons.desk(1).station, server.url)
        assert not server.host.in_office, "one of four is nobody's host"
        approve(commons.desk(2).station, server.url)
        assert not server.host.in_office
        approve(commons.desk(3).station, server.url)
        assert server.host.in_office
        commons.move(1, 2, 3)
        state = server.host.published.state
        assert (state.host, state.epoch.number) == ("m1", 1)
        assert {"rows-2", "rows-3"} <= set(state.datasets), (last, unsent)
        for number in (1, 2, 3):
            assert commons.desk(number).state.host == "m1"
            assert approved(commons.desk(number).station) is None
        # The member that was away comes back, and finds it at the address in node.toml.
        away = commons.desk(0)
        away.station.journal.put("host/next", server.url.encode())
        commons.move(0)
        assert away.state.host == "m1"
        commons.world.server = server
        commons.world.run(
            lambda: all(d.station.replica.final_size >= state.size for d in commons.world.desks)
        )


def test_a_candidate_with_a_shorter_log_is_handed_the_longer_one(tmp_path: Path) -> None:
    with founded(tmp_path) as commons:
        commons.say(3, "rows-3")  # only m3 has seen the head over it
        stop_old(commons)
        server = commons.candidate(1)
        short = server.host.published.state.size
        take_over(commons.desk(1).station, server.url)
        approve(commons.desk(3).station, server.url)
        assert server.host.published.state.size == short + 1
        approve(commons.desk(2).station, server.url)
        commons.move(1, 2, 3)
        assert "rows-3" in server.host.published.state.datasets


def test_a_tail_that_leaves_out_what_an_approver_holds_is_not_approved(tmp_path: Path) -> None:
    """The attack: the candidate takes no tail, and goes on without the entry."""
    with founded(tmp_path) as commons:
        commons.say(3, "rows-3")
        stop_old(commons)
        server = commons.candidate(1)
        take_over(commons.desk(1).station, server.url)
        server.host.take_tail = refuse  # type: ignore[method-assign, assignment]  # bent
        with pytest.raises(Refused) as refusal:
            approve(commons.desk(3).station, server.url)
        assert rule_of(refusal) is Rule.HEAD_UNKNOWN
        assert approved(commons.desk(3).station) is None
        approve(commons.desk(2).station, server.url)  # who holds no more approves


def refuse(tail: object) -> None:
    raise Unavailable("no")


@pytest.mark.parametrize("attack", ["reordered", "inserted"])
def test_a_tail_that_is_reordered_or_added_to_is_not_approved(tmp_path: Path, attack: str) -> None:
    """The attack: the candidate shows the entries of the tail, authentic, in another order."""
    with founded(tmp_path) as commons:
        short = commons.desk(1).state.size
        commons.say(3, "rows-3")
        commons.say(2, "rows-2", 3)
        tail = commons.desk(3).station.replica.entries(short, short + 2)
        late = commons.desk(1)
        stop_old(commons)
        server = commons.candidate(1)
        server.host.take_tail = refuse  # type: ignore[method-assign, assignment]  # bent
        if attack == "reordered":
            shown = [tail[1], tail[0]]
        else:
            late.station.say(HostOffer(address=server.url))
            shown = [*late.station.journal.waiting()[-1:], *tail]
        server.host.submit(shown).result(20)
        assert len(server.host.published.proposed) == len(shown)
        with suppress(ComityError):
            take_over(late.station, server.url)
        with pytest.raises(Refused):
            approve(commons.desk(3).station, server.url)


def test_a_take_over_names_the_head_it_is_built_on(tmp_path: Path) -> None:
    with founded(tmp_path) as commons:
        desk = commons.desk(1)
        desk.station.say(HostOffer(address="http://127.0.0.1:1"))
        desk.station.deliver()
        desk.sync()
        wrong = HostTakeover(address="http://127.0.0.1:1", head_root=bytes(32), head_size=1)
        with pytest.raises(Refused) as refusal:
            desk.station.say(wrong)
        assert rule_of(refusal) is Rule.NOT_AS_DERIVED


def test_of_two_candidates_a_node_approves_one(tmp_path: Path) -> None:
    """Four members, three approvals: only one of the two can have them."""
    with founded(tmp_path) as commons:
        stop_old(commons)
        first, second = commons.candidate(1), commons.candidate(2)
        take_over(commons.desk(1).station, first.url)
        take_over(commons.desk(2).station, second.url)
        approve(commons.desk(3).station, first.url)
        for number, url in ((3, second.url), (1, second.url), (2, first.url)):
            with pytest.raises(Refused) as refusal:
                approve(commons.desk(number).station, url)
            assert rule_of(refusal) is Rule.SAID_BEFORE
        approve(commons.desk(0).station, first.url)
        commons.move(0, 1, 3)
        assert first.host.in_office and not second.host.in_office
        # The other candidate's member follows too: the members decided.
        commons.desk(2).station.journal.put("host/next", first.url.encode())
        commons.move(2)
        assert commons.desk(2).state.host == "m1"


def test_a_node_that_approved_tells_the_old_host_nothing_more(tmp_path: Path) -> None:
    with founded(tmp_path) as commons:
        server = commons.candidate(1)
        take_over(commons.desk(1).station, server.url)
        approve(commons.desk(2).station, server.url)
        desk = commons.desk(2)
        desk.loop._moving.step()
        assert desk.loop._moving.waits
        desk.die()
        desk.restart()
        assert desk.loop._moving.waits, "it was promised before it was said"


def test_nothing_final_is_undone_and_nothing_cosigned_is_lost(tmp_path: Path) -> None:
    with founded(tmp_path) as commons:
        replica = commons.desk(3).station.replica
        leaves = replica.entries(0, replica.state.size)
        with pytest.raises(HostFault) as fault:
            try_history(replica, 0, [*leaves[:2], leaves[3]])
        assert fault.value.kind is HostFaultKind.SPLIT_VIEW
        history = try_history(replica, 0, leaves)
        note = replica.newest_note()
        assert note is not None
        with pytest.raises(Forged):
            check_successor(replica, history, note)  # no later epoch
        head = TreeHead(replica.origin, history.size, history.tree.root())
        forged = sign_head(head, commons.desk(2).place.keys.host).note()
        assert not history.signed_by_its_host(parse_signed_head(forged))
        assert history.signed_by_its_host(parse_signed_head(note))


def test_a_new_host_that_drops_what_its_approver_cosigned_is_not_followed(tmp_path: Path) -> None:
    """The attack: approvals are gathered on one log, and another one is built with them."""
    with founded(tmp_path) as commons:
        stop_old(commons)
        server = commons.candidate(1)
        take_over(commons.desk(1).station, server.url)
        approve(commons.desk(2).station, server.url)
        approve(commons.desk(3).station, server.url)
        assert server.host.in_office
        replica = commons.desk(3).station.replica
        shown = look(commons.desk(3).station, server.url)
        check_successor(replica, shown.signed, shown.note)
        with pytest.raises(HostFault) as fault:
            check_successor(replica, shown.signed, shown.note, [(replica.state.size, bytes(32))])
        assert fault.value.kind is HostFaultKind.SPLIT_VIEW
        commons.move(3)


def test_the_old_host_takes_the_new_log_and_signs_nothing_more(tmp_path: Path) -> None:
    with founded(tmp_path) as commons:
        old = commons.world.server
        server = commons.candidate(1)
        take_over(commons.desk(1).station, server.url)
        approve(commons.desk(2).station, server.url)
        approve(commons.desk(3).station, server.url)
        commons.move(1)
        # Meanwhile the old host went on alone: that is what is dropped, and kept.
        commons.desk(0).station.say(HostOffer(address="http://127.0.0.1:1"))
        commons.desk(0).station.deliver()
        replica = commons.desk(1).station.replica
        note, start = replica.newest_note(), replica.final_size
        assert note is not None and old.host.in_office
        commons.desk(1).station.remote_to(old.url).post_tail(
            note, start, replica.entries(start, replica.state.size)
        )
        assert not old.host.in_office
        assert old.host.published.state.host == "m1"
        (kept,) = (commons.places.host_folder / "dropped").iterdir()
        lines = [json.loads(line) for line in kept.read_bytes().splitlines()]
        assert any("note" in line for line in lines) and any("envelope" in line for line in lines)
        with pytest.raises(Unavailable, match="send it again"):
            commons.desk(0).station.deliver_again()
            commons.desk(0).station.deliver()
