"""A site's table, strictly as the study declares it: columns, kinds, ranges, empty cells.

Bytes in, a `Table` out, or what does not fit: row, column, what was expected, never the value of a
cell. All problems are counted and the first few are shown, so that one reading is enough to mend a
file. Knows nothing of files or studies.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
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
class Source:
    """Another way in which a site may hold a column: what turns its cells into the declared ones.

    A declared step that everybody reads and that is hashed with the study, so that no site changes
    its own file by hand. A site's table has the column itself or exactly one of its sources.

    Args:
        name: as in the header line there.
        unit: for people: what the site's numbers are in.
        factor: a number of the site times this is one in the column's unit; not 0.
        recode: (text at the site, declared category) for each text that differs.
    """

    name: str
    unit: str = ""
    factor: float = 1.0
    recode: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not math.isfinite(self.factor) or self.factor == 0:
            _refuse(f"source {self.name}: the factor is a number other than 0")
        if len({text for text, _ in self.recode}) < len(self.recode):
            _refuse(f"source {self.name}: recode names a text twice")


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
        sources: other names, units and codes that sites may have it in.
    """

    name: str
    kind: Kind = "real"
    unit: str = ""
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        _check_name(self.name)
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
        names = [self.name, *(source.name for source in self.sources)]
        if len(set(names)) < len(names):
            _refuse(f"column {self.name}: its own name and those of its sources are different")
        for source in self.sources:
            if coded and source.factor != 1.0:
                _refuse(f"column {self.name}: a {self.kind} is recoded, it has no factor")
            if any(meant not in self.categories for _, meant in source.recode):
                _refuse(f"column {self.name}: recode gives declared categories only")


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
        return self.rows(keep)

    def rows(self, which: slice | npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Table:
        """Some rows: a slice (a view, no copy), a mask, or places from 0 in any order."""
        return Table(
            tuple(self._columns.values()),
            {name: array[which] for name, array in self._arrays.items()},
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
    """What does not fit. `row`: as a spreadsheet counts, the header is row 1; `column`: or ""."""

    row: int
    column: str
    expected: str


@final
@dataclass(frozen=True, slots=True)
class Unread:
    """A table that does not fit: the first few problems, and how many there are in all."""

    problems: tuple[Problem, ...]
    problem_count: int

    def text(self, file_name: str) -> str:
        """One line for each problem shown; names rows and columns, never a value."""
        lines = [f"{file_name}, {_where(each)}: expected {each.expected}" for each in self.problems]
        if self.problem_count > len(lines):
            lines.append(f"and {self.problem_count - len(lines)} more")
        return "\n".join(lines)


def read_table(
    columns: tuple[Column, ...],
    raw: bytes,
    *,
    file_name: str,
    missing: str = "refuse",
    missing_texts: Sequence[str] = ("",),
    strip_headers: bool = False,
) -> Reading:
    """Like `inspect_table`, for those who cannot go on with a table that does not fit.

    Raises:
        DataFault: with the first few problems; `where` is the first place.
    """
    found = inspect_table(
        columns, raw, missing=missing, missing_texts=missing_texts, strip_headers=strip_headers
    )
    if isinstance(found, Unread):
        first = found.problems[0]
        message = f"expected {first.expected}"
        if found.problem_count > 1:
            message += f" ({found.problem_count} problems in all)\n{found.text(file_name)}"
        raise DataFault(message, f"{file_name}, {_where(first)}")
    return found


def inspect_table(
    columns: tuple[Column, ...],
    raw: bytes,
    *,
    missing: str = "refuse",
    missing_texts: Sequence[str] = ("",),
    strip_headers: bool = False,
) -> Reading | Unread:
    """Read a table from the bytes of a comma-separated file: UTF-8, a header line, quotes as usual.

    Columns that the study does not declare are not looked at. Every row is looked at, even when an
    earlier one does not fit.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = raw.count(b"\n", 0, error.start) + 1
        return Unread((Problem(row, "", "UTF-8 text; save the file as UTF-8"),), 1)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    sheet = _Sheet(columns, missing == "refuse", frozenset(missing_texts))
    try:
        header = next(reader, [])
        found = find_columns(
            columns, [name.strip() for name in header] if strip_headers else header
        )
        if isinstance(found, Problem):
            return Unread((found,), 1)
        places, sheet.sources = found
        for row, cells in enumerate(reader, start=2):
            if cells:  # a blank line is no row
                sheet.take(row, cells, places, len(header))
    except csv.Error:
        return Unread((Problem(reader.line_num, "", "closed quotes and plain line ends"),), 1)
    return sheet.result()


@final
class _Sheet:
    """Collects the rows that fit and the problems of those that do not."""

    def __init__(self, columns: tuple[Column, ...], whole: bool, empty: frozenset[str]) -> None:
        self._columns = columns
        self.sources: tuple[Source | None, ...] = (None,) * len(columns)
        self._whole = whole
        self._empty = empty
        self._rows: list[list[float]] = []
        self._rows_count = 0
        self._dropped_count = 0
        self._problems: list[Problem] = []
        self._problem_count = 0

    def take(self, row: int, cells: list[str], places: tuple[int, ...], width: int) -> None:
        self._rows_count += 1
        if len(cells) != width:
            return self._wrong(row, "", f"{width} fields, as in the header")
        found: list[float] = []
        for column, place, source in zip(self._columns, places, self.sources, strict=True):
            text = cells[place].strip()
            if text in self._empty:
                if self._whole:
                    self._wrong(row, column.name, "a value, but the cell is empty")
                continue
            value, expected = parse_cell(column, text, source)
            found.append(value)
            if expected:
                self._wrong(row, column.name, expected)
        if len(found) < len(self._columns):
            self._dropped_count += 1
        else:
            self._rows.append(found)
        return None

    def result(self) -> Reading | Unread:
        if not self._problem_count and not self._rows:
            self._wrong(1, "", "at least one row without empty cells")
        if self._problem_count:
            return Unread(tuple(self._problems), self._problem_count)
        matrix = np.array(self._rows, np.float64)
        arrays = {each.name: matrix[:, at].copy() for at, each in enumerate(self._columns)}
        return Reading(Table(self._columns, arrays), self._rows_count, self._dropped_count)

    def _wrong(self, row: int, column: str, expected: str) -> None:
        self._problem_count += 1
        if len(self._problems) < PROBLEMS_SHOWN:
            self._problems.append(Problem(row, column, expected))


def find_columns(
    columns: tuple[Column, ...], names: list[str]
) -> tuple[tuple[int, ...], tuple[Source | None, ...]] | Problem:
    """Where each declared column lies among the names of a header, and in which of its forms."""
    places: list[int] = []
    sources: list[Source | None] = []
    for column in columns:
        forms = [(column.name, None), *((source.name, source) for source in column.sources)]
        there = [(name, source) for name, source in forms if name in names]
        if not there:
            return Problem(1, column.name, f"all declared columns{_absent(columns, names)}")
        if len(there) > 1 or names.count(there[0][0]) > 1:
            return Problem(1, column.name, "this column once, but it is there more than once")
        places.append(names.index(there[0][0]))
        sources.append(there[0][1])
    return tuple(places), tuple(sources)


def _absent(columns: tuple[Column, ...], names: list[str]) -> str:
    """A hint about columns that a header does not have."""
    absent = [
        column.name
        for column in columns
        if not {column.name, *(source.name for source in column.sources)} & set(names)
    ]
    if any(name in {each.strip() for each in names} for name in absent):
        return ": some names have blanks around them (strip_headers=True cuts those off)"
    if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
        return ": names and fields must be parted by commas"
    return f": {len(absent)} of them are not in the header"


def parse_cell(column: Column, text: str, source: Source | None = None) -> tuple[float, str]:
    """The number of a cell that is not empty and "", or 0 and what was expected.

    Args:
        text: without blanks around it.
        source: the form in which the site holds the column; None: as declared.
    """
    if column.kind in ("category", "label"):
        if source is not None:
            text = dict(source.recode).get(text, text)
        if text in column.categories:
            return float(column.categories.index(text)), ""
        return 0.0, f"one of {len(column.categories)} declared categories"
    if len(text) > CELL_CHARACTERS_MAX or _NUMBER.fullmatch(text) is None:
        return 0.0, "a whole number" if column.kind == "integer" else "a decimal number"
    value = float(text)
    if source is not None and source.factor != 1.0:
        value *= source.factor
    if not math.isfinite(value):
        return 0.0, "a number that is not too large"
    if column.kind == "integer" and (value != int(value) or abs(value) > WHOLE_MAX):
        return 0.0, "a whole number"
    if column.low is not None and value < column.low:
        return 0.0, f"at least {column.low:g} {column.unit}".rstrip()
    if column.high is not None and value > column.high:
        return 0.0, f"at most {column.high:g} {column.unit}".rstrip()
    return value, ""


def _check_name(name: str) -> None:
    if not name.isprintable() or not 1 <= len(name) <= 64:
        _refuse("a column's name has 1 to 64 printable characters")
    if name != name.strip():
        _refuse(f"column {name}: the name has blanks around it")


def _where(problem: Problem) -> str:
    return f"row {problem.row}" + (f", column {problem.column}" if problem.column else "")


def _refuse(message: str) -> NoReturn:
    raise StudyFault(StudyFaultKind.NOT_LOADABLE, f"study file: {message}")
