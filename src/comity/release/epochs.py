"""Who the members are and with which keys: from the charter and the founders' own statements.

Epoch documents are derived, never said. A folder's copy of epoch 0 only counts when it equals what
follows from the charter, and each later one when members of the one before approved it
(log-and-provenance.md 3.4, attack 36): an outsider needs no log to know whose signatures count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from comity.commons.charter import Charter
from comity.commons.epochs import (
    EpochDocument,
    approved,
    document_digest,
    document_of,
    quorum_of,
)
from comity.commons.members import entered, found, founder_fault, public_keys_of
from comity.commons.state import Epoch, State
from comity.errors import Forged
from comity.log.heads import origin_of
from comity.log.proofs import policy_text
from comity.release.form import FOUNDERS, POLICY, VERIFY, approvals_path, epoch_path
from comity.release.words import verify_md
from comity.statements.governing import CommonsFound, KeySet
from comity.statements.keysets import check, check_possession
from comity.statements.membership import EpochApprove
from comity.statements.wire import canonical, read, read_canonical
from comity.values import MemberId

DOCUMENT_BYTES_MAX: Final = 1_048_576


def first_epoch(charter: Charter, envelopes: Sequence[bytes]) -> State:
    """The state with the keys of all founders, from their commons.found alone.

    Args:
        envelopes: one of each founder, in the order of the charter.
    Raises:
        Malformed: an envelope is not in form.
        Forged: not the founders of the charter, or a key set, signature or possession that does
            not fit. Nothing else of the statements (head, time) is judged: the log may be absent.
    """
    state = found(charter)
    if len(envelopes) != len(charter.founders):
        raise Forged(
            f"{FOUNDERS}: {len(charter.founders)} founders are in the charter, "
            f"{len(envelopes)} statements are here"
        )
    for founder, envelope in zip(charter.founders, envelopes, strict=True):
        unverified = read(envelope)
        said, body = unverified.statement, unverified.statement.body
        if not isinstance(body, CommonsFound) or said.author != founder.id:
            raise Forged(f"{FOUNDERS}: expected commons.found of {founder.id}, in this place")
        if said.commons != state.commons:
            raise Forged(f"{FOUNDERS}: {founder.id} speaks in another commons")
        fault = founder_fault(state, founder.id, body.key_set)
        if fault is not None:
            raise Forged(f"{FOUNDERS}: keys of {founder.id}: {fault.value}")
        check(unverified, body.key_set.keys.statement)
        check_possession(body.key_set, body.possession)
        state = entered(state, founder.id, body.key_set)
    return state


def founding_entries(state: State, entries: Sequence[bytes]) -> list[bytes]:
    """The first commons.found of each founder in a log, in the order of the charter.

    Args:
        state: of a founded commons. entries: of its log from 0, at least up to the founding.
    """
    first: dict[MemberId, bytes] = {}
    founders = [founder.id for founder in state.founding.founders]
    for entry in entries:
        if len(first) == len(founders):
            break
        said = read(entry).statement
        if isinstance(said.body, CommonsFound):
            first.setdefault(said.author, entry)
    return [first[member] for member in founders]


def head_keys(state: State) -> dict[MemberId, bytes]:
    """The *head* key of every member, in the order of their ids."""
    return {member: state.keys[member].keys.head for member in state.members}


def approvals_of(state: State, entries: Sequence[bytes]) -> dict[int, list[bytes]]:
    """Who approved each epoch after the first: one epoch.approve of each member, in log order.

    Args:
        entries: of the state's log from 0, at least up to the last approval.
    """
    found: dict[int, dict[MemberId, bytes]] = {e.number: {} for e in _later(state)}
    digests = {epoch.digest: epoch.number for epoch in _later(state)}
    for entry in entries[: state.epoch.size]:
        said = read(entry).statement
        body = said.body
        if isinstance(body, EpochApprove) and digests.get(body.document) == body.epoch:
            found[body.epoch].setdefault(said.author, entry)
    return {number: list(said.values()) for number, said in found.items()}


def following(state: State, blob: bytes, approvals: Sequence[bytes]) -> State:
    """The state with one epoch more, from its document and its approvals alone (attack 36).

    Only what a verifier asks for is in it: members, keys, host, quorum.

    Raises:
        Malformed: document or an envelope is not in form.
        Forged: the document does not follow, or not enough members of the epoch before approved.
    """
    before, number = state.epoch, state.epoch.number + 1
    place = approvals_path(number)
    after = _epoch_of(state, read_canonical(blob, EpochDocument, DOCUMENT_BYTES_MAX))
    approvers: set[MemberId] = set()
    for envelope in approvals:
        unverified = read(envelope)
        said, body = unverified.statement, unverified.statement.body
        if not isinstance(body, EpochApprove):
            raise Forged(f"{place} holds a {body.tag}, no epoch.approve")
        if (body.epoch, body.document) != (number, after.digest):
            raise Forged(f"{place}: {said.author} approved another document")
        if said.commons != state.commons or said.author not in before.keys:
            raise Forged(f"{place}: {said.author} was no member, or speaks in another commons")
        if said.author in approvers:
            raise Forged(f"{place}: {said.author} stands there twice; members are counted")
        check(unverified, before.keys[said.author].keys.statement)
        approvers.add(said.author)
    if not approved(before, after, approvers):
        raise Forged(f"{place}: {len(approvers)} of {len(before.members)} members are not enough")
    return replace(state, epoch=after, past=(*state.past, before))


def at_size(state: State, size: int) -> State:
    """The same with the epoch in force at an earlier size, which judges a head of that size."""
    epoch = state.epoch_at(size)
    past = tuple(each for each in state.past if each.number < epoch.number)
    return replace(state, epoch=epoch, past=past)


def derived_files(state: State) -> dict[str, bytes]:
    """The files of a release that follow from charter, founders and approvals."""
    charter, epoch = state.founding, state.epoch
    origin = origin_of(state.commons, charter.origin_prefix)
    host_public = state.keys[state.host].keys.host
    policy = policy_text(origin, host_public, head_keys(state), state.quorum)
    documents = {
        epoch_path(each.number): canonical(document_of(state, each))
        for each in (*state.past, epoch)
    }
    words = verify_md(charter, state.commons, quorum=epoch.quorum, count=len(epoch.members))
    return {**documents, POLICY: policy.encode("ascii"), VERIFY: words}


def _later(state: State) -> list[Epoch]:
    return [epoch for epoch in (*state.past, state.epoch) if epoch.number]


def _epoch_of(state: State, document: EpochDocument) -> Epoch:
    """The epoch that a document says, if it may follow the newest one here."""
    before, number = state.epoch, state.epoch.number + 1
    place = epoch_path(number)
    keys = {
        each.id: KeySet(keys=each.keys, member=each.id, serial=each.serial)
        for each in document.members
    }
    members = tuple(each.id for each in document.members)
    epoch = Epoch(
        number=number,
        digest=document_digest(document),
        prev=before.digest,
        size=0,
        host=document.host,
        host_size=0,
        members=tuple(sorted(keys)),
        quorum=quorum_of(state.charter, len(keys)),
        keys=keys,
    )
    if members != epoch.members or epoch.host not in keys:
        raise Forged(f"{place}: each member stands there once, in order, and one of them hosts")
    public = [each for key_set in keys.values() for each in public_keys_of(key_set)]
    if len(set(public)) != len(public):
        raise Forged(f"{place}: one key stands there twice (attack 17)")
    if document != document_of(state, epoch):
        raise Forged(f"{place} does not follow {epoch_path(before.number)} in this commons")
    return epoch
