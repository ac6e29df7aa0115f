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
from comity.aggregation.masks import (
    BLOCK_WORDS,
    add_streams,
    chunk_key,
    keystream,
    next_words,
    stream_buffer,
)
from comity.aggregation.ring import (
    Quantiser,
    RangeCheck,
    SumRoot,
    TotalDigest,
    VectorRoot,
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
    """Processor seconds of one round.

    member_s: of one member. host_s: of the host for all its members, without the adding, which is
    part of the floor. prescribed_s: of one member, SHA-256 and AES-256-CTR alone, which the
    protocol prescribes and a library computes.
    """

    member_s: float
    host_s: float
    prescribed_s: float


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
    host_hash_s = host_sum_s = 0.0
    member, prescribed = _Clock(), _Clock()
    for k in range(chunk_count(words)):
        start, stop = data_range(layout.data_words, k)
        update = rng.uniform(-0.5, 0.5, stop - start).astype(np.float32)
        x = _total(layout, k, members)
        hi = np.zeros(x.size, np.uint8)
        with member:
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
        with prescribed:
            for _ in range(2):
                _draw(seeds, k, y.size)
            _draw(seeds[:1], k, y.size)
            for part in (y, y, hi, x, update):
                hashlib.sha256(part.data)
        began = time.thread_time()
        host_root.update(y)
        host_hash_s += time.thread_time() - began
        began = time.thread_time()
        host_sum.update(y, hi)
        host_sum_s += time.thread_time() - began
    return Arithmetic(member.seconds, members * host_hash_s + host_sum_s, prescribed.seconds)


@final
class _Clock:
    """Adds up this thread's processor time within its blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._began = time.thread_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.thread_time() - self._began


def _draw(seeds: list[bytes], k: int, words: int) -> None:
    """The streams of some seeds, added to nothing."""
    buffer = stream_buffer()
    for seed in seeds:
        stream = keystream(chunk_key(seed, k))
        for at in range(0, words, BLOCK_WORDS):
            next_words(stream, buffer, min(BLOCK_WORDS, words - at))


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
