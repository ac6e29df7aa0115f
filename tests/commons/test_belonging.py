"""Applying, leaving, new keys and change of host: what takes effect, and every way it is void."""

from __future__ import annotations

import msgspec
import pytest

from comity.commons.belonging import open_applications
from comity.commons.epochs import document_digest, pending_document
from comity.commons.state import Done, Void
from comity.errors import Refused, Rule
from comity.statements.governing import AdmitMotion, HostMotion, Seen, proposal_of
from comity.statements.keysets import key_set_digest
from comity.statements.membership import (
    EvidenceFile,
    HostHandover,
    HostOffer,
    MemberLeave,
)
from comity.values import APPLICATION_OPEN_S, APPLICATIONS_OPEN_MAX, MemberId
from tests.commons.changes import (
    admit,
    apply_body,
    approval,
    approve,
    hand_over,
    pending,
    revoke_body,
    rotate_body,
    take_over_body,
)
from tests.worlds import World, digest, keys_of

NEW = MemberId("new-member")


def test_a_stranger_applies_is_admitted_and_speaks_once_the_epoch_is_in_force() -> None:
    world = World.of(4)
    admit(world, NEW)
    with pytest.raises(Refused) as refused:
        world.say(NEW, Seen())
    assert refused.value.rule is Rule.UNKNOWN_AUTHOR
    approve(world, world.members[:3])
    assert world.state.epoch.number == 1 and NEW in world.members
    assert world.state.quorum == 4
    assert world.say(NEW, HostOffer(address="https://new.example")) == Done()
    assert world.state.authors[NEW].seq == 1


def test_a_leaver_is_off_every_roster_at_once_and_out_with_the_epoch() -> None:
    world = World.of(5)
    a, b, c, d, e = world.members
    study = world.register(a)
    for member in world.members:
        world.enrol(member, study)
    world.done(e, MemberLeave())
    assert e not in world.study(study).enrolled and e in world.members
    assert world.say(e, MemberLeave()) == Void(Rule.SAID_BEFORE)
    assert world.say(e, HostOffer(address="x")) == Void(Rule.WRONG_PARTY)
    approve(world, (a, b, c))
    assert world.members == (a, b, c, d)
    with pytest.raises(Refused) as refused:
        world.append(world.envelope(e, Seen()))
    assert refused.value.rule is Rule.UNKNOWN_AUTHOR
    assert world.replayed() == world.state


def test_new_keys_speak_once_their_epoch_is_in_force() -> None:
    world = World.of(4)
    a, b, c, _ = world.members
    world.done(a, rotate_body(a))
    assert world.state.keys[a].serial == 0
    approve(world, (a, b, c))
    assert world.state.keys[a].serial == 1
    world.done(a, HostOffer(address="https://a.example"))


def test_new_keys_are_void_when_they_do_not_follow_or_are_not_held() -> None:
    world = World.of(4)
    a, b, *_ = world.members
    good = rotate_body(a)
    assert world.say(b, good) == Void(Rule.WRONG_PARTY)
    assert world.say(a, rotate_body(a, 2)) == Void(Rule.SERIAL_NOT_NEXT)
    other = msgspec.structs.replace(good, possession=keys_of(b).possession)
    assert world.say(a, other) == Void(Rule.POSSESSION_NOT_SHOWN)
    world.done(a, good)
    assert world.say(a, good) == Void(Rule.KEY_USED)


def test_evidence_that_proves_nothing_is_void() -> None:
    world = World.of(3)
    a, b, _ = world.members
    assert world.say(a, EvidenceFile(evidence="{}", subject=b)) == Void(Rule.NOT_PROVEN)


def test_a_planned_change_of_host_needs_offer_vote_hand_over_and_epoch() -> None:
    world = World.of(4)
    a, b, c, d = world.members
    assert world.say(a, HostHandover(member=b)) == Void(Rule.NO_SUCH_THING)
    world.done(b, HostOffer(address="https://b.example"))
    assert world.say(a, HostHandover(member=b)) == Void(Rule.NOT_DECIDED)
    hand_over(world, b)
    assert world.state.host == a
    approve(world, (b, c, d))
    assert world.state.host == b
    assert world.say(a, HostHandover(member=b)) == Void(Rule.WRONG_PARTY)


def test_a_forced_change_of_host_needs_offer_claim_and_epoch() -> None:
    world = World.of(4)
    a, b, c, d = world.members
    assert world.say(b, take_over_body(world)) == Void(Rule.NO_SUCH_THING)
    world.done(b, HostOffer(address="https://b.example"))
    elsewhere = msgspec.structs.replace(take_over_body(world), head_size=1)
    assert world.say(b, elsewhere) == Void(Rule.NOT_AS_DERIVED)
    world.done(b, take_over_body(world))
    assert world.say(a, take_over_body(world)) == Void(Rule.SAID_BEFORE)
    approve(world, (b, c, d))
    assert world.state.host == b and world.state.epoch.host_size == world.state.size


def test_keys_are_revoked_by_three_of_four() -> None:
    world = World.of(4)
    a, b, c, d = world.members
    world.done(a, revoke_body(world, d))
    approve(world, (a, b, c))
    assert world.members == (a, b, c)


def test_an_approval_names_the_next_epoch_and_a_pending_document() -> None:
    world = World.of(4)
    a = world.members[0]
    assert pending_document(world.state) is None
    world.done(a, rotate_body(a))
    assert world.say(a, approval(world, digest("other"))) == Void(Rule.NOT_AS_DERIVED)
    world.done(a, approval(world))
    assert world.say(a, approval(world)) == Void(Rule.SAID_BEFORE)
    document = pending_document(world.state)
    assert document is not None and document_digest(document) == pending(world)
    assert document.epoch == 1 and document.prev == world.state.epoch.digest


def test_motions_about_members_and_host_need_their_subject() -> None:
    world = World.of(3)
    a, b, _ = world.members
    motion = AdmitMotion(keys=digest("keys"), member=NEW)
    assert world.say(a, proposal_of(motion)) == Void(Rule.NO_SUCH_THING)
    world.say(NEW, apply_body(NEW))
    assert world.say(a, proposal_of(motion)) == Void(Rule.NO_SUCH_THING)
    assert world.say(a, proposal_of(HostMotion(member=b))) == Void(Rule.NO_SUCH_THING)


def test_open_applications_are_bounded_and_close_by_themselves() -> None:
    world = World.of(3)
    for number in range(APPLICATIONS_OPEN_MAX):
        world.say(MemberId(f"stranger-{number}"), apply_body(MemberId(f"stranger-{number}")))
    with pytest.raises(Refused) as refused:
        world.say(NEW, apply_body(NEW))
    assert refused.value.rule is Rule.TOO_MANY
    world.pass_time(APPLICATION_OPEN_S)
    assert open_applications(world.state) == ()
    assert world.say(NEW, apply_body(NEW)) == Done()
    stale = MemberId("stranger-0")
    motion = AdmitMotion(keys=key_set_digest(keys_of(stale).key_set), member=stale)
    assert world.say(world.members[0], proposal_of(motion)) == Void(Rule.VOTE_CLOSED)
