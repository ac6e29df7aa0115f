"""Shamir with blame, and the one sealing suite."""

from __future__ import annotations

import json
from itertools import combinations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.aggregation.sharing import (
    FIELD,
    deal,
    false_holders_of,
    interpolate,
    open_sealed,
    parse_element,
    recover,
    seal,
    seal_info,
    sealing_keys,
    self_check,
)
from comity.errors import Forged, Malformed, MemberFault, MemberFaultKind, Unavailable
from comity.values import SEALED_BYTES, SEALING_KEY_BYTES, sealing_key_id, sha256, share_leaf

from .make_vectors import FOLDER

OPENED = sha256(b"opened")
element = st.integers(0, FIELD - 1)


def leaves_of(shares: tuple[bytes, ...], dealer: int = 1, kind: int = 0) -> list[bytes]:
    return [share_leaf(OPENED, dealer, x, kind, share) for x, share in enumerate(shares, start=1)]


@settings(deadline=None, max_examples=50)
@given(st.lists(element, min_size=1, max_size=8), st.integers(0, 5), st.randoms())
def test_any_t_shares_rebuild(coefficients: list[int], more: int, chance: object) -> None:
    t, n = len(coefficients), len(coefficients) + more
    shares = deal(coefficients, n)
    for seats in list(combinations(range(1, n + 1), t))[:20]:
        held = {seat: shares[seat - 1] for seat in seats}
        assert interpolate(held) == coefficients[0].to_bytes(32, "big")


@settings(deadline=None, max_examples=50)
@given(st.lists(element, min_size=2, max_size=6), element)
def test_t_minus_1_shares_fit_every_secret(coefficients: list[int], other: int) -> None:
    t = len(coefficients)
    shares = deal(coefficients, t + 2)
    known = {seat: shares[seat - 1] for seat in range(1, t)}
    # The polynomial through the known shares and another secret at 0 exists and is of degree < t.
    points = {**known, t + 3: interpolate({**known, 0: other.to_bytes(32, "big")}, t + 3)}
    assert interpolate(points) == other.to_bytes(32, "big")


def test_shares_of_200_with_t_134() -> None:
    shares = deal(list(range(1, 135)), 200)
    held = {seat: shares[seat - 1] for seat in range(60, 201)}
    recovered = recover(OPENED, 1, 0, held, leaves=leaves_of(shares), t=134)
    assert recovered.secret == (1).to_bytes(32, "big") and recovered.false_holders == ()


def test_a_wrong_share_blames_its_holder_and_does_not_stop_the_others() -> None:
    shares = deal([7, 8, 9], 5)
    held = {1: shares[0], 2: shares[2], 3: shares[2], 5: shares[4], 9: shares[0]}
    recovered = recover(OPENED, 1, 0, held, leaves=leaves_of(shares), t=3)
    assert recovered.secret == (7).to_bytes(32, "big")
    assert recovered.false_holders == (2, 9)
    assert false_holders_of(OPENED, 1, 0, held, leaves_of(shares)) == (2, 9)
    assert repr(recovered) == "Recovered"


def test_fewer_than_t_fitting_shares_wait_for_more() -> None:
    shares = deal([7, 8, 9], 5)
    held = {1: shares[0], 2: shares[1], 3: bytes(32)}
    with pytest.raises(Unavailable):
        recover(OPENED, 1, 0, held, leaves=leaves_of(shares), t=3)


def test_attack_23_a_false_dealing_is_blamed_from_every_subset() -> None:
    honest = deal([7, 8, 9], 5)
    steep = deal([7, 8, 9, 1], 5)
    spoiled = (*honest[:4], honest[0])
    out_of_range = (*honest[:4], (FIELD + 1).to_bytes(32, "big"))
    for shares in (steep, spoiled, out_of_range):
        leaves = leaves_of(shares)
        for seats in combinations(range(1, 6), 3):
            with pytest.raises(MemberFault) as caught:
                recover(OPENED, 1, 0, {x: shares[x - 1] for x in seats}, leaves=leaves, t=3)
            assert caught.value.kind is MemberFaultKind.BAD_DEALING
            assert caught.value.seats == (1,)
    for seats in combinations(range(1, 6), 3):
        held = {x: honest[x - 1] for x in seats}
        good = recover(OPENED, 1, 0, held, leaves=leaves_of(honest), t=3)
        assert good.secret == (7).to_bytes(32, "big")


def test_leaves_bind_dealer_holder_and_kind() -> None:
    shares = deal([7, 8], 3)
    held = {x: shares[x - 1] for x in (1, 2)}
    for leaves in (leaves_of(shares, dealer=2), leaves_of(shares, kind=1)):
        with pytest.raises(Unavailable):
            recover(OPENED, 1, 0, held, leaves=leaves, t=2)


@pytest.mark.parametrize(
    "bad", [b"", bytes(31), bytes(33), FIELD.to_bytes(32, "big"), b"\xff" * 32]
)
def test_attack_41_an_element_has_one_form(bad: bytes) -> None:
    assert parse_element((FIELD - 1).to_bytes(32, "big")) == FIELD - 1
    with pytest.raises(Malformed):
        parse_element(bad)


def test_sealing_round_trip_and_sizes() -> None:
    self_check()
    secret, public = sealing_keys(bytes(range(96)))
    assert len(public) == SEALING_KEY_BYTES and sealing_keys(bytes(range(96)))[1] == public
    info = seal_info(OPENED, 1, 2, sealing_key_id(public))
    sealed = seal(public, info, bytes(range(128)))
    assert len(sealed) == SEALED_BYTES and open_sealed(secret, info, sealed) == bytes(range(128))
    assert repr(secret) == "SealingSecret"


def test_the_golden_sealed_share_opens() -> None:
    golden = json.loads((FOLDER / "sealed-share.json").read_text())
    secret, public = sealing_keys(bytes.fromhex(golden["rand"]))
    assert public.hex() == golden["public"]
    opened = open_sealed(secret, bytes.fromhex(golden["info"]), bytes.fromhex(golden["sealed"]))
    assert opened.hex() == golden["plaintext"]


def test_the_info_of_a_sealed_share_is_the_one_written_down() -> None:
    parts = (b"comity/agg/v1/env", bytes.fromhex(OPENED), b"\x00\x01", b"\x00\x02", b"k" * 32)
    expected = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    assert seal_info(OPENED, 1, 2, b"k" * 32) == expected


def test_what_was_changed_or_meant_for_another_does_not_open() -> None:
    secret, public = sealing_keys(bytes(range(96)))
    stranger, other_public = sealing_keys(bytes(96))
    info = seal_info(OPENED, 1, 2, sealing_key_id(public))
    sealed = seal(public, info, bytes(128))
    for wrong in (
        seal_info(OPENED, 2, 1, sealing_key_id(public)),
        seal_info(OPENED, 1, 3, sealing_key_id(public)),
        seal_info(sha256(b"other"), 1, 2, sealing_key_id(public)),
        seal_info(OPENED, 1, 2, sealing_key_id(other_public)),
        b"",
    ):
        with pytest.raises(Forged):
            open_sealed(secret, wrong, sealed)
    with pytest.raises(Forged):
        open_sealed(stranger, info, sealed)
    for changed in (b"", sealed[:-1], sealed[:1000], sealed + b"\x00", b"\x00" * SEALED_BYTES):
        with pytest.raises(Forged):
            open_sealed(secret, info, changed)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, SEALED_BYTES - 1), st.integers(0, 7))
def test_any_flipped_bit_is_forged(at: int, bit: int) -> None:
    sealed = bytearray(SEALED)
    sealed[at] ^= 1 << bit
    with pytest.raises(Forged):
        open_sealed(SECRET, b"info", bytes(sealed))


SECRET, PUBLIC = sealing_keys(bytes(range(96)))
SEALED = seal(PUBLIC, b"info", bytes(128))


def test_attack_38_only_the_one_suite_opens() -> None:
    """A share sealed under another suite (X25519 alone) is not opened by ours."""
    weaker = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    sealed = weaker.encrypt(bytes(128), X25519PublicKey.from_public_bytes(PUBLIC[1184:]), b"info")
    with pytest.raises(Forged):
        open_sealed(SECRET, b"info", sealed)
    assert open_sealed(SECRET, b"info", SEALED) == bytes(128)
