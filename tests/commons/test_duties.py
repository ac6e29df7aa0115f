"""Honest members that each say the first of what they owe reach an accepted result.

How: `Rounds.perform` says a member's first duty, and fails when anything it owes is not allowed.
Hypothesis chooses who sleeps when; clocks only move when nobody who is awake owes anything.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from comity.commons import duties as owed
from comity.commons import fold
from comity.commons.attempts import Closing, End, Ended, Masking
from comity.commons.duties import duties, something_waits
from comity.commons.phases import next_deadline_s, round_time_s
from comity.commons.state import Done
from comity.commons.waiting import waiting_for
from comity.errors import Rule
from comity.statements.governing import ReleaseSign, Seen, VoteCast
from comity.statements.studies import ConsentGive, ConsentRefuse, ConsentWithdraw, StudyLeave
from comity.values import DAY_S, MemberId
from tests.commons.round_phases import stopped_in
from tests.commons.rounds_world import Rounds
from tests.worlds import World, charter_of, digest, found_body


def kinds(r: Rounds, member: MemberId) -> list[type[owed.Duty]]:
    return [type(duty) for duty in r.owed_by(member)]


def turn(r: Rounds, awake: set[MemberId]) -> None:
    """Everybody awake acts until all is said; then time moves to what is waited for."""
    r.settle(*(member for member in r.members if member in awake))
    attempt = r.study.current
    deadline_s = None
    if attempt is not None:
        deadline_s = next_deadline_s(attempt, round_time_s(r.world.state, r.opened))
    r.world.now_s = max(r.world.now_s + 600, deadline_s or 0)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(3, 6),
    turns=st.lists(st.sets(st.integers(0, 5)), max_size=12),
)
def test_honest_members_always_reach_a_result(count: int, turns: list[set[int]]) -> None:
    r = Rounds.of(count, rounds_max=1, attempts_max=10)
    for asleep in turns:
        turn(r, {m for i, m in enumerate(r.members) if i not in asleep})
    for _ in range(40):
        if r.study.finished or len(r.study.ended) == 10:
            break
        turn(r, set(r.members))
    assert r.study.finished or len(r.study.ended) == 10, (r.study.current, waiting_for_now(r))
    assert r.world.replayed() == r.world.state


def waiting_for_now(r: Rounds) -> object:
    return waiting_for(r.world.state, r.study)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_abandons_do_not_keep_a_study_from_its_result(data: st.DataObject) -> None:
    r = Rounds.of(4, rounds_max=1, attempts_max=10)
    for _ in range(data.draw(st.integers(0, 3))):
        for _ in range(data.draw(st.integers(0, 25))):
            r.perform(data.draw(st.sampled_from(r.members)))
        if r.study.current is not None:
            quitter = data.draw(st.sampled_from(r.members))
            r.say(quitter, r.abandon(quitter))
    for _ in range(60):
        if r.study.finished:
            break
        turn(r, set(r.members))
    assert r.study.finished, (r.study.current, waiting_for_now(r))


def test_a_founder_enters_and_owes_nothing_before_the_founding_is_final() -> None:
    world = World.empty(charter_of(3))
    a, b, _ = world.members
    for member in world.members:
        assert duties(world.state, member, 0, world.now_s) == (owed.SayFound(),)
        world.say(member, found_body(member))
        assert duties(world.state, member, 0, world.now_s) == ()
    assert something_waits(world.state, 2)
    assert not something_waits(world.state, 3)
    study = world.register(a)
    (first, *_) = duties(world.state, b, 3, world.now_s)
    assert first == owed.AskConsent(world.study(study))
    assert duties(world.state, b, 2, world.now_s) == ()
    assert duties(world.state, MemberId("nobody"), 9, world.now_s) == ()


def test_enrolling_follows_consent_and_ends_with_a_withdrawal() -> None:
    world = World.of(3)
    a, b, _ = world.members
    study = world.register(a)
    world.consent(b, study)
    assert duties(world.state, b, 9, world.now_s) == (owed.SayEnrol(world.study(study)),)
    world.say(b, ConsentWithdraw(study=study))
    assert duties(world.state, b, 9, world.now_s) == ()
    world.say(a, ConsentRefuse(study=study))
    assert duties(world.state, a, 9, world.now_s) == ()


def test_the_host_opens_when_nobody_live_is_still_coming() -> None:
    world = World.of(5)
    a, *others, last = world.members
    study = world.register(a)
    for member in (a, *others):
        world.enrol(member, study)
    # The last one has not answered, and was here a moment ago.
    assert owed.SayOpen not in [type(d) for d in duties(world.state, a, 99, world.now_s)]
    waiting = waiting_for(world.state, world.study(study))
    assert waiting is not None
    assert waiting.members == (last,)
    world.pass_time(3_601, seen=(a, *others))
    assert owed.SayOpen in [type(d) for d in duties(world.state, a, 99, world.now_s)]
    world.consent(last, study)
    assert owed.SayOpen not in [type(d) for d in duties(world.state, a, 99, world.now_s)]
    world.say(last, StudyLeave(study=study))
    world.say(last, ConsentRefuse(study=study))
    assert owed.SayOpen in [type(d) for d in duties(world.state, a, 99, world.now_s)]


def test_joining_waits_for_a_final_head() -> None:
    r = Rounds.of(3)
    _, b, _ = r.members
    r.done(r.host, r.open())
    index = r.study.roster_index
    assert something_waits(r.world.state, index)
    assert not something_waits(r.world.state, index + 1)
    now_s = r.world.now_s
    assert duties(r.world.state, b, index, now_s) == ()
    assert duties(r.world.state, b, index + 1, now_s) == (owed.SayJoin(r.opened),)


def test_a_new_version_without_consent_keeps_a_member_from_joining() -> None:
    r = Rounds.of(4)
    _, b, *_ = r.members
    r.done(r.host, r.open())
    r.world.declare(b, "2")
    assert owed.SayJoin not in kinds(r, b)
    assert r.void(b, r.join(b)) is Rule.VERSION_NOT_DECLARED


def test_who_withdraws_after_joining_abandons_before_it_commits() -> None:
    r = Rounds.of(4)
    _, b, *_ = r.members
    r.done(r.host, r.open())
    for member in r.members:
        r.done(member, r.join(member))
    r.done(b, ConsentWithdraw(study=r.study_id))
    assert kinds(r, b) == [owed.SayAbandon]
    r.settle()
    assert r.study.results[0].survivors == set(r.members) - {b}


def test_a_complaint_is_answered_and_the_dealer_stays() -> None:
    r = Rounds.of(4, rounds_max=1)
    _, b, c, _ = r.members
    r.accused.add((c, b))
    r.settle()
    assert r.study.results[0].survivors == set(r.members)


def test_a_dealer_with_too_many_complainers_is_left_out() -> None:
    r = Rounds.of(4, rounds_max=1)
    _, b, c, d = r.members
    r.accused |= {(c, b), (d, b)}
    r.settle()
    assert r.study.results[0].survivors == set(r.members) - {b}


def test_a_host_that_does_not_close_is_given_up_at_confirm_by() -> None:
    r = Rounds.of(4)
    a, *others = r.members
    r.settle(*others)
    while not isinstance(r.study.current, Closing):
        r.perform(a)
        if not isinstance(r.study.current, Closing):
            r.settle(*others)
    assert kinds(r, a) == [owed.SayClose]
    assert kinds(r, others[0]) == []
    r.world.now_s = r.opened.time_s + r.opened.deadlines.confirm_by_s
    r.settle(*others)
    assert isinstance(r.last, Ended)
    assert r.last.end is End.SEALED
    assert kinds(r, a)[0] is owed.SayAbandon


def test_too_few_confirms_halt_the_attempt_and_seal_it() -> None:
    r = stopped_in("too few confirms")
    *four, e = r.members
    assert [kinds(r, member)[0] for member in r.members] == [owed.SayAbandon] * 5
    for member in four:
        r.perform(member)
    assert isinstance(r.last, Ended)
    assert r.last.end is End.SEALED
    # Its own Abandon comes before e takes part again (R5).
    (duty, *_) = r.owed_by(e)
    assert duty == owed.SayAbandon(r.last, None, "the attempt has ended without a result")


def test_seen_is_owed_once_a_day_and_when_a_deadline_passes() -> None:
    r = Rounds.of(4)
    *others, d = r.members
    r.settle(*others)
    assert owed.SaySeen not in kinds(r, r.host)
    r.world.now_s = r.opened.time_s + r.opened.deadlines.join_by_s
    assert owed.SaySeen in kinds(r, r.host)
    r.say(r.host, Seen())
    assert owed.SaySeen not in kinds(r, r.host)
    r.world.now_s += DAY_S
    assert owed.SaySeen in kinds(r, d)


def test_votes_are_asked_and_releases_signed() -> None:
    r = Rounds.of(3, rounds_max=1)
    r.settle()
    a, b, c = r.members
    proposal = r.world.propose(a, r.study_id)
    assert kinds(r, b) == [owed.AskVote]
    for member in (a, b):
        r.done(member, VoteCast(choice="yes", proposal=proposal))
    assert kinds(r, b) == [owed.SignRelease]
    assert kinds(r, c) == [owed.SignRelease]
    motion = r.world.state.proposals[proposal].release
    assert motion is not None
    size = r.world.state.size
    for member in r.members:
        assert not something_waits(r.world.state, size)
        body = ReleaseSign(manifest=motion.manifest, model=motion.model, proposal=proposal)
        r.done(member, body)
    assert kinds(r, b) == []
    # Three of three cosign here, so the third signature is what a bundle waits for.
    assert something_waits(r.world.state, size + 2)
    assert not something_waits(r.world.state, size + 3)


def test_everybody_can_see_whom_the_study_waits_for() -> None:
    r = Rounds.of(4, rounds_max=1)
    a, b, c, d = r.members
    assert waiting_for_now(r) is None
    seen: list[tuple[str, tuple[MemberId, ...]]] = []
    for _ in range(40):
        if r.study.finished:
            break
        waiting = waiting_for(r.world.state, r.study)
        if waiting is not None and (waiting.reason, waiting.members) not in seen:
            seen.append((waiting.reason, waiting.members))
        next(member for member in (d, c, b, a) if r.perform(member))
    reasons = list(dict.fromkeys(reason.split()[1] for reason, _ in seen))
    assert reasons == ["join", "open", "start", "train", "add", "confirm", "check", "unmask"]
    assert ("to start the attempt", (a,)) in seen
    assert ("to join", (a, b, c)) in seen


def test_the_waits_of_5_10_end_with_consent_to_exposure() -> None:
    r = Rounds.of(5, rounds_max=2)
    *others, e = r.members
    r.settle(*others)
    r.pass_deadline(*others)
    r.settle(*others)
    while r.study.current is not None:
        r.pass_deadline(*others)
        r.settle(*others)
    assert r.study.results[0].survivors == set(others)
    r.settle()
    waiting = waiting_for(r.world.state, r.study)
    assert waiting is not None
    assert waiting.members == (e,)
    yes = ConsentGive(
        dataset=r.world.declare(e), exposed=True, study=r.study_id, version=digest("1")
    )
    r.done(e, yes)
    r.settle()
    assert r.study.results[1].survivors == set(r.members)


def test_duties_are_what_check_allows_in_a_commons_of_strangers_too() -> None:
    r = Rounds.of(4, strangers=1)
    *_, stranger = r.world.members
    r.settle(*r.members)
    assert all(isinstance(d, owed.AskConsent) for d in r.owed_by(stranger))
    body = Seen()
    assert fold.check(r.world.state, stranger, body, r.world.now_s) is Rule.TOO_SOON
    assert r.say(stranger, body) != Done()
    assert not isinstance(r.study.current, Masking)
