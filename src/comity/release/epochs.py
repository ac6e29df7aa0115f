"""Who the members are and with which keys: from the charter and the founders' own statements.

The epoch document is derived, never said; a folder's copy of it only counts when it equals what is
derived here (log-and-provenance.md 3.4, attack 36). In this version there is epoch 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from comity.commons.charter import Charter
from comity.commons.epochs import document_of
from comity.commons.members import entered, found, founder_fault
from comity.commons.state import State
from comity.errors import Forged
from comity.log.heads import origin_of
from comity.log.proofs import policy_text
from comity.release.form import EPOCH, FOUNDERS, POLICY, VERIFY
from comity.release.words import verify_md
from comity.statements.governing import CommonsFound
from comity.statements.keysets import check, check_possession
from comity.statements.wire import canonical, read
from comity.values import MemberId


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
    for entry in entries:
        if len(first) == len(state.members):
            break
        said = read(entry).statement
        if isinstance(said.body, CommonsFound):
            first.setdefault(said.author, entry)
    return [first[member] for member in state.members]


def head_keys(state: State) -> dict[MemberId, bytes]:
    """The *head* key of every member, in the order of their ids."""
    return {member: state.keys[member].keys.head for member in state.members}


def derived_files(state: State) -> dict[str, bytes]:
    """The files of a release that follow from charter and founders: epoch, policy, VERIFY.md."""
    charter = state.charter
    origin = origin_of(state.commons, charter.origin_prefix)
    host_public = state.keys[state.host].keys.host
    policy = policy_text(origin, host_public, head_keys(state), state.quorum)
    return {
        EPOCH: canonical(document_of(state, state.epoch)),
        POLICY: policy.encode("ascii"),
        VERIFY: verify_md(charter, state.commons),
    }
