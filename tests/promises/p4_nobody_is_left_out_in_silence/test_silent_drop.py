"""P4. A member that is dropped is named: in the log, on every screen, and nothing calls it success.

Performed against running nodes and a running host; the host is the adversary.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from comity.cli.reading import study_lines
from comity.commons.attempts import Closing, Confirming
from comity.commons.revealing import expected_close
from comity.errors import Rule
from comity.node import wishes
from comity.statements.rounds import RoundRecover, RoundReveal
from comity.values import Seat, pack_bits
from tests.e2e.lies import closed_now
from tests.e2e.prepared import Make
from tests.e2e.prepared import commons as commons
from tests.e2e.steps import Desk, World
from tests.e2e.test_lying_host import withhold
from tests.e2e.test_lying_members import until_asleep


def screen(node: Desk) -> str:
    """What `comity study watch` shows at a node."""
    (study,) = wishes.status(node.station).studies
    return "\n".join(study_lines(study))


@pytest.mark.parametrize("how", ["killed", "withheld"])
def test_a_member_that_is_not_in_the_result_is_named_on_every_screen(
    commons: Make, tmp_path: Path, how: str
) -> None:
    """A site that was killed, and one whose update the host received and refused to log."""
    with commons(4, rounds=1).world(tmp_path) as world:
        if how == "killed":
            world.desk("m2").sleep_before("round.commit")
        else:
            withhold(world, "m2", "round.commit")
        world.let_time_pass(world.results(1))
        for desk in world.desks:
            if desk.member == "m2":
                continue
            desk.sync()
            shown = screen(desk)
            assert "finished" in shown
            assert "NOT EVERYBODY IS IN THE RESULTS: without m2 in 1 of them" in shown
        if how == "withheld":
            assert "delivery" in world.desk("m2").station.faults, "and the member itself sees it"


def test_with_everybody_in_it_nobody_is_named(commons: Make, tmp_path: Path) -> None:
    with commons(4, rounds=1).world(tmp_path) as world:
        world.round(1)
        assert "NOT EVERYBODY" not in screen(world.desk("m1"))


def test_a_received_update_that_the_close_leaves_out_makes_the_close_void(
    commons: Make, tmp_path: Path
) -> None:
    with commons(4, rounds=1).world(tmp_path) as world:
        until_asleep(world, "m0", "round.close")
        host, closing = world.desk("m0"), world.attempt
        assert isinstance(closing, Closing)
        root = host.station.remote.sum_root(closing.started.opened.id).root
        true = expected_close(closing, root)
        without = frozenset(closing.commits) - {world.seat("m2")}
        said = host.lie(replace(true, survivors=pack_bits(without, 4)), "round.close#without")
        assert world.outcome(said) is Rule.NOT_AS_DERIVED
        assert not world.said("round.confirm"), "nobody confirms it"
        host.wake()
        world.round(1)
        assert "NOT EVERYBODY" not in screen(world.desk("m1"))


def test_nobody_can_be_named_both_alive_and_dropped(commons: Make, tmp_path: Path) -> None:
    """The one question that would unmask a member: both its secrets. It cannot be asked.

    m2 is dropped; then the host closes again with it alive.
    """
    with commons(4, rounds=1).world(tmp_path) as world:
        world.desk("m2").sleep_before("round.commit")
        world.let_time_pass(lambda: isinstance(world.study.current, Confirming))
        closed, gone = closed_now(world), world.seat("m2")
        assert closed.dropped == {gone}
        liar = world.desk("m0")
        until_asleep(world, "m0", "round.reveal")
        derived = Closing(closed.started, closed.commits, {})
        honest = expected_close(derived, closed.sum)
        everybody = frozenset(Seat(seat) for seat in (1, 2, 3, 4))
        again = liar.lie(replace(honest, survivors=pack_bits(everybody, 4)), "round.close#2")
        world.desk("m2").asleep = True
        liar.wake()
        world.let_time_pass(world.results(1))
        assert world.outcome(again) in (Rule.PHASE_CLOSED, Rule.NOT_AS_DERIVED)
        alive: set[Seat] = set()
        dropped: set[Seat] = set()
        for said in world.log():
            if isinstance(said.body, RoundReveal):
                dropped |= {share.seat for share in said.body.dropped}
                alive |= {world_seat(world, said.author)} if said.body.beta is not None else set()
            if isinstance(said.body, RoundRecover):
                alive |= {share.seat for share in said.body.silent}
        assert dropped == {gone} and alive == everybody - {gone}


def world_seat(world: World, member: str) -> Seat:
    """The member's seat in the attempt that ended last."""
    found = {m: s for s, m in enumerate(world.study.ended[-1].opened.roster, 1)}
    return Seat(found[next(m for m in found if m == member)])
