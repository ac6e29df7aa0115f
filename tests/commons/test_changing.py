"""Changes under way: what members owe, rounds that go on under another host, keys, evidence.

Attacks 14 to 17 of the log: stolen keys end with an epoch, and no key counts twice.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from comity.commons import fold, owed
from comity.commons.duties import duties, something_waits
from comity.commons.epochs import pending_documents
from comity.commons.state import Author, Done, Void
from comity.errors import Forged, Refused, Rule
from comity.statements.governing import AdmitMotion, HostMotion, Seen, VoteCast, proposal_of
from comity.statements.keysets import key_set_digest, make_possession
from comity.statements.membership import (
    HostHandover,
    HostOffer,
    KeysRotate,
    MemberApply,
    MemberLeave,
)
from comity.statements.studies import ConsentRefuse
from comity.values import MEMBERS_MAX, MemberId
from tests.commons.changes import (
    admit,
    apply_body,
    approve,
    hand_over,
    pending,
    revoke_body,
    rotate_body,
    take_over_body,
)
from tests.commons.rounds_world import Rounds
from tests.worlds import World, keys_of

NEW = MemberId("new-member")


def owes(world: World, member: MemberId, final_size: int | None = None) -> list[type[owed.Duty]]:
    size = world.state.size if final_size is None else final_size
    return [type(duty) for duty in duties(world.state, member, size, world.now_s)]


# duties


def test_what_is_settled_a_node_approves_by_itself_once() -> None:
    world = World.of(4)
    a, b, c, d = world.members
    world.done(d, MemberLeave())
    for member in (a, b, c, d):
        assert owes(world, member) == [owed.SayApprove]
    approve(world, (a, b))
    assert owes(world, a) == [] and owes(world, c) == [owed.SayApprove]
    approve(world, (c,))
    assert owes(world, a) == [] and owes(world, d) == []


def test_what_rests_on_one_word_is_asked_of_people_for_a_while() -> None:
    world = World.of(4)
    a, _, _, d = world.members
    world.done(d, rotate_body(d))
    world.done(a, revoke_body(world, d))
    assert owes(world, a) == [owed.AskApprove, owed.AskApprove]
    assert owes(world, d) == [owed.AskApprove], "nobody is asked to approve its own removal"
    world.pass_time(world.charter.vote_open_s)
    assert owes(world, a) == []
    approve(world, world.members[:3], pending(world))  # it may be approved all the same
    assert world.state.epoch.number == 1


def test_nobody_acts_under_an_epoch_that_is_not_final() -> None:
    """The new, and who has new keys, say nothing; a new host opens nothing (architecture 1.5)."""
    world = World.of(4)
    a, b, c, d = world.members
    study = world.register(a)
    for member in world.members:
        world.enrol(member, study)
    admit(world, NEW)
    before = world.state.size
    approve(world, (a, b, c))
    assert something_waits(world.state, before) and not something_waits(
        world.state, world.state.size
    )
    assert owes(world, NEW, before) == [] and owes(world, NEW) == [owed.AskConsent]
    world.done(NEW, ConsentRefuse(study=study))
    hand_over(world, b)
    before = world.state.size
    approve(world, (a, b, c, d))
    assert owed.SayOpen not in owes(world, b, before) and owed.SayOpen in owes(world, b)
    assert owed.SayOpen not in owes(world, a)
    world.done(c, rotate_body(c))
    before = world.state.size
    approve(world, (a, b, c, d))
    assert owes(world, c, before) == []
    world.done(d, MemberLeave())
    assert owes(world, a, before) == [], "no epoch is approved under one that is not final"


def test_a_leaver_is_asked_nothing_more() -> None:
    world = World.of(5)
    a, *_, e = world.members
    study = world.register(a)
    assert owes(world, e) == [owed.AskConsent]
    world.done(e, MemberLeave())
    assert owes(world, e) == [owed.SayApprove]
    assert world.say(e, proposal_of(HostMotion(member=a))) == Void(Rule.WRONG_PARTY)
    assert e not in world.study(study).enrolled


# leaving


def test_a_leaver_votes_no_more_and_holds_up_no_vote() -> None:
    world = World.of(5)
    a, b, c, d, e = world.members
    world.done(b, HostOffer(address="https://b.example"))
    world.done(a, proposal_of(HostMotion(member=b)))
    proposal = world.last_id
    world.done(e, VoteCast(choice="no", proposal=proposal))
    for member in (a, b):
        world.done(member, VoteCast(choice="yes", proposal=proposal))
    world.done(e, MemberLeave())
    held = world.state.proposals[proposal]
    assert held.electorate == {a, b, c, d} and held.votes.keys() == {a, b}
    world.done(d, MemberLeave())
    assert world.state.proposals[proposal].decided, "two of the three that are left"
    assert world.replayed() == world.state


def test_a_host_that_leaves_hosts_until_another_does() -> None:
    world = World.of(5)
    a, b, c, d, e = world.members
    world.done(a, MemberLeave())
    assert pending_documents(world.state) == ()
    world.done(b, HostOffer(address="https://b.example"))
    world.done(b, take_over_body(world))
    approve(world, (b, c, e))
    assert world.members == (b, c, d, e) and world.state.host == b


def test_commons_time_is_that_of_who_is_present() -> None:
    world = World.of(3)
    a, b, c = world.members
    start_s = world.state.commons_time_s
    world.now_s += 7_200
    world.say(b, Seen())
    assert world.state.commons_time_s == start_s, "the lower of the three"
    world.say(a, MemberLeave(), start_s)
    assert world.state.commons_time_s == start_s, "the lower of the two that are present"
    world.say(c, MemberLeave(), start_s)
    assert world.state.commons_time_s == start_s + 7_200
    world.done(b, MemberLeave())
    assert world.replayed() == world.state


# keys


def test_attack_17_no_public_key_stands_twice_in_a_commons_for_ever() -> None:
    world = World.of(4)
    a, b, c, d = world.members
    world.done(a, rotate_body(a))
    approve(world, (b, c, d))
    retired, mine = keys_of(a), keys_of(b, 1)
    for role in ("statement", "head", "host"):
        for taken in (retired.statement, keys_of(c).head, keys_of(b).host):
            parts = {r: getattr(mine, r) for r in ("statement", "head", "host", "model")}
            parts[role] = taken
            public = msgspec.structs.replace(
                mine.key_set.keys, **{role: taken.public_key().public_bytes_raw()}
            )
            key_set = msgspec.structs.replace(mine.key_set, keys=public)
            body = KeysRotate(key_set=key_set, possession=make_possession(key_set, **parts))
            assert world.say(b, body) == Void(Rule.KEY_USED)
    again = msgspec.structs.replace(keys_of(a).key_set, member=NEW)
    body_of_thief = MemberApply(key_set=again, possession=keys_of(a).possession)
    with pytest.raises(Refused) as refused:
        world.say(NEW, body_of_thief)
    assert refused.value.rule is Rule.KEY_USED


def test_attack_14_a_stolen_statement_key_says_nothing_after_the_epoch() -> None:
    world = World.of(4)
    a, b, c, d = world.members
    said_by_thief = world.envelope(d, HostOffer(address="https://thief.example"))
    world.done(d, rotate_body(d))
    approve(world, (a, b, c))
    thief = keys_of(d).statement
    assert world.keys(d).statement != thief
    with pytest.raises((Refused, Forged)):
        world.append(said_by_thief)
    world.done(d, HostOffer(address="https://d.example"))


def test_attack_16_who_lost_all_keys_is_taken_out_and_comes_back_under_another_id() -> None:
    world = World.of(4)
    a, b, c, d = world.members
    lost = revoke_body(world, d)
    world.done(b, lost)
    assert world.say(a, lost) == Void(Rule.SAID_BEFORE)
    approve(world, (a, b, c))
    assert world.say(a, lost) == Void(Rule.NO_SUCH_THING)
    with pytest.raises(Refused) as refused:
        world.append(world.envelope(d, apply_body(d)))
    assert refused.value.rule is Rule.UNKNOWN_AUTHOR
    admit(world, NEW)
    approve(world, (a, b, c))
    assert world.members == (a, b, c, NEW)


@pytest.mark.parametrize(
    ("bent", "rule"),
    [
        ({"member": MemberId("another")}, Rule.WRONG_PARTY),
        ({"serial": 1}, Rule.SERIAL_NOT_NEXT),
    ],
)
def test_a_strangers_application_is_judged_before_it_enters(
    bent: dict[str, object], rule: Rule
) -> None:
    world = World.empty(World.of(3).charter)
    with pytest.raises(Refused) as refused:
        world.say(NEW, apply_body(NEW))
    assert refused.value.rule is Rule.NOT_FOUNDED
    world = World.of(3)
    key_set = msgspec.structs.replace(keys_of(NEW).key_set, **bent)
    body = MemberApply(key_set=key_set, possession=keys_of(NEW).possession)
    with pytest.raises(Refused) as refused:
        world.say(NEW, body)
    assert refused.value.rule is rule
    stolen = MemberApply(
        key_set=keys_of(NEW).key_set, possession=keys_of(world.members[0]).possession
    )
    with pytest.raises(Forged):
        world.say(NEW, stolen)
    assert world.say(NEW, apply_body(NEW)) == Done()
    with pytest.raises(Refused) as refused:
        world.say(NEW, apply_body(NEW))
    assert refused.value.rule is Rule.ID_TAKEN
    # A member has what it asks for: void, whatever keys it brings.
    assert world.say(world.members[0], apply_body(NEW)) == Void(Rule.ID_TAKEN)
    assert world.say(world.members[0], stolen) == Void(Rule.ID_TAKEN)


def test_an_admission_names_the_keys_applied_with_and_is_moved_once() -> None:
    world = World.of(3)
    a, *_ = world.members
    admit(world, NEW)
    again = AdmitMotion(keys=key_set_digest(keys_of(NEW).key_set), member=NEW)
    assert world.say(a, proposal_of(again)) == Void(Rule.SAID_BEFORE)
    approve(world, world.members)
    assert world.say(a, proposal_of(again)) == Void(Rule.SAID_BEFORE)
    other = MemberId("other")
    world.say(other, apply_body(other))
    full = tuple(MemberId(f"m-{n}") for n in range(MEMBERS_MAX - len(world.members)))
    world.bend(changes=replace(world.state.changes, admitted=full))
    motion = AdmitMotion(keys=key_set_digest(keys_of(other).key_set), member=other)
    assert world.say(a, proposal_of(motion)) == Void(Rule.TOO_MANY)


# hosts


def test_a_round_goes_on_under_another_host() -> None:
    r = Rounds.of(4, rounds_max=1)
    world = r.world
    a, b, c, d = r.members
    r.done(a, r.open())
    for member in r.members:
        r.done(member, r.join(member))
    hand_over(world, b)
    approve(world, (b, c, d))
    r.settle(*r.members)
    assert r.study.finished and world.state.host == b
    assert world.replayed() == world.state


def test_what_the_former_host_said_before_it_knew_takes_effect() -> None:
    """Under a new host its round.open arrives late; it names a head at which it was host."""
    r = Rounds.of(4, rounds_max=1)
    world = r.world
    a, b, c, d = r.members
    size, root = world.tree.size, world.tree.root()
    hand_over_silently(world, b)
    approve(world, (b, c, d))
    knows = fold.check(replace(world.state, authors=with_head(world, a)), a, r.open(), world.now_s)
    assert knows is Rule.WRONG_PARTY
    late = world.envelope(a, r.open(), head_size=size, head_root=root)
    assert world.append(late) == Done()


def hand_over_silently(world: World, member: MemberId) -> None:
    """A take-over: the former host says nothing, so it still names its old head."""
    world.done(member, HostOffer(address="https://next.example"))
    world.done(member, take_over_body(world))


def with_head(world: World, member: MemberId) -> dict[MemberId, Author]:
    """As if the member's newest statement had named the newest head."""
    author = replace(world.state.authors[member], head_size=world.state.size)
    return {**world.state.authors, member: author}


def test_an_offer_is_said_once_and_a_hand_over_needs_a_new_decision() -> None:
    world = World.of(4)
    a, b, c, d = world.members
    offer = HostOffer(address="https://b.example")
    world.done(b, offer)
    assert world.say(b, offer) == Void(Rule.SAID_BEFORE)
    hand_over(world, b)
    assert world.say(a, HostHandover(member=b)) == Void(Rule.SAID_BEFORE)
    assert world.say(a, proposal_of(HostMotion(member=b))) == Void(Rule.SAID_BEFORE)
    approve(world, (b, c, d))
    assert world.say(a, proposal_of(HostMotion(member=b))) == Void(Rule.SAID_BEFORE)
    hand_over(world, a)
    approve(world, (b, c, d))
    assert world.state.host == a
    assert world.say(a, HostHandover(member=b)) == Void(Rule.NOT_DECIDED), "that yes is used up"
