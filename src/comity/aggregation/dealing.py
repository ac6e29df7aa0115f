"""What a dealer deals and what a holder makes of it: secrets, rows, sealed shares.

Decided here: how the scalars of an attempt come from randomness (aggregation.md 5.4), how a join
blob lies (5.14), and when something dealt is good (5.5). Pure leaves of `secagg.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from comity.aggregation.masks import hkdf, secret_m
from comity.aggregation.plan import Terms
from comity.aggregation.sharing import (
    FIELD,
    MU,
    SHARE_BYTES,
    SealingSecret,
    deal,
    open_with,
    opening_key,
    parse_element,
    seal_info,
)
from comity.aggregation.stages import Dealing, Joined, Ready
from comity.errors import Forged, Malformed, Refused, Rule
from comity.values import (
    ENVELOPE_PLAIN_BYTES,
    LOW_ORDER_X25519,
    ROW_BYTES,
    SEALED_BYTES,
    Digest,
    hkdf_info,
    labelled_hash,
    raw,
    same_bytes,
    share_row,
    to_digest,
    tree_root,
    u16,
    u32,
)


def hedged_scalar(
    opened: Digest, rand: bytes, member_secret: bytes, label: str, counter: int
) -> int:
    """A scalar of this attempt, good while either `rand` or the member's secret is (5.4).

    int(HKDF-SHA512(salt = rand, ikm = member_secret; label; H_open, u32(counter); L = 64)) modulo
    2**255 - 19. Counter 0 is the secret itself, 1..t-1 are the coefficients of its polynomial.
    """
    info = hkdf_info(label, raw(opened), u32(counter))
    kdf = HKDF(algorithm=SHA512(), length=64, salt=rand, info=info)
    return int.from_bytes(kdf.derive(member_secret), "big") % FIELD


def ephemeral_secret(opened: Digest, sigma: bytes, seat: int) -> X25519PrivateKey:
    """esk = HKDF(H_open, sigma; "esk"; u16(seat)) as an X25519 key (5.4)."""
    return X25519PrivateKey.from_private_bytes(hkdf(raw(opened), sigma, "esk", u16(seat)))


def self_commitment(opened: Digest, seat: int, beta: bytes) -> Digest:
    """bcom = H("self-commit"; H_open, u16(seat), beta) (5.4)."""
    return to_digest(labelled_hash("self-commit", raw(opened), u16(seat), beta))


def rows_of(blob: bytes, n: int) -> tuple[bytes, ...] | None:
    """The n rows of a join blob (5.14), or None when the blob has another length."""
    start = SEALED_BYTES * (n - 1)
    if len(blob) != start + ROW_BYTES * n:
        return None
    return tuple(blob[at : at + ROW_BYTES] for at in range(start, len(blob), ROW_BYTES))


def check_points(dealings: Mapping[int, Dealing]) -> None:
    """Refuse ephemeral keys that are not canonical, of low order, or those of another seat (5.4).

    Raises:
        Refused(BAD_POINT): one is.
    """
    seen: set[bytes] = set()
    for dealer in sorted(dealings):
        epk = dealings[dealer].epk
        point = int.from_bytes(epk, "little")
        if len(epk) != 32 or point >= FIELD or point in LOW_ORDER_X25519 or epk in seen:
            raise Refused(Rule.BAD_POINT, f"the ephemeral key of seat {dealer} is not usable")
        seen.add(epk)


def open_dealings(
    terms: Terms,
    seat: int,
    own_key: bytes,
    secret: SealingSecret,
    dealings: Mapping[int, Dealing],
) -> dict[int, bytes]:
    """Plaintexts by dealer, of those whose envelope to me opens and fits its row."""
    received, private = {}, opening_key(secret)
    for dealer, dealing in dealings.items():
        rows = rows_of(dealing.blob, terms.n)
        if dealer == seat or rows is None or tree_root(rows) != raw(dealing.rows_root):
            continue
        at = SEALED_BYTES * (seat - 1 - (seat > dealer))
        info = seal_info(terms.opened, dealer, seat, own_key)
        try:
            plaintext = open_with(private, info, dealing.blob[at : at + SEALED_BYTES])
        except Forged:
            continue
        if well_formed(plaintext) and same_bytes(
            share_row(terms.opened, dealer, seat, plaintext), rows[seat - 1]
        ):
            received[dealer] = plaintext
    return received


def well_formed(plaintext: bytes) -> bool:
    """128 bytes, whose three shares are below the prime."""
    if len(plaintext) != ENVELOPE_PLAIN_BYTES:
        return False
    try:
        for at in range(0, 3 * SHARE_BYTES, SHARE_BYTES):
            parse_element(plaintext[at : at + SHARE_BYTES])
    except Malformed:
        return False
    return True


def dealt_plaintexts(stage: Joined | Ready) -> tuple[bytes, ...]:
    """The plaintext for every seat: three shares and m (zeros for myself)."""
    terms, seat = stage.terms, stage.seat
    shares = [
        deal([int.from_bytes(coefficient, "big") for coefficient in polynomial], terms.n)
        for polynomial in stage.polynomials
    ]
    mu = stage.polynomials[MU][0]
    return tuple(
        b"".join(kind[holder - 1] for kind in shares)
        + (bytes(32) if holder == seat else secret_m(terms.opened, mu, seat, holder))
        for holder in range(1, terms.n + 1)
    )


def dealt_rows(stage: Joined | Ready, plaintexts: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The n rows of my join blob; no m is committed to myself (5.14)."""
    opened, seat = stage.terms.opened, stage.seat
    rows = [
        share_row(opened, seat, holder, plaintext)
        for holder, plaintext in enumerate(plaintexts, start=1)
    ]
    rows[seat - 1] = rows[seat - 1][:96] + bytes(32)
    return tuple(rows)
