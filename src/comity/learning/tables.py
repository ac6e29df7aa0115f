"""A site's table, strictly as the study declares it: columns, kinds, ranges, empty cells.

Bytes in, a `Table` out, or a `DataFault` that names file, row and column, never the value in a
cell. All problems are counted and the first few are shown, so that one reading is enough to mend a
file. Knows nothing of files or studies.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NoReturn, final, get_args

import numpy as np
import numpy.typing as npt

from comity.errors import DataFault, StudyFault, StudyFaultKind
from comity.learning.steps import Float64Array

Kind = Literal["real", "integer", "category", "label"]

CELL_CHARACTERS_MAX: Final = 1_000
PROBLEMS_SHOWN: Final = 5
WHOLE_MAX: Final = 2**53
_NUMBER = re.compile(r"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,3})?", re.ASCII)


@final
@dataclass(frozen=True, slots=True)
class Column:
    """One column that the study reads.

    Args:
        name: as in the header line, exactly.
        kind: "real": a decimal number; "integer": a whole one; "category": one of `categories`;
            "label": the category to be predicted.
        unit: for people: "years", "mm Hg".
        low: smallest number allowed; None for no bound.
        high: largest number allowed; None for no bound.
        categories: the texts allowed, in the order of their numbers 0, 1, 2, ... in the table.
    """

    name: str
    kind: Kind = "real"
    unit: str = ""
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.isprintable() or not 1 <= len(self.name) <= 64:
            _refuse("a column's name has 1 to 64 printable characters")
        if self.name != self.name.strip():
            _refuse(f"column {self.name}: the name has blanks around it")
        if self.kind not in get_args(Kind):
            _refuse(f"column {self.name}: kind is one of {', '.join(get_args(Kind))}")
        coded = self.kind in ("category", "label")
        if coded and (len(self.categories) < 2 or len(set(self.categories)) < len(self.categories)):
            _refuse(f"column {self.name}: a {self.kind} needs two or more different categories")
        if coded and (self.low is not None or self.high is not None):
            _refuse(f"column {self.name}: a {self.kind} has categories, not a range")
        if not coded and self.categories:
            _refuse(f"column {self.name}: only a category or label has categories")
        bounds = [bound for bound in (self.low, self.high) if bound is not None]
        if any(not math.isfinite(bound) for bound in bounds) or sorted(bounds) != bounds:
            _refuse(f"column {self.name}: low is at most high, and both are finite")


@final
class Table:
    """Named columns of equal length, each float64; categories are their place from 0.

    Read-only: `table["age"]`, `len(table)`, `table.only("part", "train")`.
    """

    __slots__ = ("_arrays", "_columns", "_rows")

    def __init__(self, columns: tuple[Column, ...], arrays: Mapping[str, Float64Array]) -> None:
        assert {column.name for column in columns} == set(arrays)
        assert len({len(array) for array in arrays.values()}) == 1
        self._columns = {column.name: column for column in columns}
        self._arrays = dict(arrays)
        self._rows = len(next(iter(arrays.values())))
        for array in self._arrays.values():
            array.setflags(write=False)

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, name: str) -> Float64Array:
        return self._arrays[name]

    def __repr__(self) -> str:
        return "Table"  # never its rows

    def names(self) -> tuple[str, ...]:
        """The columns, in the order the study declares them."""
        return tuple(self._columns)

    def only(self, name: str, category: str) -> Table:
        """The rows whose column `name` has this category; raises KeyError for an unknown one."""
        categories = self._columns[name].categories
        if category not in categories:
            raise KeyError(f"column {name} declares no category of this name")
        return self.where(self._arrays[name] == categories.index(category))

    def where(self, keep: npt.NDArray[np.bool_]) -> Table:
        """The rows where `keep` (bool, shape (rows,)) is true."""
        return Table(
            tuple(self._columns.values()),
            {name: array[keep] for name, array in self._arrays.items()},
        )


@final
@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: the table, how many rows the file has, how many were dropped as declared."""

    table: Table
    rows_count: int
    dropped_count: int


@final
@dataclass(frozen=True, slots=True)
class Problem:
    """One cell that does not fit. `row`: as a spreadsheet counts, the header is row 1."""

    row: int
    column: str
    expected: str


def read_table(
    columns: tuple[Column, ...],
    raw: bytes,
    *,
    file_name: str,
    missing: str = "refuse",
    missing_texts: Sequence[str] = ("",),
    strip_headers: bool = False,
) -> Reading:
    """Read a table from the bytes of a comma-separated file: UTF-8, a header line, quotes as usual.

    Columns that the study does not declare are not looked at.

    Raises:
        DataFault: the file, the header, or cells do not fit; `where` names the first place.
    """
    lines = _lines(raw, file_name)
    places = _places(columns, next(lines, None), file_name, strip_headers)
    rows: list[list[float]] = []
    problems: list[Problem] = []
    problem_count = dropped_count = rows_count = 0
    empty = frozenset(missing_texts)
    for number, cells in enumerate(lines, start=2):
        if not cells:
            continue  # a blank line is no row
        rows_count += 1
        found: list[float] = []
        wrong: list[Problem] = []
        gap = False
        if len(cells) != places.width:
            wrong.append(Problem(number, "", f"{places.width} fields, as in the header"))
        else:
            for column, place in zip(columns, places.of, strict=True):
                text = cells[place].strip()
                if text in empty:
                    gap = True
                    if missing == "refuse":
                        wrong.append(Problem(number, column.name, "a value, but the cell is empty"))
                    continue
                value, expected = _parse(column, text)
                found.append(value)
                if expected:
                    wrong.append(Problem(number, column.name, expected))
        problem_count += len(wrong)
        problems += wrong[: PROBLEMS_SHOWN - len(problems)]
        if gap:
            dropped_count += 1
        elif not wrong:
            rows.append(found)
    if problem_count:
        _report(problems, problem_count, file_name)
    if not rows:
        raise DataFault("no row is left to learn from", file_name)
    matrix = np.array(rows, np.float64)
    arrays = {column.name: matrix[:, place].copy() for place, column in enumerate(columns)}
    return Reading(Table(columns, arrays), rows_count, dropped_count)


@final
@dataclass(frozen=True, slots=True)
class _Places:
    of: tuple[int, ...]
    width: int


def _lines(raw: bytes, file_name: str) -> Iterator[list[str]]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = raw.count(b"\n", 0, error.start) + 1
        raise DataFault("not UTF-8 text; save it as UTF-8", f"{file_name}, row {row}") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        yield from reader
    except csv.Error:
        raise DataFault(
            "quotes or line ends are broken", f"{file_name}, line {reader.line_num}"
        ) from None


def _places(
    columns: tuple[Column, ...], header: list[str] | None, file_name: str, strip_headers: bool
) -> _Places:
    where = f"{file_name}, row 1"
    if not header:
        raise DataFault("the file has no header line", where)
    names = [name.strip() for name in header] if strip_headers else header
    absent = [column.name for column in columns if column.name not in names]
    if absent:
        stripped = {name.strip() for name in header}
        if any(name in stripped for name in absent):
            hint = "; some have blanks around them (strip_headers=True cuts those off)"
        elif len(header) == 1 and (";" in header[0] or "\t" in header[0]):
            hint = "; fields must be parted by commas"
        else:
            hint = ""
        shown = ", ".join(absent[:PROBLEMS_SHOWN])
        raise DataFault(f"{len(absent)} declared columns are not there: {shown}{hint}", where)
    twice = [column.name for column in columns if names.count(column.name) > 1]
    if twice:
        raise DataFault(f"column {twice[0]} is there more than once", where)
    return _Places(tuple(names.index(column.name) for column in columns), len(header))


def _parse(column: Column, text: str) -> tuple[float, str]:
    """The number of a cell and "", or 0 and what was expected."""
    if column.kind in ("category", "label"):
        if text in column.categories:
            return float(column.categories.index(text)), ""
        return 0.0, f"one of {len(column.categories)} declared categories"
    if len(text) > CELL_CHARACTERS_MAX or _NUMBER.fullmatch(text) is None:
        return 0.0, "a whole number" if column.kind == "integer" else "a decimal number"
    value = float(text)
    if not math.isfinite(value):
        return 0.0, "a number that is not too large"
    if column.kind == "integer" and (value != int(value) or abs(value) > WHOLE_MAX):
        return 0.0, "a whole number"
    if column.low is not None and value < column.low:
        return 0.0, f"at least {column.low:g} {column.unit}".rstrip()
    if column.high is not None and value > column.high:
        return 0.0, f"at most {column.high:g} {column.unit}".rstrip()
    return value, ""


def _report(problems: list[Problem], count: int, file_name: str) -> NoReturn:
    def place(problem: Problem) -> str:
        return f"row {problem.row}" + (f", column {problem.column}" if problem.column else "")

    first, *others = problems
    text = f"expected {first.expected}"
    for problem in others:
        text += f"; {place(problem)}: expected {problem.expected}"
    if count > len(problems):
        text += f"; and {count - len(problems)} more"
    raise DataFault(f"{text} ({count} problems in all)", f"{file_name}, {place(first)}")


def _refuse(message: str) -> NoReturn:
    raise StudyFault(StudyFaultKind.NOT_LOADABLE, f"study file: {message}")
