"""Each method with the setting at which it must be another one, and what it refuses.

Identities of governance-benefit-safety-ui.md B5: to the bit where the arithmetic is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.random import Generator

from comity.errors import Malformed, StudyFault, StudyFaultKind
from comity.learning.loading import LoadedStudy
from comity.learning.local import (
    Learned,
    Shared,
    alone,
    fine_tuned,
    first_kept,
    first_shared,
    learn,
    next_shared,
    seen,
)
from comity.learning.methods.cards import MethodCard, method_card, method_of
from comity.learning.methods.fedprox import FedProx
from comity.learning.methods.pull import Pull
from comity.learning.methods.scaffold import Scaffold, next_control
from comity.learning.perceptron import Perceptron, first_layers
from comity.learning.steps import FedAvg, Float32Array, Momentum, Nesterov
from comity.learning.study import Study, Tensors, card_fault, describe
from comity.learning.tables import Column, Table
from comity.learning.tensors import Tensor, model_part
from comity.learning.training import Logistic, adam, batches, sgd

STEPS, RATE = 6, 0.25
SEEDS = [bytes([number]) * 32 for number in range(4)]


def table(place: int, rows: int = 20) -> Table:
    dice = np.random.default_rng(place)
    x = dice.normal(place, 1 + place, rows)
    label = (dice.random(rows) < (0.2 + 0.3 * place)).astype(np.float64)
    columns = (Column("x", "real"), Column("label", "label", categories=("0", "1")))
    return Table(columns, {"x": x, "label": label})


def floats(*numbers: float) -> Float32Array:
    return np.array(numbers, np.float32)


def loaded(own: bool = False, **settings: object) -> LoadedStudy:
    """Logistic regression on one column; the intercept may be each site's own."""

    def initial(seed: int) -> Tensors:
        return {"slope": np.full(1, 0.1, np.float32), "intercept": np.full(1, -0.1, np.float32)}

    def train(weights: Tensors, rows: Table, rng: Generator, pull: Pull) -> tuple[Tensors, int]:
        task = Logistic(rows["x"][:, None], rows["label"])
        offset = joined(pull.offset)
        steps = batches(rng, len(rows), 4, STEPS)
        after = sgd(
            joined(weights), task.gradient, steps, lr=RATE, proximal=pull.proximal, offset=offset
        ).astype(np.float32)
        return {"slope": after[:1], "intercept": after[1:]}, len(rows)

    def evaluate(weights: Tensors, rows: Table) -> dict[str, float]:
        return {"loss": Logistic(rows["x"][:, None], rows["label"]).loss(joined(weights))}

    choices: dict[str, Any] = {  # Any: keyword arguments of many types
        "name": "x",
        "title": "A study",
        "columns": (Column("x", "real"), Column("label", "label", categories=("0", "1"))),
        "tensors": (Tensor("slope", (1,)), Tensor("intercept", (1,), own=own)),
        "rounds": 3,
        "rule": FedAvg(),
    }
    return LoadedStudy(Study(**(choices | settings)), initial, train, evaluate, True)


def joined(tensors: Mapping[str, Float32Array]) -> Any:
    return np.concatenate((tensors["slope"], tensors["intercept"])).astype(np.float64)


def run(study: LoadedStudy, places: tuple[int, ...] = (0, 1, 2)) -> list[Shared]:
    """Rounds of these members in the clear, equal weights."""
    shared, kept = first_shared(study), {place: first_kept(study) for place in places}
    history = [shared]
    for seed in SEEDS:
        found = {p: round_of(study, p, shared, kept[p], seed) for p in places}
        kept = {place: each.kept for place, each in found.items()}
        mean = np.mean([each.update.astype(np.float64) for each in found.values()], axis=0)
        shared = next_shared(study.study, shared, mean)
        history.append(shared)
    return history


def round_of(
    study: LoadedStudy, place: int, shared: Shared, kept: Float32Array, seed: bytes
) -> Learned:
    from comity.learning.training import generator

    return learn(study, table(place), shared, kept, generator(seed[:31] + bytes([place])))


def same(one: Shared, other: Shared) -> bool:
    return one.model.tobytes() == other.model.tobytes()


PLAIN = run(loaded())


def test_fedprox_with_mu_zero_is_fedavg_and_mu_holds_back() -> None:
    assert all(map(same, run(loaded(method=FedProx(0.0))), PLAIN))
    start = PLAIN[0].model
    near, far = run(loaded(method=FedProx(5.0)))[1].model, PLAIN[1].model
    assert np.abs(near - start).sum() < np.abs(far - start).sum()


def test_momentum_and_nesterov_with_beta_zero_are_fedavg() -> None:
    for rule in (Momentum(1.0, 0.0), Nesterov(1.0, 0.0)):
        assert all(map(same, run(loaded(rule=rule)), PLAIN))
    assert not same(run(loaded(rule=Nesterov(1.0, 0.5)))[2], PLAIN[2])
    first = run(loaded(rule=Momentum(1.0, 0.5)))
    assert same(first[1], PLAIN[1]) and not same(first[2], PLAIN[2])


def test_scaffold_begins_as_fedavg_and_stays_so_with_one_kind_of_data() -> None:
    """Zero control variates: the first round. Equal ones: one member, for whom c is c_i."""
    differing = run(loaded(method=Scaffold(STEPS, RATE)))
    assert same(differing[1], PLAIN[1]) and not same(differing[2], PLAIN[2])
    single = run(loaded(method=Scaffold(STEPS, RATE)), (1,))
    assert all(map(same, single, run(loaded(), (1,))))


def test_scaffolds_control_is_that_of_the_source() -> None:
    """c_i+ = c_i - c + (x - y) / (K lr), and c is the mean of them."""
    method = Scaffold(10, 0.5, range=2.0)
    own, commons = floats(0.5, 0.0), floats(0.25, 0.0)
    update = floats(-1.0, 100.0)
    assert next_control(method, own, commons, update).tolist() == floats(0.45, -2).tolist()
    study = loaded(method=Scaffold(STEPS, RATE))
    shared = run(study)[-1]
    assert shared.control.shape == (2,) and np.abs(shared.control).max() > 0
    parts = study.study.parts
    assert [each.name for each in parts.vector.segments] == [
        "slope", "intercept", "control/slope", "control/intercept",
    ]  # fmt: skip  # a list to read
    assert model_part(parts.vector) == parts.model


def test_scaffold_pulls_towards_where_everybody_goes() -> None:
    """Two sites that pull apart: the correction takes the drift out of their local steps."""

    def drift(history: list[Shared], study: LoadedStudy) -> float:
        shared, kept = history[-1], first_kept(study)
        if isinstance(study.study.method, Scaffold):
            kept = round_of(study, 2, history[-2], kept, SEEDS[-1]).kept
        one = round_of(study, 2, shared, kept, SEEDS[0]).update[:2]
        return float(np.abs(one).sum())

    plain, corrected = loaded(), loaded(method=Scaffold(STEPS, RATE))
    assert drift(run(corrected, (0, 2)), corrected) < drift(run(plain, (0, 2)), plain)


def test_own_tensors_never_enter_what_is_sent() -> None:
    study = loaded(own=True)
    shared, kept = first_shared(study), first_kept(study)
    assert kept.tolist() == [np.float32(-0.1)]
    learned = round_of(study, 1, shared, kept, SEEDS[0])
    assert learned.update.shape == shared.model.shape == (1,)
    assert learned.kept.shape == (1,) and learned.kept[0] != kept[0]
    whole = seen(study.study, shared.model, learned.kept)
    assert whole["intercept"][0] == learned.kept[0] and whole["slope"][0] == shared.model[0]
    assert [segment.name for segment in describe(study.study).layout.segments] == ["slope"]


def test_without_own_tensors_it_is_fedavg_and_with_one_member_it_is_local_training() -> None:
    """FedBN without such layers is FedAvg: no tensor is own by default. One member: all is one."""
    single = run(loaded(own=True), (1,))
    together = run(loaded(), (1,))
    assert [each.model[0] for each in single] == [each.model[0] for each in together]


def test_training_alone_is_the_method_with_one_member() -> None:
    for settings in ({}, {"method": FedProx(0.5)}, {"method": Scaffold(STEPS, RATE)}):
        study = loaded(**settings)
        seeds = [seed[:31] + b"\x01" for seed in SEEDS]
        model, kept = alone(study, table(1), first_shared(study), iter(seeds))
        assert model.tobytes() == run(study, (1,))[-1].model.tobytes()
        assert len(kept) == study.study.parts.kept_words


def test_fine_tuning_of_no_rounds_is_the_model_and_of_more_is_local_training() -> None:
    study = loaded(own=True, fine_tuning=2)
    model, kept = PLAIN[-1].model[:1], floats(0.3)
    assert fine_tuned(study, table(0), model, kept, iter(()))[0] is model
    tuned, own = fine_tuned(study, table(0), model, kept, iter(SEEDS[:2]))
    before = study.evaluate(seen(study.study, model, kept), table(0))
    assert study.evaluate(seen(study.study, tuned, own), table(0))["loss"] < before["loss"]


def test_a_method_comes_back_from_its_whole_numbers() -> None:
    for method in (None, FedProx(0.0), FedProx(0.01), Scaffold(100, 0.001)):
        card = method_card(method, 3, 1)
        assert method_of(card, 1.0) == method
        study = loaded(own=True, **({"method": method} if method else {}))
        assert card_fault(describe(study.study)) is None


@pytest.mark.parametrize(
    "card",
    [
        MethodCard("plain", proximal_millionths=1),
        MethodCard("fedprox", 10**12),
        MethodCard("fedprox", 1, steps=1),
        MethodCard("scaffold", steps=0, lr_trillionths=1),
        MethodCard("scaffold", steps=1, lr_trillionths=0),
        MethodCard("scaffold", 1, steps=1, lr_trillionths=1),
    ],
)
def test_method_cards_that_no_study_declares_are_malformed(card: MethodCard) -> None:
    with pytest.raises(Malformed):
        method_of(card, 1.0)


def test_a_card_whose_layout_is_not_the_methods_is_found() -> None:
    good = describe(loaded(own=True, method=Scaffold(STEPS, RATE)).study)
    plain = describe(loaded().study)
    for changes in ({"layout": plain.layout}, {"method": plain.method}, {"own": ()}):
        assert card_fault(msgspec.structs.replace(good, **changes)) is not None


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"method": "scaffold"}, "method is FedProx"),
        ({"fine_tuning": -1}, "fine_tuning is a whole number"),
        ({"tensors": (Tensor("slope", (1,), own=True),)}, "nothing is learned together"),
    ],
)
def test_contradictory_methods_are_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(StudyFault, match=sentence):
        loaded(**settings)  # type: ignore[arg-type]  # wrong on purpose
    for make in (
        lambda: FedProx(-1.0),
        lambda: FedProx(float("nan")),
        lambda: Scaffold(0, 0.1),
        lambda: Scaffold(10, 0.0),
        lambda: Scaffold(10, 0.1, range=float("inf")),
    ):
        with pytest.raises(StudyFault):
            make()


def test_a_control_variate_that_is_not_finite_is_refused_by_name() -> None:
    study = loaded(method=Scaffold(STEPS, RATE))
    shared, kept = first_shared(study), first_kept(study)
    wrong = Shared(shared.model, (floats(np.nan, 0),))
    for commons, own in ((wrong, kept), (shared, floats(0, np.inf))):
        with pytest.raises(StudyFault, match="control variate") as caught:
            round_of(study, 0, commons, own, SEEDS[0])
        assert caught.value.kind is StudyFaultKind.NOT_FINITE
    huge = next_control(Scaffold(1, 1e-12), kept, kept, floats(3e38, 0))
    assert huge.tolist() == [-1.0, 0.0]  # held within its range


def test_a_layout_that_changes_between_rounds_is_refused_by_name() -> None:
    study = loaded()
    for change, sentence in (
        ({"slope": np.zeros(2, np.float32)}, "tensor slope: expected shape"),
        ({"slope": np.zeros(1)}, "tensor slope: expected a float32"),
        ({"more": np.zeros(1, np.float32)}, "not declared: 1"),
    ):

        def train(*arguments: Any, change: dict[str, Any] = change) -> tuple[Tensors, int]:
            return {**arguments[0], **change}, 1

        twisted = LoadedStudy(study.study, study.initial, train, study.evaluate, True)
        with pytest.raises(StudyFault, match=sentence) as caught:
            round_of(twisted, 0, first_shared(study), first_kept(study), SEEDS[0])
        assert caught.value.kind is StudyFaultKind.WRONG_SHAPE


def test_the_perceptrons_gradient_is_that_of_its_loss() -> None:
    dice = np.random.default_rng(3)
    task = Perceptron(dice.normal(size=(30, 3)), (dice.random(30) < 0.5).astype(np.float64), 4)
    weights = first_layers(dice, 3, 4)
    assert weights.shape == (21,)
    slope = task.gradient(weights, np.arange(30))
    for place in range(21):
        step = np.zeros(21)
        step[place] = 1e-6
        numeric = (task.loss(weights + step) - task.loss(weights - step)) / 2e-6
        assert slope[place] == pytest.approx(numeric, abs=1e-7)
    assert task.chances(weights).shape == (30,)


def test_a_perceptron_learns_what_no_line_can_separate() -> None:
    x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    task = Perceptron(x, np.array([0.0, 1.0, 1.0, 0.0]), 8)
    dice = np.random.default_rng(0)
    rows = batches(dice, 4, 4, 2_000)
    after = adam(first_layers(dice, 2, 8), task.gradient, rows, lr=0.05)
    assert task.loss(after) < 0.01


def test_adams_first_step_is_its_rate_for_any_size_of_gradient() -> None:
    def slope(weights: Any, rows: Any) -> Any:
        return np.array([1e-3, -50.0])

    after = adam(np.zeros(2), slope, iter([np.array([0])]), lr=0.1)
    assert after == pytest.approx([-0.1, 0.1], rel=1e-4)
