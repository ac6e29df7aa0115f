"""P1. Keys and shares that the host swaps on their way are never used to mask an update.

Against running nodes: the host serves other keys in the name of m1, or other shares than m1 dealt.
The node stops at the forgery, or waits for the true bytes; and no vector of it leaves.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from comity.commons.attempts import Masking, Readying
from comity.errors import Forged, HostFault, HostFaultKind
from comity.values import BlobName
from tests.e2e import forgeries
from tests.e2e.prepared import Make
from tests.e2e.prepared import commons as commons
from tests.e2e.steps import World
from tests.e2e.test_lying_members import until_asleep

KEYS = {"epk": forgeries.other_ephemeral_key, "sealing key": forgeries.other_sealing_key}


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("which", list(KEYS))
def test_attack_5_a_key_in_the_name_of_another_stops_the_node(
    commons: Make, tmp_path: Path, which: str, signed: bool
) -> None:
    """Under the true head the root does not fit; under a head of its own the signature does not."""
    with commons(4).world(tmp_path) as world:
        victim = world.desk("m2")
        until_asleep(world, "m1", "round.join" if which == "epk" else "round.ready")
        forge = forgeries.in_the_name_of(world, "m1", KEYS[which])
        forgeries.serve_forged(world, victim, forge, signed=signed)
        world.desk("m1").wake()
        world.run(lambda: victim.stopped is not None)
        if signed:
            assert isinstance(victim.stopped, HostFault)
            assert victim.stopped.kind is HostFaultKind.INADMISSIBLE
            assert victim.stopped.evidence, "the entry that must not be there"
        else:
            assert isinstance(victim.stopped, Forged)
        size = len(world.said("round.commit", "m2"))
        world.settle()
        assert size == 0 and not world.said("round.commit", "m2"), "nothing of it was masked"


def dealt_by(world: World, member: str) -> Path:
    """The file of a member's sealed shares at the host."""
    attempt = world.attempt
    assert isinstance(attempt, Readying)
    path = world.server.host.bulk.find(
        world.state, BlobName(attempt.joins[world.seat(member)].blob)
    )
    assert path is not None
    return path


def test_attack_5_swapped_shares_are_not_taken(commons: Make, tmp_path: Path) -> None:
    """The host serves the shares m1 dealt as those of m3: nobody is ready until the true ones come.

    And a swap is not taken for a fault of the dealer: no complaint, for that would publish shares.
    """
    with commons(4).world(tmp_path) as world:
        for desk in world.desks:
            desk.sleep_before("round.ready")
        world.settle()
        path, other = dealt_by(world, "m1"), dealt_by(world, "m3")
        true = path.read_bytes()
        path.write_bytes(other.read_bytes())
        for desk in world.desks:
            desk.station.dealt.clear()
            desk.wake()
        for _ in range(6):
            world.turn()
        for desk in world.desks:
            if desk.member != "m1":
                assert not world.said("round.ready", desk.member)
                assert "SHA-256" in desk.station.faults["SayReady"]
        path.write_bytes(true)
        world.until(Masking)
        assert not world.said("round.resolve")
        assert all(not said.body.complaints for said in world.said("round.ready"))  # type: ignore[union-attr]
        world.round(1)
