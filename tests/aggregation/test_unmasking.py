"""From what is revealed to the total: complete, checked, and blamed where it is false."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.aggregation.sharing import BETA, MU, SIGMA
from comity.aggregation.stages import Survivors
from comity.aggregation.unmasking import Unmasker, recover_secret
from comity.errors import MemberFault, MemberFaultKind

from .parties import Round, plain, summed, whole


@pytest.fixture(scope="module")
def five() -> Round:
    return Round(5, 1, name="five")


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_unmasking_gives_the_sum_for_any_survivors_and_any_silence(choose: st.DataObject) -> None:
    n = choose.draw(st.integers(3, 7))
    c = choose.draw(st.integers(1, max(1, (n - 1) // 3)))
    words = 4 * choose.draw(st.integers(2, 40))
    world = Round(n, c, words=words, name=f"any {n} {c}")
    started, t, u_min = world.start(), world.terms.t, world.terms.u_min
    live = frozenset(choose.draw(st.sets(st.sampled_from(range(1, n + 1)), min_size=u_min)))
    survivors = Survivors(world.everybody, live)
    quiet = frozenset(
        choose.draw(st.sets(st.sampled_from(sorted(world.everybody)), max_size=n - t))
    )
    q = {seat: words for seat, words in plain(n, words).items() if seat in live}
    lo, hi = summed(world.mask({seat: started[seat] for seat in live}, q))
    reveals, recovers, _ = world.say(started, survivors, quiet)
    assert hi.max() < len(live)
    gathered = world.gather(survivors, reveals, recovers)
    assert gathered.silent == quiet & live and not gathered.missing
    assert not gathered.false_seats
    assert list(world.unmask(survivors, gathered, lo)) == list(whole(q, live))


def test_a_circulant_graph_with_drops_and_silence() -> None:
    world = Round(66, 2, u_min=64, words=12, name="circulant")
    assert world.terms.k == 6
    q = plain(66, 12)
    started = world.start()
    survivors = Survivors(world.everybody, world.everybody - {5, 6})
    masked = world.mask(
        {s: started[s] for s in survivors.survivors},
        {seat: q[seat] for seat in survivors.survivors},
    )
    reveals, recovers, _ = world.say(started, survivors, frozenset({4, 7, 30}))
    gathered = world.gather(survivors, reveals, recovers)
    assert gathered.silent == {4, 7, 30}
    lo, _ = summed(masked)
    assert list(world.unmask(survivors, gathered, lo)) == list(whole(q, survivors.survivors))
    # The far silent seat owed no m, so its mu stays unknown.
    assert set(gathered.mus) == {4, 5, 6, 7}


def test_what_is_missing_is_named_until_t_have_spoken(five: Round) -> None:
    started = five.start()
    survivors = Survivors(five.everybody, frozenset({1, 2, 3, 4}))
    reveals, recovers, _ = five.say(started, survivors, frozenset({4}))
    for count in range(5):
        seats = [1, 2, 3, 5][:count]
        gathered = five.gather(
            survivors, {s: reveals[s] for s in seats}, {s: recovers[s] for s in seats}
        )
        assert (not gathered.missing) is (count == 4)
        assert (5 in gathered.missing) is (count < 4)
    with pytest.raises(AssertionError):
        Unmasker(
            five.terms,
            five.binding,
            dealings=five.dealings,
            survivors=survivors,
            gathered=five.gather(survivors, {}, {}),
        )


def test_every_set_of_t_holders_rebuilds_every_secret(five: Round) -> None:
    started = five.start()
    secrets = [polynomial[0] for polynomial in five.joined[2].polynomials]
    for kind in (BETA, SIGMA, MU):
        for seats in combinations(sorted(five.everybody), five.terms.t):
            shares = {seat: started[seat].received[2][32 * kind : 32 * kind + 32] for seat in seats}
            recovered = recover_secret(five.terms, 2, kind, shares, five.dealings[2])
            assert recovered.secret == secrets[kind]


def test_attack_24_a_wrong_beta_is_blamed_and_recovered(five: Round) -> None:
    started, q = five.start(), plain(5, 8)
    survivors = Survivors(five.everybody, five.everybody)
    lo, _ = summed(five.mask(started, q))
    reveals, recovers, _ = five.say(started, survivors)
    reveals[3] = dataclasses.replace(reveals[3], beta=bytes(32))
    gathered = five.gather(survivors, reveals, recovers)
    assert gathered.false_seats == {3} and gathered.silent == {3} and gathered.missing == {3}
    _, recovers, _ = five.say(started, survivors, frozenset({3}))
    gathered = five.gather(survivors, reveals, recovers)
    assert gathered.false_seats == {3} and not gathered.missing
    assert list(five.unmask(survivors, gathered, lo)) == list(whole(q, five.everybody))


def test_attack_24_wrong_shares_and_a_wrong_m_are_blamed_and_worked_around(five: Round) -> None:
    started, q = five.start(), plain(5, 8)
    survivors = Survivors(five.everybody, frozenset({1, 2, 3, 4}))
    live = {seat: q[seat] for seat in survivors.survivors}
    lo, _ = summed(five.mask({seat: started[seat] for seat in live}, live))
    honest, _, _ = five.say(started, survivors)
    shares, wrong = honest[2].dropped[0], b"\x01" * 32
    for spoiled in (
        dataclasses.replace(shares, sigma=wrong),
        dataclasses.replace(shares, mu=wrong),
        dataclasses.replace(shares, m=wrong),
    ):
        reveals = {**honest, 2: dataclasses.replace(honest[2], dropped=(spoiled,))}
        _, recovers, _ = five.say(started, survivors, frozenset({2}))
        gathered = five.gather(survivors, reveals, recovers)
        assert gathered.false_seats == {2} and not gathered.missing
        assert list(five.unmask(survivors, gathered, lo)) == list(whole(q, survivors.survivors))


def test_attack_56_an_m_for_a_member_that_was_not_dropped_is_never_used(five: Round) -> None:
    started = five.start()
    survivors = Survivors(five.everybody, frozenset({1, 2, 3, 4}))
    reveals, recovers, _ = five.say(started, survivors)
    # No honest reveal holds one ...
    for said in reveals.values():
        assert {shares.seat for shares in said.dropped} == {5}
    # ... and one that comes names its sender as broken, and is left out.
    extra = dataclasses.replace(reveals[1].dropped[0], seat=2, m=started[2].received[1][96:])
    reveals[1] = dataclasses.replace(reveals[1], dropped=(*reveals[1].dropped, extra))
    gathered = five.gather(survivors, reveals, recovers)
    assert gathered.false_seats == {1} and (1, 2) not in gathered.ms and not gathered.missing


def test_a_total_is_computed_without_changing_the_sum(five: Round) -> None:
    started, q = five.start(), plain(5, 8)
    survivors = Survivors(five.everybody, five.everybody)
    lo, _ = summed(five.mask(started, q))
    before = lo.copy()
    reveals, recovers, _ = five.say(started, survivors)
    gathered = five.gather(survivors, reveals, recovers)
    lo.flags.writeable = False
    x = five.unmask(survivors, gathered, lo)
    assert np.array_equal(lo, before) and x.dtype == np.int32
    unmasker = Unmasker(
        five.terms,
        five.binding,
        dealings=five.dealings,
        survivors=survivors,
        gathered=gathered,
    )
    assert (repr(gathered), repr(unmasker)) == ("Gathered", "Unmasker")


def test_attack_23_a_false_dealing_of_a_silent_member_is_named(five: Round) -> None:
    # Seat 2 committed to another beta than it dealt: the shares fit their leaves and each other.
    started = five.start()
    dealings = {
        **five.dealings,
        2: five.dealings[2]._replace(self_commit=five.dealings[3].self_commit),
    }
    shares = {seat: started[seat].received[2][:32] for seat in (1, 3, 4, 5)}
    for kind, dealing in (
        (BETA, dealings[2]),
        (BETA, five.dealings[2]._replace(blob=b"")),
    ):
        with pytest.raises(MemberFault) as caught:
            recover_secret(five.terms, 2, kind, shares, dealing)
        assert caught.value.kind is MemberFaultKind.BAD_DEALING and caught.value.seats == (2,)
    sigmas = {seat: started[seat].received[2][32:64] for seat in (1, 3, 4, 5)}
    with pytest.raises(MemberFault):
        recover_secret(
            five.terms, 2, SIGMA, sigmas, five.dealings[2]._replace(epk=five.dealings[3].epk)
        )
