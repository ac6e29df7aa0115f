"""Confirm, reveal, recover, accept: what this node says once a Close is there.

Numbers in comments are the rows of aggregation-review.md 5.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from comity.aggregation.linear_check import holds
from comity.aggregation.secagg import bystander, committed, recover, reveal
from comity.aggregation.stages import Bystander, Committed, Ready, Revealed, Started
from comity.commons.attempts import Closed, Revealing
from comity.commons.duties import SayAccept, SayConfirm, SayRecover, SayReveal
from comity.commons.phases import round_time_s
from comity.errors import (
    Forged,
    HostFault,
    HostFaultKind,
    MemberFault,
    MemberFaultKind,
    Refused,
    Rule,
)
from comity.node.models import compute_next, fetch_sum, model_files
from comity.node.rounds import abandon
from comity.node.stages import (
    dealings_of,
    members_of,
    plan_of,
    scope_of,
    sealing_secret,
    seat_of,
    stage_of,
    survivors_of,
)
from comity.node.station import Station
from comity.node.vectors import vector_check
from comity.node.works import check_work, joined_data, only_set, work_record
from comity.statements.rounds import (
    DroppedShares,
    RoundAccept,
    RoundConfirm,
    RoundDispute,
    RoundRecover,
    RoundReveal,
    SilentShares,
)
from comity.storage.ports import Attempt, WorkRecord
from comity.values import ROSTER_MAX, BlobName, Seat

LOG = logging.getLogger(__name__)


def say_confirm(station: Station, duty: SayConfirm) -> None:
    """8: the one Confirm of this attempt, with my check value if I survived.

    Raises:
        Forged: my vector on disk is damaged; it is never built again.
        Refused(WORK_SUMMED_BEFORE): this work was summed over another set (R6).
    """
    closed = duty.closed
    opened = closed.started.opened
    scope, seat = scope_of(opened), seat_of(station, opened)
    members = members_of(opened, closed.survivors)
    about = joined_data(station, opened, closed.started.joins)
    if about is not None:
        check_work(station, opened, *about, but=scope)
        only = only_set(station, opened, *about, but=scope)
        if only is not None and only != members:
            raise Refused(
                Rule.WORK_SUMMED_BEFORE, "this work was summed before over another set of members"
            )
    value = None
    if seat in closed.survivors:
        name = BlobName(closed.commits[seat].vector)
        binding = closed.started.binding
        path = station.blobs.path(name)
        root, value = vector_check(path, opened.words, binding, seat, closed.id)
        if BlobName(root) != name:
            raise Forged("my masked vector on disk is damaged; it is never built again")
    _shrink(station, closed, scope)
    body = RoundConfirm(closed=closed.id, opened=opened.id, check_value=value)
    station.say(body, scope=scope, works=_works(station, closed, scope, confirmed=True))


def _works(
    station: Station, closed: Closed, scope: Attempt, *, confirmed: bool, revealed: bool = False
) -> tuple[WorkRecord, ...]:
    opened = closed.started.opened
    about = joined_data(station, opened, closed.started.joins)
    if about is None:
        return ()
    return (
        work_record(
            opened,
            scope,
            *about,
            committed=seat_of(station, opened) in closed.commits,
            confirmed=confirmed,
            revealed=revealed,
            survivors=members_of(opened, closed.survivors),
        ),
    )


def _shrink(station: Station, closed: Closed, scope: Attempt) -> None:
    """8b: erase what masking needed; after this a second vector cannot be made."""
    stage = stage_of(station, scope)
    participants = frozenset(map(int, closed.started.participants))
    if isinstance(stage, Started):
        station.journal.shrink(scope, committed(stage).to_bytes())
    elif isinstance(stage, Ready):
        # Not in P, or in P and away until the Close: only what others dealt is of use.
        standing = Bystander(stage.terms, stage.seat, participants, stage.received)
        station.journal.shrink(scope, standing.to_bytes())


def say_reveal(station: Station, duty: SayReveal) -> None:
    """9: only with t logged Confirms and a sum that I have checked myself."""
    closed = duty.attempt.closed
    opened = closed.started.opened
    scope = scope_of(opened)
    _check_sum(station, duty.attempt)
    stage = _holding(station, closed, scope)
    if stage is None:
        return
    revealed, said = reveal(stage, survivors_of(closed))
    if said.beta is None and not said.dropped:
        station.journal.keep(scope, revealed.to_bytes())  # nothing to say; it may still recover
        return
    dropped = tuple(
        DroppedShares(mu=share.mu, seat=Seat(share.seat), sigma=share.sigma, m=share.m)
        for share in said.dropped
    )
    station.say(
        RoundReveal(closed=closed.id, opened=opened.id, beta=said.beta, dropped=dropped),
        scope=scope,
        stage=revealed.to_bytes(),
        works=_works(station, closed, scope, confirmed=False, revealed=True),
    )


def _holding(station: Station, closed: Closed, scope: Attempt) -> Committed | Bystander | None:
    """The stage with which I may reveal; a member that did not join opens its shares now."""
    _shrink(station, closed, scope)
    stage = stage_of(station, scope)
    if isinstance(stage, Committed | Bystander):
        return stage
    opened = closed.started.opened
    seat = seat_of(station, opened)
    if stage is None and seat not in closed.started.joins:
        participants = frozenset(map(int, closed.started.participants))
        joins = {s: j for s, j in closed.started.joins.items() if s in participants}
        standing, _ = bystander(
            plan_of(opened),
            seat,
            sealing_secret(station, opened),
            dealings=dealings_of(station, opened, joins),
            participants=participants,
        )
        return standing
    return None


def _check_sum(station: Station, attempt: Revealing) -> None:
    """Check the sum against the check values; find out who is false when it fails (5.8).

    Raises:
        MemberFault(FALSE_CHECK): named in a Dispute of mine; the next entries settle it.
        HostFault(WRONG_SUM): every check value is true and the sum is not theirs.
    """
    closed = attempt.closed
    if closed.id in station.checked_sums:
        return
    _, total = fetch_sum(station, closed)
    named = {seat for _, seats in attempt.disputes for seat in seats}
    values: dict[Seat, bytes] = {}
    for seat in sorted(closed.survivors):
        said = attempt.confirms.get(seat)
        values[seat] = said if said and seat not in named else _true_value(station, closed, seat)
    opened = closed.started.opened
    if holds(values.values(), total):
        station.checked_sums.add(closed.id)
        _dispute(station, closed, [s for s in named if attempt.confirms.get(s) != values[s]])
        return
    false = [seat for seat in values if _true_value(station, closed, seat) != values[seat]]
    if false:
        _dispute(station, closed, false)
        raise MemberFault(
            MemberFaultKind.FALSE_CHECK,
            "a check value is not that of the committed vector",
            tuple(sorted(false)),
        )
    raise HostFault(
        HostFaultKind.WRONG_SUM,
        f"round {opened.round_no}: the closed sum is not that of the committed vectors",
        closed.id.encode(),
    )


def _dispute(station: Station, closed: Closed, seats: Iterable[Seat]) -> None:
    """Name the seats whose check value I have seen to be false, once (5.11)."""
    opened = closed.started.opened
    scope = scope_of(opened)
    said = closed.survivors & frozenset(seats)
    if said and "round.dispute" not in station.journal.promised(scope):
        body = RoundDispute(closed=closed.id, opened=opened.id, seats=tuple(sorted(said)))
        station.say(body, scope=scope)


def _true_value(station: Station, closed: Closed, seat: Seat) -> bytes:
    """T of a member's vector, from the vector itself.

    Raises:
        Forged: what the host serves does not have the committed root.
    """
    opened = closed.started.opened
    name = BlobName(closed.commits[seat].vector)
    found: list[bytes] = []

    def check(path: Path) -> None:
        root, value = vector_check(path, opened.words, closed.started.binding, seat, closed.id)
        if BlobName(root) != name:
            raise Forged(f"the vector of seat {seat} does not have its committed root")
        found.append(value)

    if station.blobs.finished(name):
        check(station.blobs.path(name))
    else:
        fetched = station.work / f"{name}.vector"
        station.remote.get_blob(name, fetched, check)
        fetched.unlink(missing_ok=True)
    return found[0]


def say_recover(station: Station, duty: SayRecover) -> None:
    """13: my shares of survivors that stay silent."""
    closed = duty.attempt.closed
    scope = scope_of(closed.started.opened)
    stage = stage_of(station, scope)
    if not isinstance(stage, Revealed):
        return
    shares = recover(stage, frozenset(int(seat) for seat in duty.silent))
    silent = tuple(SilentShares(beta=s.beta, seat=Seat(s.seat), mu=s.mu) for s in shares)
    if silent:
        body = RoundRecover(closed=closed.id, opened=closed.started.opened.id, silent=silent)
        station.say(body, scope=scope, part=min(duty.silent))


def say_accept(station: Station, duty: SayAccept) -> None:
    """11: unmask at home, judge the total, compute the next model, say its digest.

    Raises:
        MemberFault: some member's vector, dealing or shares are false; the attempt is abandoned.
    """
    attempt = duty.attempt
    closed = attempt.closed
    opened = closed.started.opened
    study = station.replica.state.studies[opened.study]
    _check_sum(station, attempt)
    before = model_files(station, study)
    try:
        made = compute_next(station, study, closed, attempt.reveals, attempt.recovers, before)
    except MemberFault as fault:
        # A false share may still be replaced by those of others; the rest is final (12r).
        time_s = round_time_s(station.replica.state, opened)
        late = time_s >= opened.time_s + opened.deadlines.end_by_s
        if fault.kind is MemberFaultKind.BAD_SHARE and _replace_false(station, attempt, fault):
            return
        if late or fault.kind is not MemberFaultKind.BAD_SHARE:
            abandon(station, opened, closed.id, str(fault))
        raise
    station.say(
        RoundAccept(
            closed=closed.id,
            model=made.model,
            opened=opened.id,
            total=made.total,
            moments=made.moments,
        ),
        scope=scope_of(opened),
    )


def _replace_false(station: Station, attempt: Revealing, fault: MemberFault) -> bool:
    """Give my shares of survivors whose m was false, so that t holders rebuild their mu (5.8)."""
    closed = attempt.closed
    opened = closed.started.opened
    scope = scope_of(opened)
    stage = stage_of(station, scope)
    mine = attempt.recovers.get(seat_of(station, opened))
    said = {share.seat for share in mine.silent} if mine is not None else set()
    false = (frozenset(map(Seat, fault.seats)) & closed.survivors & attempt.reveals.keys()) - said
    early = round_time_s(station.replica.state, opened) < (
        opened.time_s + opened.deadlines.reveal_by_s
    )
    if early or not false or not closed.dropped or not isinstance(stage, Revealed):
        return False
    part = ROSTER_MAX + min(false)
    if f"round.recover#{part}" in station.journal.promised(scope):
        return False
    shares = recover(stage, frozenset(map(int, false)))
    silent = tuple(SilentShares(beta=s.beta, seat=Seat(s.seat), mu=s.mu) for s in shares)
    body = RoundRecover(closed=closed.id, opened=opened.id, silent=silent)
    station.say(body, scope=scope, part=part)
    return True
