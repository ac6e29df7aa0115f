"""The stages of one member: what each gives, what each has forgotten, what each refuses."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.aggregation.dealing import hedged_scalar, rows_of
from comity.aggregation.masks import neighbours
from comity.aggregation.secagg import (
    RAND_BYTES,
    bystander,
    committed,
    join,
    mask_chunk,
    ready,
    recover,
    resolve,
    reveal,
    stand_by,
    start,
    take_resolve,
)
from comity.aggregation.stages import (
    Bystander,
    Committed,
    Joined,
    Ready,
    Revealed,
    Started,
    Survivors,
)
from comity.errors import Malformed, Refused, Rule
from comity.values import SEALED_BYTES, raw, tree_root

from .parties import Round, make_plan, plain, seeded, summed, swap_envelope, whole

Stage = Joined | Ready | Started | Committed | Bystander | Revealed


@pytest.fixture(scope="module")
def four() -> Round:
    """Four members, c = 1, so t = 3 and one may be absent after Close."""
    return Round(4, 1)


def stages_of(world: Round) -> list[Stage]:
    ready_stage = world.ready()[1]
    started = start(ready_stage, world.everybody, world.binding)
    done = committed(started)
    revealed, _ = reveal(done, Survivors(world.everybody, world.everybody))
    aside = stand_by(ready_stage, world.everybody - {1})
    return [world.joined[1], ready_stage, started, done, revealed, aside]


def test_every_stage_survives_the_journal_and_shows_nothing(four: Round) -> None:
    for stage in stages_of(four):
        assert type(stage).from_bytes(stage.to_bytes()) == stage
        assert repr(stage) == type(stage).__name__ == str(stage)


def test_a_journal_entry_of_another_stage_is_malformed(four: Round) -> None:
    stages = stages_of(four)
    for stage in stages:
        for other in stages:
            if type(other) is not type(stage):
                with pytest.raises(Malformed):
                    type(other).from_bytes(stage.to_bytes())


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
def test_other_journal_bytes_are_malformed(stored: bytes) -> None:
    for kind in (Joined, Ready, Started, Committed, Revealed, Bystander):
        with pytest.raises(Malformed):
            kind.from_bytes(stored)


def test_attack_39_each_stage_has_forgotten_what_it_must(four: Round) -> None:
    joined, _, started, done, revealed, aside = stages_of(four)
    assert isinstance(joined, Joined)
    beta, sigma, mu = (polynomial[0] for polynomial in joined.polynomials)
    coefficients = [coefficient for polynomial in joined.polynomials for coefficient in polynomial]
    held = {type(stage): stage.to_bytes() for stage in stages_of(four)}
    for coefficient in coefficients:
        assert coefficient in held[Joined] and coefficient in held[Ready]
    for coefficient in {*coefficients} - {beta, mu}:
        for later in (started, done, revealed, aside):
            assert coefficient not in later.to_bytes()
    assert sigma not in held[Started]
    assert isinstance(started, Started)
    for seed in started.pair_seeds.values():
        assert seed in held[Started] and seed not in held[Committed]
    for secret in (beta, mu):
        assert secret in held[Committed]
        assert secret not in held[Revealed] and secret not in held[Bystander]


def test_a_join_blob_lies_as_written(four: Round) -> None:
    for dealing in four.dealings.values():
        assert len(dealing.blob) == SEALED_BYTES * 3 + 128 * 4
        rows = rows_of(dealing.blob, 4)
        assert rows is not None and tree_root(rows) == raw(dealing.rows_root)
    for seat, dealing in four.dealings.items():
        rows = rows_of(dealing.blob, 4)
        assert rows is not None and rows[seat - 1][96:] == bytes(32)


def test_a_plan_against_the_rules_is_not_joined() -> None:
    plan, _ = make_plan(4, 1, 3, 8)
    with pytest.raises(Refused) as caught:
        join(
            msgspec.structs.replace(plan, t=2),
            1,
            rand=bytes(RAND_BYTES),
            member_secret=bytes(32),
        )
    assert caught.value.rule is Rule.STUDY_OUT_OF_BOUNDS


def test_attack_37_a_broken_generator_does_not_repeat_a_secret() -> None:
    """os.urandom is constant: secrets still differ by attempt, member, kind and counter."""
    one, other = "aa" * 32, "bb" * 32
    scalars = {
        hedged_scalar(opened, bytes(64), secret, label, counter)  # type: ignore[arg-type]  # hex
        for opened in (one, other)
        for secret in (bytes(32), b"\x01" * 32)
        for label in ("beta", "sigma", "mu")
        for counter in range(3)
    }
    assert len(scalars) == 36
    plan, _ = make_plan(4, 1, 3, 8)
    epks = {
        join(plan, seat, rand=bytes(64), member_secret=seeded(f"own {seat}", 32))[1].epk
        for seat in (1, 2, 3)
    }
    assert len(epks) == 3
    # And with the member's secret known, fresh randomness alone is enough.
    pair = [join(plan, 1, rand=seeded(name, 64), member_secret=bytes(32))[1] for name in "ab"]
    assert pair[0].epk != pair[1].epk and pair[0].self_commit != pair[1].self_commit


def test_attack_37_a_cloned_member_masks_two_vectors_alike_only_if_they_are_equal(
    four: Round,
) -> None:
    started = four.start()[1]
    clone = Started.from_bytes(started.to_bytes())
    q = plain(4, 8)[1]
    assert np.array_equal(mask_chunk(started, 0, q.copy()), mask_chunk(clone, 0, q.copy()))


def test_attack_54_a_second_deal_is_another_one_so_stored_bytes_are_resent() -> None:
    # Secrets and rows come from the arguments alone; the sealed bytes do not. A node that dealt
    # again would show two blobs, so it sends the journalled one.
    plan, _ = make_plan(4, 1, 3, 8)
    fresh = seeded("rand", 64)
    (first, one), (second, two) = (
        join(plan, 1, rand=fresh, member_secret=bytes(32)) for _ in range(2)
    )
    assert first == second and one[:3] == two[:3] and one.blob != two.blob
    assert Joined.from_bytes(first.to_bytes()) == first
    changed, other = join(plan, 1, rand=seeded("other", 64), member_secret=bytes(32))
    assert changed.polynomials[0][1] != first.polynomials[0][1]
    assert other.rows_root != one.rows_root
    for at in range(3 * SEALED_BYTES, len(one.blob), 31):
        spoiled = one.blob[:at] + bytes([one.blob[at] ^ 1]) + one.blob[at + 1 :]
        rows = rows_of(spoiled, 4)
        assert rows is not None and tree_root(rows) != raw(one.rows_root)


def test_everybody_opens_what_everybody_dealt(four: Round) -> None:
    for seat, stage in four.ready().items():
        assert set(stage.received) == four.everybody and stage.complaints == ()
        assert stage.received[seat][96:] == bytes(32)


def test_pairs_agree_on_their_seed(four: Round) -> None:
    started = four.start()
    for seat in four.everybody:
        for other in four.everybody - {seat}:
            assert started[seat].pair_seeds[other] == started[other].pair_seeds[seat]


def test_masks_cancel_but_for_the_self_masks(four: Round) -> None:
    q = plain(4, 8)
    started = four.start()
    survivors = Survivors(four.everybody, four.everybody)
    lo, _ = summed(four.mask(started, q))
    reveals, recovers, _ = four.say(started, survivors)
    gathered = four.gather(survivors, reveals, recovers)
    assert list(four.unmask(survivors, gathered, lo)) == list(whole(q, four.everybody))
    assert list(lo.view(np.int32)) != list(whole(q, four.everybody))


def test_start_refuses_a_set_that_is_too_small_or_not_mine(four: Round) -> None:
    stage = four.ready()[1]
    for participants, rule in (
        (frozenset({1, 2}), Rule.TOO_FEW),
        (frozenset({2, 3, 4}), Rule.NOT_AS_DERIVED),
        (frozenset({1, 2, 3, 5}), Rule.NOT_AS_DERIVED),
    ):
        with pytest.raises(Refused) as caught:
            start(stage, participants, four.binding)
        assert caught.value.rule is rule
    assert start(stage, frozenset({1, 2, 3}), four.binding).pair_seeds.keys() == {2, 3}


def test_a_member_out_of_p_still_helps_to_recover(four: Round) -> None:
    # Seat 4 is ready but not in P; seat 3 drops; 4's shares are among the t needed.
    world = Round(5, 1, name="aside")
    stages = world.ready()
    chosen = frozenset({1, 2, 3, 4})
    started = {seat: start(stages[seat], chosen, world.binding) for seat in chosen}
    aside = stand_by(stages[5], chosen)
    survivors = Survivors(chosen, frozenset({1, 2, 4}))
    _, said = reveal(aside, survivors)
    assert said.beta is None and [shares.seat for shares in said.dropped] == [3]
    assert said.dropped[0].m is None
    q = plain(5, 8)
    lo, _ = summed(world.mask({s: started[s] for s in (1, 2, 4)}, {s: q[s] for s in (1, 2, 4)}))
    reveals, _, _ = world.say({s: started[s] for s in (1, 2, 4)}, survivors)
    assert world.gather(survivors, reveals, {}).missing == {3}
    gathered = world.gather(survivors, {**reveals, 5: said}, {})
    assert list(world.unmask(survivors, gathered, lo)) == list(whole(q, survivors.survivors))


def test_a_member_that_did_not_join_opens_its_shares_too(four: Round) -> None:
    chosen = frozenset({1, 2, 3})
    dealings = {seat: four.dealings[seat] for seat in chosen}
    stage, unopened = bystander(
        four.plan, 4, four.secrets[4], dealings=dealings, participants=chosen
    )
    assert unopened == () and set(stage.received) == chosen
    _, said = reveal(stage, Survivors(chosen, chosen))
    assert said.beta is None and said.dropped == ()
    spoiled = {**dealings, 2: swap_envelope(dealings[2], 2, 4, bytes(SEALED_BYTES))}
    stage, unopened = bystander(
        four.plan, 4, four.secrets[4], dealings=spoiled, participants=chosen
    )
    assert unopened == (2,) and set(stage.received) == {1, 3}


def test_a_resolve_gives_the_plaintext_under_the_root(four: Round) -> None:
    spoiled = swap_envelope(four.dealings[2], 2, 1, bytes(SEALED_BYTES))
    stage, complaints = ready(four.joined[1], four.secrets[1], {**four.dealings, 2: spoiled})
    assert complaints == (2,) and 2 not in stage.received
    with pytest.raises(Refused) as caught:
        start(stage, four.everybody, four.binding)
    assert caught.value.rule is Rule.NOT_AS_DERIVED
    plaintext, path = resolve(four.joined[2], 1, frozenset({1}))
    assert (plaintext, path) == resolve(four.ready()[2], 1, frozenset({1}))
    for wrong in (plaintext[:-1] + b"\x00", plaintext[1:], b"\xff" * 128):
        with pytest.raises(Refused) as caught:
            take_resolve(stage, 2, wrong, path)
        assert caught.value.rule is Rule.SHARE_DOES_NOT_FIT
    with pytest.raises(Refused):
        take_resolve(stage, 2, plaintext, path[:-1])
    healed = take_resolve(stage, 2, plaintext, path)
    assert start(healed, four.everybody, four.binding) == four.start()[1]


def test_a_dealer_with_more_than_c_complainers_says_nothing(four: Round) -> None:
    resolve(four.joined[2], 1, frozenset({1}))
    with pytest.raises(Refused) as caught:
        resolve(four.joined[2], 1, frozenset({1, 3}))
    assert caught.value.rule is Rule.TOO_MANY_COMPLAINTS


def test_a_reveal_gives_shares_of_the_dropped_and_of_nobody_else(four: Round) -> None:
    started = four.start()
    survivors = Survivors(four.everybody, frozenset({1, 2, 3}))
    received = started[1].received
    _, said = reveal(committed(started[1]), survivors)
    assert said.beta == started[1].beta and len(said.dropped) == 1
    shares = said.dropped[0]
    assert (shares.seat, shares.sigma, shares.mu) == (4, received[4][32:64], received[4][64:96])
    assert shares.m == started[4].received[1][96:]
    _, all_there = reveal(committed(started[1]), Survivors(four.everybody, four.everybody))
    assert all_there.dropped == ()
    assert {repr(said), repr(shares)} == {"Reveal", "DroppedShares"}


def test_a_dropped_member_never_gives_its_own_beta(four: Round) -> None:
    _, said = reveal(committed(four.start()[4]), Survivors(four.everybody, frozenset({1, 2, 3})))
    assert said.beta is None and said.dropped[0].seat == 4 and said.dropped[0].m is None


def test_m_goes_only_to_dropped_neighbours() -> None:
    world = Round(66, 1, u_min=65, name="wide")
    near = set(neighbours(1, 66, world.terms.k))
    assert len(near) == 4
    stage = Committed(
        world.terms,
        1,
        world.everybody,
        bytes(32),
        bytes(32),
        {seat: bytes(128) for seat in world.everybody},
    )
    for gone in world.everybody - {1}:
        _, said = reveal(stage, Survivors(world.everybody, world.everybody - {gone}))
        assert (said.dropped[0].m is not None) is (gone in near)


def test_recover_gives_mu_only_when_somebody_dropped(four: Round) -> None:
    done = committed(four.start()[1])
    revealed, _ = reveal(done, Survivors(four.everybody, four.everybody))
    (shares,) = recover(revealed, frozenset({2}))
    assert (shares.seat, shares.beta, shares.mu) == (2, done.received[2][:32], None)
    assert repr(shares) == "SilentShares"
    revealed, _ = reveal(done, Survivors(four.everybody, frozenset({1, 2, 3})))
    (shares,) = recover(revealed, frozenset({2}))
    assert shares.mu == done.received[2][64:96]
    with pytest.raises(Refused) as caught:
        recover(revealed, frozenset({4}))
    assert caught.value.rule is Rule.NOT_AS_DERIVED
