"""Random histories of a commons: what members may try, and what must hold whatever they do.

A `History` is a commons and the questions that are asked of it after every statement. Statements
are applied as they come from the log, without their signatures: those are not what is tried here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from comity.commons import fold
from comity.commons.charter import charter_fault
from comity.commons.epochs import document_digest, pending_documents
from comity.commons.floor import floor_fault
from comity.commons.members import lower_median
from comity.commons.motions import REMOVABLE_MIN, groups_of
from comity.commons.proposals import Proposal
from comity.commons.state import Outcome, State, Void
from comity.statements.entries import Body, Entry, Statement
from comity.statements.governing import (
    AmendMotion,
    ExcludeMotion,
    NoticeGive,
    SuspendMotion,
)
from comity.statements.membership import EpochApprove, MemberLeave
from comity.values import (
    EXIT_S_MIN,
    NOTICE_S_MIN,
    SUSPENSION_S_MAX,
    UNNOTICED_S_MAX,
    MemberId,
    StatementId,
    sha256,
)
from tests.commons.governed import governed
from tests.rule_meanings import MEANINGS


@dataclass
class History:
    """A commons of so many members. start: its state once founded; snapshots: some states since.

    passed_s: when each amendment passed. given_s: when each notice was given, whom to.
    """

    count: int
    start: State = field(init=False)
    state: State = field(init=False)
    now_s: int = field(init=False)
    entries: list[Entry] = field(default_factory=list)
    snapshots: list[State] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    passed_s: dict[StatementId, int] = field(default_factory=dict)
    given_s: dict[StatementId, tuple[MemberId, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        world = governed(self.count)
        self.start = self.state = world.state
        self.now_s = world.now_s

    def say(self, author: MemberId, body: Body, ahead_s: int = 0) -> Outcome | None:
        """Apply what a member says, and ask every question; None when it is no member any more."""
        known = author in self.state.keys
        if not known:
            return None
        before = self.state
        seq, prev = fold.next_link(before, author)
        said = Statement(
            id=StatementId(sha256(b"%d" % len(self.entries))),
            author=author,
            commons=before.commons,
            seq=seq,
            prev=prev,
            head_size=before.head[0],
            head_root=before.head[1],
            time_s=self.now_s + ahead_s,
            body=body,
        )
        entry = Entry(before.size, b"", said)
        expected = fold.check(before, author, body, said.time_s)
        self.state, outcome = fold.apply(before, entry)
        assert (outcome.rule if isinstance(outcome, Void) else None) == expected
        self.entries.append(entry)
        self.outcomes.append(outcome)
        if len(self.entries) % 7 == 0:
            self.snapshots.append(self.state)
        self._check(before, entry, outcome)
        return outcome

    def approve(self, at: int) -> None:
        """The member at this place approves the newest document that may follow."""
        documents = pending_documents(self.state)
        members = self.state.members
        if documents:
            body = EpochApprove(
                document=document_digest(documents[-1]), epoch=self.state.epoch.number + 1
            )
            self.say(members[at % len(members)], body)

    def _check(self, before: State, entry: Entry, outcome: Outcome) -> None:
        state, said = self.state, entry.statement
        if isinstance(outcome, Void):
            assert outcome.rule in MEANINGS, "every void has a documented code"
            assert not isinstance(said.body, MemberLeave) or said.author in before.changes.leaving
        assert state.commons_time_s >= before.commons_time_s
        self._check_charter(before)
        for proposal in state.proposals.values():
            earlier = before.proposals.get(proposal.id)
            if earlier is not proposal:
                self._check_proposal(before, earlier, proposal)
        if isinstance(said.body, NoticeGive) and not isinstance(outcome, Void):
            self.given_s[said.id] = (said.body.member, state.commons_time_s)
        for suspension in state.suspended.values():  # F14
            assert suspension.until_s <= state.commons_time_s + SUSPENSION_S_MAX
        gone = state.changes.excluded - before.changes.excluded
        for member in gone:  # F5: with notice, by others, and never among three
            assert len(before.present) >= REMOVABLE_MIN, "nobody is excluded among three"
            assert any(
                isinstance(p.motion, ExcludeMotion)
                and p.motion.member == member
                and p.ending == "passed"
                and member not in p.votes
                for p in state.proposals.values()
            )
        assert state.present == tuple(
            m for m in state.members if m not in state.changes.leaving | state.changes.excluded
        )
        if state.present and state.changes == before.changes and state.epoch == before.epoch:
            median = lower_median(state.authors[m].time_s for m in state.present)
            assert state.commons_time_s == max(before.commons_time_s, median)

    def _check_charter(self, before: State) -> None:
        state = self.state
        if state.charter == before.charter:
            return
        assert charter_fault(state.charter, groups_of(state)) is None
        book = state.charter.rulebook
        assert floor_fault(book, state.charter.studies.survivors_min) is None
        made = state.amendments[-1]
        proposal = state.proposals[made.proposal]
        assert isinstance(proposal.motion, AmendMotion) and proposal.ending == "passed"
        # F13: 14 days of commons time between passing and binding, whatever the clocks did.
        assert state.commons_time_s - self.passed_s[made.proposal] >= EXIT_S_MIN
        assert state.founding == self.start.founding and state.commons == self.start.commons

    def _check_proposal(self, before: State, earlier: Proposal | None, now: Proposal) -> None:
        state, motion = self.state, now.motion
        if earlier is None:
            assert now.charter == state.charter and set(now.groups) <= set(state.present)
            if isinstance(motion, ExcludeMotion | SuspendMotion):  # F5: the accused has no vote
                assert motion.member not in now.groups
            if isinstance(motion, ExcludeMotion):
                self._check_notice(motion.notice, motion.member)
            if isinstance(motion, SuspendMotion) and motion.seconds > UNNOTICED_S_MAX:
                assert motion.notice is not None
                self._check_notice(motion.notice, motion.member)
            return
        assert earlier.ending is None or earlier.ending == now.ending, "what ended stays so"
        assert now.charter is earlier.charter, "rules are frozen at opening"
        gone = set(earlier.groups) - set(now.groups)
        assert gone <= state.changes.leaving - before.changes.leaving, "only who leaves is out"
        assert set(now.votes) <= set(now.groups)
        if now.stage == "waiting" and earlier.stage == "voting":
            self.passed_s[now.id] = state.commons_time_s

    def _check_notice(self, notice: StatementId, member: MemberId) -> None:
        given_to, given_s = self.given_s[notice]
        assert given_to == member and self.state.commons_time_s - given_s >= NOTICE_S_MIN

    def check_replays(self) -> None:
        """From scratch, and on from every snapshot, the log means the same."""
        for start in (self.start, *self.snapshots[:: max(1, len(self.snapshots) // 3)]):
            state = start
            for entry in self.entries[start.size - self.start.size :]:
                state, outcome = fold.apply(state, entry)
                assert outcome == self.outcomes[entry.index - self.start.size]
            assert state == self.state
