"""The table of works: in which attempts each data version of this site took part in which work.

Decided here: a step once recorded (committed, confirmed, revealed) is never unrecorded, and a known
set of survivors is never forgotten, in whatever order the records come. Judges nothing: rule R6 of
aggregation.md 5.9 is applied by who reads it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from comity.storage.ports import Attempt, Ending, WorkRecord
from comity.values import DatasetId, Digest, MemberId

TABLE = """
    CREATE TABLE work (
        dataset TEXT NOT NULL,
        version TEXT NOT NULL,
        work TEXT NOT NULL,
        study TEXT NOT NULL,
        round_no INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        roster TEXT NOT NULL,
        threshold INTEGER NOT NULL,
        committed INTEGER NOT NULL,
        confirmed INTEGER NOT NULL,
        revealed INTEGER NOT NULL,
        survivors TEXT,
        ending TEXT NOT NULL,
        PRIMARY KEY (dataset, version, work, study, round_no, attempt)
    ) STRICT, WITHOUT ROWID
"""


def read(
    reading: sqlite3.Connection, dataset: DatasetId, version: Digest, work: Digest
) -> list[WorkRecord]:
    """Every attempt in which this data version took part in this work."""
    rows = reading.execute(
        "SELECT * FROM work WHERE dataset = ? AND version = ? AND work = ?",
        (dataset, version, work),
    )
    return [_work(*row) for row in rows]


def record(writing: sqlite3.Connection, works: Iterable[WorkRecord]) -> None:
    """Add to what is known; inside the caller's transaction."""
    for work in works:
        survivors = None if work.survivors is None else json.dumps(sorted(work.survivors))
        writing.execute(
            "INSERT INTO work VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET"
            " committed = max(committed, excluded.committed),"
            " confirmed = max(confirmed, excluded.confirmed),"
            " revealed = max(revealed, excluded.revealed),"
            # Another set of one attempt is of a history that was left: then no set is its set
            # any more ('[]'), and nothing that ends there frees the work.
            " survivors = CASE WHEN survivors != excluded.survivors THEN '[]'"
            "  ELSE coalesce(survivors, excluded.survivors) END,"
            " ending = CASE WHEN survivors = '[]' OR survivors != excluded.survivors"
            "  THEN 'open' ELSE excluded.ending END",
            (
                *(work.dataset, work.version, work.work, *work.attempt, work.roster),
                *(work.threshold, work.committed, work.confirmed, work.revealed),
                *(survivors, work.ending.value),
            ),
        )


def _work(*row: str | int) -> WorkRecord:
    dataset, version, work, study, round_no, attempt, roster, threshold = row[:8]
    survivors = row[11]
    return WorkRecord(
        DatasetId(str(dataset)),
        Digest(str(version)),
        Digest(str(work)),
        Attempt(str(study), int(round_no), int(attempt)),
        Digest(str(roster)),
        int(threshold),
        committed=bool(row[8]),
        confirmed=bool(row[9]),
        revealed=bool(row[10]),
        survivors=None
        if survivors is None
        else frozenset(MemberId(member) for member in json.loads(str(survivors))),
        ending=Ending(str(row[12])),
    )
