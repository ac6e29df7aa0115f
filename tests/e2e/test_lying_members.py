"""Members that lie: false words of their own nodes to honest ones (aggregation.md 11.3)."""

from __future__ import annotations

from dataclasses import replace as dc_replace
from pathlib import Path

import pytest
from msgspec.structs import replace

from comity.aggregation.secagg import reveal
from comity.aggregation.stages import Bystander, Committed, Reveal, Revealed, Survivors
from comity.commons.attempts import End, Revealing
from comity.commons.opening import expected_open
from comity.errors import Rule
from comity.node import revealing
from comity.statements.rounds import (
    DroppedShares,
    RoundConfirm,
    RoundDispute,
    RoundOpen,
    RoundReady,
    RoundRecover,
    RoundReveal,
)
from comity.values import Digest
from tests.e2e.lies import closed_now, confirm_with, join_with, true_check_value
from tests.e2e.prepared import Make
from tests.e2e.steps import World
from tests.e2e.test_rounds import Plain, same_as_plain

ALL = (0, 1, 2, 3)


def until_asleep(world: World, member: str, before: str) -> None:
    """Move until this member would say this."""
    liar = world.desk(member)
    liar.sleep_before(before)
    world.let_time_pass(lambda: liar.asleep)
    liar.sync()


def test_a_false_check_value_costs_one_download_not_the_round(
    commons: Make, tmp_path: Path
) -> None:
    """Attack 19: the others dispute it, compute the true one, and end with the plain result."""
    prepared = commons(4)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        until_asleep(world, "m2", "round.confirm")
        false = bytes(15) + b"\x01"
        assert true_check_value(world, world.desk("m2")) != false
        seat = world.seat("m2")
        confirm_with(world, world.desk("m2"), false)
        world.desk("m2").asleep = True
        world.let_time_pass(world.results(1))
        same_as_plain(world, plain, ALL, 4)
        disputes = [said.body for said in world.said("round.dispute")]
        assert disputes
        assert all(isinstance(d, RoundDispute) and d.seats == (seat,) for d in disputes)
        assert "m2" in world.study.excluded, "t disputes put it out for the rest of the study"


def test_a_check_value_that_never_comes_is_computed(commons: Make, tmp_path: Path) -> None:
    """Attacks 19 and 55: m2 commits and is silent; its late false Confirm is void for all."""
    prepared = commons(4)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        until_asleep(world, "m2", "round.confirm")
        world.let_time_pass(lambda: isinstance(world.study.current, Revealing))
        world.desk("m2").sync()
        late = confirm_with(world, world.desk("m2"), bytes(16))
        world.let_time_pass(world.results(1))
        assert world.outcome(late) is Rule.PHASE_CLOSED
        same_as_plain(world, plain, ALL, 4)
        assert not world.said("round.dispute")


def test_confirms_and_reveals_against_the_rules_are_void(commons: Make, tmp_path: Path) -> None:
    """Attacks 17, 24, 42, 56: and nobody else answers them; the round ends as if unsaid."""
    prepared = commons(4)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        liar = world.desk("m2")
        until_asleep(world, "m2", "round.confirm")
        closed = closed_now(world)
        opened = closed.started.opened.id
        early = RoundReveal(closed=closed.id, opened=opened, beta=bytes(32))
        said = {
            confirm_with(world, liar, None, "round.confirm#none"): Rule.CHECK_VALUE_MISSING,
            liar.lie(early, "round.reveal#early"): Rule.BEFORE_QUORUM,
        }
        liar.wake()
        until_asleep(world, "m2", "round.reveal")
        assert isinstance(world.attempt, Revealing)
        other = world.seat("m1")
        shares = DroppedShares(mu=bytes(32), seat=other, sigma=bytes(32), m=bytes(32))
        with_m = replace(early, dropped=(shares,))
        twice = RoundConfirm(closed=closed.id, opened=opened, check_value=bytes(16))
        said |= {
            liar.lie(early, "round.reveal#beta"): Rule.SHARE_DOES_NOT_FIT,
            liar.lie(with_m, "round.reveal#m"): Rule.NOT_AS_DERIVED,
            liar.lie(twice, "round.confirm#twice"): Rule.PHASE_CLOSED,
        }
        world.let_time_pass(world.results(1))
        for statement, rule in said.items():
            assert world.outcome(statement) is rule
        same_as_plain(world, plain, ALL, 4)
        for reveal in world.said("round.reveal"):
            if reveal.author != "m2":
                assert isinstance(reveal.body, RoundReveal)
                assert reveal.body.dropped == (), "attack 56: no m, no share of a survivor"


def test_an_envelope_that_does_not_open_is_resolved(commons: Make, tmp_path: Path) -> None:
    """Attack 22: m1 complains, m2 answers in clear, and everybody stays in."""
    prepared = commons(4)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        until_asleep(world, "m2", "round.join")
        seat, victim = world.seat("m2"), world.seat("m1")

        def spoil(plaintexts: list[bytes]) -> None:
            plaintexts[victim - 1] = bytes(128)

        join_with(world, world.desk("m2"), sealed=spoil)
        world.desk("m2").wake()
        world.let_time_pass(world.results(1))
        (complaint,) = [
            said
            for said in world.said("round.ready")
            if isinstance(said.body, RoundReady) and said.body.complaints
        ][:1]
        assert complaint.author == "m1"
        assert isinstance(complaint.body, RoundReady)
        assert complaint.body.complaints == (seat,)
        assert [said.author for said in world.said("round.resolve")][:1] == ["m2"]
        same_as_plain(world, plain, ALL, 4)


def test_a_dealer_with_more_than_c_complainers_publishes_nothing_and_is_out(
    commons: Make, tmp_path: Path
) -> None:
    """Attack 22: with c = 1, two complaints prove the dealer false."""
    prepared = commons(4, rounds=1)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        until_asleep(world, "m2", "round.join")
        victims = [world.seat("m0"), world.seat("m1")]

        def spoil(plaintexts: list[bytes]) -> None:
            for victim in victims:
                plaintexts[victim - 1] = bytes(128)

        join_with(world, world.desk("m2"), sealed=spoil)
        world.desk("m2").wake()
        world.let_time_pass(world.results(1))
        assert not world.said("round.resolve")
        same_as_plain(world, plain, (0, 1, 3), 4)


def test_a_malicious_complaint_is_harmless(commons: Make, tmp_path: Path) -> None:
    """Attack 22: m2 complains of the honest m1; m1 resolves, and the result is the same."""
    prepared = commons(4)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        liar = world.desk("m2")
        until_asleep(world, "m2", "round.ready")
        accused = world.seat("m1")
        scope, body = honest_ready(world, "m2")
        liar.lie(
            RoundReady(
                complaints=(accused,),
                joins=body.joins,
                opened=body.opened,
                sealing_key=body.sealing_key,
            ),
            stage=scope,
        )
        liar.wake()
        world.let_time_pass(world.results(1))
        assert "m1" in [said.author for said in world.said("round.resolve")]
        same_as_plain(world, plain, ALL, 4)


def honest_ready(world: World, member: str) -> tuple[bytes, RoundReady]:
    """The stage after Ready and the Ready that this member's node would say."""
    from comity.aggregation.secagg import ready
    from comity.aggregation.sharing import SEALING_RAND_BYTES, sealing_keys
    from comity.aggregation.stages import Joined
    from comity.commons.attempts import Readying
    from comity.commons.dealing import digest_of_joins
    from comity.node.machine import random_bytes
    from comity.node.stages import dealings_of, scope_of, sealing_secret, stage_of
    from comity.values import sha256

    station, attempt = world.desk(member).station, world.attempt
    assert isinstance(attempt, Readying)
    stage = stage_of(station, scope_of(attempt.opened))
    assert isinstance(stage, Joined)
    secret = sealing_secret(station, attempt.opened)
    opened, _ = ready(stage, secret, dealings_of(station, attempt.opened, attempt.joins))
    fresh, public = sealing_keys(random_bytes(SEALING_RAND_BYTES))
    station.journal.keep_sealing(sha256(public), fresh.rand)
    body = RoundReady(
        complaints=(),
        joins=Digest(digest_of_joins(attempt)),
        opened=attempt.opened.id,
        sealing_key=public,
    )
    return opened.to_bytes(), body


def test_an_open_that_differs_from_the_derived_one_is_void(commons: Make, tmp_path: Path) -> None:
    """Attacks 7, 8, 13, 14: t = 1, another model, another roster: nobody joins."""
    with commons(4).world(tmp_path) as world:
        host = world.desk("m0")
        until_asleep(world, "m0", "round.open")
        due = expected_open(world.state, world.study_id)
        assert isinstance(due, RoundOpen)

        other = Digest("ab" * 32)
        lies = [
            replace(due, quorum=1),
            replace(due, colluders=2),
            replace(due, degree=2),
            replace(due, survivors_min=2),
            replace(due, words=due.words + 8),
            replace(due, model=other),
            replace(due, layout=other),
            replace(due, roster=other),
            replace(due, roster_count=3),
            replace(due, work=other),
            replace(due, round_no=2),
        ]
        said = [host.lie(body, f"round.open#{n}") for n, body in enumerate(lies)]
        host.asleep = True
        world.settle()
        assert {world.outcome(statement) for statement in said} == {Rule.NOT_AS_DERIVED}
        assert not world.said("round.join")
        host.wake()
        world.round(1)


def test_attack_24_a_false_m_is_replaced_by_what_others_hold(
    commons: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """m2 dropped, m1 reveals a false m for it: the others rebuild m1's mu, and the round ends."""
    prepared = commons(4)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        world.desk("m2").sleep_before("round.commit")
        until_asleep(world, "m1", "round.reveal")
        world.desk("m2").wake()
        liar, false_seat = world.desk("m1"), world.seat("m1")

        def lying(stage: Committed | Bystander, survivors: Survivors) -> tuple[Revealed, Reveal]:
            revealed, said = reveal(stage, survivors)
            false = tuple(dc_replace(share, m=bytes(32)) for share in said.dropped)
            return revealed, Reveal(said.beta, false)

        liar.wake()
        with monkeypatch.context() as lies:
            lies.setattr(revealing, "reveal", lying)
            liar.step()
        world.let_time_pass(world.results(1))
        same_as_plain(world, plain, (0, 1, 3), 4)
        named = [
            share.seat
            for said in world.said("round.recover")
            if isinstance(said.body, RoundRecover)
            for share in said.body.silent
        ]
        assert set(named) == {false_seat}
        assert len(named) >= 3, "t holders"
        assert world.study.ended[0].end is End.ACCEPTED
