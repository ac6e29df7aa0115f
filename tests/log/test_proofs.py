"""Texts for outsiders: they come back as they were, and refuse what is not in form or not final."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from comity.errors import Forged, Malformed
from comity.log.heads import full_note, parse_signed_head
from comity.log.proofs import TlogProof, default_quorum, parse_tlog_proof, policy_text
from comity.values import MemberId
from tests.log.world import (
    HOST,
    KEYS,
    MEMBERS,
    ORIGIN,
    QUORUM,
    cosigned_by,
    entries_of,
    head_of,
    key_of,
    public_of,
    signed_of,
    tree_of,
)

A, B, C, D = MEMBERS
LOG = entries_of(11)
FINAL = parse_signed_head(full_note(signed_of(LOG), cosigned_by(head_of(LOG), A, B, C)))
SHOWN = TlogProof(6, tree_of(LOG).inclusion(6, 11), FINAL)
TEXT = SHOWN.text()
VECTORS = Path(__file__).parents[1] / "vectors" / "log" / "inclusion_text.json"


def test_an_entry_is_shown_under_a_final_head() -> None:
    for index, entry in enumerate(LOG):
        shown = TlogProof(index, tree_of(LOG).inclusion(index, 11), FINAL, extra=b"\x00" * index)
        read = parse_tlog_proof(shown.text())
        assert read == shown
        assert read.verify(entry, HOST, KEYS, QUORUM) == {A, B, C}
        with pytest.raises(Forged):
            read.verify(entry + b"!", HOST, KEYS, QUORUM)
        with pytest.raises((Malformed, Forged)):
            TlogProof(index ^ 1, shown.path, FINAL).verify(entry, HOST, KEYS, QUORUM)


def test_a_head_that_is_not_final_or_not_the_hosts_shows_nothing() -> None:
    SHOWN.verify(LOG[6], HOST, KEYS, QUORUM)
    with pytest.raises(Forged, match="not final"):
        SHOWN.verify(LOG[6], HOST, KEYS, 4)
    with pytest.raises(Forged, match="not final"):
        TlogProof(6, SHOWN.path, signed_of(LOG)).verify(LOG[6], HOST, KEYS, QUORUM)
    with pytest.raises(Forged, match="host"):
        SHOWN.verify(LOG[6], public_of(key_of(8)), KEYS, QUORUM)


def test_attack_36_cosigners_that_are_not_members_do_not_count() -> None:
    strangers = {MemberId(f"stranger-{n}"): public_of(key_of(40 + n)) for n in range(4)}
    with pytest.raises(Forged, match="not final"):
        SHOWN.verify(LOG[6], HOST, strangers, QUORUM)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"tlog-proof@v1", b"tlog-proof@v2"),
        (b"index 6", b"index 06"),
        (b"index 6", b"index -6"),
        (b"index 6", b"index 6 "),
        (b"index 6", b"index  6"),
        (b"index 6", b"Index 6"),
        (b"index 6\n", b""),
        (b"index 6", b"index 9999999999999"),
        (b"index 6", b"extra \nindex 6"),
        (b"index 6", b"extra AA\nindex 6"),
        (b"index 6", b"extra AAAA\nextra AAAA\nindex 6"),
        (b"index 6", b"more AAAA\nindex 6"),
        (b"index 6", b"index 6\r"),
        (b"index 6\n", b"index 6\nAAAA\n"),
        (b"index 6\n", b"index 6\n\n"),
        (b"index 6\n", b"index 6\n" + b"A" * 43 + b"=\n" + (b"A" * 43 + b"=\n") * 40),
        (b"index 6", "index ٦".encode()),
        (b"\n\ncomity", b"\ncomity"),
        (b"\n11\n", b"\n011\n"),
    ],
)
def test_attack_30_31_texts_out_of_form_are_refused(old: bytes, new: bytes) -> None:
    assert parse_tlog_proof(TEXT) == SHOWN
    assert old in TEXT
    with pytest.raises(Malformed):
        parse_tlog_proof(TEXT.replace(old, new, 1))


def test_a_text_has_a_limit() -> None:
    for extra in (b"A" * 2_000_000, b"A" * 80_000):
        with pytest.raises(Malformed):
            parse_tlog_proof(TEXT.replace(b"index", b"extra " + extra + b"\nindex", 1))


@given(st.binary(max_size=200))
@example(TEXT)
@example(b"c2sp.org/tlog-proof@v1\n\n")
@example(b"c2sp.org/tlog-proof@v1\nindex 0\n\n")
@example(b"\n\n")
def test_parser_raises_malformed_only(raw: bytes) -> None:
    with contextlib.suppress(Malformed):
        assert parse_tlog_proof(raw).text() == raw


@given(st.integers(0, len(TEXT) - 1), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_changes_what_nobody_signed(at: int, byte: int) -> None:
    raw = TEXT[:at] + bytes([byte]) + TEXT[at + 1 :]
    with contextlib.suppress(Malformed, Forged):
        read = parse_tlog_proof(raw)
        assert read.text() == raw
        # A changed name or key id makes a line unknown: never more members than before.
        assert read.verify(LOG[6], HOST, KEYS, QUORUM) <= {A, B, C}


def test_the_quorum_table_of_the_design() -> None:
    table = {2: 2, 3: 3, 4: 3, 5: 4, 6: 5, 7: 5, 10: 7, 20: 14, 50: 34, 200: 134}
    assert {members: default_quorum(members) for members in table} == table
    assert all(2 * default_quorum(members) > members for members in range(1, 201))
    assert all(default_quorum(members) <= members for members in range(1, 201))


def test_a_policy_names_the_log_and_every_member_once() -> None:
    keys = {A: KEYS[A], MemberId("members"): KEYS[B], MemberId("none"): KEYS[C]}
    text = policy_text(ORIGIN, HOST, keys, 2, urls={A: "https://a.example/log"})
    lines = [line.split() for line in text.splitlines()]
    assert [line[0] for line in lines] == ["log", *["witness"] * 3, "group", "quorum"]
    names = [line[1] for line in lines[1:4]]
    assert names == [A, "members_", "none_"]
    assert lines[1][3] == "https://a.example/log"
    assert lines[2][2].startswith("members+")
    assert lines[4] == ["group", "members", "2", *names]
    assert lines[5] == ["quorum", "members"]


def test_golden_vectors() -> None:
    golden = json.loads(VECTORS.read_text())
    host = public_of(key_of(golden["host_seed"]))
    keys = {MemberId(m["id"]): public_of(key_of(m["seed"])) for m in golden["members"]}
    shown = parse_tlog_proof(golden["text"].encode())
    assert shown.text().decode() == golden["text"]
    assert shown.index == golden["index"]
    entry = bytes.fromhex(golden["entry"])
    assert shown.verify(entry, host, keys, golden["quorum"]) == set(keys)
    origin = shown.signed.head.origin
    assert policy_text(origin, host, keys, golden["quorum"]) == golden["policy"]
