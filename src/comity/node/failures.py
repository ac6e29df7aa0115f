"""How a study failed at this site: codes that may be told, words that stay.

A code is a kind and an exception of fixed lists and a line that the study file has; it may be read
to anybody. What the study printed or put into an error may hold a row of the table: it lies in the
notes file of the study's process, and only the owner of the site looks at it or hands it on.
"""

from __future__ import annotations

from typing import Final, final

import msgspec
from msgspec import Struct

from comity.commons.state import Study
from comity.errors import DataFault, Raised, StudyFault
from comity.node.lookup import find_study
from comity.node.sandbox_wire import NOTES_FILE
from comity.node.station import Station
from comity.values import StatementId

KEPT_MAX: Final = 100
WORDS_MAX: Final = 16_384
DATA: Final = "data-do-not-fit"
"""The kind of a failure that is the table's; the others are those of `StudyFaultKind`."""


@final
class FailureNoted(Struct, frozen=True, forbid_unknown_fields=True):
    """One failure, as a code. line: of the study file; 0: none."""

    round_no: int
    attempt: int
    kind: str
    line: int
    raised: Raised


@final
class Failures(Struct, frozen=True, tag="failures"):
    """What failed here. noted: oldest first; words: the end of what the study said; file: all."""

    study: StatementId
    name: str
    noted: tuple[FailureNoted, ...]
    words: str
    file: str


def note_failure(station: Station, study: Study, fault: StudyFault | DataFault) -> None:
    """Keep the code of a failure, once for an attempt; the last hundred are kept."""
    match fault:
        case StudyFault():
            kind, line, raised = fault.kind.value, fault.line, fault.raised
        case DataFault():
            kind, line, raised = DATA, 0, Raised.NOTHING
    noted = FailureNoted(study.round_no, study.attempt, kind, line, raised)
    known = _noted(station, study.id)
    if noted not in known[-1:]:
        kept = (*known, noted)[-KEPT_MAX:]
        station.journal.put(_place(study.id), msgspec.msgpack.encode(kept))


def failures(station: Station, study: str) -> Failures:
    """What failed here in a study, with its own words; for the owner of this site.

    Args:
        study: id, its beginning, or name.
    Raises:
        Refused(NO_SUCH_THING).
    """
    found = find_study(station.replica.state, study)
    notes = station.folder / "sandbox" / found.id / NOTES_FILE
    words = ""
    if notes.is_file():
        with notes.open("rb") as source:
            source.seek(max(0, notes.stat().st_size - WORDS_MAX))
            words = source.read(WORDS_MAX).decode("utf-8", "replace")
    noted = _noted(station, found.id)
    return Failures(found.id, found.register.name, noted, words, str(notes))


def _noted(station: Station, study: StatementId) -> tuple[FailureNoted, ...]:
    stored = station.journal.get(_place(study))
    return msgspec.msgpack.decode(stored, type=tuple[FailureNoted, ...]) if stored else ()


def _place(study: StatementId) -> str:
    return f"failures/{study}"
