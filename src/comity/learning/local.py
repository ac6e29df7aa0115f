"""A member's part in a round, and everybody's: what nodes, simulations and tables have in common.

Flat float32 vectors in, flat vectors out, in the layouts of `learning/tensors.py`. Runs the code of
the study: call `learn`, `alone` and `fine_tuned` in a sandbox only.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np
from numpy.random import Generator

from comity.errors import StudyFault, StudyFaultKind
from comity.learning.given import checked_metrics, metric_tensors, to_sum
from comity.learning.loading import LoadedStudy
from comity.learning.methods.fedprox import FedProx
from comity.learning.methods.pull import Pull, no_offset
from comity.learning.methods.scaffold import Scaffold, check_control, next_control
from comity.learning.model import to_flat, to_tensors
from comity.learning.steps import (
    Float32Array,
    Float64Array,
    first_moments,
    moments_count,
    step_chunk,
)
from comity.learning.study import Study
from comity.learning.tables import Table
from comity.learning.tensors import Parts
from comity.learning.training import clipped, generator

ROWS_MAX: Final = 2**40
"""Rows a round may learn from."""


@final
@dataclass(frozen=True, slots=True)
class Learned:
    """One member's round. update: what is masked. kept: what stays. example_count: rows."""

    update: Float32Array
    kept: Float32Array
    example_count: int


@final
@dataclass(frozen=True, slots=True)
class Shared:
    """What the commons has between rounds: the flat model, and the state of the update rule.

    state: the rule's moments, then with `Scaffold` c, each as long as the model.
    """

    model: Float32Array
    state: tuple[Float32Array, ...]

    @property
    def control(self) -> Float32Array:
        """c of `Scaffold`."""
        return self.state[-1]


def first_shared(loaded: LoadedStudy) -> Shared:
    """The model of the declared seed, and the state before the first round."""
    study, parts = loaded.study, loaded.study.parts
    whole = _checked(parts, loaded.initial(study.seed))
    return Shared(_only(parts, whole, own=False), first_state(study))


def first_kept(loaded: LoadedStudy) -> Float32Array:
    """What a site keeps before its first round: own tensors as `initial` says, c_i zero."""
    parts = loaded.study.parts
    kept = np.zeros(parts.kept_words, np.float32)
    if parts.own.segments:
        whole = _checked(parts, loaded.initial(loaded.study.seed))
        kept[: parts.own.data_words] = _only(parts, whole, own=True)
    return kept


def first_state(study: Study) -> tuple[Float32Array, ...]:
    """The update rule's state before the first round; empty when there is none."""
    count = study.parts.model.data_words
    control = (np.zeros(count, np.float32),) if isinstance(study.method, Scaffold) else ()
    return (*first_moments(study.rule, count), *control)


def next_shared(study: Study, shared: Shared, mean: Float64Array) -> Shared:
    """Model and state after a round; `mean` is float64, in the layout of vectors."""
    parts, moments = study.parts, moments_count(study.rule)
    count = parts.model.data_words
    model, after = step_chunk(study.rule, shared.model, shared.state[:moments], mean[:count])
    if isinstance(study.method, Scaffold):
        after = (*after, mean[count:].astype(np.float32))
    return Shared(model, after)


def seen(study: Study, model: Float32Array, kept: Float32Array) -> dict[str, Float32Array]:
    """The tensors that `train` and `evaluate` see at a site: shared ones and its own."""
    parts = study.parts
    own = to_tensors(parts.own, kept[: parts.own.data_words])
    return {**to_tensors(parts.model, model), **own}


def learn(
    loaded: LoadedStudy, table: Table, shared: Shared, kept: Float32Array, rng: Generator
) -> Learned:
    """One round at one site; nothing passed in is changed.

    Raises:
        StudyFault: what `train` returns, or what is kept, is not what it must be.
    """
    parts = loaded.study.parts
    own_words = parts.own.data_words
    pull = _pull(loaded, shared, kept[own_words:])
    after, count = _train(loaded, seen(loaded.study, shared.model, kept), table, rng, pull)
    update = _only(parts, after, own=False)
    np.subtract(update, shared.model, out=update)
    if not np.isfinite(update).all():
        raise StudyFault(StudyFaultKind.NOT_FINITE, "an update is NaN or infinite")
    own = _only(parts, after, own=True)
    if not isinstance(loaded.study.method, Scaffold):
        return Learned(update, own, count)
    control = next_control(loaded.study.method, kept[own_words:], shared.control, update)
    return Learned(np.concatenate((update, control)), np.concatenate((own, control)), count)


def alone(
    loaded: LoadedStudy, table: Table, first: Shared, seeds: Iterator[bytes]
) -> tuple[Float32Array, Float32Array]:
    """(model, kept) that a member gets by itself: same method, same rounds, nobody else.

    Args:
        seeds: 32 bytes for each round; as many rounds as it yields.
    """
    shared, kept = first, first_kept(loaded)
    for seed in seeds:
        learned = learn(loaded, table, shared, kept, generator(seed))
        mean = clipped(loaded.study.parts.vector, learned.update.astype(np.float64))
        shared, kept = next_shared(loaded.study, shared, mean), learned.kept
    return shared.model, kept


def fine_tuned(
    loaded: LoadedStudy,
    table: Table,
    model: Float32Array,
    kept: Float32Array,
    seeds: Iterator[bytes],
) -> tuple[Float32Array, Float32Array]:
    """(model, kept) after some rounds of plain local training; without a seed, what came in.

    Source: Yu et al., "Salvaging federated learning by local adaptation" (2020).
    """
    study, parts = loaded.study, loaded.study.parts
    still = Pull(0.0, _no_offset(study) if loaded.takes_pull else {})
    for seed in seeds:
        after, _ = _train(loaded, seen(study, model, kept), table, generator(seed), still)
        model = _only(parts, after, own=False)
        control = kept[parts.own.data_words :]
        kept = np.concatenate((_only(parts, after, own=True), control))
    return model, kept


def evaluating(loaded: LoadedStudy, given: Float32Array) -> LoadedStudy:
    """A study of kind "evaluate" as one of a single round, whose update is a site's metrics.

    So an evaluation goes the way of every update: same vectors, same sums, same gates.

    Args:
        given: the model to evaluate, flat, in the layout `loaded.study.given`.
    """
    metrics, layout = loaded.study.metrics, loaded.study.given

    def initial(seed: int) -> dict[str, Float32Array]:
        return {each.name: np.zeros(each.shape, np.float32) for each in metric_tensors(metrics)}

    def found(table: Table) -> tuple[dict[str, float], int]:
        outcome: object = loaded.evaluate(to_tensors(layout, given), table)
        if not isinstance(outcome, tuple) or len(outcome) != 2:
            raise StudyFault(
                StudyFaultKind.BAD_OUTPUT,
                'with kind="evaluate", evaluate returns (metrics, number of rows tested)',
            )
        return checked_metrics(outcome[0]), _rows(outcome[1])

    def train(_: object, table: Table, rng: Generator) -> tuple[dict[str, Float32Array], int]:
        scores, rows = found(table)
        return to_sum(metrics, scores), rows

    def evaluate(_: object, table: Table) -> dict[str, float]:
        return found(table)[0]

    return replace(loaded, initial=initial, train=train, evaluate=evaluate)


def _train(
    loaded: LoadedStudy, weights: dict[str, Float32Array], table: Table, rng: Generator, pull: Pull
) -> tuple[dict[str, Float32Array], int]:
    arguments = (weights, table, rng, pull) if loaded.takes_pull else (weights, table, rng)
    outcome = loaded.train(*arguments)
    if not isinstance(outcome, tuple) or len(outcome) != 2:
        raise StudyFault(StudyFaultKind.BAD_OUTPUT, "train returns (weights after, number of rows)")
    return _checked(loaded.study.parts, outcome[0]), _rows(outcome[1])


def _rows(given: object) -> int:
    count = operator.index(given)  # type: ignore[arg-type]  # what is no number raises TypeError
    if not 1 <= count <= ROWS_MAX:
        raise StudyFault(
            StudyFaultKind.WEIGHT_OUT_OF_RANGE,
            "the number of rows learned from or tested is a whole number from 1",
        )
    return count


def _pull(loaded: LoadedStudy, shared: Shared, control: Float32Array) -> Pull:
    study = loaded.study
    if not loaded.takes_pull:
        return Pull(0.0, {})
    if isinstance(study.method, Scaffold):
        check_control(shared.control)
        check_control(control)
        offset = to_tensors(study.parts.model, np.subtract(shared.control, control))
        return Pull(0.0, {**_no_offset(study), **offset})
    mu = study.method.mu if isinstance(study.method, FedProx) else 0.0
    return Pull(mu, _no_offset(study))


def _no_offset(study: Study) -> dict[str, Float32Array]:
    return no_offset({tensor.name: tensor.shape for tensor in study.tensors})


def _checked(parts: Parts, tensors: Mapping[str, Float32Array]) -> dict[str, Float32Array]:
    """The declared tensors, all of them and no others."""
    names = {segment.name for segment in parts.whole.segments}
    if not isinstance(tensors, Mapping) or set(tensors) != names:
        given = set(tensors) if isinstance(tensors, Mapping) else set()
        gone = ", ".join(sorted(names - given)) or "none"
        raise StudyFault(
            StudyFaultKind.WRONG_SHAPE,
            f"expected exactly the {len(names)} declared tensors; missing: {gone}; not declared:"
            f" {len(given - names)}",
        )
    return dict(tensors)


def _only(parts: Parts, whole: Mapping[str, Float32Array], *, own: bool) -> Float32Array:
    layout = parts.own if own else parts.model
    return to_flat(layout, {each.name: whole[each.name] for each in layout.segments})
