"""The numbered attacks of aggregation.md 11.3 that concern one round's cryptography.

Each states the attack, shows that the honest case passes, and that the attack gets its exact error.
Attacks on one module alone lie in that module's tests (15, 16, 23, 24, 31, 32, 37, 38, 39, 47, 54,
56, 58).
"""

from __future__ import annotations

import hashlib
import inspect

import numpy as np
import pytest

import comity.aggregation.dealing
import comity.aggregation.masks
import comity.aggregation.ring
import comity.aggregation.secagg
import comity.aggregation.sharing
import comity.aggregation.unmasking
from comity.aggregation.dealing import check_points
from comity.aggregation.layout import Layout, Segment
from comity.aggregation.linear_check import FIELD, holds, parse_check_value
from comity.aggregation.masks import add_stream, pair_seed, secret_m, self_seed
from comity.aggregation.ring import Quantiser, RangeCheck, SumRoot, VectorRoot, sum_root
from comity.aggregation.secagg import (
    committed,
    mask_chunk,
    ready,
    resolve,
    reveal,
    start,
    take_resolve,
)
from comity.aggregation.sharing import SealingSecret, open_sealed, seal, seal_info
from comity.aggregation.stages import Survivors
from comity.errors import Forged, MemberFault, MemberFaultKind, Refused, Rule
from comity.values import (
    LOW_ORDER_X25519,
    SEALED_BYTES,
    length_prefixed,
    raw,
    sealing_key_id,
    share_row,
    to_digest,
    tree_root,
    unpack_bits,
)

from .parties import (
    Carries,
    Round,
    Words,
    envelope_at,
    plain,
    row_start,
    summed,
    swap_envelope,
    whole,
)


@pytest.fixture(scope="module")
def four() -> Round:
    return Round(4, 1, name="attacked")


def test_attack_01_nobody_is_in_both_lists(four: Round) -> None:
    # Flower: one request names a node as alive and as dropped and gets both shares.
    done = committed(four.start()[1])
    honest = Survivors(four.everybody, frozenset({1, 2, 3}))
    assert honest.dropped == {4} and not honest.dropped & honest.survivors
    reveal(done, honest)
    for survivors in (frozenset({1, 2, 5}), frozenset[int]()):
        with pytest.raises(Refused) as caught:
            Survivors(four.everybody, survivors)
        assert caught.value.rule is Rule.NOT_AS_DERIVED
    # P stretched or shrunk to move somebody between the lists.
    for participants in (four.everybody - {4}, four.everybody | {5}):
        with pytest.raises(Refused) as caught:
            reveal(done, Survivors(participants, frozenset({1, 2, 3})))
        assert caught.value.rule is Rule.NOT_AS_DERIVED
    with pytest.raises(Refused) as caught:
        reveal(done, Survivors(four.everybody, frozenset({1, 2})))
    assert caught.value.rule is Rule.TOO_FEW
    # On the wire U is a bit set: no duplicates, no order, no spare bit.
    assert unpack_bits(b"\x07", 4) == frozenset({1, 2, 3})
    assert unpack_bits(b"\x17", 4) is None and unpack_bits(b"\x07\x00", 4) is None


def test_attack_03_a_vector_kept_back_stays_masked(four: Round) -> None:
    """Host says seat 4 dropped but holds y_4; 256 distinct bytes of noise: chance of a miss < 1e-9.

    After sigma_4 is rebuilt the host takes every pair mask off; the self mask still hides it.
    """
    world = Round(4, 1, words=4096, name="kept back")
    started = world.start()
    q = plain(4, 4096)
    y = mask_chunk(started[4], 0, q[4].copy())
    for other, seed in started[4].pair_seeds.items():
        add_stream(y, seed, 0, subtract=other > 4)
    assert np.mean(y == q[4]) < 0.01
    counts = np.bincount(y.view(np.uint8), minlength=256)
    expected = y.nbytes / 256
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 255 + 7 * (2 * 255) ** 0.5
    # With beta_4, which no honest member gives when 4 is dropped, it would lie open.
    add_stream(y, self_seed(world.binding, started[4].beta, 4), 0, True)
    assert np.array_equal(y, q[4])


def test_attack_04_after_a_reveal_there_is_no_other_answer(four: Round) -> None:
    # First Close without 4, then asked again with 4 alive: the stage left has no beta to give.
    started = four.start()
    revealed, said = reveal(committed(started[4]), Survivors(four.everybody, frozenset({1, 2, 3})))
    assert said.beta is None
    assert started[4].beta not in revealed.to_bytes()
    revealed, said = reveal(committed(started[1]), Survivors(four.everybody, frozenset({1, 2, 3})))
    assert said.beta == started[1].beta and revealed.survivors == {1, 2, 3}
    with pytest.raises(Refused) as caught:
        comity.aggregation.secagg.recover(revealed, frozenset({4}))
    assert caught.value.rule is Rule.NOT_AS_DERIVED


def test_attack_18_a_lie_in_a_check_value_shifts_by_what_the_liar_could_submit(
    four: Round,
) -> None:
    # S' = S + delta; seat 2 adds T(delta) to its own value, so the check holds ...
    started, q = four.start(), plain(4, 8)
    y = four.mask(started, q)
    lo, hi = summed(y)
    values = {seat: four.check_value(words) for seat, words in y.items()}
    delta = np.zeros(8, dtype=np.uint32)
    delta[6] = 5
    forged = lo + delta
    forged_hi = hi + (forged < lo).astype(np.uint8)
    assert not holds(values.values(), four.check_value(forged, forged_hi))
    shift = parse_check_value(four.check_value(delta))
    lie = (parse_check_value(values[2]) + shift) % FIELD
    lying = {**values, 2: lie.to_bytes(16, "big")}
    assert holds(lying.values(), four.check_value(forged, forged_hi))
    # ... the total is as if seat 2 had submitted q_2 + delta, and its logged vector convicts it.
    survivors = Survivors(four.everybody, four.everybody)
    reveals, recovers, _ = four.say(started, survivors)
    x = four.unmask(survivors, four.gather(survivors, reveals, recovers), forged)
    assert list(x) == list((whole(q, four.everybody).view(np.uint32) + delta).view(np.int32))
    assert [seat for seat in y if four.check_value(y[seat]) != lying[seat]] == [2]


@pytest.mark.parametrize("sign", [1, -1])
def test_attack_20_a_copied_vector_spoils_but_tells_nothing(four: Round, sign: int) -> None:
    # Seat 4 submits y_1, or its negative: the masks of 1 do not cancel, the canary is wrong.
    layout = Layout((Segment("w", "real", (2,), 1, 0),))
    survivors = Survivors(four.everybody, four.everybody)
    started, q = four.start(), plain(4, 8)
    y = four.mask(started, q)
    for vectors, spoiled in ((y, False), ({**y, 4: (y[1] * np.uint32(sign % 2**32))}, True)):
        lo, _ = summed(vectors)
        reveals, recovers, _ = four.say(started, survivors)
        x = four.unmask(survivors, four.gather(survivors, reveals, recovers), lo)
        check = RangeCheck(layout, 4, 4, 1, None)
        if not spoiled:
            check.update(x)
            continue
        with pytest.raises(MemberFault) as caught:
            check.update(x)
        assert caught.value.kind is MemberFaultKind.BAD_SUM


def test_attack_21_copied_or_weak_ephemeral_keys_are_refused(four: Round) -> None:
    check_points(four.dealings)
    weak = [point.to_bytes(32, "little") for point in LOW_ORDER_X25519]
    twisted = (int.from_bytes(four.dealings[3].epk, "little") | 1 << 255).to_bytes(32, "little")
    not_canonical = (2**255 - 19 + 9).to_bytes(32, "little")
    for epk in (*weak, twisted, not_canonical, b"", bytes(31), four.dealings[2].epk):
        dealings = {**four.dealings, 3: four.dealings[3]._replace(epk=epk)}
        with pytest.raises(Refused) as caught:
            ready(four.joined[1], four.secrets[1], dealings)
        assert caught.value.rule is Rule.BAD_POINT


def redealt(world: Round, dealer: int, holder: int, plaintext: bytes, honest_row: bool) -> bytes:
    """The blob of a dealer that seals another plaintext, with or without a row that fits it."""
    key = world.plan.sealing_keys[holder - 1]
    info = seal_info(world.plan.opened, dealer, holder, sealing_key_id(key))
    changed = swap_envelope(world.dealings[dealer], dealer, holder, seal(key, info, plaintext))
    if honest_row:
        return changed.blob
    at = row_start(world.plan.n, holder)
    row = share_row(world.plan.opened, dealer, holder, plaintext)
    return changed.blob[:at] + row + changed.blob[at + 128 :]


def test_attack_22_every_kind_of_bad_envelope_is_complained_of(four: Round) -> None:
    n, honest = 4, four.dealings[2]
    mine, path = resolve(four.joined[2], 1, frozenset({1}))
    theirs, _ = resolve(four.joined[2], 3, frozenset({3}))
    swapped_kind = mine[32:64] + mine[:32] + mine[64:]
    too_large = b"\xff" * 32 + mine[32:]
    at = envelope_at(2, 1)
    for_3 = honest.blob[envelope_at(2, 3) : envelope_at(2, 3) + SEALED_BYTES]
    bad = [
        honest.blob[:at] + bytes(SEALED_BYTES) + honest.blob[at + SEALED_BYTES :],
        swap_envelope(honest, 2, 1, for_3).blob,
        redealt(four, 2, 1, theirs, True),
        redealt(four, 2, 1, swapped_kind, True),
        redealt(four, 2, 1, mine[:96] + bytes(32), True),
        redealt(four, 2, 1, too_large, False),
        redealt(four, 2, 1, mine, True)[:-1],
        b"",
    ]
    _, complaints = ready(four.joined[1], four.secrets[1], four.dealings)
    assert complaints == ()
    for blob in bad:
        rows = blob[SEALED_BYTES * (n - 1) :]
        fresh = to_digest(tree_root([rows[i : i + 128] for i in range(0, len(rows), 128)]))
        for root in (honest.rows_root, fresh):
            dealt = honest._replace(blob=blob, rows_root=root)
            stage, complaints = ready(four.joined[1], four.secrets[1], {**four.dealings, 2: dealt})
            assert complaints == (2,) and 2 not in stage.received
            if root == honest.rows_root:
                healed = take_resolve(stage, 2, mine, path)
                started = start(healed, four.everybody, four.binding)
                assert started.pair_seeds == four.start()[1].pair_seeds
            with pytest.raises(Refused) as caught:
                take_resolve(stage, 2, theirs, path)
            assert caught.value.rule is Rule.SHARE_DOES_NOT_FIT


def test_attack_22_a_member_that_lost_its_pinned_key_opens_nothing(four: Round) -> None:
    _, complaints = ready(four.joined[1], four.secrets[2], four.dealings)
    assert complaints == (2, 3, 4)


def test_attack_25_sigma_opens_no_envelope(four: Round) -> None:
    # sigma_2 is revealed when 2 drops; neither it nor the key made of it opens what 2 sealed.
    esk = comity.aggregation.dealing.ephemeral_secret(
        four.plan.opened, four.joined[2].polynomials[1][0], 2
    ).private_bytes_raw()
    sigma = four.joined[2].polynomials[1][0]
    for dealer, holder in ((2, 1), (2, 3), (1, 2), (3, 2)):
        at = envelope_at(dealer, holder)
        sealed = four.dealings[dealer].blob[at : at + SEALED_BYTES]
        key_id = sealing_key_id(four.plan.sealing_keys[holder - 1])
        info = seal_info(four.plan.opened, dealer, holder, key_id)
        assert len(open_sealed(four.secrets[holder], info, sealed)) == 128
        for stolen in (sigma, esk):
            pair = SealingSecret(four.secrets[2 if holder != 2 else 1].rand[:64] + stolen)
            with pytest.raises(Forged):
                open_sealed(pair, info, sealed)


def test_attack_26_a_silent_survivor_keeps_the_secret_of_its_peers(four: Round) -> None:
    # Seat 4 dropped, seat 3 silent: mu_3 is rebuilt, yet s_13 needs m_1to3, which is never sent.
    world = Round(5, 1, name="silent and dropped")
    started, q = world.start(), plain(5, 8)
    survivors = Survivors(world.everybody, frozenset({1, 2, 3, 5}))
    live = {seat: q[seat] for seat in survivors.survivors}
    lo, _ = summed(world.mask({seat: started[seat] for seat in live}, live))
    reveals, recovers, _ = world.say(started, survivors, frozenset({3}))
    gathered = world.gather(survivors, reveals, recovers)
    assert list(world.unmask(survivors, gathered, lo)) == list(whole(q, survivors.survivors))
    assert set(gathered.mus) == {3, 4}
    said = b"".join(
        (reveal.beta or b"")
        + b"".join(shares.sigma + shares.mu + (shares.m or b"") for shares in reveal.dropped)
        for reveal in reveals.values()
    )
    m_1to3 = started[3].received[1][96:]
    assert m_1to3 == secret_m(world.plan.opened, started[1].mu, 1, 3)
    assert m_1to3 not in said
    # Attack 38, second half: X25519 broken and mu_3 known, the seed still hangs on m_1to3.
    shared = bytes(32)
    m_3to1 = secret_m(world.plan.opened, gathered.mus[3], 3, 1)
    seeds = {pair_seed(world.binding, shared, m, m_3to1, 1, 3) for m in (m_1to3, bytes(32))}
    assert len(seeds) == 2


def test_attack_28_another_sum_has_another_root(four: Round) -> None:
    chunks = [
        (np.arange(8, dtype=np.uint32), np.ones(8, dtype=np.uint8)),
        (np.arange(4, dtype=np.uint32), np.zeros(4, dtype=np.uint8)),
    ]

    def root(parts: list[tuple[Words, Carries]]) -> str:
        name = SumRoot(four.binding)
        for lo, hi in parts:
            name.update(lo, hi)
        return name.digest()

    honest = root(chunks)
    assert root(chunks) == honest
    changed_lo = chunks[0][0].copy()
    changed_lo[3] ^= 1
    changed_hi = chunks[0][1].copy()
    changed_hi[3] ^= 1
    longer = (np.arange(8, dtype=np.uint32), np.zeros(8, dtype=np.uint8))
    other = [
        [chunks[1], chunks[0]],
        chunks[:1],
        [*chunks, chunks[1]],
        [(changed_lo, chunks[0][1]), chunks[1]],
        [(chunks[0][0], changed_hi), chunks[1]],
        [chunks[0], longer],
        [],
    ]
    assert honest not in {root(parts) for parts in other}
    leaves = [bytes([k]) * 32 for k in range(2)]
    assert sum_root(four.binding, leaves) != sum_root(four.binding, leaves[::-1])


def test_attack_36_blobs_and_statements_hold_no_function_of_the_update() -> None:
    """Two runs that differ only in the update and the weight: nothing before unmasking differs,
    but for the masked vector, which differs everywhere from its plain form."""
    layout = Layout((Segment("w", "real", (4090,), 1, 0),))
    seen = []
    for value, weight in ((0.25, 3), (-0.75, 11)):
        world = Round(4, 1, words=4096, name="leak scan")
        started = world.start()[1]
        update = np.full(4090, value, dtype=np.float32)
        q = Quantiser(layout, 4, weight, 16, bytes(32)).chunk(0, update)
        y = mask_chunk(started, 0, q.copy())
        assert np.count_nonzero(y == q) < 4
        public = [dealing[:3] for dealing in world.dealings.values()]
        name = VectorRoot(world.binding, 1)
        name.update(y)
        seen.append((public, y.tobytes(), update.tobytes(), q.tobytes(), world))
        for dealing in world.dealings.values():
            for plain_form in (update.tobytes()[:64], q.tobytes()[24:88]):
                assert plain_form not in dealing.blob
        # No commitment to the plain vector: a dictionary of candidates finds nothing.
        hashes = {hashlib.sha256(q.tobytes()).digest(), hashlib.sha256(update.tobytes()).digest()}
        said = b"".join(
            dealing.epk + raw(dealing.self_commit) + raw(dealing.rows_root) + dealing.blob
            for dealing in world.dealings.values()
        )
        assert not any(digest in said + y.tobytes() for digest in hashes)
    assert seen[0][0] == seen[1][0]


def test_attack_40_all_256_bits_of_a_seed_vary(four: Round) -> None:
    """Each of 256 bits is 1 in half of 4,096 seeds; nine sigma: false alarm below 1e-15."""
    seeds = [
        pair_seed(four.binding, number.to_bytes(32, "big"), b"", b"", 1, 2)
        for number in range(4_096)
    ]
    bits = np.unpackbits(np.frombuffer(b"".join(seeds), dtype=np.uint8).reshape(4_096, 32), axis=1)
    assert len(set(seeds)) == 4_096
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 9 * 0.5 / 64


def test_attack_40_no_weak_generator_is_reachable() -> None:
    for module in (
        comity.aggregation.dealing,
        comity.aggregation.masks,
        comity.aggregation.ring,
        comity.aggregation.secagg,
        comity.aggregation.sharing,
        comity.aggregation.unmasking,
    ):
        source = inspect.getsource(module)
        for word in ("np.random", "import random", "import secrets", "urandom", "default_rng"):
            assert word not in source


def test_attack_41_fields_do_not_run_into_each_other(four: Round) -> None:
    assert length_prefixed(b"ab", b"c") != length_prefixed(b"a", b"bc") != length_prefixed(b"abc")
    # Seat 1, holder 12 and seat 11, holder 2 differ, as do attempts and keys.
    opened, key = four.plan.opened, sealing_key_id(four.plan.sealing_keys[0])
    infos = {
        seal_info(opened, 1, 12, key),
        seal_info(opened, 11, 2, key),
        seal_info(opened, 2, 11, key),
        seal_info(four.binding, 1, 12, key),
        seal_info(opened, 1, 12, sealing_key_id(four.plan.sealing_keys[1])),
    }
    assert len(infos) == 5


def test_attack_05_a_seed_under_another_binding_does_not_cancel(four: Round) -> None:
    # A Join swapped in transit for one member: its binding differs, so no sum comes out.
    stages, q = four.ready(), plain(4, 8)
    started = {seat: start(stages[seat], four.everybody, four.binding) for seat in four.everybody}
    started[3] = start(stages[3], four.everybody, to_digest(bytes(32)))
    lo, _ = summed(four.mask(started, q))
    survivors = Survivors(four.everybody, four.everybody)
    reveals, recovers, _ = four.say(started, survivors)
    x = four.unmask(survivors, four.gather(survivors, reveals, recovers), lo)
    assert list(x[:4]) != [0, 0, 0, 0]
