"""F8: votes are open and signed; rules are not changed after the fact; nobody is expelled to win.

Attacks: an amendment that would change an open vote, an exclusion in the middle of one, a vote by a
stranger, twice, late, for another commons, by a revoked key.
"""

from __future__ import annotations

import pytest

from comity.commons.state import Done, Void
from comity.errors import Forged, Refused, Rule
from comity.statements.governing import ExcludeMotion, HostMotion, VoteCast
from comity.statements.membership import HostOffer
from comity.statements.wire import Draft, sign
from comity.values import EXIT_S_MIN, NOTICE_S_MIN, MemberId, StatementId
from tests.commons.changes import approve, revoke_body, rotate_body
from tests.commons.governed import (
    governed,
    held,
    move,
    move_charter,
    notice,
    vote,
    with_rule,
)
from tests.worlds import World, keys_of


def with_vote() -> tuple[World, StatementId]:
    """A commons of five in which a change of host is open."""
    world = governed(5)
    world.done(world.members[1], HostOffer(address="https://b.example"))
    return world, move(world, world.members[0], HostMotion(member=world.members[1]))


def test_an_amendment_changes_no_vote_that_is_open() -> None:
    world = governed()
    a, b, c, _d, _e = world.members
    harder = with_rule(world.state.charter, "swift", method="unanimity")
    amending = move_charter(world, a, harder)
    vote(world, amending, "yes")
    world.pass_time(EXIT_S_MIN - 1_000)
    world.done(b, HostOffer(address="https://b.example"))
    host = move(world, a, HostMotion(member=b))
    vote(world, host, "yes", (a, b, c))
    world.pass_time(3_600)
    assert world.state.charter == harder and held(world, host).ending == "passed"


def test_the_excluded_keeps_seat_and_ballot_in_what_is_open() -> None:
    world = governed()
    a, b, c, d, e = world.members
    given = notice(world, a, e, age_s=NOTICE_S_MIN)
    excluding = move(world, a, ExcludeMotion(member=e, notice=given))
    world.done(b, HostOffer(address="https://b.example"))
    host = move(world, a, HostMotion(member=b))
    vote(world, host, "yes", (a, b))
    vote(world, host, "no", (d, e))
    vote(world, excluding, "yes")
    approve(world, (a, b, c))
    assert e not in world.state.members
    assert e in held(world, host).electorate and held(world, host).votes[e] == "no"
    world.done(c, VoteCast(choice="abstain", proposal=host))
    assert held(world, host).ending == "rejected"


def test_every_ballot_can_be_read_by_all_with_its_author() -> None:
    world, proposal = with_vote()
    for voter in world.members[:3]:
        world.done(voter, VoteCast(choice="yes", proposal=proposal))
    said = [entry.statement for entry in world.entries if entry.statement.body.tag == "vote.cast"]
    assert [each.author for each in said] == list(world.members[:3])


def test_votes_by_strangers_and_for_another_commons_never_enter_the_log() -> None:
    world, proposal = with_vote()
    stranger = MemberId("stranger")
    body = VoteCast(choice="yes", proposal=proposal)
    with pytest.raises(Refused) as refused:
        world.append(world.envelope(stranger, body))
    assert refused.value.rule is Rule.UNKNOWN_AUTHOR
    other = governed(4)
    with pytest.raises(Refused) as refused:
        world.append(other.envelope(other.members[0], body))
    assert refused.value.rule is Rule.WRONG_COMMONS


def test_a_vote_twice_or_late_is_void() -> None:
    world, proposal = with_vote()
    a, *_ = world.members
    body = VoteCast(choice="yes", proposal=proposal)
    assert world.say(a, body) == Done()
    assert world.say(a, body) == Void(Rule.SAID_BEFORE)
    world.pass_time(3_600)
    world.pass_time(3_600)
    assert world.say(world.members[1], body) == Void(Rule.VOTE_CLOSED)


def test_a_vote_by_a_revoked_or_replaced_key_never_enters_the_log() -> None:
    world, proposal = with_vote()
    a, b, c, d, e = world.members
    body = VoteCast(choice="yes", proposal=proposal)

    def signed_with_the_old_key(member: MemberId) -> bytes:
        draft: Draft = world.draft(member, body)
        return sign(draft, keys_of(member, 0).statement)

    world.done(d, rotate_body(d))
    approve(world, (a, b, c, d))
    with pytest.raises(Forged):
        world.append(signed_with_the_old_key(d))
    assert world.say(d, body) == Done()
    world.done(a, revoke_body(world, e))
    approve(world, (a, b, c))
    with pytest.raises(Refused) as refused:
        world.append(signed_with_the_old_key(e))
    assert refused.value.rule is Rule.UNKNOWN_AUTHOR
