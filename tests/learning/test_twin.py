"""Twins fit what a study declares; partitions deal every row once, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from comity.errors import DataFault, Misconfigured
from comity.learning.fitting import check_fit
from comity.learning.partition import by_column, dirichlet, even, named
from comity.learning.study import Contract
from comity.learning.tables import Column, Table, read_table
from comity.learning.twin import twin

LABEL = Column("ill", "label", categories=("no", "yes", "maybe"))
COLUMNS = (
    Column("id", "integer", low=0, high=10**9),
    Column("free", "real"),
    Column("low", "real", low=-3.5),
    Column("high", "integer", high=7),
    Column("tight", "real", low=0.1, high=0.1000001),
    LABEL,
)


def made(rows: int, seed: int = 0) -> bytes:
    return twin(COLUMNS, rows, np.random.default_rng(seed))


def table_of(rows: int) -> Table:
    return read_table(COLUMNS, made(rows), file_name="twin.csv").table


@pytest.mark.parametrize("rows", [3, 10, 1_000])
def test_a_twin_fits_and_repeats(rows: int) -> None:
    fit = check_fit(Contract(COLUMNS, "refuse", ("",), False), made(rows))
    assert fit.fits and fit.used == rows
    assert not {each.trouble for each in fit.findings} & {"one-class", "duplicates"}
    assert made(rows) == made(rows) != made(rows, 1)


@pytest.mark.parametrize("count", [1, 3, 7, 30])
def test_every_row_is_dealt_once(count: int) -> None:
    table = table_of(30)
    ids = sorted(table["id"].tolist())
    for parts in (
        even(table, count, np.random.default_rng(1)),
        dirichlet(table, LABEL, count, 0.2, np.random.default_rng(1)),
    ):
        assert sorted(row for part in parts.values() for row in part["id"].tolist()) == ids
        assert len(parts) == count and min(map(len, parts.values())) >= 1
    sizes = [len(part) for part in even(table, count, np.random.default_rng(1)).values()]
    assert max(sizes) - min(sizes) <= 1


def test_a_small_alpha_makes_members_unlike() -> None:
    """Mean largest share of a class: near 1 at 0.05, near a third at 1000. The seed is fixed."""
    table = table_of(900)

    def skew(alpha: float) -> float:
        parts = dirichlet(table, LABEL, 10, alpha, np.random.default_rng(3))
        tops = [np.bincount(part["ill"].astype(int)).max() / len(part) for part in parts.values()]
        return float(np.mean(tops))

    assert skew(0.05) > 0.75 and skew(1000.0) < 0.45


def test_members_share_the_memory_of_one_table() -> None:
    parts = even(table_of(300), 100, np.random.default_rng(0))
    owners = {id(part["id"].base) for part in parts.values()}
    assert len(owners) == 1


def test_more_members_than_rows_cannot_be() -> None:
    with pytest.raises(Misconfigured, match="4 members"):
        even(table_of(3), 4, np.random.default_rng(0))
    with pytest.raises(Misconfigured, match="4 members"):
        dirichlet(table_of(3), LABEL, 4, 1.0, np.random.default_rng(0))


def test_a_column_parts_a_file_and_keeps_its_lines() -> None:
    raw = b'site,x\nWest (1),"a,b"\nEast,2\nWest (1),3\n'
    parts = by_column(raw, "site", "t.csv")
    assert parts == {
        named("West (1)"): b'site,x\nWest (1),"a,b"\nWest (1),3\n',
        named("east"): b"site,x\nEast,2\n",
    }
    assert set(parts) == {"west-1", "east"}


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"x\n1\n", DataFault),
        (b"site,site\na,b\n", DataFault),
        (b"site,x\na\n", DataFault),
        (b"\xff", DataFault),
        (b"site,x\nA,1\na,2\n", Misconfigured),
        (b"site,x\n?,1\n", Misconfigured),
    ],
)
def test_a_file_that_cannot_be_parted_is_refused(raw: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        by_column(raw, "site", "t.csv")
