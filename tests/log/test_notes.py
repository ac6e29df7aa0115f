"""Signed notes: what is written comes back byte for byte, and nothing out of form comes in."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from comity.errors import Forged, Malformed
from comity.log.notes import (
    ED25519_COSIGNATURE,
    ED25519_NOTE,
    ML_DSA_COSIGNATURE,
    Note,
    SignatureLine,
    VerifierKey,
    check_key_name,
    decode_base64,
    parse_note,
    parse_signature_line,
    parse_verifier_key,
    verify_ed25519,
)
from comity.values import NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX
from tests.log.world import HOST, HOST_KEY

LINE = SignatureLine("uni-a", b"\x00\x01\x02\x03", bytes(64))
GOOD = Note(b"a text\nof two lines\n", (LINE,)).note()

names = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1
).filter(lambda name: len(name) <= 256 and "+" not in name and not any(c.isspace() for c in name))
lines = st.builds(
    SignatureLine, names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80)
)


@given(st.lists(lines, min_size=1, max_size=5))
def test_a_note_comes_back_as_it_was(given_lines: list[SignatureLine]) -> None:
    note = Note("text with\n\nempty line, é\n".encode(), tuple(given_lines))
    assert parse_note(note.note()) == note
    for line in given_lines:
        assert parse_signature_line(line.line()) == line


@given(st.binary(max_size=300) | st.text().map(lambda text: text.encode("utf-8", "replace")))
@example(GOOD)
@example(GOOD[:-1])
@example(b"\n\n\n")
@example("t\n\n— a =\n".encode())
def test_parsers_raise_malformed_only_and_write_back_what_they_take(raw: bytes) -> None:
    with contextlib.suppress(Malformed):
        assert parse_note(raw).note() == raw
    with contextlib.suppress(Malformed):
        assert parse_signature_line(raw).line() == raw


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_one_changed_byte_is_another_note_or_none(at: int, byte: int) -> None:
    raw = GOOD[:at] + bytes([byte]) + GOOD[at + 1 :]
    with contextlib.suppress(Malformed):
        assert parse_note(raw).note() == raw


@given(st.text())
@example(VerifierKey("a", ED25519_NOTE, bytes(32)).text())
def test_verifier_key_texts_raise_malformed_or_forged_only(text: str) -> None:
    with contextlib.suppress(Malformed, Forged):
        assert parse_verifier_key(text).text() == text


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(GOOD.replace(b"a text\n", b"a text\r\n"), id="carriage return"),
        pytest.param(GOOD.replace(b"a text", b"a\x00text"), id="NUL"),
        pytest.param(GOOD.replace(b"a text", b"a\ttext"), id="tab"),
        pytest.param(GOOD[:-1], id="no final newline"),
        pytest.param(GOOD + b"\n", id="blank line at the end"),
        pytest.param(GOOD + b"x\n", id="a line that is no signature"),
        pytest.param(GOOD.replace(b"\n\n", b"\n"), id="no blank line"),
        pytest.param(b"a text\n\n", id="no signature"),
        pytest.param(b"", id="nothing"),
        pytest.param(GOOD.replace(b"a text", b"a \xff text"), id="not UTF-8"),
        pytest.param(GOOD.replace("—".encode(), b"-"), id="hyphen for em dash"),
        pytest.param(GOOD.replace(b" uni-a", b"  uni-a"), id="two spaces"),
        pytest.param(GOOD.replace(b"uni-a ", b"uni-a  "), id="two spaces after the name"),
        pytest.param(GOOD.replace(b"uni-a ", b"uni-a"), id="no space"),
        pytest.param(GOOD.replace(b"uni-a", b"uni+a"), id="plus in the name"),
        pytest.param(GOOD.replace(b"uni-a", "uni\u00a0a".encode()), id="no-break space in a name"),
        pytest.param(GOOD.replace(b"uni-a", b""), id="no name"),
        pytest.param(GOOD.replace(b"uni-a", b"u" * 257), id="name too long"),
    ],
)
def test_attack_31_note_tricks_are_refused(raw: bytes) -> None:
    parse_note(GOOD)
    assert raw != GOOD
    with pytest.raises(Malformed):
        parse_note(raw)


@pytest.mark.parametrize(
    "text",
    [
        "AAECAw",  # padding missing
        "AAECAw=",
        "AAECAx==",  # spare bits set
        "AAEC Aw==",
        "AAECAw==\n",
        "AAEC-w==",  # URL-safe letters
        "AAECAw==AAAA",
        "====",
        "é===",
        "\ud800",
    ],
)
def test_attack_30_base64_has_one_form(text: str) -> None:
    assert decode_base64("AAECAw==", "test") == b"\x00\x01\x02\x03"
    assert decode_base64("", "test") == b""
    with pytest.raises(Malformed, match="test: not canonical base64"):
        decode_base64(text, "test")


def test_a_signature_line_holds_more_than_a_key_id() -> None:
    line = b"\xe2\x80\x94 uni-a " + base64.b64encode(bytes(4)) + b"\n"
    with pytest.raises(Malformed):
        parse_signature_line(line)
    for raw in (LINE.line()[:-1], LINE.line() * 2, b"", LINE.line() + b"x", b"a" * 2_000_000):
        with pytest.raises(Malformed):
            parse_signature_line(raw)


def test_attack_19_at_most_512_lines_and_1_mib() -> None:
    most = Note(b"t\n", (LINE,) * NOTE_SIGNATURES_MAX)
    assert parse_note(most.note()) == most
    with pytest.raises(Malformed, match="512"):
        parse_note(Note(b"t\n", (LINE,) * (NOTE_SIGNATURES_MAX + 1)).note())
    room = NOTE_BYTES_MAX - len(Note(b"\n", (LINE,)).note())
    full = Note(b"t" * room + b"\n", (LINE,)).note()
    assert len(full) == NOTE_BYTES_MAX
    parse_note(full)
    with pytest.raises(Malformed, match=str(NOTE_BYTES_MAX)):
        parse_note(b"t" + full)


@pytest.mark.parametrize("key_type", [ED25519_NOTE, ED25519_COSIGNATURE, ML_DSA_COSIGNATURE])
def test_verifier_keys_as_text(key_type: int) -> None:
    public = bytes(1312 if key_type == ML_DSA_COSIGNATURE else 32)
    key = VerifierKey("example.org/log", key_type, public)
    assert parse_verifier_key(key.text()) == key
    name, key_id, value = key.text().split("+", 2)
    wrong = f"{int(key_id, 16) ^ 1:08x}"
    with pytest.raises(Forged):
        parse_verifier_key(f"{name}+{wrong}+{value}")
    with pytest.raises(Forged):
        parse_verifier_key(f"other+{key_id}+{value}")
    for bad in (
        f"{name}+{key_id[:7]}+{value}",
        f"{name}+{key_id.upper()}A+{value}",
        f"+{key_id}+{value}",
        f"{name}+{key_id}+",
        f"{name}+{key_id}+{value}AAAA",
        f"{name}+{key_id}+{value}\n",
        f"{name}+{key_id}",
        VerifierKey(name, 0x02, public).text(),
        VerifierKey(name, key_type, public[1:]).text(),
    ):
        with pytest.raises(Malformed):
            parse_verifier_key(bad)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n", "a\x00", "\ud800", "a\u2028", "x" * 257])
def test_key_names(name: str) -> None:
    check_key_name("sigsum.example/é")
    with pytest.raises(Malformed):
        check_key_name(name)


def test_attack_21_a_signature_that_does_not_fit_or_is_odd_is_forged() -> None:
    signature = HOST_KEY.sign(b"text")
    verify_ed25519(HOST, signature, b"text", "host")
    for public, given_signature, text in (
        (HOST, signature, b"Text"),
        (HOST, signature[:63], b"text"),
        (HOST, b"", b"text"),
        (HOST, signature[:32] + bytes(31) + b"\xff", b"text"),
        (HOST, b"\x01" + bytes(31) + signature[32:], b"text"),
        (HOST[:31], signature, b"text"),
        (bytes(31) + b"\x01", signature, b"text"),
    ):
        with pytest.raises(Forged, match="host: "):
            verify_ed25519(public, given_signature, text, "host")
