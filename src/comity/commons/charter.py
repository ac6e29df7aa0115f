"""The charter: what all founders sign. Strict: unknown or contradictory settings are refused.

Its canonical JSON is what is hashed: the commons id is the SHA-256 of those bytes. This version
holds members, host, cosigning quorum, the bounds of studies and the vote on releases; the full
charter adds its own sections beside these.
"""

from __future__ import annotations

from typing import Annotated, Literal, final

from msgspec import Meta, Struct

from comity.statements.fields import Count, DigestField, Duration, MemberField, SlugField, TextField
from comity.values import MEMBERS_MAX, ROSTER_MAX


@final
class Founder(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A founding member: its id, the digest of its key set, and neutral attributes."""

    id: MemberField
    keys: DigestField
    country: TextField = ""
    name: TextField = ""


@final
class StudyBounds(Struct, frozen=True, forbid_unknown_fields=True):
    """What the commons allows of a study's plan (aggregation.md 4)."""

    attempts_max: Annotated[int, Meta(ge=1, le=1_000)]
    colluders_min: Annotated[int, Meta(ge=1, le=ROSTER_MAX)]
    end_by_s_max: Duration
    rounds_max: Annotated[int, Meta(ge=1, le=100_000)]
    survivors_min: Annotated[int, Meta(ge=2, le=ROSTER_MAX)]


@final
class Charter(Struct, frozen=True, forbid_unknown_fields=True):
    """The constitution of a commons. quorum: cosigners of a final head (log-and-provenance 2.2)."""

    format: Literal["comity-charter/1"]
    founders: Annotated[tuple[Founder, ...], Meta(min_length=2, max_length=MEMBERS_MAX)]
    host: MemberField
    name: TextField
    origin_prefix: SlugField
    protocol: Literal[1]
    quorum: Annotated[int, Meta(ge=1, le=MEMBERS_MAX)]
    release: Literal["simple-majority"]
    studies: StudyBounds
    void_entries_per_day_max: Count
    vote_open_s: Duration
