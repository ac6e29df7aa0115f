"""The parameters of one attempt, and the inequalities that every member checks itself.

Decided here: which n, c, t, u_min, k and length a member takes part in, whatever a host or study
says (aggregation.md 4; design 4.5: complete mask graph up to 64 members).
"""

from __future__ import annotations

import msgspec

from comity.values import (
    COMPLETE_GRAPH_MAX,
    ROSTER_MAX,
    ROSTER_MIN,
    SEALING_KEY_BYTES,
    VECTOR_WORDS_MAX,
    Digest,
    confirm_quorum,
    is_digest,
    is_slug,
)


class Terms(msgspec.Struct, frozen=True):
    """The numbers of an attempt that every later stage needs. Meaning as in `AttemptPlan`."""

    opened: Digest
    n: int
    c: int
    t: int
    u_min: int
    k: int
    words: int


class AttemptPlan(msgspec.Struct, frozen=True):
    """What an Open fixes, as this member's own fold derives it.

    Attributes:
        opened: hash of the Open (H_open).
        roster: member ids by seat: sorted as ASCII, so seat i is `roster[i - 1]`.
        sealing_keys: public sealing keys by seat, 1216 bytes each.
        n: seats.
        c: how many members may collude, the hosting member counted.
        t: Shamir threshold and every quorum, floor((n + c) / 2) + 1.
        u_min: least number of survivors.
        k: neighbours in the mask graph.
        words: L, all words of a vector.
    """

    opened: Digest
    roster: tuple[str, ...]
    sealing_keys: tuple[bytes, ...]
    n: int
    c: int
    t: int
    u_min: int
    k: int
    words: int

    def terms(self) -> Terms:
        """The numbers alone."""
        return Terms(self.opened, self.n, self.c, self.t, self.u_min, self.k, self.words)


def graph_degree(n: int, c: int, u_min: int) -> int:
    """The k we choose: complete up to 64 seats, above it the least even k >= c + (n - u_min) + 1.

    The circulant graph of that degree stays connected on honest survivors, whoever drops (T4).
    """
    needed = c + (n - u_min) + 1
    return n - 1 if n <= COMPLETE_GRAPH_MAX else min(n - 1, needed + needed % 2)


def plan_fault(plan: AttemptPlan) -> str | None:
    """Why a member takes no part in such an attempt, in words, or None."""
    n, c = plan.n, plan.c
    if not is_digest(plan.opened):
        return "opened is no digest"
    if not ROSTER_MIN <= n <= ROSTER_MAX:
        return f"a roster has {ROSTER_MIN} to {ROSTER_MAX} seats, not {n}"
    if len(plan.roster) != n or len(plan.sealing_keys) != n:
        return f"roster and sealing keys have {n} entries each"
    if not all(map(is_slug, plan.roster)) or list(plan.roster) != sorted(set(plan.roster)):
        return "the roster lists different member ids, sorted as ASCII"
    if any(len(key) != SEALING_KEY_BYTES for key in plan.sealing_keys):
        return f"a sealing key has {SEALING_KEY_BYTES} bytes"
    if len(set(plan.sealing_keys)) != n:
        return "two seats have the same sealing key"
    return _numbers_fault(plan, n, c)


def _numbers_fault(plan: AttemptPlan, n: int, c: int) -> str | None:
    if c < 1:
        return f"c is at least 1, not {c}"
    if plan.t != confirm_quorum(n, c):
        return f"t is floor((n + c) / 2) + 1 = {confirm_quorum(n, c)}, not {plan.t}"
    if plan.t > n:
        return f"t = {plan.t} is above n = {n}: c is too large for this roster"
    if not c + 2 <= plan.u_min <= n:
        return f"u_min lies in c + 2 = {c + 2} .. n = {n}, not {plan.u_min}"
    if plan.k != n - 1:
        if n <= COMPLETE_GRAPH_MAX:
            return f"up to {COMPLETE_GRAPH_MAX} seats the mask graph is complete: k = {n - 1}"
        needed = c + (n - plan.u_min) + 1
        if plan.k % 2 or not needed <= plan.k < n:
            return f"k is n - 1 or even and at least c + (n - u_min) + 1 = {needed}, not {plan.k}"
    if plan.words % 4 or not 8 <= plan.words <= VECTOR_WORDS_MAX:
        return f"words is a multiple of 4 in 8..{VECTOR_WORDS_MAX}, not {plan.words}"
    return None
