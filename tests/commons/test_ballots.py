"""A vote by the charter's rules: open, extended, objected to, answered, passed, in effect.

Attacks: closing a vote early, a clock that jumps over the pause before a decision binds, silencing
an objection, answering for the proposer, counting who has left.
"""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.commons.rulebook import Groups, Rulebook, RuleText
from comity.commons.state import Done, Proposal, Void
from comity.errors import Rule
from comity.statements.governing import (
    AdmitMotion,
    Choice,
    HostMotion,
    ObjectionAnswer,
    ProposalWithdraw,
    VoteCast,
    proposal_of,
)
from comity.statements.keysets import key_set_digest
from comity.statements.membership import HostOffer, KeysRevoke, MemberLeave
from comity.values import DAY_S, MemberId, StatementId
from tests.commons.changes import apply_body, approve
from tests.worlds import World, charter_of, keys_of

WINDOW_S, EFFECT_S, MEDIATION_S = 14 * DAY_S, 3 * DAY_S, 10 * DAY_S
BOOK = Rulebook(
    rules={
        "agree": RuleText(
            method="consensus",
            window_s=WINDOW_S,
            min_yes=2,
            mediation_s=MEDIATION_S,
            fallback="weighty",
        ),
        "weighty": RuleText(
            method="threshold", window_s=WINDOW_S, yes="2/3", min_yes=2, effect_s=EFFECT_S
        ),
        "swift": RuleText(method="majority", window_s=3_600, quorum="2/3"),
    },
    decisions={"admit": "weighty", "host": "agree", "release": "swift"},
)


def commons(act_rule: str, count: int = 5) -> tuple[World, StatementId]:
    """A commons in which a change of host, under this rule, is put to the vote."""
    used = {name: act_rule for name in ("admit", "host", "release")}
    kept = {act_rule, BOOK.rules[act_rule].fallback}
    rules = {name: rule for name, rule in BOOK.rules.items() if name in kept}
    world = World.of(
        count, release="rules", rulebook=msgspec.structs.replace(BOOK, decisions=used, rules=rules)
    )
    member = world.members[1]
    world.done(member, HostOffer(address="https://b.example"))
    world.done(world.members[0], proposal_of(HostMotion(member=member)))
    return world, world.last_id


def held(world: World, proposal: StatementId) -> Proposal:
    return world.state.proposals[proposal]


def ballots(world: World, proposal: StatementId, *choices: Choice) -> None:
    for member, choice in zip(world.members, choices, strict=False):
        reason = "the plan names no end" if choice == "object" else ""
        world.done(member, VoteCast(choice=choice, proposal=proposal, reason=reason))


def test_ballots_may_change_until_the_end_and_then_decide() -> None:
    world, proposal = commons("swift")
    ballots(world, proposal, "no", "yes", "yes", "yes")
    assert held(world, proposal).decided is None
    world.done(world.members[0], VoteCast(choice="yes", proposal=proposal))
    world.pass_time(3_600)
    assert held(world, proposal).decided is True
    late = VoteCast(choice="no", proposal=proposal)
    assert world.say(world.members[0], late) == Void(Rule.VOTE_CLOSED)
    assert world.replayed() == world.state


def test_a_vote_ends_early_only_when_everybody_has_voted() -> None:
    world, proposal = commons("swift")
    ballots(world, proposal, "yes", "yes", "yes", "yes")
    assert held(world, proposal).decided is None
    world.done(world.members[4], VoteCast(choice="no", proposal=proposal))
    assert held(world, proposal).decided is True


def test_a_missed_quorum_gives_half_as_long_again_once() -> None:
    world, proposal = commons("swift")
    ballots(world, proposal, "yes", "yes")
    world.pass_time(3_600)
    assert held(world, proposal).extended and held(world, proposal).decided is None
    world.pass_time(1_800)
    assert held(world, proposal).decided is False
    again, proposal = commons("swift")
    ballots(again, proposal, "yes", "yes")
    again.pass_time(3_600)
    for member in again.members[2:4]:
        again.done(member, VoteCast(choice="abstain", proposal=proposal))
    again.pass_time(1_800)
    assert held(again, proposal).decided is True


def test_what_passed_binds_only_after_the_pause() -> None:
    world, proposal = commons("weighty")
    ballots(world, proposal, "yes", "yes", "yes", "yes", "yes")
    assert (held(world, proposal).stage, held(world, proposal).decided) == ("waiting", None)
    ballot = VoteCast(choice="no", proposal=proposal)
    assert world.say(world.members[0], ballot) == Void(Rule.VOTE_CLOSED)
    world.pass_time(EFFECT_S - 1)
    assert held(world, proposal).decided is None
    world.pass_time(3_600)
    assert held(world, proposal).decided is True


def test_a_clock_that_jumps_takes_nothing_from_the_pause() -> None:
    world, proposal = commons("weighty")
    ballots(world, proposal, "yes", "yes", "yes", "yes")
    world.pass_time(WINDOW_S + 2 * EFFECT_S)  # past the end and, naively, past the pause
    waiting = held(world, proposal)
    assert (waiting.stage, waiting.decided) == ("waiting", None)
    assert waiting.closes_s == world.state.commons_time_s + EFFECT_S


def test_an_objection_is_answered_and_then_the_fallback_decides() -> None:
    world, proposal = commons("agree")
    ballots(world, proposal, "yes", "yes", "yes", "yes", "object")
    assert held(world, proposal).stage == "voting"  # somebody objects to closing early
    world.pass_time(WINDOW_S)
    assert held(world, proposal).stage == "answering"
    reply = ObjectionAnswer(reason="the end is 1 March", proposal=proposal)
    assert world.say(world.members[4], reply) == Void(Rule.WRONG_PARTY)
    blank = ObjectionAnswer(reason=" ", proposal=proposal)
    assert world.say(world.members[0], blank) == Void(Rule.NO_REASON)
    world.done(world.members[0], reply)
    again = held(world, proposal)
    assert (again.rule, again.stage, again.votes) == ("weighty", "voting", {})
    assert set(again.objections) == {world.members[4]} and again.answer == world.last_id
    assert world.say(world.members[0], reply) == Void(Rule.VOTE_CLOSED)
    ballots(world, proposal, "yes", "yes", "yes", "yes", "no")
    world.pass_time(EFFECT_S)
    assert held(world, proposal).decided is True
    assert world.replayed() == world.state


def test_an_objection_that_nobody_answers_ends_the_proposal() -> None:
    world, proposal = commons("agree")
    ballots(world, proposal, "yes", "yes", "yes", "yes", "object")
    world.pass_time(WINDOW_S)
    world.pass_time(MEDIATION_S)
    assert held(world, proposal).decided is False


def test_disagreement_is_no_objection() -> None:
    world, proposal = commons("agree")
    ballots(world, proposal, "yes", "yes", "yes", "yes", "no")
    assert held(world, proposal).decided is True


def test_an_objection_without_a_reason_is_void() -> None:
    world, proposal = commons("agree")
    bare = VoteCast(choice="object", proposal=proposal)
    assert world.say(world.members[2], bare) == Void(Rule.NO_REASON)


def test_who_proposed_may_withdraw_and_nobody_else() -> None:
    world, proposal = commons("agree")
    back = ProposalWithdraw(proposal=proposal)
    assert world.say(world.members[1], back) == Void(Rule.WRONG_PARTY)
    world.done(world.members[0], back)
    assert held(world, proposal).decided is False
    assert world.say(world.members[0], back) == Void(Rule.VOTE_CLOSED)
    missing = StatementId("00" * 32)
    assert world.say(world.members[0], ProposalWithdraw(proposal=missing)) == Void(
        Rule.NO_SUCH_THING
    )
    reply = ObjectionAnswer(reason="x", proposal=missing)
    assert world.say(world.members[0], reply) == Void(Rule.NO_SUCH_THING)


def test_nobody_takes_back_what_another_member_has_said_yes_to() -> None:
    """Attack: who is against a motion moves it first, and drops it when it is about to pass."""
    world, proposal = commons("weighty")
    back = ProposalWithdraw(proposal=proposal)
    ballots(world, proposal, "yes", "yes")
    assert world.say(world.members[0], back) == Void(Rule.VOTE_CLOSED)
    ballots(world, proposal, "abstain", "no")
    world.done(world.members[0], back)
    assert held(world, proposal).ending == "withdrawn"


def test_who_leaves_is_out_of_the_vote() -> None:
    world, proposal = commons("swift")
    ballots(world, proposal, "yes", "no", "no", "yes", "yes")
    assert held(world, proposal).decided is True
    world, proposal = commons("swift")
    ballots(world, proposal, "yes", "yes", "no", "no")
    world.done(world.members[4], MemberLeave())
    tied = held(world, proposal)
    assert len(tied.electorate) == 4 and tied.decided is False


def test_nobody_wins_by_taking_an_opponent_out() -> None:
    """A4.1, step 2: a seat and a ballot stay in open votes when its member's keys are revoked."""
    world, proposal = commons("weighty")
    ballots(world, proposal, "yes", "yes", "yes", "no", "no")
    assert held(world, proposal).decided is False  # three of five are less than two thirds
    world, proposal = commons("weighty")
    ballots(world, proposal, "yes", "yes", "yes", "no")
    a, e = world.members[0], world.members[4]
    keys = key_set_digest(world.state.keys[e])
    world.done(a, KeysRevoke(keys=keys, member=e, reason="lost"))
    approve(world, world.members[:3])
    assert e not in world.state.members
    assert e in held(world, proposal).electorate and held(world, proposal).decided is None


def test_what_passed_is_not_withdrawn_in_the_pause() -> None:
    world, proposal = commons("weighty")
    ballots(world, proposal, "yes", "yes", "yes", "yes", "yes")
    back = ProposalWithdraw(proposal=proposal)
    assert world.say(world.members[0], back) == Void(Rule.VOTE_CLOSED)


def test_the_group_cap_holds_in_a_vote() -> None:
    founders = tuple(
        msgspec.structs.replace(founder, country="X" if at < 4 else f"Y{at}")
        for at, founder in enumerate(charter_of(6).founders)
    )
    book = Rulebook(
        rules={
            "only": RuleText(
                method="threshold", window_s=60, yes="2/3", of="electorate", group_cap=True
            )
        },
        decisions={"admit": "only", "host": "only", "release": "only"},
        groups=Groups(by="country", cap="1/3"),
    )
    world = World.of(6, release="rules", rulebook=book, founders=founders)
    member = world.members[1]
    world.done(member, HostOffer(address="https://b.example"))
    world.done(world.members[0], proposal_of(HostMotion(member=member)))
    proposal = world.last_id
    # Four of six members of one country are a third of the weight, however many they are.
    ballots(world, proposal, "yes", "yes", "yes", "yes", "no", "no")
    assert held(world, proposal).decided is False


CHOICES: tuple[Choice, ...] = ("yes", "no", "abstain", "object")


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["swift", "weighty", "agree"]),
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from([*CHOICES, "leave", "wait", "answer"])),
        max_size=14,
    ),
)
def test_any_history_replays_the_same_and_ends(rule: str, steps: list[tuple[int, str]]) -> None:
    world, proposal = commons(rule)
    for at, step in steps:
        member: MemberId = world.members[at]
        match step:
            case "leave":
                world.say(member, MemberLeave())
            case "wait":
                world.pass_time(DAY_S)
            case "answer":
                world.say(member, ObjectionAnswer(reason="yes", proposal=proposal))
            case "yes" | "no" | "abstain" | "object":
                world.say(member, VoteCast(choice=step, proposal=proposal, reason="because"))
    assert world.replayed() == world.state
    for _ in range(6):
        world.pass_time(WINDOW_S)
    assert held(world, proposal).decided is not None or not world.state.present
    assert proposal not in world.state.voting or not world.state.present


def test_without_a_rulebook_an_objection_counts_as_no() -> None:
    world = World.of(3)
    member = world.members[1]
    world.done(member, HostOffer(address="https://b.example"))
    world.done(world.members[0], proposal_of(HostMotion(member=member)))
    proposal = world.last_id
    ballots(world, proposal, "object", "object")
    assert held(world, proposal).decided is False
    assert world.say(member, VoteCast(choice="yes", proposal=proposal)) == Void(Rule.VOTE_CLOSED)


def test_an_outcome_is_done() -> None:
    world, proposal = commons("swift")
    outcome = world.say(world.members[0], VoteCast(choice="abstain", proposal=proposal))
    assert outcome == Done()


def test_who_joins_during_a_vote_is_not_in_it() -> None:
    """A4.2: the electorate is that of the opening."""
    world, proposal = commons("weighty")
    a, b, c, d, _ = world.members
    new = MemberId("newcomer")
    world.say(new, apply_body(new))
    keys = key_set_digest(keys_of(new).key_set)
    world.done(a, proposal_of(AdmitMotion(keys=keys, member=new)))
    admitting = world.last_id
    ballots(world, admitting, "yes", "yes", "yes", "yes", "yes")
    world.pass_time(EFFECT_S)
    approve(world, (a, b, c, d))
    assert new in world.state.members and new not in held(world, proposal).electorate
    late = VoteCast(choice="yes", proposal=proposal)
    assert world.say(new, late) == Void(Rule.WRONG_PARTY)
