"""What arrives after the quorum, and when several entries may be told together."""

from __future__ import annotations

from comity.commons.attempts import Ended, Joining
from comity.commons.duties import may_owe_more
from comity.errors import Rule
from comity.values import MemberId
from tests.commons.round_phases import stopped_in
from tests.commons.rounds_world import Rounds


def late_and_early(r: Rounds) -> tuple[MemberId, MemberId]:
    last = r.study.ended[-1]
    assert isinstance(last, Ended)
    seats = {r.seat(member): member for member in r.members}
    early = next(seats[seat] for seat in sorted(last.accepted))
    late = next(member for seat, member in seats.items() if seat not in last.accepted)
    return late, early


def test_an_accept_after_the_quorum_counts_once_when_it_agrees() -> None:
    """Otherwise every honest member that is a moment late gathers void entries each round."""
    r = stopped_in("accepted")
    late, early = late_and_early(r)
    assert r.void(late, r.accept("another")) is Rule.NOT_AS_DERIVED
    assert r.void(early, r.accept()) is Rule.SAID_BEFORE
    results = r.study.results
    r.done(late, r.accept())
    assert r.study.results == results
    assert r.void(late, r.accept()) is Rule.SAID_BEFORE


def test_one_more_of_several_makes_nobody_owe_more() -> None:
    r = Rounds.of(5)
    before = r.world.state
    r.done(r.host, r.open())
    assert may_owe_more(before, r.world.state), "everybody owes a Join now"
    *most, last = r.members
    for member in most:
        before = r.world.state
        r.done(member, r.join(member))
        assert isinstance(r.attempt, Joining)
        assert not may_owe_more(before, r.world.state)
    before = r.world.state
    r.done(last, r.join(last))
    assert may_owe_more(before, r.world.state), "joining is closed: everybody is to be ready"


def test_founding_studies_votes_and_time_are_told_at_once() -> None:
    r = Rounds.of(5)
    world = r.world
    before = world.state
    world.register(r.members[1])
    assert may_owe_more(before, world.state)
    before = world.state
    world.pass_time(90_000)  # every member says `seen`
    assert not may_owe_more(before, world.state), "a clock alone, as long as no phase closes"
