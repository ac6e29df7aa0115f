"""Limits of `values.py` that belong to no single module: at the edge it passes, beyond it does not.

All others are crossed in the tests of the module that keeps them; the house test looks for each.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import msgspec
import pytest

from comity.commons.charter import charter_bytes, parse_charter
from comity.commons.gate import check_open_time
from comity.commons.opening import mask_degree
from comity.commons.studies import plan_fault
from comity.errors import Malformed, Refused, Rule
from comity.node.answers import read_batch
from comity.statements.studies import Deadlines
from comity.values import (
    CHARTER_BYTES_MAX,
    CLOCK_APART_S,
    COMPLETE_GRAPH_MAX,
    DEADLINE_S_MAX,
    ENTRIES_PER_REQUEST_MAX,
    ROSTER_MIN,
    SLUG_BYTES_MAX,
    STATEMENTS_PER_REQUEST_MAX,
    is_slug,
)
from tests.host.asking import ask
from tests.host.hosting import hosting
from tests.worlds import FIRST_S, charter_of, plan_of


def test_ids_are_short() -> None:
    assert is_slug("a" * SLUG_BYTES_MAX)
    assert not is_slug("a" * (SLUG_BYTES_MAX + 1))


def test_a_charter_is_measured_before_it_is_read() -> None:
    blob = charter_bytes(charter_of(3))
    assert parse_charter(blob) == charter_of(3)
    with pytest.raises(Malformed, match=f"at most {CHARTER_BYTES_MAX} bytes"):
        parse_charter(blob + b" " * (CHARTER_BYTES_MAX + 1 - len(blob)))


@pytest.mark.parametrize("side", [-1, 1])
def test_clocks_may_be_five_minutes_apart(side: int) -> None:
    check_open_time(FIRST_S, FIRST_S + side * CLOCK_APART_S)
    with pytest.raises(Refused) as refused:
        check_open_time(FIRST_S, FIRST_S + side * (CLOCK_APART_S + 1))
    assert refused.value.rule is Rule.CLOCK_APART


def test_deadlines_lie_within_a_year() -> None:
    fields = Deadlines.__struct_fields__
    longest = dict.fromkeys(fields, DEADLINE_S_MAX)
    assert msgspec.convert(longest, Deadlines).end_by_s == DEADLINE_S_MAX
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**longest, "end_by_s": DEADLINE_S_MAX + 1}, Deadlines)


def test_a_secure_sum_needs_three() -> None:
    bounds = charter_of(3).studies
    assert plan_fault(bounds, plan_of(3), ROSTER_MIN) is None
    fault = plan_fault(bounds, plan_of(3), ROSTER_MIN - 1)
    assert fault is not None and f"at least {ROSTER_MIN}" in fault


def test_everybody_masks_with_everybody_in_small_rosters() -> None:
    edge = COMPLETE_GRAPH_MAX
    assert mask_degree(edge, 1, edge) == edge - 1
    assert mask_degree(edge + 1, 1, edge + 1) == 2


def test_a_host_takes_so_many_statements_at_once_and_no_more(tmp_path: Path) -> None:
    with hosting(tmp_path) as hosted:
        full = b"{}\n" * STATEMENTS_PER_REQUEST_MAX
        status, said = ask(hosted, "POST", "/statements", full)
        assert status == 200 and len(cast("list[object]", said["results"])) == len(full) // 3
        assert ask(hosted, "POST", "/statements", full + b"{}\n")[0] == 413


def test_a_host_cannot_send_more_entries_or_answers_than_were_agreed() -> None:
    line = b'{"cosignatures":[],"count":%d,"from":0,"heads":[],"note":null,"version":1}\n'
    entries = b"\0\1x" * (ENTRIES_PER_REQUEST_MAX + 1)
    most = read_batch(line % ENTRIES_PER_REQUEST_MAX + entries[3:], 0)
    assert len(most.entries) == ENTRIES_PER_REQUEST_MAX
    with pytest.raises(Malformed):
        read_batch(line % (ENTRIES_PER_REQUEST_MAX + 1) + entries, 0)
