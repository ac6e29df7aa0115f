"""A whole round with all its members in one process: for reading, for vectors, for simulations.

Nothing here is used by a node that takes part in a round. The hashes of statements that a log would
give are replaced by labelled hashes of the same contents, so a round is a pure function of its
arguments, but for the sealed bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from comity.aggregation.decoding import decode_chunk
from comity.aggregation.layout import Layout
from comity.aggregation.linear_check import CheckValue, holds
from comity.aggregation.plan import AttemptPlan, graph_degree
from comity.aggregation.ring import (
    Floats,
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
from comity.aggregation.secagg import (
    RAND_BYTES,
    committed,
    join,
    mask_chunk,
    ready,
    recover,
    reveal,
    start,
)
from comity.aggregation.sharing import sealing_keys
from comity.aggregation.stages import Dealing, Started, Survivors
from comity.aggregation.unmasking import Unmasker, gather
from comity.values import (
    Digest,
    confirm_quorum,
    labelled_hash,
    raw,
    round_binding,
    sha256,
    to_digest,
    u16,
)


@final
@dataclass(frozen=True, slots=True)
class RoundRecord:
    """What everybody can see of a round: digests, check values, and the mean it discloses."""

    binding: Digest
    close: Digest
    vector_roots: Mapping[int, Digest]
    sum_root: Digest
    check_values: Mapping[int, bytes]
    sum_check_value: bytes
    total_digest: Digest
    weight_sum: int
    mean: npt.NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class _Setting:
    """The public part of the run: plan, dealings, who takes part and who survives."""

    plan: AttemptPlan
    dealings: Mapping[int, Dealing]
    binding: Digest
    survivors: Survivors


def run_all_parties(
    layout: Layout,
    updates: Sequence[Floats],
    *,
    weights: Sequence[int] | None = None,
    weight_max: int | None = None,
    rounding: Sequence[bytes] | None = None,
    c: int = 1,
    u_min: int | None = None,
    dropped: frozenset[int] = frozenset(),
    silent: frozenset[int] = frozenset(),
    rand: bytes = b"",
) -> RoundRecord:
    """Sum the updates of all members but the dropped, without anybody seeing one.

    Args:
        layout: of every update.
        updates: one vector of `layout.data_words` a seat; at least three.
        weights: one a seat, at least 1; equal by default.
        weight_max: of the plan; the largest weight by default.
        rounding: 32 bytes a seat, for stochastic rounding; drawn from `rand` by default.
        c: how many members may collude.
        u_min: least number of survivors; c + 2 by default.
        dropped: seats that join and then send no vector.
        silent: survivors that never reveal; the others recover their masks.
        rand: from which all randomness of the run is derived.
    """
    n = len(updates)
    weights = weights or [1] * n
    top = weight_max or max(weights)
    # Open, Join, Ready, Start: everybody deals and checks, all take part; then some drop out.
    setting, started = _until_start(layout.words, n, c, u_min or c + 2, rand, dropped)
    plan, binding, survivors = setting.plan, setting.binding, setting.survivors

    # Commit: everybody quantises and masks. Close: the host adds what arrived, with carries.
    vectors = {}
    for seat in sorted(survivors.survivors):
        bits = rounding[seat - 1] if rounding else _draw(rand, "rounding", seat, 32)
        quantiser = Quantiser(layout, n, weights[seat - 1], top, bits)
        vectors[seat] = _masked(layout, started[seat], quantiser, updates[seat - 1])
    sums = _summed(plan.words, list(vectors.values()))
    roots = {seat: _vector_root(binding, seat, chunks) for seat, chunks in vectors.items()}
    sum_root = _sum_root(binding, sums)
    close = to_digest(labelled_hash("whole-round/close", raw(binding), raw(sum_root)))

    # Confirm: a check value each. Everybody checks the sum before anything is revealed.
    values = {
        seat: _check_value(close, plan.words, [(y, None) for y in chunks])
        for seat, chunks in vectors.items()
    }
    sum_value = _check_value(close, plan.words, sums)
    assert holds(values.values(), sum_value), "the sum is not that of the vectors"

    # Reveal, Recover, unmask: everybody computes the same total; here it is done once.
    unmasker = _unmasker(setting, started, silent)
    check = RangeCheck(layout, len(vectors), n, top, None)
    digest, totals = TotalDigest(close, plan.words), []
    for k, (lo, _) in enumerate(sums):
        totals.append(unmasker.chunk(k, lo))
        check.update(totals[k])
        digest.update(totals[k])
    means = [decode_chunk(layout, k, x, check.weight_sum, n, top) for k, x in enumerate(totals)]
    return RoundRecord(
        binding,
        close,
        roots,
        sum_root,
        values,
        sum_value,
        digest.digest(),
        check.weight_sum,
        np.concatenate(means),
    )


def _until_start(
    words: int, n: int, c: int, u_min: int, rand: bytes, dropped: frozenset[int]
) -> tuple[_Setting, dict[int, Started]]:
    pairs = [sealing_keys(_draw(rand, "sealing", seat, 96)) for seat in range(1, n + 1)]
    plan = AttemptPlan(
        opened=to_digest(labelled_hash("whole-round/open", rand)),
        roster=tuple(f"member-{seat:03}" for seat in range(1, n + 1)),
        sealing_keys=tuple(public for _, public in pairs),
        n=n,
        c=c,
        t=confirm_quorum(n, c),
        u_min=u_min,
        k=graph_degree(n, c, u_min),
        words=words,
    )
    joined, dealings = {}, {}
    for seat in range(1, n + 1):
        fresh, own = _draw(rand, "join", seat, RAND_BYTES), _draw(rand, "member", seat, 32)
        joined[seat], dealings[seat] = join(plan, seat, rand=fresh, member_secret=own)
    readied = {}
    for seat in joined:
        readied[seat], complaints = ready(joined[seat], pairs[seat - 1][0], dealings)
        assert not complaints, "everybody here deals as it should"
    # In place of the hashes of Join and Start statements: hashes of what they say.
    joins = [_join_hash(dealing) for dealing in dealings.values()]
    binding = round_binding(plan.opened, tuple(joins), sha256(b"whole-round/start"))
    everybody = frozenset(joined)
    started = {seat: start(readied[seat], everybody, binding) for seat in joined}
    return _Setting(plan, dealings, binding, Survivors(everybody, everybody - dropped)), started


def _masked(
    layout: Layout, stage: Started, quantiser: Quantiser, update: Floats
) -> list[npt.NDArray[np.uint32]]:
    chunks = []
    for k in range(chunk_count(layout.words)):
        first, last = data_range(layout.data_words, k)
        chunks.append(mask_chunk(stage, k, quantiser.chunk(k, update[first:last])))
    return chunks


def _summed(
    words: int, vectors: Sequence[Sequence[npt.NDArray[np.uint32]]]
) -> list[tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8]]]:
    sums = []
    for k in range(chunk_count(words)):
        lo = np.zeros(chunk_words(words, k), dtype=np.uint32)
        hi = np.zeros(lo.size, dtype=np.uint8)
        for chunks in vectors:
            add_into(lo, hi, chunks[k])
        sums.append((lo, hi))
    return sums


def _vector_root(binding: Digest, seat: int, chunks: Sequence[npt.NDArray[np.uint32]]) -> Digest:
    root = VectorRoot(binding, seat)
    for y in chunks:
        root.update(y)
    return root.digest()


def _sum_root(
    binding: Digest, sums: Sequence[tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8]]]
) -> Digest:
    root = SumRoot(binding)
    for lo, hi in sums:
        root.update(lo, hi)
    return root.digest()


def _check_value(
    close: Digest,
    words: int,
    chunks: Sequence[tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8] | None]],
) -> bytes:
    value = CheckValue(close, words)
    for lo, hi in chunks:
        value.update(lo, hi)
    return value.digest()


def _unmasker(
    setting: _Setting, started: Mapping[int, Started], silent: frozenset[int]
) -> Unmasker:
    terms, survivors = setting.plan.terms(), setting.survivors
    reveals, recovers = {}, {}
    for seat, stage in started.items():
        if seat not in silent:
            revealed, reveals[seat] = reveal(committed(stage), survivors)
            recovers[seat] = recover(revealed, silent)
    gathered = gather(
        terms, survivors, dealings=setting.dealings, reveals=reveals, recovers=recovers
    )
    return Unmasker(
        terms,
        setting.binding,
        dealings=setting.dealings,
        survivors=survivors,
        gathered=gathered,
    )


def _draw(rand: bytes, label: str, seat: int, count: int) -> bytes:
    prefix = labelled_hash(f"whole-round/{label}", rand, u16(seat))
    return hashlib.shake_256(prefix).digest(count)


def _join_hash(dealing: Dealing) -> Digest:
    parts = (dealing.epk, raw(dealing.self_commit), raw(dealing.rows_root))
    return to_digest(labelled_hash("whole-round/join", *parts))
