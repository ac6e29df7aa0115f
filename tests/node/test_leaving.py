"""A member leaves: the other nodes approve the next epoch by themselves, over a real host."""

from __future__ import annotations

from pathlib import Path

from comity.statements.membership import MemberLeave
from tests.e2e.places import found_places, free_port
from tests.e2e.steps import Clock
from tests.node.test_loop import TABLE, desks_of, hosted, turns


def test_nodes_approve_a_leave_by_themselves_and_its_head_becomes_final(tmp_path: Path) -> None:
    clock, port = Clock(), free_port()
    places = found_places(tmp_path, ("a", "b", "c", "d"), table=TABLE)
    with hosted(places, clock, port):
        desks = desks_of(places, clock, port)
        try:
            turns(desks, 4)
            leaver = next(desk for desk in desks if desk.member != desk.state.host)
            leaver.station.say(MemberLeave(reason="closed"))
            turns(desks, 6)
            rest = [desk for desk in desks if desk is not leaver]
            for desk in rest:
                state = desk.state
                assert state.epoch.number == 1 and leaver.member not in state.members
                assert desk.station.replica.final_size >= state.epoch.size
                assert desk.stopped is None
            assert leaver.stopped is None and leaver.owed() == ()
        finally:
            for desk in desks:
                desk.close()
