"""Vectors: quantising, carries, roots, the judgement of a total, decoding."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.aggregation.decoding import decode_chunk
from comity.aggregation.layout import Layout, Segment
from comity.aggregation.ring import (
    Quantiser,
    RangeCheck,
    TotalDigest,
    VectorRoot,
    add_into,
    chunk_count,
    chunk_words,
    data_range,
    q_max,
    quantise,
    vector_root,
)
from comity.errors import MemberFault, MemberFaultKind, StudyFault, StudyFaultKind
from comity.values import CHUNK_WORDS, labelled_hash, raw, sha256, u16, u32, words_of_vector

SEED = bytes(range(32))
BINDING = sha256(b"binding")


def real(words: int, mant: int = 1, exp: int = 0) -> Layout:
    return Layout((Segment("w", "real", (words,), mant, exp),))


def signed(words: npt.NDArray[np.uint32]) -> list[int]:
    return [int(word) for word in words.view(np.int32)]


@given(st.integers(1, 3 * CHUNK_WORDS))
def test_data_ranges_follow_each_other_and_cover_the_update(data_words: int) -> None:
    words = words_of_vector(data_words)
    at = 0
    for k in range(chunk_count(words)):
        start, stop = data_range(data_words, k)
        assert start == at and stop >= start
        assert chunk_words(words, k) >= stop - start
        at = stop
    assert at == data_words
    assert sum(chunk_words(words, k) for k in range(chunk_count(words))) == words


@pytest.mark.parametrize("data_words", [CHUNK_WORDS - 7, CHUNK_WORDS - 6, CHUNK_WORDS - 2])
def test_data_may_end_just_before_or_after_a_chunk(data_words: int) -> None:
    words = words_of_vector(data_words)
    assert data_range(data_words, 0) == (0, min(data_words, CHUNK_WORDS - 6))
    quantiser = Quantiser(real(data_words), 3, 1, 1, SEED)
    first, last = data_range(data_words, chunk_count(words) - 1)
    chunk = quantiser.chunk(chunk_count(words) - 1, np.ones(last - first, dtype=np.float32))
    assert chunk.size == chunk_words(words, chunk_count(words) - 1)


def test_header_data_padding_lie_in_order() -> None:
    layout = Layout((Segment("w", "real", (2,), 1, 0), Segment("n", "count", (3,), 1, 0)))
    q = Quantiser(layout, 3, 3, 4, SEED).chunk(0, np.array([1, -1, 7, -8, 0], dtype=np.float32))
    words = signed(q)
    assert words[:6] == [0, 0, 0, 0, 1, 3] and words[8:] == [7, -8, 0, 0]
    assert words[6] in (134_217_727, 134_217_728) and words[7] in (-134_217_728, -134_217_727)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(3, 200),
    st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=30),
    st.integers(1, 2**53 - 1),
    st.integers(-60, -50),
)
def test_the_error_is_below_one_step(n: int, values: list[float], mant: int, exp: int) -> None:
    layout = real(len(values), mant, exp)
    range_max, bound = layout.segments[0].range_max, q_max(n)
    q = Quantiser(layout, n, 1, 1, SEED).chunk(0, np.array(values, dtype=np.float32))
    x = q.view(np.int32)
    assert np.abs(x[6:]).max(initial=0) <= bound
    back = decode_chunk(layout, 0, x, 1, n, 1)
    expected = np.clip(np.array(values, dtype=np.float32).astype(np.float64), -range_max, range_max)
    assert np.abs(back - expected).max() <= range_max / bound * 1.000001


def test_rounding_is_unbiased() -> None:
    """Mean of 2**18 roundings of 0.3 steps; seven sigma: false alarm below 3e-12."""
    layout = real(2**18, q_max(3), 0)
    q = Quantiser(layout, 3, 1, 1, SEED).chunk(0, np.full(2**18, 0.3, dtype=np.float32))
    assert abs(q[6 : 6 + 2**18].mean() - 0.3) < 7 * (0.21 / 2**18) ** 0.5


def test_rounding_hangs_on_seed_and_place_alone() -> None:
    data_words = CHUNK_WORDS + 70_000
    update = np.linspace(-1, 1, data_words, dtype=np.float32)
    quantiser = Quantiser(real(data_words), 5, 1, 1, SEED)
    pieces = [quantiser.chunk(k, update[slice(*data_range(data_words, k))]) for k in (1, 0)]
    again = Quantiser(real(data_words), 5, 1, 1, SEED)
    assert np.array_equal(again.chunk(0, update[: CHUNK_WORDS - 6]), pieces[1])
    split = Layout(
        (
            Segment("a", "real", (40_001,), 1, 0),
            Segment("b", "real", (data_words - 40_001,), 1, 0),
        )
    )
    parted = Quantiser(split, 5, 1, 1, SEED)
    assert np.array_equal(parted.chunk(1, update[CHUNK_WORDS - 6 :]), pieces[0])
    assert np.array_equal(parted.chunk(0, update[: CHUNK_WORDS - 6]), pieces[1])
    other = Quantiser(real(data_words), 5, 1, 1, bytes(32))
    assert not np.array_equal(other.chunk(1, update[CHUNK_WORDS - 6 :]), pieces[0])


@pytest.mark.parametrize("n", [3, 4, 5, 7, 20, 199, 200])
def test_attack_58_rounding_never_leaves_the_range_at_either_end(n: int) -> None:
    # All 2**24 roundings matter only at their ends and near the top; a stride covers the rest.
    rounding = np.unique(
        np.concatenate([np.arange(256), np.arange(0, 2**24, 4_099), 2**24 - 1 - np.arange(256)])
    ).astype(np.uint32)
    bound = q_max(n)
    for mant, exp in ((1, 0), (3, -7), (2**53 - 1, -53), (2**53 - 1, 100), (7, -150)):
        range_max = real(1, mant, exp).segments[0].range_max
        for value, weight in ((1.0, 1.0), (-1.0, 1.0), (4.0, 1.0), (-4.0, 0.75)):
            x = np.full(rounding.size, value * range_max)
            quantise(
                x,
                np.left_shift(rounding, np.uint32(8)),
                range_max=range_max,
                ratio=weight,
                bound=bound,
                room=np.empty(rounding.size),
            )
            assert np.abs(x).max() <= bound
            # Clip before weight: no honest weight lifts a value beyond its share of the range.
            assert np.abs(x).max() <= bound * weight + 1


def test_attack_58_float32_would_lose_the_fraction() -> None:
    # 0.30 at 2**22: float32 arithmetic gives 0.25 or 0.5; ours keeps the expectation.
    rounding = np.arange(0, 2**32, 2**18, dtype=np.uint32)
    x = np.full(rounding.size, 2.0**22 + 0.3)
    quantise(x, rounding, range_max=2.0**26, ratio=1.0, bound=2**26, room=np.empty(rounding.size))
    assert abs((x - 2.0**22).mean() - 0.3) < 1e-3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_attack_31_what_is_not_finite_stops_before_masking(bad: float) -> None:
    update = np.zeros(70_000, dtype=np.float32)
    quantiser = Quantiser(real(70_000), 3, 1, 1, SEED)
    quantiser.chunk(0, update)
    for at in (0, 40_000, 69_999):
        update[at] = bad
        with pytest.raises(StudyFault) as caught:
            quantiser.chunk(0, update)
        assert caught.value.kind is StudyFaultKind.NOT_FINITE
        update[at] = 0


def test_attack_31_denormals_and_values_out_of_range_are_clipped_not_lost() -> None:
    update = np.array([1e-45, -1e-45, 3e38, -3e38], dtype=np.float32)
    words = signed(Quantiser(real(4), 3, 1, 1, SEED).chunk(0, update))[6:10]
    assert words[0] in (0, 1) and words[1] in (0, -1)
    assert words[2:] == [q_max(3), -q_max(3)]


@pytest.mark.parametrize("weight, weight_max", [(0, 1), (-1, 4), (5, 4), (1, 0), (1, 2**30)])
def test_attack_31_a_weight_out_of_range_is_refused(weight: int, weight_max: int) -> None:
    Quantiser(real(1), 3, 4, 4, SEED)
    with pytest.raises(StudyFault) as caught:
        Quantiser(real(1), 3, weight, weight_max, SEED)
    assert caught.value.kind is StudyFaultKind.WEIGHT_OUT_OF_RANGE


@pytest.mark.parametrize(
    "update", [np.zeros(3, np.float32), np.zeros((2, 2), np.float32), np.zeros(4, np.int32)]
)
def test_attack_31_a_wrong_shape_or_type_is_refused(update: npt.NDArray[np.float32]) -> None:
    with pytest.raises(StudyFault) as caught:
        Quantiser(real(4), 3, 1, 1, SEED).chunk(0, update)
    assert caught.value.kind is StudyFaultKind.WRONG_SHAPE


@pytest.mark.parametrize("bad", [0.5, float(q_max(3)) + 1, -float(q_max(3)) - 1])
def test_counts_are_integers_within_the_range(bad: float) -> None:
    quantiser = Quantiser(Layout((Segment("n", "count", (2,), 1, 0),)), 3, 1, 1, SEED)
    assert signed(quantiser.chunk(0, np.array([q_max(3), -5.0])))[6:] == [q_max(3), -5]
    with pytest.raises(StudyFault) as caught:
        quantiser.chunk(0, np.array([bad, 0.0]))
    assert caught.value.kind is StudyFaultKind.BAD_OUTPUT


def test_a_quantiser_does_not_show_its_seed() -> None:
    assert repr(Quantiser(real(1), 3, 1, 1, SEED)) == "Quantiser"


def test_carries_are_exact_for_256_largest_vectors() -> None:
    lo, hi = np.zeros(70_000, dtype=np.uint32), np.zeros(70_000, dtype=np.uint8)
    y = np.full(70_000, 2**32 - 1, dtype=np.uint32)
    for _ in range(256):
        add_into(lo, hi, y)
    total = lo.astype(np.uint64) + (hi.astype(np.uint64) << np.uint64(32))
    assert np.all(total == 256 * (2**32 - 1)) and hi[0] == 255


@given(st.lists(st.lists(st.integers(0, 2**32 - 1), min_size=5, max_size=5), max_size=9))
def test_carries_equal_whole_numbers(vectors: list[list[int]]) -> None:
    lo, hi = np.zeros(5, dtype=np.uint32), np.zeros(5, dtype=np.uint8)
    for vector in vectors:
        add_into(lo, hi, np.array(vector, dtype=np.uint32))
    for at in range(5):
        assert int(lo[at]) + (int(hi[at]) << 32) == sum(vector[at] for vector in vectors)


def test_roots_bind_owner_order_and_count() -> None:
    chunks = [np.arange(4, dtype=np.uint32), np.arange(4, 8, dtype=np.uint32)]
    root = VectorRoot(BINDING, 2)
    leaves = [root.update(chunk) for chunk in chunks]
    expected = labelled_hash("y", raw(BINDING), u16(2), u32(1), chunks[1].astype("<u4").tobytes())
    assert leaves[1] == expected and root.leaves == leaves
    names = {
        root.digest(),
        vector_root(BINDING, 3, leaves),
        vector_root(BINDING, 2, leaves[::-1]),
        vector_root(BINDING, 2, leaves[:1]),
        vector_root(sha256(b"other"), 2, leaves),
    }
    assert len(names) == 5


def test_a_total_digest_needs_every_word() -> None:
    digest = TotalDigest(BINDING, 8)
    digest.update(np.zeros(4, dtype=np.int32))
    with pytest.raises(AssertionError):
        digest.digest()
    digest.update(np.zeros(4, dtype=np.int32))
    assert digest.digest() != TotalDigest(BINDING, 0).digest()


LAYOUT = Layout((Segment("w", "real", (3,), 1, 0), Segment("n", "count", (2,), 1, 0)))


def total(**changes: int) -> npt.NDArray[np.int32]:
    """An honest total of three members with weights up to 4, changed at some words."""
    x = np.zeros(12, dtype=np.int32)
    x[4], x[5] = 3, 9
    for word, value in changes.items():
        x[int(word[1:])] = value
    return x


def judge(x: npt.NDArray[np.int32], declared: int | None = None) -> int:
    check = RangeCheck(LAYOUT, 3, 3, 4, declared)
    check.update(x)
    return check.weight_sum


def refused(x: npt.NDArray[np.int32], declared: int | None = None) -> bool:
    try:
        judge(x, declared)
    except MemberFault as fault:
        assert fault.kind is MemberFaultKind.BAD_SUM and fault.seats == ()
        return True
    return False


def test_an_honest_total_is_accepted_up_to_its_bounds() -> None:
    real_bound, count_bound = 9 * q_max(3) // 4 + 3, 3 * q_max(3)
    assert judge(total()) == 9 and judge(total(), declared=9) == 9
    assert judge(total(w6=real_bound, w8=-real_bound, w9=count_bound, w10=-count_bound)) == 9
    for word, bound in ((6, real_bound), (8, real_bound), (9, count_bound), (10, count_bound)):
        for sign in (1, -1):
            assert refused(total(**{f"w{word}": sign * (bound + 1)}))
    assert refused(total(), declared=10)


def test_canary_count_and_padding_are_judged() -> None:
    for word in (0, 1, 2, 3, 11):
        assert refused(total(**{f"w{word}": 1})) and refused(total(**{f"w{word}": -(2**31)}))
    for count in (0, 2, 4, -3):
        assert refused(total(w4=count))
    assert refused(total()[:8])


def test_attack_47_no_weight_word_scales_the_mean() -> None:
    # W beyond |U|..|U| w_max is refused; a small W with X unchanged breaks the bound of the words.
    for weight in (1, 0, -1, 2, 13, 2**31 - 1):
        assert refused(total(w5=weight))
    honest = 9 * q_max(3) // 4
    assert not refused(total(w6=honest)) and refused(total(w5=3, w6=honest))
    # Whatever is accepted, no mean leaves the range by more than w_max / Qmax.
    x = total(w5=3, w6=3 * q_max(3) // 4 + 3)
    assert judge(x) == 3
    mean = decode_chunk(LAYOUT, 0, x, 3, 3, 4)
    assert mean[0] <= 1 + 4 / q_max(3)


def test_a_weight_sum_is_known_only_after_all_chunks() -> None:
    check = RangeCheck(LAYOUT, 3, 3, 4, None)
    with pytest.raises(AssertionError):
        _ = check.weight_sum


def test_attack_32_spikes_and_garbage_are_refused_as_often_as_computed() -> None:
    """A random word escapes the range with probability 1/4: 2**14 trials, seven sigma (1e-11)."""
    rng = np.random.default_rng(32)
    words = rng.integers(-(2**31), 2**31, 2**14)
    bound = 3 * q_max(3)
    escaped = sum(bool(abs(int(word)) <= bound) for word in words)
    assert abs(escaped / 2**14 - 0.25) < 7 * (0.25 * 0.75 / 2**14) ** 0.5
    for spike in (2**31 - 1, -(2**31)):
        assert refused(total(w7=spike))
    garbage = rng.integers(-(2**31), 2**31, 12).astype(np.int32)
    assert refused(garbage)


def test_padding_is_judged_at_the_end_of_a_chunk() -> None:
    layout = real(CHUNK_WORDS - 7)
    x = np.zeros(CHUNK_WORDS, dtype=np.int32)
    x[4:6] = 3
    RangeCheck(layout, 3, 3, 1, None).update(x)
    x[-1] = 1
    with pytest.raises(MemberFault):
        RangeCheck(layout, 3, 3, 1, None).update(x)


def test_decoding_is_the_weighted_mean_and_counts_as_they_are() -> None:
    x = total(w6=100, w7=-100, w9=5, w10=-6)
    mean = decode_chunk(LAYOUT, 0, x, 9, 3, 4)
    scale = (1.0 * 4) / (float(q_max(3)) * 9.0)
    assert list(mean) == [100 * scale, -100 * scale, 0.0, 5.0, -6.0]
