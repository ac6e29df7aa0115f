"""Exhaustive check of T1 to T3 over all final states of one attempt (aggregation.md 7).

The threshold t passes for every roster, t - 1 fails for every roster: so the check can fail. A
state says, for every honest member, what it did with two Closes (over U1, over U2 = U1 without a
victim): nothing, abandoned, or confirmed and perhaps released for one of them. Colluders sign
everything. Members are interchangeable within a class, so states are counted by class.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from comity.values import confirm_quorum

PAIRS = [(n, c) for n in range(3, 11) for c in range(1, n - 1) if confirm_quorum(n, c) <= n]


def splits(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """All ways to spread `total` members over `parts` acts."""
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in splits(total - first, parts - 1):
            yield (first, *rest)


def two_quorums(n: int, c: int, t: int) -> bool:
    """T1: may two Closes of one attempt both get t Confirms? Each honest member signs one."""
    return any(first + c >= t and second + c >= t for first, second, _ in splits(n - c, 3))


def both_secrets(n: int, c: int, t: int) -> bool:
    """T2: may t holders give shares of beta (Close with i) and t of sigma (Close without i)?

    An honest member gives shares only under a Close with t Confirms that it sees.
    """
    for first, second, _ in splits(n - c, 3):
        confirmed = [first + c >= t, second + c >= t]
        # Whoever confirmed neither may still release for either Close that has its quorum.
        idle = n - c - first - second
        for for_beta in range(idle + 1):
            beta = confirmed[0] and first + for_beta + c >= t
            sigma = confirmed[1] and second + (idle - for_beta) + c >= t
            if beta and sigma:
                return True
    return False


def sealed_yet_revealed(n: int, c: int, t: int) -> bool:
    """T3, sealed: t members abandoned unreleased, and still t holders give shares.

    Honest acts: abandoned unreleased (never gives a share again), or free to release.
    """
    return any(abandoned + c >= t and released + c >= t for abandoned, released in splits(n - c, 2))


def burned_and_resummed(n: int, c: int, t: int) -> bool:
    """T3, burned: t Abandons hide the confirmed Close, or a retry confirms another set.

    Honest acts: (confirmed, abandoned naming it), (confirmed, silent), (not, abandoned), (not).
    """
    for named, silent, unnamed, idle in splits(n - c, 4):
        if named + silent + c < t or named + unnamed + c < t:
            continue
        if named == 0:
            return True
        # In the retry with the same roster the confirmers of U confirm nothing else.
        if unnamed + idle + c >= t:
            return True
    return False


PROPERTIES = [two_quorums, both_secrets, sealed_yet_revealed, burned_and_resummed]


@pytest.mark.parametrize("broken", PROPERTIES)
def test_no_state_breaks_the_promise_with_t(broken: object) -> None:
    assert callable(broken) and len(PAIRS) >= 36
    assert not [pair for pair in PAIRS if broken(*pair, confirm_quorum(*pair))]


@pytest.mark.parametrize("broken", PROPERTIES)
def test_some_state_breaks_the_promise_with_t_minus_1(broken: object) -> None:
    assert callable(broken)
    failing = [pair for pair in PAIRS if broken(*pair, confirm_quorum(*pair) - 1)]
    # A retry is only endangered where t - 1 leaves room for a second set.
    assert failing and (broken is burned_and_resummed or failing == PAIRS)


def test_t1_for_every_roster_up_to_200() -> None:
    for n in range(3, 201):
        for c in range(1, n - 1):
            t = confirm_quorum(n, c)
            assert 2 * t > n + c >= 2 * (t - 1)
            # T8: the honest alone suffice exactly when n >= 3c + 1.
            assert (n - c >= t) is (n >= 3 * c + 1)


def sealed_for_me_yet_open(n: int, c: int, t: int, *, own_abandon: bool, c_plus_1: bool) -> bool:
    """R5: may my input open in an attempt that I take for sealed? (u_min is left aside.)

    The sum over U opens when every honest member of U may still give its beta, so when none of
    them has abandoned unreleased. If I did, my own beta is gone: so I released, or I did nothing.

    Args:
        n, c, t: of the roster.
        own_abandon: whether I must have abandoned myself.
        c_plus_1: whether, having released, I want c + 1 of the t abandoners inside my U.
    """
    honest = n - c
    for inside in range(1, honest + 1):
        for quit_in in range(inside):
            for quit_out in range(honest - inside + 1):
                if quit_in + quit_out + c < t or quit_in > 0:
                    continue
                for colluders_in in range(c + 1):
                    released_and_content = not c_plus_1 or quit_in + colluders_in >= c + 1
                    idle_and_content = not own_abandon
                    if released_and_content or idle_and_content:
                        return True
    return False


def test_both_own_conditions_of_sealed_are_needed() -> None:
    for n, c in PAIRS:
        t = confirm_quorum(n, c)
        assert not sealed_for_me_yet_open(n, c, t, own_abandon=True, c_plus_1=True)
        assert sealed_for_me_yet_open(n, c, t, own_abandon=False, c_plus_1=True) is (t < n)
        assert sealed_for_me_yet_open(n, c, t, own_abandon=True, c_plus_1=False) is (t < n)
