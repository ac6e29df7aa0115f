"""The same training with secure aggregation off: quantised updates summed in clear, in one process.

Same study file, same table, same seeds. Its models must have the digests that the commons accepted,
to the last bit. A second run without quantising says what the declared quantisation costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from comity.aggregation.decoding import decode_chunk
from comity.aggregation.ring import (
    Quantiser,
    chunk_count,
    chunk_words,
    data_range,
    q_max,
)
from comity.learning.loading import LoadedStudy, load
from comity.learning.model import model_bytes, to_flat, to_tensors
from comity.learning.seeds import rounding_seed, training_seed
from comity.learning.steps import Float32Array, Float64Array, first_moments, step_chunk
from comity.learning.tables import Reading, inspect_table
from comity.learning.training import clipped, generator
from comity.values import MemberId, sha256


@final
@dataclass(frozen=True, slots=True)
class Plain:
    """What training in clear gave.

    models: digest of the model after each round, from quantised updates. apart: largest difference
    of a parameter at the end from training without quantising. apart_max: what may be declared.
    """

    models: list[str]
    apart: float
    apart_max: float


def train_plain(study_file: Path, table: bytes, members: Sequence[str], rounds: int) -> Plain:
    """Train as the members of a commons do whose study has equal weights.

    Args:
        table: CSV, the same at every member.
    """
    namespace: dict[str, object] = {}
    exec(compile(study_file.read_text(), str(study_file), "exec"), namespace)
    loaded = load(namespace)
    reading = inspect_table(loaded.study.columns, table)
    assert isinstance(reading, Reading), "the benchmark's own table fits its study"
    names = [MemberId(member) for member in members]
    quantised = _train(loaded, reading, names, rounds, quantised=True)
    exact = _train(loaded, reading, names, rounds, quantised=False)
    layout = loaded.study.parts.vector
    step = max(segment.range_max for segment in layout.segments) / q_max(len(names))
    return Plain(
        models=[str(sha256(model_bytes(layout, flat))) for flat in quantised],
        apart=float(np.abs(quantised[-1].astype(np.float64) - exact[-1]).max()),
        apart_max=rounds * (step + float(np.spacing(np.abs(exact[-1]).max()))),
    )


def _train(
    loaded: LoadedStudy, reading: Reading, members: list[MemberId], rounds: int, *, quantised: bool
) -> list[Float32Array]:
    """The flat model after each round."""
    study = loaded.study
    layout = study.parts.vector
    flat = to_flat(layout, loaded.initial(study.seed))
    moments = first_moments(study.rule, len(flat))
    models = []
    for round_no in range(1, rounds + 1):
        updates = []
        for member in members:
            rng = generator(training_seed(study.seed, member, round_no))
            after, _ = loaded.train(to_tensors(layout, flat), reading.table, rng)
            updates.append(to_flat(layout, after) - flat)
        if quantised:
            mean = quantised_mean(loaded, updates, members, round_no)
        else:
            mean = np.mean([clipped(layout, u.astype(np.float64)) for u in updates], axis=0)
        flat, moments = step_chunk(study.rule, flat, moments, mean)
        models.append(flat)
    return models


def quantised_mean(
    loaded: LoadedStudy, updates: list[Float32Array], members: list[MemberId], round_no: int
) -> Float64Array:
    """The mean of updates with equal weights, quantised and decoded as the commons does."""
    layout, n = loaded.study.parts.vector, len(members)
    seeds = [rounding_seed(loaded.study.seed, member, round_no) for member in members]
    quantisers = [Quantiser(layout, n, 1, 1, seed) for seed in seeds]
    mean = np.empty(layout.data_words, np.float64)
    for k in range(chunk_count(layout.words)):
        start, stop = data_range(layout.data_words, k)
        total = np.zeros(chunk_words(layout.words, k), np.uint32)
        for quantiser, update in zip(quantisers, updates, strict=True):
            total += quantiser.chunk(k, update[start:stop])
        mean[start:stop] = decode_chunk(layout, k, total.view(np.int32), n, n, 1)
    return mean
