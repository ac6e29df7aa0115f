"""How attempts end, what follows, and the rest of the rules that make a round's statement void."""

from __future__ import annotations

from msgspec.structs import replace as bend

from comity.commons import duties as owed
from comity.commons.attempts import (
    Closing,
    Confirming,
    End,
    Ended,
    Halted,
    Masking,
    Readying,
    Resolving,
    Revealing,
    Starting,
)
from comity.commons.exposure import burned_set
from comity.commons.opening import mask_degree
from comity.commons.waiting import waiting_for
from comity.errors import Rule
from comity.statements.governing import Seen
from comity.statements.rounds import RoundOpen
from comity.statements.studies import ConsentWithdraw
from comity.values import MemberId, neighbours
from tests.commons.round_phases import stopped_in
from tests.commons.rounds_world import Rounds
from tests.worlds import digest


def kinds(r: Rounds, member: MemberId) -> list[type[owed.Duty]]:
    return [type(duty) for duty in r.owed_by(member)]


def everybody(r: Rounds, name: str, *members: MemberId) -> None:
    for member in members or r.members:
        r.done(member, getattr(r, name)(member))


def test_who_did_not_join_is_not_ready_and_nobody_is_ready_twice() -> None:
    r = Rounds.of(5)
    *four, e = r.members
    r.done(r.host, r.open())
    everybody(r, "join", *four)
    r.pass_deadline()
    assert isinstance(r.attempt, Readying)
    assert r.void(e, r.ready(e)) is Rule.WRONG_PARTY
    r.done(r.host, r.ready(r.host))
    assert r.void(r.host, r.ready(r.host)) is Rule.SAID_BEFORE


def test_who_is_not_a_participant_does_not_commit() -> None:
    r = Rounds.of(5)
    _, b, c, d, _ = r.members
    r.accused |= {(c, b), (d, b)}
    r.done(r.host, r.open())
    everybody(r, "join")
    everybody(r, "ready")
    r.done(r.host, r.start())
    assert r.void(b, r.commit(b)) is Rule.WRONG_PARTY


def test_a_complaint_is_answered_once() -> None:
    r = Rounds.of(7, colluders=2, survivors_min=5)
    _, b, c, d, *_ = r.members
    r.accused |= {(c, b), (d, b)}
    r.done(r.host, r.open())
    everybody(r, "join")
    everybody(r, "ready")
    assert isinstance(r.attempt, Resolving)
    r.done(b, r.resolve(b, c))
    assert r.void(b, r.resolve(b, c)) is Rule.SAID_BEFORE
    waiting = waiting_for(r.world.state, r.study)
    assert waiting is not None
    assert waiting.members == (b,)
    r.done(b, r.resolve(b, d))
    assert isinstance(r.attempt, Starting)


def test_reveal_and_accept_are_about_the_close_that_was_confirmed() -> None:
    r = stopped_in("revealing")
    b = r.members[1]
    other = digest("another Close")
    assert r.void(b, bend(r.reveal(b), closed=other)) is Rule.NO_SUCH_THING
    assert r.void(b, bend(r.accept(), closed=other)) is Rule.NO_SUCH_THING


def test_a_late_abandon_must_be_truthful_too() -> None:
    r = stopped_in("revealing")
    a, b, c, d, e = r.members
    r.done(b, r.reveal(b))
    everybody(r, "abandon", a, c, d, e)
    before = r.study.ended[-1]
    assert r.void(b, r.abandon(b, before, released=False)) is Rule.NOT_TRUTHFUL
    assert r.void(b, r.abandon(b, before, closed=None)) is Rule.NOT_TRUTHFUL
    assert r.void(a, r.abandon(a, before)) is Rule.SAID_BEFORE
    r.done(b, r.abandon(b, before))
    assert r.study.ended[-1].end is End.SEALED


def test_nobody_says_that_it_revealed_before_anybody_could() -> None:
    """One false word would burn what t true ones seal, and hold the round to one set for ever."""
    for phase in ("masking", "confirming"):
        r = stopped_in(phase)
        b, *others = r.members[1:]
        assert r.void(b, r.abandon(b, released=True)) is Rule.NOT_TRUTHFUL
        everybody(r, "abandon", *others, r.host)
        ended = r.study.ended[-1]
        assert ended.end is End.SEALED
        assert r.void(b, r.abandon(b, ended, released=True)) is Rule.NOT_TRUTHFUL
        r.done(b, r.abandon(b, ended))


def test_an_accepted_attempt_that_lacks_an_abandon_owes_none() -> None:
    r = stopped_in("accepted")
    b = r.members[1]
    assert owed.SayAbandon not in kinds(r, b)
    assert r.void(b, r.abandon(b)) is Rule.ROUND_NOT_OPEN


def test_a_ready_of_who_withdrew_brings_no_key() -> None:
    r = stopped_in("readying")
    b = r.members[1]
    r.done(b, ConsentWithdraw(study=r.study_id))
    r.done(b, r.ready(b))
    assert b not in r.study.enrolled


def burned_without_e() -> Rounds:
    """An attempt over a, b, c, d has burned: e had not come, and X was rejected by all."""
    r = Rounds.of(5, rounds_max=1, survivors_min=3)
    *four, _ = r.members
    r.done(r.host, r.open())
    everybody(r, "join", *four)
    r.pass_deadline()
    everybody(r, "ready", *four)
    r.done(r.host, r.start())
    everybody(r, "commit", *four)
    r.done(r.host, r.close())
    everybody(r, "confirm", *four)
    assert isinstance(r.attempt, Revealing)
    everybody(r, "reveal", *four)
    everybody(r, "abandon", *four)
    assert isinstance(r.last, Ended)
    assert r.last.end is End.BURNED
    return r


def test_attack_45_only_the_burned_set_commits_again() -> None:
    r = burned_without_e()
    *four, e = r.members
    assert burned_set(r.study) == frozenset(four)
    waiting = waiting_for(r.world.state, r.study)
    assert waiting is not None
    assert waiting.members == (e,)
    r.done(e, r.world.enrol_body(e, r.study_id))
    r.settle(r.host)
    # The four are enough, so e is not waited for and does not owe a Join.
    assert owed.SayJoin not in kinds(r, e)
    r.done(e, r.join(e))
    everybody(r, "join", *four[1:])
    everybody(r, "ready")
    r.done(r.host, r.start())
    assert isinstance(r.attempt, Masking)
    assert r.seat(e) in r.attempt.started.participants
    assert r.void(e, r.commit(e)) is Rule.WRONG_PARTY
    everybody(r, "commit", *four)
    assert isinstance(r.attempt, Closing)
    r.settle()
    assert r.study.results[-1].survivors == set(four)


def test_attack_45_a_set_that_lacks_a_burned_member_is_not_closed() -> None:
    r = burned_without_e()
    a, b, c, d, e = r.members
    r.done(e, r.world.enrol_body(e, r.study_id))
    r.done(a, r.open())
    everybody(r, "join", a, b, c, d)
    everybody(r, "ready", a, b, c, d)
    r.done(a, r.start())
    everybody(r, "commit", a, b, c)
    r.pass_deadline()
    assert isinstance(r.attempt, Halted)
    assert r.void(a, r.close()) is Rule.TOO_FEW
    r.settle()
    assert r.study.results[-1].survivors == {a, b, c, d}


def test_attack_45_a_burned_member_that_does_not_join_leaves_it_unstarted() -> None:
    r = burned_without_e()
    a, b, c, _, e = r.members
    r.done(e, r.world.enrol_body(e, r.study_id))
    r.done(a, r.open())
    everybody(r, "join", a, b, c, e)
    r.pass_deadline()
    everybody(r, "ready", a, b, c, e)
    assert isinstance(r.last, Ended)
    assert r.last.end is End.UNSTARTED


def test_members_that_accept_different_results_give_up_at_end_by() -> None:
    r = stopped_in("revealing")
    for i, member in enumerate(r.members):
        r.done(member, r.reveal(member))
        r.done(member, r.accept(f"mine {i}"))
    assert owed.SayAbandon not in kinds(r, r.host)
    r.pass_deadline()
    r.pass_deadline()
    assert kinds(r, r.host)[0] is owed.SayAbandon
    everybody(r, "abandon", *r.members[:4])
    assert isinstance(r.last, Ended)
    assert r.last.end is End.BURNED


def test_an_accepting_member_waits_for_those_still_to_speak() -> None:
    r = stopped_in("revealing")
    a, b, *_ = r.members
    for member in r.members:
        r.done(member, r.reveal(member))
    r.done(a, r.accept())
    r.pass_deadline()
    r.pass_deadline()
    assert owed.SayAbandon not in kinds(r, a)
    assert owed.SayAccept in kinds(r, b)


def test_reveals_that_do_not_suffice_by_end_by_are_given_up() -> None:
    r = stopped_in("revealing")
    a, b, c, d, _ = r.members
    for member in (a, b):
        r.done(member, r.reveal(member))
    r.pass_deadline()
    r.pass_deadline()
    # The silent owe their Reveal still; those that revealed have waited long enough.
    assert kinds(r, c)[0] is owed.SayReveal
    everybody(r, "abandon", a, b)
    # With two gone, four can no longer accept.
    assert kinds(r, d)[0] is owed.SayAbandon
    r.settle()
    assert r.study.ended[0].end is End.BURNED
    assert r.study.results != ()


def test_a_close_that_exposes_a_member_is_confirmed_by_nobody() -> None:
    r = Rounds.of(5, rounds_max=2)
    *four, e = r.members
    while not r.study.results:
        r.settle_once()
    while not isinstance(r.study.current, Masking):
        next(member for member in r.members if r.perform(member))
    commits = r.study.current.commits
    everybody(r, "commit", *(member for member in four if r.seat(member) not in commits))
    r.pass_deadline()
    r.done(r.host, r.close())
    assert isinstance(r.attempt, Confirming)
    (duty,) = r.owed_by(four[1])
    assert isinstance(duty, owed.SayAbandon)
    assert e in duty.reason
    r.settle()
    assert End.SEALED in [ended.end for ended in r.study.ended]
    assert r.study.results[-1].survivors == set(r.members)


def test_a_halted_attempt_waits_for_abandons() -> None:
    for phase in ("too few commits", "too few confirms"):
        r = stopped_in(phase)
        waiting = waiting_for(r.world.state, r.study)
        assert waiting is not None
        assert waiting.members == r.members
        (first, *_) = kinds(r, r.members[2])
        assert first is owed.SayAbandon


def test_the_mask_graph_of_a_large_roster_is_a_circulant() -> None:
    assert mask_degree(64, 20, 43) == 63
    assert mask_degree(200, 20, 180) == 42
    assert mask_degree(200, 66, 134) == 134
    assert mask_degree(65, 30, 35) == 62
    assert mask_degree(66, 31, 34) == 64
    assert mask_degree(66, 32, 32) == 65
    for count, degree in ((5, 4), (200, 42), (65, 64)):
        for seat in range(1, count + 1):
            beside = neighbours(seat, count, degree)
            assert len(beside) == degree
            assert seat not in beside
            assert all(seat in neighbours(other, count, degree) for other in beside)


def test_open_repeats_every_field() -> None:
    r = Rounds.of(5)
    body: RoundOpen = r.open()
    for field in RoundOpen.__struct_fields__:
        value = getattr(body, field)
        other = value + 1 if isinstance(value, int) else digest("other")
        if field not in ("attempt", "study"):
            assert r.void(r.host, bend(body, **{field: other})) is Rule.NOT_AS_DERIVED
    r.done(r.host, body)


def test_round_time_is_the_lower_median_of_the_roster() -> None:
    r = Rounds.of(4, strangers=1)
    *_, stranger = r.world.members
    r.done(r.host, r.open())
    r.world.now_s = r.opened.time_s + r.opened.deadlines.join_by_s
    # Two of four may have fast clocks, and a stranger's does not count: nothing closes.
    for member in (*r.members[:2], stranger):
        r.done(member, Seen())
        assert r.study.current is not None
    r.done(r.members[2], Seen())
    assert r.study.current is None


def test_attack_49_as_many_as_a_quorum_must_take_part_not_only_u_min() -> None:
    for comers, starts in ((3, False), (4, True)):
        r = Rounds.of(5, survivors_min=3)
        r.done(r.host, r.open())
        assert r.opened.quorum == 4
        everybody(r, "join", *r.members[:comers])
        r.pass_deadline()
        assert (r.study.current is not None) == starts
    everybody(r, "ready", *r.members[:3])
    r.pass_deadline()
    assert isinstance(r.last, Ended)
    assert r.last.end is End.UNSTARTED
