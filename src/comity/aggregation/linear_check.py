"""The check value T(v): a linear function of a vector into 2**127 - 1, from a late challenge.

T of the sum equals the sum of the T's of its vectors, and no forged sum is found with more than
2**-125 a trial (aggregation.md 5.7, T5). The challenge is the tensor rho x sigma, so the work is a
matrix product with sigma in limbs; every partial sum stays below 2**49, which float64 holds exactly
in any order of adding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias, final

import numpy as np
import numpy.typing as npt

from comity.aggregation.masks import Words
from comity.aggregation.ring import Carries
from comity.errors import Malformed, Misconfigured
from comity.values import ROW_WORDS, Digest, hkdf_info, raw

FIELD: Final = 2**127 - 1
CHECK_VALUE_BYTES: Final = 16
_COLUMNS: Final = 2**9
"""Columns of one product: 64 rows of them as float64 are 256 KiB, and 32 + 8 + 9 bits a sum.

Larger products make OpenBLAS start threads, which wait for one another on a busy machine."""
_ROWS: Final = 64

Limbs: TypeAlias = npt.NDArray[np.float64]
Sums: TypeAlias = npt.NDArray[np.int64]


@final
@dataclass(frozen=True, slots=True)
class Challenge:
    """The challenge of a Close. sigma and rho are 128-bit numbers not yet reduced.

    Attributes:
        low_limbs: sigma in limbs of 8 bits, for the words; float64, shape (columns, 16), least
            significant first.
        high_limbs: sigma in limbs of 16 bits, for the carries; float64, shape (columns, 8).
        rho: one integer a row.
    """

    low_limbs: Limbs
    high_limbs: Limbs
    rho: list[int]


def challenge(close: Digest, words: int) -> Challenge:
    """The challenge of a Close for vectors of `words` words: min(words, 2**14) columns."""
    columns, rows = min(words, ROW_WORDS), -(-words // ROW_WORDS)
    sigma = hashlib.shake_256(_label("tag-col", close)).digest(16 * columns)
    rho = hashlib.shake_256(_label("tag-row", close)).digest(16 * rows)
    return Challenge(
        low_limbs=np.frombuffer(sigma, "u1").reshape(columns, 16).astype(np.float64),
        high_limbs=np.frombuffer(sigma, "<u2").reshape(columns, 8).astype(np.float64),
        rho=[int.from_bytes(rho[at : at + 16], "little") for at in range(0, 16 * rows, 16)],
    )


@final
class CheckValue:
    """T of a vector, from its chunks in order.

    Args:
        close: hash of the Close, which fixes survivors and sum before anyone knows the challenge.
        words: L.
    """

    def __init__(self, close: Digest, words: int) -> None:
        self._challenge = challenge(close, words)
        self._words, self._taken, self._value = words, 0, 0

    def update(self, lo: Words, hi: Carries | None = None) -> None:
        """Take the next chunk: of a masked vector `lo` alone, of a sum both planes.

        Args:
            lo: uint32; all chunks but the last have a multiple of 2**14 words.
            hi: uint8, same shape.
        """
        assert self._taken % ROW_WORDS == 0 and self._taken + lo.size <= self._words
        step = _ROWS * ROW_WORDS
        whole = lo.size // ROW_WORDS * ROW_WORDS
        # Whole rows in one product; the last, shorter row of the vector in its own.
        for start, stop in [(at, min(at + step, whole)) for at in range(0, whole, step)] + [
            (whole, lo.size)
        ]:
            if start < stop:
                row = (self._taken + start) // ROW_WORDS
                self._take_rows(row, lo[start:stop], None if hi is None else hi[start:stop])
        self._taken += lo.size

    def digest(self) -> bytes:
        """T, 16 bytes big-endian, below 2**127 - 1, once all words were taken."""
        assert self._taken == self._words, "a check value needs all chunks"
        return self._value.to_bytes(CHECK_VALUE_BYTES, "big")

    def _take_rows(self, row: int, lo: Words, hi: Carries | None) -> None:
        """Take words that are whole rows, or one shorter row, from row number `row` on."""
        width = min(lo.size, ROW_WORDS)
        words = np.ascontiguousarray(lo, dtype="<u4").reshape(-1, width)
        values = _numbers(_products(words, self._challenge.low_limbs), 8)
        if hi is not None:
            carries = _products(hi.reshape(-1, width), self._challenge.high_limbs)
            high = _numbers(carries, 16)
            values = [low + (carry << 32) for low, carry in zip(values, high, strict=True)]
        for rho, value in zip(self._challenge.rho[row:], values, strict=False):
            self._value = (self._value + rho * value) % FIELD


def _products(rows: npt.NDArray[np.uint32] | Carries, limbs: Limbs) -> Sums:
    """rows x limbs, exact: int64, shape (rows, limbs)."""
    count, width = rows.shape
    room = np.empty((count, min(width, _COLUMNS)), dtype=np.float64)
    sums = np.zeros((count, limbs.shape[1]), dtype=np.int64)
    for at in range(0, width, _COLUMNS):
        part = rows[:, at : at + _COLUMNS]
        columns = room[:, : part.shape[1]]
        np.copyto(columns, part)
        sums += np.matmul(columns, limbs[at : at + part.shape[1]]).astype(np.int64)
    return sums


def _numbers(sums: Sums, bits: int) -> list[int]:
    """Of each row, the sum over its limbs l of limb * 2**(bits * l)."""
    return [sum(limb << bits * at for at, limb in enumerate(row)) for row in sums.tolist()]


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
    words = np.full((_ROWS, _COLUMNS), 2.0**32 - 1)
    limbs = np.full((_COLUMNS, 16), 255.0)
    if not np.all(np.matmul(words, limbs) == (2**32 - 1) * 255 * _COLUMNS):
        raise Misconfigured("numpy's matrix product is not exact in float64; use another BLAS")


def _label(label: str, close: Digest) -> bytes:
    # "comity/agg/v1" 00 label 00 H_close: no length prefix here (5.7).
    return hkdf_info(label) + raw(close)
