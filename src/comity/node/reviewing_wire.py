"""Wishes about reviews and pauses, on the wire (`wish_wire.py` has the others)."""

from __future__ import annotations

from typing import Annotated, final

from msgspec import Meta, Struct

from comity.node import reviewing
from comity.node.reviewing import ReviewFile, ReviewReport
from comity.node.station import Station
from comity.node.wish_fields import Name
from comity.node.wishes import Said
from comity.statements.fields import ReasonField, SlugField, TextField


@final
class AskReviews(Struct, frozen=True, tag="review-list", forbid_unknown_fields=True):
    """`reviewing.review_report`."""


@final
class FindReviewFile(Struct, frozen=True, tag="review-show", forbid_unknown_fields=True):
    """`reviewing.review_file`."""

    study: Name


@final
class GiveReview(Struct, frozen=True, tag="review-give", forbid_unknown_fields=True):
    """`reviewing.give_review`. code: "" when what the node showed was read."""

    study: Name
    holds: Annotated[tuple[SlugField, ...], Meta(max_length=16)] = ()
    code: Annotated[str, Meta(max_length=64)] = ""
    reason: TextField = ""


@final
class PauseStudy(Struct, frozen=True, tag="study-pause", forbid_unknown_fields=True):
    """`reviewing.pause_study`."""

    study: Name
    reason: ReasonField


@final
class ResumeStudy(Struct, frozen=True, tag="study-resume", forbid_unknown_fields=True):
    """`reviewing.resume_study`."""

    study: Name


Reviewed = AskReviews | FindReviewFile | GiveReview | PauseStudy | ResumeStudy
ReviewResult = Said | ReviewReport | ReviewFile


def review(wish: Reviewed, station: Station) -> ReviewResult:
    """Grant a wish about reviews or pauses. Raises what its function raises."""
    match wish:
        case AskReviews():
            return reviewing.review_report(station)
        case FindReviewFile():
            return reviewing.review_file(station, wish.study)
        case GiveReview():
            return reviewing.give_review(
                station, wish.study, holds=wish.holds, code=wish.code, reason=wish.reason
            )
        case PauseStudy():
            return reviewing.pause_study(station, wish.study, reason=wish.reason)
        case ResumeStudy():
            return reviewing.resume_study(station, wish.study)
