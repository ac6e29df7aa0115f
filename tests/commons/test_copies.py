"""Copies that cost little: a layered mapping is a dict that keeps what it was; `changed` replaces.

Laws: the same content and order as a dict of the same additions; older ones never change; the work
for each addition does not grow with the number of keys.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.commons.copies import Layered, changed
from comity.commons.state import Author
from comity.values import NOTHING, StatementId

KEYS = st.integers(0, 30)


@given(st.lists(st.tuples(KEYS, st.integers())), st.dictionaries(KEYS, st.integers()))
def test_it_is_a_dict_that_keeps_what_it_was(
    added: list[tuple[int, int]], start: dict[int, int]
) -> None:
    layered, plain = Layered(start), dict(start)
    before: list[tuple[Layered[int, int], dict[int, int]]] = []
    for key, value in added:
        before.append((layered, dict(plain)))
        layered = layered.adding(key, value)
        plain[key] = value
    for one, other in (*before, (layered, plain)):
        assert one == other and list(one.items()) == list(other.items())
        assert len(one) == len(other) and repr(one) == f"Layered({other})"
        assert all((key in one) == (key in other) for key in range(31))
    with pytest.raises(KeyError):
        layered[99]


def test_additions_do_not_grow_dearer() -> None:
    layered: Layered[int, int] = Layered()
    for key in range(5_000):
        layered = layered.adding(key, key)
    assert len(layered._layers) <= 14
    sizes = [len(layer) for layer in layered._layers]
    assert all(later < earlier for earlier, later in itertools.pairwise(sizes))


def test_a_changed_value_is_what_replace_gives_and_the_old_one_stays() -> None:
    author = Author(1, StatementId(NOTHING), 2, 3, 4, 5)
    assert changed(author, time_s=9) == replace(author, time_s=9)
    assert author.time_s == 3
    with pytest.raises(KeyError):
        changed(author, clock_s=9)
