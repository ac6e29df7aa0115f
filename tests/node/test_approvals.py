"""What an approval binds: one copy of the log, and one document where it matters."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from comity.commons.state import Pending
from comity.errors import ComityError, Refused, Rule
from comity.node import governing, rotating, wishes
from comity.node.succession import approve, approve_settled, approved, take_over
from comity.statements.membership import EpochApprove
from comity.statements.wire import read
from tests.node.test_succession import Commons, founded, refuse, rule_of, stop_old


def test_a_new_host_that_swaps_the_log_after_it_was_approved_is_not_followed(
    tmp_path: Path,
) -> None:
    """The attack: approvals are taken from one log to another, which lacks what nobody cosigned."""
    with founded(tmp_path) as commons:
        commons.say(0, "rows-0", 2, 3)  # the candidate alone has not heard it
        stop_old(commons)
        server = commons.candidate(1)
        short = server.host.published.state.size
        take_over(commons.desk(1).station, server.url)
        swapped = commons.candidate(1, "swapped")  # of its own copy, as before
        assert swapped.host.published.state.size == short
        for number in (2, 3):
            approve(commons.desk(number).station, server.url)
        assert server.host.in_office and "rows-0" in server.host.published.state.datasets
        log = server.host.entries(short)
        said = [leaf for leaf in log if read(leaf).statement.author != "m0"]
        assert len(said) == len(log) - 1
        swapped.host.submit(said).result(20)
        assert swapped.host.in_office, "with the very approvals"
        for number in (2, 3):
            victim = commons.desk(number)
            victim.station.journal.put("host/next", swapped.url.encode())
            assert victim.loop._moving.step() is None
            assert "not built as proposed" in victim.station.faults["new host"]
            assert victim.state.host == "m0"
            victim.station.journal.put("host/next", server.url.encode())
        commons.move(2, 3)
        assert "rows-0" in commons.desk(3).state.datasets


def leave_pending(commons: Commons) -> Pending:
    """The last member leaves: an epoch that is settled, and that the others' nodes approve."""
    gone = commons.desk(4)
    governing.leave(gone.station)
    gone.station.deliver()
    for desk in commons.world.desks:
        desk.sync()
    (pending,) = commons.desk(2).state.changes.pending
    return pending


def test_of_two_documents_of_one_epoch_the_approved_old_one_makes_nothing_final(
    tmp_path: Path,
) -> None:
    """The attack: the old host keeps its own approval of a settled epoch back until others, who
    approved that one, have approved its successor in an epoch of the same number."""
    with founded(tmp_path, 5) as commons:
        old = commons.world.server
        settled = leave_pending(commons)
        for number in (2, 3):
            approve_settled(commons.desk(number).station, settled)
            commons.desk(number).station.deliver()
        server = commons.candidate(1)
        take_over(commons.desk(1).station, server.url)
        for number in (2, 3):
            commons.desk(number).sync()
            approve(commons.desk(number).station, server.url)
        assert server.host.in_office and server.host.published.state.epoch.number == 1
        before = old.host.published.final
        said = EpochApprove(document=settled.epoch.digest, epoch=settled.epoch.number)
        commons.desk(0).station.say(said)
        commons.desk(0).station.deliver()
        state = old.host.published.state
        assert (state.epoch.number, state.epoch.digest) == (1, settled.epoch.digest)
        assert state.epoch.digest != server.host.published.state.epoch.digest
        for desk in commons.world.desks:
            with suppress(ComityError):
                desk.sync()
            with suppress(ComityError):
                desk.loop._cosigner.cosign()
        assert old.host.published.final == before, "who approved the successor cosigns no more"
        commons.move(1, 2, 3)
        assert commons.desk(3).state.epoch.digest == server.host.published.state.epoch.digest


def test_who_has_seen_an_epoch_in_force_approves_no_other_of_its_number(tmp_path: Path) -> None:
    """The other order: the settled epoch is in force first, and the take-over follows it."""
    with founded(tmp_path, 5) as commons:
        server = commons.candidate(1)
        settled = leave_pending(commons)
        for number in (0, 2, 3):
            approve_settled(commons.desk(number).station, settled)
            commons.desk(number).station.deliver()
        for number in (2, 3):
            commons.desk(number).sync()
            assert commons.desk(number).state.epoch.number == 1
        stop_old(commons)
        server.host.take_tail = refuse  # type: ignore[method-assign, assignment]  # bent
        with suppress(ComityError):
            take_over(commons.desk(1).station, server.url)
        with pytest.raises(Refused) as refusal:
            approve(commons.desk(2).station, server.url)
        assert rule_of(refusal) in (Rule.HEAD_UNKNOWN, Rule.NO_SUCH_THING)
        assert approved(commons.desk(2).station) is None


def test_who_approves_a_host_by_name_removes_nobody_along_with_it(tmp_path: Path) -> None:
    """The attack: while a hand-over is due, a member claims that another's keys are stolen; the
    document of both has the same host, and came last."""
    with founded(tmp_path) as commons:
        server = commons.candidate(1)
        governing.offer_to_host(commons.desk(1).station, server.url)
        commons.desk(1).station.deliver()
        for desk in commons.world.desks:
            desk.sync()
        opened = governing.hand_over(commons.desk(0).station, "m1").statement
        commons.desk(0).station.deliver()
        for desk in commons.world.desks:
            for each in commons.world.desks:
                each.sync()
            if desk.state.proposals[opened].decided is None:
                wishes.cast_vote(desk.station, str(opened), "yes")
                desk.station.deliver()
        commons.desk(0).sync()
        governing.hand_over(commons.desk(0).station, "m1")
        rotating.revoke(commons.desk(3).station, "m2", "a lie")
        for number in (0, 3):
            commons.desk(number).station.deliver()
        victim = commons.desk(0)
        victim.sync()
        assert [sorted(p.epoch.keys) for p in victim.state.changes.pending] == [
            ["m0", "m1", "m2", "m3"],
            ["m0", "m1", "m3"],
        ]
        governing.approve(victim.station, "m1", server.url)
        promise = approved(victim.station)
        assert promise is not None
        assert promise.document == victim.state.changes.pending[0].epoch.digest
