"""What votes are about and where they stand: proposals, notices, suspensions, amendments.

Values alone, part of the state. When a proposal may be made is decided in `motions`, who may say
what about it in `votes` and `notices`, what its ballots give in `ballots`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, final

from comity.commons.charter import Charter
from comity.statements.governing import Choice, Motion, ReleaseMotion
from comity.values import Digest, MemberId, StatementId

Ending: TypeAlias = Literal["passed", "rejected", "lapsed", "withdrawn", "stale"]
"""How a proposal ended. lapsed: too few voted, or nobody answered the objections. stale: it passed,
and what it would have changed was no longer there."""


@final
@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposal, its votes, and what they decided (derived, never said).

    charter: in force at opening; its rules decide, whatever becomes of them meanwhile. rule: its
    name in that rulebook; "" without a rulebook. becomes: of an amendment, the charter it asks for;
    new_rule: the rule of that charter which must be met too, "" for none. stage: voting; answering,
    while objections are; waiting, when passed and not yet in effect. closes_s: commons time when
    the stage ends. extended: whether a missed quorum gave it more time. groups: who may vote, and
    the group of each; new_groups: the same for new_rule. objections: members that objected, and
    their statements, also when a later vote of theirs replaced it. answer: the statement that
    answers them. ending: None while open. decided_index: of the entry that decided. signed: members
    whose release.sign stands, with the index of its entry.
    """

    id: StatementId
    author: MemberId
    index: int
    motion: Motion
    charter: Charter
    rule: str
    becomes: Charter | None
    new_rule: str
    stage: Literal["voting", "answering", "waiting"]
    closes_s: int
    extended: bool
    groups: Mapping[MemberId, str]
    new_groups: Mapping[MemberId, str]
    votes: Mapping[MemberId, Choice]
    objections: Mapping[MemberId, StatementId]
    answer: StatementId | None
    ending: Ending | None
    decided_index: int
    signed: Mapping[MemberId, int]

    @property
    def decided(self) -> bool | None:
        """None while open; a yes is in effect."""
        return None if self.ending is None else self.ending == "passed"

    @property
    def electorate(self) -> frozenset[MemberId]:
        """Who may vote."""
        return frozenset(self.groups)

    @property
    def release(self) -> ReleaseMotion | None:
        """The motion, when it is to publish a release."""
        return self.motion if isinstance(self.motion, ReleaseMotion) else None


@final
@dataclass(frozen=True, slots=True)
class Notice:
    """Reasons that a member was given before anybody votes on excluding or suspending it.

    time_s: commons time when it was logged. reply: the member's newest answer. used: whether a
    motion rested on it; each notice serves one.
    """

    id: StatementId
    author: MemberId
    member: MemberId
    time_s: int
    reply: StatementId | None
    used: bool


@final
@dataclass(frozen=True, slots=True)
class Suspension:
    """A member's newest time out of new attempts; over at `until_s` of commons time, by itself.

    noticed: whether it rested on a notice.
    """

    until_s: int
    noticed: bool


@final
@dataclass(frozen=True, slots=True)
class Amendment:
    """A charter that came into force: by which proposal, at which entry, and its digest."""

    proposal: StatementId
    index: int
    charter: Digest
