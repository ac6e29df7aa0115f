"""Small questions that the invariants ask: quorums, sums, states, and how a violation is told."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from comity.aggregation.ring import SumRoot, chunk_count, chunk_words
from comity.commons.attempts import Opened
from comity.commons.state import State
from comity.storage.ports import Attempt
from comity.values import CHUNK_WORDS, Digest, MemberId

_WHOLE_EVERY = 16
"""At these sizes of a log whole states are compared, not only what moves with every entry."""

_MOVING = ("size", "authors", "commons_time_s", "founded_size", "head", "proposals")


class Violation(AssertionError):
    """An invariant does not hold. name: which."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name


def alike(one: State, other: State) -> bool:
    """Whether two states over one log are the same: what is new in them, and all of it at times."""
    if one is other:
        return True
    if one.size % _WHOLE_EVERY == 0:
        return one == other
    if any(getattr(one, name) != getattr(other, name) for name in _MOVING):
        return False
    if one.studies.keys() != other.studies.keys():
        return False
    pairs = [(study, other.studies[study_id]) for study_id, study in one.studies.items()]
    return all(
        (a.current, a.ended[-2:], a.results[-2:], a.enrolled, a.consents)
        == (b.current, b.ended[-2:], b.results[-2:], b.enrolled, b.consents)
        for a, b in pairs
    )


def sum_root(vectors: Iterable[bytes], words: int, binding: Digest) -> Digest:
    """root(S) of the integer sum of vectors, added here and in no other way."""
    total = np.zeros(words, np.uint64)
    for vector in vectors:
        total += np.frombuffer(vector, "<u4")
    root = SumRoot(binding)
    for k in range(chunk_count(words)):
        part = total[k * CHUNK_WORDS : k * CHUNK_WORDS + chunk_words(words, k)]
        root.update((part & 0xFFFFFFFF).astype(np.uint32), (part >> 32).astype(np.uint8))
    return root.digest()


def true_quorum(opened: Opened) -> int:
    """t as aggregation.md 4 has it, whatever the product thinks."""
    return (opened.count + opened.colluders) // 2 + 1


def names_of(members: frozenset[MemberId]) -> str:
    return "{" + ", ".join(sorted(members)) + "}"


def short(scope: Attempt) -> str:
    return f"{scope.study[:6]}/{scope.round_no}/{scope.attempt}"
