"""Studies of kind "evaluate": a given model on every member's table, its metrics summed as updates.

A member's vector has two numbers for each declared metric: the value, and 1; or 0 and 0 where the
metric is undefined, such as an AUC of one class. So the same round that sums updates sums metrics,
with the same weights, and the pooled metric is the mean of the first over the mean of the second.
The given model is no part of the sum: each site has it before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn, final

import numpy as np

from comity.aggregation.layout import Layout
from comity.errors import StudyFault, StudyFaultKind
from comity.learning.model import to_tensors
from comity.learning.names import NAME
from comity.learning.steps import Float32Array
from comity.learning.tensors import Tensor

METRICS_MAX: Final = 32
_RANGE_MAX: Final = 2.0**20


@final
@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that members sum.

    Args:
        name: as `evaluate` names it: letters, digits, `_ . -`, at most 64.
        range: the largest absolute value, from 1 to 2**20. Nothing is clipped: a site whose value
            is beyond it gives none. The smaller, the more precise the sum.
    """

    name: str
    range: float = 1.0

    def __post_init__(self) -> None:
        if NAME.match(self.name) is None:
            _refuse("a metric's name has letters, digits, _ . - only, at most 64 of them")
        if not 1.0 <= self.range <= _RANGE_MAX:
            _refuse(f"metric {self.name}: the range is a number from 1 to 2**20")


def metric_tensors(metrics: tuple[Metric, ...]) -> tuple[Tensor, ...]:
    """What stands in for a model's tensors: (value, whether it is defined) for each metric."""
    return tuple(Tensor(metric.name, (2,), metric.range) for metric in metrics)


def checked_metrics(found: object) -> dict[str, float]:
    """What `evaluate` returned, as finite numbers; undefined ones are left out.

    Raises:
        StudyFault: no named numbers, or an infinite one.
    """
    if not isinstance(found, Mapping) or len(found) > METRICS_MAX:
        raise StudyFault(
            StudyFaultKind.BAD_OUTPUT, f"evaluate returns at most {METRICS_MAX} named numbers"
        )
    metrics: dict[str, float] = {}
    for name, number in found.items():
        if not isinstance(name, str) or NAME.match(name) is None:
            raise StudyFault(StudyFaultKind.BAD_OUTPUT, "a metric's name is a plain word")
        value = float(number)
        if math.isinf(value):
            raise StudyFault(StudyFaultKind.NOT_FINITE, f"metric {name} is infinite")
        if not math.isnan(value):
            metrics[name] = value
    return metrics


def to_sum(metrics: tuple[Metric, ...], found: Mapping[str, float]) -> dict[str, Float32Array]:
    """One site's metrics as tensors of the sum.

    Raises:
        StudyFault(WRONG_SHAPE): a metric that is not declared. BAD_OUTPUT: one beyond its range.
    """
    if not set(found) <= {metric.name for metric in metrics}:
        raise StudyFault(StudyFaultKind.WRONG_SHAPE, "evaluate returns a metric not declared")
    tensors: dict[str, Float32Array] = {}
    for metric in metrics:
        value = found.get(metric.name)
        if value is not None and abs(value) > metric.range:
            raise StudyFault(
                StudyFaultKind.BAD_OUTPUT, f"metric {metric.name} is beyond its declared range"
            )
        pair = (0.0, 0.0) if value is None else (value, 1.0)
        tensors[metric.name] = np.array(pair, np.float32)
    return tensors


def from_sum(layout: Layout, flat: Float32Array) -> dict[str, float]:
    """The metrics of a vector: of a site's own, or of the mean over members; undefined left out."""
    pairs = to_tensors(layout, flat)
    return {
        name: float(np.float64(pair[0]) / np.float64(pair[1]))
        for name, pair in pairs.items()
        if pair[1] > 0
    }


def evaluate_fault(
    kind: str, metrics: tuple[Metric, ...], rounds: int, weights: str, *, trains: bool
) -> str | None:
    """Why a study of this kind cannot be so, in words; None when it can.

    Args:
        trains: whether a rule, a method, fine tuning or an own tensor is declared.
    """
    if kind == "train":
        return 'metrics are declared with kind="evaluate" only' if metrics else None
    if not 1 <= len(metrics) <= METRICS_MAX:
        return f'kind="evaluate" declares 1 to {METRICS_MAX} metrics: metrics=(Metric("auc"),)'
    if len({metric.name for metric in metrics}) < len(metrics):
        return "metrics have the same name twice"
    if rounds != 1 or trains:
        return (
            'kind="evaluate" has one round, and no rule, method, fine tuning or own tensors:'
            " nothing is trained"
        )
    if weights == "declared":
        return (
            'kind="evaluate" has weights="equal" or "hidden": how many rows were tested is known'
            " last"
        )
    return None


def _refuse(message: str) -> NoReturn:
    raise StudyFault(StudyFaultKind.NOT_LOADABLE, f"study file: {message}")
