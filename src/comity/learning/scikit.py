"""scikit-learn estimators in a study: what they have learned, out and in.

    def model():
        return prepared(SGDClassifier(loss="log_loss", random_state=0), features=3, classes=(0, 1))

    STUDY = Study(..., tensors=tensors_of(model()))

    def initial(seed):
        return state_of(model())

    def train(weights, table, rng):
        estimator = load_state(model(), weights)
        estimator.partial_fit(x, y)             # plain scikit-learn
        return state_of(estimator), len(table)

An estimator is its fitted attributes. `coef_`, `intercept_`, `coefs_` and `intercepts_` are the
model; `t_`, which steers learning rates, is each site's own; what tells how fitting went
(`n_iter_`, `loss_`, ...) stays where it is. Any other fitted attribute, and settings that make an
estimator forget the model or keep a second one, are refused by name. The library computes in
float64; what crosses is rounded to float32, once a round. Needs the extra `comity[sklearn]`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Perceptron,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor

from comity.errors import StudyFault, StudyFaultKind
from comity.learning.model import finite, fitting
from comity.learning.study import Tensors
from comity.learning.tensors import Tensor, named_tensors

Estimator = TypeVar("Estimator", bound=BaseEstimator)

COUNTED_RANGE: Final = 2.0**24
"""The range of `t_`, which grows by one for each row seen."""

_LINEAR: Final = ("coef_", "intercept_")
_LEARNED: Final[dict[type[BaseEstimator], tuple[str, ...]]] = {
    LinearRegression: _LINEAR,
    LogisticRegression: _LINEAR,
    SGDClassifier: (*_LINEAR, "t_"),
    SGDRegressor: (*_LINEAR, "t_"),
    Perceptron: (*_LINEAR, "t_"),
    MLPClassifier: ("coefs_", "intercepts_", "t_"),
    MLPRegressor: ("coefs_", "intercepts_", "t_"),
}
_STAYS: Final = frozenset(
    (
        *("n_features_in_", "feature_names_in_", "classes_", "n_layers_", "n_outputs_"),
        *("out_activation_", "n_iter_", "loss_", "loss_curve_", "best_loss_", "rank_", "singular_"),
        *("validation_scores_", "best_validation_score_"),
    )
)


def prepared(
    estimator: Estimator,
    *,
    features: int,
    classes: Sequence[float] = (),
    targets: int = 1,
) -> Estimator:
    """Give an estimator the attributes that fitting would, without anybody's data.

    Linear models begin at zero, perceptrons where their `random_state` puts them.

    Args:
        estimator: not fitted; changed in place.
        features: columns of its x, from 1.
        classes: every label that any site may have, for classifiers; with all of them at every
            site, the model has one shape.
        targets: columns of y, for linear regression and MLPRegressor.
    Raises:
        StudyFault(NOT_LOADABLE): names the estimator or the setting that is not carried.
    """
    _check_settings(estimator)
    rows = np.zeros((max(2, len(set(classes))), features))
    kind = type(estimator).__name__
    if isinstance(estimator, ClassifierMixin) and len(set(classes)) < 2:
        _refuse(
            StudyFaultKind.NOT_LOADABLE,
            f"{kind} needs classes=(...), two or more: every label that any site may have",
        )
    if classes and not isinstance(estimator, ClassifierMixin):
        _refuse(StudyFaultKind.NOT_LOADABLE, f"{kind} has no classes")
    labels: npt.NDArray[Any] = np.zeros(len(rows) if targets == 1 else (len(rows), targets))
    if classes:
        labels = np.asarray(sorted(set(classes)))
    if isinstance(estimator, MLPClassifier | MLPRegressor):
        _prepare_network(estimator, rows, labels)
    elif isinstance(estimator, LinearRegression | LogisticRegression):
        estimator.fit(rows, labels)
    else:
        _first_step(estimator, rows, labels)
        estimator.t_ = 1.0
    for name, array in _arrays(estimator):
        if name in _LINEAR:
            array[...] = 0.0
    return estimator


def tensors_of(
    estimator: BaseEstimator,
    *,
    range: float = 1.0,
    ranges: Mapping[str, float] | None = None,
    own: Collection[str] = (),
) -> tuple[Tensor, ...]:
    """What a study declares for a prepared estimator.

    Args:
        range: the largest change of one entry in a round, see `Tensor`.
        ranges: another range for some: "intercept_", "coefs_", "coefs_.0".
        own: what each member keeps to itself, named like that.
    Raises:
        StudyFault(NOT_LOADABLE): names what cannot be carried.
    """
    arrays = dict(_arrays(estimator, StudyFaultKind.NOT_LOADABLE))
    return named_tensors(
        {name: array.shape for name, array in arrays.items()},
        {name: COUNTED_RANGE if name == "t_" else range for name in arrays},
        ranges or {},
        (*own, *(name for name in arrays if name == "t_")),
    )


def state_of(estimator: BaseEstimator) -> Tensors:
    """What the estimator has learned, float32, as a study's functions return it.

    Raises:
        StudyFault: names an attribute that is not carried, or one that is NaN or infinite.
    """
    found: Tensors = {}
    for name, array in _arrays(estimator):
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and said so
            found[name] = finite(name, array.astype(np.float32))
    return found


def load_state(estimator: Estimator, weights: Tensors) -> Estimator:
    """Put a model into a prepared estimator, in place; it comes back.

    Raises:
        StudyFault(WRONG_SHAPE): names an attribute that the model has in another shape.
    """
    fresh = {name: fitting(weights, name, array.shape) for name, array in _arrays(estimator)}
    for attribute in _LEARNED[type(estimator)]:
        value = getattr(estimator, attribute)
        if isinstance(value, list):
            for number, part in enumerate(value):
                part[...] = fresh[f"{attribute}.{number}"]
        elif isinstance(value, np.ndarray):
            value[...] = fresh[attribute]
        else:  # the kind of number it was: float, or int for some t_
            setattr(estimator, attribute, type(value)(fresh[attribute]))
    return estimator


def _prepare_network(network: Any, rows: npt.NDArray[Any], labels: npt.NDArray[Any]) -> None:
    """One step too small to change a number, which makes layers; then its traces are removed."""
    rate = network.learning_rate_init
    network.set_params(learning_rate_init=1e-300)
    _first_step(network, rows, labels)
    network.set_params(learning_rate_init=rate)
    del network._optimizer  # its rate is the tiny one; the next fit makes another
    network.t_, network.n_iter_, network.loss_curve_, network.best_loss_ = 0, 0, [], np.inf


def _first_step(estimator: Any, rows: npt.NDArray[Any], labels: npt.NDArray[Any]) -> None:
    if isinstance(estimator, ClassifierMixin):
        estimator.partial_fit(rows, labels, classes=labels)
    else:
        estimator.partial_fit(rows, labels)


def _arrays(
    estimator: BaseEstimator, fault: StudyFaultKind = StudyFaultKind.WRONG_SHAPE
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Names and numbers of what is carried; whatever else was fitted is refused by its name."""
    _check_settings(estimator)
    kind, learned = type(estimator).__name__, _LEARNED[type(estimator)]
    for name in vars(estimator):
        fitted = name.endswith("_") and not name.startswith("_")
        if fitted and name not in learned and name not in _STAYS:
            _refuse(
                fault,
                f"{kind}.{name} is not carried: this version of scikit-learn adds to the model",
            )
    for attribute in learned:
        value = getattr(estimator, attribute, None)
        if value is None:
            _refuse(fault, f"{kind} has no {attribute} yet: give it to prepared(...) first")
        parts = value if isinstance(value, list) else [value]
        for number, part in enumerate(parts):
            name = f"{attribute}.{number}" if isinstance(value, list) else attribute
            if not isinstance(part, np.ndarray | float | int):
                _refuse(fault, f"{kind}.{name} is {type(part).__name__}, and a model has arrays")
            array = np.asarray(part)
            if array.dtype not in (np.float64, np.float32) and attribute != "t_":
                _refuse(
                    fault, f"{kind}.{name} is {array.dtype}, and a model has float32 and float64"
                )
            yield name, array


def _check_settings(estimator: BaseEstimator) -> None:
    kind = type(estimator).__name__
    if type(estimator) not in _LEARNED:
        names = ", ".join(each.__name__ for each in _LEARNED)
        _refuse(StudyFaultKind.NOT_LOADABLE, f"{kind} is not carried; those that are: {names}")
    settings = estimator.get_params(deep=False)
    if settings.get("warm_start") is False:
        _refuse(
            StudyFaultKind.NOT_LOADABLE,
            f"{kind}(warm_start=False) would forget the model: set it to True",
        )
    if settings.get("average"):
        _refuse(
            StudyFaultKind.NOT_LOADABLE,
            f"{kind}(average={settings['average']}) keeps a second model: leave it at False",
        )
    if settings.get("early_stopping"):
        _refuse(
            StudyFaultKind.NOT_LOADABLE,
            f"{kind}(early_stopping=True) keeps a second model: leave it at False",
        )
    if settings.get("solver") in ("liblinear", "lbfgs" if "hidden_layer_sizes" in settings else ""):
        solver = settings["solver"]
        _refuse(
            StudyFaultKind.NOT_LOADABLE,
            f"{kind}(solver={solver!r}) does not go on from a model: take another",
        )


def _refuse(fault: StudyFaultKind, message: str) -> NoReturn:
    raise StudyFault(fault, f"study file: {message}")
