"""What a study's process may tell of its failures: codes and places, bounded on the node's side.

The process is the study's, so each of these numbers may be a number of the study's choice. A line
is believed only where the study file has it; columns only where the study declares them. Text and
values are in the notes file, which stays at the site (ADR 0042).
"""

from __future__ import annotations

from pathlib import Path

from comity.errors import DataFault, Raised, StudyFault
from comity.learning.study import StudyCard
from comity.node.isolation import Setup
from comity.node.sandbox_wire import NOTES_FILE, Failed, Unfit


def study_fault(setup: Setup, reply: Failed) -> StudyFault:
    """The error of a study that failed: kind, line of its own file, exception of a fixed list."""
    line = believed_line(Path(setup.study), reply.line)
    how = f" ({reply.raised.value})" if reply.raised is not Raised.NOTHING else ""
    return StudyFault(
        reply.kind,
        f"the study failed{how}; its own words are in {Path(setup.work) / NOTES_FILE}",
        Path(setup.study).name + (f", line {line}" if line else ""),
        line=line,
        raised=reply.raised,
    )


def believed_line(study: Path, line: int) -> int:
    """The line when the file has it, else 0: any other would be a number of the study's choice."""
    raw = study.read_bytes()
    return line if 0 < line <= raw.count(b"\n") + (not raw.endswith(b"\n")) else 0


def data_fault(setup: Setup, reply: Unfit, card: StudyCard | None) -> DataFault:
    """The error of a table that does not fit: file, row, column."""
    where = f"{Path(setup.table).name}, row {reply.row}"
    if card is not None and 1 <= reply.column <= len(card.columns):
        where += f", column {card.columns[reply.column - 1]}"
    elif reply.column > 0:
        where += f", declared column {reply.column}"
    return DataFault(
        f"does not fit what the study declares ({reply.problem_count} problems in all); "
        f"each is explained in {Path(setup.work) / NOTES_FILE}",
        where,
    )
