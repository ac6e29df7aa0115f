"""The attacks of aggregation.md 11.3 that the fold judges: each dies by its exact rule.

How: an honest world stopped in the phase of the attack (`round_phases`); the honest statement is
done, the attack is void. Numbers are those of the study.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as bend

from comity.commons import fold, rounds
from comity.commons.attempts import End, Ended, Masking, Resolving, Revealing, Starting
from comity.commons.state import Void
from comity.errors import Forged, Refused, Rule
from comity.statements.rounds import ResolvedShare, RoundAbandon, RoundOpen
from comity.statements.wire import Draft, sign
from comity.values import (
    CHECK_FIELD,
    LOW_ORDER_X25519,
    SHARE_FIELD,
    Seat,
    StatementId,
    joins_digest,
    pack_bits,
    roster_digest,
    sealing_key_id,
)
from tests.commons.round_phases import stopped_in
from tests.commons.rounds_world import Rounds, scalar
from tests.worlds import World, charter_of, digest, keys_of, sealing_key


def seats(*numbers: int) -> frozenset[Seat]:
    return frozenset(Seat(number) for number in numbers)


def ended(r: Rounds) -> Ended:
    assert isinstance(r.last, Ended)
    return r.last


def test_attack_01_nobody_is_in_u_and_in_the_drop_list() -> None:
    r = stopped_in("closing")
    honest = r.close()
    e = r.seat(r.members[4])
    for survivors in (
        pack_bits(seats(1, 2, 3, 4, e), 5),  # who did not commit
        pack_bits(seats(1, 2, 3), 5),  # too few, and one left out
        b"\x2f",  # a spare bit
        b"\x0f\x00",  # a byte too many
    ):
        assert r.void(r.host, bend(honest, survivors=survivors)) is Rule.NOT_AS_DERIVED
    r.done(r.host, honest)
    r = stopped_in("revealing")
    b = r.members[1]
    honest_reveal = r.reveal(b)
    (share,) = honest_reveal.dropped
    alive = bend(share, seat=r.seat(r.members[2]))
    for dropped in ((alive, share), (share, share), (share, alive), (alive,), ()):
        assert r.void(b, bend(honest_reveal, dropped=dropped)) is Rule.NOT_AS_DERIVED
    r.done(b, honest_reveal)


def test_attack_02_two_closes_cannot_both_be_confirmed() -> None:
    r = stopped_in("confirming")
    b = r.members[1]
    other = StatementId(digest("a Close shown to the other half"))
    assert r.void(r.host, r.close()) is Rule.PHASE_CLOSED
    assert r.void(b, bend(r.confirm(b), closed=other)) is Rule.NO_SUCH_THING
    r.done(b, r.confirm(b))
    assert r.void(b, bend(r.confirm(b), closed=other)) is Rule.SAID_BEFORE


def test_attack_05_a_swapped_join_changes_what_everybody_repeats() -> None:
    r = stopped_in("readying")
    b = r.members[1]
    swapped = joins_digest(tuple((seat, digest(f"swapped {seat}")) for seat in range(1, 6)))
    assert r.void(b, bend(r.ready(b), joins=swapped)) is Rule.NOT_AS_DERIVED
    r.done(b, r.ready(b))
    r = stopped_in("masking")
    assert r.void(b, bend(r.commit(b), binding=digest("other"))) is Rule.NOT_AS_DERIVED
    # In transit: the bytes of a signed statement changed.
    envelope = bytearray(r.world.envelope(b, r.commit(b)))
    at = envelope.index(b'"sig"') + 10
    envelope[at] = ord("A") if envelope[at] != ord("A") else ord("B")
    with pytest.raises(Forged):
        fold.admit(r.world.state, r.world.tree, bytes(envelope))


def test_attack_06_a_statement_counts_in_its_own_attempt_only() -> None:
    r = stopped_in("sealed")
    b = r.members[1]
    old = r.commit(b)
    r.accused.clear()
    r.done(r.host, r.open())
    assert r.void(b, old) is Rule.ROUND_NOT_OPEN
    for member in r.members:
        r.done(member, r.join(member))
    for member in r.members:
        r.done(member, r.ready(member))
    r.settle(r.host)
    assert isinstance(r.attempt, Masking)
    assert r.void(b, bend(old, opened=r.opened.id)) is Rule.NOT_AS_DERIVED
    # Another member's envelope, and another commons.
    with pytest.raises((Refused, Forged)):
        fold.admit(r.world.state, r.world.tree, r.world.log[-1])
    elsewhere = World.empty(charter_of(6, name="another commons"))
    with pytest.raises(Refused) as refused:
        fold.admit(elsewhere.state, elsewhere.tree, r.world.log[0])
    assert refused.value.rule is Rule.WRONG_COMMONS


@pytest.mark.parametrize(
    "changes",
    [
        {"quorum": 1},
        {"colluders": 2},
        {"survivors_min": 2},
        {"degree": 2},
        {"words": 20},
        {"layout": digest("other clipping")},
        {"plan": digest("another plan")},
        {"work": digest("another work")},
        {"roster_count": 4},
        {"round_no": 2},
        {"moments": digest("moments")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_attack_07_weak_parameters(changes: dict[str, object]) -> None:
    r = Rounds.of(5)
    assert r.void(r.host, bend(r.open(), **changes)) is Rule.NOT_AS_DERIVED
    r.done(r.host, r.open())


def test_attack_08_a_host_picks_nobody() -> None:
    r = Rounds.of(5)
    keyed = [(member, sealing_key_id(r.study.enrolled[member].sealing_key or b""))
             for member in r.members]  # fmt: skip
    unknown = (r.members[0], sealing_key_id(sealing_key(999)))
    for roster in (keyed[:4], [*keyed[:4], unknown], [*keyed, keyed[0]], keyed[::-1]):
        body = bend(r.open(), roster=roster_digest(tuple(roster)))
        assert r.void(r.host, body) is Rule.NOT_AS_DERIVED
    assert r.open().roster == roster_digest(tuple(keyed))
    assert r.void(r.members[1], r.open()) is Rule.WRONG_PARTY
    r.done(r.host, r.open())


def test_attack_09_an_attempt_ends_by_t_abandons_of_its_own_roster() -> None:
    r = stopped_in("masking")
    a, _, c, d, e = r.members
    stranger = r.world.members[-1]
    again = bend(Rounds.of(5, strangers=1).open(), attempt=2)
    assert r.void(stranger, r.abandon(a)) is Rule.WRONG_PARTY
    for member in (a, c, d):
        r.done(member, r.abandon(member))
        assert r.void(member, r.abandon(member)) is Rule.SAID_BEFORE
    assert r.void(r.host, again) is Rule.ATTEMPT_NOT_ENDED
    r.done(e, r.abandon(e))
    assert ended(r).end is End.SEALED
    r.done(r.host, r.open())


def test_attack_09_a_released_abandon_is_not_counted_as_unreleased() -> None:
    r = stopped_in("revealing")
    a, b, c, d, e = r.members
    r.done(a, r.reveal(a))
    assert r.void(a, r.abandon(a, released=False)) is Rule.NOT_TRUTHFUL
    assert r.void(a, r.abandon(a, closed=None)) is Rule.NOT_TRUTHFUL
    assert r.void(c, r.abandon(c, closed=digest("another"))) is Rule.NOT_TRUTHFUL
    for member in (a, c, d, e):
        r.done(member, r.abandon(member))
    assert ended(r).end is End.BURNED
    assert ended(r).sets == {frozenset({a, b, c, d})}
    # A fourth that had not revealed makes it sealed after all (R7).
    r.done(b, r.abandon(b))
    assert r.study.ended[-1].end is End.SEALED


def test_attack_14_an_open_from_another_model() -> None:
    r = Rounds.of(5)
    assert r.void(r.host, bend(r.open(), model=digest("trap"))) is Rule.NOT_AS_DERIVED
    r.settle()
    assert r.study.finished
    assert [result.model for result in r.study.results] == [digest(f"model {i}") for i in (1, 2, 3)]


def test_attack_17_confirm_needs_a_check_value_and_reveal_a_quorum() -> None:
    r = stopped_in("confirming")
    _, b, c, d, e = r.members
    assert r.void(b, bend(r.confirm(b), check_value=None)) is Rule.CHECK_VALUE_MISSING
    assert r.void(e, bend(r.confirm(e), check_value=bytes(16))) is Rule.CHECK_VALUE_MISSING
    for member in (b, c):
        r.done(member, r.confirm(member))
    # t - 1 Confirms
    assert r.void(b, r.reveal(b)) is Rule.BEFORE_QUORUM
    assert r.void(b, r.accept()) is Rule.BEFORE_QUORUM
    r.done(d, r.confirm(d))
    assert isinstance(r.attempt, Revealing)
    r.done(b, r.reveal(b))


def test_attack_21_copied_and_low_order_points() -> None:
    r = stopped_in("joining")
    b = r.members[1]
    copied = r.join(r.host).ephemeral_key
    prime = (2**255 - 19).to_bytes(32, "little")
    low = [point.to_bytes(32, "little") for point in LOW_ORDER_X25519]
    top_bit = copied[:31] + bytes([copied[31] | 0x80])
    for point in (copied, prime, top_bit, *low):
        assert r.void(b, bend(r.join(b), ephemeral_key=point)) is Rule.BAD_POINT
    r.done(b, r.join(b))


def test_attack_22_a_complaint_is_answered_with_what_was_dealt() -> None:
    r = stopped_in("resolving")
    _, b, c, d, _ = r.members
    honest = r.resolve(b, c)
    share = honest.share
    other = r.resolve(b, d).share
    lies = (
        ResolvedShare(share.holder, share.path, other.plaintext),
        ResolvedShare(share.holder, share.path, share.plaintext[32:64] + share.plaintext[:32]
                      + share.plaintext[64:]),
        ResolvedShare(share.holder, share.path[:-1], share.plaintext),
        ResolvedShare(share.holder, (*share.path, bytes(32)), share.plaintext),
        ResolvedShare(share.holder, other.path, share.plaintext),
    )  # fmt: skip
    for lie in lies:
        assert r.void(b, bend(honest, share=lie)) is Rule.SHARE_DOES_NOT_FIT
    assert r.void(b, bend(honest, share=other)) is Rule.NO_SUCH_THING
    assert r.void(d, r.resolve(d, c)) is Rule.NO_SUCH_THING
    # Start may not overtake the answer.
    assert r.void(r.host, r.start()) is Rule.TOO_SOON
    r.done(b, honest)
    assert isinstance(r.attempt, Starting)
    assert r.attempt.participants == seats(1, 2, 3, 4, 5)


def test_attack_22_one_more_complaint_just_before_start() -> None:
    r = stopped_in("starting")
    _, b, *_ = r.members
    late = bend(r.ready(b), complaints=(r.seat(r.members[3]),))
    assert r.void(b, late) is Rule.PHASE_CLOSED
    r.done(r.host, r.start())


def test_attack_22_an_unanswered_dealer_is_out_at_resolve_by() -> None:
    r = stopped_in("resolving")
    r.pass_deadline()
    assert isinstance(r.attempt, Starting)
    assert r.attempt.participants == seats(1, 3, 4, 5)


def test_attack_22_a_dealer_with_more_than_c_complainers_publishes_nothing() -> None:
    r = Rounds.of(5)
    _, b, c, d, e = r.members
    r.accused |= {(c, b), (d, b)}
    r.done(r.host, r.open())
    for member in r.members:
        r.done(member, r.join(member))
    for member in r.members:
        r.done(member, r.ready(member))
    # Nothing is worth an answer, so resolving closed at once.
    assert isinstance(r.attempt, Starting)
    assert r.attempt.participants == seats(1, 3, 4, 5)
    # With another dealer's complaint open, the false dealer is told why it may not answer.
    r = Rounds.of(5)
    r.accused |= {(c, b), (d, b), (b, e)}
    r.done(r.host, r.open())
    for member in r.members:
        r.done(member, r.join(member))
    for member in r.members:
        r.done(member, r.ready(member))
    assert isinstance(r.attempt, Resolving)
    assert r.void(b, r.resolve(b, c)) is Rule.TOO_MANY_COMPLAINTS
    r.done(e, r.resolve(e, b))


@pytest.mark.parametrize("complaints", [(2,), (4, 3), (3, 3), (6,)], ids=str)
def test_attack_22_malformed_complaints(complaints: tuple[int, ...]) -> None:
    r = stopped_in("readying")
    b = r.members[1]
    body = bend(r.ready(b), complaints=complaints)
    assert r.void(b, body) is Rule.NOT_AS_DERIVED


def test_attack_27_a_close_waits_and_leaves_nobody_out() -> None:
    r = stopped_in("masking")
    _, b, c, d, e = r.members
    for member in (b, c, d):
        r.done(member, r.commit(member))
    assert r.void(r.host, r.close()) is Rule.TOO_SOON
    r.done(e, r.commit(e))
    honest = r.close()
    for change in ({"survivors": b"\x0f"}, {"commits": digest("x")}, {"binding": digest("x")}):
        assert r.void(r.host, bend(honest, **change)) is Rule.NOT_AS_DERIVED
    r.done(r.host, honest)


def test_attack_41_numbers_outside_their_fields() -> None:
    r = stopped_in("confirming")
    b = r.members[1]
    for number in (CHECK_FIELD, 2**128 - 1):
        body = bend(r.confirm(b), check_value=number.to_bytes(16, "big"))
        assert r.void(b, body) is Rule.CHECK_VALUE_MISSING
    r.done(b, bend(r.confirm(b), check_value=(CHECK_FIELD - 1).to_bytes(16, "big")))
    too_large = SHARE_FIELD.to_bytes(32, "big")
    r = stopped_in("revealing")
    (share,) = r.reveal(b).dropped
    for lie in (bend(share, sigma=too_large), bend(share, mu=too_large)):
        assert r.void(b, bend(r.reveal(b), dropped=(lie,))) is Rule.SHARE_DOES_NOT_FIT
    assert r.void(b, bend(r.reveal(b), beta=too_large)) is Rule.SHARE_DOES_NOT_FIT
    assert r.void(b, bend(r.reveal(b), beta=scalar("false"))) is Rule.SHARE_DOES_NOT_FIT
    r.done(b, r.reveal(b))
    r = stopped_in("recovering")
    (silent,) = r.recover(r.seat(r.members[3])).silent
    for false in (bend(silent, beta=too_large), bend(silent, mu=too_large)):
        assert r.void(b, bend(r.recover(Seat(4)), silent=(false,))) is Rule.SHARE_DOES_NOT_FIT
    r = stopped_in("resolving")
    share_in_clear = r.resolve(b, r.members[2]).share
    lie_in_clear = bend(share_in_clear, plaintext=too_large + share_in_clear.plaintext[32:])
    body_in_clear = bend(r.resolve(b, r.members[2]), share=lie_in_clear)
    assert r.void(b, body_in_clear) is Rule.SHARE_DOES_NOT_FIT


def test_attack_42_the_first_of_two_statements_counts() -> None:
    r = stopped_in("joining")
    first = r.attempt
    other = bend(r.join(r.host), ephemeral_key=scalar("other"))
    assert r.say(r.host, other) == Void(Rule.SAID_BEFORE)
    assert r.attempt == first
    r = stopped_in("masking")
    other_vector = bend(r.commit(r.host), vector=digest("other"))
    assert r.say(r.host, other_vector) == Void(Rule.SAID_BEFORE)
    r = stopped_in("confirming")
    other_value = bend(r.confirm(r.host), check_value=bytes(16))
    assert r.say(r.host, other_value) == Void(Rule.SAID_BEFORE)
    r = stopped_in("revealing")
    a, b, c, d, e = r.members
    for member, result in ((a, "one"), (b, "two"), (c, "one"), (d, "one")):
        r.done(member, r.accept(result))
        assert r.void(member, r.accept("two")) is Rule.SAID_BEFORE
    assert isinstance(r.attempt, Revealing)
    r.done(e, r.accept("one"))
    assert r.study.results[-1].model == digest("one 1")


def test_attack_42_two_envelopes_with_one_seq() -> None:
    r = stopped_in("masking")
    b = r.members[1]
    other = r.world.envelope(b, bend(r.commit(b), vector=digest("other")))
    r.done(b, r.commit(b))
    with pytest.raises(Refused) as refused:
        fold.admit(r.world.state, r.world.tree, other)
    assert refused.value.rule is Rule.CHAIN_BROKEN


def test_attack_45_after_a_burned_attempt_only_the_same_roster_goes_on() -> None:
    r = stopped_in("burned")
    e = r.members[4]
    roster = ended(r).opened.roster
    # e loses its unused key: the host cannot go on without it.
    enrolled = {m: kept for m, kept in r.study.enrolled.items() if m != e}
    without = replace(r.study, enrolled=enrolled)
    state = replace(r.world.state, studies={without.id: without})
    waiting = rounds.expected_open(state, r.study_id)
    assert isinstance(waiting, rounds.Waiting)
    assert waiting.members == (e,)
    # A newcomer does not change it either.
    *_, stranger = r.world.members
    r.world.enrol(stranger, r.study_id)
    body = r.open()
    assert body.roster_count == 5
    r.done(r.host, body)
    assert r.opened.roster == roster


def test_attack_46_a_member_missing_beside_an_earlier_round() -> None:
    r = Rounds.of(5, rounds_max=2)
    *others, e = r.members
    while not r.study.results:
        r.settle_once()
    r.settle(*others)
    r.pass_deadline(*others)
    # P would be U of round 1 without e: nobody starts it, and the study waits for e by name.
    while r.study.current is not None:
        r.settle(*others)
        if r.study.current is not None:
            r.pass_deadline(*others)
    assert ended(r).end is End.UNSTARTED
    for member in r.members:
        if r.study.enrolled[member].sealing_key is None and member != e:
            r.done(member, r.world.enrol_body(member, r.study_id))
    waiting = rounds.expected_open(r.world.state, r.study_id)
    assert isinstance(waiting, rounds.Waiting)
    assert waiting.rule is Rule.SET_NEARLY_EQUAL
    assert waiting.members == (e,)
    body = bend(Rounds.of(5).open(), round_no=2, attempt=3, study=r.study_id)
    assert r.void(r.host, body) is Rule.SET_NEARLY_EQUAL
    r.settle()
    assert r.study.results[-1].survivors == set(r.members)


def test_attack_46_does_not_bind_who_consented_to_exposure_or_left() -> None:
    r = Rounds.of(5, rounds_max=2)
    *others, e = r.members
    while not r.study.results:
        r.settle_once()
    four = frozenset(others)
    assert rounds.exposed_by(r.study, r.world.state, four) == {e}
    assert rounds.exposed_by(r.study, r.world.state, frozenset(r.members)) == frozenset()
    assert rounds.exposed_by(r.study, r.world.state, frozenset(others[:3])) == {others[3], e}
    assert rounds.exposed_by(r.study, r.world.state, frozenset(others[:2])) == frozenset()
    gone = replace(r.study, left=frozenset({e}))
    assert rounds.exposed_by(gone, r.world.state, four) == frozenset()
    yes = replace(r.study.consents[e], exposed=True)
    shown = replace(r.study, consents={**r.study.consents, e: yes})
    assert rounds.exposed_by(shown, r.world.state, four) == frozenset()


def test_attack_46_in_a_study_that_starts_from_the_result_of_another() -> None:
    r = Rounds.of(5, rounds_max=1)
    *others, e = r.members
    r.settle()
    plan = bend(r.study.register.plan, model=r.study.results[0].model)
    twin = replace(
        r.study,
        id=StatementId(digest("twin")),
        register=bend(r.study.register, plan=plan),
        ended=(),
        results=(),
    )
    assert rounds.exposed_by(twin, r.world.state, frozenset(others)) == {e}
    fresh = replace(twin, register=bend(r.study.register))
    assert rounds.exposed_by(fresh, r.world.state, frozenset(others)) == frozenset()


def test_attack_48_sealing_keys_that_would_break_every_dealer() -> None:
    r = stopped_in("readying")
    b = r.members[1]
    good = r.ready(b).sealing_key
    lattice, point = good[:-32], good[-32:]
    coefficient = (3329).to_bytes(2, "little") + lattice[2:]
    bad = (
        lattice + bytes(32),
        lattice + (2**255 - 19).to_bytes(32, "little"),
        lattice + point[:31] + bytes([point[31] | 0x80]),
        coefficient + point,
    )
    for sealing in bad:
        assert r.void(b, bend(r.ready(b), sealing_key=sealing)) is Rule.SEALING_KEY_INVALID
    seen = r.opened.sealing_keys[0]
    assert r.void(b, bend(r.ready(b), sealing_key=seen)) is Rule.SEALING_KEY_USED
    fresh = r.ready(b)
    r.done(b, fresh)
    assert r.study.enrolled[b].sealing_key == fresh.sealing_key
    c = r.members[2]
    used = bend(r.ready(c), sealing_key=fresh.sealing_key)
    assert r.void(c, used) is Rule.SEALING_KEY_USED


@pytest.mark.parametrize("comers", [0, 1, 3])
def test_attack_49_too_few_to_start_ends_it_without_any_quorum(comers: int) -> None:
    r = Rounds.of(5)
    r.done(r.host, r.open())
    for member in r.members[:comers]:
        r.done(member, r.join(member))
    r.pass_deadline()
    assert ended(r).end is End.UNSTARTED
    for member in r.members:
        r.done(member, r.world.enrol_body(member, r.study_id))
    r.done(r.host, r.open())
    assert r.opened.attempt == 2


def test_attack_49_too_few_ready_and_no_start_by_start_by() -> None:
    r = stopped_in("readying")
    r.done(r.members[1], r.ready(r.members[1]))
    r.pass_deadline()
    assert ended(r).end is End.UNSTARTED
    r = stopped_in("starting")
    body = r.start()
    r.pass_deadline()
    assert ended(r).end is End.UNSTARTED
    assert r.void(r.host, body) is Rule.ROUND_NOT_OPEN


def test_attack_51_abandoning_after_the_quorum_keeps_nobody_from_the_result() -> None:
    r = stopped_in("revealing")
    a, b, c, d, e = r.members
    r.done(e, r.abandon(e))
    for member in (a, b, c, d):
        r.done(member, r.reveal(member))
    for member in (a, b, c, d):
        r.done(member, r.accept())
    assert r.study.results[-1].survivors == {a, b, c, d}


def test_attack_51_enough_abandons_end_it_and_say_which_close() -> None:
    r = stopped_in("revealing")
    a, b, c, d, e = r.members
    r.done(b, r.reveal(b))
    for member in (a, c, d, e):
        r.done(member, r.abandon(member))
    last = ended(r)
    assert last.end is End.SEALED
    assert last.revealed == {r.seat(b)}
    closed = last.closed
    assert closed is not None
    # What R5 asks b's node for: c + 1 of those t are in the U that it revealed.
    kept = [seat for seat, fact in last.abandons.items() if not fact.released]
    assert len(closed.survivors & set(kept)) >= last.opened.colluders + 1
    r.done(b, r.abandon(b))


def test_attack_55_a_late_confirm_counts_for_nobody() -> None:
    r = stopped_in("revealing")
    b = r.members[1]
    false = bend(r.confirm(b), check_value=b"\x02" * 16)
    before = r.attempt
    assert r.say(b, false) == Void(Rule.PHASE_CLOSED)
    assert r.attempt == before


def test_attack_56_an_m_is_given_for_the_dropped_by_their_neighbours_only() -> None:
    r = stopped_in("revealing")
    b, e = r.members[1], r.members[4]
    honest = r.reveal(b)
    (share,) = honest.dropped
    alive = bend(share, seat=Seat(4))
    assert r.void(b, bend(honest, dropped=(alive, share))) is Rule.NOT_AS_DERIVED
    assert r.void(b, bend(honest, dropped=(bend(share, m=None),))) is Rule.NOT_AS_DERIVED
    # Who was dropped itself gives shares, but neither beta nor m.
    dropped = r.reveal(e)
    (of_e,) = dropped.dropped
    assert r.void(e, bend(dropped, dropped=(bend(of_e, m=bytes(32)),))) is Rule.NOT_AS_DERIVED
    assert r.void(e, bend(dropped, beta=r.beta(e))) is Rule.NOT_AS_DERIVED
    r.done(e, dropped)
    assert r.void(b, bend(honest, beta=None)) is Rule.NOT_AS_DERIVED
    r.done(b, honest)


def test_a_recover_is_about_the_silent_only() -> None:
    r = stopped_in("recovering")
    _, b, c, d, e = r.members
    seat = r.seat
    for about in ((seat(c),), (seat(e),), (seat(d), seat(c))):
        assert r.void(b, r.recover(*about)) is Rule.NOT_AS_DERIVED
    (share,) = r.recover(seat(d)).silent
    assert r.void(b, bend(r.recover(seat(d)), silent=(share, share))) is Rule.NOT_AS_DERIVED
    without = bend(r.recover(seat(d)), silent=(bend(share, mu=None),))
    assert r.void(b, without) is Rule.NOT_AS_DERIVED
    elsewhere = bend(r.recover(seat(d)), closed=digest("x"))
    assert r.void(b, elsewhere) is Rule.NO_SUCH_THING
    assert r.void(d, r.recover(seat(d))) is Rule.WRONG_PARTY
    r.done(b, r.recover(seat(d)))
    assert r.void(b, r.recover(seat(d))) is Rule.SAID_BEFORE
    early = stopped_in("revealing")
    early.done(b, early.reveal(b))
    assert early.void(b, early.recover(early.seat(d))) is Rule.TOO_SOON


def test_t_disputes_exclude_a_member_for_the_rest_of_the_study() -> None:
    r = stopped_in("revealing")
    a, b, c, d, e = r.members
    assert r.void(a, bend(r.dispute(b), closed=digest("x"))) is Rule.NO_SUCH_THING
    assert r.void(a, bend(r.dispute(b, c), seats=(3, 2))) is Rule.NOT_AS_DERIVED
    assert r.void(a, r.dispute(e)) is Rule.NOT_AS_DERIVED
    for member in (a, c, d):
        r.done(member, r.dispute(b))
        assert r.void(member, r.dispute(b)) is Rule.SAID_BEFORE
    assert r.study.excluded == frozenset()
    r.done(e, r.dispute(b, c))
    assert r.study.excluded == {b}


def test_join_is_covered_by_consent_and_weights_by_the_plan() -> None:
    r = stopped_in("joining")
    _, b, c, *_ = r.members
    honest = r.join(b)
    (mine,) = honest.datasets
    theirs = r.join(c).datasets[0]
    old = bend(mine, version=digest("old"))
    cases = (((theirs,), Rule.NO_CONSENT), ((old,), Rule.VERSION_NOT_DECLARED),
             ((mine, mine), Rule.NOT_AS_DERIVED))  # fmt: skip
    for datasets, rule in cases:
        assert r.void(b, bend(honest, datasets=datasets)) is rule
    assert r.void(b, bend(honest, weight=1)) is Rule.NOT_AS_DERIVED
    weighted = Rounds.of(5, weights="declared", weight_max=7)
    weighted.done(weighted.host, weighted.open())
    assert weighted.void(b, weighted.join(b)) is Rule.NOT_AS_DERIVED
    assert weighted.void(b, bend(weighted.join(b), weight=8)) is Rule.NOT_AS_DERIVED
    weighted.done(b, bend(weighted.join(b), weight=7))


def test_start_is_over_the_derived_participants() -> None:
    r = stopped_in("starting")
    honest = r.start()
    for change in ({"participants": b"\x0f"}, {"joins": digest("x")}):
        assert r.void(r.host, bend(honest, **change)) is Rule.NOT_AS_DERIVED
    r.done(r.host, honest)


def test_attempt_numbers_grow_and_may_leave_gaps() -> None:
    r = stopped_in("sealed")
    body: RoundOpen = r.open()
    assert body.attempt == 2
    assert r.void(r.host, bend(body, attempt=1)) is Rule.NOT_AS_DERIVED
    r.done(r.host, bend(body, attempt=7))
    assert r.study.attempt == 7


def test_a_study_pauses_when_its_attempts_are_used_up() -> None:
    r = Rounds.of(5, attempts_max=2)
    for _ in range(2):
        body = r.open()
        r.done(r.host, body)
        r.pass_deadline()
        assert ended(r).end is End.UNSTARTED
        for member in r.members:
            r.done(member, r.world.enrol_body(member, r.study_id))
    waiting = rounds.expected_open(r.world.state, r.study_id)
    assert isinstance(waiting, rounds.Waiting)
    assert waiting.reason.startswith("paused")
    assert r.void(r.host, bend(body, attempt=3)) is Rule.ROUND_NOT_OPEN


def test_an_abandon_is_about_an_attempt_that_exists() -> None:
    r = stopped_in("masking")
    b = r.members[1]
    honest = r.abandon(b)
    for change in (
        {"attempt": 2},
        {"round_no": 2},
        {"study": digest("no study")},
    ):
        lie: RoundAbandon = bend(honest, **change)
        assert r.void(b, lie) is Rule.NO_SUCH_THING
    no_study = bend(Rounds.of(5).open(), study=digest("no study"))
    assert r.void(r.host, no_study) is Rule.NO_SUCH_THING


def test_a_draft_by_another_key_is_forged() -> None:
    r = stopped_in("masking")
    a, b = r.members[:2]
    seq, prev = fold.next_link(r.world.state, b)
    draft = Draft(
        author=b,
        commons=r.world.state.commons,
        seq=seq,
        prev=prev,
        head_size=r.world.tree.size,
        head_root=r.world.tree.root(),
        time_s=r.world.now_s,
        body=r.commit(b),
    )
    with pytest.raises(Forged):
        fold.admit(r.world.state, r.world.tree, sign(draft, keys_of(a).statement))
