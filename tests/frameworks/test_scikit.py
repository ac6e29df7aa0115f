"""scikit-learn estimators: what is learned goes out and comes back, or is refused by its name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from comity.errors import StudyFault, StudyFaultKind
from comity.learning.loading import LoadedStudy
from comity.learning.local import Shared, first_kept, first_shared, learn, next_shared, seen
from comity.learning.study import Study, Tensors
from comity.learning.tables import Column, Table
from comity.learning.training import generator

pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra comity[sklearn])")

from sklearn.base import clone
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Perceptron,
    Ridge,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor

from comity.learning import FedAvg
from comity.learning.scikit import load_state, prepared, state_of, tensors_of

KEEPS = {"warm_start": True, "random_state": 0}
NETWORK = {"hidden_layer_sizes": (5, 3), **KEEPS}
ESTIMATORS = [
    (LinearRegression(), ()),
    (LinearRegression(fit_intercept=False), ()),
    (LogisticRegression(warm_start=True), (0, 1)),
    (LogisticRegression(warm_start=True), (0, 1, 2)),
    (SGDClassifier(loss="log_loss", **KEEPS), (0, 1)),
    (SGDClassifier(**KEEPS), (0, 1, 2)),
    (SGDRegressor(**KEEPS), ()),
    (Perceptron(**KEEPS), (0, 1)),
    (MLPClassifier(**NETWORK), (0, 1)),
    (MLPClassifier(solver="sgd", **NETWORK), (0, 1, 2)),
    (MLPRegressor(**NETWORK), ()),
]


def rows(classes: tuple[int, ...], count: int = 60) -> tuple[Any, Any]:
    dice = np.random.default_rng(0)
    x = dice.normal(size=(count, 4))
    return x, (np.arange(count) % len(classes) * 1.0 if classes else x.sum(axis=1))


def fitted(estimator: Any, x: Any, y: Any) -> Any:
    return estimator.partial_fit(x, y) if hasattr(estimator, "partial_fit") else estimator.fit(x, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("estimator", "classes"), ESTIMATORS)
def test_what_is_learned_goes_out_and_comes_back(estimator: Any, classes: Any) -> None:
    x, y = rows(classes)
    model = prepared(clone(estimator), features=4, classes=classes)
    declared = tensors_of(model)
    first = state_of(model)
    assert [tensor.name for tensor in declared if tensor.own] == ["t_"] * ("t_" in first)
    fitted(model, x, y)
    after = state_of(model)
    assert any(after[name].tobytes() != first[name].tobytes() for name in first)
    for tensor in declared:
        assert after[tensor.name].shape == tensor.shape
        assert after[tensor.name].dtype == np.float32
    back = load_state(prepared(clone(estimator), features=4, classes=classes), after)
    for name, array in state_of(back).items():
        assert array.tobytes() == after[name].tobytes()
    assert np.allclose(back.predict(x), model.predict(x), atol=1e-5)
    for name in ("coef_", "intercept_", "coefs_", "intercepts_"):
        for old, new in zip(
            np.atleast_1d(np.asarray(getattr(model, name, ()), object)),
            np.atleast_1d(np.asarray(getattr(back, name, ()), object)),
            strict=True,
        ):
            assert np.shape(old) == np.shape(new) and type(old) is type(new)
    fitted(back, x, y)  # goes on from there


def test_a_model_of_another_rate_begins_alike_and_at_the_declared_place() -> None:
    """Preparing leaves no step behind: neither in the numbers nor in the optimiser."""
    slow, fast = (
        prepared(MLPClassifier(learning_rate_init=rate, **NETWORK), features=4, classes=(0, 1))
        for rate in (1e-6, 1.0)
    )
    for name, array in state_of(slow).items():
        assert array.tobytes() == state_of(fast)[name].tobytes()
    assert not hasattr(fast, "_optimizer") and fast.learning_rate_init == 1.0
    logistic = prepared(LogisticRegression(warm_start=True), features=4, classes=(0, 1))
    assert not any(array.any() for array in state_of(logistic).values())


def test_a_logistic_model_goes_on_from_the_one_that_came() -> None:
    x, y = rows((0, 1))
    whole = prepared(LogisticRegression(warm_start=True), features=4, classes=(0, 1)).fit(x, y)
    few = LogisticRegression(warm_start=True, max_iter=1)
    model = load_state(prepared(few, features=4, classes=(0, 1)), state_of(whole))
    model.fit(x, y)
    assert np.allclose(model.coef_, whole.coef_, atol=1e-3)


@pytest.mark.parametrize(
    ("estimator", "named"),
    [
        (Ridge(), "Ridge is not carried"),
        (LogisticRegression(), r"LogisticRegression\(warm_start=False\)"),
        (LogisticRegression(warm_start=True, solver="liblinear"), "solver='liblinear'"),
        (SGDClassifier(average=True, warm_start=True), r"SGDClassifier\(average=True\)"),
        (SGDClassifier(early_stopping=True, warm_start=True), "early_stopping"),
        (MLPClassifier(warm_start=True, solver="lbfgs"), "solver='lbfgs'"),
        (SGDClassifier(warm_start=True), "needs classes"),
    ],
)
def test_what_is_not_carried_is_refused_by_its_name(estimator: Any, named: str) -> None:
    with pytest.raises(StudyFault, match=named) as caught:
        prepared(estimator, features=4)
    assert caught.value.kind is StudyFaultKind.NOT_LOADABLE


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"coef_": np.zeros((1, 4), np.complex128)}, "coef_ is complex128"),
        ({"coef_": np.zeros((1, 4), np.int64)}, "coef_ is int64"),
        ({"coef_": None}, "has no coef_ yet"),
        ({"coef_": "sparse"}, "coef_ is str"),
        ({"more_": np.zeros(3)}, "more_ is not carried"),
        ({"coef_": np.full((1, 4), np.nan)}, "coef_ has a number that is NaN"),
        ({"coef_": np.full((1, 4), 1e39)}, "coef_ has a number that is NaN or infinite"),
    ],
)
def test_attributes_of_other_forms_are_refused_by_their_names(
    change: dict[str, Any], named: str
) -> None:
    model = prepared(LogisticRegression(warm_start=True), features=4, classes=(0, 1))
    state_of(model)
    for name, value in change.items():
        setattr(model, name, value)
    with pytest.raises(StudyFault, match=named):
        state_of(model)


def test_a_model_of_another_shape_is_refused_by_its_name() -> None:
    two, three = (
        prepared(LogisticRegression(warm_start=True), features=4, classes=classes)
        for classes in ((0, 1), (0, 1, 2))
    )
    with pytest.raises(StudyFault, match=r"tensor coef_: expected shape \(3, 4\)") as caught:
        load_state(three, state_of(two))
    assert caught.value.kind is StudyFaultKind.WRONG_SHAPE
    with pytest.raises(StudyFault, match="no tensor or layer bias"):
        tensors_of(two, ranges={"bias": 2.0})
    assert [tensor.range for tensor in tensors_of(two, ranges={"coef_": 2.0})] == [2.0, 1.0]


def study() -> LoadedStudy:
    """Three sites, one of which has the second class only."""

    def model() -> Any:
        return prepared(
            SGDClassifier(loss="log_loss", random_state=0, warm_start=True),
            features=2,
            classes=(0.0, 1.0),
        )

    def initial(seed: int) -> Tensors:
        return state_of(model())

    def train(weights: Tensors, table: Table, rng: np.random.Generator) -> tuple[Tensors, int]:
        estimator = load_state(model(), weights)
        estimator.partial_fit(np.column_stack([table["x"], table["y"]]), table["ill"])
        return state_of(estimator), len(table)

    def evaluate(weights: Tensors, table: Table) -> dict[str, float]:
        estimator = load_state(model(), weights)
        x = np.column_stack([table["x"], table["y"]])
        return {"accuracy": float(estimator.score(x, table["ill"]))}

    columns = (Column("x"), Column("y"), Column("ill", "label", categories=("no", "yes")))
    ranges = {"coef_": 50.0, "intercept_": 50.0}
    declared = Study("sgd", "SGD", columns, tensors_of(model(), ranges=ranges), 3, FedAvg())
    return LoadedStudy(declared, initial, train, evaluate)


def test_rounds_of_an_estimator_learn_and_each_site_counts_its_own_rows() -> None:
    loaded = study()
    dice = np.random.default_rng(1)
    tables = []
    for place in range(3):
        x, y = dice.normal(size=(2, 40))
        ill = (x + y > 0) * 1.0 if place else np.ones(40)
        tables.append(Table(loaded.study.columns, {"x": x, "y": y, "ill": ill}))
    shared: Shared = first_shared(loaded)
    kept = [first_kept(loaded) for _ in tables]
    for number in range(3):
        found = [
            learn(loaded, table, shared, own, generator(bytes([number, place]) * 16))
            for place, (table, own) in enumerate(zip(tables, kept, strict=True))
        ]
        kept = [each.kept for each in found]
        mean = np.mean([each.update.astype(np.float64) for each in found], axis=0)
        shared = next_shared(loaded.study, shared, mean)
    assert [own.tolist() for own in kept] == [[121.0]] * 3, "1, and 40 rows in each round"
    scores = [
        loaded.evaluate(seen(loaded.study, shared.model, own), table)["accuracy"]
        for own, table in zip(kept[1:], tables[1:], strict=True)
    ]
    assert min(scores) > 0.8
