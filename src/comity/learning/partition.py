"""One table or several as the tables of many members, for simulations.

Four ways: several files, each a member; a column whose cells name the member; rows dealt evenly;
and a Dirichlet draw over the classes of the label, which makes members unlike each other (Hsu, Qi
and Brown, "Measuring the effects of non-identical data distribution", 2019). All draws come from a
seed. Members hold views of one sorted table, so memory does not grow with their number.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from comity.errors import DataFault, Misconfigured
from comity.learning.tables import Column, Table
from comity.values import SLUG_BYTES_MAX, MemberId, is_slug

_NO_SLUG: Final = re.compile(r"[^a-z0-9]+")


def numbered(count: int) -> tuple[MemberId, ...]:
    """Ids of members that no file or column names: member-001 and so on."""
    return tuple(MemberId(f"member-{number:03}") for number in range(1, count + 1))


def named(text: str) -> MemberId:
    """The id of a member that a file or a cell names: lower case, the rest as hyphens.

    Raises:
        Misconfigured: nothing is left, or too much.
    """
    slug = _NO_SLUG.sub("-", text.lower()).strip("-")[:SLUG_BYTES_MAX]
    if not is_slug(slug):
        raise Misconfigured("a member's name has letters or digits: rename the file or the cells")
    return MemberId(slug)


def even(table: Table, count: int, dice: Generator) -> dict[MemberId, Table]:
    """Rows shuffled and dealt out, so that members are alike; sizes differ by at most one.

    Raises:
        Misconfigured: fewer rows than members.
    """
    if len(table) < count:
        raise Misconfigured(f"{count} members need at least {count} rows, the table has fewer")
    parts = np.array_split(dice.permutation(len(table)), count)
    return _views(table, parts)


def dirichlet(
    table: Table, label: Column, count: int, alpha: float, dice: Generator
) -> dict[MemberId, Table]:
    """For each class, its rows are dealt in shares drawn from Dirichlet(alpha, ..., alpha).

    Args:
        label: the column with the classes.
        alpha: above 0; large: members alike; 0.1: most members see few classes.
    Raises:
        Misconfigured: fewer rows than members. A member without any row takes one of the largest.
    """
    if len(table) < count:
        raise Misconfigured(f"{count} members need at least {count} rows, the table has fewer")
    parts: list[list[int]] = [[] for _ in range(count)]
    classes = table[label.name]
    for place in range(len(label.categories)):
        rows = dice.permutation(np.flatnonzero(classes == place))
        shares = dice.dirichlet(np.full(count, alpha))
        cuts = np.floor(np.cumsum(shares)[:-1] * len(rows) + 0.5).astype(np.intp)
        for part, some in zip(parts, np.split(rows, cuts), strict=True):
            part.extend(int(row) for row in some)
    for part in parts:
        if not part:
            part.append(max(parts, key=len).pop())
    return _views(table, [np.array(part, np.intp) for part in parts])


def by_column(raw: bytes, column: str, file_name: str) -> dict[MemberId, bytes]:
    """One file's bytes for each member that the cells of a column name; header kept, rows in order.

    Raises:
        DataFault: no such column, or not a comma-separated UTF-8 file.
        Misconfigured: two different cells give the same name, or a cell gives none.
    """
    try:
        reader = csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True)
        lines = list(reader)
    except (UnicodeDecodeError, csv.Error):
        raise DataFault("expected comma-separated UTF-8 text", file_name) from None
    header = lines[0] if lines else []
    names = [name.strip() for name in header]
    if names.count(column) != 1:
        raise DataFault(f"expected one column {column} to part the rows by", f"{file_name}, row 1")
    place = names.index(column)
    sheets: dict[str, list[list[str]]] = {}
    for number, cells in enumerate(lines[1:], start=2):
        if cells:
            if len(cells) != len(header):
                raise DataFault("expected as many fields as in the header", f"row {number}")
            sheets.setdefault(cells[place].strip(), [header]).append(cells)
    found = {named(text): _written(sheet) for text, sheet in sheets.items()}
    if len(found) < len(sheets):
        raise Misconfigured(f"two cells of column {column} give the same member name; rename one")
    return found


def _written(lines: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode()


def _views(table: Table, parts: Sequence[npt.NDArray[np.intp]]) -> dict[MemberId, Table]:
    """Tables of the rows of each part, in their order in the file; slices of one sorted copy."""
    ordered = table.rows(np.concatenate([np.sort(part) for part in parts]))
    found, start = {}, 0
    for member, part in zip(numbered(len(parts)), parts, strict=True):
        found[member] = ordered.rows(slice(start, start + len(part)))
        start += len(part)
    return found
