"""The rounds of a study with all its members in one process, bit for bit as nodes would run them.

Same seeds, same quantising, same decoding, same step: what is left out is everything between the
members. So a simulated model has the digest that a commons with these members and tables accepts.
With `secure` the sum comes out of the real aggregation (`aggregation/whole_round.py`), masks, check
values and all, and must be the same number for number.

Runs no study code itself: whoever calls says how a member trains, and catches what goes wrong.
What members keep from round to round is with whoever says how they train, too.
Memory: one update at a time, whatever the number of members; with `secure` one for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from comity.aggregation.decoding import decode_chunk
from comity.aggregation.ring import Quantiser, chunk_count, chunk_words, data_range
from comity.aggregation.whole_round import run_all_parties
from comity.errors import Misconfigured, StudyFault, StudyFaultKind
from comity.learning.local import Shared, next_shared
from comity.learning.methods.scaffold import Scaffold
from comity.learning.model import model_digest
from comity.learning.seeds import rounding_seed, sampling_seed, training_seed
from comity.learning.steps import Float32Array, Float64Array
from comity.learning.study import Study
from comity.learning.training import generator
from comity.values import ROSTER_MAX, ROSTER_MIN, Digest, MemberId, labelled_hash, u32

MEMBERS_MAX: Final = 1_000
"""Of one simulation; at most `ROSTER_MAX` of them take part in a round."""

WAITING_WORDS: Final = 2**16
"""How many words of updates wait at most, beyond one update, before they are added."""

Train = Callable[[MemberId, Shared, bytes], tuple[Float32Array, int] | None]
"""(member, what all have before the round, 32 bytes of dice) to (update, rows learned from).

The update is flat, in the layout of vectors: with SCAFFOLD the control variate is behind it. None:
the member failed in this round; the caller has noted why.
"""


@final
@dataclass(frozen=True, slots=True)
class Terms:
    """What a plan fixes beside its study file, as far as a simulated round can meet it.

    Args:
        sampled: how many members take part in a round, drawn anew for each; 0: all of them.
        secure: whether sums go through the real aggregation.
        survivors_min: fewest members in a sum, at least c + 2; 0: two thirds of the round's roster.
        cyclic: one member after the other goes on from the model of the one before; no rule, no
            sum, so no SCAFFOLD. In simulations only: each would see what the one before has
            learned alone, which is what a secure sum hides.
    """

    sampled: int = 0
    secure: bool = False
    survivors_min: int = 0
    cyclic: bool = False


@final
@dataclass(frozen=True, slots=True)
class RoundDone:
    """One round. roster: who was asked; failed: who gave no update; model: digest of the file."""

    round_no: int
    roster: tuple[MemberId, ...]
    failed: tuple[MemberId, ...]
    model: Digest


@final
class Simulation:
    """A study, its members and the newest model; `round()` makes the next one.

    Args:
        study: what the study file declares; its `seed` decides every draw.
        first: the first model, and the state of the update rule before the first round.
        members: rows in each member's table.
        terms: who takes part, and how sums are made.
        train: how a member trains.
    Raises:
        Misconfigured: a number of members that no round can have.
    """

    def __init__(
        self,
        study: Study,
        first: Shared,
        members: Mapping[MemberId, int],
        terms: Terms,
        train: Train,
    ) -> None:
        self._study = study
        self._parts = study.parts
        self._members = dict(sorted(members.items()))
        self._terms = terms
        self._train = train
        self.shared = first
        self.round_no = 0
        assert not (terms.cyclic and terms.secure), "a cyclic order has no sum"
        assert not (terms.cyclic and isinstance(study.method, Scaffold)), "c is a sum"
        check_count(terms, len(members))

    def round(self) -> RoundDone:
        """Train every member of the round, sum, and step.

        Raises:
            StudyFault(CODE_FAILED): fewer members gave an update than a sum needs.
        """
        number = self.round_no + 1
        roster = self._roster(number)
        if self._terms.cyclic:
            failed = self._hand_on(number, roster)
        else:
            summed = self._secure if self._terms.secure else self._plain
            mean, failed = summed(number, roster)
            self.shared = next_shared(self._study, self.shared, mean)
        self.round_no = number
        model = model_digest(self._parts.model, [self.shared.model])
        return RoundDone(number, roster, failed, model)

    def _hand_on(self, number: int, roster: tuple[MemberId, ...]) -> tuple[MemberId, ...]:
        """Members train in turn, each from the model of the one before; who failed is passed by."""
        failed = []
        for member in roster:
            found = self._update(number, member)
            if found is None:
                failed.append(member)
            else:
                self.shared = Shared(self.shared.model + found[0], self.shared.state)
        self._enough(len(roster), failed)
        return tuple(failed)

    def _roster(self, number: int) -> tuple[MemberId, ...]:
        names = tuple(self._members)
        if self._terms.sampled in (0, len(names)):
            return names
        dice = generator(sampling_seed(self._study.seed, number))
        drawn = dice.choice(len(names), self._terms.sampled, replace=False)
        return tuple(names[place] for place in sorted(drawn))

    def _update(self, number: int, member: MemberId) -> tuple[Float32Array, int] | None:
        """(update as a flat vector, weight) of a member, or None when it failed."""
        learned = self._train(member, self.shared, training_seed(self._study.seed, member, number))
        if learned is None:
            return None
        update, rows = learned
        match self._study.weights:
            case "equal":
                return update, 1
            case "declared":
                rows = self._members[member]
            case "hidden":
                pass
        # As `Practice.declared_weight` and `Practice.mask` count them.
        return update, min(rows, self._study.weight_max)

    def _plain(
        self, number: int, roster: tuple[MemberId, ...]
    ) -> tuple[Float64Array, tuple[MemberId, ...]]:
        """The mean update from quantised updates added in the clear, and who failed."""
        layout, n, weight_max = self._parts.vector, len(roster), self._study.weight_max
        chunks = range(chunk_count(layout.words))
        totals = [np.zeros(chunk_words(layout.words, k), np.uint32) for k in chunks]
        failed: list[MemberId] = []
        weights = 0
        # A few small updates wait for each other: quantised in a row they cost a third (measured).
        waiting: list[tuple[Quantiser, Float32Array]] = []
        for place, member in enumerate(roster, start=1):
            found = self._update(number, member)
            if found is None:
                failed.append(member)
            else:
                update, weight = found
                seed = rounding_seed(self._study.seed, member, number)
                waiting.append((Quantiser(layout, n, weight, weight_max, seed), update))
                weights += weight
            if place == n or len(waiting) * layout.words >= WAITING_WORDS:
                for quantiser, update in waiting:
                    for k in chunks:
                        start, stop = data_range(layout.data_words, k)
                        totals[k] += quantiser.chunk(k, update[start:stop])
                waiting.clear()
        self._enough(n, failed)
        means = [
            decode_chunk(layout, k, totals[k].view(np.int32), weights, n, weight_max)
            for k in chunks
        ]
        return np.concatenate(means), tuple(failed)

    def _secure(
        self, number: int, roster: tuple[MemberId, ...]
    ) -> tuple[Float64Array, tuple[MemberId, ...]]:
        """The same mean out of a whole masked round."""
        seed, n = self._study.seed, len(roster)
        nothing = np.zeros(self._parts.vector.data_words, np.float32)
        found = [self._update(number, member) for member in roster]
        failed = [member for member, each in zip(roster, found, strict=True) if each is None]
        survivors_min = self._enough(n, failed)
        record = run_all_parties(
            self._parts.vector,
            [nothing if each is None else each[0] for each in found],
            weights=[1 if each is None else each[1] for each in found],
            weight_max=self._study.weight_max,
            rounding=[rounding_seed(seed, member, number) for member in roster],
            c=_colluders(n),
            u_min=survivors_min,
            dropped=frozenset(1 + roster.index(member) for member in failed),
            rand=labelled_hash("simulation", sampling_seed(seed, number), u32(n)),
        )
        return record.mean, tuple(failed)

    def _enough(self, n: int, failed: list[MemberId]) -> int:
        """The fewest survivors of a sum of `n`; raises when more than the others have failed."""
        least = min(n, max(_colluders(n) + 2, self._terms.survivors_min or -(-2 * n // 3)))
        if n - len(failed) < least:
            raise StudyFault(
                StudyFaultKind.CODE_FAILED,
                f"{len(failed)} of {n} members gave no update; a sum needs those of {least}",
            )
        return least


def check_count(terms: Terms, members: int) -> None:
    """Whether a round can have so many members. Raises Misconfigured when it cannot."""
    count = terms.sampled or members
    if not ROSTER_MIN <= count <= min(ROSTER_MAX, members):
        raise Misconfigured(
            f"a round has {ROSTER_MIN} to {ROSTER_MAX} members, here {count} of {members}:"
            " change --members or --sample"
        )


def _colluders(n: int) -> int:
    """c, as `study register` takes it when nobody says another."""
    return max(1, (n - 1) // 3)
