"""The table that a benchmark prints, and the words in it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import final

from rich.console import Console
from rich.table import Table

from bench.rounds import WORD_BYTES, Measured


@final
@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. met: None when not judged."""

    work: str
    measured: str
    floor: str
    ratio: str
    target: str
    met: bool | None


def print_rows(console: Console, rows: list[Row], notes: list[str], *, judged: bool) -> None:
    """Print the table, and what there is to say about it."""
    table = Table(show_lines=True)
    for column in ("work", "measured: median [min-max]", "floor", "ratio", "target", ""):
        table.add_column(column)
    verdicts = {True: "met", False: "NOT MET", None: ""}
    for row in rows:
        verdict = verdicts[row.met] if judged else "not judged"
        table.add_row(row.work, row.measured, row.floor, row.ratio, row.target, verdict)
    console.print(table)
    for note in notes:
        console.print(note)
    console.print(
        "Rounds after the first, all processes on this machine. The floor: the same bytes over the"
        " same HTTP stack, summed; no training, quantising, masks, hashes, signatures, checks, log,"
        " staging of uploads, fsync, next model. A vector: 4 bytes a parameter."
    )


def about(members: int, parameters: int) -> str:
    """Members and size, in words."""
    return f"{members} members, {parameters:,} parameters ({WORD_BYTES * parameters / 1e6:.4g} MB)"


def spread(seconds: list[float]) -> str:
    """Median and range of some times."""
    low, high = min(seconds), max(seconds)
    return f"{statistics.median(seconds):.3f} s [{low:.3f}-{high:.3f}], n={len(seconds)}"


def in_vectors(found: list[float]) -> str:
    """Some peaks, in vectors."""
    return " and ".join(f"{one:.2f}" for one in found) + " vectors"


def processor_times(measured: Measured) -> str:
    """What a round took of each kind of process."""
    node = statistics.mean(usage.cpu_s_per_round for usage in measured.nodes)
    study = statistics.mean(measured.studies)
    host = measured.host.cpu_s_per_round
    return f"host {host * 1e3:.0f} ms, a node {node * 1e3:.0f} ms, its study {study * 1e3:.0f} ms"
