"""What the log means so far: an immutable value, the same on every machine (integers only).

`fold.py` makes the next one from an entry. Nothing is ever changed in place; a change copies the
one mapping it concerns, so a state may be kept, dropped, or continued twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from comity.commons.attempts import Ended, Live
from comity.commons.charter import Charter
from comity.commons.copies import Layered
from comity.commons.holds import Pause, Review
from comity.commons.proposals import Amendment, Notice, Suspension
from comity.commons.proposals import Proposal as Proposal
from comity.errors import Rule
from comity.statements.governing import Criterion, KeySet, Motion
from comity.statements.membership import HostTakeover, KeysRevoke, KeysRotate
from comity.statements.studies import StudyFail, StudyRegister
from comity.values import CommonsId, DatasetId, Digest, MemberId, StatementId, sealing_key_id


@final
@dataclass(frozen=True, slots=True)
class KeysSeen:
    """Public keys that valid statements have shown, for the question whether one is new.

    Each key is kept as a 32-byte hash, `sealing_key_id`. groups: sets whose sizes at least halve
    from one to the next, so adding and asking cost about log2(count) set operations and old states
    stay as they were.
    """

    groups: tuple[frozenset[bytes], ...] = ()

    def __contains__(self, public: object) -> bool:
        if not isinstance(public, bytes):
            return False
        name = sealing_key_id(public)
        return any(name in group for group in self.groups)

    def adding(self, *public: bytes) -> KeysSeen:
        """The same and these keys (sealing keys have 1216 bytes, others 32 or 65)."""
        groups, newest = list(self.groups), frozenset(map(sealing_key_id, public))
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
    consents, enrolments, departures and reviews of the study. pauses: the newest of each member.
    failures: what sites told, oldest first.
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
    pauses: Mapping[MemberId, Pause] = field(default_factory=dict)
    failures: tuple[tuple[MemberId, StudyFail], ...] = ()

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
class Epoch:
    """Who the members are, with which keys, and who hosts, from one log size on.

    number: 0 at the founding, then one more each. digest: of its document; NOTHING while founders
    are still missing. prev: digest of the document before, of the charter for epoch 0. size: the
    log size at which its last approval stood; 0 of epoch 0. host_size: that of the first epoch
    since which this member has hosted. members: sorted. keys: of each (of epoch 0: that entered).
    """

    number: int
    digest: Digest
    prev: Digest
    size: int
    host: MemberId
    host_size: int
    members: tuple[MemberId, ...]
    quorum: int
    keys: Mapping[MemberId, KeySet]


@final
@dataclass(frozen=True, slots=True)
class Application:
    """A stranger's wish to be admitted: its keys, and its chain, which begins with it.

    time_s: commons time when it was logged; it stays open for APPLICATION_OPEN_S. criteria: those
    of the charter then in force; a refusal cites one of them.
    """

    id: StatementId
    index: int
    key_set: KeySet
    author: Author
    time_s: int
    country: str
    name: str
    criteria: tuple[Criterion, ...]


@final
@dataclass(frozen=True, slots=True)
class Claim:
    """What one member's word alone asks of the next epoch; people approve it, not software.

    time_s: commons time when it was logged.
    """

    id: StatementId
    author: MemberId
    index: int
    time_s: int
    body: KeysRotate | KeysRevoke | HostTakeover


@final
@dataclass(frozen=True, slots=True)
class Pending:
    """An epoch that may follow the one in force: all that is settled (decisions, leaves, a
    hand-over), and at most one claim. `epoch.size` is not known yet: 0."""

    epoch: Epoch
    claim: Claim | None


@final
@dataclass(frozen=True, slots=True)
class Changes:
    """What waits to change who belongs, with which keys, and who hosts.

    applications: of every id that ever applied, also when admitted. admitted: whom a vote
    admitted and no epoch yet, in the order of the decisions. leaving: members that left and are
    in the epoch in force still. excluded: members that a vote excluded and that are in it
    still. handover: whom the host hands over to. offers: address of each member that would
    host. claims: in log order, at most one of each kind and author. pending: what may be
    approved now, the settled one first. approvals: who approved a document as the next epoch,
    by digest.
    """

    applications: Mapping[MemberId, Application]
    admitted: tuple[MemberId, ...]
    leaving: frozenset[MemberId]
    excluded: frozenset[MemberId]
    handover: MemberId | None
    offers: Mapping[MemberId, str]
    claims: tuple[Claim, ...]
    pending: tuple[Pending, ...]
    approvals: Mapping[Digest, frozenset[MemberId]]

    @property
    def going(self) -> frozenset[MemberId]:
        """Members of the epoch in force that will not be in the next one."""
        return self.leaving | self.excluded if self.excluded else self.leaving


@final
@dataclass(frozen=True, slots=True)
class Accusation:
    """Evidence that a member filed and that proves what it says. evidence: digest of its text."""

    author: MemberId
    subject: MemberId
    index: int
    evidence: Digest


@final
@dataclass(frozen=True, slots=True)
class State:
    """Everything the first `size` entries mean.

    founding: the charter that all founders signed, whose hash is the commons id. charter: the
    one in force; amendments: how it came to be, oldest first. founded_size: the log size at
    which all founders had entered; 0 before. head: (size, root) that the newest entry names.
    epoch: the one in force; past: those before it, oldest first. authors: of all that are or
    were members. commons_time_s: architecture.md 1.6. voting: proposals not decided yet, in log
    order. passed: of each motion in effect, the newest entry that decided it. notices: that may
    still be voted on. suspended: each member's newest suspension, also when it is over.
    countries: what admitted members said of themselves when they applied. sealing_keys,
    public_keys: all ever shown in this commons. reviews: of each study file, by its hash, the
    newest of each member.
    """

    founding: Charter
    charter: Charter
    amendments: tuple[Amendment, ...]
    commons: CommonsId
    size: int
    founded_size: int
    head: tuple[int, bytes]
    epoch: Epoch
    past: tuple[Epoch, ...]
    changes: Changes
    authors: Mapping[MemberId, Author]
    commons_time_s: int
    datasets: Mapping[DatasetId, Dataset]
    studies: Mapping[StatementId, Study]
    proposals: Layered[StatementId, Proposal]
    passed: Layered[Motion, int]
    voting: tuple[StatementId, ...]
    notices: Mapping[StatementId, Notice]
    suspended: Mapping[MemberId, Suspension]
    accusations: tuple[Accusation, ...]
    countries: Mapping[MemberId, str]
    sealing_keys: KeysSeen
    public_keys: KeysSeen
    reviews: Mapping[Digest, Mapping[MemberId, Review]] = field(default_factory=dict)

    @property
    def members(self) -> tuple[MemberId, ...]:
        """Members of the epoch in force, sorted; those that left count until the next one."""
        return self.epoch.members

    @property
    def present(self) -> tuple[MemberId, ...]:
        """Members of the epoch in force that neither left nor were excluded: who votes, and whose
        clocks count."""
        going = self.changes.going
        if not going:
            return self.epoch.members
        return tuple(m for m in self.epoch.members if m not in going)

    def is_suspended(self, member: MemberId) -> bool:
        """Whether the member may be in no new attempt for now."""
        suspension = self.suspended.get(member)
        return suspension is not None and self.commons_time_s < suspension.until_s

    @property
    def host(self) -> MemberId:
        """The member in office as host."""
        return self.epoch.host

    @property
    def quorum(self) -> int:
        """How many distinct members must cosign a head to make it final."""
        return self.epoch.quorum

    @property
    def keys(self) -> Mapping[MemberId, KeySet]:
        """Keys in force; while the commons is being founded, of the founders that entered."""
        return self.epoch.keys

    def epoch_at(self, size: int) -> Epoch:
        """The epoch in force after the first `size` entries (rule 8); size at most the state's."""
        for epoch in (self.epoch, *reversed(self.past)):
            if epoch.size <= size:
                return epoch
        raise AssertionError("epoch 0 is in force from the first entry on")


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
