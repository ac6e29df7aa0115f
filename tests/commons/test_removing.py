"""Exclusion and suspension: notice, reasons, an answer, a vote without the accused, an end.

Attacks: a vote without notice, a notice about another, one that serves twice, short suspensions
strung together, a panel of three, the last word of whoever is excluded.
"""

from __future__ import annotations

import msgspec
import pytest

from comity.commons.duties import AskReview, duties
from comity.commons.opening import expected_open
from comity.commons.state import Done, Void
from comity.errors import Rule
from comity.statements.governing import (
    ExcludeMotion,
    HostMotion,
    NoticeGive,
    NoticeReply,
    ProposalWithdraw,
    Seen,
    SuspendMotion,
    VoteCast,
    proposal_of,
)
from comity.statements.membership import HostOffer, MemberLeave
from comity.statements.rounds import RoundOpen
from comity.values import (
    DAY_S,
    EVIDENCE_MAX,
    NOTICE_OPEN_S,
    NOTICE_S_MIN,
    NOTICES_OPEN_PER_MEMBER_MAX,
    SUSPENSION_APART_S,
    UNNOTICED_S_MAX,
    StatementId,
)
from tests.commons.changes import apply_body, approve, take_over_body
from tests.commons.governed import (
    BOOK,
    EXPIRES_S,
    WINDOW_S,
    exclude,
    governed,
    held,
    move,
    moved,
    notice,
    suspend,
    vote,
)
from tests.worlds import World, charter_of, digest

NO_SUCH = StatementId(digest("no such notice"))


def noticed(age_s: int = NOTICE_S_MIN, count: int = 5) -> tuple[World, StatementId]:
    """A commons in which b has given e notice, so long ago."""
    world = governed(count)
    given = notice(world, world.members[1], world.members[-1], age_s=age_s)
    return world, given


# -- notices -------------------------------------------------------------------------------------


def test_a_notice_names_a_member_reasons_and_evidence() -> None:
    world = governed(4)
    a, b, *_ = world.members
    fits = NoticeGive(evidence=(digest("e"),), member=b, reason="false check values")
    blank = msgspec.structs.replace(fits, reason="  ")
    assert world.say(a, blank) == Void(Rule.NO_REASON)
    assert world.say(b, fits) == Void(Rule.WRONG_PARTY)
    nobody = msgspec.structs.replace(fits, member="nobody")
    assert world.say(a, nobody) == Void(Rule.NO_SUCH_THING)
    assert world.say(a, fits) == Done()
    with pytest.raises(Exception, match="evidence"):
        world.envelope(a, msgspec.structs.replace(fits, evidence=()))
    many = msgspec.structs.replace(fits, evidence=(digest("e"),) * (EVIDENCE_MAX + 1))
    with pytest.raises(Exception, match="evidence"):
        world.envelope(a, many)


def test_notices_of_a_member_are_limited_and_lapse() -> None:
    world = governed(4)
    a, b, *_ = world.members
    for number in range(NOTICES_OPEN_PER_MEMBER_MAX):
        world.done(a, NoticeGive(evidence=(digest(f"{number}"),), member=b, reason="a reason"))
    more = NoticeGive(evidence=(digest("more"),), member=b, reason="a reason")
    assert world.say(a, more) == Void(Rule.TOO_MANY)
    world.pass_time(NOTICE_OPEN_S)
    assert world.say(a, more) == Done()
    assert set(world.state.notices) == {world.last_id}


def test_only_its_member_answers_a_notice_and_the_newest_answer_counts() -> None:
    world, given = noticed(0)
    a, e = world.members[0], world.members[-1]
    reply = NoticeReply(notice=given, reason="a disk had failed")
    assert world.say(a, reply) == Void(Rule.WRONG_PARTY)
    assert world.say(e, msgspec.structs.replace(reply, reason=" ")) == Void(Rule.NO_REASON)
    assert world.say(e, msgspec.structs.replace(reply, notice=NO_SUCH)) == Void(Rule.NO_SUCH_THING)
    for _ in range(2):
        world.done(e, reply)
        assert world.state.notices[given].reply == world.last_id


# -- exclusion -----------------------------------------------------------------------------------


def test_a_member_is_excluded_by_the_next_epoch_and_is_off_every_roster_at_once() -> None:
    world, given = noticed()
    a, b, c, _d, e = world.members
    study = world.register(a)
    for member in world.members:
        world.enrol(member, study)
    proposal = move(world, b, ExcludeMotion(member=e, notice=given))
    vote(world, proposal, "yes")
    assert held(world, proposal).ending == "passed"
    assert e in world.state.members and e not in world.state.present
    assert e not in world.study(study).enrolled
    assert world.say(e, Seen(), world.now_s + 3_600) == Done()
    assert world.say(e, HostOffer(address="https://e.example")) == Void(Rule.WRONG_PARTY)
    approve(world, (a, b, c))
    assert e not in world.state.members and not world.state.changes.excluded
    assert world.replayed() == world.state


def test_the_accused_is_not_in_the_electorate_and_cannot_vote() -> None:
    world, given = noticed()
    e = world.members[-1]
    proposal = move(world, world.members[1], ExcludeMotion(member=e, notice=given))
    assert e not in held(world, proposal).electorate and len(held(world, proposal).groups) == 4
    assert world.say(e, VoteCast(choice="no", proposal=proposal)) == Void(Rule.WRONG_PARTY)


def test_the_excluded_vote_on_what_was_open_and_open_nothing() -> None:
    world, given = noticed()
    a, b, *_, e = world.members
    world.done(b, HostOffer(address="https://b.example"))
    excluding = move(world, a, ExcludeMotion(member=e, notice=given))
    host = move(world, a, HostMotion(member=b))
    vote(world, excluding, "yes")
    assert held(world, excluding).decided is True
    assert world.say(e, VoteCast(choice="no", proposal=host)) == Done()
    assert moved(world, e, HostMotion(member=b)) == Void(Rule.WRONG_PARTY)
    later = move(world, a, SuspendMotion(member=b, seconds=60), "a stolen laptop")
    assert e not in held(world, later).electorate


def test_a_notice_serves_one_motion() -> None:
    world, given = noticed()
    a, *_, e = world.members
    proposal = move(world, a, ExcludeMotion(member=e, notice=given))
    vote(world, proposal, "no")
    assert held(world, proposal).ending == "rejected"
    assert moved(world, a, ExcludeMotion(member=e, notice=given)) == Void(Rule.F5_NO_NOTICE)
    long = SuspendMotion(member=e, seconds=EXPIRES_S, notice=given)
    assert moved(world, a, long) == Void(Rule.F5_NO_NOTICE)


def test_an_exclusion_by_one_vote_too_few_is_rejected() -> None:
    world, given = noticed()
    a, b, c, d, e = world.members
    proposal = move(world, a, ExcludeMotion(member=e, notice=given))
    vote(world, proposal, "yes", (a, b))
    vote(world, proposal, "no", (c, d))
    assert held(world, proposal).ending == "rejected" and e in world.state.present


def test_who_leaves_before_the_vote_ends_makes_it_stale() -> None:
    world, given = noticed()
    *_, e = world.members
    proposal = move(world, world.members[0], ExcludeMotion(member=e, notice=given))
    world.done(e, MemberLeave())
    vote(world, proposal, "yes")
    assert held(world, proposal).ending == "stale"
    assert moved(world, world.members[0], ExcludeMotion(member=e, notice=given)) == Void(
        Rule.NO_SUCH_THING
    )


def test_two_exclusions_do_not_leave_fewer_than_four_to_judge() -> None:
    world = governed(4)
    a, _, c, d = world.members
    given = [notice(world, a, member) for member in (c, d)]
    world.pass_time(NOTICE_S_MIN)
    motions = [ExcludeMotion(member=m, notice=n) for m, n in zip((c, d), given, strict=True)]
    proposals = [move(world, a, motion) for motion in motions]
    for proposal in proposals:
        vote(world, proposal, "yes")
    assert [held(world, each).ending for each in proposals] == ["passed", "stale"]
    assert world.state.changes.excluded == {c}


@pytest.mark.parametrize("count", [2, 3])
def test_below_four_members_nobody_is_excluded_or_suspended(count: int) -> None:
    world = governed(count) if count > 2 else governed(2)
    a, *_, last = world.members
    given = notice(world, a, last, age_s=NOTICE_S_MIN)
    assert moved(world, a, ExcludeMotion(member=last, notice=given)) == Void(Rule.TOO_FEW)
    brief = SuspendMotion(member=last, seconds=60)
    assert moved(world, a, brief, "a reason") == Void(Rule.TOO_FEW)


def test_a_host_stays_in_office_until_another_takes_over() -> None:
    world = governed()
    a, b, c, d, _e = world.members
    proposal = exclude(world, b, a)
    vote(world, proposal, "yes")
    assert held(world, proposal).ending == "passed"
    assert world.state.host == a and not world.state.changes.pending
    world.done(b, HostOffer(address="https://b.example"))
    vote(world, move(world, c, HostMotion(member=b)), "yes")
    assert a in world.state.members and a in world.state.changes.excluded
    world.done(b, take_over_body(world))
    approve(world, (b, c, d))
    assert world.state.host == b and a not in world.state.members


def test_the_excluded_is_not_asked_for_a_review_that_would_be_void() -> None:
    bounds = msgspec.structs.replace(charter_of(5).studies, reviewers=1, review_orgs=1)
    world = governed(studies=bounds)
    *_, d, e = world.members
    study = world.register(world.members[0], survivors_min=3)
    asks = [AskReview(world.study(study))]
    size = world.state.size
    assert [each for each in duties(world.state, e, size, world.now_s) if each in asks] == asks
    vote(world, exclude(world, d, e), "yes")
    size = world.state.size
    asks = [AskReview(world.study(study))]
    assert [each for each in duties(world.state, d, size, world.now_s) if each in asks] == asks
    assert [each for each in duties(world.state, e, size, world.now_s) if each in asks] == []


def test_no_notice_is_used_up_by_who_moves_and_takes_it_back_at_once() -> None:
    """Attack: the accused, or a friend, moves the exclusion first and withdraws it."""
    world, given = noticed()
    a, _b, _c, d, e = world.members
    motion = ExcludeMotion(member=e, notice=given)
    for friend in (e, d):
        proposal = move(world, friend, motion)
        world.done(friend, ProposalWithdraw(proposal=proposal))
        assert (held(world, proposal).ending, e in world.state.present) == ("withdrawn", True)
    proposal = move(world, a, motion)
    vote(world, proposal, "no", world.members[1:2])
    world.done(a, ProposalWithdraw(proposal=proposal))
    assert moved(world, a, motion) == Void(Rule.F5_NO_NOTICE)  # one vote for each notice


def test_without_a_rule_for_it_nobody_is_excluded_or_suspended() -> None:
    world = World.of(5)
    a, *_, e = world.members
    given = notice(world, a, e, age_s=NOTICE_S_MIN)
    assert moved(world, a, ExcludeMotion(member=e, notice=given)) == Void(Rule.NO_RULE)
    assert moved(world, a, SuspendMotion(member=e, seconds=60), "a reason") == Void(Rule.NO_RULE)


def test_the_excluded_may_apply_again_under_another_id() -> None:
    world, given = noticed()
    a, b, c, _d, e = world.members
    vote(world, move(world, a, ExcludeMotion(member=e, notice=given)), "yes")
    approve(world, (a, b, c))
    again = type(e)("returned")
    assert world.say(again, apply_body(again)) == Done()


# -- suspension ----------------------------------------------------------------------------------


def enrolled(world: World) -> StatementId:
    """A study in which everybody is enrolled."""
    study = world.register(world.members[0], survivors_min=3)
    for member in world.members:
        world.enrol(member, study)
    return study


def test_a_suspended_member_is_in_no_new_roster_until_it_ends_by_itself() -> None:
    world = governed()
    a, *_, e = world.members
    study = enrolled(world)
    proposal = suspend(world, a, e, 2 * DAY_S)
    vote(world, proposal, "yes")
    until_s = world.state.suspended[e].until_s
    assert until_s == world.state.commons_time_s + 2 * DAY_S and world.state.is_suspended(e)
    called = expected_open(world.state, study)
    assert isinstance(called, RoundOpen) and called.roster_count == 4
    assert world.say(e, world.enrol_body(e, study)) == Void(Rule.SUSPENDED)
    world.pass_time(2 * DAY_S - 1)
    assert world.state.is_suspended(e)
    world.pass_time(3_600)
    assert not world.state.is_suspended(e)
    called = expected_open(world.state, study)
    assert isinstance(called, RoundOpen) and called.roster_count == 5


def test_a_suspended_member_votes_and_moves_like_any_other() -> None:
    world = governed()
    a, b, *_, e = world.members
    vote(world, suspend(world, a, e), "yes")
    world.done(b, HostOffer(address="https://b.example"))
    proposal = move(world, e, HostMotion(member=b))
    assert e in held(world, proposal).electorate
    world.done(e, VoteCast(choice="yes", proposal=proposal))


def test_a_short_suspension_needs_a_reason_and_a_long_one_a_notice() -> None:
    world = governed()
    a, *_, e = world.members
    brief = SuspendMotion(member=e, seconds=UNNOTICED_S_MAX)
    assert moved(world, a, brief) == Void(Rule.NO_REASON)
    long = SuspendMotion(member=e, seconds=UNNOTICED_S_MAX + 1)
    assert moved(world, a, long, "a reason") == Void(Rule.F5_NO_NOTICE)
    assert moved(world, a, brief, "a stolen laptop") == Done()
    given = notice(world, a, e)
    named = msgspec.structs.replace(long, notice=given)
    assert moved(world, a, named) == Void(Rule.F5_NOTICE_TOO_YOUNG)
    world.pass_time(NOTICE_S_MIN)
    assert moved(world, a, named) == Done()


def test_suspensions_are_not_strung_together() -> None:
    world = governed()
    a, *_, e = world.members
    brief = SuspendMotion(member=e, seconds=DAY_S)
    other = SuspendMotion(member=e, seconds=DAY_S + 1)
    first = move(world, a, brief, "a stolen laptop")
    second = move(world, a, other, "a stolen laptop")  # both are open at once
    vote(world, first, "yes")
    assert moved(world, a, brief, "again") == Void(Rule.SAID_BEFORE)
    world.pass_time(DAY_S)
    assert moved(world, a, brief, "again") == Void(Rule.TOO_SOON)
    assert held(world, second).ending in ("lapsed", None)
    world.pass_time(SUSPENSION_APART_S)
    assert moved(world, a, brief, "again") == Done()


def test_a_second_suspension_that_was_open_already_is_stale() -> None:
    world = governed()
    a, *_, e = world.members
    first = move(world, a, SuspendMotion(member=e, seconds=60), "a stolen laptop")
    second = move(world, a, SuspendMotion(member=e, seconds=61), "a stolen laptop")
    vote(world, first, "yes")
    world.pass_time(3_600)
    vote(world, second, "yes")
    assert held(world, second).ending == "stale" and world.state.suspended[e].noticed is False


def test_a_noticed_suspension_may_follow_a_short_one_but_not_another_noticed_one() -> None:
    world, given = noticed()
    a, b, *_, e = world.members
    vote(world, suspend(world, a, e, 3_600), "yes")
    world.pass_time(3_600)
    long = SuspendMotion(member=e, seconds=EXPIRES_S, notice=given)
    vote(world, move(world, a, long), "yes")
    assert world.state.suspended[e].noticed
    again = notice(world, b, e, age_s=EXPIRES_S)
    assert not world.state.is_suspended(e)
    more = msgspec.structs.replace(long, notice=again)
    assert moved(world, b, more) == Void(Rule.TOO_SOON)


def test_windows_of_these_rules_are_those_of_the_book() -> None:
    world, given = noticed()
    proposal = move(world, world.members[0], ExcludeMotion(member=world.members[-1], notice=given))
    assert held(world, proposal).closes_s == world.state.commons_time_s + WINDOW_S
    assert held(world, proposal).rule == BOOK.decisions["exclude"]
    assert world.say(
        world.members[0], proposal_of(ExcludeMotion(member=world.members[-1], notice=given))
    ) == Void(Rule.F5_NO_NOTICE)
