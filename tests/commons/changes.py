"""What members say about belonging, for tests: bodies with real keys, and epochs in force."""

from __future__ import annotations

from collections.abc import Iterable

from comity.commons.epochs import document_digest, pending_document
from comity.commons.state import Done
from comity.statements.governing import AdmitMotion, HostMotion, Motion, VoteCast, proposal_of
from comity.statements.keysets import key_set_digest
from comity.statements.membership import (
    EpochApprove,
    HostHandover,
    HostOffer,
    HostTakeover,
    KeysRevoke,
    KeysRotate,
    MemberApply,
)
from comity.values import Digest, MemberId
from tests.worlds import World, keys_of


def apply_body(member: MemberId) -> MemberApply:
    """The member.apply of a stranger of this name."""
    keys = keys_of(member)
    return MemberApply(key_set=keys.key_set, possession=keys.possession)


def rotate_body(member: MemberId, serial: int = 1) -> KeysRotate:
    """New keys of this serial."""
    keys = keys_of(member, serial)
    return KeysRotate(key_set=keys.key_set, possession=keys.possession)


def revoke_body(world: World, member: MemberId) -> KeysRevoke:
    """The keys in force of this member are in wrong hands."""
    name = key_set_digest(world.state.keys[member])
    return KeysRevoke(keys=name, member=member, reason="a key file was copied")


def take_over_body(world: World, address: str = "https://new.example") -> HostTakeover:
    """On top of the head that `World.say` lets the statement name."""
    return HostTakeover(address=address, head_root=world.tree.root(), head_size=world.tree.size)


def pending(world: World) -> Digest:
    """The document of what was asked for last."""
    document = pending_document(world.state)
    assert document is not None
    return document_digest(document)


def approval(world: World, document: Digest | None = None) -> EpochApprove:
    """Of this document, or what was asked for last, as the next epoch."""
    return EpochApprove(document=document or pending(world), epoch=world.state.epoch.number + 1)


def approve(world: World, members: Iterable[MemberId], document: Digest | None = None) -> None:
    """These members approve one after the other; each approval takes effect."""
    body = approval(world, document)
    for member in members:
        assert world.say(member, body) == Done()


def decide(world: World, motion: Motion) -> None:
    """The first member proposes it, and all say yes until it is decided."""
    proposer = world.state.present[0]
    world.done(proposer, proposal_of(motion))
    proposal = world.last_id
    for member in world.state.present:
        if world.state.proposals[proposal].decided is None:
            world.done(member, VoteCast(choice="yes", proposal=proposal))
    assert world.state.proposals[proposal].decided


def admit(world: World, member: MemberId) -> None:
    """The stranger applies and a vote admits it; no epoch yet."""
    assert world.say(member, apply_body(member)) == Done()
    decide(world, AdmitMotion(keys=key_set_digest(keys_of(member).key_set), member=member))


def hand_over(world: World, member: MemberId) -> None:
    """The member offers, a vote decides, the host hands over; no epoch yet."""
    world.say(member, HostOffer(address=f"https://{member}.example"))
    decide(world, HostMotion(member=member))
    world.done(world.state.host, HostHandover(member=member))
