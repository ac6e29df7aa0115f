"""This node's way to another host: look at it, hand in what it lacks, approve, move over.

The same for a planned hand-over and a forced take-over. A candidate shows the log it would go on
with; this node replays it, and moves only when the entries themselves say that the candidate is
host (`histories.py`). Statements are sent to it as they were signed; bulk bytes that only the old
host had are sent again from here. What was approved is remembered before the approval leaves: from
then on this node cosigns no head of the old host, so that no head becomes final beside the new log.
Source: architecture.md 1.5; log-and-provenance.md 7.4.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, final

import msgspec
from msgspec import Struct

from comity.commons.attempts import Halted, closed_of, opened_of, started_of
from comity.commons.state import Epoch, Pending, State
from comity.errors import Forged, Refused, Rule, Unavailable
from comity.log.heads import parse_signed_head
from comity.node.addresses import FOLLOWED, address_of, followed_url
from comity.node.answers import HostStatus
from comity.node.histories import Applied, check_successor, newest_epoch
from comity.node.reacting import proven_against_host
from comity.node.remembering import require_memory
from comity.node.showing import Shown, hand_in, look
from comity.node.station import Station
from comity.statements.membership import EpochApprove, HostOffer, HostTakeover
from comity.values import BlobName, Digest, MemberId, StatementId

LOG = logging.getLogger(__name__)

APPROVED: Final = "host/approved"
NEXT: Final = "host/next"
AWAY_S_MAX: Final = 30.0


@final
class Approved(Struct, frozen=True):
    """The promise of an approval: this document as this epoch, and no other, on this copy.

    member: host in it. size, root: of what the old host had signed in the log that was approved;
    0 and b"" in a promise of an older version.
    """

    epoch: int
    document: Digest
    member: MemberId
    size: int = 0
    root: bytes = b""

    def contradicts(self, other: Approved) -> bool:
        """Whether both cannot be kept."""
        return self.epoch == other.epoch and self.document != other.document


def changes_of_host(state: State) -> list[Pending]:
    """The epochs that may follow in which another member is host."""
    return [pending for pending in state.changes.pending if pending.epoch.host != state.host]


# -- saying --------------------------------------------------------------------------------------


def take_over(station: Station, url: str) -> StatementId:
    """Offer to host at `url`, and claim to: host.offer when it is new, then host.takeover.

    The candidate's host process must answer at `url` already.
    Raises:
        Refused: the rules forbid it, say for who is host. Unavailable: no answer there.
    """
    shown = look(station, url)
    if not shown.whole.follows(station.replica):
        raise Refused(Rule.HEAD_UNKNOWN, f"the host at {url} does not hold this node's log")
    require_memory(station)
    promised = approved(station)
    if promised is not None and promised.member != station.member:
        raise _promised(promised)
    hand_over_outbox(station, url)
    state = look(station, url).whole.state
    follow(station, url)
    for claim in state.changes.claims:
        claimed = isinstance(claim.body, HostTakeover) and claim.body.address == url
        if claim.author == station.member and claimed:
            return claim.id
    if state.changes.offers.get(station.member) != url:
        station.say(HostOffer(address=url), state=state)
        hand_over_outbox(station, url)
        state = look(station, url).whole.state
    final = station.replica.view.final
    body = HostTakeover(address=url, head_root=final.root, head_size=final.size)
    said = station.say(body, state=state)
    hand_over_outbox(station, url)
    approve(station, url, host=station.member)
    return said


def approve(
    station: Station, url: str, pending: Pending | None = None, host: MemberId | None = None
) -> StatementId:
    """Approve the change of host that is proposed at `url`.

    Args:
        pending: which of those that this node knows. host: who would be host; None: whoever.
    Raises:
        Refused: NO_SUCH_THING, nothing is proposed there; HEAD_UNKNOWN, it leaves out what this
            node holds; SAID_BEFORE, another one was approved for the same epoch; AMNESIA, this
            node was rebuilt.
        HostFault, Malformed, Unavailable: as `look`.
    """
    require_memory(station)
    shown = look(station, url)
    proposed = changes_of_host(shown.whole.state)
    if pending is not None:
        proposed = [each for each in proposed if each.epoch.digest == pending.epoch.digest]
    else:
        # Who names a host approves no claim of another kind along: new keys, a member removed.
        asked = [(each, each.claim) for each in proposed]
        proposed = [e for e, claim in asked if not claim or isinstance(claim.body, HostTakeover)]
    if host is not None:
        proposed = [each for each in proposed if each.epoch.host == host]
    if not proposed:
        raise Refused(Rule.NO_SUCH_THING, f"no change of host is proposed at {url}")
    epoch = proposed[-1].epoch
    if not shown.whole.follows(station.replica) and not _forked(station, shown):
        raise Refused(
            Rule.HEAD_UNKNOWN,
            f"{epoch.host} leaves out or moves entries from {shown.whole.keep} on, which this node"
            " holds under a signed head: do not approve it; ask its operator",
        )
    size = shown.signed.size
    if shown.whole.follows(station.replica):
        size = max(size, station.replica.state.size)
    root = shown.whole.tree.root(size)
    promise = Approved(epoch.number, epoch.digest, epoch.host, size, root)
    before = approved(station)
    if before is not None and (before.epoch > promise.epoch or before.contradicts(promise)):
        raise _promised(before)
    # Die after this line: this node has promised, and says it when asked again.
    station.journal.put(APPROVED, msgspec.json.encode(promise))
    follow(station, url)
    said = station.say(
        EpochApprove(document=epoch.digest, epoch=epoch.number), state=shown.whole.state
    )
    hand_over_outbox(station, url)
    return said


def approve_settled(station: Station, pending: Pending) -> None:
    """Approve by itself what rests on decisions and leaves, also when it changes the host.

    Raises: Refused, Unavailable: as `Station.say`; SAID_BEFORE as `approve`.
    """
    epoch = pending.epoch
    if epoch.host != station.replica.state.host:
        require_memory(station)
        tree = station.replica.view.tree
        promise = Approved(epoch.number, epoch.digest, epoch.host, tree.size, tree.root())
        before = approved(station)
        if before is not None and (before.epoch, before.document) != (epoch.number, epoch.digest):
            raise _promised(before)
        # Nobody stops for a host that is not there yet: the promise waits until it answers.
        address = address_of(station.replica.state, epoch.host)
        if address is None or told_by(station, address).in_office:
            raise Unavailable(f"{epoch.host} shall host, and is not ready at {address or 'all'}")
        station.journal.put(APPROVED, msgspec.json.encode(promise))
    station.say(EpochApprove(document=epoch.digest, epoch=epoch.number))


def approved(station: Station) -> Approved | None:
    """The change of host that this node has approved and not seen in force.

    Another document of that number in force here ends it only once it is final: until then the one
    that was approved may be in force in another log, and both would have this node's word.
    """
    kept = station.journal.get(APPROVED)
    if not kept:
        return None
    promise = msgspec.json.decode(kept, type=Approved)
    state, final_size = station.replica.state, station.replica.final_size
    for epoch in (state.epoch, *state.past):
        same = epoch.digest == promise.document
        if epoch.number == promise.epoch and (same or epoch.size <= final_size):
            return None
    return promise


def require_unpromised(station: Station) -> None:
    """Raises Refused(SAID_BEFORE): another host was approved for the next epoch."""
    promise = approved(station)
    if promise is not None:
        raise _promised(promise)


def _promised(promise: Approved) -> Refused:
    return Refused(
        Rule.SAID_BEFORE,
        f"this node has approved {promise.member} as the host of epoch {promise.epoch}; a second"
        " approval could make two histories. Let that one come into force",
    )


def _forked(station: Station, shown: Shown) -> bool:
    """Whether the old host signed both: this copy, and a history at least as long instead."""
    if not shown.note or shown.signed.follows(station.replica):
        return False
    same_epoch = shown.signed.state.epoch == station.replica.state.epoch
    signed = shown.signed.signed_by_its_host(parse_signed_head(shown.note))
    return same_epoch and signed and shown.signed.size >= station.replica.state.size


# -- moving --------------------------------------------------------------------------------------


def follow(station: Station, url: str) -> None:
    """Look for the next host there until it is in force; "": nowhere in particular."""
    station.journal.put(NEXT, url.encode())


def next_url(station: Station) -> str | None:
    """Where this node expects the next host: as told, or as the log says of what is pending."""
    kept = station.journal.get(NEXT)
    if kept:
        return kept.decode()
    for pending in changes_of_host(station.replica.state):
        address = address_of(station.replica.state, pending.epoch.host)
        if pending.claim is None and address is not None:
            return address
    return None


def told_by(station: Station, url: str) -> HostStatus:
    """What a candidate to host tells, asked once: this node has other work, and asks again.

    One that does not answer is left alone for four times as long as it kept this node waiting.
    Raises: Malformed, Unavailable.
    """
    now_s = station.machine.monotonic_s
    begun_s = now_s()
    until_s, why = station.away.get(url, (0.0, ""))
    if begun_s < until_s:
        raise Unavailable(why)
    try:
        return station.remote_to(url).status(tries=1)
    except Unavailable as error:
        ended_s = now_s()
        station.away[url] = ended_s + min(AWAY_S_MAX, 4 * (ended_s - begun_s)), str(error)
        raise


def hand_over_outbox(station: Station, url: str) -> None:
    """Send a candidate all that waits; it keeps it as a proposal until it is host."""
    try:
        station.deliver_to(station.remote_to(url))
    except (Unavailable, Refused) as error:
        LOG.debug("proposed at=%s why=%s", url, error)


def move(station: Station, url: str) -> tuple[Applied, ...] | None:
    """Move over to the host at `url` when its log says that it is host; None when not yet.

    At the address of the host that this node has, the log may be that of another: who was left, and
    told, shows who hosts now. Then this node goes to where that member offered to host.

    Returns:
        The entries of its log that this copy did not have, as they were applied.
    Raises:
        HostFault, Forged, Malformed: it is no host that this node may follow. Unavailable.
    """
    told = told_by(station, url)
    if not told.in_office and url != station.remote.url:
        if told.size < station.replica.state.size:
            hand_in(station, url, min(told.size, station.replica.final_size))
        hand_over_outbox(station, url)
        if not told_by(station, url).in_office:
            return None
    shown = look(station, url, fill_up=False)
    replica, history = station.replica, shown.signed
    promise = approved(station)
    follows = (history.state.epoch, *history.state.past)
    bound = promise is not None and promise.document in {epoch.digest for epoch in follows}
    if history.state.epoch.number <= newest_epoch(replica, bound):
        return None
    cosigned = station.journal.last_cosigned()
    held = []
    if bound and cosigned is not None:
        held.append(cosigned)
    if bound and promise is not None and promise.size and not proven_against_host(station):
        # Of two histories that the old host signed, the longer may have taken this one's place.
        held.append((promise.size, promise.root))
    check_successor(replica, history, shown.note, held, bound=bound)
    if cosigned is not None and (
        history.size < cosigned[0] or history.tree.root(cosigned[0]) != cosigned[1]
    ):
        final = replica.view.final
        station.journal.cosigned_again_from((final.size, final.root))
    # Die here: what I said above `keep` is sent again, and is known again where it is logged.
    station.forget_places()
    station.journal.unlogged(history.keep)
    replica.replace_tail(history.keep, history.applied, history.state, shown.note)
    # Die here: the log says who is host, and the next start finds its address there.
    host = history.state.host
    if not told.in_office:
        url = address_of(history.state, host) or url
    if promise is not None and _is_settled_by(promise, follows):
        station.journal.put(APPROVED, b"")
    follow(station, "")
    _follows(station, host, url)
    return history.applied


def _is_settled_by(promise: Approved, epochs: Sequence[Epoch]) -> bool:
    """Whether a history leaves nothing of a promise to be kept.

    It holds that document, or another change of host of that number, whose approvers approved no
    second one. Any other history may be read, and is not cosigned beside the promised one.
    """
    return any(
        epoch.number == promise.epoch
        and (epoch.digest == promise.document or epoch.size == epoch.host_size)
        for epoch in epochs
    )


def switch(station: Station) -> bool:
    """Talk to the host in office, where this copy names another one than it was read from.

    A host that was left shows the new one's log once it has been told; who had not approved takes
    it there as what it is, the same log continued, and must not speak to the old host any more.
    A promise to approve stays what it was: `approved` says when it is kept. Until then this node
    goes on looking where it gave it. The rest of the log lies at that host: read it first.
    """
    state = station.replica.state
    url = followed_url(state, station.journal, station.settings)
    if url == station.remote.url:
        return False
    if approved(station) is None:
        follow(station, "")
    _follows(station, state.host, url)
    return True


def _follows(station: Station, host: MemberId, url: str) -> None:
    station.journal.put(FOLLOWED, msgspec.json.encode((host, url)))
    LOG.warning("follows host=%s url=%s", host, url)
    station.use_host(url)


def hand_in_bulk(station: Station) -> None:
    """Send the new host the bytes of live attempts and open studies that this node holds.

    What it has already is not sent twice. Raises Unavailable: go on later.
    """
    for study in station.replica.state.studies.values():
        if study.finished:
            continue
        for name in study.register.plan.blobs:
            _hand_in_blob(station, BlobName(name))
        attempt = study.current
        if attempt is None:
            continue
        opened = opened_of(attempt)
        seat = opened.seat(station.member)
        if seat is None:
            continue
        started = started_of(attempt)
        closed = closed_of(attempt)
        commits = closed.commits if closed is not None else getattr(attempt, "commits", {})
        if started is not None and seat in commits and not isinstance(attempt, Halted):
            _hand_in_blob(station, BlobName(commits[seat].vector), vector_of=opened.id)
        joins = started.joins if started is not None else getattr(attempt, "joins", {})
        for join in joins.values():
            # Also those of others: who has left since hands in nothing any more.
            blob = BlobName(join.blob)
            _hand_in_blob(station, blob, held=station.dealt.get(blob))


def _hand_in_blob(
    station: Station,
    name: BlobName,
    *,
    vector_of: StatementId | None = None,
    held: bytes | None = None,
) -> None:
    """Send a blob that this node has as a file, or holds in memory."""
    source = station.blobs.path(name) if station.blobs.finished(name) else held
    if source is None:
        return
    try:
        if not station.remote.stored(name, vector_of)[1]:
            station.remote.put_blob(name, source, vector_of=vector_of)
    except (Refused, Forged) as error:
        LOG.info("bytes not taken blob=%s why=%s", name, error)
