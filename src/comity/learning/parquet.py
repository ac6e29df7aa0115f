"""Parquet tables, read as the comma-separated text that they would be exported to.

So everything that judges a table, row by row and column by column, is the same for both. An empty
cell (null) becomes one of the study's own texts for missing cells; rows count as in that export,
the header being row 1. Only wanted columns are read; of others, only the names.

Needs pyarrow (`pip install comity[parquet]`), which is loaded at the first Parquet file. At a site
it runs in the study's process, behind its walls.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from comity.errors import Malformed, Misconfigured
from comity.learning.tables import Column

MAGIC: Final = b"PAR1"
CELLS_MAX: Final = 2**30
_BATCH_ROWS: Final = 4_096


def parquet_as_text(raw: bytes, wanted: Collection[str], missing_texts: Sequence[str]) -> bytes:
    """The comma-separated UTF-8 text of a Parquet file; other bytes come back as they are.

    Args:
        wanted: names of columns, without blanks around them.
        missing_texts: as the study declares them; the first stands for an empty cell.
    Raises:
        Malformed: it cannot be read, or a wanted column holds neither text nor numbers.
        Misconfigured: pyarrow is not installed.
    """
    if not raw.startswith(MAGIC):
        return raw
    pa, pq = _arrow()
    empty = missing_texts[0] if missing_texts else ""
    try:
        file = pq.ParquetFile(pa.BufferReader(raw), pre_buffer=False)
        names = list(file.schema_arrow.names)
        places = [at for at, name in enumerate(names) if name.strip() in wanted]
        if file.metadata.num_rows * max(1, len(names)) > CELLS_MAX:
            raise Malformed(f"a table has at most {CELLS_MAX} cells; this one has more")
        for at in places:
            _check_kind(pa, names[at], file.schema_arrow.field(at).type)
        text = io.StringIO(newline="")
        sheet = csv.writer(text)  # its line end is CR LF, so that it quotes either in a cell
        sheet.writerow(names)
        for cells in _rows(file, names, places, empty):
            sheet.writerow(cells)
        return text.getvalue().encode()
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, OverflowError):
        # No words of the reader: they may hold what it read.
        raise Malformed("a Parquet file that can be read: this one is damaged") from None


def table_as_parquet(columns: Sequence[Column], text: bytes) -> bytes:
    """A comma-separated table that fits these columns, as Parquet. Raises Misconfigured."""
    pa, pq = _arrow()
    header, *rows = csv.reader(io.StringIO(text.decode(), newline=""))
    kinds = {column.name: column.kind for column in columns}
    made = {}
    for at, name in enumerate(header):
        cells = [row[at] for row in rows]
        match kinds[name]:
            case "integer":
                made[name] = pa.array([int(cell) for cell in cells], pa.int64())
            case "real":
                made[name] = pa.array([float(cell) for cell in cells], pa.float64())
            case _:
                made[name] = pa.array(cells, pa.string())
    out = io.BytesIO()
    pq.write_table(pa.table(made), out)
    return out.getvalue()


def _rows(file: Any, names: list[str], places: list[int], empty: str) -> Iterator[list[str]]:
    """The rows as texts; cells of columns that nobody wants are empty."""
    chosen = [names[at] for at in places]
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=sorted(set(chosen)), use_threads=False)
        if table.column_names != chosen:  # a name with a dot in it: the reader takes more than that
            table = file.read_row_group(group, use_threads=False).select(places)
        for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
            columns = [column.to_pylist() for column in batch.columns]
            for number in range(batch.num_rows):
                cells = [""] * len(names)
                for at, column in zip(places, columns, strict=True):
                    cells[at] = _text(column[number], empty)
                yield cells


def _text(cell: object, empty: str) -> str:
    match cell:
        case None:
            return empty
        case bool():
            return "true" if cell else "false"
        case float():
            return repr(cell)  # the shortest text that is the same number
        case _:
            return str(cell)


def _check_kind(pa: Any, name: str, kind: Any) -> None:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    of_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    of_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (of_number or of_text or pa.types.is_boolean(kind) or pa.types.is_null(kind)):
        raise Malformed(f"text or numbers in column {name}, which holds {kind}")


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise Misconfigured("reading Parquet needs pyarrow: pip install comity[parquet]") from None
    return pyarrow, parquet
