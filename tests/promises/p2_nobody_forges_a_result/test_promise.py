"""P2. Nobody forges a result: every member checks the sum before anything is unmasked, and
computes the next model itself.

The numbered attacks are in tests/aggregation and tests/commons/test_rounds_revealing.py.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from comity.aggregation.linear_check import holds
from comity.aggregation.ring import SumRoot
from comity.commons.attempts import Revealing
from comity.errors import Rule
from comity.learning.steps import FedAdam, first_moments, step_chunk
from comity.statements.wire import read
from comity.values import round_binding
from tests.aggregation.parties import Round, plain, summed
from tests.commons.rounds_world import Rounds


@pytest.mark.parametrize("added", [1, 2**16, 2**31, -1])
def test_a_sum_that_differs_in_one_word_is_found_before_anything_is_revealed(added: int) -> None:
    world = Round(4, words=64, name="p2 sum")
    vectors = world.mask(world.start(), plain(4, 64))
    lo, hi = summed(vectors)
    values = [world.check_value(y) for y in vectors.values()]
    assert holds(values, world.check_value(lo, hi))
    forged = lo.copy()
    forged[17:18] += np.uint32(added % 2**32)
    assert not holds(values, world.check_value(forged, hi))


def test_a_forged_carry_is_found_too() -> None:
    world = Round(4, words=64, name="p2 carry")
    vectors = world.mask(world.start(), plain(4, 64))
    lo, hi = summed(vectors)
    values = [world.check_value(y) for y in vectors.values()]
    hi[3] += 1
    assert not holds(values, world.check_value(lo, hi))


def test_the_sum_that_is_downloaded_is_the_sum_that_was_closed() -> None:
    world = Round(4, words=64, name="p2 root")
    lo, hi = summed(world.mask(world.start(), plain(4, 64)))
    closed, served = SumRoot(world.binding), SumRoot(world.binding)
    closed.update(lo, hi)
    lo[0] ^= 1
    served.update(lo, hi)
    assert closed.digest() != served.digest()


def test_a_result_takes_a_quorum_that_computed_the_same() -> None:
    r = Rounds.of(5)
    while not isinstance(r.study.current, Revealing):
        r.settle_once()
    for seat, member in enumerate(r.members, 1):
        if seat not in r.study.current.reveals:
            r.done(member, r.reveal(member))
    liar, *honest = r.members
    r.done(liar, r.accept("forged"))
    assert not r.study.results
    for member in honest:
        r.done(member, r.accept())
    assert r.study.results[0].model == r.accept().model
    assert r.opened.quorum == len(honest)


def test_nobody_starts_the_next_round_from_another_model() -> None:
    r = Rounds.of(4, rounds_max=2)
    while not r.study.results:
        r.settle_once()
    honest = r.open()
    trap = type(honest)(
        **{f: getattr(honest, f) for f in honest.__struct_fields__ if f != "model"},
        model=r.study.register.plan.model,
    )
    assert r.void(r.host, trap) is Rule.NOT_AS_DERIVED
    r.done(r.host, honest)


def test_everybody_computes_the_same_bits_in_chunks_of_any_size() -> None:
    rng = np.random.default_rng(2)
    rule, before = FedAdam(), rng.normal(size=1_000).astype(np.float32)
    mean, moments = rng.normal(size=1_000) / 100, first_moments(rule, 1_000)
    model, after = step_chunk(rule, before, moments, mean)
    for size in (1, 7, 999):
        parts = [
            step_chunk(rule, before[cut], tuple(each[cut] for each in moments), mean[cut])
            for cut in (slice(at, at + size) for at in range(0, 1_000, size))
        ]
        assert np.concatenate([part for part, _ in parts]).tobytes() == model.tobytes()
        for place, whole in enumerate(after):
            assert np.concatenate([m[place] for _, m in parts]).tobytes() == whole.tobytes()


def test_attack_13_members_shown_different_models_have_different_bindings() -> None:
    """Masks made under two bindings do not cancel, so nobody gets a sum over both models."""
    r = Rounds.of(4)
    honest = r.open()
    trap = msgspec.structs.replace(honest, model=r.study.register.plan.code)
    ids = {read(r.world.envelope(r.host, body)).statement.id for body in (honest, trap)}
    assert len({round_binding(opened, (), opened) for opened in ids}) == 2
    assert r.void(r.host, trap) is Rule.NOT_AS_DERIVED
    r.done(r.host, honest)


def test_attack_19_a_false_check_value_costs_one_download_and_names_its_author() -> None:
    world = Round(4, words=64, name="p2 false")
    vectors = world.mask(world.start(), plain(4, 64))
    lo, hi = summed(vectors)
    said = {seat: world.check_value(y) for seat, y in vectors.items()}
    said[3] = world.check_value(vectors[2])
    assert not holds(said.values(), world.check_value(lo, hi))
    false = [seat for seat, y in vectors.items() if world.check_value(y) != said[seat]]
    assert false == [3]
    mended = {**said, 3: world.check_value(vectors[3])}
    assert holds(mended.values(), world.check_value(lo, hi))
