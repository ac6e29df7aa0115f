"""What the log means so far: an immutable value, the same on every machine (integers only).

`fold.py` makes the next one from an entry. Nothing is ever changed in place; a change copies the
one mapping it concerns, so a state may be kept, dropped, or continued twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from comity.commons.attempts import Ended, Live
from comity.commons.charter import Charter
from comity.errors import Rule
from comity.statements.governing import KeySet, ReleaseMotion
from comity.statements.studies import StudyRegister
from comity.values import CommonsId, DatasetId, Digest, MemberId, StatementId, sealing_key_id


@final
@dataclass(frozen=True, slots=True)
class KeysSeen:
    """Sealing keys that valid statements have shown, for the question whether one is new.

    Each key is kept as its 32-byte `sealing_key_id`. groups: sets whose sizes at least halve from
    one to the next, so adding and asking cost about log2(count) set operations and old states stay
    as they were.
    """

    groups: tuple[frozenset[bytes], ...] = ()

    def __contains__(self, sealing_key: object) -> bool:
        if not isinstance(sealing_key, bytes):
            return False
        name = sealing_key_id(sealing_key)
        return any(name in group for group in self.groups)

    def adding(self, sealing_key: bytes) -> KeysSeen:
        """The same and this key (1216 bytes)."""
        groups, newest = list(self.groups), frozenset((sealing_key_id(sealing_key),))
        while groups and len(groups[-1]) <= len(newest):
            newest |= groups.pop()
        return KeysSeen((*groups, newest))


@final
@dataclass(frozen=True, slots=True)
class Author:
    """One author's chain: what its next statement must continue, and its latest clock.

    seq, last: of its newest entry (seq -1 and NOTHING before the first). time_s: the largest it has
    signed. head_size: of the head its newest entry names. void_day: the commons day
    (commons time // 86400) in which void_count entries of it were void.
    """

    seq: int
    last: StatementId
    head_size: int
    time_s: int
    void_day: int
    void_count: int


@final
@dataclass(frozen=True, slots=True)
class Dataset:
    """A declared data set in its newest version."""

    id: DatasetId
    owner: MemberId
    version: Digest
    unit: str
    epsilon_millionths: int
    delta_trillionths: int

    @property
    def has_budget(self) -> bool:
        """Whether the owner set a ceiling on privacy events."""
        return self.epsilon_millionths > 0 or self.delta_trillionths > 0


@final
@dataclass(frozen=True, slots=True)
class Consent:
    """A member's yes to a study, for one version of one data set."""

    dataset: DatasetId
    version: Digest
    exposed: bool


@final
@dataclass(frozen=True, slots=True)
class Enrolment:
    """A member in a study. sealing_key: unused, 1216 bytes; None once an Open pinned it."""

    sealing_key: bytes | None


@final
@dataclass(frozen=True, slots=True)
class Accepted:
    """The result of one round: what the next one starts from, and what a release publishes."""

    round_no: int
    attempt: int
    opened: StatementId
    closed: StatementId
    model: Digest
    moments: Digest | None
    total: Digest
    survivors: frozenset[MemberId]
    index: int


@final
@dataclass(frozen=True, slots=True)
class Study:
    """A registered study and where it stands.

    attempt: number of the newest attempt opened (0: none). current: the live attempt, None between
    attempts. ended: all ended attempts, oldest first. refused: members that refused or withdrew
    and have not given since. left: members that left by their own statement and did not return.
    excluded: members that t disputes named. serials: of each member's newest study.enrol, also
    when it is no longer enrolled. roster_index: of the newest entry among study.register and the
    consents, enrolments and departures of the study.
    """

    id: StatementId
    author: MemberId
    index: int
    register: StudyRegister
    plan_digest: Digest
    consents: Mapping[MemberId, Consent]
    refused: frozenset[MemberId]
    left: frozenset[MemberId]
    excluded: frozenset[MemberId]
    enrolled: Mapping[MemberId, Enrolment]
    serials: Mapping[MemberId, int]
    roster_index: int
    attempt: int
    current: Live | None
    ended: tuple[Ended, ...]
    results: tuple[Accepted, ...]

    @property
    def round_no(self) -> int:
        """The round that is due or under way, from 1; rounds_max + 1 when all are done."""
        return len(self.results) + 1

    @property
    def finished(self) -> bool:
        """Whether all rounds of the plan have a result."""
        return len(self.results) >= self.register.plan.rounds_max

    @property
    def model(self) -> tuple[Digest, Digest | None]:
        """(model, moments) the next round starts from."""
        if self.results:
            return self.results[-1].model, self.results[-1].moments
        return self.register.plan.model, self.register.plan.moments


@final
@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposal, its votes, and what they decided (derived, never said).

    closes_s: commons time. decided: None while open. decided_index: of the entry that decided.
    signed: members whose release.sign stands, with the index of its entry.
    """

    id: StatementId
    author: MemberId
    index: int
    motion: ReleaseMotion
    closes_s: int
    electorate: frozenset[MemberId]
    votes: Mapping[MemberId, str]
    decided: bool | None
    decided_index: int
    signed: Mapping[MemberId, int]


@final
@dataclass(frozen=True, slots=True)
class State:
    """Everything the first `size` entries mean.

    founded_size: the log size at which all founders had entered; 0 before. head: (size, root) that
    the newest entry names. keys: of the founders that entered. authors: of all founders.
    commons_time_s: architecture.md 1.6. voting: proposals not decided yet, in log order.
    sealing_keys: all ever shown in this commons.
    """

    charter: Charter
    commons: CommonsId
    size: int
    founded_size: int
    head: tuple[int, bytes]
    keys: Mapping[MemberId, KeySet]
    authors: Mapping[MemberId, Author]
    commons_time_s: int
    datasets: Mapping[DatasetId, Dataset]
    studies: Mapping[StatementId, Study]
    proposals: Mapping[StatementId, Proposal]
    voting: tuple[StatementId, ...]
    sealing_keys: KeysSeen

    @property
    def members(self) -> tuple[MemberId, ...]:
        """Members of the epoch in force, sorted. In this version: the founders."""
        return tuple(founder.id for founder in self.charter.founders)

    @property
    def host(self) -> MemberId:
        """The member in office as host."""
        return self.charter.host

    @property
    def quorum(self) -> int:
        """How many distinct members must cosign a head to make it final."""
        return self.charter.quorum


@final
@dataclass(frozen=True, slots=True)
class Done:
    """The statement took effect."""


@final
@dataclass(frozen=True, slots=True)
class Void:
    """The statement stays in the log without effect, by this rule."""

    rule: Rule


Outcome = Done | Void
