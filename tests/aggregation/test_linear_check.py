"""The check value: fast equals slow, linear, and forged sums fail."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.aggregation.linear_check import (
    FIELD,
    CheckValue,
    challenge,
    holds,
    parse_check_value,
    self_check,
)
from comity.aggregation.ring import add_into
from comity.errors import Malformed
from comity.values import CHUNK_WORDS, ROW_WORDS, sha256

CLOSE = sha256(b"close")


def slow(close: str, v: list[int]) -> bytes:
    """The definition of 5.7 in Python integers."""
    prefix = b"comity/agg/v1\x00"
    rows = -(-len(v) // ROW_WORDS)
    column = hashlib.shake_256(prefix + b"tag-col\x00" + bytes.fromhex(close))
    row = hashlib.shake_256(prefix + b"tag-row\x00" + bytes.fromhex(close))
    sigma_bytes, rho_bytes = column.digest(16 * ROW_WORDS), row.digest(16 * rows)
    sigma = [
        int.from_bytes(sigma_bytes[16 * j : 16 * j + 16], "little") % FIELD
        for j in range(ROW_WORDS)
    ]
    rho = [int.from_bytes(rho_bytes[16 * g : 16 * g + 16], "little") % FIELD for g in range(rows)]
    value = 0
    for at, word in enumerate(v):
        value += rho[at // ROW_WORDS] * sigma[at % ROW_WORDS] * word
    return (value % FIELD).to_bytes(16, "big")


def fast(
    lo: npt.NDArray[np.uint32], hi: npt.NDArray[np.uint8] | None = None, chunk: int = CHUNK_WORDS
) -> bytes:
    check = CheckValue(CLOSE, lo.size)
    for start in range(0, lo.size, chunk):
        part = None if hi is None else hi[start : start + chunk]
        check.update(lo[start : start + chunk], part)
    return check.digest()


def words(count: int, seed: int = 1) -> npt.NDArray[np.uint32]:
    return np.random.default_rng(seed).integers(0, 2**32, count, dtype=np.uint32)


@pytest.mark.parametrize(
    "length", [1, 8, 1000, ROW_WORDS - 1, ROW_WORDS, ROW_WORDS + 1, 5 * ROW_WORDS + 4]
)
def test_the_fast_value_is_the_slow_one(length: int) -> None:
    lo = words(length)
    hi = words(length, 2).astype(np.uint8)
    assert fast(lo) == slow(CLOSE, [int(word) for word in lo])
    integers = [int(a) + (int(b) << 32) for a, b in zip(lo, hi, strict=True)]
    assert fast(lo, hi) == slow(CLOSE, integers)


def test_chunks_do_not_matter() -> None:
    lo = words(6 * ROW_WORDS + 12)
    assert fast(lo) == fast(lo, chunk=ROW_WORDS) == fast(lo, chunk=4 * ROW_WORDS)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 200), st.integers(1, 3 * ROW_WORDS))
def test_the_value_of_a_sum_is_the_sum_of_the_values(n: int, length: int) -> None:
    vectors = [words(length, seed) for seed in range(min(n, 6))]
    lo, hi = np.zeros(length, dtype=np.uint32), np.zeros(length, dtype=np.uint8)
    for y in vectors:
        add_into(lo, hi, y)
    assert holds([fast(y) for y in vectors], fast(lo, hi))
    assert not holds([fast(y) for y in vectors[1:]], fast(lo, hi))


@pytest.mark.parametrize("change", ["1", "2**16", "2**31", "2**32", "-1", "dense"])
def test_attack_15_a_forged_sum_fails_the_check(change: str) -> None:
    length = ROW_WORDS + 8
    vectors = [words(length, seed) for seed in (1, 2, 3)]
    lo, hi = np.zeros(length, dtype=np.uint32), np.zeros(length, dtype=np.uint8)
    for y in vectors:
        add_into(lo, hi, y)
    values = [fast(y) for y in vectors]
    assert holds(values, fast(lo, hi))
    for at in (0, 7, ROW_WORDS, length - 1):
        forged_lo, forged_hi = lo.copy(), hi.copy()
        if change == "dense":
            forged_lo += words(length, 9)
        elif change == "2**32":
            forged_hi[at] ^= 1
        else:
            step = {"1": 1, "2**16": 2**16, "2**31": 2**31, "-1": 2**32 - 1}[change]
            forged_lo[at : at + 1] += np.uint32(step)
        assert not holds(values, fast(forged_lo, forged_hi))


def test_attack_16_production_numbers_are_not_toys() -> None:
    # The harness below finds collisions in a toy field; the real one has these sizes.
    made = challenge(CLOSE, 2 * ROW_WORDS + 1)
    low, high, rho = made.low_limbs, made.high_limbs, made.rho
    assert FIELD == 2**127 - 1 and len(rho) == 3
    assert low.shape == (ROW_WORDS, 16) and high.shape == (ROW_WORDS, 8)
    assert low.max() == 255 and high.max() == 65_535 and max(rho) >> 120
    # Offline grinding in the same construction over 2**7 - 1: forgeries pass at about 1/127.
    passed = 0
    for trial in range(20_000):
        word = hashlib.shake_256(trial.to_bytes(4, "big")).digest(2)
        passed += word[0] * word[1] % 127 == 0
    assert 20_000 * 0.005 < passed < 20_000 * 0.05


def test_attack_16_the_challenge_hangs_on_the_close() -> None:
    one, other = challenge(CLOSE, 8), challenge(sha256(b"other close"), 8)
    assert not np.array_equal(one.low_limbs, other.low_limbs) and one.rho != other.rho
    assert not np.array_equal(one.high_limbs, other.high_limbs)


@pytest.mark.parametrize(
    "bad", [b"", bytes(15), bytes(17), b"\xff" * 16, FIELD.to_bytes(16, "big")]
)
def test_attack_41_a_check_value_has_one_form(bad: bytes) -> None:
    assert parse_check_value((FIELD - 1).to_bytes(16, "big")) == FIELD - 1
    with pytest.raises(Malformed):
        parse_check_value(bad)
    with pytest.raises(Malformed):
        holds([bad], bytes(16))


def test_a_value_needs_every_word() -> None:
    check = CheckValue(CLOSE, 8)
    with pytest.raises(AssertionError):
        check.digest()


def test_products_are_exact_at_the_largest_limbs() -> None:
    self_check()
    lo = np.full(16 * ROW_WORDS, 2**32 - 1, dtype=np.uint32)
    hi = np.full(16 * ROW_WORDS, 255, dtype=np.uint8)
    rows = fast(lo, hi)
    # Every word is the same, so T is (2**40 - 1) times T of ones.
    ones = parse_check_value(fast(np.ones(16 * ROW_WORDS, dtype=np.uint32)))
    assert parse_check_value(rows) == ones * (2**40 - 1) % FIELD


def test_the_largest_words_and_carries_are_exact() -> None:
    length = 2 * ROW_WORDS + 3
    lo = np.full(length, 2**32 - 1, dtype=np.uint32)
    hi = np.full(length, 255, dtype=np.uint8)
    assert fast(lo, hi) == slow(CLOSE, [2**40 - 1] * length)
