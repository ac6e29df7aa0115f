"""P3. Nobody shows two histories: one append-only log, cosigned heads, evidence of any fork.

That members also tell one another, with real processes: test_members_tell_each_other.py.
The numbered attacks are in tests/log, tests/host and tests/storage.
"""

from __future__ import annotations

import pytest

from comity.commons.charter import default_quorum
from comity.commons.fold import admit
from comity.errors import Forged, HostFault, HostFaultKind, Refused, Rule
from comity.log.evidence import check_host_fork
from comity.log.heads import final_members, is_final
from comity.log.merkle import Tree, leaf_hash
from comity.log.view import View
from comity.statements.governing import Seen
from comity.values import DAY_S, MEMBERS_MAX, SEEN_INTERVAL_S
from tests.log.world import (
    HOST,
    KEYS,
    MEMBERS,
    ORIGIN,
    QUORUM,
    cosigned_by,
    entries_of,
    head_of,
    key_of,
    public_of,
    signed_of,
)
from tests.worlds import World

LOG = entries_of(12)


def reader_of(size: int) -> View:
    view = View(ORIGIN)
    view.advance(signed_of(LOG[:size]), LOG[:size], HOST)
    return view


def test_a_reader_that_is_shown_another_history_holds_evidence_for_anybody() -> None:
    view = reader_of(7)
    view.advance(signed_of(LOG), LOG[7:], HOST)
    with pytest.raises(HostFault) as fault:
        view.advance(signed_of(entries_of(5, "other")), [], HOST)
    assert fault.value.kind is HostFaultKind.SPLIT_VIEW
    # A stranger needs nothing but the host's key; with another key it is no evidence.
    small, large = check_host_fork(fault.value.evidence, HOST)
    assert (small.size, large.size) == (5, 12)
    with pytest.raises(Forged):
        check_host_fork(fault.value.evidence, public_of(key_of(8)))


def test_history_is_neither_cut_nor_changed() -> None:
    view = reader_of(7)
    with pytest.raises(HostFault) as fault:
        view.advance(signed_of(LOG[:5]), [], HOST)
    assert fault.value.kind is HostFaultKind.ROLLBACK
    with pytest.raises(Forged):
        view.advance(signed_of(LOG), [b"changed", *LOG[8:]], HOST)
    view.advance(signed_of(LOG), LOG[7:], HOST)


def test_two_final_heads_of_one_size_need_a_member_that_signed_both() -> None:
    ours, theirs = head_of(LOG), head_of(entries_of(12, "other"))
    mine, other = cosigned_by(ours, *MEMBERS[:QUORUM]), cosigned_by(theirs, *MEMBERS[-QUORUM:])
    assert is_final(ours, mine, KEYS, QUORUM) and is_final(theirs, other, KEYS, QUORUM)
    both = final_members(ours, mine, KEYS) & final_members(theirs, other, KEYS)
    assert len(both) >= 2 * QUORUM - len(MEMBERS) > 0
    assert all(2 * default_quorum(n) - n >= 1 for n in range(2, MEMBERS_MAX + 1))


def test_a_statement_fits_one_history_only() -> None:
    world = World.of(4)
    world.now_s += SEEN_INTERVAL_S
    envelope = world.envelope(world.members[1], Seen())
    forked = Tree([*map(leaf_hash, world.log[:-1]), leaf_hash(b"something else")])
    with pytest.raises(Refused) as refused:
        admit(world.state, forked, envelope)
    assert refused.value.rule is Rule.HEAD_UNKNOWN
    world.append(envelope)


@pytest.mark.parametrize("wrong_s", [-10 * DAY_S, 3_600, 10 * DAY_S])
def test_attack_47_a_wrong_clock_moves_nobody_elses_time(wrong_s: int) -> None:
    world = World.of(5)
    liar, *others = world.members
    before_s = world.state.commons_time_s
    world.say(liar, Seen(), world.now_s + wrong_s)
    assert world.state.commons_time_s == before_s
    world.pass_time(SEEN_INTERVAL_S, seen=tuple(others))
    assert world.state.commons_time_s == world.now_s
