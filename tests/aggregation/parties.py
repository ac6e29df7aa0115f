"""A round of real members in one process, to bend: real keys, real sealing, real vectors.

`Round(n, ...)` runs up to Started for everybody; a test then drops, silences, forges. Everything is
derived from the `name` of the round, so that a run can be repeated (but for the sealed bytes).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from comity.aggregation.linear_check import CheckValue
from comity.aggregation.plan import AttemptPlan, graph_degree
from comity.aggregation.ring import add_into
from comity.aggregation.secagg import (
    RAND_BYTES,
    committed,
    join,
    mask_chunk,
    ready,
    recover,
    reveal,
    start,
)
from comity.aggregation.sharing import SealingSecret, sealing_keys
from comity.aggregation.stages import (
    Dealing,
    Joined,
    Ready,
    Reveal,
    Revealed,
    SilentShares,
    Started,
    Survivors,
)
from comity.aggregation.unmasking import Gathered, Unmasker, gather
from comity.values import ROW_BYTES, SEALED_BYTES, confirm_quorum, sha256

Words = npt.NDArray[np.uint32]
Carries = npt.NDArray[np.uint8]


def seeded(name: str, count: int) -> bytes:
    return hashlib.shake_256(name.encode()).digest(count)


def make_plan(
    n: int, c: int, u_min: int, words: int, name: str = "plan"
) -> tuple[AttemptPlan, dict[int, SealingSecret]]:
    pairs = [sealing_keys(seeded(f"{name} sealing {seat}", 96)) for seat in range(1, n + 1)]
    plan = AttemptPlan(
        opened=sha256(name.encode()),
        roster=tuple(f"member-{seat:03}" for seat in range(1, n + 1)),
        sealing_keys=tuple(public for _, public in pairs),
        n=n,
        c=c,
        t=confirm_quorum(n, c),
        u_min=u_min,
        k=graph_degree(n, c, u_min),
        words=words,
    )
    return plan, {seat: secret for seat, (secret, _) in enumerate(pairs, start=1)}


def envelope_at(dealer: int, holder: int) -> int:
    """Where the envelope from dealer to holder starts in the dealer's blob."""
    return SEALED_BYTES * (holder - 1 - (holder > dealer))


def swap_envelope(dealing: Dealing, dealer: int, holder: int, sealed: bytes) -> Dealing:
    at = envelope_at(dealer, holder)
    blob = dealing.blob[:at] + sealed + dealing.blob[at + SEALED_BYTES :]
    return dealing._replace(blob=blob)


def row_start(n: int, holder: int) -> int:
    return SEALED_BYTES * (n - 1) + ROW_BYTES * (holder - 1)


class Round:
    """All members of one attempt."""

    def __init__(
        self, n: int, c: int = 1, *, u_min: int | None = None, words: int = 8, name: str = "round"
    ) -> None:
        self.plan, self.secrets = make_plan(n, c, u_min or c + 2, words, name)
        self.terms = self.plan.terms()
        self.name = name
        self.everybody = frozenset(range(1, n + 1))
        self.binding = sha256(f"{name} binding".encode())
        self.close = sha256(f"{name} close".encode())
        self.joined: dict[int, Joined] = {}
        self.dealings: dict[int, Dealing] = {}
        for seat in sorted(self.everybody):
            self.joined[seat], self.dealings[seat] = join(
                self.plan,
                seat,
                rand=seeded(f"{name} rand {seat}", RAND_BYTES),
                member_secret=seeded(f"member {seat}", 32),
            )

    def ready(self, seats: frozenset[int] | None = None) -> dict[int, Ready]:
        """Everybody who joined opens the dealings of `seats`; no complaint is expected."""
        stages = {}
        dealings = {seat: self.dealings[seat] for seat in sorted(seats or self.everybody)}
        for seat in dealings:
            stages[seat], complaints = ready(self.joined[seat], self.secrets[seat], dealings)
            assert complaints == ()
        return stages

    def start(self, participants: frozenset[int] | None = None) -> dict[int, Started]:
        chosen = participants or self.everybody
        stages = self.ready(chosen)
        return {seat: start(stages[seat], chosen, self.binding) for seat in sorted(chosen)}

    def mask(self, started: Mapping[int, Started], q: Mapping[int, Words]) -> dict[int, Words]:
        return {seat: mask_chunk(started[seat], 0, q[seat].copy()) for seat in q}

    def check_value(self, lo: Words, hi: Carries | None = None) -> bytes:
        value = CheckValue(self.close, lo.size)
        value.update(lo, hi)
        return value.digest()

    def say(
        self,
        started: Mapping[int, Started],
        survivors: Survivors,
        silent: frozenset[int] = frozenset(),
    ) -> tuple[dict[int, Reveal], dict[int, tuple[SilentShares, ...]], dict[int, Revealed]]:
        """What everybody but the silent reveals, and recovers for the silent."""
        reveals, recovers, revealed = {}, {}, {}
        for seat, stage in started.items():
            if seat not in silent:
                revealed[seat], reveals[seat] = reveal(committed(stage), survivors)
                recovers[seat] = recover(revealed[seat], silent & survivors.survivors)
        return reveals, recovers, revealed

    def gather(
        self,
        survivors: Survivors,
        reveals: Mapping[int, Reveal],
        recovers: Mapping[int, Sequence[SilentShares]],
    ) -> Gathered:
        return gather(
            self.terms, survivors, dealings=self.dealings, reveals=reveals, recovers=recovers
        )

    def unmask(self, survivors: Survivors, gathered: Gathered, lo: Words) -> npt.NDArray[np.int32]:
        unmasker = Unmasker(
            self.terms,
            self.binding,
            dealings=self.dealings,
            survivors=survivors,
            gathered=gathered,
        )
        return unmasker.chunk(0, lo)


def summed(vectors: Mapping[int, Words]) -> tuple[Words, Carries]:
    size = next(iter(vectors.values())).size
    lo, hi = np.zeros(size, dtype=np.uint32), np.zeros(size, dtype=np.uint8)
    for y in vectors.values():
        add_into(lo, hi, y)
    return lo, hi


def plain(n: int, words: int, name: str = "q") -> dict[int, Words]:
    """Honest-looking vectors: canary, count 1, weight 1, small data."""
    rng = np.random.default_rng(int.from_bytes(seeded(name, 8), "big"))
    vectors = {}
    for seat in range(1, n + 1):
        q = np.zeros(words, dtype=np.int32)
        q[4:6] = 1
        q[6:] = rng.integers(-1000, 1000, words - 6)
        vectors[seat] = q.view(np.uint32)
    return vectors


def whole(q: Mapping[int, Words], seats: frozenset[int]) -> npt.NDArray[np.int32]:
    """The plain sum of the vectors of some seats."""
    total = np.zeros(next(iter(q.values())).size, dtype=np.uint32)
    for seat in seats:
        total += q[seat]
    return total.view(np.int32)
