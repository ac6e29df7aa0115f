"""What may be said in an attempt from Join to Start (aggregation.md 5.4, 5.5).

Each function takes the attempt as it stands and a statement of a roster member that has not
abandoned it, and gives the attempt with the statement in it, or the rule that makes it void.
"""

from __future__ import annotations

from dataclasses import replace

from comity.commons.attempts import (
    JoinFact,
    Joining,
    Live,
    Masking,
    Readying,
    Resolving,
    Started,
    Starting,
)
from comity.commons.phases import complainers
from comity.commons.state import State, Study
from comity.commons.studies import consent_rule, sealing_key_rule
from comity.errors import Rule
from comity.statements.entries import Entry
from comity.statements.keysets import ephemeral_key_valid
from comity.statements.rounds import RoundJoin, RoundReady, RoundResolve, RoundStart
from comity.values import (
    SHARE_FIELD,
    Digest,
    MemberId,
    Seat,
    joins_digest,
    pack_bits,
    raw,
    round_binding,
    share_row,
    tree_path_root,
)


def join(
    state: State, study: Study, attempt: Live, seat: Seat, body: RoundJoin, entry: Entry
) -> Live | Rule:
    """round.join: with a new ephemeral key, and consent for the data sets it names."""
    if not isinstance(attempt, Joining):
        return Rule.PHASE_CLOSED
    if seat in attempt.joins:
        return Rule.SAID_BEFORE
    epk = body.ephemeral_key
    if not ephemeral_key_valid(epk) or any(epk == j.ephemeral_key for j in attempt.joins.values()):
        return Rule.BAD_POINT
    rule = _joined_data(state, study, entry.statement.author, body)
    if rule is not None:
        return rule
    if (body.weight is not None) != (attempt.opened.weights == "declared"):
        return Rule.NOT_AS_DERIVED
    if body.weight is not None and body.weight > attempt.opened.weight_max:
        return Rule.NOT_AS_DERIVED
    fact = JoinFact(
        id=entry.statement.id,
        seat=seat,
        ephemeral_key=epk,
        self_commit=body.self_commit,
        rows_root=body.rows_root,
        blob=body.blob,
        datasets=body.datasets,
        weight=body.weight,
    )
    return replace(attempt, joins={**attempt.joins, seat: fact})


def _joined_data(state: State, study: Study, author: MemberId, body: RoundJoin) -> Rule | None:
    refused = consent_rule(state, study, author)
    if refused is not None:
        return refused
    consent = study.consents[author]
    if any(joined.dataset != consent.dataset for joined in body.datasets):
        return Rule.NO_CONSENT
    if any(joined.version != consent.version for joined in body.datasets):
        return Rule.VERSION_NOT_DECLARED
    return Rule.NOT_AS_DERIVED if len(body.datasets) > 1 else None


def ready(state: State, attempt: Live, seat: Seat, body: RoundReady) -> Live | Rule:
    """round.ready: over the very joins of the log, with complaints and a new sealing key."""
    if isinstance(attempt, Joining):
        return Rule.PHASE_NOT_OPEN
    if not isinstance(attempt, Readying):
        return Rule.PHASE_CLOSED
    if seat not in attempt.joins:
        return Rule.WRONG_PARTY
    if seat in attempt.readies:
        return Rule.SAID_BEFORE
    if body.joins != digest_of_joins(attempt):
        return Rule.NOT_AS_DERIVED
    complaints = frozenset(body.complaints)
    if list(body.complaints) != sorted(complaints):
        return Rule.NOT_AS_DERIVED
    if not complaints <= attempt.joins.keys() - {seat}:
        return Rule.NOT_AS_DERIVED
    unfit = sealing_key_rule(state, body.sealing_key)
    if unfit is not None:
        return unfit
    return replace(attempt, readies={**attempt.readies, seat: complaints})


def digest_of_joins(attempt: Readying | Resolving | Starting) -> Digest:
    """What a Ready repeats: the digest over all valid Joins."""
    return joins_digest(tuple((seat, attempt.joins[seat].id) for seat in sorted(attempt.joins)))


def resolve(attempt: Live, dealer: Seat, body: RoundResolve) -> Live | Rule:
    """round.resolve: a dealer's plaintext that fits the rows its Join committed to."""
    if isinstance(attempt, Joining | Readying):
        return Rule.PHASE_NOT_OPEN
    if not isinstance(attempt, Resolving):
        return Rule.PHASE_CLOSED
    opened, share = attempt.opened, body.share
    against = complainers(attempt.readies).get(dealer, frozenset())
    if share.holder not in against:
        return Rule.NO_SUCH_THING
    if len(against) > opened.colluders:
        return Rule.TOO_MANY_COMPLAINTS
    if (dealer, share.holder) in attempt.plain:
        return Rule.SAID_BEFORE
    scalars = (share.plaintext[at : at + 32] for at in (0, 32, 64))
    if any(int.from_bytes(scalar, "big") >= SHARE_FIELD for scalar in scalars):
        return Rule.SHARE_DOES_NOT_FIT
    row = share_row(opened.id, dealer, share.holder, share.plaintext)
    root = tree_path_root(row, share.holder - 1, opened.count, share.path)
    if root is None or root != raw(attempt.joins[dealer].rows_root):
        return Rule.SHARE_DOES_NOT_FIT
    plain = {**attempt.plain, (dealer, share.holder): share.plaintext}
    return replace(attempt, plain=plain)


def expected_start(attempt: Starting) -> RoundStart:
    """The round.start that is due."""
    opened, joins = attempt.opened, attempt.joins
    dealt = tuple((seat, joins[seat].id) for seat in sorted(attempt.participants))
    return RoundStart(
        joins=joins_digest(dealt),
        opened=opened.id,
        participants=pack_bits(attempt.participants, opened.count),
    )


def start(attempt: Live, body: RoundStart, entry: Entry) -> Live | Rule:
    """round.start by the host: the derived participants, once resolving has closed."""
    if isinstance(attempt, Joining | Readying | Resolving):
        return Rule.TOO_SOON
    if not isinstance(attempt, Starting):
        return Rule.PHASE_CLOSED
    if body != expected_start(attempt):
        return Rule.NOT_AS_DERIVED
    joins, started_id = attempt.joins, entry.statement.id
    dealt = tuple(joins[seat].id for seat in sorted(attempt.participants))
    started = Started(
        opened=attempt.opened,
        joins=joins,
        participants=attempt.participants,
        start=started_id,
        binding=round_binding(attempt.opened.id, dealt, started_id),
        plain=attempt.plain,
    )
    return Masking(started, {}, attempt.abandons)
