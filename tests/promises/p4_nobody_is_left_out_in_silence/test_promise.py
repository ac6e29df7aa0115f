"""P4. Nobody is left out in silence: not from a roster, not from a sum, not from the log.

Handing a refused statement in through another member is in test_withheld_statements.py; exclusion
with notice, reasons and a vote in tests/promises/floor/test_f5_notice.py. The other numbered
attacks are in tests/commons and tests/host.
"""

from __future__ import annotations

import msgspec
import pytest

from comity.commons.attempts import Closing, Starting
from comity.commons.state import Void
from comity.commons.waiting import waiting_for
from comity.errors import Refused, Rule
from comity.statements.governing import Seen
from comity.values import SEEN_INTERVAL_S, Seat, pack_bits
from tests.commons.rounds_world import Rounds
from tests.worlds import World, digest


def test_the_host_cannot_pick_a_roster() -> None:
    r = Rounds.of(5)
    honest = r.open()
    for changes in ({"roster_count": 4}, {"roster": digest("without one")}):
        assert r.void(r.host, msgspec.structs.replace(honest, **changes)) is Rule.NOT_AS_DERIVED
    r.done(r.host, honest)
    assert r.opened.roster == r.members


def test_the_host_cannot_start_without_a_member_that_is_ready() -> None:
    r = Rounds.of(5)
    while not isinstance(r.study.current, Starting):
        r.settle_once()
    honest, four = r.start(), frozenset(Seat(seat) for seat in (1, 2, 3, 4))
    without = msgspec.structs.replace(honest, participants=pack_bits(four, 5))
    assert r.void(r.host, without) is Rule.NOT_AS_DERIVED
    r.done(r.host, honest)


def test_an_update_that_was_received_cannot_be_dropped() -> None:
    """The entry is the receipt: what is logged is in the sum, or there is no Close."""
    r = Rounds.of(5)
    while not isinstance(r.study.current, Closing):
        r.settle_once()
    honest, four = r.close(), frozenset(Seat(seat) for seat in (1, 2, 3, 4))
    without = msgspec.structs.replace(honest, survivors=pack_bits(four, 5))
    assert r.void(r.host, without) is Rule.NOT_AS_DERIVED
    r.done(r.host, honest)


def test_a_statement_that_was_lost_leaves_a_gap_that_shows() -> None:
    world = World.of(4)
    member = world.members[1]
    world.now_s += SEEN_INTERVAL_S
    lost = world.envelope(member, Seen())
    later = World.of(4)
    later.now_s = world.now_s
    later.append(lost)
    later.now_s += SEEN_INTERVAL_S
    after = later.envelope(member, Seen())
    with pytest.raises(Refused) as refused:
        world.append(after)
    assert refused.value.rule is Rule.CHAIN_BROKEN
    world.append(lost)


def test_a_statement_without_effect_stays_in_the_log_with_its_reason() -> None:
    world = World.of(4)
    size = world.tree.size
    assert world.say(world.members[2], Seen()) == Void(Rule.TOO_SOON)
    assert world.tree.size == size + 1


def test_everybody_sees_whom_a_study_waits_for() -> None:
    r = Rounds.of(4)
    r.done(r.host, r.open())
    for member in r.members[:3]:
        r.done(member, r.join(member))
    waiting = waiting_for(r.world.state, r.study)
    assert waiting is not None
    assert (waiting.members, waiting.reason) == (r.members[3:], "to join")
