"""Results as tables: columns with names, rows of plain values. No data frame library is needed.

`pandas.DataFrame(table.to_dicts())` and `polars.DataFrame(table.to_dicts())` take one as it is.
"""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from comity.errors import Misconfigured

Cell = str | int | float | None
"""None: undefined here, such as an AUC of one class."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class ResultTable:
    """Rows of results; shows itself in a notebook and as text.

    Args:
        columns: their names, each once.
        rows: a cell for each column.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Cell]]:
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)

    def to_dicts(self) -> list[dict[str, Cell]]:
        """One dictionary for each row, as data frame libraries take them."""
        return list(self)

    def column(self, name: str) -> tuple[Cell, ...]:
        """One column. Raises Misconfigured: there is none of this name."""
        if name not in self.columns:
            raise Misconfigured(f"the columns are {', '.join(self.columns)}, not {name!r}")
        place = self.columns.index(name)
        return tuple(row[place] for row in self.rows)

    def only(self, **cells: Cell) -> ResultTable:
        """The rows that have these values, for example `only(member="m0", metric="auc")`."""
        places = {
            self.columns.index(name): cell for name, cell in cells.items() if self.column(name)
        }
        fits = (row for row in self.rows if all(row[at] == cell for at, cell in places.items()))
        return ResultTable(self.columns, tuple(fits))

    def to_csv(self, file: Path | str | None = None) -> str:
        """As comma-separated text, numbers to the last bit; also written to a new file if named.

        Raises:
            Misconfigured: the file exists, or cannot be written.
        """
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        for row in self.rows:
            writer.writerow("" if cell is None else cell for cell in row)
        if file is not None:
            try:
                with Path(file).open("x", encoding="utf-8", newline="") as target:
                    target.write(text.getvalue())
            except OSError as error:
                raise Misconfigured(f"cannot write {file}: {error.strerror}") from error
        return text.getvalue()

    def __repr__(self) -> str:
        shown = [list(self.columns), *([_shown(cell) for cell in row] for row in self.rows)]
        widths = [max(len(row[at]) for row in shown) for at in range(len(self.columns))]
        lines = (
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            for row in shown
        )
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        def line(cells: Iterator[str], tag: str) -> str:
            return (
                "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
            )

        body = "\n".join(line((_shown(cell) for cell in row), "td") for row in self.rows)
        return f"<table>\n{line(iter(self.columns), 'th')}\n{body}\n</table>"


def _shown(cell: Cell) -> str:
    if cell is None:
        return "undefined"
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)
