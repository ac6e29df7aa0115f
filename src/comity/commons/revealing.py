"""What may be said in an attempt from Commit to Abandon (aggregation.md 5.6 to 5.11).

Each function takes the attempt as it stands and a statement of a roster member that has not
abandoned it, and gives the attempt with the statement in it, or the rule that makes it void.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from msgspec.structs import replace as replace_struct

from comity.commons.attempts import (
    AbandonFact,
    Closed,
    Closing,
    CommitFact,
    Confirming,
    Ended,
    Halted,
    Live,
    Masking,
    Opened,
    Revealing,
    closed_of,
    opened_of,
    started_of,
)
from comity.commons.phases import committers, kind_of, round_time_s, sets_of
from comity.commons.state import State, Study
from comity.errors import Rule
from comity.statements.entries import Entry
from comity.statements.rounds import (
    RoundAbandon,
    RoundAccept,
    RoundClose,
    RoundCommit,
    RoundConfirm,
    RoundDispute,
    RoundRecover,
    RoundReveal,
)
from comity.values import (
    CHECK_FIELD,
    SHARE_FIELD,
    Digest,
    MemberId,
    Seat,
    commits_digest,
    labelled_hash,
    neighbours,
    pack_bits,
    raw,
    to_digest,
    u16,
)


def commit(study: Study, attempt: Live, seat: Seat, body: RoundCommit, entry: Entry) -> Live | Rule:
    """round.commit: a participant's masked vector, while masking."""
    started = started_of(attempt)
    if started is None:
        return Rule.PHASE_NOT_OPEN
    if not isinstance(attempt, Masking):
        return Rule.PHASE_CLOSED
    if seat not in committers(study, started):
        return Rule.WRONG_PARTY
    if seat in attempt.commits:
        return Rule.SAID_BEFORE
    if body.binding != started.binding:
        return Rule.NOT_AS_DERIVED
    fact = CommitFact(entry.statement.id, seat, body.vector)
    return replace(attempt, commits={**attempt.commits, seat: fact})


def expected_close(attempt: Closing, sum_root: Digest) -> RoundClose:
    """The round.close that is due; the hosting node adds the root of the sum."""
    opened = opened_of(attempt)
    commits = tuple((seat, attempt.commits[seat].id) for seat in sorted(attempt.commits))
    return RoundClose(
        binding=attempt.started.binding,
        commits=commits_digest(commits),
        opened=opened.id,
        sum=sum_root,
        survivors=pack_bits(frozenset(attempt.commits), opened.count),
    )


def close(attempt: Live, body: RoundClose, entry: Entry) -> Live | Rule:
    """round.close by the host: over all logged Commits, once committing has closed."""
    if started_of(attempt) is None or isinstance(attempt, Masking):
        return Rule.TOO_SOON
    if isinstance(attempt, Halted) and attempt.closed is None:
        return Rule.TOO_FEW
    if not isinstance(attempt, Closing):
        return Rule.PHASE_CLOSED
    if body != expected_close(attempt, body.sum):
        return Rule.NOT_AS_DERIVED
    closed = Closed(
        started=attempt.started,
        id=entry.statement.id,
        index=entry.index,
        host=entry.statement.author,
        sum=body.sum,
        commits=attempt.commits,
        survivors=frozenset(attempt.commits),
    )
    return Confirming(closed, {}, (), attempt.abandons)


def confirm(attempt: Live, seat: Seat, body: RoundConfirm) -> Live | Rule:
    """round.confirm: once per member, with a check value exactly if it survived."""
    closed = closed_of(attempt)
    if closed is None:
        return Rule.PHASE_NOT_OPEN
    if not isinstance(attempt, Confirming):
        return Rule.PHASE_CLOSED
    if seat in attempt.confirms:
        return Rule.SAID_BEFORE
    if body.closed != closed.id:
        return Rule.NO_SUCH_THING
    value = body.check_value
    if (value is not None) != (seat in closed.survivors):
        return Rule.CHECK_VALUE_MISSING
    if value is not None and int.from_bytes(value, "big") >= CHECK_FIELD:
        return Rule.CHECK_VALUE_MISSING
    return replace(attempt, confirms={**attempt.confirms, seat: value})


def dispute(attempt: Live, seat: Seat, body: RoundDispute) -> Live | Rule:
    """round.dispute: survivors whose check value is said to be false; once per member."""
    if not isinstance(attempt, Confirming | Revealing | Halted) or attempt.closed is None:
        return Rule.PHASE_NOT_OPEN
    if body.closed != attempt.closed.id:
        return Rule.NO_SUCH_THING
    if any(author == seat for author, _ in attempt.disputes):
        return Rule.SAID_BEFORE
    if not (_ascending(body.seats) and attempt.closed.survivors.issuperset(body.seats)):
        return Rule.NOT_AS_DERIVED
    return replace(attempt, disputes=(*attempt.disputes, (seat, frozenset(body.seats))))


def disputed(attempt: Live) -> frozenset[Seat]:
    """Whom t members dispute: out for the rest of the study (5.11)."""
    if not isinstance(attempt, Confirming | Revealing | Halted):
        return frozenset()
    named = Counter(seat for _, seats in attempt.disputes for seat in seats)
    quorum = opened_of(attempt).quorum
    return frozenset(seat for seat, count in named.items() if count >= quorum)


def reveal(attempt: Live, seat: Seat, body: RoundReveal) -> Live | Rule:
    """round.reveal: beta of a survivor, shares for exactly the dropped; after t Confirms."""
    if not isinstance(attempt, Revealing):
        return _before_revealing(attempt)
    closed = attempt.closed
    if body.closed != closed.id:
        return Rule.NO_SUCH_THING
    if seat in attempt.reveals:
        return Rule.SAID_BEFORE
    survived = seat in closed.survivors
    if (body.beta is not None) != survived:
        return Rule.NOT_AS_DERIVED
    if [entry.seat for entry in body.dropped] != sorted(closed.dropped):
        return Rule.NOT_AS_DERIVED
    opened = opened_of(attempt)
    beside = neighbours(seat, opened.count, opened.degree) if survived else frozenset()
    if any((entry.m is not None) != (entry.seat in beside) for entry in body.dropped):
        return Rule.NOT_AS_DERIVED
    shares = [part for entry in body.dropped for part in (entry.mu, entry.sigma)]
    if not all(map(_in_field, shares)):
        return Rule.SHARE_DOES_NOT_FIT
    if body.beta is not None and not _is_beta(attempt, seat, body.beta):
        return Rule.SHARE_DOES_NOT_FIT
    return replace(attempt, reveals={**attempt.reveals, seat: body})


def recover(state: State, attempt: Live, seat: Seat, body: RoundRecover) -> Live | Rule:
    """round.recover: by who revealed, past reveal_by, about survivors that have not.

    When some dropped, about any survivor: the m it revealed for one of them may be false, which
    only the dealings show (5.8); its mu then comes from t holders.
    """
    if not isinstance(attempt, Revealing):
        return _before_revealing(attempt)
    opened, closed = opened_of(attempt), attempt.closed
    if body.closed != closed.id:
        return Rule.NO_SUCH_THING
    if seat not in attempt.reveals:
        return Rule.WRONG_PARTY
    if round_time_s(state, opened) < opened.time_s + opened.deadlines.reveal_by_s:
        return Rule.TOO_SOON
    said = attempt.recovers[seat].silent if seat in attempt.recovers else ()
    named = [entry.seat for entry in body.silent]
    if {entry.seat for entry in said} & set(named):
        return Rule.SAID_BEFORE
    about = closed.survivors if closed.dropped else closed.survivors - attempt.reveals.keys()
    if not (_ascending(named) and about >= set(named)):
        return Rule.NOT_AS_DERIVED
    if any((entry.mu is not None) != bool(closed.dropped) for entry in body.silent):
        return Rule.NOT_AS_DERIVED
    if not all(_in_field(part) for e in body.silent for part in (e.beta, e.mu) if part):
        return Rule.SHARE_DOES_NOT_FIT
    both = tuple(sorted((*said, *body.silent), key=lambda entry: entry.seat))
    merged = replace_struct(body, silent=both)
    return replace(attempt, recovers={**attempt.recovers, seat: merged})


def accept(attempt: Live, seat: Seat, body: RoundAccept) -> Live | Rule:
    """round.accept: what a member unmasked and computed from it."""
    if not isinstance(attempt, Revealing):
        return _before_revealing(attempt)
    if body.closed != attempt.closed.id:
        return Rule.NO_SUCH_THING
    if seat in attempt.accepts:
        return Rule.SAID_BEFORE
    result = (body.total, body.model, body.moments)
    return replace(attempt, accepts={**attempt.accepts, seat: result})


def accept_ended(ended: Ended, author: MemberId, body: RoundAccept) -> Ended | Rule:
    """round.accept of an attempt that others have accepted already: it must say the same."""
    seat = ended.opened.seat(author)
    if seat is None:
        return Rule.WRONG_PARTY
    if seat in ended.abandons:
        return Rule.AFTER_ABANDON
    if seat in ended.accepted:
        return Rule.SAID_BEFORE
    if ended.closed is None or body.closed != ended.closed.id:
        return Rule.NO_SUCH_THING
    if (body.total, body.model, body.moments) != (ended.total, ended.model, ended.moments):
        return Rule.NOT_AS_DERIVED
    return replace(ended, accepted=ended.accepted | {seat})


def abandon(attempt: Live, seat: Seat, body: RoundAbandon) -> Live | Rule:
    """round.abandon: the last statement of a member in a live attempt, truthful against the log."""
    confirms = attempt.confirms if isinstance(attempt, Confirming | Revealing | Halted) else {}
    reveals = attempt.reveals if isinstance(attempt, Revealing) else {}
    closed = closed_of(attempt)
    if body.released and not isinstance(attempt, Revealing):
        return Rule.NOT_TRUTHFUL  # nobody can have revealed; it would burn what is to be sealed
    if not _truthful(body, closed, confirmed=seat in confirms, revealed=seat in reveals):
        return Rule.NOT_TRUTHFUL
    fact = AbandonFact(body.released, body.closed)
    return replace(attempt, abandons={**attempt.abandons, seat: fact})


def abandon_ended(ended: Ended, seat: Seat, body: RoundAbandon) -> Ended | Rule:
    """A late round.abandon: a burned attempt may still become sealed by it (R7)."""
    if body.released and len(ended.confirmed) < ended.opened.quorum:
        return Rule.NOT_TRUTHFUL
    if not _truthful(
        body, ended.closed, confirmed=seat in ended.confirmed, revealed=seat in ended.revealed
    ):
        return Rule.NOT_TRUTHFUL
    abandons = {**ended.abandons, seat: AbandonFact(body.released, body.closed)}
    after = replace(ended, abandons=abandons, end=kind_of(abandons, ended.opened.quorum))
    return replace(after, sets=sets_of(after))


def _truthful(
    body: RoundAbandon, closed: Closed | None, *, confirmed: bool, revealed: bool
) -> bool:
    if revealed and not body.released:
        return False
    return not (confirmed or revealed) or (closed is not None and body.closed == closed.id)


def _before_revealing(attempt: Live) -> Rule:
    return Rule.PHASE_NOT_OPEN if closed_of(attempt) is None else Rule.BEFORE_QUORUM


def _ascending(seats: Sequence[int]) -> bool:
    return all(left < right for left, right in pairwise(seats))


def _in_field(share: bytes) -> bool:
    return int.from_bytes(share, "big") < SHARE_FIELD


def _is_beta(attempt: Revealing, seat: Seat, beta: bytes) -> bool:
    # A false beta would count as revealed and so keep the others from recovering the true one.
    opened: Opened = opened_of(attempt)
    promised = attempt.closed.started.joins[seat].self_commit
    made = labelled_hash("self-commit", raw(opened.id), u16(seat), beta)
    return _in_field(beta) and to_digest(made) == promised
