"""Rounds under a host that shows two histories (aggregation.md 11.3, attacks 2, 10 and 50).

Every member is a running node; the adversary is the host with its own member's node, which speaks
in both logs. Never are two sets summed, and never do both secrets of one member leave.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from comity.commons.attempts import Confirming, End, Halted, Masking, Revealing, opened_of
from comity.errors import Forged, HostFault
from comity.node.answers import Batch
from comity.statements.governing import Seen
from comity.statements.rounds import RoundRecover, RoundReveal
from comity.values import StatementId
from tests.e2e.forks import connect, fork
from tests.e2e.lies import closed_now
from tests.e2e.prepared import Make
from tests.e2e.steps import World
from tests.e2e.test_rounds import Plain, same_as_plain


def never_both_secrets(*worlds: World) -> None:
    """Over all logs: of no member and no attempt do shares of both secrets come out."""
    alive: set[tuple[StatementId, int]] = set()
    gone: set[tuple[StatementId, int]] = set()
    for world in worlds:
        live = [opened_of(world.study.current)] if world.study.current else []
        rosters = {o.id: o for o in (*live, *(ended.opened for ended in world.study.ended))}
        for said in world.log():
            body = said.body
            if isinstance(body, RoundReveal):
                gone |= {(body.opened, share.seat) for share in body.dropped}
                if body.beta is not None:
                    seat = rosters[body.opened].seat(said.author)
                    assert seat is not None
                    alive.add((body.opened, seat))
            if isinstance(body, RoundRecover):
                alive |= {(body.opened, share.seat) for share in body.silent}
    assert not alive & gone


@pytest.mark.parametrize(
    ("moved", "accepted"),
    [
        pytest.param(("m3",), True, marks=pytest.mark.slow),
        (("m2", "m3"), False),
    ],
)
def test_attack_2_a_close_for_each_half_gives_at_most_one_quorum(
    commons: Make, tmp_path: Path, moved: tuple[str, ...], accepted: bool
) -> None:
    """Close(U) for some, Close(U without m4) for the others; the host's own member confirms both.

    With n = 5, c = 1 and t = 4 the larger side alone can have a quorum, and it may miss one too.
    """
    prepared = commons(5)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path / "a") as world:
        world.desk("m4").sleep_before("round.commit")
        world.settle()
        masking = world.attempt
        assert isinstance(masking, Masking) and len(masking.commits) == 4
        with fork(world, tmp_path / "b", moved=moved) as other:
            world.desk("m4").wake()
            world.run(lambda: isinstance(world.study.current, Confirming))
            assert closed_now(world).dropped == frozenset()
            if accepted:  # the clock is one for both: each log gets its time in turn
                world.let_time_pass(world.results(1))
                same_as_plain(world, plain, (0, 1, 2, 3, 4), 5)
            other.let_time_pass(lambda: isinstance(other.study.current, Confirming), limit_s=600)
            other.settle()
            if len(moved) == 2:  # enough to move round time on
                assert closed_now(other).dropped == {other.seat("m4")}
                assert other.said("round.confirm", "m0")
            for each in (other, world):
                each.let_time_pass(each.results(1))
            assert not other.said("round.reveal"), "no second quorum: nothing leaves"
            assert bool(world.said("round.reveal")) == accepted
            never_both_secrets(world, other)
            assert not other.study.results
            assert bool(world.study.results) == accepted
            victim = other.desk(moved[0])
            connect(victim, world.server.url)
            victim.step()
            told = victim.station.faults.get("host", "")
            caught = isinstance(victim.stopped, HostFault | Forged) or "head-unknown" in told
            assert caught, "one look at the other log"


def test_attack_10_two_attempts_of_one_work_are_never_both_summed(
    commons: Make, tmp_path: Path
) -> None:
    """Attempt 1 over all four is closed; while two are slow, attempt 2 goes on without m3.

    m3 is shown a log in which attempt 1 still stands, and the host's member confirms it there.
    """
    prepared = commons(4)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path / "a") as world:
        for slow in ("m1", "m2"):
            world.desk(slow).sleep_before("round.confirm")
        world.settle()
        first = world.attempt
        assert isinstance(first, Confirming) and first.closed.dropped == frozenset()
        opened = first.closed.started.opened
        with fork(world, tmp_path / "b", moved=("m3",)) as other:
            world.clock.now_s += 600
            for late in ("m0", "m1", "m2"):
                world.desk(late).lie(Seen())  # round time has passed before they could confirm
            for slow in ("m1", "m2"):
                world.desk(slow).wake()
            world.let_time_pass(world.results(1), limit_s=3_000)
            assert world.study.ended[0].end is End.SEALED
            assert world.study.ended[1].end is End.ACCEPTED
            same_as_plain(world, plain, (0, 1, 2), 4)
            other.let_time_pass(other.results(1))
            assert {said.author for said in other.said("round.confirm")} == {"m0", "m3"}
            assert isinstance(other.attempt, Confirming | Halted), "2 of 4: no quorum here"
            assert not other.said("round.reveal")
            summed = {
                said.body.opened
                for said in (*world.said("round.reveal"), *world.said("round.recover"))
                if isinstance(said.body, RoundReveal | RoundRecover)
            }
            assert len(summed) == 1 and opened.id not in summed
            never_both_secrets(world, other)


def test_attack_50_confirms_that_only_one_member_is_shown(commons: Make, tmp_path: Path) -> None:
    """m1 is handed the quorum without a head over it: it reveals nothing until the log has it."""
    prepared = commons(4)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        victim = world.desk("m1")
        world.desk("m0").sleep_before("round.reveal")
        for member in ("m2", "m3"):
            world.desk(member).sleep_before("round.reveal")
        world.run(lambda: isinstance(world.study.current, Confirming))
        victim.sync()
        before = victim.station.remote.entries(victim.state.size)
        world.desks.remove(victim)
        victim.loop._work()  # its own Confirm
        world.settle()
        assert isinstance(world.attempt, Revealing)
        true = victim.station.remote.entries

        def without_a_head(start: int, *rest: int) -> Batch:
            batch = true(start, *rest)
            return Batch(batch.version, before.heads, batch.start, batch.entries)

        victim.station.remote.entries = without_a_head  # type: ignore[method-assign, assignment]
        for _ in range(5):
            victim.step()
        assert victim.loop._pending, "it was shown the Confirms that make the quorum"
        assert isinstance(victim.state.studies[world.study_id].current, Confirming)
        assert victim.stopped is None
        assert not world.said("round.reveal"), "and believes nothing that no head covers"
        victim.station.remote.entries = true  # type: ignore[method-assign]  # bent
        victim.step()
        assert [said.author for said in world.said("round.reveal")] == ["m1"]
        world.desks.append(victim)
        for desk in world.desks:
            desk.sync()
            assert isinstance(desk.state.studies[world.study_id].current, Revealing)
            desk.wake()
        world.round(1)
        same_as_plain(world, plain, (0, 1, 2, 3), 4)
