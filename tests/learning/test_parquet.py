"""Parquet is judged as the comma-separated text it would be exported to: same rows, same words."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.errors import DataFault, Malformed
from comity.learning.fitting import check_fit, contract_text
from comity.learning.parquet import parquet_as_text, table_as_parquet
from comity.learning.study import Contract
from comity.learning.tables import Column, Reading, Source, Unread, inspect_table
from comity.learning.twin import twin
from comity.node.sandbox import Sandbox
from tests.cli.test_studies_page import study_of_page

COLUMNS = (
    Column("age", "integer", unit="years", low=0, high=120),
    Column("chol", "real", sources=(Source("chol_mmol", factor=38.67),)),
    Column("smoker", "category", categories=("no", "yes")),
    Column("ill", "label", categories=("no", "yes")),
)
BOUNDED = (COLUMNS[0], Column("chol", "real", low=50, high=600), *COLUMNS[2:])
CONTRACT = Contract(COLUMNS, "refuse", ("",), False)
SECRET = 4711


def written(**columns: object) -> bytes:
    """A Parquet file of these columns."""
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def read(raw: bytes, contract: Contract = CONTRACT) -> Reading | Unread:
    """As a site reads it."""
    text = contract_text(contract, raw)
    return inspect_table(
        contract.columns, text, missing=contract.missing, missing_texts=contract.missing_texts
    )


def test_a_line_end_within_a_cell_ends_no_row() -> None:
    raw = written(age=["1\r2", "3\n4", "5\r\n6"])
    rows = list(csv.reader(io.StringIO(parquet_as_text(raw, {"age"}, ()).decode(), newline="")))
    assert rows == [["age"], ["1\r2"], ["3\n4"], ["5\r\n6"]]


def test_a_twin_is_the_same_table_in_both_forms() -> None:
    text = twin(COLUMNS, 50, np.random.default_rng(3))
    raw = table_as_parquet(COLUMNS, text)
    assert raw[:4] == b"PAR1"
    plain, packed = inspect_table(COLUMNS, text), read(raw)
    assert isinstance(plain, Reading) and isinstance(packed, Reading)
    for column in COLUMNS:
        assert np.array_equal(plain.table[column.name], packed.table[column.name])
    assert check_fit(CONTRACT, raw) == check_fit(CONTRACT, text)


def test_every_number_comes_as_it_is() -> None:
    numbers = [0.1 + 0.2, 1e-300, -7.25, float(np.float32(0.1))]
    chol = pa.array(numbers, pa.float64())
    same = pa.array(["no", "yes", "no", "yes"])
    found = read(written(age=[1, 2, 3, 4], chol=chol, smoker=same.dictionary_encode(), ill=same))
    assert isinstance(found, Reading)
    assert list(found.table["chol"]) == numbers


def test_problems_are_told_by_row_and_column_and_never_by_value() -> None:
    yes = ["no", "yes", "no"]
    raw = written(age=[50, SECRET, None], chol=[1.0, float("nan"), 2.0], smoker=yes, ill=yes)
    found = read(raw)
    assert isinstance(found, Unread)
    assert [(p.row, p.column) for p in found.problems] == [(3, "age"), (3, "chol"), (4, "age")]
    assert str(SECRET) not in found.text("a.parquet")
    fit = check_fit(CONTRACT, raw)
    troubles = {(each.trouble, each.column, each.count) for each in fit.findings}
    assert {("missing", "age", 1), ("out-of-range", "age", 1)} <= troubles
    assert str(SECRET) not in repr(fit)
    dropped = Contract(COLUMNS, "drop rows", ("?",), False)
    raw = written(age=[50, None], chol=[1.0, 2.0], smoker=["no", "no"], ill=["no", "yes"])
    kept = read(raw, dropped)
    assert isinstance(kept, Reading) and (kept.rows_count, kept.dropped_count) == (2, 1)


def test_only_wanted_columns_are_read_and_other_kinds_are_refused_by_name() -> None:
    base = {"age": [1], "chol_mmol": [5.0], "smoker": ["no"], "ill": ["yes"]}
    apart = {"visits": [[1, 2]], "born": [date(1970, 1, 1)], "age.then": [7]}
    fine = read(written(**base, **apart))
    assert isinstance(fine, Reading) and fine.table["chol"][0] == 5 * 38.67
    with pytest.raises(Malformed, match="column age, which holds date32"):
        read(written(**{**base, "age": [date(1970, 1, 1)]}))
    fit = check_fit(CONTRACT, written(**{**base, "age": [[1]]}))
    assert not fit.fits and fit.findings[0].trouble == "unreadable"


@settings(max_examples=150, deadline=None)
@given(st.integers(4, 700), st.binary(min_size=1, max_size=4))
def test_damaged_files_are_malformed_and_nothing_else(place: int, change: bytes) -> None:
    raw = table_as_parquet(COLUMNS, twin(COLUMNS, 5, np.random.default_rng(0)))
    damaged = raw[: place % len(raw)] + change + raw[place % len(raw) + len(change) :]
    with suppress(Malformed):  # it may be another table now, or the same
        read(damaged)
    for cut in (raw[:place], raw[:4] + change):
        with pytest.raises(Malformed):
            parquet_as_text(cut, {"age"}, ("",))


def test_a_site_reads_parquet_behind_the_walls(tmp_path: Path) -> None:
    """In the study's process, with its limits; what does not fit names row and column."""
    study = tmp_path / "risk.py"
    study.write_text(study_of_page())
    table = tmp_path / "table.parquet"
    table.write_bytes(table_as_parquet(BOUNDED, twin(BOUNDED, 40, np.random.default_rng(1))))
    sandbox = Sandbox.start(study, table, tmp_path / "work", policy="warn")
    try:
        sandbox.describe()
        assert sandbox.check_data().rows_count == 40
    finally:
        sandbox.close()
    yes = ["no", "yes"]
    table.write_bytes(written(age=[50, SECRET], chol=[100.0, 200.0], smoker=yes, ill=yes))
    sandbox = Sandbox.start(study, table, tmp_path / "work", policy="warn")
    try:
        sandbox.describe()
        with pytest.raises(DataFault, match="row 3, column age") as caught:
            sandbox.check_data()
        assert str(SECRET) not in str(caught.value)
    finally:
        sandbox.close()
