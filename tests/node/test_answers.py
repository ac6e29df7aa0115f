"""Answers of a host have one reading; everything else is Malformed."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.errors import Malformed
from comity.node.answers import HostStatus as Status
from comity.node.answers import parse, read_batch, read_posted
from comity.values import CommonsId, MemberId, sha256

A, B = MemberId("member-a"), MemberId("member-b")
COMMONS = CommonsId(sha256(b"commons"))
BIG = bytes(range(256)) * 40_000  # more than two pieces
TOKEN = json.dumps({"token": "0" * 64, "expires_s": 3600}).encode()


def batch_bytes(*entries: bytes, count: int | None = None, start: int = 0) -> bytes:
    line: dict[str, object] = {
        "version": 1,
        "note": None,
        "cosignatures": [],
        "heads": [],
        "from": start,
        "count": len(entries) if count is None else count,
    }
    packed = b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
    return json.dumps(line).encode() + b"\n" + packed


def test_a_batch_has_one_reading() -> None:
    good = batch_bytes(b"one", b"")
    assert read_batch(good, 0).entries == (b"one", b"")
    for bad in (
        good[:-1],
        good + b"x",
        batch_bytes(b"one", count=2),
        batch_bytes(b"one", count=0),
        batch_bytes(count=2_049),
        batch_bytes(start=1),
        good.replace(b"\n", b""),
        b"\n" + good,
    ):
        with pytest.raises(Malformed):
            read_batch(bad, 0)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 199), st.integers(0, 255))
def test_parsers_raise_malformed_and_nothing_else(junk: bytes, at: int, byte: int) -> None:
    good = batch_bytes(b"one", b"two")
    bent = bytearray(good)
    bent[at % len(good)] = byte
    for body in (junk, bytes(bent), b'{"results":' + junk):
        for read in (
            lambda body=body: read_batch(body, 0),
            lambda body=body: read_posted(body, 1),
            lambda body=body: parse(body, Status),
        ):
            with suppress(Malformed):
                read()
