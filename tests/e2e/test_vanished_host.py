"""The host goes away, or stalls, when something was revealed (aggregation.md 11.3, 29 and 30).

Every member is a running node. What was confirmed and revealed is in every member's copy of the
log, so the round ends from any copy; whoever withholds its secret holds nobody up when n >= 3c+1.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from comity.commons.attempts import End, Revealing
from comity.commons.waiting import waiting_for
from comity.node.stages import scope_of
from tests.e2e.forks import connect
from tests.e2e.prepared import Make
from tests.e2e.preparing import serve
from tests.e2e.steps import World
from tests.e2e.test_rounds import Plain, same_as_plain


def vanish(world: World) -> None:
    """The host's machine is gone, with all that was on it."""
    world.server.stop()
    world.thread.join(20)
    shutil.rmtree(world.places.host_folder)


def return_from_copy(world: World, member: str) -> None:
    """A new machine of the hosting member, from a member's copy of log and sum."""
    keeper = world.desk(member)
    folder = world.places.host_folder
    folder.mkdir(mode=0o700)
    keeper.station.replica.flush()
    for name in ("log.sqlite", "log.sqlite-wal", "log.sqlite-shm"):
        if (keeper.place.folder / name).exists():
            shutil.copy(keeper.place.folder / name, folder / name.replace("log", "host"))
    (folder / "sums").mkdir(mode=0o700)
    attempt = keeper.state.studies[world.study_id].current
    assert isinstance(attempt, Revealing)
    path, _ = keeper.station.sums[attempt.closed.id]
    shutil.copy(path, folder / "sums" / attempt.closed.sum)
    world.server, world.thread = serve(world.places, world.clock)
    for desk in world.desks:
        connect(desk, world.server.url)
        desk.station.deliver_again()  # as a node does when it starts, or after a minute


@pytest.mark.parametrize("reveals", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_attack_29_the_host_disappears_after_the_confirms(
    commons: Make, tmp_path: Path, reveals: int
) -> None:
    """After the quorum, or after one Reveal: nodes wait, and the round ends from a copy."""
    prepared = commons(4)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        for desk in world.desks[reveals:]:
            desk.sleep_before("round.reveal")
        world.settle()
        for desk in world.desks:
            desk.sync()
        assert isinstance(world.attempt, Revealing), world.describe()
        assert len(world.said("round.reveal")) == reveals
        size = world.state.size
        for desk in world.desks:
            desk.wake()
        keep_sums(world)
        vanish(world)
        alone = world.desk("m3")
        alone.step()
        assert alone.stopped is None, "a host that is away is no fault"
        assert "cannot reach the host" in alone.station.faults["host"]
        assert alone.state.size == size
        return_from_copy(world, "m2")
        world.round(1)
        same_as_plain(world, plain, (0, 1, 2, 3), 4)
        for desk in world.desks:
            assert desk.stopped is None
        assert len(world.said("round.reveal", "m0")) == 1


def keep_sums(world: World) -> None:
    """Let every node fetch the sum, as it does before it reveals."""
    from comity.node.models import fetch_sum

    for desk in world.desks:
        attempt = desk.state.studies[world.study_id].current
        assert isinstance(attempt, Revealing)
        fetch_sum(desk.station, attempt.closed)


@pytest.mark.parametrize(
    "count", [4, pytest.param(5, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
def test_attack_30_the_host_learns_the_sum_and_withholds_its_secret(
    commons: Make, tmp_path: Path, count: int
) -> None:
    """The host's node takes all Reveals and says none. c = 1: from four members on it is in vain.

    With three the attempt burns; everybody sees whom it waited for, and the same work is not summed
    over another set.
    """
    prepared = commons(count)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        liar = world.desk("m0")
        liar.sleep_before("round.reveal")
        world.settle()
        attempt = world.attempt
        assert isinstance(attempt, Revealing)
        opened = attempt.closed.started.opened
        waits = waiting_for(world.state, world.study)
        assert waits is not None and waits.members == ("m0",), "the culprit is named"
        assert len(world.said("round.reveal")) == count - 1
        if count >= 4:
            world.let_time_pass(world.results(1))
            same_as_plain(world, plain, tuple(range(count)), count)
            assert world.study.ended[0].end is End.ACCEPTED
            assert {said.author for said in world.said("round.recover")} == {
                desk.member for desk in world.desks[1:]
            }
            return
        world.let_time_pass(lambda: all(world.said("round.abandon", m) for m in ("m1", "m2")))
        abandons = world.said("round.abandon")
        assert all(said.body.released for said in abandons)  # type: ignore[union-attr]  # its kind
        liar.wake()  # it has learnt the sum, and now tries the same work without m2
        world.desk("m2").sleep_before("round.join")
        world.let_time_pass(lambda: bool(world.study.ended))
        world.let_time_pass(lambda: len(world.study.ended) > 1)
        assert world.study.ended[0].end is End.BURNED, world.describe()
        assert not world.study.results
        reveals = [said for said in world.said("round.reveal") if said.author != "m0"]
        assert {said.body.opened for said in reveals} == {opened.id}  # type: ignore[union-attr]
        again = world.study.current
        assert again is None or scope_of(again.opened) != scope_of(opened)  # type: ignore[union-attr]
