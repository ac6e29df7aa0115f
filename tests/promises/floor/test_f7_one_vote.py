"""F7: one affiliation, one vote; hosting gives no vote and no sight more.

Attack: an institution founds with many seats, or hosts, and counts more than the others.
"""

from __future__ import annotations

import msgspec

from comity.commons.state import Done, Void
from comity.errors import Rule
from comity.statements.governing import HostMotion, VoteCast
from comity.statements.membership import HostOffer, MemberLeave
from tests.commons.governed import governed, held, move, vote
from tests.worlds import World, charter_of


def with_one_trust(count: int) -> World:
    """Members a, b and c are of one trust."""
    founders = tuple(
        msgspec.structs.replace(founder, affiliation="The trust" if at < 3 else "")
        for at, founder in enumerate(charter_of(count).founders)
    )
    world = governed(count, founders=founders)
    world.done(world.members[1], HostOffer(address="https://b.example"))
    return world


def test_three_seats_of_one_trust_have_one_vote() -> None:
    world = with_one_trust(5)
    a, b, _c, d, e = world.members
    proposal = move(world, b, HostMotion(member=b))
    assert set(held(world, proposal).groups) == {a, d, e}
    assert world.say(b, VoteCast(choice="yes", proposal=proposal)) == Void(Rule.WRONG_PARTY)
    vote(world, proposal, "yes", (a,))
    vote(world, proposal, "no", (d, e))
    assert held(world, proposal).ending == "rejected"


def test_when_the_one_that_votes_leaves_the_next_one_does() -> None:
    world = with_one_trust(6)
    a, b, *_ = world.members
    before = move(world, b, HostMotion(member=b))
    world.done(a, MemberLeave())
    # The older seat voted on what was open; from the next proposal on it is another one.
    assert b not in held(world, before).groups
    for _ in range(2):
        world.pass_time(3_600)
    assert held(world, before).ending == "lapsed"
    after = move(world, b, HostMotion(member=b))
    assert b in held(world, after).groups


def test_hosting_gives_no_vote_more() -> None:
    world = governed()
    host = world.state.host
    world.done(world.members[1], HostOffer(address="https://b.example"))
    proposal = move(world, host, HostMotion(member=world.members[1]))
    assert len(held(world, proposal).groups) == 5
    assert world.say(host, VoteCast(choice="yes", proposal=proposal)) == Done()
    again = VoteCast(choice="yes", proposal=proposal, reason="as host")
    assert world.say(host, again) == Void(Rule.SAID_BEFORE)
