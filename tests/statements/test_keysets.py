"""Which keys count, which signatures fit, and who holds the keys of a set."""

from __future__ import annotations

import hashlib
import random
from base64 import b64decode

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from comity.errors import Forged
from comity.statements import keysets
from comity.statements.governing import KeySet, Possession
from comity.statements.keysets import (
    check,
    check_model_signature,
    check_possession,
    check_signature,
    ephemeral_key_valid,
    key_set_digest,
    make_possession,
    possession_text,
    public_key_fault,
    sealing_key_valid,
)
from comity.statements.wire import canonical, keyid_of, read, sign
from comity.values import LOW_ORDER_X25519, raw
from tests.statements.samples import (
    BODY_OF,
    HEAD,
    HOST,
    KEY_SET,
    MODEL,
    POSSESSION,
    PUBLIC,
    STATEMENT,
    draft_of,
)

PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493


def _encode(point: tuple[int, int, int, int]) -> bytes:
    inverse = pow(point[2], -1, PRIME)
    x, y = point[0] * inverse % PRIME, point[1] * inverse % PRIME
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _point(encoded: bytes) -> tuple[int, int, int, int]:
    point = keysets._decode(int.from_bytes(encoded, "little"))
    assert point is not None
    return point


@given(st.binary(min_size=32, max_size=32))
def test_honest_keys_count(seed: bytes) -> None:
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    assert public_key_fault(public) is None


def test_our_arithmetic_makes_the_keys_of_rfc_8032() -> None:
    """[s]B by our addition equals what cryptography derives from the same seed."""
    base = _point(bytes([0x58]) + bytes([0x66]) * 31)
    for number in range(4):
        seed = bytes([number]) * 32
        scalar = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
        scalar = scalar & (2**254 - 8) | 2**254
        expected = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        assert _encode(keysets._multiply(scalar, base)) == expected


def test_the_small_order_table_is_the_eight_point_torsion() -> None:
    """The multiples of one point of order eight, each canonical, and no ninth."""
    generator = next(
        point
        for encoded in keysets._SMALL_ORDER
        if not keysets._is_identity(keysets._multiply(4, point := _point(encoded)))
    )
    multiples = {_encode(keysets._multiply(factor, generator)) for factor in range(8)}
    assert multiples == keysets._SMALL_ORDER and len(multiples) == 8


@pytest.mark.parametrize("torsion", sorted(keysets._SMALL_ORDER))
def test_keys_of_small_or_mixed_order_do_not_count(torsion: bytes) -> None:
    assert public_key_fault(torsion) is not None
    mixed = _encode(keysets._add(_point(PUBLIC), _point(torsion)))
    is_identity = keysets._is_identity(_point(torsion))
    assert public_key_fault(mixed) == (
        None if is_identity else "a point outside the prime-order subgroup"
    )


@pytest.mark.parametrize(
    "number",
    [
        *range(PRIME, 2**255),  # all y that are not reduced
        *(number | 1 << 255 for number in range(PRIME, 2**255)),
        1 | 1 << 255,  # x = 0 with a sign
        (PRIME - 1) | 1 << 255,
        2,  # not on the curve
    ],
)
def test_other_encodings_do_not_count(number: int) -> None:
    assert public_key_fault(number.to_bytes(32, "little")) is not None


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_other_lengths_do_not_count(length: int) -> None:
    assert public_key_fault(bytes(length)) is not None
    with pytest.raises(Forged):
        check_signature(bytes(length), bytes(64), b"")


def test_only_the_signers_bytes_fit() -> None:
    signature = STATEMENT.sign(b"text")
    check_signature(PUBLIC, signature, b"text")
    for public, wrong, message in (
        (PUBLIC, signature, b"texu"),
        (KEY_SET.keys.head, signature, b"text"),
        (PUBLIC, signature[:-1], b"text"),
        (PUBLIC, signature + b"\0", b"text"),
        (PUBLIC, b"", b"text"),
        (PUBLIC, signature[32:] + signature[:32], b"text"),
    ):
        with pytest.raises(Forged):
            check_signature(public, wrong, message)


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=8))
def test_any_bytes_are_forged(public: bytes, signature: bytes, message: bytes) -> None:
    for made in (public, PUBLIC):
        with pytest.raises(Forged):
            check_signature(made, signature, message)
    for made in (public, KEY_SET.keys.model):
        with pytest.raises(Forged):
            check_model_signature(made, signature, message)


def test_a_model_key_is_an_uncompressed_point() -> None:
    signature = POSSESSION.model
    text = possession_text(KEY_SET)
    point = KEY_SET.keys.model
    check_model_signature(point, signature, text)
    compressed = bytes([2 + (point[-1] & 1)]) + point[1:33]
    hybrid = bytes([6 + (point[-1] & 1)]) + point[1:]
    off_curve = point[:-1] + bytes([point[-1] ^ 1])
    for wrong in (compressed, hybrid, off_curve, b"\0" * 65, point + b"\0", b"\0"):
        with pytest.raises(Forged):
            check_model_signature(wrong, signature, text)


def test_the_keyid_is_a_hint_that_must_be_right() -> None:
    unverified = read(sign(draft_of(BODY_OF["seen"]), STATEMENT))
    assert unverified.keyid == keyid_of(PUBLIC)
    assert check(unverified, PUBLIC) is unverified.statement
    with pytest.raises(Forged, match="keyid"):
        check(unverified, KEY_SET.keys.head)
    relabelled = msgspec.structs.replace(unverified, keyid=keyid_of(KEY_SET.keys.head))
    with pytest.raises(Forged, match="keyid"):
        check(relabelled, PUBLIC)
    with pytest.raises(Forged, match="does not fit"):
        check(relabelled, KEY_SET.keys.head)


def test_possession_of_all_four_keys_is_shown() -> None:
    check_possession(KEY_SET, POSSESSION)
    again = make_possession(KEY_SET, head=HEAD, host=HOST, model=MODEL, statement=STATEMENT)
    assert again == POSSESSION, "the same keys give the same bytes"


@pytest.mark.parametrize("role", ["head", "host", "model", "statement"])
def test_possession_fails_with_one_wrong_signature(role: str) -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)
    other_model = ec.derive_private_key(99, ec.SECP256R1())
    forged = make_possession(KEY_SET, head=other, host=other, model=other_model, statement=other)
    changed = msgspec.structs.replace(POSSESSION, **{role: getattr(forged, role)})
    with pytest.raises(Forged):
        check_possession(KEY_SET, changed)


def test_possession_is_of_this_set_only() -> None:
    """Another member, or another serial, with the same keys needs new signatures."""
    for changed in (
        msgspec.structs.replace(KEY_SET, serial=1),
        msgspec.structs.replace(KEY_SET, member="hospital-b"),
    ):
        with pytest.raises(Forged):
            check_possession(changed, POSSESSION)


@pytest.mark.parametrize("pair", [("head", "host"), ("head", "statement"), ("host", "statement")])
def test_one_key_has_one_role(pair: tuple[str, str]) -> None:
    """Even honestly signed: role separation is by key."""
    signers = {"head": HEAD, "host": HOST, "statement": STATEMENT}
    signers[pair[1]] = signers[pair[0]]
    keys = msgspec.structs.replace(
        KEY_SET.keys, **{role: key.public_key().public_bytes_raw() for role, key in signers.items()}
    )
    doubled = KeySet(keys=keys, member=KEY_SET.member, serial=0)
    possession: Possession = make_possession(doubled, model=MODEL, **signers)
    with pytest.raises(Forged, match="two roles"):
        check_possession(doubled, possession)


def test_what_a_host_key_signs_has_the_form_of_a_head() -> None:
    lines = possession_text(KEY_SET).decode().split("\n")
    assert lines[0] == "comity/possession/v1/hospital-a"
    assert lines[1] == "0" and lines[3:] == [""] and len(lines[2]) == 44
    assert key_set_digest(KEY_SET) == hashlib.sha256(canonical(KEY_SET)).hexdigest()


GOOD = MLKEM768PrivateKey.from_seed_bytes(bytes(64)).public_key().public_bytes_raw()
X25519 = X25519PrivateKey.from_private_bytes(bytes([1]) * 32).public_key().public_bytes_raw()


def _with_number(place: int, number: int) -> bytes:
    lattice = int.from_bytes(GOOD[:1152], "little")
    lattice &= ~(0xFFF << 12 * place)
    lattice |= number << 12 * place
    return lattice.to_bytes(1152, "little") + GOOD[1152:] + X25519


def test_made_sealing_keys_are_valid() -> None:
    for number in range(20):
        lattice = MLKEM768PrivateKey.from_seed_bytes(bytes([number]) * 64).public_key()
        assert sealing_key_valid(lattice.public_bytes_raw() + X25519)


@pytest.mark.parametrize("place", [0, 1, 2, 383, 766, 767])
def test_each_number_of_a_sealing_key_is_reduced(place: int) -> None:
    for number in (0, 1, 3_328):
        assert sealing_key_valid(_with_number(place, number))
    for number in (3_329, 3_330, 4_095):
        assert not sealing_key_valid(_with_number(place, number))


@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.integers(0, 767), st.integers(3_325, 4_095)), max_size=3),
)
def test_the_fast_rule_is_the_plain_rule(seed: int, changes: list[tuple[int, int]]) -> None:
    """768 numbers, two in three bytes, low bits first (FIPS 203, ByteEncode of 12 bits)."""
    numbers = random.Random(seed).choices(range(3_329), k=768)
    for place, number in changes:
        numbers[place] = number
    packed = bytearray()
    for low, high in zip(numbers[::2], numbers[1::2], strict=True):
        packed += bytes([low & 255, low >> 8 | (high & 15) << 4, high >> 4])
    expected = all(number < 3_329 for number in numbers)
    assert sealing_key_valid(bytes(packed) + bytes(32) + X25519) is expected


def test_a_sealing_key_has_1216_bytes() -> None:
    good = GOOD + X25519
    assert sealing_key_valid(good)
    for wrong in (b"", good[:-1], good + b"\0", good[1:]):
        assert not sealing_key_valid(wrong)


@pytest.mark.parametrize("number", sorted(LOW_ORDER_X25519))
def test_points_of_low_order_are_no_ephemeral_keys(number: int) -> None:
    wrong = number.to_bytes(32, "little")
    assert not ephemeral_key_valid(wrong) and not sealing_key_valid(GOOD + wrong)
    assert ephemeral_key_valid((9).to_bytes(32, "little"))


@pytest.mark.parametrize("number", [PRIME, PRIME + 9, 2**255 - 1, 2**255 + 9, 2**256 - 1])
def test_other_encodings_are_no_ephemeral_keys(number: int) -> None:
    assert not ephemeral_key_valid(number.to_bytes(32, "little"))
    assert not ephemeral_key_valid(X25519[:-1]) and not ephemeral_key_valid(X25519 + b"\0")
    assert ephemeral_key_valid((PRIME - 2).to_bytes(32, "little"))


def test_possession_text_names_the_digest() -> None:
    line = possession_text(KEY_SET).split(b"\n")[2]
    assert b64decode(line) == raw(key_set_digest(KEY_SET))
