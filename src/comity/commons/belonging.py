"""Who belongs, with which keys, and who hosts: applying, leaving, new keys, epochs, change of host.

Decided here: when such a statement is void, and what an epoch changes when it comes into force.
Which documents may follow an epoch is decided in `epochs`. Nothing here is in force at once but a
leave: keys, seats in the quorum and the host change with the epoch, at one entry for everybody.
Source: log-and-provenance.md 3.3, 3.4, 7.4; architecture.md 1.4, 1.5; attacks 11, 14 to 17, 35.
"""

from __future__ import annotations

from dataclasses import replace

from comity.commons import studies, votes
from comity.commons.accusing import check_evidence
from comity.commons.charter import CRITERIA
from comity.commons.epochs import (
    approved,
    key_set_name,
    pending_named,
    with_claim,
    with_pending,
)
from comity.commons.lookalike import same_look
from comity.commons.members import later_time_s, public_keys_of
from comity.commons.motions import REMOVABLE_MIN
from comity.commons.state import Accusation, Application, Author, Claim, Epoch, State
from comity.errors import Forged, Rule
from comity.statements.entries import Entry, Statement
from comity.statements.governing import HostMotion, KeySet
from comity.statements.keysets import check_possession
from comity.statements.membership import (
    Belonging,
    EpochApprove,
    EvidenceFile,
    HostHandover,
    HostOffer,
    HostTakeover,
    KeysRevoke,
    KeysRotate,
    MemberApply,
    MemberLeave,
)
from comity.values import APPLICATION_OPEN_S, APPLICATIONS_OPEN_MAX, MemberId, sha256


def application_fault(state: State, author: MemberId, key_set: KeySet) -> Rule | None:
    """Why a stranger may not apply like this; None when it may. Asked at admission."""
    if not state.founded_size:
        return Rule.NOT_FOUNDED
    if author in state.authors or author in state.changes.applications:
        return Rule.ID_TAKEN
    if any(same_look((known, author)) for known in (*state.authors, *state.changes.applications)):
        return Rule.ID_TAKEN  # 0 for o, 1 for l: nobody shall be taken for a member
    if key_set.member != author:
        return Rule.WRONG_PARTY
    if key_set.serial != 0:
        return Rule.SERIAL_NOT_NEXT
    if any(public in state.public_keys for public in public_keys_of(key_set)):
        return Rule.KEY_USED
    if len(open_applications(state)) >= APPLICATIONS_OPEN_MAX:
        return Rule.TOO_MANY
    return None


def open_applications(state: State) -> tuple[MemberId, ...]:
    """Applicants that a vote may still admit, or has admitted, in log order.

    An application closes by itself after APPLICATION_OPEN_S, so strangers cannot fill the list
    for good.
    """
    since_s = state.commons_time_s - APPLICATION_OPEN_S
    changes = state.changes
    return tuple(
        member
        for member, application in changes.applications.items()
        if member not in state.authors
        and (application.time_s > since_s or member in changes.admitted)
    )


def applied(state: State, entry: Entry, body: MemberApply) -> State:
    """member.apply of a stranger whose application has no fault: known, and nothing more."""
    said = entry.statement
    application = Application(
        id=said.id,
        index=entry.index,
        key_set=body.key_set,
        author=Author(
            seq=said.seq,
            last=said.id,
            head_size=said.head_size,
            time_s=said.time_s,
            void_day=0,
            void_count=0,
        ),
        time_s=state.commons_time_s,
        country=body.country,
        name=body.name,
        criteria=state.charter.criteria or CRITERIA,
    )
    applications = {**state.changes.applications, said.author: application}
    return replace(
        state,
        size=entry.index + 1,
        head=(said.head_size, said.head_root),
        changes=replace(state.changes, applications=applications),
        public_keys=state.public_keys.adding(*public_keys_of(body.key_set)),
    )


def say(state: State, entry: Entry, body: Belonging) -> State | Rule:
    """The state after a member's statement about belonging, or the rule that makes it void."""
    said = entry.statement
    match body:
        case MemberApply():
            return Rule.ID_TAKEN  # a member has what it asks for
        case MemberLeave():
            return _leave(state, entry)
        case KeysRotate():
            return _rotate(state, entry, body)
        case KeysRevoke():
            return _revoke(state, entry, body)
        case EpochApprove():
            return _approve(state, entry, body)
        case HostOffer():
            if state.changes.offers.get(said.author) == body.address:
                return Rule.SAID_BEFORE
            return _offered(state, said.author, body.address)
        case HostHandover():
            return _hand_over(state, said.author, body)
        case HostTakeover():
            return _take_over(state, entry, body)
        case EvidenceFile():
            return _accuse(state, entry, body)


def _leave(state: State, entry: Entry) -> State | Rule:
    member = entry.statement.author
    changes = state.changes
    if member in changes.leaving:
        return Rule.SAID_BEFORE
    changes = replace(
        changes,
        leaving=changes.leaving | {member},
        handover=None if changes.handover == member else changes.handover,
        offers={who: where for who, where in changes.offers.items() if who != member},
    )
    state = _departed(replace(state, changes=changes), member, entry.index)
    return _timed(with_pending(state), entry.index)


def _rotate(state: State, entry: Entry, body: KeysRotate) -> State | Rule:
    member, key_set = entry.statement.author, body.key_set
    if key_set.member != member:
        return Rule.WRONG_PARTY
    if key_set.serial != state.keys[member].serial + 1:
        return Rule.SERIAL_NOT_NEXT
    if any(public in state.public_keys for public in public_keys_of(key_set)):
        return Rule.KEY_USED
    try:
        check_possession(key_set, body.possession)
    except Forged:
        return Rule.POSSESSION_NOT_SHOWN
    seen = state.public_keys.adding(*public_keys_of(key_set))
    return with_claim(replace(state, public_keys=seen), _claim(state, entry, body))


def _revoke(state: State, entry: Entry, body: KeysRevoke) -> State | Rule:
    held = state.keys.get(body.member)
    if held is None or key_set_name(held) != body.keys:
        return Rule.NO_SUCH_THING
    if body.member != entry.statement.author and len(state.members) < REMOVABLE_MIN:
        return Rule.TOO_FEW
    same = (body.member, body.keys)
    for claim in state.changes.claims:
        known = claim.body
        if isinstance(known, KeysRevoke) and (known.member, known.keys) == same:
            return Rule.SAID_BEFORE
    return with_claim(state, _claim(state, entry, body))


def _approve(state: State, entry: Entry, body: EpochApprove) -> State | Rule:
    member, changes = entry.statement.author, state.changes
    if body.epoch <= state.epoch.number:
        return Rule.SAID_BEFORE
    pending = pending_named(state, body.document)
    if body.epoch != state.epoch.number + 1 or pending is None:
        return Rule.NOT_AS_DERIVED
    approvers = changes.approvals.get(body.document, frozenset())
    if member in approvers:
        return Rule.SAID_BEFORE
    approvers |= {member}
    if approved(state.epoch, pending.epoch, approvers):
        return _in_force(state, pending.epoch, entry.index)
    # Approvals stay with their document: an outsider who counts signatures sees the same.
    changes = replace(changes, approvals={**changes.approvals, body.document: approvers})
    return replace(state, changes=changes)


def _hand_over(state: State, author: MemberId, body: HostHandover) -> State | Rule:
    changes, member = state.changes, body.member
    if author != state.host:
        return Rule.WRONG_PARTY
    if member not in changes.offers:
        return Rule.NO_SUCH_THING
    if not votes.stands(state, HostMotion(member=member)):
        return Rule.NOT_DECIDED
    if changes.handover == member:
        return Rule.SAID_BEFORE
    return with_pending(replace(state, changes=replace(changes, handover=member)))


def _take_over(state: State, entry: Entry, body: HostTakeover) -> State | Rule:
    said = entry.statement
    if said.author == state.host:
        return Rule.SAID_BEFORE
    if said.author not in state.changes.offers:
        return Rule.NO_SUCH_THING
    if not _names_its_head(said, body):
        return Rule.NOT_AS_DERIVED
    state = _offered(state, said.author, body.address)
    return with_claim(state, _claim(state, entry, body))


def _names_its_head(said: Statement, body: HostTakeover) -> bool:
    # Admission compared the statement's own head with this log, so it is one of this history.
    return (body.head_size, body.head_root) == (said.head_size, said.head_root)


def _accuse(state: State, entry: Entry, body: EvidenceFile) -> State | Rule:
    author, digest = entry.statement.author, sha256(body.evidence.encode())
    if any(known.evidence == digest for known in state.accusations):
        return Rule.SAID_BEFORE
    fault = check_evidence(state, body.subject, body.evidence)
    if fault is not None:
        return fault
    filed = Accusation(author=author, subject=body.subject, index=entry.index, evidence=digest)
    return replace(state, accusations=(*state.accusations, filed))


def _in_force(state: State, epoch: Epoch, index: int) -> State:
    """The state in which this epoch is in force, from the entry `index` on."""
    before, changes = state.epoch, state.changes
    same_host = before.host == epoch.host
    epoch = replace(epoch, size=index + 1, host_size=before.host_size if same_host else index + 1)
    came = [member for member in epoch.members if member not in before.keys]
    gone = [member for member in before.members if member not in epoch.keys]
    authors = {**state.authors, **{m: changes.applications[m].author for m in came}}
    countries = {m: changes.applications[m].country for m in came}
    changes = replace(
        changes,
        admitted=tuple(m for m in changes.admitted if m not in epoch.keys),
        leaving=changes.leaving & frozenset(epoch.members),
        excluded=changes.excluded & frozenset(epoch.members),
        handover=None,
        offers={m: where for m, where in changes.offers.items() if m in epoch.keys},
        approvals={},
    )
    state = replace(
        state,
        epoch=epoch,
        past=(*state.past, before),
        authors=authors,
        changes=changes,
        countries={**state.countries, **countries},
    )
    for member in gone:
        # Its seat and ballot in open votes stay (A4.1, step 2): nobody wins by taking it out.
        state = studies.removed(state, member, index)
    return _timed(with_pending(state), index)


def _departed(state: State, member: MemberId, index: int) -> State:
    """Off the rosters of all studies under way, and out of the votes that are open."""
    return votes.without(studies.without(state, member, index), member, index)


def _timed(state: State, index: int) -> State:
    """Commons time over those present now; it never goes back, and may close votes."""
    now_s = later_time_s(state, state.authors)
    if now_s <= state.commons_time_s:
        return state
    return votes.close_due(replace(state, commons_time_s=now_s), index)


def _offered(state: State, member: MemberId, address: str) -> State:
    offers = {**state.changes.offers, member: address}
    return replace(state, changes=replace(state.changes, offers=offers))


def _claim(state: State, entry: Entry, body: KeysRotate | KeysRevoke | HostTakeover) -> Claim:
    said = entry.statement
    return Claim(
        id=said.id,
        author=said.author,
        index=entry.index,
        time_s=state.commons_time_s,
        body=body,
    )
