"""The attacks of aggregation.md 11.3 on Open to Start that the fold judges, each with its rule.

How: an honest world stopped in the phase of the attack (`round_phases`); the honest statement is
done, the attack is void. Numbers are those of the study.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as bend

from comity.commons import fold, rounds
from comity.commons.attempts import End, Ended, Masking, Resolving, Starting
from comity.errors import Forged, Refused, Rule
from comity.statements.rounds import ResolvedShare, RoundOpen
from comity.values import (
    LOW_ORDER_X25519,
    Seat,
    StatementId,
    joins_digest,
    roster_digest,
    sealing_key_id,
)
from tests.commons.round_phases import stopped_in
from tests.commons.rounds_world import Rounds
from tests.worlds import World, charter_of, digest, sealing_key


def seats(*numbers: int) -> frozenset[Seat]:
    return frozenset(Seat(number) for number in numbers)


def ended(r: Rounds) -> Ended:
    assert isinstance(r.last, Ended)
    return r.last


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
             for member in r.members]  # fmt: skip  # reads as a table
    unknown = (r.members[0], sealing_key_id(sealing_key(999)))
    for roster in (keyed[:4], [*keyed[:4], unknown], [*keyed, keyed[0]], keyed[::-1]):
        body = bend(r.open(), roster=roster_digest(tuple(roster)))
        assert r.void(r.host, body) is Rule.NOT_AS_DERIVED
    assert r.open().roster == roster_digest(tuple(keyed))
    assert r.void(r.members[1], r.open()) is Rule.WRONG_PARTY
    r.done(r.host, r.open())


def test_attack_14_an_open_from_another_model() -> None:
    r = Rounds.of(5)
    assert r.void(r.host, bend(r.open(), model=digest("trap"))) is Rule.NOT_AS_DERIVED
    r.settle()
    assert r.study.finished
    assert [result.model for result in r.study.results] == [digest(f"model {i}") for i in (1, 2, 3)]


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
    )  # fmt: skip  # reads as a table
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


def test_join_is_covered_by_consent_and_weights_by_the_plan() -> None:
    r = stopped_in("joining")
    _, b, c, *_ = r.members
    honest = r.join(b)
    (mine,) = honest.datasets
    theirs = r.join(c).datasets[0]
    old = bend(mine, version=digest("old"))
    cases = (((theirs,), Rule.NO_CONSENT), ((old,), Rule.VERSION_NOT_DECLARED),
             ((mine, mine), Rule.NOT_AS_DERIVED))  # fmt: skip  # reads as a table
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
