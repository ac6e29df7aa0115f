"""Members that stop at every point of a round, and come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from comity.commons.attempts import Confirming, End
from comity.commons.waiting import waiting_for
from comity.values import BlobName
from tests.e2e.prepared import Make
from tests.e2e.test_rounds import Plain, same_as_plain

ALL, OTHERS = (0, 1, 2, 3), (0, 1, 3)


@pytest.mark.parametrize(
    ("stops_before", "summed"),
    [
        ("round.join", OTHERS),
        ("round.ready", OTHERS),
        ("round.commit", OTHERS),
        ("round.confirm", ALL),
        ("round.reveal", ALL),
        ("round.accept", ALL),
    ],
)
def test_a_round_ends_without_a_member_that_stops(
    commons: Make, tmp_path: Path, stops_before: str, summed: tuple[int, ...]
) -> None:
    """And the result is the plain one over exactly those that committed."""
    prepared = commons(4)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        world.desk("m2").silent_before = {stops_before}
        world.let_time_pass(world.results(1))
        same_as_plain(world, plain, summed, 4)
        recovered = bool(world.said("round.recover"))
        assert recovered == (stops_before in ("round.confirm", "round.reveal"))
        assert world.study.ended[0].end is End.ACCEPTED


def test_without_consent_to_exposure_the_study_waits_and_says_whom_for(
    commons: Make, tmp_path: Path
) -> None:
    """5.10, attack 46: round 1 had all four, so round 2 over three would show m2."""
    prepared = commons(4)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        absent = world.desk("m2")
        absent.silent_before = {"round.accept"}
        world.let_time_pass(world.results(2))
        same_as_plain(world, plain, ALL, 4)
        assert world.study.ended[-1].end is End.UNSTARTED
        assert len(world.said("round.commit")) == 4, "nobody trains for a set that is refused"
        waiting = waiting_for(world.state, world.study)
        assert waiting is not None
        assert waiting.members == ("m2",)
        assert "exposed" in waiting.reason
        absent.wake()
        world.let_time_pass(world.results(2))
        same_as_plain(world, plain, ALL, 4)


def test_with_consent_to_exposure_the_study_goes_on_and_a_late_member_catches_up(
    commons: Make, tmp_path: Path
) -> None:
    """m2 misses all of round 2 and computes its model from the log before it joins round 3."""
    prepared = commons(4, exposed=("m2",), rule="FedAdam(server_lr=0.1)")
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        absent, host = world.desk("m2"), world.desk("m0")
        absent.silent_before = {"round.accept"}
        world.let_time_pass(world.results(1))
        same_as_plain(world, plain, ALL, 4)
        world.let_time_pass(world.results(2))
        same_as_plain(world, plain, OTHERS, 4)
        host.sleep_before("round.open")
        second = BlobName(world.study.results[1].model)
        assert not absent.station.blobs.finished(second)
        absent.wake()
        world.settle()
        host.wake()
        world.let_time_pass(world.results(3))
        same_as_plain(world, plain, ALL, 4)
        assert absent.station.blobs.finished(second)
        assert absent.stopped is None


def test_a_member_that_comes_back_in_the_same_round_resumes(commons: Make, tmp_path: Path) -> None:
    """Killed after its Commit, restarted before confirm_by: all four confirm, nobody recovers."""
    prepared = commons(4)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        absent = world.desk("m2")
        absent.silent_before = {"round.confirm"}
        world.settle()
        assert isinstance(world.attempt, Confirming)
        absent.die()
        absent.restart()
        world.round(1)
        same_as_plain(world, plain, ALL, 4)
        assert not world.said("round.recover")
