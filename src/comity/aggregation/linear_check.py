"""The check value T(v): a linear function of a vector into 2**127 - 1, from a late challenge.

T of the sum equals the sum of the T's of its vectors, and no forged sum is found with more than
2**-125 a trial (aggregation.md 5.7, T5). The challenge is the tensor rho x sigma, so the work is a
matrix product of 16-bit limbs; every partial sum stays below 2**46, which float64 holds exactly in
any order of adding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final, final

import numpy as np
import numpy.typing as npt

from comity.aggregation.masks import Words
from comity.aggregation.ring import Carries
from comity.errors import Malformed, Misconfigured
from comity.values import ROW_WORDS, Digest, hkdf_info, raw

FIELD: Final = 2**127 - 1
CHECK_VALUE_BYTES: Final = 16
_LIMBS: Final = 8
_ROWS: Final = 4
"""Rows of one product: 4 x 2**14 words as two planes of float64 are 1 MiB."""


def challenge(close: Digest, words: int) -> tuple[npt.NDArray[np.float64], list[int]]:
    """The challenge of a Close for vectors of `words` words.

    Returns:
        sigma as 16-bit limbs, float64, shape (min(words, 2**14), 8), least significant first, and
        rho, one integer a row. Both are 128-bit numbers not yet reduced: T reduces at the end.
    """
    columns, rows = min(words, ROW_WORDS), -(-words // ROW_WORDS)
    sigma = hashlib.shake_256(_label("tag-col", close)).digest(16 * columns)
    limbs = np.frombuffer(sigma, dtype="<u2").reshape(columns, _LIMBS).astype(np.float64)
    rho = hashlib.shake_256(_label("tag-row", close)).digest(16 * rows)
    return limbs, [int.from_bytes(rho[at : at + 16], "little") for at in range(0, 16 * rows, 16)]


@final
class CheckValue:
    """T of a vector, from its chunks in order.

    Args:
        close: hash of the Close, which fixes survivors and sum before anyone knows the challenge.
        words: L.
    """

    def __init__(self, close: Digest, words: int) -> None:
        self._sigma, self._rho = challenge(close, words)
        self._words, self._taken, self._value = words, 0, 0

    def update(self, lo: Words, hi: Carries | None = None) -> None:
        """Take the next chunk: of a masked vector `lo` alone, of a sum both planes.

        Args:
            lo: uint32; all chunks but the last have a multiple of 2**14 words.
            hi: uint8, same shape.
        """
        assert self._taken % ROW_WORDS == 0 and self._taken + lo.size <= self._words
        planes = 2 if hi is None else 3
        room = np.empty((planes, _ROWS, ROW_WORDS), dtype=np.float64)
        for start in range(0, lo.size, _ROWS * ROW_WORDS):
            size = min(_ROWS * ROW_WORDS, lo.size - start)
            row = (self._taken + start) // ROW_WORDS
            # Whole rows in one product; the last, shorter row of the vector in its own.
            whole = size // ROW_WORDS * ROW_WORDS
            for first, stop in ((start, start + whole), (start + whole, start + size)):
                if first < stop:
                    carries = None if hi is None else hi[first:stop]
                    row += self._take_rows(row, lo[first:stop], carries, room)
        self._taken += lo.size

    def digest(self) -> bytes:
        """T, 16 bytes big-endian, below 2**127 - 1, once all words were taken."""
        assert self._taken == self._words, "a check value needs all chunks"
        return self._value.to_bytes(CHECK_VALUE_BYTES, "big")

    def _take_rows(
        self, row: int, lo: Words, hi: Carries | None, room: npt.NDArray[np.float64]
    ) -> int:
        """Take words that are whole rows, or one shorter row; returns how many rows."""
        width = min(lo.size, ROW_WORDS)
        count = lo.size // width
        planes = room[:, :count, :width]
        halves = np.ascontiguousarray(lo, dtype="<u4").view("<u2").reshape(count, width, 2)
        planes[0] = halves[:, :, 0]
        planes[1] = halves[:, :, 1]
        if hi is not None:
            planes[2] = hi.reshape(count, width)
        products = np.matmul(planes, self._sigma[:width])
        # Limb l of the word times limb s of sigma weighs 2**(16 (l + s)).
        for index in range(count):
            value = 0
            for plane in range(products.shape[0]):
                for limb in range(_LIMBS):
                    value += int(products[plane, index, limb]) << 16 * (plane + limb)
            self._value = (self._value + self._rho[row + index] * value) % FIELD
        return count


def parse_check_value(value: bytes) -> int:
    """A check value as an integer.

    Raises:
        Malformed: not 16 bytes, or not below 2**127 - 1.
    """
    number = int.from_bytes(value, "big")
    if len(value) != CHECK_VALUE_BYTES or number >= FIELD:
        raise Malformed("a check value is 16 bytes big-endian below 2**127 - 1")
    return number


def holds(check_values: Iterable[bytes], total: bytes) -> bool:
    """Whether the check values of the survivors add up to that of the sum (5.8).

    Raises:
        Malformed: one of them is not in form.
    """
    return sum(map(parse_check_value, check_values)) % FIELD == parse_check_value(total)


def self_check() -> None:
    """Refuse to start where matrix products of float64 are not exact.

    Raises:
        Misconfigured: the BLAS behind numpy computes with less than float64.
    """
    ones = np.full((_ROWS, ROW_WORDS), 65_535.0)
    sums = np.matmul(ones, np.ascontiguousarray(np.tile(ones[0][:, None], (1, _LIMBS))))
    if not np.all(sums == 65_535.0**2 * ROW_WORDS):
        raise Misconfigured("numpy's matrix product is not exact in float64; use another BLAS")


def _label(label: str, close: Digest) -> bytes:
    # "comity/agg/v1" 00 label 00 H_close: no length prefix here (5.7).
    return hkdf_info(label) + raw(close)
