"""What the protocol's arithmetic alone costs: no files, network, log, signatures or processes.

The passes that a member and the host must make over the vectors of a round, by the very functions
they use, one after the other in one thread. On a machine that all members share it is a bound that
no transport and no disk can beat.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from comity.aggregation.decoding import decode_words
from comity.aggregation.layout import Layout, Pieces, Segment
from comity.aggregation.linear_check import CheckValue
from comity.aggregation.masks import add_streams
from comity.aggregation.ring import (
    Quantiser,
    RangeCheck,
    SumRoot,
    TotalDigest,
    VectorRoot,
    add_into,
    chunk_count,
    chunk_words,
    data_range,
)
from comity.learning.steps import FedAvg, step_chunk
from comity.values import CHUNK_WORDS, HEADER_WORDS, Digest

Totals = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

_DIGEST: Final = Digest("ab" * 32)
_BLOCK: Final = 2**15
_WEIGHT_SUM: Final = 5


@final
@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Processor seconds of one round: of one member, and of the host for all its members."""

    member_s: float
    host_s: float


def measure_arithmetic(members: int, parameters: int) -> Arithmetic:
    """Run every pass once over made-up vectors, chunk by chunk, and take its processor time."""
    layout = Layout((Segment("weights", "real", (parameters,), 1, 0),))
    words = layout.words
    seeds = [hashlib.sha256(bytes([seat])).digest() for seat in range(members)]
    quantiser = Quantiser(layout, members, 1, 1, seeds[0])
    y_root, s_root = VectorRoot(_DIGEST, 1), SumRoot(_DIGEST)
    y_check, s_check = CheckValue(_DIGEST, words), CheckValue(_DIGEST, words)
    total, model = TotalDigest(_DIGEST, words), hashlib.sha256()
    ranges = RangeCheck(layout, members, members, 1, None)
    host_root, host_sum = VectorRoot(_DIGEST, 2), SumRoot(_DIGEST)
    rng = np.random.default_rng(0)
    member_s = hashed_s = added_s = summed_s = 0.0
    for k in range(chunk_count(words)):
        start, stop = data_range(layout.data_words, k)
        update = rng.uniform(-0.5, 0.5, stop - start).astype(np.float32)
        x = _total(layout, k, members)
        hi = np.zeros(x.size, np.uint8)
        began = time.thread_time()
        y = quantiser.chunk(k, update)
        add_streams(y, k, seeds, [])
        y_root.update(y)
        y_check.update(y)
        s_root.update(y, hi)
        s_check.update(y, hi)
        add_streams(y, k, seeds, [])  # as many streams come off the sum
        ranges.update(x)
        total.update(x)
        model.update(_step(layout, k, x, update).data)
        member_s += time.thread_time() - began
        lo = np.zeros_like(y)
        began = time.thread_time()
        host_root.update(y)
        hashed_s += time.thread_time() - began
        began = time.thread_time()
        add_into(lo, hi, y)
        added_s += time.thread_time() - began
        began = time.thread_time()
        host_sum.update(lo, hi)
        summed_s += time.thread_time() - began
    return Arithmetic(member_s, members * (hashed_s + added_s) + summed_s)


def _total(layout: Layout, k: int, members: int) -> Totals:
    """A chunk of a total that passes the range check."""
    x = np.zeros(chunk_words(layout.words, k), np.int32)
    if k == 0:
        x[HEADER_WORDS - 2 : HEADER_WORDS] = members
    return x


def _step(layout: Layout, k: int, x: Totals, weights: Floats) -> Floats:
    pieces, rule = Pieces(layout), FedAvg(1.0)
    start, stop = data_range(layout.data_words, k)
    first = start + HEADER_WORDS - k * CHUNK_WORDS
    for low in range(0, stop - start, _BLOCK):
        here = slice(low, low + _BLOCK)
        part = x[first : first + stop - start][here]
        mean = decode_words(pieces, start + low, part, _WEIGHT_SUM, 5, 1)
        weights[here], _ = step_chunk(rule, weights[here], (), mean)
    return weights
