"""Appendix A and A.2 of the study: every value, from the text alone."""

from __future__ import annotations

import hashlib

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from comity.aggregation.dealing import ephemeral_secret, self_commitment
from comity.aggregation.linear_check import CheckValue, holds
from comity.aggregation.masks import (
    add_stream,
    chunk_key,
    keystream,
    next_words,
    pair_seed,
    secret_m,
    self_seed,
    stream_buffer,
)
from comity.aggregation.plan import Terms
from comity.aggregation.ring import (
    SumRoot,
    TotalDigest,
    VectorRoot,
    add_into,
    q_max,
    quantise,
    sum_leaf,
)
from comity.aggregation.secagg import mask_chunk
from comity.aggregation.sharing import FIELD, deal, interpolate
from comity.aggregation.stages import Started
from comity.values import (
    CHUNK_WORDS,
    Digest,
    MemberId,
    joins_digest,
    labelled_hash,
    m_commitment,
    raw,
    roster_digest,
    round_binding,
    sealing_key_id,
    sha256,
    share_leaf,
    share_row,
    to_digest,
    tree_root,
    work_digest,
)


def scalar(text: str) -> bytes:
    number = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big") % FIELD
    return number.to_bytes(32, "big")


OPENED = sha256(b"comity kat open")
CLOSE = sha256(b"comity kat close")
JOINS = tuple(sha256(f"join{seat}".encode()) for seat in (1, 2, 3))
BINDING = to_digest(labelled_hash("ctx", raw(OPENED), *map(raw, JOINS)))
X = {
    1: [0, 0, 0, 0, 1, 100, -5, 2**20],
    2: [0, 0, 0, 0, 1, 200, 7, -(2**20)],
    3: [0, 0, 0, 0, 1, 300, 0, 3],
}


def esk(seat: int) -> X25519PrivateKey:
    return ephemeral_secret(OPENED, scalar(f"sigma{seat}"), seat)


def epk(seat: int) -> bytes:
    return esk(seat).public_key().public_bytes_raw()


def bare_seed(lo: int, hi: int, m: bytes = b"") -> bytes:
    shared = esk(lo).exchange(X25519PublicKey.from_public_bytes(epk(hi)))
    return pair_seed(BINDING, shared, m, b"", lo, hi)


def masked(seat: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    seeds = {
        other: bare_seed(min(seat, other), max(seat, other)) for other in (1, 2, 3) if other != seat
    }
    terms = Terms(OPENED, 3, 1, 3, 3, 2, 8)
    stage = Started(terms, seat, frozenset(X), BINDING, scalar(f"beta{seat}"), bytes(32), {}, seeds)
    return mask_chunk(stage, 0, np.array(X[seat], dtype=np.int64).astype(np.uint32))


def hex_words(words: np.ndarray[tuple[int], np.dtype[np.uint32]]) -> str:
    return words.astype("<u4").tobytes().hex()


def test_hashes_and_keys_of_appendix_a() -> None:
    assert OPENED == "77e8bd3fdeee42ba9161a8a8ffa0458d5092630fb7c6024b508f2376b0a73ca0"
    assert scalar("sigma1").hex() == (
        "5706345075072b32efeac07a05dd0f276a3cb08933152454d641d17ee8047ee6"
    )
    assert esk(1).private_bytes_raw().hex() == (
        "cef7342e7eb61973adc1fe6306ec07982cab3aaa9cc19dc14067abdf0f631527"
    )
    assert [epk(seat).hex() for seat in (1, 2, 3)] == [
        "d82efeb1808b0d1cf396cd568cd472c0f381c158d3d5bfade0019fc4fe4b8e4f",
        "f5d6e006f48cb16242e59930d8cb39991ee1d91205ef14e78cdcbfaa8678d643",
        "c757e1668a1754143aa7997c3de4a199a11381291cff3627fcdc31915483dc4d",
    ]
    assert BINDING == "02944c428b3f75728dbbc521918b289eb868c0058ddcfc283c897f8567376632"


def test_seeds_and_streams_of_appendix_a() -> None:
    assert bare_seed(1, 2).hex() == (
        "833c1f099d99fddb820643f112b11a442413d1cdf402a50c26e28c55108d3299"
    )
    assert bare_seed(1, 3).hex() == (
        "b84610304ac1eaca8095b251e721b2cdf4bad0e4704654703f020640146fa81d"
    )
    assert bare_seed(2, 3).hex() == (
        "3e77c5de982295ff8235344fb8d1f0b1cd7e70a75e2f1e89b41dc19510f45ffd"
    )
    assert bare_seed(1, 2, bytes(range(32))).hex() == (
        "1bca937355dcec7f0753bcd7ad8c9a67cef173141bf66d209854274c62430593"
    )
    assert self_seed(BINDING, scalar("beta1"), 1).hex() == (
        "80d0bddb623e1f6bca6ba2334a052364fb8ed27b0c6b7065a3763e89f4f45f12"
    )
    key = chunk_key(bare_seed(1, 2), 0)
    assert key.hex() == "8c70e8be320dddbf0b772cde89711c6af975ba68d6b01747795b1743cb3f5e43"
    first = next_words(keystream(key), stream_buffer(), 8)
    assert " ".join(f"{word:08x}" for word in first) == (
        "92377255 24db6e24 5c6ea675 75b5747b d4c18f0a 9929560c 2db33b8b 995399c8"
    )
    acc = np.zeros(4, dtype=np.uint32)
    add_stream(acc, bare_seed(1, 2), 1, False)
    assert [f"{word:08x}" for word in acc] == ["a73d93b4", "7ed2009a", "6eef22e5", "97eea8b3"]


def test_vectors_sum_check_values_and_total_of_appendix_a() -> None:
    y = {seat: masked(seat) for seat in X}
    assert [hex_words(y[seat]) for seat in X] == [
        "ffe7f0a7489839350f35a8bad3cbb68c53c3e785bab0adb8ee3376d103334373",
        "5bcfca20926671b859c41901b4f50156120a1499b698c4adbe1068cf28be0b65",
        "9489cb79ffeb61ae9967eee7e1e81827ba01eb6d84560c937f4f18ad80981c64",
    ]
    root = VectorRoot(BINDING, 1)
    root.update(y[1])
    assert root.digest() == "ec92758975523c7724d8aba92daf1a5f2fced2a30708becfba8533cea86d6bb1"

    lo, hi = np.zeros(8, dtype=np.uint32), np.zeros(8, dtype=np.uint8)
    for words in y.values():
        add_into(lo, hi, words)
    assert hex_words(lo) == "ee408742d9ea0c9c0161b0a368aad1091fcfe68cf49f7ef92b94f64dab896b3c"
    assert hi.tobytes().hex() == "0101010101010201"
    assert sum_leaf(BINDING, 0, lo, hi).hex() == (
        "275c248dba03de4ef458bcab2b261548760b1d3890c005c56db424e82c25b144"
    )
    total = SumRoot(BINDING)
    total.update(lo, hi)
    assert total.digest() == "5084c4142051a0253bb9b03fbbedbc28851781a4939ffa0968e5e066324ed05b"

    values = []
    for seat in X:
        check = CheckValue(CLOSE, 8)
        check.update(y[seat])
        values.append(check.digest())
    assert [value.hex() for value in values] == [
        "625e630a4c99d4f0b1bea1647d3435f2",
        "42b2d3d52307808d1422b67ca0734d77",
        "347d689b28b763552f63d674d2250aad",
    ]
    check = CheckValue(CLOSE, 8)
    check.update(lo, hi)
    assert check.digest().hex() == "598e9f7a9858b8d2f5452e55efcc8e17"
    assert holds(values, check.digest())

    for seat in X:
        add_stream(lo, self_seed(BINDING, scalar(f"beta{seat}"), seat), 0, True)
    x = lo.view(np.int32)
    assert list(x) == [0, 0, 0, 0, 3, 600, 2, 3]
    digest = TotalDigest(CLOSE, 8)
    digest.update(x)
    assert digest.digest() == "0e06add2eb913447966dd37c36b4be2886560f4a27de3eb2daa72774288ed02c"


def test_a_vector_of_two_chunks_and_a_short_row() -> None:
    length = 2**20 + 2**14 + 5
    v = (np.arange(length, dtype=np.uint64) * 2654435761).astype(np.uint32)
    check, root = CheckValue(CLOSE, length), VectorRoot(BINDING, 1)
    for start in range(0, length, CHUNK_WORDS):
        check.update(v[start : start + CHUNK_WORDS])
        root.update(v[start : start + CHUNK_WORDS])
    assert check.digest().hex() == "3a97da92f1047a83a189c252d8eb3d56"
    assert root.digest() == "cba25f2d537824ce746e6708bacac33bbd06749c7421d29c0e7876164ff1836f"


def test_shares_of_appendix_a() -> None:
    coefficients = [scalar("beta1"), *(scalar(f"coef{degree}") for degree in (1, 2, 3))]
    shares = deal([int.from_bytes(one, "big") for one in coefficients], 5)
    assert shares[0].hex() == "3dac67c23822cd1518cfe8f89dc60e5014b9fa21d3a5068aef4d3963ba05affb"
    assert shares[1].hex() == "7fc9fd5987f84b11a1e506bd92590e6c8398bc527cfceaca28feb36a12a63f32"
    assert shares[4].hex() == "21368e9e2d704e6ae931427304ddd5d120b851c9e9cd1046bb1d426df2a7fe37"
    assert interpolate({2: shares[1], 3: shares[2], 4: shares[3], 5: shares[4]}) == scalar("beta1")
    assert share_leaf(OPENED, 1, 2, 0, shares[1]).hex() == (
        "b466947995caa06581fce987dfb5913fa974d646fefb4f533e500119f0b9c238"
    )
    assert self_commitment(OPENED, 1, scalar("beta1")) == (
        "751f0014914c4aac173ef13b1a65f27398381bd1bcb6ed36effedb4fb219fc99"
    )


def test_secrets_m_binding_and_seed_of_appendix_a2() -> None:
    up, down = secret_m(OPENED, scalar("mu1"), 1, 2), secret_m(OPENED, scalar("mu2"), 2, 1)
    assert scalar("mu1").hex() == "11e0c0ac729c11015162c6ef46f011834afd6af76fe6b8790ba9751273180a1d"
    assert up.hex() == "0eac5a073fa42ab8914a826e40d2094abc47bd8b26a50fbc477b7c8810ca6ed8"
    assert down.hex() == "1479c0f7654657e103997ed13a30ce575b2cf2ea4966d5c87300f6ecb835ff32"
    assert m_commitment(OPENED, 1, 2, up).hex() == (
        "7acaec316e92ea7bf9013f4fcda91943046f3f4c7a929435fe9d5cebe93d3242"
    )
    binding = round_binding(OPENED, JOINS, sha256(b"comity kat start"))
    assert binding == "f3df708e314e9961558d80a7bfbf8c320687e7d6bc7b6a461dc06de5fa1cfe9e"
    shared = esk(1).exchange(X25519PublicKey.from_public_bytes(epk(2)))
    assert pair_seed(binding, shared, up, down, 1, 2).hex() == (
        "fd25bb5772261c1372303eba061cc51ccdbf5a1d15db47d4018652bec804eed3"
    )


def test_digests_of_appendix_a2() -> None:
    key = sealing_key_id(bytes(range(256)) * 4 + bytes(192))
    assert key.hex() == "74daf03cd66d8a4119c46d8373a29b2c49314f0e4536fd294640d3f09ae2344c"
    roster = roster_digest(((MemberId("lab-b"), key), (MemberId("uni-a"), key)))
    assert roster == "db932cd8678f1f190a55578852f76f3487d11da659b9cbfdd3466f22d39406f4"
    joins = joins_digest(tuple(enumerate(JOINS, start=1)))
    assert joins == "8ee6f7247457493ab7d8e012dc0403b5f6f223e7fdb4d97363d8a36c65879c61"
    work = work_digest(*(Digest(sha256(part)) for part in (b"code", b"parameters", b"model")))
    assert work == "c46b2eed6b296b2f02364c20145aaae14b2333d98c151376ef92f518cf41bde5"


def test_rows_root_of_appendix_a2() -> None:
    rows = []
    for holder in (1, 2, 3):
        shares = b"".join(scalar(f"share{kind}{holder}") for kind in range(3))
        m = secret_m(OPENED, scalar("mu1"), 1, holder)
        row = share_row(OPENED, 1, holder, shares + m)
        rows.append(row if holder != 1 else row[:96] + bytes(32))
    assert tree_root(rows).hex() == (
        "f3895a7e441780e367d75076bd6cb2579ce55a4422d9dbfb813e1f66a98e62ac"
    )


def test_quantising_of_appendix_a2() -> None:
    cases = [
        (1.0, 4, 0xFFFFFF, 178956970),
        (-1.0, 4, 0x000000, -178956970),
        (0.1, 3, 0x800000, 13421773),
        (-0.1, 3, 0x800000, -13421773),
        (2.0, 3, 0x000000, 134217727),
        (1e-9, 4, 0xFFFFFF, 1),
        (-1e-9, 4, 0x000000, -1),
    ]
    for value, weight, rounding, expected in cases:
        x = np.array([value])
        bits = np.array([rounding << 8], dtype=np.uint32)
        quantise(x, bits, range_max=1.0, ratio=weight / 4, bound=q_max(3), room=np.empty(1))
        assert x[0] == expected
