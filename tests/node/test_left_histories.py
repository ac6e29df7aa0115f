"""What a change of epoch or host must not undo: a fork of one host, a promise, the set of a work.

Attacks: a host that forks behind an ordinary epoch; an old host that asks for one cosignature more;
a new history in which an attempt was never started, or was closed over another set.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from comity.commons.attempts import Confirming, End, Joining, Live, Opened, Revealing, opened_of
from comity.commons.phases import end
from comity.errors import HostFault, HostFaultKind, Refused, Rule
from comity.node.remembering import _after_end
from comity.node.stages import scope_of
from comity.node.station import Station
from comity.node.succession import approve, take_over
from comity.node.works import check_work
from comity.statements.membership import EpochApprove
from comity.values import MemberId, StatementId
from tests.commons.changes import rotate_body
from tests.e2e.prepared import Make
from tests.e2e.steps import World
from tests.node.test_succession import founded


def test_attack_1_a_host_cannot_hide_a_fork_behind_an_ordinary_epoch(tmp_path: Path) -> None:
    with founded(tmp_path) as commons:
        fork = commons.candidate(0, "fork")
        victim = commons.desk(3)
        commons.say(3, "rows-3")
        commons.world.clock.now_s += 20
        victim.loop._work()
        cosigned = victim.station.journal.last_cosigned()
        assert cosigned is not None and cosigned[0] == victim.state.size
        for at in (0, 1, 2):
            station = commons.desk(at).station
            station.remote = station.remote_to(fork.url)
        rotating = commons.desk(2).station
        rotating.say(rotate_body(MemberId("m2")))
        rotating.deliver()
        for at in (0, 1, 2):
            commons.desk(at).sync()
        epoch = commons.desk(0).state.changes.pending[0].epoch
        for at in (0, 1, 2):
            station = commons.desk(at).station
            station.say(EpochApprove(document=epoch.digest, epoch=epoch.number))
            station.deliver()
        assert fork.host.published.state.epoch.number == 1
        victim.station.remote = victim.station.remote_to(fork.url)
        with pytest.raises(HostFault) as caught:
            victim.sync()
        assert caught.value.kind is HostFaultKind.SPLIT_VIEW and caught.value.evidence
        assert victim.state.epoch.number == 0
        assert victim.station.journal.last_cosigned() == cosigned


def test_who_approved_another_host_cosigns_nothing_more_of_the_old_one(tmp_path: Path) -> None:
    with founded(tmp_path) as commons:
        server = commons.candidate(1)
        take_over(commons.desk(1).station, server.url)
        desk = commons.desk(2)
        approve(desk.station, server.url)
        desk.loop._moving.step()
        before = desk.station.journal.last_cosigned()
        commons.say(3, "rows-3", 2)
        commons.world.clock.now_s += 20
        desk.loop._unread(Refused(Rule.HEAD_UNKNOWN, "what the old host answers"))
        assert desk.station.journal.last_cosigned() == before


def revealed(world: World) -> tuple[Station, Opened, Live]:
    """m1's station, once it has revealed in the attempt under way."""
    world.until(Revealing)
    attempt, desk = world.attempt, world.desk("m1")
    scope = scope_of(opened_of(attempt))
    for _ in range(200):
        if "round.reveal" in desk.station.journal.promised(scope):
            break
        desk.step()
    return desk.station, opened_of(attempt), attempt


def test_attack_45_a_history_that_never_started_the_attempt_frees_no_work(
    commons: Make, tmp_path: Path
) -> None:
    with commons(4).world(tmp_path) as world:
        station, opened, _ = revealed(world)
        consent = world.study.consents[station.member]
        fewer = replace(opened, attempt=opened.attempt + 1, roster=opened.roster[:-1])
        _after_end(station, end(Joining(opened, {}, {}), End.UNSTARTED, opened.index + 1))
        with pytest.raises(Refused) as refused:
            check_work(station, fewer, consent.dataset, consent.version)
        assert refused.value.rule is Rule.WORK_SUMMED_BEFORE


def test_attack_45_a_history_that_closed_it_over_another_set_frees_no_work(
    commons: Make, tmp_path: Path
) -> None:
    with commons(4).world(tmp_path) as world:
        station, opened, attempt = revealed(world)
        assert isinstance(attempt, Confirming | Revealing)
        consent = world.study.consents[station.member]
        survivors = frozenset(sorted(attempt.closed.survivors)[:-1])
        closed = replace(attempt.closed, id=StatementId("ab" * 32), survivors=survivors)
        burned = replace(
            end(replace(attempt, closed=closed), End.BURNED, opened.index + 1),
            sets=frozenset({frozenset(opened.member(seat) for seat in survivors)}),
        )
        for ended in (burned, replace(burned, sets=frozenset())):
            _after_end(station, ended)
            with pytest.raises(Refused) as refused:
                check_work(station, opened, consent.dataset, consent.version)
            assert refused.value.rule is Rule.WORK_SUMMED_BEFORE
