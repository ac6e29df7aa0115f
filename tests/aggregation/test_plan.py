"""The validator accepts exactly section 4, as narrowed to one graph rule."""

from __future__ import annotations

import msgspec
import pytest

from comity.aggregation.plan import AttemptPlan, graph_degree, plan_fault
from comity.values import VECTOR_WORDS_MAX, Digest, confirm_quorum, sha256


def plan(n: int = 5, c: int = 1, u_min: int = 3, **changes: object) -> AttemptPlan:
    honest = AttemptPlan(
        opened=sha256(b"open"),
        roster=tuple(f"m{seat:03}" for seat in range(1, n + 1)),
        sealing_keys=tuple(bytes([seat]) * 1216 for seat in range(1, n + 1)),
        n=n,
        c=c,
        t=confirm_quorum(n, c),
        u_min=u_min,
        k=graph_degree(n, c, u_min),
        words=8,
    )
    return msgspec.structs.replace(honest, **changes)


def test_every_plan_of_the_rules_is_accepted_and_no_other() -> None:
    for n in range(1, 12):
        for c in range(n + 2):
            for u_min in range(n + 3):
                good = n >= 3 and c >= 1 and c + 2 <= u_min <= n and (n + c) // 2 + 1 <= n
                made = plan(n, c, u_min, k=n - 1)
                assert (plan_fault(made) is None) is good, (n, c, u_min)


@pytest.mark.parametrize(
    "n, c, u_min, k", [(100, 33, 67, 68), (200, 20, 180, 42), (200, 66, 134, 134), (64, 1, 64, 63)]
)
def test_the_degrees_of_the_table(n: int, c: int, u_min: int, k: int) -> None:
    assert graph_degree(n, c, u_min) == k
    assert plan_fault(plan(n, c, u_min)) is None


def test_above_64_seats_k_is_complete_or_even_and_large_enough() -> None:
    accepted = {k for k in range(201) if plan_fault(plan(200, 20, 180, k=k)) is None}
    assert accepted == {*range(42, 200, 2), 199}
    accepted = {k for k in range(66) if plan_fault(plan(65, 1, 65, k=k)) is None}
    assert accepted == {*range(2, 65, 2)}


@pytest.mark.parametrize(
    "changes",
    [
        {"t": 1},
        {"t": 3},
        {"t": 5},
        {"c": 0},
        {"c": -1},
        {"u_min": 2},
        {"u_min": 6},
        {"k": 2},
        {"k": 0},
        {"k": 5},
        {"n": 4},
        {"words": 4},
        {"words": 10},
        {"words": VECTOR_WORDS_MAX + 4},
        {"opened": Digest("00")},
        {"roster": ("m001", "m002", "m003", "m004")},
        {"roster": ("m001", "m002", "m003", "m005", "m004")},
        {"roster": ("m001", "m002", "m003", "m004", "m004")},
        {"roster": ("M001", "m002", "m003", "m004", "m005")},
        {"sealing_keys": tuple(bytes([1]) * 1216 for _ in range(5))},
        {"sealing_keys": tuple(bytes([seat]) * 1215 for seat in range(5))},
    ],
)
def test_attack_7_weak_or_odd_parameters_are_named(changes: dict[str, object]) -> None:
    assert plan_fault(plan()) is None
    assert plan_fault(msgspec.structs.replace(plan(), **changes)) is not None


def test_the_numbers_are_those_of_the_plan() -> None:
    made = plan(200, 20, 180)
    terms = made.terms()
    assert (terms.n, terms.c, terms.t, terms.u_min, terms.k) == (200, 20, 111, 180, 42)
