"""One party's side of a round, as types: each stage is what a member may still hold and do.

    join -> Joined -> ready -> Ready -> (resolve, take_resolve) -> start -> Started -> mask_chunk
         -> committed -> Committed -> reveal -> Revealed -> recover
    bystander / stand_by -> Bystander: in the roster, not in P; it may release the shares it holds.

Decided here: which secrets exist in which stage, and which share may be given for whom. A function
takes the stage it needs and returns the next; `Survivors` computes who dropped, so that nobody can
be asked for as both. Randomness is an argument (sealing alone draws inside the library). A stage
is journalled with `to_bytes` before anything made from it is sent; after a crash the stored bytes
are sent again, nothing is dealt or masked twice. Sections are of aggregation.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from comity.aggregation.dealing import (
    check_points,
    dealt_plaintexts,
    dealt_rows,
    ephemeral_secret,
    hedged_scalar,
    open_dealings,
    self_commitment,
    well_formed,
)
from comity.aggregation.masks import (
    Words,
    add_streams,
    neighbours,
    pair_seed,
    secret_m,
    self_seed,
)
from comity.aggregation.plan import AttemptPlan, plan_fault
from comity.aggregation.sharing import (
    SHARE_BYTES,
    SealingSecret,
    seal,
    seal_info,
)
from comity.aggregation.stages import (
    Bystander,
    Committed,
    Dealing,
    DroppedShares,
    Joined,
    Ready,
    Reveal,
    Revealed,
    SilentShares,
    Started,
    Survivors,
)
from comity.errors import Refused, Rule
from comity.values import (
    Digest,
    raw,
    sealing_key_id,
    share_row,
    to_digest,
    tree_path,
    tree_path_root,
    tree_root,
)

RAND_BYTES: Final = 64
"""Random bytes one `join` takes: the salt of every secret and coefficient of the attempt."""
MEMBER_SECRET_BYTES_MIN: Final = 32
_LABELS: Final = ("beta", "sigma", "mu")


# --- joining --------------------------------------------------------------------------------------


def join(
    plan: AttemptPlan, seat: int, *, rand: bytes, member_secret: bytes
) -> tuple[Joined, Dealing]:
    """Make the secrets of an attempt and deal them to the whole roster.

    Journal the stage and the dealing in one durable transaction before sending anything.

    Args:
        plan: the attempt; its sealing keys are valid (the fold saw to it).
        seat: mine.
        rand: `RAND_BYTES` fresh random bytes.
        member_secret: at least 32 bytes that only this member has, the same in every attempt.

    Raises:
        Refused(STUDY_OUT_OF_BOUNDS): the plan breaks section 4; the message says where.
    """
    fault = plan_fault(plan)
    if fault is not None:
        raise Refused(Rule.STUDY_OUT_OF_BOUNDS, fault)
    assert len(rand) == RAND_BYTES and len(member_secret) >= MEMBER_SECRET_BYTES_MIN
    assert 1 <= seat <= plan.n
    beta, sigma, mu = (
        tuple(
            hedged_scalar(plan.opened, rand, member_secret, label, counter).to_bytes(
                SHARE_BYTES, "big"
            )
            for counter in range(plan.t)
        )
        for label in _LABELS
    )
    own_key = sealing_key_id(plan.sealing_keys[seat - 1])
    joined = Joined(plan.terms(), seat, own_key, (beta, sigma, mu))
    plaintexts = dealt_plaintexts(joined)
    sealed = [
        seal(key, seal_info(plan.opened, seat, holder, sealing_key_id(key)), plaintext)
        for holder, (key, plaintext) in enumerate(
            zip(plan.sealing_keys, plaintexts, strict=True), start=1
        )
        if holder != seat
    ]
    rows = dealt_rows(joined, plaintexts)
    epk = ephemeral_secret(plan.opened, sigma[0], seat).public_key().public_bytes_raw()
    commit = self_commitment(plan.opened, seat, beta[0])
    root = to_digest(tree_root(rows))
    return joined, Dealing(epk, commit, root, b"".join(sealed) + b"".join(rows))


# --- ready, complaints ----------------------------------------------------------------------------


def ready(
    joined: Joined, sealing_secret: SealingSecret, dealings: Mapping[int, Dealing]
) -> tuple[Ready, tuple[int, ...]]:
    """Open and check everything dealt to me; returns the seats of dealers to complain of.

    Args:
        joined: my stage.
        sealing_secret: the private half of the key that the Open pins; erase it once Ready is
            journalled.
        dealings: every valid Join when joining closed, mine included. Each blob has the hash that
            its signed Join names.

    Raises:
        Refused(BAD_POINT): an ephemeral key is not canonical, of low order, or used twice.
    """
    terms, seat = joined.terms, joined.seat
    assert seat in dealings, "a member whose Join is not among the valid ones stands by"
    check_points(dealings)
    received = open_dealings(terms, seat, joined.sealing_key_id, sealing_secret, dealings)
    received[seat] = dealt_plaintexts(joined)[seat - 1]
    complaints = tuple(sorted(set(dealings) - set(received)))
    stage = Ready(
        terms,
        seat,
        joined.polynomials,
        {dealer: dealing.epk for dealer, dealing in dealings.items()},
        {dealer: dealing.rows_root for dealer, dealing in dealings.items()},
        received,
        complaints,
    )
    return stage, complaints


def resolve(
    stage: Joined | Ready, complainer: int, complainers: frozenset[int]
) -> tuple[bytes, tuple[bytes, ...]]:
    """Answer a complaint: the plaintext of that envelope, and the path of its row (5.5).

    Args:
        stage: my stage; polynomials exist until Start.
        complainer: the seat to answer.
        complainers: everybody who ever complained of me in this attempt, journal included.

    Raises:
        Refused(TOO_MANY_COMPLAINTS): more than c complained; then nothing is published.
    """
    terms, seat = stage.terms, stage.seat
    assert complainer in complainers and complainer != seat
    if len(complainers) > terms.c:
        raise Refused(
            Rule.TOO_MANY_COMPLAINTS,
            f"{len(complainers)} members complained and at most {terms.c} can be false; "
            "say nothing and stay out of this attempt",
        )
    plaintexts = dealt_plaintexts(stage)
    return plaintexts[complainer - 1], tree_path(dealt_rows(stage, plaintexts), complainer - 1)


def take_resolve(stage: Ready, dealer: int, plaintext: bytes, path: tuple[bytes, ...]) -> Ready:
    """Use what a dealer published in answer to my complaint.

    Raises:
        Refused(SHARE_DOES_NOT_FIT): it is not under the root in the dealer's Join.
    """
    terms, seat = stage.terms, stage.seat
    assert dealer in stage.complaints
    fits = well_formed(plaintext) and tree_path_root(
        share_row(terms.opened, dealer, seat, plaintext), seat - 1, terms.n, path
    ) == raw(stage.rows_roots[dealer])
    if not fits:
        raise Refused(Rule.SHARE_DOES_NOT_FIT, f"the answer of seat {dealer} is not what it dealt")
    return msgspec.structs.replace(stage, received={**stage.received, dealer: plaintext})


# --- start, mask ----------------------------------------------------------------------------------


def start(stage: Ready, participants: frozenset[int], binding: Digest) -> Started:
    """Derive the pair seeds and drop the polynomials and sigma (5.5, 5.6).

    Args:
        stage: my stage.
        participants: P as derived, with me in it.
        binding: ctx, over the Joins of P and the Start.

    Raises:
        Refused(NOT_AS_DERIVED): P names a seat whose share I do not hold, or leaves me out.
        Refused(TOO_FEW): |P| is below max(u_min, t).
    """
    terms, seat = stage.terms, stage.seat
    if seat not in participants or not participants <= set(stage.received):
        raise Refused(Rule.NOT_AS_DERIVED, "P names a seat that dealt me nothing; do not mask")
    if len(participants) < max(terms.u_min, terms.t):
        raise Refused(Rule.TOO_FEW, f"P has {len(participants)} seats, below max(u_min, t)")
    beta, sigma, mu = (polynomial[0] for polynomial in stage.polynomials)
    esk = ephemeral_secret(terms.opened, sigma, seat)
    seeds = {}
    for other in neighbours(seat, terms.n, terms.k):
        if other in participants:
            shared = esk.exchange(X25519PublicKey.from_public_bytes(stage.epks[other]))
            mine = secret_m(terms.opened, mu, seat, other)
            theirs = stage.received[other][96:]
            lo, hi = min(seat, other), max(seat, other)
            up, down = (mine, theirs) if seat == lo else (theirs, mine)
            seeds[other] = pair_seed(binding, shared, up, down, lo, hi)
    return Started(terms, seat, participants, binding, beta, mu, stage.received, seeds)


def mask_chunk(stage: Started, k: int, q: Words) -> Words:
    """y = q + stream(b_i) +- the streams of all pairs, modulo 2**32 (5.6).

    Args:
        stage: my stage.
        k: index of the chunk, from 0.
        q: uint32, quantised words of the chunk; overwritten with y, which is returned.
    """
    own = self_seed(stage.binding, stage.beta, stage.seat)
    plus = [seed for other, seed in stage.pair_seeds.items() if stage.seat < other]
    minus = [seed for other, seed in stage.pair_seeds.items() if stage.seat > other]
    add_streams(q, k, [own, *plus], minus)
    return q


def committed(stage: Started) -> Committed:
    """Drop the pair seeds: once my Commit is logged, or once I am dropped and never mask (5.6)."""
    return Committed(
        stage.terms,
        stage.seat,
        stage.participants,
        stage.beta,
        stage.mu,
        stage.received,
    )


# --- standing by, revealing -----------------------------------------------------------------------


def bystander(
    plan: AttemptPlan,
    seat: int,
    sealing_secret: SealingSecret,
    *,
    dealings: Mapping[int, Dealing],
    participants: frozenset[int],
) -> tuple[Bystander, tuple[int, ...]]:
    """Open what was dealt to a member that did not join: it may help to recover.

    Returns:
        The stage, and the seats in P whose dealing did not open.
    """
    own_key = sealing_key_id(plan.sealing_keys[seat - 1])
    received = open_dealings(plan.terms(), seat, own_key, sealing_secret, dealings)
    stage = Bystander(plan.terms(), seat, participants, received)
    return stage, tuple(sorted(participants - set(received)))


def stand_by(stage: Ready, participants: frozenset[int]) -> Bystander:
    """Keep only what others dealt: I am not in P."""
    assert stage.seat not in participants
    return Bystander(stage.terms, stage.seat, participants, stage.received)


def reveal(stage: Committed | Bystander, survivors: Survivors) -> tuple[Revealed, Reveal]:
    """What I may say once t Confirms of one Close are logged and its sum is checked (5.8).

    My beta if I am in U. For every dropped seat, and for no other, my shares of its sigma and mu,
    and, if I am in U and its neighbour, my m towards it. A share I never got is left out.

    Raises:
        Refused(NOT_AS_DERIVED): the Close is over another P than mine.
        Refused(TOO_FEW): fewer than u_min survive.
    """
    terms, seat = stage.terms, stage.seat
    if survivors.participants != stage.participants:
        raise Refused(Rule.NOT_AS_DERIVED, "this Close is over other participants than mine")
    if len(survivors.survivors) < terms.u_min:
        raise Refused(Rule.TOO_FEW, f"fewer than u_min = {terms.u_min} survive; reveal nothing")
    beta, mu, near = None, b"", frozenset[int]()
    if isinstance(stage, Committed) and seat in survivors.survivors:
        beta, mu = stage.beta, stage.mu
        near = frozenset(neighbours(seat, terms.n, terms.k))
    dropped = []
    for dealer in sorted(survivors.dropped & set(stage.received)):
        held = stage.received[dealer]
        m = secret_m(terms.opened, mu, seat, dealer) if dealer in near else None
        dropped.append(DroppedShares(dealer, held[32:64], held[64:96], m))
    revealed = Revealed(terms, seat, stage.participants, survivors.survivors, dict(stage.received))
    return revealed, Reveal(beta, tuple(dropped))


def recover(stage: Revealed, silent: frozenset[int]) -> tuple[SilentShares, ...]:
    """My shares for survivors that stay silent past reveal_by (5.8).

    Raises:
        Refused(NOT_AS_DERIVED): a seat is not a survivor of the set I revealed for.
    """
    if not silent <= stage.survivors:
        raise Refused(Rule.NOT_AS_DERIVED, "only survivors can be silent; give nothing for others")
    has_dropped = stage.participants != stage.survivors
    return tuple(
        SilentShares(
            dealer,
            stage.received[dealer][:32],
            stage.received[dealer][64:96] if has_dropped else None,
        )
        for dealer in sorted(silent & set(stage.received))
    )
