"""A whole round in one process: the mean is right, and golden vectors stay as they are."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from comity.aggregation import linear_check, sharing
from comity.aggregation.layout import Layout, Segment
from comity.aggregation.ring import Quantiser, q_max
from comity.aggregation.secagg import mask_chunk
from comity.aggregation.whole_round import run_all_parties
from comity.values import CHUNK_WORDS

from .make_vectors import CASES, FOLDER, LAYOUT, updates_of, vector
from .parties import Round


@pytest.mark.parametrize("name", sorted(CASES))
def test_golden_rounds_are_reproduced(name: str) -> None:
    stored = json.loads((FOLDER / f"{name}.json").read_text())
    assert json.loads(json.dumps(vector(name))) == stored


@pytest.mark.parametrize(
    "dropped, silent", [(set(), set()), ({2}, set()), (set(), {5}), ({1}, {4}), ({5}, {1})]
)
def test_the_mean_is_that_of_the_survivors(dropped: set[int], silent: set[int]) -> None:
    updates, weights = updates_of(5), [1, 2, 3, 4, 5]
    record = run_all_parties(
        LAYOUT,
        updates,
        weights=weights,
        dropped=frozenset(dropped),
        silent=frozenset(silent),
    )
    live = [seat for seat in range(1, 6) if seat not in dropped]
    weight = sum(weights[seat - 1] for seat in live)
    clipped = [np.clip(update[:12].astype(np.float64), -1.5, 1.5) for update in updates]
    mean = sum(weights[seat - 1] * clipped[seat - 1] for seat in live) / weight
    assert record.weight_sum == weight and set(record.vector_roots) == set(live)
    assert np.abs(record.mean[:12] - mean).max() <= len(live) * 1.5 / q_max(5)
    assert record.mean[12] == sum(live)


def test_a_vector_of_two_chunks_is_summed() -> None:
    layout = Layout((Segment("w", "real", (CHUNK_WORDS + 100,), 1, 0),))
    update = np.linspace(-1, 1, CHUNK_WORDS + 100, dtype=np.float32)
    record = run_all_parties(layout, [update] * 3)
    assert np.abs(record.mean - update).max() <= 1 / q_max(3)


def test_memory_does_not_grow_with_members_or_length() -> None:
    """Masking a chunk takes the chunk and a few sub-blocks, whatever the number of neighbours."""
    world = Round(12, 3, words=CHUNK_WORDS, name="memory")
    started = world.start()[1]
    layout = Layout((Segment("w", "real", (CHUNK_WORDS - 6,), 1, 0),))
    quantiser = Quantiser(layout, 12, 1, 1, bytes(32))
    update = np.zeros(CHUNK_WORDS - 6, dtype=np.float32)
    tracemalloc.start()
    try:
        for _ in range(3):
            mask_chunk(started, 0, quantiser.chunk(0, update))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * CHUNK_WORDS * 1.5


def test_both_self_checks_pass_here() -> None:
    sharing.self_check()
    linear_check.self_check()


@pytest.mark.slow
def test_two_hundred_members_with_drops_and_silence() -> None:
    """The largest roster: n = 200, c = 20, circulant graph of degree 42."""
    rng = np.random.default_rng(200)
    layout = Layout((Segment("w", "real", (50,), 1, 0),))
    updates = [rng.uniform(-1, 1, 50).astype(np.float32) for _ in range(200)]
    record = run_all_parties(
        layout, updates, c=20, u_min=180, dropped=frozenset({1, 70}), silent=frozenset({200, 3})
    )
    live = [update for seat, update in enumerate(updates, 1) if seat not in (1, 70)]
    assert np.abs(record.mean - np.mean(live, axis=0, dtype=np.float64)).max() < 200 / q_max(200)
