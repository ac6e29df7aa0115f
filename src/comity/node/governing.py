"""What a person may ask of a node about who hosts and who belongs, as functions of its station.

A change of host is proposed at the candidate's address and approved there, so these functions look
at that address first (`succession.py`); the rest is said like anything else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import final

from msgspec import Struct

from comity.commons.epochs import approved as reaches_quorum
from comity.commons.state import Epoch, Pending, State
from comity.errors import Misconfigured, Refused, Rule, Unavailable
from comity.log.merkle import leaf_hash
from comity.node import succession
from comity.node.addresses import address_of
from comity.node.asks import claim_words
from comity.node.showing import look
from comity.node.station import Station
from comity.node.wishes import Said, say_once
from comity.statements.governing import AdmitMotion, HostMotion, Motion, proposal_of
from comity.statements.keysets import key_set_digest
from comity.statements.membership import EpochApprove, HostHandover, HostOffer, MemberLeave
from comity.statements.wire import read
from comity.storage.log_store import SqliteLogStore
from comity.storage.ports import Row
from comity.values import ADDRESS_BYTES_MAX, Digest, MemberId, StatementId


@final
class PendingEpoch(Struct, frozen=True):
    """An epoch that may follow. document: its digest. host: in it. why: in plain words.

    approvals: who approved it so far; enough: whether that puts it in force.
    """

    document: Digest
    host: MemberId
    why: str
    approvals: tuple[MemberId, ...]
    enough: bool


@final
class HostReport(Struct, frozen=True, tag="host-report"):
    """Who hosts, by this node's verified copy, and what would change that.

    url: of the host that this node talks to. offers: address by member. next_url: where this node
    looks for the next host, "" for nowhere. approved: the member whose take-over this node has
    approved and not seen in force, "" for none. pending: by this copy of the log.
    """

    host: MemberId
    url: str
    epoch: int
    document: Digest
    size: int
    final_size: int
    offers: dict[MemberId, str]
    next_url: str
    approved: str
    pending: tuple[PendingEpoch, ...]


@final
class Seeded(Struct, frozen=True, tag="seeded"):
    """A host's folder holds this node's copy of the log. member: whose node it is."""

    folder: str
    member: MemberId
    size: int
    final_size: int


@final
class MemberLine(Struct, frozen=True):
    """A member or an applicant. standing: "member", "host", "suspended",
    "excluded" (until the next epoch), "leaving" or "applied".

    keys: digest of its key set; serial: how often it was replaced. host_address: "" without offer.
    """

    member: MemberId
    standing: str
    serial: int
    keys: Digest
    host_address: str


@final
class MembersReport(Struct, frozen=True, tag="members"):
    """Who belongs, by this node's verified copy."""

    epoch: int
    quorum: int
    count: int
    members: tuple[MemberLine, ...]


# -- host ----------------------------------------------------------------------------------------


def host_report(station: Station) -> HostReport:
    """Who hosts, and what would change that."""
    state = station.replica.state
    promise = succession.approved(station)
    return HostReport(
        host=state.host,
        url=station.remote.url,
        epoch=state.epoch.number,
        document=state.epoch.digest,
        size=state.size,
        final_size=station.replica.final_size,
        offers=dict(state.changes.offers),
        next_url=succession.next_url(station) or "",
        approved=promise.member if promise else "",
        pending=tuple(_pending(state)),
    )


def offer_to_host(station: Station, url: str) -> Said:
    """Offer to host at `url`, now or when the host is gone. Raises Refused, Misconfigured."""
    _check_url(url)
    return say_once(station, HostOffer(address=url), url)


def hand_over(station: Station, member: str) -> Said:
    """Hand over to a member: put it to the vote, or, once that is decided, say host.handover.

    Raises:
        Refused: WRONG_PARTY, NOT_DECIDED while the vote is open; NO_SUCH_THING without an offer.
    """
    state, wanted = station.replica.state, MemberId(member)
    if wanted not in state.changes.offers:
        raise Refused(
            Rule.NO_SUCH_THING,
            f"{member[:64]} has not offered to host: there, `comity host offer URL`",
        )
    motion = HostMotion(member=wanted)
    votes = [p for p in state.proposals.values() if p.motion == motion]
    if votes and votes[-1].decided:
        return say_once(station, HostHandover(member=wanted), f"hand-over to {member}")
    return _propose(station, motion, f"vote on {member} as host")


def take_over(station: Station, url: str) -> Said:
    """Become host at `url`, where the host process of this folder answers already.

    When the log hands over to this member there is nothing to say; else it claims to take over.
    Raises: as `succession.take_over`.
    """
    _check_url(url)
    state = station.replica.state
    handed = [p for p in succession.changes_of_host(state) if p.claim is None]
    if any(pending.epoch.host == station.member for pending in handed):
        succession.follow(station, url)
        look(station, url)
        return Said(StatementId(handed[-1].epoch.digest), "hand-over", state.size)
    return Said(succession.take_over(station, url), "take-over", state.size)


def approve(station: Station, what: str, url: str = "") -> Said:
    """Approve an epoch: by the beginning of its document's digest, or by who would host in it.

    Args:
        url: where a change of host is proposed; by default where that member offered to host.
    Raises:
        Refused: NO_SUCH_THING; as `succession.approve`.
    """
    state = station.replica.state
    known = [p for p in state.changes.pending if len(what) >= 8 and p.epoch.digest.startswith(what)]
    pending = known[0] if len(known) == 1 else None
    if pending is not None:
        _require_signing(state, pending.epoch)
    if pending is not None and pending.epoch.host == state.host:
        succession.require_unpromised(station)
        body = EpochApprove(document=pending.epoch.digest, epoch=pending.epoch.number)
        return say_once(station, body, f"epoch {pending.epoch.number}")
    host = pending.epoch.host if pending is not None else MemberId(what)
    at = url or address_of(state, host)
    if at is None:
        raise Refused(
            Rule.NO_SUCH_THING,
            f"nothing pending is named {what[:64]!r}, and no member of that name has offered to"
            " host: give --at with the address its operator tells you",
        )
    said = succession.approve(station, at, pending, host if pending is None else None)
    return Said(said, f"{host} as host", state.size)


def _require_signing(state: State, epoch: Epoch) -> None:
    """Refuse new keys of whoever hosts, or shall: its host process signs with those in force.

    It could not log the approval that puts them in force, nor anything its author says after it.
    """
    host, held = epoch.host, state.keys.get(epoch.host)
    if held is not None and epoch.keys[host].keys.host != held.keys.host:
        raise Refused(
            Rule.WRONG_PARTY,
            f"it gives {host} new keys while it hosts, and its host process signs with the old:"
            " another member hosts first (`comity host handover`), then they are approved",
        )


def follow(station: Station, url: str) -> HostReport:
    """Look for the host at `url`: this node moves when that log itself says that it is host."""
    _check_url(url)
    if url == station.remote.url:
        return host_report(station)
    succession.follow(station, url)
    return host_report(station)


def seed_host(station: Station, folder: Path) -> Seeded:
    """Make the folder of a host that would go on with this node's log: entries, heads, no key.

    What an earlier host process left there is moved aside and kept.
    Raises:
        Unavailable: the disk, or a host process runs there.
    """
    replica = station.replica
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    replica.flush()
    newest = replica.store.head()
    if newest is None:
        raise Unavailable("this node has no log yet: start it, and wait until it has read it")
    fresh = folder / "seed.sqlite"
    for left in folder.glob("seed.sqlite*"):
        left.unlink()
    store = SqliteLogStore(fresh)
    try:
        rows = []
        for leaf in replica.entries(0, newest.size):
            said = read(leaf).statement
            rows.append(Row(leaf, leaf_hash(leaf), said.id, said.author, said.seq))
        store.append(rows, None, newest)
        final = replica.store.head_at(replica.final_size)
        if final is not None:
            store.keep_head(final)
            store.cosign(final.size, replica.store.cosignatures(final.size))
            store.set_final(final.size)
    finally:
        store.close()
    place = folder / "host.sqlite"
    if place.exists():
        SqliteLogStore(place).close()  # nobody else has it open
        os.replace(place, folder / f"host-before-{newest.size}.sqlite")
    # Die here: there is a seed and no log; the command is given again.
    os.replace(fresh, place)
    return Seeded(str(folder.resolve()), station.member, newest.size, replica.final_size)


# -- members -------------------------------------------------------------------------------------


def members_report(station: Station) -> MembersReport:
    """Who belongs, is leaving, or has applied."""
    state = station.replica.state
    lines = []
    for member, key_set in state.keys.items():
        standing = "suspended" if state.is_suspended(member) else "member"
        standing = "excluded" if member in state.changes.excluded else standing
        standing = "leaving" if member in state.changes.leaving else standing
        standing = "host" if member == state.host else standing
        address = state.changes.offers.get(member, "")
        digest = key_set_digest(key_set)
        lines.append(MemberLine(member, standing, key_set.serial, digest, address))
    for member, applied in state.changes.applications.items():
        digest = key_set_digest(applied.key_set)
        lines.append(MemberLine(member, "applied", applied.key_set.serial, digest, ""))
    return MembersReport(state.epoch.number, state.quorum, len(state.members), tuple(lines))


def admit(station: Station, member: str) -> Said:
    """Put the admission of an applicant to the vote. Raises Refused(NO_SUCH_THING)."""
    applied = station.replica.state.changes.applications.get(MemberId(member))
    if applied is None:
        raise Refused(Rule.NO_SUCH_THING, f"{member[:64]} has not applied: `comity member list`")
    motion = AdmitMotion(keys=key_set_digest(applied.key_set), member=MemberId(member))
    return _propose(station, motion, f"vote on admitting {member}")


def leave(station: Station, reason: str = "") -> Said:
    """Leave the commons. Binding at once; nothing undoes it but a new admission. Raises Refused."""
    return say_once(station, MemberLeave(reason=reason), station.member)


# -- inside --------------------------------------------------------------------------------------


def _propose(station: Station, motion: Motion, about: str) -> Said:
    return say_once(station, proposal_of(motion), about)


def _pending(state: State) -> Iterator[PendingEpoch]:
    for pending in state.changes.pending:
        approvals = state.changes.approvals.get(pending.epoch.digest, frozenset())
        yield PendingEpoch(
            document=pending.epoch.digest,
            host=pending.epoch.host,
            why=_why(pending),
            approvals=tuple(sorted(approvals)),
            enough=reaches_quorum(state.epoch, pending.epoch, approvals),
        )


def _why(pending: Pending) -> str:
    if pending.claim is not None:
        return claim_words(pending.claim)
    return "decided or left: members' nodes approve it by themselves"


def _check_url(url: str) -> None:
    if not url.startswith(("http://", "https://")) or not url.isascii() or " " in url:
        raise Misconfigured(f"an address looks like https://host.example:8440, not {url[:64]!r}")
    if len(url) > ADDRESS_BYTES_MAX:
        raise Misconfigured(f"an address has at most {ADDRESS_BYTES_MAX} bytes")
