"""From revealed secrets to the total: checking each against what its owner committed to.

Decided here: whose fault a secret is that does not fit (aggregation.md 5.8, T7), and which streams
are taken off the sum. Needs public dealings only; every member, and anyone later, computes the same
total. The host's word about it is never used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from comity.aggregation.dealing import ephemeral_secret, rows_of, self_commitment
from comity.aggregation.masks import (
    Words,
    add_streams,
    neighbours,
    pair_seed,
    secret_m,
    self_seed,
)
from comity.aggregation.plan import Terms
from comity.aggregation.ring import Totals
from comity.aggregation.sharing import BETA, MU, SHARE_BYTES, SIGMA, Recovered
from comity.aggregation.sharing import recover as recover_shared
from comity.aggregation.stages import Dealing, Reveal, SilentShares, Survivors
from comity.errors import MemberFault, MemberFaultKind, Unavailable
from comity.values import Digest, m_commitment, raw, same_bytes


def beta_fits(terms: Terms, seat: int, beta: bytes, dealing: Dealing) -> bool:
    """Whether a revealed beta is the one its owner committed to in its Join."""
    commit = self_commitment(terms.opened, seat, beta)
    return same_bytes(raw(commit), raw(dealing.self_commit))


def m_fits(terms: Terms, dealer: int, holder: int, m: bytes, dealing: Dealing) -> bool:
    """Whether a revealed m from dealer to holder is the one in the dealer's rows."""
    rows = rows_of(dealing.blob, terms.n)
    return rows is not None and same_bytes(
        m_commitment(terms.opened, dealer, holder, m), rows[holder - 1][96:]
    )


def recover_secret(
    terms: Terms, dealer: int, kind: int, shares: Mapping[int, bytes], dealing: Dealing
) -> Recovered:
    """Rebuild a secret of a member from shares of t holders, and check it (5.8).

    Args:
        terms: of the attempt.
        dealer: seat whose secret it is.
        kind: `BETA` or `MU` of a silent survivor, `SIGMA` or `MU` of a dropped member.
        shares: seat of the holder -> share, as revealed; wrong ones are sorted out by their leaves
            and their holders named in the answer.
        dealing: the dealer's; its blob has the hash its signed Join names.

    Raises:
        Unavailable: fewer than t shares fit.
        MemberFault(BAD_DEALING): the dealer dealt falsely; its own rows prove it.
    """
    rows = rows_of(dealing.blob, terms.n)
    if rows is None:
        raise _bad_dealing(dealer)
    leaves = [row[SHARE_BYTES * kind : SHARE_BYTES * (kind + 1)] for row in rows]
    recovered = recover_shared(terms.opened, dealer, kind, shares, leaves=leaves, t=terms.t)
    fits = {BETA: beta_fits, SIGMA: sigma_fits, MU: mu_fits}[kind]
    if not fits(terms, dealer, recovered.secret, dealing):
        raise _bad_dealing(dealer)
    return recovered


def sigma_fits(terms: Terms, seat: int, sigma: bytes, dealing: Dealing) -> bool:
    """Whether a recovered sigma gives the ephemeral key of the Join."""
    public = ephemeral_secret(terms.opened, sigma, seat).public_key()
    return same_bytes(public.public_bytes_raw(), dealing.epk)


def mu_fits(terms: Terms, seat: int, mu: bytes, dealing: Dealing) -> bool:
    """Whether a recovered mu gives every m that its owner committed to."""
    rows = rows_of(dealing.blob, terms.n) or ()
    committed = b"".join(row[96:] for holder, row in enumerate(rows, 1) if holder != seat)
    derived = b"".join(
        m_commitment(terms.opened, seat, holder, secret_m(terms.opened, mu, seat, holder))
        for holder in range(1, terms.n + 1)
        if holder != seat
    )
    return same_bytes(derived, committed)


@final
@dataclass(frozen=True, slots=True, repr=False)
class Gathered:
    """What the Reveals and Recovers of an attempt give so far, each secret checked.

    Attributes:
        betas: of survivors, revealed or recovered.
        sigmas: of dropped seats.
        mus: of dropped seats, and of silent survivors if some dropped.
        ms: (survivor, dropped) -> m, as the survivor revealed it.
        silent: survivors that did not reveal all they owe; past reveal_by, recover for them.
        missing: seats some secret of which cannot be had yet; empty means: unmask.
        false_seats: who revealed something that does not fit what was committed to.
    """

    betas: dict[int, bytes]
    sigmas: dict[int, bytes]
    mus: dict[int, bytes]
    ms: dict[tuple[int, int], bytes]
    silent: frozenset[int]
    missing: frozenset[int]
    false_seats: frozenset[int]

    def __repr__(self) -> str:
        return "Gathered"


def gather(
    terms: Terms,
    survivors: Survivors,
    *,
    dealings: Mapping[int, Dealing],
    reveals: Mapping[int, Reveal],
    recovers: Mapping[int, Sequence[SilentShares]],
) -> Gathered:
    """Check everything revealed so far and rebuild what t holders can rebuild (5.8).

    A wrong secret or share is left out, and its sender is named; its owner counts as silent.

    Args:
        terms: of the attempt.
        survivors: U within P.
        dealings: those of P.
        reveals: seat -> what its `round.reveal` says; any roster member's.
        recovers: seat -> what its `round.recover` says.

    Raises:
        MemberFault(BAD_DEALING): a secret cannot be rebuilt because its owner dealt falsely.
    """
    found = _Found(terms, dealings)
    for seat in sorted(reveals):
        found.take_reveal(seat, reveals[seat], survivors)
    for seat in sorted(recovers):
        for shares in recovers[seat]:
            found.offer(BETA, shares.seat, seat, shares.beta)
            if shares.mu is not None:
                found.offer(MU, shares.seat, seat, shares.mu)
    for gone in sorted(survivors.dropped):
        found.rebuild(SIGMA, gone)
        found.rebuild(MU, gone)
    silent = set()
    for seat in sorted(survivors.survivors):
        owed = survivors.dropped & set(neighbours(seat, terms.n, terms.k))
        if seat not in found.secrets[BETA]:
            silent.add(seat)
            found.rebuild(BETA, seat)
        if any((seat, gone) not in found.ms for gone in owed):
            silent.add(seat)
            found.rebuild(MU, seat)
    return Gathered(
        found.secrets[BETA],
        found.secrets[SIGMA],
        found.secrets[MU],
        found.ms,
        frozenset(silent),
        frozenset(found.missing),
        frozenset(found.false_seats),
    )


@final
class Unmasker:
    """Takes the masks off a checked sum, chunk by chunk, in any order.

    Args:
        terms: of the attempt.
        binding: ctx.
        dealings: those of P.
        survivors: U within P.
        gathered: every secret, checked; nothing is missing.
    """

    def __init__(
        self,
        terms: Terms,
        binding: Digest,
        *,
        dealings: Mapping[int, Dealing],
        survivors: Survivors,
        gathered: Gathered,
    ) -> None:
        assert not gathered.missing, "unmask once every secret is known"
        self._plus: list[bytes] = []
        self._minus = [
            self_seed(binding, gathered.betas[seat], seat) for seat in sorted(survivors.survivors)
        ]
        for gone in sorted(survivors.dropped):
            esk = ephemeral_secret(terms.opened, gathered.sigmas[gone], gone)
            for other in neighbours(gone, terms.n, terms.k):
                if other not in survivors.survivors:
                    continue
                theirs = gathered.ms.get((other, gone))
                if theirs is None:
                    theirs = secret_m(terms.opened, gathered.mus[other], other, gone)
                mine = secret_m(terms.opened, gathered.mus[gone], gone, other)
                shared = esk.exchange(X25519PublicKey.from_public_bytes(dealings[other].epk))
                lo, hi = min(gone, other), max(gone, other)
                up, down = (mine, theirs) if gone == lo else (theirs, mine)
                seed = pair_seed(binding, shared, up, down, lo, hi)
                # `other` added the stream if its seat is the lower one.
                (self._minus if other < gone else self._plus).append(seed)

    def __repr__(self) -> str:
        return "Unmasker"

    def chunk(self, k: int, lo: Words) -> Totals:
        """X of chunk `k`: the low words of the sum without any mask, as signed integers (5.8).

        Args:
            k: from 0.
            lo: uint32, low words of the sum; not changed.

        Returns:
            int32, same shape. Nothing is accepted before `RangeCheck` has judged it.
        """
        words = np.array(lo, dtype=np.uint32)
        add_streams(words, k, self._plus, self._minus)
        return words.view(np.int32)


@final
class _Found:
    """The secrets and shares of one attempt while they are being gathered."""

    def __init__(self, terms: Terms, dealings: Mapping[int, Dealing]) -> None:
        self._terms, self._dealings = terms, dealings
        self._shares: dict[tuple[int, int], dict[int, bytes]] = {}
        self.secrets: dict[int, dict[int, bytes]] = {BETA: {}, SIGMA: {}, MU: {}}
        self.ms: dict[tuple[int, int], bytes] = {}
        self.missing: set[int] = set()
        self.false_seats: set[int] = set()

    def take_reveal(self, seat: int, said: Reveal, survivors: Survivors) -> None:
        if said.beta is not None and seat in survivors.survivors:
            if beta_fits(self._terms, seat, said.beta, self._dealings[seat]):
                self.secrets[BETA][seat] = said.beta
            else:
                self.false_seats.add(seat)
        for shares in said.dropped:
            if shares.seat not in survivors.dropped:
                self.false_seats.add(seat)
                continue
            self.offer(SIGMA, shares.seat, seat, shares.sigma)
            self.offer(MU, shares.seat, seat, shares.mu)
            if shares.m is not None and seat in survivors.survivors:
                if m_fits(self._terms, seat, shares.seat, shares.m, self._dealings[seat]):
                    self.ms[seat, shares.seat] = shares.m
                else:
                    self.false_seats.add(seat)

    def offer(self, kind: int, dealer: int, holder: int, share: bytes) -> None:
        self._shares.setdefault((kind, dealer), {})[holder] = share

    def rebuild(self, kind: int, dealer: int) -> None:
        shares = self._shares.get((kind, dealer), {})
        try:
            recovered = recover_secret(self._terms, dealer, kind, shares, self._dealings[dealer])
        except Unavailable:
            self.missing.add(dealer)
            return
        self.false_seats.update(recovered.false_holders)
        self.secrets[kind][dealer] = recovered.secret


def _bad_dealing(seat: int) -> MemberFault:
    return MemberFault(
        MemberFaultKind.BAD_DEALING,
        f"what seat {seat} dealt does not fit its Join; its own signed blob proves it",
        (seat,),
    )
