"""Vectors of a round: quantising, adding with carries, naming by roots, judging the total.

Decided here: how an update becomes words (5.6), how vectors are added and hashed (5.6, 5.7), when
a total is accepted (5.8), and how it becomes float64 again (5.12). Everything works on one chunk of
at most 2**20 words at a time and knows no mask and no member. Sections are of aggregation.md.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Final, TypeAlias, final

import numpy as np
import numpy.typing as npt

from comity.aggregation.layout import Layout, Pieces, Segment
from comity.aggregation.masks import Words, expand, keystream, next_words, stream_buffer
from comity.errors import MemberFault, MemberFaultKind, StudyFault, StudyFaultKind
from comity.values import (
    CHUNK_WORDS,
    HEADER_WORDS,
    Digest,
    hkdf_info,
    labelled_hash,
    raw,
    to_digest,
    u16,
    u32,
    u64,
)

Floats: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Carries: TypeAlias = npt.NDArray[np.uint8]
Totals: TypeAlias = npt.NDArray[np.int32]

COUNT_WORD: Final = 4
WEIGHT_WORD: Final = 5
_BLOCK: Final = 2**15
"""Words of one sub-block of float64: 256 KiB."""


def q_max(n: int) -> int:
    """Qmax = floor(2**31 / (4 n)): n members cannot wrap the ring, and 3/4 of it stays empty."""
    return 2**31 // (4 * n)


def chunk_count(words: int) -> int:
    """How many chunks a vector of `words` words (L) has."""
    return -(-words // CHUNK_WORDS)


def chunk_words(words: int, k: int) -> int:
    """How many words chunk `k` (from 0) of a vector of `words` words has."""
    assert 0 <= k < chunk_count(words)
    return min(CHUNK_WORDS, words - k * CHUNK_WORDS)


def data_range(data_words: int, k: int) -> tuple[int, int]:
    """Which data words [start, stop) lie in chunk `k`, counted from the first data word."""
    start = max(k * CHUNK_WORDS - HEADER_WORDS, 0)
    return min(start, data_words), min((k + 1) * CHUNK_WORDS - HEADER_WORDS, data_words)


def quantise(
    x: npt.NDArray[np.float64],
    bits: Words,
    *,
    range_max: float,
    ratio: float,
    bound: int,
    room: npt.NDArray[np.float64],
) -> None:
    """Round real values to ring elements, in the order of 5.6, all in float64. In place.

    Args:
        x: float64, finite; becomes whole numbers within +-bound.
        bits: uint32, same shape; the upper 24 bits are the rounding, u = (bits >> 8) / 2**24.
        range_max: values are clipped to +-range_max, before the weight.
        ratio: w / w_max, in (0, 1].
        bound: q_max(n).
        room: float64, same shape; overwritten.
    """
    largest = max(-float(x.min()), float(x.max()))
    if largest > range_max:
        np.minimum(np.maximum(x, -range_max, out=x), range_max, out=x)
        largest = range_max
    if ratio != 1.0:  # times one changes no bit
        np.multiply(x, ratio, out=x)
    np.multiply(x, bound / range_max, out=x)
    # Not float32: at 2**22 it would lose the fraction. Not 53 bits: the largest would round up.
    np.copyto(room, np.right_shift(bits, 8).view(np.int32))
    np.floor(np.add(x, np.multiply(room, 2.0**-24, out=room), out=x), out=x)
    # Rounding keeps the order, so nothing lies beyond where the largest value lies.
    if largest * ratio * (bound / range_max) > bound - 1:
        np.minimum(np.maximum(x, -bound, out=x), bound, out=x)


@final
class Quantiser:
    """Turns one member's update into ring elements, chunk by chunk.

    Args:
        layout: the study's layout.
        n: seats in the roster of the attempt.
        weight: this member's weight w_i, 1..weight_max (1 of 1 for equal weights).
        weight_max: w_max of the plan, at most q_max(n).
        rounding_seed: 32 bytes, from (study seed, member, round); the same in every attempt.

    Raises:
        StudyFault(WEIGHT_OUT_OF_RANGE): the weight is not in 1..weight_max..q_max(n).
    """

    def __init__(
        self, layout: Layout, n: int, weight: int, weight_max: int, rounding_seed: bytes
    ) -> None:
        self._bound = q_max(n)
        if not 1 <= weight <= weight_max <= self._bound:
            raise StudyFault(
                StudyFaultKind.WEIGHT_OUT_OF_RANGE,
                f"a weight lies in 1..weight_max and weight_max in 1..{self._bound}; "
                "look at how the study counts examples",
            )
        assert len(rounding_seed) == 32
        self._pieces = Pieces(layout)
        self._weight, self._weight_max = weight, weight_max
        self._seed = rounding_seed

    def __repr__(self) -> str:
        return "Quantiser"

    def chunk(self, k: int, update: Floats) -> Words:
        """Chunk `k` of q_i: canary, count and weight words, data words, zero padding (5.6).

        Args:
            k: from 0.
            update: float32 or float64, the data words `data_range(layout.data_words, k)`.

        Returns:
            uint32, shape (chunk_words(layout.words, k),).

        Raises:
            StudyFault(NOT_FINITE): NaN or infinity.
            StudyFault(BAD_OUTPUT): a count that is no integer, or beyond +-q_max(n).
            StudyFault(WRONG_SHAPE): not that many words.
        """
        start, stop = data_range(self._pieces.data_words, k)
        if update.shape != (stop - start,) or update.dtype not in (np.float32, np.float64):
            raise StudyFault(
                StudyFaultKind.WRONG_SHAPE,
                f"chunk {k} takes {stop - start} float32 words, not {update.dtype} {update.shape}",
            )
        words = np.zeros(chunk_words(self._pieces.words, k), dtype=np.uint32)
        if k == 0:
            words[COUNT_WORD], words[WEIGHT_WORD] = 1, self._weight
        offset = HEADER_WORDS - k * CHUNK_WORDS
        stream = keystream(expand(self._seed, "rounding", u32(k)))
        rounding, room = stream_buffer(words.size), np.empty((2, _BLOCK), dtype=np.float64)
        for at in range(0, words.size, _BLOCK):
            # Bits are drawn for every word of the chunk, so they hang on its place alone.
            size = min(_BLOCK, words.size - at)
            bits = next_words(stream, rounding, size)
            low, high = max(at - offset, start), min(at + size - offset, stop)
            for segment, first, last in self._pieces.between(low, high):
                self._quantise(
                    segment,
                    update[first - start : last - start],
                    bits[first + offset - at : last + offset - at],
                    words[first + offset : last + offset],
                    room,
                )
        return words

    def _quantise(
        self,
        segment: Segment,
        update: Floats,
        bits: Words,
        out: Words,
        room: npt.NDArray[np.float64],
    ) -> None:
        x, u = room[0, : update.size], room[1, : update.size]
        np.copyto(x, update)
        if not math.isfinite(update.min()) or not math.isfinite(update.max()):  # NaN wins in both
            raise StudyFault(
                StudyFaultKind.NOT_FINITE,
                f"segment {segment.name!r} holds NaN or infinity; look for a division by zero or "
                "too large a step size",
            )
        if segment.kind == "count":
            np.rint(x, out=u)
            if not (np.array_equal(u, x) and np.abs(u, out=u).max() <= self._bound):
                raise StudyFault(
                    StudyFaultKind.BAD_OUTPUT,
                    f"count segment {segment.name!r} takes integers within +-{self._bound}",
                )
        else:
            ratio = self._weight / self._weight_max
            quantise(x, bits, range_max=segment.range_max, ratio=ratio, bound=self._bound, room=u)
        out.view(np.int32)[...] = x


def add_into(lo: Words, hi: Carries, y: Words) -> None:
    """Add a masked chunk to the integer sum: lo += y; hi += carry (5.7). In place.

    Args:
        lo: uint32, low words of the sum.
        hi: uint8, carries; at most 255 vectors may follow the first.
        y: uint32, same shape as both.
    """
    assert lo.shape == hi.shape == y.shape
    carry = np.empty(2 * _BLOCK, dtype=np.bool_)
    for start in range(0, lo.size, 2 * _BLOCK):
        part, added = lo[start : start + 2 * _BLOCK], y[start : start + 2 * _BLOCK]
        np.add(part, added, out=part)
        over = np.less(part, added, out=carry[: part.size])
        high = hi[start : start + 2 * _BLOCK]
        np.add(high, over.view(np.uint8), out=high)


def vector_leaf(binding: Digest, seat: int, k: int, y: Words) -> bytes:
    """leaf_k = H("y"; ctx, u16(seat), u32(k), bytes of chunk k), 32 bytes (5.6)."""
    return _leaf("y", (raw(binding), u16(seat), u32(k)), _wire(y))


def vector_root(binding: Digest, seat: int, leaves: Sequence[bytes]) -> Digest:
    """H("y/root"; ctx, u16(seat), u32(#chunks), leaves): the name of a masked vector."""
    parts = (raw(binding), u16(seat), u32(len(leaves)), b"".join(leaves))
    return to_digest(labelled_hash("y/root", *parts))


def sum_leaf(binding: Digest, k: int, lo: Words, hi: Carries) -> bytes:
    """leaf_k = H("S"; ctx, u32(k), lo words || hi bytes), 32 bytes (5.7)."""
    return _leaf("S", (raw(binding), u32(k)), _wire(lo), np.ascontiguousarray(hi).data)


def sum_root(binding: Digest, leaves: Sequence[bytes]) -> Digest:
    """H("S/root"; ctx, u32(#chunks), leaves): the name of a sum."""
    parts = (raw(binding), u32(len(leaves)), b"".join(leaves))
    return to_digest(labelled_hash("S/root", *parts))


@final
class VectorRoot:
    """The root of a masked vector, from its chunks in order."""

    def __init__(self, binding: Digest, seat: int) -> None:
        self._binding, self._seat = binding, seat
        self.leaves: list[bytes] = []

    def update(self, y: Words) -> bytes:
        """Take the next chunk; returns its leaf."""
        self.leaves.append(vector_leaf(self._binding, self._seat, len(self.leaves), y))
        return self.leaves[-1]

    def digest(self) -> Digest:
        """The root over the chunks taken so far."""
        return vector_root(self._binding, self._seat, self.leaves)


@final
class SumRoot:
    """The root of a sum, from its chunks in order."""

    def __init__(self, binding: Digest) -> None:
        self._binding = binding
        self.leaves: list[bytes] = []

    def update(self, lo: Words, hi: Carries) -> bytes:
        """Take the next chunk; returns its leaf."""
        self.leaves.append(sum_leaf(self._binding, len(self.leaves), lo, hi))
        return self.leaves[-1]

    def digest(self) -> Digest:
        """The root over the chunks taken so far."""
        return sum_root(self._binding, self.leaves)


@final
class TotalDigest:
    """digest(X) = H("X"; H_close, X as int32), from the chunks of X in order (5.8).

    Args:
        close: hash of the Close.
        words: L; the length is hashed before the words.
    """

    def __init__(self, close: Digest, words: int) -> None:
        self._hash = hashlib.sha256(hkdf_info("X", raw(close)) + u64(4 * words))
        self._missing = words

    def update(self, x: Totals) -> None:
        """Take the next chunk of X."""
        self._hash.update(np.ascontiguousarray(x, dtype="<i4").data.cast("B"))
        self._missing -= x.size

    def digest(self) -> Digest:
        """The digest, once all words were taken."""
        assert self._missing == 0, "the digest of a total needs all its chunks"
        return to_digest(self._hash.digest())


@final
class RangeCheck:
    """Judges an unmasked total, from its chunks in order (5.8).

    Args:
        layout: the study's layout.
        survivors_count: |U|.
        n: seats in the roster.
        weight_max: w_max of the plan.
        declared_weights: the sum of the declared weights over U; None if weights are hidden
            (equal weights have weight_max 1, which leaves one value).
    """

    def __init__(
        self,
        layout: Layout,
        survivors_count: int,
        n: int,
        weight_max: int,
        declared_weights: int | None,
    ) -> None:
        self._pieces = Pieces(layout)
        self._survivors, self._weight_max = survivors_count, weight_max
        self._declared, self._q_max = declared_weights, q_max(n)
        self._next, self._weight_sum = 0, 0

    def update(self, x: Totals) -> None:
        """Take the next chunk of X.

        Raises:
            MemberFault(BAD_SUM): some member of U, nobody can say who, sent no honest vector.
        """
        k, self._next = self._next, self._next + 1
        if x.shape != (chunk_words(self._pieces.words, k),):
            raise _bad_sum("a chunk of the total has another length than the layout says")
        if k == 0:
            self._judge_header([int(word) for word in x[:HEADER_WORDS]])
        start, stop = data_range(self._pieces.data_words, k)
        offset = HEADER_WORDS - k * CHUNK_WORDS
        if np.any(x[stop + offset :]):
            raise _bad_sum("the padding of the total is not zero")
        wide = self._survivors * self._q_max
        weighted = self._weight_sum * self._q_max // self._weight_max + self._survivors
        for segment, first, last in self._pieces.between(start, stop):
            part = x[first + offset : last + offset]
            bound = wide if segment.kind == "count" else min(wide, weighted)
            if int(part.max()) > bound or int(part.min()) < -bound:
                raise _bad_sum(f"segment {segment.name!r} of the total is out of range")

    @property
    def weight_sum(self) -> int:
        """W, once every chunk was taken."""
        assert self._next == chunk_count(self._pieces.words), "judge all chunks of the total first"
        return self._weight_sum

    def _judge_header(self, header: list[int]) -> None:
        if any(header[:COUNT_WORD]):
            raise _bad_sum("the canary words of the total are not zero")
        if header[COUNT_WORD] != self._survivors:
            raise _bad_sum("the count word of the total is not the number of survivors")
        weight = self._weight_sum = header[WEIGHT_WORD]
        if not self._survivors <= weight <= self._survivors * self._weight_max:
            raise _bad_sum("the weight word of the total is out of range")
        if self._declared is not None and weight != self._declared:
            raise _bad_sum("the weight word of the total is not the sum of the declared weights")


def _leaf(label: str, parts: tuple[bytes, ...], *chunk: memoryview) -> bytes:
    """A labelled hash whose last part is a chunk, fed without copying it."""
    taken = hashlib.sha256(hkdf_info(label, *parts) + u64(sum(piece.nbytes for piece in chunk)))
    for piece in chunk:
        taken.update(piece)
    return taken.digest()


def _wire(words: Words) -> memoryview:
    return np.ascontiguousarray(words, dtype="<u4").data.cast("B")


def _bad_sum(message: str) -> MemberFault:
    return MemberFault(
        MemberFaultKind.BAD_SUM,
        f"{message}; nobody can say which member caused it: abandon with released = true",
    )
