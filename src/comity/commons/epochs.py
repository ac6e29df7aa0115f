"""Epochs: which documents may follow from what is pending, and when one is in force.

An epoch document says who the members are, with which public keys, and who hosts. It is derived,
never said: from the epoch in force, from all that is settled (admissions decided by a vote, leaves,
a hand-over) and from at most one claim (new keys, a revocation, a take-over), so that nobody's
single word stands in the way of what the others decide. It is in force at the entry at which its
approvals reach the rule of `approved`. Source: log-and-provenance.md 3.4, architecture.md 1.4.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, final

from msgspec import Meta, Struct

from comity.commons.charter import Charter, charter_bytes, default_quorum
from comity.commons.state import Changes, Claim, Epoch, Pending, State
from comity.log.heads import origin_of
from comity.statements.fields import (
    CommonsIdField,
    Count,
    DigestField,
    MemberField,
    Positive,
    TextField,
)
from comity.statements.governing import KeySet, PublicKeys
from comity.statements.membership import HostTakeover, KeysRevoke, KeysRotate
from comity.statements.wire import canonical
from comity.values import MEMBERS_MAX, NOTHING, Digest, MemberId, sha256


@final
class EpochMember(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A member of an epoch, its public keys, and how often it has changed them."""

    id: MemberField
    keys: PublicKeys
    serial: Count = 0


@final
class EpochDocument(Struct, frozen=True, forbid_unknown_fields=True):
    """Who may cosign and sign from which document on. prev: digest of the one before, or of the
    charter for epoch 0. members: in the order of their ids."""

    commons: CommonsIdField
    epoch: Count
    host: MemberField
    members: Annotated[tuple[EpochMember, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]
    origin: TextField
    prev: DigestField
    protocol: Count
    quorum: Positive


def founding_epoch(charter: Charter) -> Epoch:
    """Epoch 0 before anybody entered: the founders are its members, their keys not shown yet."""
    return Epoch(
        number=0,
        digest=NOTHING,
        prev=sha256(charter_bytes(charter)),
        size=0,
        host=charter.host,
        host_size=0,
        members=tuple(founder.id for founder in charter.founders),
        quorum=charter.quorum,
        keys={},
    )


def founding_epoch_with(state: State, member: MemberId, key_set: KeySet) -> Epoch:
    """Epoch 0 once this founder has entered too; it has its digest when all have."""
    epoch = replace(state.epoch, keys={**state.epoch.keys, member: key_set})
    if len(epoch.keys) < len(epoch.members):
        return epoch
    return replace(epoch, digest=document_digest(document_of(state, epoch)))


def document_of(state: State, epoch: Epoch) -> EpochDocument:
    """The document of an epoch of this commons; every member of it has its keys."""
    return EpochDocument(
        commons=state.commons,
        epoch=epoch.number,
        host=epoch.host,
        members=tuple(
            EpochMember(m, epoch.keys[m].keys, epoch.keys[m].serial) for m in epoch.members
        ),
        origin=origin_of(state.commons, state.charter.origin_prefix),
        prev=epoch.prev,
        protocol=state.charter.protocol,
        quorum=epoch.quorum,
    )


def document_digest(document: EpochDocument) -> Digest:
    """SHA-256 of the document's canonical JSON: what epoch.approve names."""
    return sha256(canonical(document))


def quorum_of(charter: Charter, count: int) -> int:
    """The cosigning quorum of an epoch of `count` members, from 1.

    The default of so many when the charter's is the default of its founders; else the charter's,
    within more than half and all of them.
    """
    if charter.quorum == default_quorum(len(charter.founders)):
        return default_quorum(count)
    return min(count, max(charter.quorum, count // 2 + 1))


def approved(before: Epoch, after: Epoch, approvers: Collection[MemberId]) -> bool:
    """Whether these approvals put `after` in force after `before`.

    At least floor(2n'/3) + 1 of the n' members that stay, and more than half of all n of the epoch
    before: so 1 of 2 never removes the other, 3 of 4 can remove one, 3 of 6 cannot remove 3. Two
    documents that follow one epoch share an approver. Source: log-and-provenance.md 3.4.
    """
    members = frozenset(before.members)
    staying = members & frozenset(after.members)
    here = members & frozenset(approvers)
    return len(here & staying) >= default_quorum(len(staying)) and 2 * len(here) > len(members)


def pending_documents(state: State) -> tuple[EpochDocument, ...]:
    """Every document that members may approve now, the settled one first."""
    return tuple(document_of(state, pending.epoch) for pending in state.changes.pending)


def pending_document(state: State) -> EpochDocument | None:
    """The document of what was asked for last; None when nothing is pending."""
    documents = pending_documents(state)
    return documents[-1] if documents else None


def pending_named(state: State, digest: Digest) -> Pending | None:
    """What is pending with a document of this digest."""
    return next((p for p in state.changes.pending if p.epoch.digest == digest), None)


def with_pending(state: State) -> State:
    """The state with everything derived again that may follow its epoch."""
    claims = tuple(claim for claim in state.changes.claims if stands(state, claim))
    changes = replace(state.changes, claims=claims)
    state = replace(state, changes=changes)
    found = [_following(state, claim) for claim in (None, *claims)]
    return replace(state, changes=replace(changes, pending=tuple(p for p in found if p)))


def with_claim(state: State, claim: Claim) -> State:
    """The state in which a member asks for something, instead of its last claim of the kind."""
    changes = state.changes
    others = tuple(each for each in changes.claims if not _replaces(claim, each))
    pending = tuple(p for p in changes.pending if p.claim is None or not _replaces(claim, p.claim))
    following = _following(state, claim)
    changes = replace(
        changes,
        claims=(*others, claim),
        pending=(*pending, following) if following is not None else pending,
    )
    return replace(state, changes=changes)


def stands(state: State, claim: Claim) -> bool:
    """Whether the claim still asks for something that is not so."""
    epoch, body = state.epoch, claim.body
    if claim.author not in epoch.keys or claim.author in state.changes.going:
        return False
    match body:
        case KeysRotate():
            return body.key_set.serial == epoch.keys[claim.author].serial + 1
        case KeysRevoke():
            held = epoch.keys.get(body.member)
            return held is not None and key_set_name(held) == body.keys
        case _:
            return claim.index >= epoch.host_size and claim.author != epoch.host


@lru_cache(maxsize=1024)
def key_set_name(key_set: KeySet) -> Digest:
    """`keysets.key_set_digest`, remembered."""
    return sha256(canonical(key_set))


def _replaces(claim: Claim, other: Claim) -> bool:
    return claim.author == other.author and type(claim.body) is type(other.body)


def _following(state: State, claim: Claim | None) -> Pending | None:
    """The epoch that all that is settled and this claim give; None when that is no change."""
    before, changes = state.epoch, state.changes
    settled = _settled(before, changes)
    after = settled if claim is None else _claimed(settled, changes, claim)
    if after is None or _same(after, before if claim is None else settled):
        return None
    after = replace(
        after,
        number=before.number + 1,
        prev=before.digest,
        host_size=before.host_size if after.host == before.host else 0,
        members=tuple(sorted(after.keys)),
        quorum=quorum_of(state.charter, len(after.keys)),
        size=0,
    )
    digest = document_digest(document_of(state, after))
    return Pending(replace(after, digest=digest), claim)


def _settled(before: Epoch, changes: Changes) -> Epoch:
    host = changes.handover if changes.handover in before.keys else before.host
    keys = _without(before.keys, changes.going - {host})
    for applicant in changes.admitted:
        if len(keys) < MEMBERS_MAX:
            keys[applicant] = changes.applications[applicant].key_set
    return replace(before, host=host or before.host, keys=keys)


def _claimed(settled: Epoch, changes: Changes, claim: Claim) -> Epoch | None:
    body, author = claim.body, claim.author
    match body:
        case KeysRotate():
            return replace(settled, keys={**settled.keys, author: body.key_set})
        case HostTakeover():
            # A host that goes stayed in the epoch only because nobody else hosted.
            keys = _without(settled.keys, changes.going - {author})
            return replace(settled, host=author, keys=keys)
        case _:
            if body.member == settled.host:
                return None  # somebody else must host first
            return replace(settled, keys=_without(settled.keys, frozenset((body.member,))))


def _without(keys: Mapping[MemberId, KeySet], gone: frozenset[MemberId]) -> dict[MemberId, KeySet]:
    return {member: key_set for member, key_set in keys.items() if member not in gone}


def _same(one: Epoch, other: Epoch) -> bool:
    return one.host == other.host and one.keys == other.keys
