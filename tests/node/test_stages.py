"""The secrets of an attempt, in and out of a node's journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from comity.aggregation.stages import Committed, Joined, Ready, Revealed, Started
from comity.commons.attempts import Confirming, Joining, Masking, Readying, Revealing, opened_of
from comity.errors import Malformed, Refused, Rule
from comity.node.stages import (
    members_of,
    plan_of,
    scope_of,
    sealing_secret,
    seat_of,
    stage_of,
)
from comity.values import Seat, sha256
from tests.e2e.prepared import Make
from tests.e2e.test_lying_members import until_asleep


def test_a_node_holds_ever_less(commons: Make, tmp_path: Path) -> None:
    """5.6, 12: Joined, Ready, Started, Committed, Revealed, and then nothing."""
    with commons(3, rounds=1).world(tmp_path) as world:
        node = world.desk("m1")
        kinds: list[type] = []

        def looked() -> bool:
            attempt = world.study.current
            if attempt is not None:
                stage = stage_of(node.station, scope_of(opened_of(attempt)))
                if stage is not None and type(stage) not in kinds:
                    kinds.append(type(stage))
            return bool(world.study.results)

        world.run(looked)
        world.settle()
        order = [Joined, Ready, Started, Committed, Revealed]
        assert kinds == [kind for kind in order if kind in kinds]
        assert {Joined, Ready, Committed, Revealed} <= set(kinds)
        opened = world.study.ended[0].opened
        assert stage_of(node.station, scope_of(opened)) is None


def test_after_the_commit_the_pair_seeds_are_gone(commons: Make, tmp_path: Path) -> None:
    """Row 7: what could make a second vector is erased once the first is with the host."""
    with commons(3).world(tmp_path) as world:
        until_asleep(world, "m1", "round.confirm")
        opened = opened_of(world.attempt)
        stage = stage_of(world.desk("m1").station, scope_of(opened))
        assert isinstance(stage, Committed)
        assert not hasattr(stage, "pair_seeds")


def test_the_sealing_key_of_an_attempt_is_erased_when_ready(commons: Make, tmp_path: Path) -> None:
    """5.2: all envelopes are opened by then. Without it a node sits out, with the exact rule."""
    with commons(3).world(tmp_path) as world:
        until_asleep(world, "m1", "round.ready")
        station, attempt = world.desk("m1").station, world.attempt
        assert isinstance(attempt, Readying)
        assert sealing_secret(station, attempt.opened)
        world.desk("m1").wake()
        world.run(lambda: bool(world.said("round.ready", "m1")))
        with pytest.raises(Refused) as caught:
            sealing_secret(station, attempt.opened)
        assert caught.value.rule is Rule.AMNESIA


def test_what_is_no_stage_is_malformed(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        world.until(Joining)
        scope = scope_of(opened_of(world.attempt))
        for junk in (b"", b"\xc0", b"\x81\xa4type\xa6Joined", bytes(100)):
            world.desk("m1").station.journal.keep(scope, junk)
            with pytest.raises(Malformed):
                stage_of(world.desk("m1").station, scope)


def test_an_attempt_is_seen_by_seats(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        opened = world.until(Masking).started.opened
        for number, desk in enumerate(world.desks, start=1):
            assert seat_of(desk.station, opened) == number
        assert members_of(opened, frozenset({Seat(1), Seat(3)})) == {"m0", "m2"}
        plan = plan_of(opened)
        assert (plan.n, plan.t, plan.c, plan.k) == (3, 3, 1, 2)
        assert str(plan.opened) == str(opened.id)
        assert len({sha256(public) for public in plan.sealing_keys}) == 3
        assert not isinstance(world.attempt, Confirming | Revealing)
