"""Text of others cannot steer a terminal; JSON mode prints JSON and nothing else."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from comity.cli.terminal import Screen, _HarmlessLines, harmless, table, when


class Shown(Struct, tag="shown"):
    """A result with a text of somebody else."""

    text: str


@dataclass(frozen=True)
class Attack:
    """A text, and the sign in it that must not reach the terminal."""

    text: str
    sign: str


ATTACKS = [
    Attack("\x1b[2J\x1b[1;1Hverified", "\x1b"),
    Attack("hospital-\u202ea", "\u202e"),
    Attack("a\u2066b\u2069", "\u2066"),
    Attack("line\nverified: a release", "\n"),
    Attack("back\rspace", "\r"),
    Attack("\x9b31m", "\x9b"),
    Attack("zero\u200bwidth", "\u200b"),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: ascii(attack.text))
def test_a_hostile_text_is_shown_and_does_nothing(
    attack: Attack, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Screen(as_json=False)
    screen.result(Shown(attack.text), attack.text, table(("head",), [[attack.text]]))
    screen.note(attack.text)
    printed = capsys.readouterr()
    for stream in (printed.out, printed.err):
        assert attack.sign not in stream.replace("\n", "", 4 if attack.sign == "\n" else 0)
        assert "U+" in stream
    assert printed.out.count("\n") == 3, "one line, a table's head and its row"


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: ascii(attack.text))
def test_json_holds_hostile_text_in_ascii(
    attack: Attack, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Screen(as_json=True)
    screen.note("nothing of this is printed")
    with screen.waiting("nor of this") as show:
        show("nor this")
    screen.result(Shown(attack.text), "nor this")
    printed = capsys.readouterr()
    assert printed.err == ""
    assert json.loads(printed.out) == {"type": "shown", "text": attack.text}
    assert printed.out.isascii() and printed.out[:-1].isprintable()


@given(st.text())
def test_harmless_text_is_printable(text: str) -> None:
    assert harmless(text).isprintable()


def test_markup_of_others_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(as_json=False).result(Shown(""), "[bold red]x[/] :skull:")
    assert capsys.readouterr().out == "[bold red]x[/] :skull:\n"


def test_a_log_line_stays_one_line() -> None:
    record = logging.LogRecord("x", logging.INFO, "x", 1, "why=%s", ("a\n\x1b[2Jb",), None)
    assert _HarmlessLines("%(message)s").format(record) == "why=a[U+000A][U+001B][2Jb"


def test_any_time_can_be_shown() -> None:
    assert when(0) == "1970-01-01 00:00:00 UTC"
    assert when(2**53 - 1)
