"""Who masks with whom, the seeds of masks, and adding their streams to a vector.

Decided here: the mask graph, HKDF with the labels of a round, the key of every (seed, chunk).
Knows no vector layout and no stage. Source: aggregation.md 5.1, 5.4, 5.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from comity.values import CHUNK_WORDS, Digest, hkdf_info, raw, u16, u32

Words: TypeAlias = npt.NDArray[np.uint32]

BLOCK_WORDS: Final = 2**16
"""Words of one sub-block: 256 KiB, so that accumulator and keystream stay in the L2 cache."""

_ZEROS: Final = bytes(4 * BLOCK_WORDS)


def hkdf(salt: bytes, ikm: bytes, label: str, *parts: bytes) -> bytes:
    """HKDF(salt, ikm; label; parts), SHA-256, 32 bytes (5.1)."""
    info = hkdf_info(label, *parts)
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(ikm)


def expand(prk: bytes, label: str, *parts: bytes) -> bytes:
    """EXP(prk; label; parts): HKDF-Expand alone, 32 bytes (5.1)."""
    return HKDFExpand(algorithm=SHA256(), length=32, info=hkdf_info(label, *parts)).derive(prk)


def neighbours(seat: int, n: int, k: int) -> tuple[int, ...]:
    """The seats that `seat` masks with, in order, without itself.

    Args:
        seat: from 1.
        n: seats in the roster.
        k: n - 1 for the complete graph, else even: the circulant i +- 1 .. i +- k/2.
    """
    assert 1 <= seat <= n and 1 <= k <= n - 1 and (k == n - 1 or k % 2 == 0)
    if k == n - 1:
        return tuple(other for other in range(1, n + 1) if other != seat)
    steps = [step for reach in range(1, k // 2 + 1) for step in (-reach, reach)]
    return tuple(sorted((seat - 1 + step) % n + 1 for step in steps))


def secret_m(opened: Digest, mu: bytes, dealer: int, holder: int) -> bytes:
    """m from dealer to holder: HKDF(H_open, mu; "m"; u16(dealer), u16(holder)) (5.4)."""
    return hkdf(raw(opened), mu, "m", u16(dealer), u16(holder))


def pair_seed(
    binding: Digest, shared_secret: bytes, m_lo_to_hi: bytes, m_hi_to_lo: bytes, lo: int, hi: int
) -> bytes:
    """s_ij of the seats lo < hi from the X25519 output and both sides' m (5.6); 32 bytes."""
    assert lo < hi
    secret = shared_secret + m_lo_to_hi + m_hi_to_lo
    return hkdf(raw(binding), secret, "pair", u16(lo), u16(hi))


def self_seed(binding: Digest, beta: bytes, seat: int) -> bytes:
    """b_i of a seat from its beta (5.6); 32 bytes."""
    return hkdf(raw(binding), beta, "self", u16(seat))


def chunk_key(seed: bytes, k: int) -> bytes:
    """The AES-256 key of chunk `k`: each chunk of each stream has its own, so iv 0 is safe."""
    return expand(seed, "mask", u32(k))


def keystream(key: bytes) -> CipherContext:
    """AES-256-CTR from iv 0; never used for a second (seed, chunk)."""
    return Cipher(AES(key), CTR(bytes(16))).encryptor()


def next_words(stream: CipherContext, buffer: bytearray, count: int) -> Words:
    """The next `count` little-endian words of a keystream, as a view of `buffer`.

    Args:
        stream: from `keystream`.
        buffer: from `stream_buffer`; what an earlier call returned is overwritten.
        count: at most `BLOCK_WORDS`.
    """
    stream.update_into(memoryview(_ZEROS)[: 4 * count], buffer)
    return np.frombuffer(buffer, dtype="<u4", count=count)


def stream_buffer(count: int = BLOCK_WORDS) -> bytearray:
    """Room for `count` words of keystream, at most (the library wants 15 bytes more)."""
    return bytearray(4 * min(count, BLOCK_WORDS) + 16)


def add_streams(
    acc: Words, chunk_index: int, plus: Sequence[bytes], minus: Sequence[bytes]
) -> None:
    """Add the streams of some seeds to one chunk and take those of others away, modulo 2**32.

    Args:
        acc: the words of the chunk, at most `CHUNK_WORDS`; changed in place.
        chunk_index: from 0.
        plus: seeds whose streams are added.
        minus: seeds whose streams are subtracted.

    Sub-blocks are the outer loop, so each is read from memory once for all streams.
    """
    assert acc.ndim == 1 and acc.dtype == np.uint32 and acc.size <= CHUNK_WORDS
    added = [keystream(chunk_key(seed, chunk_index)) for seed in plus]
    taken = [keystream(chunk_key(seed, chunk_index)) for seed in minus]
    buffer = stream_buffer(acc.size)
    for start in range(0, acc.size, BLOCK_WORDS):
        block = acc[start : start + BLOCK_WORDS]
        for stream in added:
            np.add(block, next_words(stream, buffer, block.size), out=block)
        for stream in taken:
            np.subtract(block, next_words(stream, buffer, block.size), out=block)


def add_stream(acc: Words, seed: bytes, chunk_index: int, subtract: bool) -> None:
    """`add_streams` for one seed."""
    seeds = (seed,)
    add_streams(acc, chunk_index, () if subtract else seeds, seeds if subtract else ())
