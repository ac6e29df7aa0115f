"""What members said for or against a study's running: reviews of its file, and pauses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True)
class Review:
    """What a member last said of a study file. index: of the entry; reason: when not approved."""

    approves: bool
    index: int
    reason: str


@final
@dataclass(frozen=True, slots=True)
class Pause:
    """A member's newest pause of a study. said_s, until_s: commons time; until_s moves to the
    present when its author ends it."""

    index: int
    said_s: int
    until_s: int
    reason: str
