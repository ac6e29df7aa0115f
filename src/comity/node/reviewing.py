"""What a person may ask of a node about reviews of study files and pauses of studies.

A review names the hash of the bytes that were read; `review_file` gives these very bytes, and what
changed in them since the last reviewed file of a study of the same name.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, final

from msgspec import Struct

from comity.commons.reviews import approving, may_review, pauses, reviews_missing
from comity.commons.state import State, Study
from comity.errors import Misconfigured, Refused, Rule
from comity.node.lookup import find_study
from comity.node.station import Station
from comity.node.wishes import Said, say_once
from comity.statements.studies import Checklist, CodeReview, StudyPause, StudyResume
from comity.values import TEXT_BYTES_MAX, Digest, MemberId, StatementId, sha256

POINTS: Final = {
    "columns": "it reads only the columns that it declares",
    "output": "it gives out only the declared update or statistic",
    "isolation": "it uses no network, no files and no other programs",
    "clipping": "clipping and noise are left to the node",
    "seed": "its randomness comes from the generator it is given, and from nothing else",
}
"""The points of the checklist, and what each says."""


@final
class ReviewLine(Struct, frozen=True):
    """One member's review. counts: approving, and from outside the author's organisation."""

    member: MemberId
    approves: bool
    counts: bool
    reason: str
    index: int


@final
class PauseLine(Struct, frozen=True):
    """A pause in force. until_s: commons time."""

    member: MemberId
    reason: str
    until_s: int


@final
class ReviewStatus(Struct, frozen=True):
    """Where the file of a study stands. reviewers_missing, orgs_missing: under the charter.

    mine: whether a review by this member would count and has not been given.
    """

    study: StatementId
    name: str
    author: MemberId
    code: Digest
    reviewed: bool
    reviewers_missing: int
    orgs_missing: int
    reviews: tuple[ReviewLine, ...]
    pauses: tuple[PauseLine, ...]
    mine: bool


@final
class ReviewReport(Struct, frozen=True, tag="reviews"):
    """The reviews of every study that is not finished."""

    studies: tuple[ReviewStatus, ...]


@final
class ReviewFile(Struct, frozen=True, tag="review-file"):
    """A study's file to be read. before: hash of the last reviewed file of a study of this name.

    text: the file. diff: unified, from that file to this one; "" where there is none before.
    """

    name: str
    code: Digest
    text: str
    before: str
    diff: str


def review_report(station: Station) -> ReviewReport:
    """Which studies are reviewed, by whom, and what is missing."""
    state = station.replica.state
    return ReviewReport(
        tuple(
            _status(state, study, station.member)
            for study in state.studies.values()
            if not study.finished
        )
    )


def review_file(station: Station, study: str) -> ReviewFile:
    """The bytes that a review is about, fetched when they are not here.

    Raises:
        Refused(NO_SUCH_THING). Unavailable: nobody serves them now.
    """
    state = station.replica.state
    found = find_study(state, study)
    code = found.register.plan.code
    text = _text(station.blob(code))
    before = _before(state, found)
    if before is None:
        return ReviewFile(found.register.name, code, text, "", "")
    old = _text(station.blob(before)).splitlines(keepends=True)
    changed = difflib.unified_diff(old, text.splitlines(keepends=True), before[:12], code[:12])
    return ReviewFile(found.register.name, code, text, before, "".join(_ended(changed)))


def give_review(
    station: Station, study: str, *, holds: tuple[str, ...], code: str = "", reason: str = ""
) -> Said:
    """Say what of the checklist holds for the study's file; all of it approves.

    Args:
        holds: names in `POINTS`. code: the hash of what was read, when it was read elsewhere.
    Raises:
        Misconfigured: an unknown point. Refused: NO_SUCH_THING, also when the file that was read is
            another; WRONG_PARTY; NO_REASON; SAID_BEFORE.
    """
    unknown = [point for point in holds if point not in POINTS]
    if unknown:
        raise Misconfigured(f"points of the checklist: {', '.join(POINTS)}; not {unknown[0]!r}")
    if not reason.isprintable() or len(reason.encode()) > TEXT_BYTES_MAX:
        raise Misconfigured(f"a reason is one printable line of at most {TEXT_BYTES_MAX} bytes")
    found = find_study(station.replica.state, study)
    registered = found.register.plan.code
    if code and code != registered:
        raise Refused(
            Rule.NO_SUCH_THING,
            f"the file that was read has hash {code[:12]}, study {found.register.name} has"
            f" {registered[:12]}: one byte is enough; read it with `comity review show`",
        )
    points = {point: point in holds for point in POINTS}
    body = CodeReview(checklist=Checklist(**points), code=registered, reason=reason)
    return say_once(station, body, found.register.name)


def pause_study(station: Station, study: str, *, reason: str) -> Said:
    """Pause a study for 72 hours. Raises Refused: NO_REASON; TOO_SOON within 30 days."""
    found = find_study(station.replica.state, study)
    return say_once(station, StudyPause(reason=reason, study=found.id), found.register.name)


def resume_study(station: Station, study: str) -> Said:
    """End this member's own pause. Raises Refused: WRONG_PARTY when it has none."""
    found = find_study(station.replica.state, study)
    return say_once(station, StudyResume(study=found.id), found.register.name)


def hash_of(path: Path) -> Digest:
    """The hash that a review of this file would name. Raises Misconfigured: it cannot be read."""
    try:
        return sha256(path.read_bytes())
    except OSError as error:
        raise Misconfigured(f"cannot read {path} ({error.strerror})") from error


def _status(state: State, study: Study, me: MemberId) -> ReviewStatus:
    reviewers, organisations = reviews_missing(state, study)
    counted = approving(state, study)
    said = state.reviews.get(study.register.plan.code, {})
    return ReviewStatus(
        study=study.id,
        name=study.register.name,
        author=study.author,
        code=study.register.plan.code,
        reviewed=not reviewers and not organisations,
        reviewers_missing=reviewers,
        orgs_missing=organisations,
        reviews=tuple(
            ReviewLine(member, each.approves, member in counted, each.reason, each.index)
            for member, each in sorted(said.items())
        ),
        pauses=tuple(
            PauseLine(member, each.reason, each.until_s)
            for member, each in sorted(pauses(state, study).items())
        ),
        mine=may_review(state, study, me),
    )


def _before(state: State, study: Study) -> Digest | None:
    """The newest other file that somebody outside approved, of an earlier study of this name."""
    code = study.register.plan.code
    earlier = [
        other.register.plan.code
        for other in state.studies.values()
        if other.register.name == study.register.name
        and other.index < study.index
        and other.register.plan.code != code
        and approving(state, other)
    ]
    return earlier[-1] if earlier else None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="backslashreplace")


def _ended(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ no newline at the end\n"
