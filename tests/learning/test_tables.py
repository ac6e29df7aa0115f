"""Tables: what is declared is checked, what does not fit is placed, and no value ever leaks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.errors import DataFault, StudyFault
from comity.learning.tables import Column, Reading, Table, Unread, inspect_table, read_table

COLUMNS = (
    Column("age", "integer", unit="years", low=0, high=120),
    Column("weight", "real", low=0.5),
    Column("smoker", "category", categories=("no", "yes")),
    Column("ill", "label", categories=("0", "1")),
)
GOOD = b"ill,age,note,weight,smoker\n1,50,x,70.5,yes\n0,7,y,2e1,no\n"


def fault(raw: bytes, columns: tuple[Column, ...] = COLUMNS) -> str:
    with pytest.raises(DataFault) as caught:
        read_table(columns, raw, file_name="t.csv")
    return str(caught.value)


def test_a_table_that_fits_is_read_in_declared_order() -> None:
    reading = read_table(COLUMNS, GOOD, file_name="t.csv")
    table = reading.table
    assert (reading.rows_count, reading.dropped_count, len(table)) == (2, 0, 2)
    assert table.names() == ("age", "weight", "smoker", "ill")
    assert table["age"].tolist() == [50, 7] and table["weight"].tolist() == [70.5, 20]
    assert table["smoker"].tolist() == [1, 0] and table["ill"].tolist() == [1, 0]
    assert all(table[name].dtype == np.float64 for name in table.names())


def test_byte_order_mark_quotes_and_windows_lines_are_usual() -> None:
    raw = b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n").replace(b"50", b'"50"')
    assert read_table(COLUMNS, raw, file_name="t.csv").table["age"].tolist() == [50, 7]


@pytest.mark.parametrize(
    ("cell", "column", "expected"),
    [
        (b"1,5.5,x,70,yes", "age", "a whole number"),
        (b"1,121,x,70,yes", "age", "at most 120 years"),
        (b"1,-1,x,70,yes", "age", "at least 0 years"),
        (b"1,1_0,x,70,yes", "age", "a whole number"),
        (b"1,50,x,nan,yes", "weight", "a decimal number"),
        (b"1,50,x,1e999,yes", "weight", "a number that is not too large"),
        (b"1,50,x,0x1p3,yes", "weight", "a decimal number"),
        ("1,50,x,٣,yes".encode(), "weight", "a decimal number"),
        (b"1,50,x,70,YES", "smoker", "one of 2 declared categories"),
        (b"2,50,x,70,yes", "ill", "one of 2 declared categories"),
        (b"1,,x,70,yes", "age", "a value, but the cell is empty"),
    ],
)
def test_each_cell_that_does_not_fit_is_placed(cell: bytes, column: str, expected: str) -> None:
    text = fault(GOOD + cell + b"\n")
    assert f"t.csv, row 4, column {column}: expected {expected}" in text


def test_all_problems_are_counted_and_five_shown() -> None:
    text = fault(GOOD + b"1,x,x,70,yes\n" * 40)
    assert "40 problems in all" in text and "and 35 more" in text
    assert text.count("column age: expected a whole number") == 6  # the first is said twice


def test_no_value_is_in_a_message() -> None:
    """The attack: a fault text that carries a patient's value into a log."""
    secret = b"SECRET-4711"
    for row in (b"1,%s,x,70,yes\n", b"1,50,x,%s,yes\n", b"1,50,x,70,%s\n", b'1,50,x,70,"%s\n'):
        assert "4711" not in fault(GOOD + row % secret)
    assert "4711" not in fault(b"%s,age\n1,2\n" % secret)
    assert repr(read_table(COLUMNS, GOOD, file_name="t").table) == "Table"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "row 1, column age: expected all declared columns"),
        (b"age,weight,smoker\n", "row 1, column ill: expected all declared columns"),
        (b"age;weight;smoker;ill\n", "parted by commas"),
        (b"age ,weight,smoker,ill\n", "blanks around them"),
        (b"age,age,weight,smoker,ill\n", "more than once"),
        (b"ill,age,note,weight,smoker\n", "at least one row"),
        (GOOD + b"1,2\n", "row 4: expected 5 fields"),
        (GOOD + b"1,\xff\n", "row 4: expected UTF-8"),
        (GOOD + b'1,"', "closed quotes"),
    ],
)
def test_files_that_are_no_such_table_are_refused(raw: bytes, expected: str) -> None:
    assert expected in fault(raw)


def test_dropping_rows_is_a_declared_step() -> None:
    raw = GOOD + b"1,?,x,70,yes\n1,60,x, ,yes\n"
    reading = read_table(
        COLUMNS, raw, file_name="t.csv", missing="drop rows", missing_texts=("", "?")
    )
    assert (reading.rows_count, reading.dropped_count, len(reading.table)) == (4, 2, 2)
    assert "column age" in fault(raw)


def test_blanks_in_headers_are_cut_off_only_when_declared() -> None:
    raw = GOOD.replace(b"ill,", b"ill ,")
    assert "blanks" in fault(raw)
    found = inspect_table(COLUMNS, raw, strip_headers=True)
    assert isinstance(found, Reading)


def test_a_table_is_filtered_by_category_and_cannot_be_changed() -> None:
    table = read_table(COLUMNS, GOOD, file_name="t.csv").table
    assert table.only("smoker", "no")["age"].tolist() == [7]
    assert len(table.where(table["age"] > 100)) == 0
    with pytest.raises(KeyError):
        table.only("smoker", "maybe")
    with pytest.raises(ValueError, match="read-only"):
        table["age"][0] = 1


@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_unread(raw: bytes) -> None:
    for data in (raw, GOOD + raw):
        assert isinstance(inspect_table(COLUMNS, data), Reading | Unread)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Column(""), "1 to 64"),
        (lambda: Column(" a"), "blanks"),
        (lambda: Column("a", "text"), "kind is one of"),  # type: ignore[arg-type]  # as authors may
        (lambda: Column("a", "category"), "two or more"),
        (lambda: Column("a", "label", categories=("x", "x")), "two or more"),
        (lambda: Column("a", "label", low=1, categories=("x", "y")), "not a range"),
        (lambda: Column("a", categories=("x", "y")), "only a category"),
        (lambda: Column("a", low=2, high=1), "low is at most high"),
        (lambda: Column("a", low=float("inf")), "finite"),
    ],
)
def test_contradictory_columns_are_refused_in_plain_words(make: object, sentence: str) -> None:
    assert callable(make)
    with pytest.raises(StudyFault, match=sentence):
        make()


def test_a_table_is_only_its_declared_columns() -> None:
    assert Table(COLUMNS[:1], {"age": np.array([1.0])}).names() == ("age",)
