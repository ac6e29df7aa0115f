"""How a study failed at this site: codes that may be told, words that stay.

A code is a kind and an exception of fixed lists and a line that the study file has. Where the site
policy says so (`tell_failures`), it is said to all members; a study can choose it, so that is a
narrow way out of the site, and bounded (ADR 58). What the study printed or put into an error may
hold a row of the table: it lies in the notes file of the study's process, and only the owner of the
site looks at it or hands it on.
"""

from __future__ import annotations

import contextlib
from typing import Final, final

import msgspec
from msgspec import Struct

from comity.commons.attempts import Opened
from comity.commons.state import Study
from comity.errors import DataFault, Raised, Refused, StudyFault
from comity.node.lookup import find_study
from comity.node.sandbox_wire import NOTES_FILE
from comity.node.station import Station
from comity.statements.studies import FailureKind, RaisedKind, StudyFail
from comity.values import FAILURE_LINE_MAX, FAILURES_PER_STUDY_MAX, StatementId

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
    kind, line, raised = _code(fault)
    noted = FailureNoted(study.round_no, study.attempt, kind, line, raised)
    known = _noted(station, study.id)
    if noted not in known[-1:]:
        kept = (*known, noted)[-KEPT_MAX:]
        station.journal.put(_place(study.id), msgspec.msgpack.encode(kept))


def tell_failure(station: Station, opened: Opened, fault: StudyFault | DataFault) -> None:
    """Say how a study failed here in an attempt, as far as the site policy lets that be told.

    Once for an attempt and a few times for a study; more is neither said nor an error.
    """
    much = station.site.tell_failures
    study = station.replica.state.studies[opened.study]
    if much == "nothing":
        return
    kind, line, raised = _code(fault)
    with_line = much == "line" and line <= FAILURE_LINE_MAX
    body = StudyFail(
        attempt=opened.attempt,
        kind=msgspec.convert(kind, FailureKind),
        round_no=opened.round_no,
        study=opened.study,
        line=line if with_line else 0,
        raised=msgspec.convert(raised.value, RaisedKind) if much == "line" else "nothing",
    )
    # What the journal holds counts too: it is said, though the log may not show it yet.
    kept = station.journal.get(_told(study.id))
    told = msgspec.msgpack.decode(kept, type=list[tuple[int, int]]) if kept else []
    if (body.round_no, body.attempt) in told or len(told) >= FAILURES_PER_STUDY_MAX:
        return
    # Die between the two: this failure is never told.
    told.append((body.round_no, body.attempt))
    station.journal.put(_told(study.id), msgspec.msgpack.encode(told))
    with contextlib.suppress(Refused):
        station.say(body)


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


def _code(fault: StudyFault | DataFault) -> tuple[str, int, Raised]:
    match fault:
        case StudyFault():
            return fault.kind.value, fault.line, fault.raised
        case DataFault():
            return DATA, 0, Raised.NOTHING


def _noted(station: Station, study: StatementId) -> tuple[FailureNoted, ...]:
    stored = station.journal.get(_place(study))
    return msgspec.msgpack.decode(stored, type=tuple[FailureNoted, ...]) if stored else ()


def _place(study: StatementId) -> str:
    return f"failures/{study}"


def _told(study: StatementId) -> str:
    return f"failures-told/{study}"
