"""Texts of members are shown and do nothing: no markup, no link, no control sign gets through."""

from __future__ import annotations

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from comity.commons.charter import commons_id
from comity.release.words import one_line, plain, verify_md, yaml_text
from tests.worlds import charter_of

NASTY = 'x"\\\n# <script>&amp; [a](https://x) `c` | \x1b[31m \u202e \udc00 \u2028 *b* --- é'


def test_attack_45_markup_in_a_text_is_shown_as_text() -> None:
    assert plain("plain words, with é") == "plain words, with é"
    text = plain(NASTY)
    assert text.isprintable()
    assert "<" not in text and "](" not in text and "https:" not in text
    assert "\\|" in text and "&lt;script&gt;" in text and "[U+202E]" in text


@given(st.text())
def test_any_text_becomes_one_printable_line(text: str) -> None:
    for made in (plain(text), one_line(text), yaml_text(text)):
        assert made.isprintable()


@given(st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])))
def test_a_yaml_text_says_the_text(text: str) -> None:
    # JSON knows \\u with four digits only; everything else of these scalars is JSON too.
    assert json.loads(yaml_text(text).replace("\\U0000", "\\u")) == text


def test_attack_45_the_page_follows_from_the_charter_and_holds_no_markup_of_it() -> None:
    charter = msgspec.structs.replace(charter_of(4), name=NASTY.replace("\udc00", ""))
    page = verify_md(charter, commons_id(charter), quorum=3, count=4).decode()
    assert commons_id(charter) in page
    assert "3 of\n4 members" in page
    assert all(line.isprintable() for line in page.split("\n"))
    assert "    x" in page, "the name stands in a block of code, where nothing is markup"
