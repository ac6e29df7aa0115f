"""Vectors and dealings that are not what an honest member makes; and what follows for later rounds.

Garbage is anonymous by design (aggregation-review.md 9): it costs an attempt, never a secret.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from msgspec.structs import replace

from comity.commons.attempts import Confirming, End, Masking
from comity.commons.opening import Waiting, expected_open
from comity.commons.waiting import waiting_for
from comity.errors import Rule
from comity.learning.model import read_model
from comity.node.models import model_files
from comity.statements.rounds import RoundAbandon, RoundOpen
from comity.values import BlobName
from tests.e2e.lies import commit_bytes, commit_words, join_with
from tests.e2e.prepared import Make
from tests.e2e.small_study import layout_of_text
from tests.e2e.steps import World
from tests.e2e.test_lying_members import until_asleep
from tests.e2e.test_rounds import Plain, same_as_plain

ALL, OTHERS = (0, 1, 2, 3), (0, 1, 3)
Words = npt.NDArray[np.uint32]


def ended(world: World) -> bool:
    return bool(world.study.ended)


def spike(words: Words) -> None:
    """One data word far out of range."""
    words[8] = 2**31 - 1


def garbage(words: Words) -> None:
    words[:] = np.random.default_rng(3).integers(0, 2**32, words.size, np.uint32)


def canary(words: Words) -> None:
    words[1] = 1


def padding(words: Words) -> None:
    words[-1] = 1


def counted_twice(words: Words) -> None:
    words[4] = 2


def no_weight(words: Words) -> None:
    words[5] = 0


def negative_weight(words: Words) -> None:
    words[5] = 2**32 - 3


def heavy(words: Words) -> None:
    words[5] = 5


@pytest.mark.parametrize(
    "lie",
    [
        spike,
        negative_weight,
        *(
            pytest.param(lie, marks=pytest.mark.slow)
            for lie in (garbage, canary, padding, counted_twice, no_weight, heavy)
        ),
    ],
)
def test_a_vector_out_of_bounds_burns_the_attempt(
    commons: Make, tmp_path: Path, lie: object
) -> None:
    """Attacks 32, 45, 47: everybody rejects the total and says so; the same set may try again."""
    prepared = commons(4, numbers=41)  # so that there is padding
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        until_asleep(world, "m2", "round.commit")
        commit_words(world, world.desk("m2"), lie)  # type: ignore[arg-type]  # as meant
        world.desk("m2").wake()
        world.let_time_pass(lambda: ended(world))
        burned = world.study.ended[0]
        assert burned.end is End.BURNED
        assert not world.study.results
        assert all(fact.released for fact in burned.abandons.values())
        # R6: the very same roster and set, and then the honest update of m2 counts.
        world.let_time_pass(world.results(1))
        again = world.study.ended[1]
        assert again.opened.roster == burned.opened.roster
        same_as_plain(world, plain, ALL, 4)


def test_after_a_burned_attempt_no_other_set_is_summed(commons: Make, tmp_path: Path) -> None:
    """Attack 45: garbage, then the host opens without m1: nobody joins, and the study waits."""
    with commons(4).world(tmp_path) as world:
        until_asleep(world, "m2", "round.commit")
        commit_words(world, world.desk("m2"), spike)
        world.desk("m2").wake()
        host = world.desk("m0")
        world.run(lambda: isinstance(world.study.current, Confirming))
        world.desk("m1").sleep_before("round.enrol")
        world.let_time_pass(lambda: ended(world))
        assert world.study.ended[0].end is End.BURNED
        host.sleep_before("round.open")
        world.desk("m1").sleep_before("round.join")
        world.settle()
        expected = expected_open(world.state, world.study_id)
        if isinstance(expected, RoundOpen):
            host.wake()
            world.let_time_pass(lambda: False, limit_s=400)
        assert len(world.said("round.commit")) == 4, "no second vector of this work"
        assert not world.study.results
        waiting = waiting_for(world.state, world.study)
        assert waiting is not None
        assert waiting.members == ("m1",)
        assert isinstance(expected_open(world.state, world.study_id), Waiting)


def test_a_copy_of_an_honest_vector_gives_nothing(commons: Make, tmp_path: Path) -> None:
    """Attack 20: the host gives m2 the bytes of m1; the total is noise and is rejected."""
    with commons(4).world(tmp_path) as world:
        until_asleep(world, "m2", "round.commit")
        world.run(
            lambda: isinstance(world.attempt, Masking) and world.seat("m1") in world.attempt.commits
        )
        masking = world.attempt
        assert isinstance(masking, Masking)
        stolen = world.desk("m1").station.blobs.path(
            BlobName(masking.commits[world.seat("m1")].vector)
        )
        world.desk("m2").sync()
        commit_bytes(world, world.desk("m2"), stolen.read_bytes())
        world.desk("m2").wake()
        world.let_time_pass(lambda: ended(world))
        assert world.study.ended[0].end is End.BURNED
        assert not world.study.results


def test_shares_that_are_no_polynomial_blame_the_dealer(commons: Make, tmp_path: Path) -> None:
    """Attack 23: m2 deals one share off its polynomial, commits and is silent."""
    with commons(4).world(tmp_path) as world:
        until_asleep(world, "m2", "round.join")
        seat, liar = world.seat("m1"), world.seat("m2")

        def bend(plaintexts: list[bytes]) -> None:
            share = bytearray(plaintexts[seat - 1])
            share[31] ^= 1
            plaintexts[seat - 1] = bytes(share)

        join_with(world, world.desk("m2"), shares=bend)
        world.desk("m2").wake()
        until_asleep(world, "m2", "round.reveal")
        assert not any(s.body.complaints for s in world.said("round.ready"))  # type: ignore[union-attr]
        world.let_time_pass(lambda: len(world.said("round.recover")) >= 3)
        world.settle()
        faults = [world.desk(name).station.faults.get("SayAccept") for name in ("m0", "m1", "m3")]
        found = [fault for fault in faults if fault]
        assert found
        assert all("bad-dealing" in fault and f"seat {liar}" in fault for fault in found)
        world.let_time_pass(lambda: ended(world))
        assert world.study.ended[0].end is End.BURNED


@pytest.mark.parametrize("twist", ["np.nan", pytest.param("np.inf", marks=pytest.mark.slow)])
def test_an_update_that_is_not_finite_never_leaves_the_site(
    commons: Make, tmp_path: Path, twist: str
) -> None:
    """Attack 31: m1 (three rows) fails before masking; the others end the round without it."""
    text = f'after["b"][0] = {twist} if len(table) == 3 else after["b"][0]'
    prepared = commons(4, twist=text, rounds=1)
    with prepared.world(tmp_path) as world:
        world.let_time_pass(world.results(1))
        assert not world.said("round.commit", "m1")
        assert "not-finite" in world.desk("m1").station.faults["SayCommit"]
        world.settle()
        model = model_files(world.desk("m0").station, world.study).model.read_bytes()
        assert np.isfinite(read_model(layout_of_text(prepared.text), model)).all()


def test_a_dropped_member_and_a_silent_survivor_in_one_round(commons: Make, tmp_path: Path) -> None:
    """Attack 26: m3 drops out, m4 confirms and is silent; both masks come off."""
    prepared = commons(5, survivors_min=3, rounds=1)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        dropped, silent = world.desk("m3"), world.desk("m4")
        dropped.sleep_before("round.commit")
        silent.sleep_before("round.reveal")
        world.let_time_pass(lambda: isinstance(world.study.current, Confirming))
        dropped.wake()  # too late to commit; it still holds shares of the others
        world.let_time_pass(world.results(1))
        same_as_plain(world, plain, (0, 1, 2, 4), 5)
        (recover, *_) = world.said("round.recover")
        assert recover.body.silent[0].mu is not None  # type: ignore[union-attr]  # its kind


def test_early_abandons_do_not_end_a_started_attempt(commons: Make, tmp_path: Path) -> None:
    """Attack 9: the host opens again with t - 1 Abandons, the last with a false `released`."""
    with commons(4).world(tmp_path) as world:
        until_asleep(world, "m2", "round.commit")
        host = world.desk("m0")
        liar = world.desk("m2")
        world.run(lambda: len(world.said("round.commit")) == 3)
        host.sync()
        gone = liar.lie(RoundAbandon(attempt=1, released=False, round_no=1, study=world.study_id))
        due = world.said("round.open")[0].body
        assert isinstance(due, RoundOpen)
        again = host.lie(replace(due, attempt=2), "round.open#again")
        world.let_time_pass(world.results(1))
        assert world.outcome(gone) is None
        assert world.outcome(again) in (Rule.ATTEMPT_NOT_ENDED, Rule.NOT_AS_DERIVED)
