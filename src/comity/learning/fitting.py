"""What of a site's table fits a study's contract: counts for each column, never a value.

`inspect_table` decides whether a study may read a table; this says beforehand, and in one reading,
everything that a site needs to mend it, and what will spoil its training though it may be read.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, final

from msgspec import Struct

from comity.errors import Malformed
from comity.learning.parquet import parquet_as_text
from comity.learning.study import Contract
from comity.learning.tables import Column, Problem, Source, Unread, find_columns, inspect_table
from comity.learning.tables import parse_cell as parse_cell

Trouble = Literal[
    "unreadable",
    "missing-column",
    "wrong-unit",
    "all-missing",
    "missing",
    "not-a-number",
    "out-of-range",
    "unknown-category",
    "one-class",
    "constant",
    "duplicates",
]

_UNIT: Final = re.compile(r"(.+?)\s*[\[(]([^\])]+)[\])]")


@final
class Finding(Struct, frozen=True):
    """One trouble. column: "" for the whole table; count: of cells or rows; refused: whether the
    study may not read such a table; advice: what to do, without any text of the table."""

    trouble: Trouble
    column: str
    count: int
    refused: bool
    advice: str


@final
class Fit(Struct, frozen=True, tag="fit"):
    """What was found. rows: in the file; used: those that training would see, when it fits."""

    fits: bool
    rows: int
    used: int
    findings: tuple[Finding, ...]
    steps: tuple[str, ...]


@final
@dataclass(slots=True)
class _Tally:
    """What one column holds."""

    column: Column
    source: Source | None
    missing: int = 0
    unlike: int = 0
    outside: int = 0
    fitting: int = 0
    seen: set[float] = field(default_factory=set)

    def take(self, text: str, empty: Sequence[str]) -> None:
        if text in empty:
            self.missing += 1
            return
        value, expected = parse_cell(self.column, text, self.source)
        if not expected:
            self.fitting += 1
            if len(self.seen) < 2:
                self.seen.add(value)
        elif expected.startswith(("at least", "at most")):
            self.outside += 1
        else:
            self.unlike += 1


def check_fit(contract: Contract, raw: bytes) -> Fit:
    """Compare a table with a contract.

    Args:
        raw: the bytes of a comma-separated file, or of a Parquet file.
    Raises:
        Misconfigured: it is Parquet, and its reader is not installed.
    """
    try:
        raw = contract_text(contract, raw)
    except Malformed as error:
        return Fit(False, 0, 0, (Finding("unreadable", "", 1, True, str(error)),), ())
    read = inspect_table(
        contract.columns,
        raw,
        missing=contract.missing,
        missing_texts=contract.missing_texts,
        strip_headers=contract.strip_headers,
    )
    try:
        lines = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error):
        lines = []
    header = lines[0] if lines else []
    names = [name.strip() for name in header] if contract.strip_headers else header
    found = find_columns(contract.columns, names)
    if isinstance(found, Problem):
        if isinstance(read, Unread) and read.problems[0] != found:
            found = read.problems[0]
        return Fit(False, max(0, len(lines) - 1), 0, _no_columns(contract, names, found), ())
    places, sources = found
    rows = [cells for cells in lines[1:] if cells]
    tallies = list(map(_Tally, contract.columns, sources))
    for cells in rows:
        if len(cells) == len(names):
            for tally, place in zip(tallies, places, strict=True):
                tally.take(cells[place].strip(), contract.missing_texts)
    findings = [each for tally in tallies for each in _troubles(tally, contract.missing)]
    findings += _of_rows(rows, len(names), places)
    if isinstance(read, Unread):
        if not any(each.refused for each in findings):
            findings.append(Finding("unreadable", "", 1, True, read.problems[0].expected))
        return Fit(False, len(rows), 0, tuple(findings), _steps(tallies))
    return Fit(True, len(rows), len(read.table), tuple(findings), _steps(tallies))


def contract_text(contract: Contract, raw: bytes, *others: str) -> bytes:
    """A site's table as comma-separated text.

    Args:
        others: names of further columns to keep, beside those of the contract.
    Raises:
        Malformed: Parquet that cannot be read. Misconfigured: its reader is not installed.
    """
    names = {column.name for column in contract.columns}
    names |= {source.name for column in contract.columns for source in column.sources}
    return parquet_as_text(raw, names | set(others), contract.missing_texts)


def _no_columns(contract: Contract, names: Sequence[str], problem: Problem) -> tuple[Finding, ...]:
    """Every column that a header does not have; one with a unit behind its name is said so."""
    if not problem.column:
        return (Finding("unreadable", "", 1, True, problem.expected),)
    with_unit = {m[1]: m[2] for name in names if (m := _UNIT.fullmatch(name)) is not None}
    findings = []
    for column in contract.columns:
        forms = {column.name, *(source.name for source in column.sources)}
        there = forms & set(names)
        if column.name in with_unit and not there:
            unit = column.unit or "no unit"
            advice = f"the header names a unit: bring it to {unit}, and call it {column.name}"
            findings.append(Finding("wrong-unit", column.name, 1, True, advice))
        elif not there:
            also = "".join(f" or {source.name}" for source in column.sources)
            advice = f"name the column {column.name}{also}, exactly"
            findings.append(Finding("missing-column", column.name, 1, True, advice))
        elif len(there) > 1 or any(list(names).count(name) > 1 for name in there):
            advice = "keep one form of this column"
            findings.append(Finding("unreadable", column.name, len(there), True, advice))
    return tuple(findings)


def _troubles(tally: _Tally, missing: str) -> list[Finding]:
    column, name = tally.column, tally.column.name
    coded = column.kind in ("category", "label")
    found = []
    if tally.fitting + tally.unlike + tally.outside == 0:
        advice = "every cell is empty: fill the column, or take no part in this study"
        return [Finding("all-missing", name, tally.missing, True, advice)]
    if tally.missing:
        refused = missing == "refuse"
        advice = "fill these cells" if refused else "these rows are dropped, as declared"
        found.append(Finding("missing", name, tally.missing, refused, advice))
    if tally.unlike and coded:
        advice = f"use the declared categories: {', '.join(column.categories[:20])}"
        found.append(Finding("unknown-category", name, tally.unlike, True, advice))
    elif tally.unlike:
        advice = f"write {'whole' if column.kind == 'integer' else 'decimal'} numbers with a point"
        found.append(Finding("not-a-number", name, tally.unlike, True, advice))
    if tally.outside:
        bounds = f"{_bound(column.low)} to {_bound(column.high)} {column.unit}".rstrip()
        if tally.outside > tally.fitting:
            advice = f"most cells lie outside {bounds}: is this another unit?{_other(column)}"
            found.append(Finding("wrong-unit", name, tally.outside, True, advice))
        else:
            advice = f"look at cells outside {bounds}"
            found.append(Finding("out-of-range", name, tally.outside, True, advice))
    if len(tally.seen) == 1 and column.kind == "label":
        advice = "only one class occurs: this site alone can learn nothing from it"
        found.append(Finding("one-class", name, tally.fitting, False, advice))
    elif len(tally.seen) == 1:
        advice = "one value in every row says nothing here, and has no spread to divide by"
        found.append(Finding("constant", name, tally.fitting, False, advice))
    return found


def _of_rows(rows: Sequence[Sequence[str]], width: int, places: Sequence[int]) -> list[Finding]:
    """Troubles of whole rows: fields too few or many, and rows that are there twice."""
    found = []
    uneven = sum(len(cells) != width for cells in rows)
    if uneven:
        advice = f"give every row {width} fields, as in the header"
        found.append(Finding("unreadable", "", uneven, True, advice))
    digests = {
        hashlib.sha256("\x1f".join(cells[place] for place in places).encode()).digest()
        for cells in rows
        if len(cells) == width
    }
    twice = len(rows) - uneven - len(digests)
    if twice:
        advice = "these repeat another row in all declared columns: are they the same records?"
        found.append(Finding("duplicates", "", twice, False, advice))
    return found


def _steps(tallies: Sequence[_Tally]) -> tuple[str, ...]:
    """The declared steps that this table takes, in words."""
    said = []
    for tally in tallies:
        source = tally.source
        if source is not None:
            units = f" ({source.unit} to {tally.column.unit})" if source.unit else ""
            times = f", times {source.factor:g}{units}" if source.factor != 1.0 else ""
            recoded = f", {len(source.recode)} texts recoded" if source.recode else ""
            said.append(f"{source.name} is read as {tally.column.name}{times}{recoded}")
    return tuple(said)


def _other(column: Column) -> str:
    others = [f"{each.name} in {each.unit}" for each in column.sources if each.unit]
    return f" The study also takes {', '.join(others)}" if others else ""


def _bound(bound: float | None) -> str:
    return "any" if bound is None else f"{bound:g}"
