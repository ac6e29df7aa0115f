"""Layouts: one encoding, strict bounds, exact ranges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.aggregation.layout import (
    EXP_MAX,
    LAYOUT_BYTES_MAX,
    MANT_MAX,
    SEGMENTS_MAX,
    Layout,
    Pieces,
    Segment,
    layout_bytes,
    layout_digest,
    parse_layout,
)
from comity.errors import Malformed
from comity.values import VECTOR_WORDS_MAX, sha256

ONE = Segment("w", "real", (2, 3), 5, -1)
TWO = Segment("n", "count", (), 1, 0)
BLOB = (
    b'{"segments":[{"exp":-1,"kind":"real","mant":5,"name":"w","shape":[2,3]},'
    b'{"exp":0,"kind":"count","mant":1,"name":"n","shape":[]}]}'
)


def test_a_layout_has_one_encoding() -> None:
    layout = Layout((ONE, TWO))
    assert layout_bytes(layout) == BLOB
    assert parse_layout(BLOB) == layout
    assert layout_digest(layout) == sha256(BLOB)


def test_ranges_and_sizes() -> None:
    layout = Layout((ONE, TWO))
    assert (ONE.range_max, ONE.words, TWO.words) == (2.5, 6, 1)
    assert (layout.data_words, layout.words) == (7, 16)
    for exponent in (-EXP_MAX, EXP_MAX):
        assert Segment("w", "real", (), MANT_MAX, exponent).range_max == MANT_MAX * 2.0**exponent


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"{}",
        b"null",
        b"\xff",
        b"[" * 100_000,
        BLOB + b" ",
        b" " + BLOB,
        BLOB.replace(b'"exp":-1,"kind":"real"', b'"kind":"real","exp":-1'),
        BLOB.replace(b'"exp":-1', b'"exp":-1,"exp":-1'),
        BLOB.replace(b'"mant":5', b'"mant":5.0'),
        BLOB.replace(b'"mant":5', b'"mant":05'),
        BLOB.replace(b'"mant":5', b'"mant":0'),
        BLOB.replace(b'"mant":5', b'"mant":9007199254740992'),
        BLOB.replace(b'"exp":-1', b'"exp":-201'),
        BLOB.replace(b'"exp":-1', b'"exp":201'),
        BLOB.replace(b'"real"', b'"float"'),
        BLOB.replace(b'"name":"n"', b'"name":"w"'),
        BLOB.replace(b'"name":"n"', b'"name":""'),
        BLOB.replace(b'"name":"n"', b'"name":"\\u0007"'),
        BLOB.replace(b'"name":"n"', b'"name":"' + b"n" * 201 + b'"'),
        BLOB.replace(b"[2,3]", b"[2,0]"),
        BLOB.replace(b"[2,3]", b"[2,-3]"),
        BLOB.replace(b"[2,3]", b"[1,1,1,1,1,1,1,1,1]"),
        BLOB.replace(b"[2,3]", b"[16385,16385]"),
        BLOB.replace(b'"mant":1', b'"mant":2'),
        BLOB.replace(b'"exp":0', b'"exp":1'),
        b'{"segments":[]}',
        b"x" * (LAYOUT_BYTES_MAX + 1),
    ],
)
def test_other_bytes_are_malformed(bad: bytes) -> None:
    with pytest.raises(Malformed):
        parse_layout(bad)


def test_limits_are_refused_when_writing() -> None:
    for layout in (
        Layout(tuple(Segment(str(i), "count", (), 1, 0) for i in range(SEGMENTS_MAX + 1))),
        Layout((Segment("w", "real", (VECTOR_WORDS_MAX,), 1, 0),)),
        Layout((Segment("\ud800", "real", (), 1, 0),)),
        Layout((Segment("w", "other", (), 1, 0),)),  # type: ignore[arg-type]  # wrong on purpose
    ):
        with pytest.raises(Malformed):
            layout_bytes(layout)


@given(st.data())
def test_every_byte_change_is_malformed_or_another_layout(choose: st.DataObject) -> None:
    at = choose.draw(st.integers(0, len(BLOB) - 1))
    value = choose.draw(st.integers(0, 255).filter(lambda value: value != BLOB[at]))
    changed = BLOB[:at] + bytes([value]) + BLOB[at + 1 :]
    try:
        layout = parse_layout(changed)
    except Malformed:
        return
    assert layout_bytes(layout) == changed and layout != parse_layout(BLOB)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_pieces_cover_a_range_once(sizes: list[int], choose: st.DataObject) -> None:
    layout = Layout(tuple(Segment(f"s{i}", "real", (s,), 1, 0) for i, s in enumerate(sizes)))
    start = choose.draw(st.integers(0, sum(sizes)))
    stop = choose.draw(st.integers(start, sum(sizes)))
    owner = [segment for segment in layout.segments for _ in range(segment.words)]
    seen: list[int] = []
    for segment, first, last in Pieces(layout).between(start, stop):
        assert first < last and all(owner[word] == segment for word in range(first, last))
        seen += range(first, last)
    assert seen == list(range(start, stop))
