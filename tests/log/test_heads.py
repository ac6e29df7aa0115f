"""Heads, cosignatures and finality: the honest case, then each attack with its exact refusal."""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from comity.errors import Forged, Malformed
from comity.log.heads import (
    Cosignature,
    SignedHead,
    TreeHead,
    cosign,
    cosignatures_in,
    final_members,
    full_note,
    is_final,
    newest_quorum_time,
    origin_of,
    parse_cosignature,
    parse_signed_head,
    parse_tree_head,
    sign_head,
    verify_cosignature,
    verify_host,
)
from comity.log.merkle import EMPTY_ROOT
from comity.log.notes import ML_DSA_COSIGNATURE, SignatureLine, note_key_id
from comity.values import LOG_SIZE_MAX, CommonsId, MemberId, sha256
from tests.log.world import (
    HEAD_KEYS,
    HOST,
    HOST_KEY,
    KEYS,
    MEMBERS,
    NOW_S,
    ORIGIN,
    QUORUM,
    cosigned_by,
    entries_of,
    head_of,
    key_of,
    public_of,
    signed_of,
)

A, B, C, D = MEMBERS
HEAD = head_of(entries_of(5))
SIGNED = sign_head(HEAD, HOST_KEY)
OTHER = head_of(entries_of(5, "other"))
VECTORS = Path(__file__).parents[1] / "vectors" / "log" / "heads.json"

heads = st.builds(
    TreeHead,
    st.sampled_from([ORIGIN, "example.org/log", "a"]),
    st.integers(1, LOG_SIZE_MAX),
    st.binary(min_size=32, max_size=32),
)


@given(heads)
def test_a_head_comes_back_as_it_was(head: TreeHead) -> None:
    assert parse_tree_head(head.text()) == head
    signed = sign_head(head, HOST_KEY)
    assert parse_signed_head(signed.note()) == signed
    verify_host(signed, HOST)


@given(st.binary(max_size=200))
@example(HEAD.text())
def test_head_parser_raises_malformed_only(raw: bytes) -> None:
    with contextlib.suppress(Malformed):
        assert parse_tree_head(raw).text() == raw
    with contextlib.suppress(Malformed):
        assert parse_signed_head(raw).note() == raw
    with contextlib.suppress(Malformed):
        assert parse_cosignature(raw).line() == raw


def test_every_changed_byte_of_a_signed_head_is_refused() -> None:
    note = SIGNED.note()
    for at in range(len(note)):
        for byte in {0, note[at] ^ 1, note[at] ^ 0x20, 0xFF} - {note[at]}:
            with pytest.raises((Malformed, Forged)):
                verify_host(parse_signed_head(note[:at] + bytes([byte]) + note[at + 1 :]), HOST)


def test_the_empty_log_has_a_head() -> None:
    head = TreeHead(ORIGIN, 0, EMPTY_ROOT)
    assert parse_tree_head(head.text()) == head
    with pytest.raises(Malformed, match="empty log"):
        parse_tree_head(HEAD.text().replace(b"\n5\n", b"\n0\n"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("\n5\n", "\n05\n", id="leading zero"),
        pytest.param("\n5\n", "\n+5\n", id="plus sign"),
        pytest.param("\n5\n", "\n-5\n", id="minus sign"),
        pytest.param("\n5\n", "\n5 \n", id="space"),
        pytest.param("\n5\n", "\n\n", id="no size"),
        pytest.param("\n5\n", "\n٥\n", id="other digits"),
        pytest.param("\n5\n", f"\n{LOG_SIZE_MAX + 1}\n", id="too large"),
        pytest.param("\n5\n", "\n" + "9" * 5000 + "\n", id="5,000 digits"),
        pytest.param("\n5\n", "\n5\r\n", id="carriage return"),
        pytest.param("=\n", "=\nextension\n", id="extension line"),
        pytest.param("=\n", "=\n\n", id="empty line"),
        pytest.param("=\n", "=", id="no final newline"),
        pytest.param("=\n", "\n", id="no padding"),
        pytest.param("comity/", "comity /", id="space in the origin"),
        pytest.param("comity/", "comity+", id="plus in the origin"),
        pytest.param("comity/", "\x00comity/", id="NUL"),
        pytest.param("comity/", "\x7fcomity/", id="delete"),
        pytest.param("comity/", "comíty/", id="not ASCII"),
        pytest.param(ORIGIN, "", id="no origin"),
    ],
)
def test_attack_31_heads_out_of_form_are_refused(old: str, new: str) -> None:
    text = HEAD.text().decode()
    assert old in text
    with pytest.raises(Malformed):
        parse_tree_head(text.replace(old, new).encode())


@pytest.mark.parametrize("length", [0, 31, 33])
def test_attack_31_a_root_is_32_bytes(length: int) -> None:
    text = TreeHead("a", 1, bytes(32)).text().split(b"\n")
    text[2] = base64.b64encode(bytes(length))
    with pytest.raises(Malformed, match="32 bytes"):
        parse_tree_head(b"\n".join(text))


def test_attack_30_a_root_in_another_base64_is_refused() -> None:
    text = HEAD.text()
    root = text.split(b"\n")[2]
    spare = root[:-2] + bytes([root[-2] + 1]) + b"="
    for bad in (root[:-1], spare, root + b"=", root.replace(b"+", b"-").replace(b"/", b"_") + b" "):
        with pytest.raises(Malformed, match="canonical base64"):
            parse_tree_head(text.replace(root, bad))


def test_attack_35_a_head_signed_by_another_than_the_host_at_that_size() -> None:
    former_key = key_of(8)
    verify_host(SIGNED, HOST)
    with pytest.raises(Forged, match="no signature by the host"):
        verify_host(sign_head(HEAD, former_key), HOST)
    with pytest.raises(Forged, match="no signature by the host"):
        verify_host(SIGNED, public_of(former_key))


def test_attack_20_a_key_id_is_a_hint_and_the_key_decides() -> None:
    # The attack: a line that carries the host's key id, made with another key.
    line = SignatureLine(ORIGIN, SIGNED.lines[0].key_id, key_of(8).sign(HEAD.text()))
    with pytest.raises(Forged, match="does not fit"):
        verify_host(SignedHead(HEAD, (line,)), HOST)
    posed = cosign(HEAD, A, key_of(77), NOW_S).signature
    collided = Cosignature(A, cosigned_by(HEAD, A)[0].key_id, NOW_S, posed)
    with pytest.raises(Forged, match="does not fit"):
        verify_cosignature(HEAD, collided, KEYS[A])


def test_attack_17_two_lines_of_the_host_are_refused() -> None:
    with pytest.raises(Malformed, match="two lines"):
        verify_host(SignedHead(HEAD, SIGNED.lines * 2), HOST)


def test_attack_9_a_head_of_another_commons_does_not_verify_as_ours() -> None:
    other = origin_of(CommonsId(sha256(b"another charter")))
    moved = SignedHead(
        TreeHead(ORIGIN, HEAD.size, HEAD.root), signed_of(entries_of(5), other).lines
    )
    with pytest.raises(Forged):
        verify_host(moved, HOST)


def test_attack_23_signatures_do_not_serve_another_purpose() -> None:
    # A cosignature is not a host signature even with one key for both, nor the other way round.
    cosignature = cosign(HEAD, A, HOST_KEY, NOW_S)
    as_host = SignatureLine(ORIGIN, SIGNED.lines[0].key_id, cosignature.signature)
    with pytest.raises(Forged):
        verify_host(SignedHead(HEAD, (as_host,)), HOST)
    as_member = Cosignature(A, cosignature.key_id, NOW_S, SIGNED.lines[0].signature)
    with pytest.raises(Forged):
        verify_cosignature(HEAD, as_member, HOST)
    verify_cosignature(HEAD, cosignature, HOST)


def test_a_cosignature_is_of_one_head_one_time_and_one_key() -> None:
    good = cosigned_by(HEAD, A)[0]
    verify_cosignature(HEAD, good, KEYS[A])
    assert parse_cosignature(good.line()) == good
    for head, cosignature, public in (
        (OTHER, good, KEYS[A]),
        (head_of(entries_of(4)), good, KEYS[A]),
        (HEAD, Cosignature(A, good.key_id, NOW_S + 1, good.signature), KEYS[A]),
        (HEAD, Cosignature(B, good.key_id, NOW_S, good.signature), KEYS[A]),
        (HEAD, good, KEYS[B]),
    ):
        with pytest.raises(Forged):
            verify_cosignature(head, cosignature, public)


@pytest.mark.parametrize(
    "line",
    [
        SignatureLine("hospital-a", bytes(4), bytes(71) + b"\x01"),  # time 0
        SignatureLine("hospital-a", bytes(4), b"\xff" * 72),  # time above 2**53
        SignatureLine("hospital-a", bytes(4), b"\x01" * 71),
        SignatureLine("hospital-a", bytes(4), b"\x01" * 73),
        SignatureLine("Hospital/A", bytes(4), bytes(7) + b"\x01" * 65),
    ],
)
def test_cosignature_lines_out_of_form(line: SignatureLine) -> None:
    with pytest.raises(Malformed):
        parse_cosignature(line.line())


def test_a_quorum_makes_a_head_final() -> None:
    for count in range(5):
        given_members = MEMBERS[:count]
        cosignatures = cosigned_by(HEAD, *given_members)
        assert final_members(HEAD, cosignatures, KEYS) == set(given_members)
        assert is_final(HEAD, cosignatures, KEYS, QUORUM) == (count >= QUORUM)


def test_attack_17_a_quorum_is_counted_by_member() -> None:
    two = cosigned_by(HEAD, A, B)
    # Repeated lines, also at another time, of one key.
    for again in (two[0], cosigned_by(HEAD, A, time_s=NOW_S + 1)[0]):
        with pytest.raises(Malformed, match="two cosignatures"):
            is_final(HEAD, [*two, again], KEYS, QUORUM)
    # A second key of a member, and a member's key under a name nobody has.
    second_key = cosign(HEAD, A, key_of(77), NOW_S)
    stranger = cosign(HEAD, MemberId("hospital-z"), HEAD_KEYS[A], NOW_S)
    # A member's key under another member's name: another key id, so a line of no known key.
    posing = cosign(HEAD, C, HEAD_KEYS[A], NOW_S)
    inflated = [*two, second_key, stranger, posing]
    assert final_members(HEAD, inflated, KEYS) == {A, B}
    assert not is_final(HEAD, inflated, KEYS, QUORUM)
    # One key under two registered names is our own bug: registration refuses it.
    with pytest.raises(AssertionError):
        final_members(HEAD, two, {**KEYS, D: KEYS[A]})


def test_attack_18_a_failing_known_key_refuses_the_whole_set() -> None:
    good = cosigned_by(HEAD, *MEMBERS)
    bad = cosigned_by(OTHER, A)[0]
    assert is_final(HEAD, good, KEYS, QUORUM)
    with pytest.raises(Forged, match="hospital-a"):
        is_final(HEAD, [bad, *good[1:]], KEYS, QUORUM)
    # Also when it is not even in the form of a cosignature.
    line = SignatureLine(A, good[0].key_id, b"short")
    with pytest.raises(Malformed):
        cosignatures_in(SignedHead(HEAD, (*SIGNED.lines, line)), KEYS)


def test_attack_19_unknown_lines_are_kept_and_ignored() -> None:
    grease = SignatureLine("grease.example/é", b"\x01\x02\x03\x04", b"?")
    post_quantum = SignatureLine(
        A, note_key_id(A, ML_DSA_COSIGNATURE, bytes(1312)), bytes(8) + bytes(2420)
    )
    known = cosigned_by(HEAD, A, B, C)
    lines = (grease, *SIGNED.lines, post_quantum, *(c.signature_line() for c in known), grease)
    raw = SignedHead(HEAD, lines).note()
    signed = parse_signed_head(raw)
    assert signed.note() == raw
    verify_host(signed, HOST)
    assert list(cosignatures_in(signed, KEYS)) == known
    assert is_final(HEAD, cosignatures_in(signed, KEYS), KEYS, QUORUM)


def test_full_note_holds_every_line_once() -> None:
    early, late = cosigned_by(HEAD, A, B), cosigned_by(HEAD, B, C, time_s=NOW_S + 9)
    once = parse_signed_head(full_note(SIGNED, early))
    raw = full_note(once, late)
    assert cosignatures_in(parse_signed_head(raw), KEYS) == (early[0], *late)
    assert raw.startswith(SIGNED.note())
    assert full_note(SIGNED, []) == SIGNED.note()


def test_attack_6_freshness_is_the_time_a_quorum_was_there() -> None:
    cosignatures = [
        *cosigned_by(HEAD, A, time_s=NOW_S),
        *cosigned_by(HEAD, B, time_s=NOW_S + 50),
        *cosigned_by(HEAD, C, time_s=NOW_S + 20),
    ]
    assert newest_quorum_time(HEAD, cosignatures, KEYS, QUORUM) == NOW_S
    assert newest_quorum_time(HEAD, cosignatures[1:], KEYS, QUORUM) is None
    # A single member that lies about the time does not make an old head look fresh.
    liar = cosigned_by(HEAD, D, time_s=NOW_S + 10_000_000)
    assert newest_quorum_time(HEAD, cosignatures + liar, KEYS, QUORUM) == NOW_S + 20


def test_a_quorum_of_half_is_our_own_bug() -> None:
    with pytest.raises(AssertionError):
        is_final(HEAD, [], KEYS, 2)


def test_golden_vectors() -> None:
    golden = json.loads(VECTORS.read_text())
    host = key_of(golden["host_seed"])
    head = TreeHead(golden["origin"], golden["size"], bytes.fromhex(golden["root"]))
    assert head.text().decode() == golden["text"]
    signed = sign_head(head, host)
    assert signed.note().decode() == golden["note"]
    cosignatures = [
        cosign(head, MemberId(c["member"]), key_of(c["seed"]), c["time_s"])
        for c in golden["cosignatures"]
    ]
    assert [c.line().decode() for c in cosignatures] == [c["line"] for c in golden["cosignatures"]]
    assert full_note(signed, cosignatures).decode() == golden["full_note"]
    for bad in golden["bad_notes"]:
        with pytest.raises(Malformed):
            parse_signed_head(bad["note"].encode())
