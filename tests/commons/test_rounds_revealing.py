"""The attacks of aggregation.md 11.3 on Commit to Abandon that the fold judges, each with its rule.

How: an honest world stopped in the phase of the attack (`round_phases`); the honest statement is
done, the attack is void. Numbers are those of the study.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as bend

from comity.commons import fold, rounds
from comity.commons.attempts import End, Ended, Revealing, closed_of
from comity.commons.state import Void
from comity.errors import Forged, Refused, Rule
from comity.statements.rounds import RoundAbandon
from comity.statements.wire import Draft, sign
from comity.values import (
    CHECK_FIELD,
    SHARE_FIELD,
    Seat,
    StatementId,
    pack_bits,
)
from tests.commons.round_phases import stopped_in
from tests.commons.rounds_world import Rounds, scalar
from tests.worlds import digest, keys_of


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
    for about in ((seat(e),), (seat(d), seat(e))):
        assert r.void(b, r.recover(*about)) is Rule.NOT_AS_DERIVED
    closed = closed_of(r.attempt)
    assert closed is not None and closed.dropped, "so what b revealed for it may be false"
    r.done(c, r.recover(seat(b)))
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
