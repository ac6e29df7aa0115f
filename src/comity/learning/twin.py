"""A table that nobody's data went into: invented rows that fit what a study declares.

For debugging a study before anybody has consented to anything. Only the declared schema is used, so
nothing in a twin says anything about anyone; and nothing learned from one means anything either.
"""

from __future__ import annotations

import csv
import io
from typing import Final

from numpy.random import Generator

from comity.learning.tables import Column

ROWS_MAX: Final = 10_000_000
_SPREAD: Final = 100.0
"""How far numbers go where the study declares one bound or none."""


def twin(columns: tuple[Column, ...], rows: int, dice: Generator) -> bytes:
    """A comma-separated file with exactly the declared columns, in their order.

    Args:
        rows: from 1 to `ROWS_MAX`.
        dice: the only source of values: uniform between the declared bounds, or 100 wide where
            one is missing; categories and labels all alike. Every class occurs from as many rows on
            as there are classes.
    """
    assert 1 <= rows <= ROWS_MAX
    text = io.StringIO(newline="")
    sheet = csv.writer(text, lineterminator="\n")
    sheet.writerow(column.name for column in columns)
    drawn = [_cells(column, rows, dice) for column in columns]
    sheet.writerows(zip(*drawn, strict=True))
    return text.getvalue().encode()


def _cells(column: Column, rows: int, dice: Generator) -> list[str]:
    if column.categories:
        count = len(column.categories)
        places = dice.permutation(rows) % count  # each as often as the others, so none is missing
        return [column.categories[place] for place in places]
    low, high = _bounds(column)
    if column.kind == "integer":
        first, last = -(-low // 1), high // 1
        return [str(int(number)) for number in dice.integers(int(first), int(last) + 1, rows)]
    return [f"{min(max(number, low), high):.6g}" for number in dice.uniform(low, high, rows)]


def _bounds(column: Column) -> tuple[float, float]:
    match column.low, column.high:
        case None, None:
            return -_SPREAD / 2, _SPREAD / 2
        case low, None if low is not None:
            return low, low + _SPREAD
        case None, high if high is not None:
            return high - _SPREAD, high
        case low, high:
            assert low is not None and high is not None
            return low, high
