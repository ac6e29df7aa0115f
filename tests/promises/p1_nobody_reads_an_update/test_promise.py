"""P1. Nobody reads an update: not the host, not the host with up to c members.

Real members mask real vectors; host and colluder pool what they hold. The numbered attacks are in
tests/aggregation/test_attacks.py and tests/commons/test_rounds_*.py.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from comity.aggregation.layout import Layout, Segment
from comity.aggregation.masks import add_streams
from comity.aggregation.stages import Survivors
from comity.aggregation.whole_round import run_all_parties
from comity.commons import rounds
from comity.commons.attempts import Confirming
from comity.errors import Refused, Rule
from comity.storage.journal import SqliteJournal
from comity.storage.ports import Attempt
from comity.values import StatementId
from tests.aggregation.parties import Round, plain, summed, whole
from tests.commons.rounds_world import Rounds

WORDS = 2**13
ONE, TWO = StatementId("1" * 64), StatementId("2" * 64)
EVERYBODY = Survivors(frozenset({1, 2, 3, 4}), frozenset({1, 2, 3, 4}))


def test_what_a_member_sends_looks_like_noise_to_host_and_colluder() -> None:
    """The host holds the vector of seat 1, its colluder in seat 4 every seed it shares with it.

    Bits of noise are ones half of the time: 2**18 of them are beyond 6 sigma of that in one of
    500 million runs, were the seeds not fixed.
    """
    world = Round(4, words=WORDS, name="p1 noise")
    started, q = world.start(), plain(4, WORDS)
    vector = world.mask(started, q)[1]
    # Seat 1 is the lower one and added the stream they share: the colluder takes it off.
    add_streams(vector, 0, [], [started[4].pair_seeds[1]])
    ones = int(np.unpackbits(vector.view(np.uint8)).sum())
    assert abs(ones - 16 * WORDS) < 6 * (8 * WORDS) ** 0.5
    assert not np.array_equal(vector, q[1])


def test_the_sum_stays_masked_until_enough_members_reveal() -> None:
    world = Round(4, words=16, name="p1 sum")
    started, q = world.start(), plain(4, 16)
    lo, _ = summed(world.mask(started, q))
    assert not np.array_equal(lo.view(np.int32), whole(q, EVERYBODY.survivors))
    reveals, recovers, _ = world.say(started, EVERYBODY)
    two = {seat: reveals[seat] for seat in (1, 2)}
    assert world.gather(EVERYBODY, two, {}).missing == {3, 4}
    gathered = world.gather(EVERYBODY, reveals, recovers)
    total = world.unmask(EVERYBODY, gathered, lo)
    assert np.array_equal(total, whole(q, EVERYBODY.survivors))


def test_only_the_sum_comes_out_whoever_drops_or_falls_silent() -> None:
    layout = Layout((Segment("w", "real", (5,), 1, 0),))
    updates = [np.full(5, at / 8, np.float32) for at in range(6)]
    record = run_all_parties(layout, updates, dropped=frozenset({2}), silent=frozenset({5}))
    kept = np.mean([updates[at] for at in (0, 2, 3, 4, 5)], axis=0)
    assert record.mean == pytest.approx(kept, abs=1e-6)
    assert set(record.vector_roots) == {1, 3, 4, 5, 6}


def test_nobody_can_be_asked_for_both_secrets_of_a_member() -> None:
    world = Round(4, name="p1 both")
    started = world.start()
    survivors = Survivors(world.everybody, frozenset({1, 2, 3}))
    reveals, _, _ = world.say({seat: started[seat] for seat in (1, 2, 3)}, survivors)
    for seat, said in reveals.items():
        assert said.beta == started[seat].beta
        assert [shares.seat for shares in said.dropped] == [4]
    with pytest.raises(Refused) as refused:
        Survivors(frozenset({1, 2, 3}), frozenset({1, 2, 3, 4}))
    assert refused.value.rule is Rule.NOT_AS_DERIVED


def test_nothing_is_revealed_before_the_confirm_quorum() -> None:
    r = Rounds.of(5)
    while not isinstance(r.study.current, Confirming):
        r.settle_once()
    member = r.members[0]
    assert r.void(member, r.reveal(member)) is Rule.BEFORE_QUORUM
    while not r.study.results:
        r.settle_once()


def test_a_study_waits_rather_than_show_who_was_missing() -> None:
    r = Rounds.of(5, rounds_max=2)
    *others, absent = r.members
    while not r.study.results:
        r.settle_once()
    exposed = rounds.exposed_by(r.study, r.world.state, frozenset(others))
    assert exposed == {absent}
    assert not rounds.exposed_by(r.study, r.world.state, frozenset(r.members))


def test_attack_53_a_node_restored_from_a_backup_stays_out_of_what_was_open(tmp_path: Path) -> None:
    """The backup was taken before its Confirm; a second Confirm would let two sets be unmasked."""
    attempt, live, backup = Attempt(StatementId("5" * 64), 1, 1), tmp_path / "a", tmp_path / "b"
    live.mkdir()
    SqliteJournal(live).close()
    shutil.copytree(live, backup)
    journal = SqliteJournal(live)
    journal.say(b"1", statement_id=ONE, seq=0, tag="round.confirm", scope=attempt)
    journal.close()
    restored = SqliteJournal(backup)
    # What the log shows and the journal does not hold is how the node notices.
    assert not restored.holds(ONE)
    restored.mark_amnesia([attempt])
    restored.recall(ONE, seq=0, tag="round.confirm", scope=attempt, index=7)
    with pytest.raises(Refused) as refused:
        restored.say(b"2", statement_id=TWO, seq=1, tag="round.confirm", scope=attempt)
    assert refused.value.rule is Rule.AMNESIA
    later = Attempt(attempt.study, 1, 2)
    restored.say(b"3", statement_id=TWO, seq=1, tag="round.confirm", scope=later)
