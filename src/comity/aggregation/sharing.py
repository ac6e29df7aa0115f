"""Shamir sharing over 2**255 - 19 with blame, and sealing shares to a member (HPKE, hybrid).

Decided here: how a secret is dealt and rebuilt, whose fault a wrong share is (aggregation.md 5.8),
and the one sealing suite: MLKEM768-X25519 (0x647A), HKDF-SHA256, AES-256-GCM. Encapsulation draws
its own randomness inside the library; all else is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, final

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from comity.errors import (
    Forged,
    Malformed,
    MemberFault,
    MemberFaultKind,
    Misconfigured,
    Unavailable,
)
from comity.values import (
    SEALED_BYTES,
    SEALING_KEY_BYTES,
    Digest,
    length_prefixed,
    raw,
    same_bytes,
    share_leaf,
    u16,
)

FIELD: Final = 2**255 - 19
SHARE_BYTES: Final = 32
SEALING_RAND_BYTES: Final = 96
BETA: Final = 0
"""Kind of secret: of the self mask."""
SIGMA: Final = 1
"""Kind of secret: of the ephemeral key."""
MU: Final = 2
"""Kind of secret: of the secrets m."""
_MLKEM_SEED_BYTES: Final = 64
_MLKEM_PUBLIC_BYTES: Final = 1_184


# --- Shamir ---------------------------------------------------------------------------------------


def parse_element(element: bytes) -> int:
    """A share or scalar: 32 bytes big-endian below 2**255 - 19.

    Raises:
        Malformed: another length, or not below the prime.
    """
    number = int.from_bytes(element, "big")
    if len(element) != SHARE_BYTES or number >= FIELD:
        raise Malformed("a share is 32 bytes big-endian below 2**255 - 19")
    return number


def deal(coefficients: Sequence[int], n: int) -> tuple[bytes, ...]:
    """The shares f(1) .. f(n) of f(0) = coefficients[0]; any len(coefficients) of them rebuild it.

    Args:
        coefficients: of x^0, x^1, ..., each below 2**255 - 19; t of them.
        n: seats; n >= t.
    """
    assert 1 <= len(coefficients) <= n and all(0 <= number < FIELD for number in coefficients)
    shares = []
    for x in range(1, n + 1):
        value = 0
        for coefficient in reversed(coefficients):
            value = (value * x + coefficient) % FIELD
        shares.append(value.to_bytes(SHARE_BYTES, "big"))
    return tuple(shares)


def interpolate(shares: Mapping[int, bytes], x: int = 0) -> bytes:
    """The value at `x` of the polynomial of least degree through the shares (seat -> share)."""
    seats = tuple(sorted(shares))
    values = [parse_element(shares[seat]) for seat in seats]
    return _dot(_lagrange(seats, x), values)


@final
@dataclass(frozen=True, slots=True, repr=False)
class Recovered:
    """A rebuilt secret, and the holders whose shares did not fit their leaves."""

    secret: bytes
    false_holders: tuple[int, ...]

    def __repr__(self) -> str:
        return "Recovered"


def recover(
    opened: Digest,
    dealer: int,
    kind: int,
    shares: Mapping[int, bytes],
    *,
    leaves: Sequence[bytes],
    t: int,
) -> Recovered:
    """Rebuild one secret of a dealer; every t-subset of fitting shares gives the same verdict.

    Args:
        opened: hash of the Open.
        dealer: seat of the dealer.
        kind: 0 beta, 1 sigma, 2 mu.
        shares: seat of the holder -> share, as revealed.
        leaves: all n share leaves of this kind from the dealer's rows, in seat order.
        t: Shamir threshold.

    Raises:
        Unavailable: fewer than t shares fit; the holders of the others are named in
            `false_holders_of`.
        MemberFault(BAD_DEALING): the leaves are not those of one polynomial of degree below t.
    """
    good = _fitting(opened, dealer, kind, shares, leaves)
    if len(good) < t:
        raise Unavailable(f"{t} shares that fit are needed, {len(good)} are here; wait for more")
    seats = tuple(sorted(good))[:t]
    try:
        values = [parse_element(good[seat]) for seat in seats]
    except Malformed:
        # It fits the dealer's leaf, so the dealer dealt it.
        raise _bad_dealing(dealer) from None
    for seat, leaf in enumerate(leaves, start=1):
        share = _dot(_lagrange(seats, seat), values)
        if not same_bytes(share_leaf(opened, dealer, seat, kind, share), leaf):
            raise _bad_dealing(dealer)
    false_holders = tuple(sorted(set(shares) - set(good)))
    return Recovered(_dot(_lagrange(seats, 0), values), false_holders)


def false_holders_of(
    opened: Digest, dealer: int, kind: int, shares: Mapping[int, bytes], leaves: Sequence[bytes]
) -> tuple[int, ...]:
    """The seats whose share does not fit its leaf: their holders lied."""
    return tuple(sorted(set(shares) - set(_fitting(opened, dealer, kind, shares, leaves))))


def _fitting(
    opened: Digest, dealer: int, kind: int, shares: Mapping[int, bytes], leaves: Sequence[bytes]
) -> dict[int, bytes]:
    return {
        seat: share
        for seat, share in shares.items()
        if 1 <= seat <= len(leaves)
        and same_bytes(share_leaf(opened, dealer, seat, kind, share), leaves[seat - 1])
    }


@lru_cache(maxsize=1_024)
def _lagrange(seats: tuple[int, ...], x: int) -> tuple[int, ...]:
    """The weights of the values at `seats` in the value at `x`; public numbers only."""
    if x in seats:
        return tuple(int(seat == x) for seat in seats)
    product = 1
    for seat in seats:
        product = product * (x - seat) % FIELD
    return tuple(
        product * weight * _inverse(x - seat) % FIELD
        for seat, weight in zip(seats, _barycentric(seats), strict=True)
    )


@lru_cache(maxsize=8)
def _barycentric(seats: tuple[int, ...]) -> tuple[int, ...]:
    weights = []
    for seat in seats:
        product = 1
        for other in seats:
            if other != seat:
                product = product * (seat - other) % FIELD
        weights.append(_inverse(product))
    return tuple(weights)


@lru_cache(maxsize=1_024)
def _inverse(number: int) -> int:
    return pow(number, -1, FIELD)


def _dot(weights: Sequence[int], values: Sequence[int]) -> bytes:
    total = sum(weight * value for weight, value in zip(weights, values, strict=True))
    return (total % FIELD).to_bytes(SHARE_BYTES, "big")


def _bad_dealing(dealer: int) -> MemberFault:
    return MemberFault(
        MemberFaultKind.BAD_DEALING,
        f"the shares that seat {dealer} dealt are not of one polynomial; its own leaves prove it",
        (dealer,),
    )


# --- sealing --------------------------------------------------------------------------------------


@final
@dataclass(frozen=True, slots=True, repr=False)
class SealingSecret:
    """The private half of a sealing key: 64 bytes of ML-KEM seed, 32 of X25519. One attempt."""

    rand: bytes

    def __repr__(self) -> str:
        return "SealingSecret"


def sealing_keys(rand: bytes) -> tuple[SealingSecret, bytes]:
    """A fresh sealing key from 96 random bytes.

    Returns:
        The secret, and the public key: ML-KEM-768 encapsulation key (1184) || X25519 key (32).
    """
    assert len(rand) == SEALING_RAND_BYTES
    mlkem, x25519 = _private_halves(SealingSecret(rand))
    return SealingSecret(rand), (
        mlkem.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        + x25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    )


def seal_info(opened: Digest, dealer: int, holder: int, holder_key_id: bytes) -> bytes:
    """The info of a sealed share: lp("comity/agg/v1/env", H_open, u16, u16, key_j) (5.4).

    Args:
        opened: hash of the Open.
        dealer: seat that seals.
        holder: seat that opens.
        holder_key_id: `sealing_key_id` of the holder's public key, 32 bytes.
    """
    assert len(holder_key_id) == 32
    seats = u16(dealer), u16(holder)
    return length_prefixed(b"comity/agg/v1/env", raw(opened), *seats, holder_key_id)


def seal(public: bytes, info: bytes, plaintext: bytes) -> bytes:
    """Seal to a public sealing key that is valid (statements/keysets.py judges it).

    Returns:
        enc (1120) || ciphertext || tag (16).
    """
    assert len(public) == SEALING_KEY_BYTES
    key = MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_BYTES]),
        X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_BYTES:]),
    )
    return _suite().encrypt(plaintext, key, info)


def open_sealed(secret: SealingSecret, info: bytes, sealed: bytes) -> bytes:
    """Open what was sealed to this secret's public key under the same info.

    Raises:
        Forged: it was not, or it was changed, or cut short.
    """
    return open_with(opening_key(secret), info, sealed)


def opening_key(secret: SealingSecret) -> MLKEM768X25519PrivateKey:
    """The library's form of a secret. Costs as much as opening; for many envelopes, once."""
    return MLKEM768X25519PrivateKey(*_private_halves(secret))


def open_with(private: MLKEM768X25519PrivateKey, info: bytes, sealed: bytes) -> bytes:
    """As `open_sealed`."""
    try:
        return _suite().decrypt(sealed, private, info)
    except (InvalidTag, ValueError):
        raise Forged("a sealed share does not open under my key; complain of its dealer") from None


def self_check() -> None:
    """Refuse to start where the library lacks the one suite.

    Raises:
        Misconfigured: it is absent or does not open what it sealed.
    """
    try:
        secret, public = sealing_keys(bytes(range(SEALING_RAND_BYTES)))
        sealed = seal(public, b"info", bytes(128))
        works = len(sealed) == SEALED_BYTES and open_sealed(secret, b"info", sealed) == bytes(128)
    except (UnsupportedAlgorithm, Forged):
        works = False
    if not works:
        raise Misconfigured(
            "this build of the cryptography package lacks ML-KEM-768 with X25519 (HPKE 0x647A); "
            "install its wheel, version 47 or later"
        )


def _private_halves(secret: SealingSecret) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    return (
        MLKEM768PrivateKey.from_seed_bytes(secret.rand[:_MLKEM_SEED_BYTES]),
        X25519PrivateKey.from_private_bytes(secret.rand[_MLKEM_SEED_BYTES:]),
    )


@lru_cache(maxsize=1)
def _suite() -> Suite:
    return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
