"""Whatever members try, no right of the floor is broken, and all nodes come to the same.

Members open motions of every kind, vote, object, answer, withdraw, give notice, leave, approve
epochs, and let time pass, by hours or by months. In CI 2,000 steps, every night 100,000.
"""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from comity.commons.amending import amendment
from comity.commons.rulebook import RuleText
from comity.statements.entries import Body
from comity.statements.governing import (
    Choice,
    ExcludeMotion,
    HostMotion,
    Motion,
    NoticeGive,
    NoticeReply,
    ObjectionAnswer,
    ProposalWithdraw,
    Seen,
    SuspendMotion,
    VoteCast,
    proposal_of,
)
from comity.statements.membership import HostHandover, HostOffer, MemberLeave
from comity.values import DAY_S, EXIT_S_MIN, NOTICE_S_MIN, MemberId, StatementId
from tests.commons.governed import BOOK, with_book, with_rule
from tests.commons.governing_histories import History
from tests.worlds import digest

SEATS = st.integers(0, 6)
CHOICES: tuple[Choice, ...] = ("yes", "yes", "yes", "no", "abstain", "object")
PASSES = (1, 3_600, DAY_S, 5 * DAY_S, NOTICE_S_MIN, 40 * DAY_S)
CHANGES: tuple[tuple[str, dict[str, object]], ...] = (
    ("swift", {"window_s": 7_200}),
    ("swift", {"method": "consensus", "mediation_s": DAY_S, "fallback": "urgent"}),
    ("swift", {"min_yes": 4}),
    ("amend", {"yes": "3/5"}),
    ("amend", {"effect_s": 1}),
    ("amend", {"effect_s": 2 * EXIT_S_MIN}),
    ("amend", {"method": "unanimity", "yes": "", "of": "cast"}),
    ("exclude", {"notice_s": 0}),
    ("exclude", {"yes": "2/3"}),
    ("urgent", {"expires_s": 0}),
    ("urgent", {"expires_s": 80 * DAY_S}),
    ("urgent", {"window_s": 60}),
)


class Histories(RuleBasedStateMachine):
    """One commons; each rule lets one member, or all, try something."""

    history: History

    @initialize(count=st.integers(3, 7))
    def found(self, count: int) -> None:
        self.history = History(count)

    def member(self, seat: int) -> MemberId:
        members = self.history.start.members
        return members[seat % len(members)]

    def newest(self, back: int) -> StatementId:
        known = [*self.history.state.proposals][-3:]
        return known[back % len(known)] if known else StatementId(digest("none"))

    def notice(self, back: int) -> StatementId:
        known = [*self.history.state.notices][-3:]
        return known[back % len(known)] if known else StatementId(digest("none"))

    def move(self, seat: int, motion: Motion, reason: str = "a reason") -> None:
        self.history.say(self.member(seat), proposal_of(motion, reason))

    @rule(by=st.sampled_from(PASSES), silent=st.integers(0, 20))
    def time_passes(self, by: int, silent: int) -> None:
        self.history.now_s += by
        for at, member in enumerate(self.history.start.members):
            if at != silent:
                self.history.say(member, Seen())

    @rule(seat=SEATS, ahead=st.sampled_from((0, 3_600, 400 * DAY_S)))
    def one_clock_is_wrong(self, seat: int, ahead: int) -> None:
        self.history.say(self.member(seat), Seen(), ahead)

    @rule(change=st.sampled_from(CHANGES), seat=SEATS)
    def amend(self, change: tuple[str, dict[str, object]], seat: int) -> None:
        now = self.history.state.charter
        book = now.rulebook
        name, keys = change
        if book is not None and name in book.rules:
            self.move(seat, amendment(now, with_rule(now, name, **keys)))

    @rule(seat=SEATS)
    def amend_to_no_rules(self, seat: int) -> None:
        now = self.history.state.charter
        bare = msgspec.structs.replace(with_book(now, None), release="simple-majority")
        self.move(seat, amendment(now, bare))

    @rule(seat=SEATS)
    def amend_to_other_rules(self, seat: int) -> None:
        now = self.history.state.charter
        rules = {**BOOK.rules, "amend": RuleText(method="majority", window_s=60, effect_s=1)}
        book = msgspec.structs.replace(BOOK, rules=rules)
        self.move(
            seat, amendment(now, msgspec.structs.replace(with_book(now, book), release="rules"))
        )

    @rule(seat=SEATS, of=SEATS, back=SEATS)
    def exclude(self, seat: int, of: int, back: int) -> None:
        notice = self.notice(back)
        known = self.history.state.notices.get(notice)
        member = known.member if known and back % 2 else self.member(of)
        self.move(seat, ExcludeMotion(member=member, notice=notice))

    @rule(seat=SEATS, of=SEATS, days=st.sampled_from((1, 3, 15, 90, 200)), back=st.none() | SEATS)
    def suspend(self, seat: int, of: int, days: int, back: int | None) -> None:
        notice = None if back is None else self.notice(back)
        known = self.history.state.notices.get(notice) if notice else None
        member = known.member if known else self.member(of)
        self.move(seat, SuspendMotion(member=member, seconds=days * DAY_S, notice=notice))

    @rule(seat=SEATS, of=SEATS)
    def change_host(self, seat: int, of: int) -> None:
        self.history.say(self.member(of), HostOffer(address=f"https://{of}.example"))
        self.move(seat, HostMotion(member=self.member(of)))
        self.history.say(self.history.state.host, HostHandover(member=self.member(of)))

    @rule(seat=SEATS, of=SEATS)
    def give_notice(self, seat: int, of: int) -> None:
        body = NoticeGive(evidence=(digest("e"),), member=self.member(of), reason="a reason")
        self.history.say(self.member(seat), body)

    @rule(seat=SEATS, of=SEATS)
    def give_notice_in_time(self, seat: int, of: int) -> None:
        self.give_notice(seat, of)
        self.time_passes(NOTICE_S_MIN, 20)
        self.exclude(seat, of, 1)

    @rule(seat=SEATS, back=SEATS)
    def reply(self, seat: int, back: int) -> None:
        self.history.say(self.member(seat), NoticeReply(notice=self.notice(back), reason="no"))

    @rule(choices=st.lists(st.sampled_from(CHOICES), min_size=1, max_size=7), back=SEATS)
    def vote(self, choices: list[Choice], back: int) -> None:
        for seat, choice in enumerate(choices):
            body = VoteCast(choice=choice, proposal=self.newest(back), reason="because")
            self.history.say(self.member(seat), body)

    @rule(back=SEATS)
    def all_say_yes(self, back: int) -> None:
        proposal = self.newest(back)
        for seat in range(7):
            self.history.say(self.member(seat), VoteCast(choice="yes", proposal=proposal))

    @rule(by=st.sampled_from((3_600, EXIT_S_MIN - 1, EXIT_S_MIN)))
    def carry_the_newest(self, by: int) -> None:
        self.all_say_yes(-1)
        self.time_passes(by, 20)

    @rule(change=st.sampled_from(CHANGES), seat=SEATS, other=st.sampled_from(CHANGES))
    def carry_two_amendments(
        self, change: tuple[str, dict[str, object]], seat: int, other: tuple[str, dict[str, object]]
    ) -> None:
        self.amend(change, seat)
        self.all_say_yes(-1)
        self.amend(other, seat + 1)
        self.carry_the_newest(EXIT_S_MIN)

    @rule(seat=SEATS, of=SEATS, days=st.integers(1, 3))
    def carry_a_suspension(self, seat: int, of: int, days: int) -> None:
        self.suspend(seat, of, days, None)
        self.all_say_yes(-1)

    @rule(seat=SEATS, back=SEATS, answers=st.booleans())
    def answer_or_withdraw(self, seat: int, back: int, answers: bool) -> None:
        proposal = self.newest(back)
        body: Body = ProposalWithdraw(proposal=proposal)
        if answers:
            body = ObjectionAnswer(proposal=proposal, reason="it has an end")
        known = self.history.state.proposals.get(proposal)
        author = known.author if known and seat % 2 else self.member(seat)
        self.history.say(author, body)

    @rule(seat=SEATS, really=st.integers(0, 4))
    def leave(self, seat: int, really: int) -> None:
        if not really:
            self.history.say(self.member(seat), MemberLeave())

    @rule()
    def approve_epochs(self) -> None:
        for seat in range(5):
            self.history.approve(seat)

    def teardown(self) -> None:
        if hasattr(self, "history"):
            self.history.check_replays()


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_random_histories_break_no_right_and_mean_the_same_everywhere() -> None:
    run(examples=40, steps=50)


@pytest.mark.nightly
@pytest.mark.timeout(4 * 3_600)
def test_many_random_histories_break_no_right() -> None:
    run(examples=1_000, steps=100)
