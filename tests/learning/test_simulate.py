"""The pure part of a simulation: who is in a round, what is summed, how much memory it takes."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from comity.errors import Misconfigured, StudyFault
from comity.learning.local import Shared, first_state
from comity.learning.methods.scaffold import Scaffold
from comity.learning.seeds import training_seed
from comity.learning.simulate import Simulation, Terms
from comity.learning.steps import FedAvg, Float32Array
from comity.learning.study import Study, Tensor
from comity.learning.tables import Column
from comity.learning.training import generator
from comity.values import MemberId


def study(numbers: int, method: Scaffold | None = None) -> Study:
    return Study(
        name="flat",
        title="Flat",
        columns=(Column("x"),),
        tensors=(Tensor("w", (numbers,), range=1.0),),
        rounds=3,
        rule=FedAvg(),
        weights="hidden",
        weight_max=100,
        method=method,
    )


def members(count: int) -> dict[MemberId, int]:
    return {MemberId(f"m{number:03}"): 1 + number % 7 for number in range(count)}


def learn(member: MemberId, shared: Shared, seed: bytes) -> tuple[Float32Array, int]:
    """An update out of the dice alone; behind it a control variate, where there is one."""
    count = len(shared.model) * (1 + len(shared.state))
    return generator(seed).uniform(-1, 1, count).astype(np.float32), 1 + int(member[1:]) % 7


def simulation(
    numbers: int, count: int, terms: Terms, method: Scaffold | None = None
) -> Simulation:
    declared = study(numbers, method)
    first = Shared(np.zeros(numbers, np.float32), first_state(declared))
    return Simulation(declared, first, members(count), terms, learn)


SCAFFOLD = Scaffold(steps=1, lr=1.0)


@pytest.mark.parametrize(("count", "method"), [(3, None), (5, None), (5, SCAFFOLD), (70, None)])
def test_masked_sums_are_plain_sums(count: int, method: Scaffold | None) -> None:
    """Above 64 members too, where not everybody masks with everybody; c of SCAFFOLD as well."""
    plain, masked = (simulation(20, count, Terms(secure=s), method) for s in (False, True))
    for _ in range(1 if count > 64 else 2):
        assert plain.round() == masked.round()
        assert np.array_equal(plain.shared.model, masked.shared.model)
        assert all(map(np.array_equal, plain.shared.state, masked.shared.state))
    assert bool(plain.shared.state) == (method is not None)


def test_the_control_variate_of_all_is_the_mean_of_theirs() -> None:
    run = simulation(30, 4, Terms(), SCAFFOLD)
    before = run.shared
    run.round()
    total, weights = np.zeros(60), 0
    for member, rows in members(4).items():
        learned, _ = learn(member, before, training_seed(0, member, 1))
        total += rows * learned.astype(np.float64)
        weights += rows
    expected = (total / weights).astype(np.float32)
    assert np.abs(run.shared.model - expected[:30]).max() < 1e-5
    assert np.abs(run.shared.control - expected[30:]).max() < 1e-5


def test_the_weighted_mean_is_the_one_of_floats() -> None:
    """Beside a mean in float64; apart by no more than the rounding of each member."""
    run = simulation(50, 9, Terms())
    before = run.shared
    run.round()
    total, weights = np.zeros(50), 0
    for member, rows in members(9).items():
        update, weight = learn(member, before, training_seed(0, member, 1))
        total += weight * update.astype(np.float64)
        weights += rows
    assert np.abs(run.shared.model - total / weights).max() < 1e-5


def test_members_are_drawn_anew_for_each_round() -> None:
    run, again = (simulation(4, 30, Terms(sampled=5)) for _ in range(2))
    rosters = [run.round().roster for _ in range(6)]
    assert rosters == [again.round().roster for _ in range(6)]
    assert len(set(rosters)) > 1 and {len(set(roster)) for roster in rosters} == {5}
    assert set(rosters[0]) <= set(members(30))


def test_memory_does_not_grow_with_members() -> None:
    """Peaks of 5 and 50 members with a model of a million numbers, within a tenth of each other."""

    def peak(count: int) -> int:
        run = simulation(1_000_000, count, Terms())
        tracemalloc.start()
        run.round()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(5), peak(50)
    assert few > 4_000_000 and abs(many - few) < few / 10


@pytest.mark.parametrize(
    ("count", "terms"),
    [(2, Terms()), (201, Terms()), (10, Terms(sampled=2)), (10, Terms(sampled=11))],
)
def test_no_round_has_so_many_members(count: int, terms: Terms) -> None:
    with pytest.raises(Misconfigured, match="3 to 200 members"):
        simulation(4, count, terms)


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(
    ("failing", "least", "enough"),
    [(2, 0, True), (3, 0, False), (2, 5, False), (3, 3, True), (4, 1, False)],
)
def test_a_sum_needs_two_thirds_or_what_is_said(
    failing: int, least: int, enough: bool, secure: bool
) -> None:
    """Of six members, so c = 1 and at least three; as a study that is registered."""

    def some(m: MemberId, shared: Shared, seed: bytes) -> tuple[Float32Array, int] | None:
        return None if int(m[1:]) < failing else learn(m, shared, seed)

    first = Shared(np.zeros(8, np.float32), ())
    run = Simulation(study(8), first, members(6), Terms(0, secure, least), some)
    if enough:
        assert run.round().failed == tuple(members(failing))
    else:
        with pytest.raises(StudyFault, match=f"{failing} of 6 members"):
            run.round()
        assert run.round_no == 0 and not run.shared.model.any()
