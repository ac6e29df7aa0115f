"""Anchors: a value comes back as it was, and nothing but its four lines is read."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.errors import Malformed
from comity.log.heads import TreeHead
from comity.log.merkle import EMPTY_ROOT
from comity.release.anchor import Anchor, anchor_of, parse_anchor
from comity.values import LOG_SIZE_MAX, sha256

ORIGIN = f"comity/{sha256(b'a charter')}"
ANCHOR = Anchor(ORIGIN, 4711, bytes(range(32)))
TEXT = ANCHOR.text()


def test_the_text_is_the_one_of_the_design() -> None:
    root = base64.b64encode(bytes(range(32))).decode()
    expected = f"comity-anchor v1\norigin {ORIGIN}\nsize 4711\nroot {root}\n"
    assert expected.encode() == TEXT
    assert str(ANCHOR.commons) == sha256(b"a charter")


@given(st.integers(1, LOG_SIZE_MAX), st.binary(min_size=32, max_size=32))
def test_an_anchor_comes_back_as_it_was(size: int, root: bytes) -> None:
    anchor = anchor_of(TreeHead(ORIGIN, size, root))
    assert parse_anchor(anchor.text()) == anchor


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"comity-anchor v1\n", b"comity-anchor v2\n"),
        (b"comity-anchor v1\n", b""),
        (b"\n", b"\r\n"),
        (b"size 4711", b"size 04711"),
        (b"size 4711", b"size +4711"),
        (b"size 4711", b"size 0"),
        (b"size 4711", b"size 1099511627776"),
        (b"size ", b"Size "),
        (b"origin comity/", b"origin "),
        (b"origin comity/", b"origin comity/more/"),
        (b"origin comity/", b"origin Comity/"),
        (b"origin comity/", b"origin \xc3\xa9/"),
        (b"origin ", b"origin  "),
        (b"=\n", b"\n"),
        (b"=\n", b"=\n\n"),
        (b"=\n", b"=\nextra\n"),
        (b"=\n", b"="),
        (b"AAEC", b"AAE"),
    ],
)
def test_nothing_else_is_read(old: bytes, new: bytes) -> None:
    assert parse_anchor(TEXT) == ANCHOR
    changed = TEXT.replace(old, new)
    assert changed != TEXT
    with pytest.raises(Malformed):
        parse_anchor(changed)


def test_an_anchor_is_of_a_log_that_has_begun_and_is_short() -> None:
    empty = Anchor(ORIGIN, 0, EMPTY_ROOT).text()
    for raw in (empty, TEXT.replace(b"comity/", b"a" * 500 + b"/"), ANCHOR.text() * 200):
        with pytest.raises(Malformed):
            parse_anchor(raw)


@given(st.binary(max_size=600))
def test_any_bytes_are_refused_in_one_way(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_anchor(raw)


@given(st.integers(0, len(TEXT) - 1), st.integers(0, 255))
def test_a_changed_byte_gives_another_anchor_or_none(place: int, value: int) -> None:
    changed = TEXT[:place] + bytes([value]) + TEXT[place + 1 :]
    try:
        assert parse_anchor(changed).text() == changed
    except Malformed:
        assert changed != TEXT
