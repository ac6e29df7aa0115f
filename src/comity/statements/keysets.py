"""Which keys count and which signatures fit: one rule, so that every replay agrees.

Two members that disagree on one signature fork, and libraries do disagree on odd keys and odd
signatures. The rule is log-and-provenance.md 1.4: a key is a canonical encoding of a point of the
prime-order subgroup other than the identity; a signature has S < L and an R that is not of small
order; then `cryptography` decides. Also here: possession of the keys of a key set, and which
sealing and ephemeral keys of a round are valid (aggregation.md 5.2; integers and bytes only).
"""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from comity.errors import Forged
from comity.statements.entries import Statement
from comity.statements.governing import KeySet, Possession
from comity.statements.wire import Unverified, canonical, keyid_of
from comity.values import LOW_ORDER_X25519, SEALING_KEY_BYTES, Digest, raw, sha256

_PRIME: Final = 2**255 - 19
_GROUP_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
_CURVE_D: Final = -121665 * pow(121666, -1, _PRIME) % _PRIME
_ROOT_OF_MINUS_ONE: Final = pow(2, (_PRIME - 1) // 4, _PRIME)
_ORDER_8_Y: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SIGN_BIT: Final = 1 << 255
_SMALL_ORDER: Final = frozenset(
    encoded.to_bytes(32, "little")
    for encoded in (
        1,
        _PRIME - 1,
        0,
        _SIGN_BIT,
        _ORDER_8_Y,
        _ORDER_8_Y | _SIGN_BIT,
        _PRIME - _ORDER_8_Y,
        (_PRIME - _ORDER_8_Y) | _SIGN_BIT,
    )
)
"""The canonical encodings of the eight points of small order (1, 2, 4, 4, 8, 8, 8, 8)."""

_Point = tuple[int, int, int, int]
_IDENTITY: Final[_Point] = (0, 1, 1, 0)
_LATTICE_WORDS: Final = 768
_LATTICE_BYTES: Final = 1152
_LATTICE_PRIME: Final = 3329
_FILL: Final = sum((4096 - _LATTICE_PRIME) << 12 * place for place in range(_LATTICE_WORDS))
_CARRIES: Final = sum(1 << 12 * (place + 1) for place in range(_LATTICE_WORDS))


@lru_cache(maxsize=4096)
def public_key_fault(public_raw: bytes) -> str | None:
    """Why 32 bytes may not be an Ed25519 key in a commons; None when they may.

    Costs 2 ms the first time a key is seen. Source: log-and-provenance.md 1.4.
    """
    if len(public_raw) != 32:
        return f"an Ed25519 key has 32 bytes, not {len(public_raw)}"
    point = _decode(int.from_bytes(public_raw, "little"))
    if point is None:
        return "not the canonical encoding of a point of the curve"
    if public_raw in _SMALL_ORDER:
        return "a point of small order"
    if not _is_identity(_multiply(_GROUP_ORDER, point)):
        return "a point outside the prime-order subgroup"
    return None


def check_signature(public_raw: bytes, signature: bytes, message: bytes) -> None:
    """Check an Ed25519 signature by the one rule of all members.

    Args:
        public_raw: 32 bytes.
        signature: 64 bytes, R then S.
    Raises:
        Forged: the key, or the signature, does not keep the rule or does not fit.
    """
    loaded = _load_ed25519(public_raw)
    if len(signature) != 64:
        raise Forged(f"an Ed25519 signature has 64 bytes, not {len(signature)}")
    if int.from_bytes(signature[32:], "little") >= _GROUP_ORDER:
        raise Forged("the signature's S is not reduced: somebody changed it on its way")
    if signature[:32] in _SMALL_ORDER:
        raise Forged("the signature's R is of small order, which no honest signer makes")
    try:
        loaded.verify(signature, message)
    except InvalidSignature as error:
        raise Forged("the signature does not fit this key and these bytes") from error


def check_model_signature(public_raw: bytes, signature: bytes, message: bytes) -> None:
    """Check an ECDSA signature (P-256, SHA-256, DER) of a model key.

    Args:
        public_raw: 65 bytes, uncompressed point. signature: DER; both (r, s) and (r, n-s) fit.
    Raises:
        Forged: no such point, or the signature does not fit.
    """
    try:
        _load_p256(public_raw).verify(signature, message, ec.ECDSA(SHA256()))
    except InvalidSignature as error:
        raise Forged("the signature does not fit this model key and these bytes") from error


def check(unverified: Unverified, public_raw: bytes) -> Statement:
    """The statement, once its signature fits its author's statement key.

    Args:
        public_raw: the statement key of the author in the replayed state, 32 bytes. The envelope's
            keyid only says which key was meant; it never chooses one.
    Raises:
        Forged: made with another key, or not made with this one.
    """
    if unverified.keyid != keyid_of(public_raw):
        raise Forged("the keyid is not that of the author's statement key: ask for its keys again")
    check_signature(public_raw, unverified.signature, unverified.signed)
    return unverified.statement


def key_set_digest(key_set: KeySet) -> Digest:
    """What the charter pins: SHA-256 of the key set's canonical JSON."""
    return sha256(canonical(key_set))


def possession_text(key_set: KeySet) -> bytes:
    """What each key of a set signs to show that its owner holds it.

    Three lines in the form of a head (origin, size 0, root), so that a host key never signs
    anything that is not one; no log has such an origin.
    """
    digest = b64encode(raw(key_set_digest(key_set))).decode()
    return f"comity/possession/v1/{key_set.member}\n0\n{digest}\n".encode()


def make_possession(
    key_set: KeySet,
    *,
    head: Ed25519PrivateKey,
    host: Ed25519PrivateKey,
    model: ec.EllipticCurvePrivateKey,
    statement: Ed25519PrivateKey,
) -> Possession:
    """Sign with the four private keys of the set. The same keys give the same bytes (RFC 6979)."""
    text = possession_text(key_set)
    return Possession(
        head=head.sign(text),
        host=host.sign(text),
        model=model.sign(text, ec.ECDSA(SHA256(), deterministic_signing=True)),
        statement=statement.sign(text),
    )


def check_possession(key_set: KeySet, possession: Possession) -> None:
    """Check that whoever made the key set holds its four keys.

    Raises:
        Forged: a key breaks the rule, stands in two roles, or did not sign.
    """
    keys = key_set.keys
    text = possession_text(key_set)
    if len({keys.head, keys.host, keys.statement}) != 3:
        raise Forged(f"one key stands in two roles of {key_set.member}: each role has its own")
    check_signature(keys.head, possession.head, text)
    check_signature(keys.host, possession.host, text)
    check_signature(keys.statement, possession.statement, text)
    check_model_signature(keys.model, possession.model, text)


def sealing_key_valid(sealing_key: bytes) -> bool:
    """Whether members may seal shares to this key (aggregation.md 5.2): ML-KEM-768 || X25519.

    1216 bytes; each of the 768 twelve-bit numbers of the first 1152 is below 3329; the last 32
    are a valid `ephemeral_key_valid`. That the key is new in the commons is the fold's question.
    """
    if len(sealing_key) != SEALING_KEY_BYTES:
        return False
    numbers = int.from_bytes(sealing_key[:_LATTICE_BYTES], "little")
    # Adding 4096 - 3329 to all numbers at once carries out of one exactly if it is 3329 or more:
    # below the lowest such number there is no carry to disturb it.
    carried = (numbers + _FILL) ^ numbers ^ _FILL
    return not carried & _CARRIES and ephemeral_key_valid(sealing_key[-32:])


def ephemeral_key_valid(public_raw: bytes) -> bool:
    """Whether 32 bytes are a canonical X25519 key that is not of low order (5.2, 5.14)."""
    number = int.from_bytes(public_raw, "little")
    return len(public_raw) == 32 and number < _PRIME and number not in LOW_ORDER_X25519


@lru_cache(maxsize=4096)
def _load_ed25519(public_raw: bytes) -> Ed25519PublicKey:
    fault = public_key_fault(public_raw)
    if fault is not None:
        raise Forged(f"this Ed25519 key does not count: {fault}")
    return Ed25519PublicKey.from_public_bytes(public_raw)


@lru_cache(maxsize=1024)
def _load_p256(public_raw: bytes) -> ec.EllipticCurvePublicKey:
    try:
        if len(public_raw) != 65:
            raise ValueError
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_raw)
    except ValueError as error:
        raise Forged("a model key is 65 bytes, an uncompressed point of P-256") from error


def _decode(encoded: int) -> _Point | None:
    # RFC 8032 5.1.3, and refusing what is not canonical.
    sign, y = encoded >> 255, encoded & (_SIGN_BIT - 1)
    if y >= _PRIME:
        return None
    square = (y * y - 1) * pow(_CURVE_D * y * y + 1, -1, _PRIME) % _PRIME
    x = pow(square, (_PRIME + 3) // 8, _PRIME)
    if x * x % _PRIME != square:
        x = x * _ROOT_OF_MINUS_ONE % _PRIME
    if x * x % _PRIME != square or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _PRIME - x
    return (x, y, 1, x * y % _PRIME)


def _add(p: _Point, q: _Point) -> _Point:
    # RFC 8032 5.1.4: complete, so doubling is adding a point to itself.
    a = (p[1] - p[0]) * (q[1] - q[0]) % _PRIME
    b = (p[1] + p[0]) * (q[1] + q[0]) % _PRIME
    c = 2 * p[3] * q[3] * _CURVE_D % _PRIME
    d = 2 * p[2] * q[2] % _PRIME
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _PRIME, g * h % _PRIME, f * g % _PRIME, e * h % _PRIME)


def _multiply(factor: int, point: _Point) -> _Point:
    total = _IDENTITY
    for bit in bin(factor)[2:]:
        total = _add(total, total)
        if bit == "1":
            total = _add(total, point)
    return total


def _is_identity(point: _Point) -> bool:
    x, y, z, _ = point
    return x == 0 and y == z
