"""Where the dice of a round come from: study seed, member and round, and nothing else.

A deployed round and a simulated one ask here, so a member draws the same numbers in both, and in
every attempt of a round.
"""

from __future__ import annotations

from collections.abc import Iterator

from comity.values import MemberId, labelled_hash, u32, u64


def training_seed(study_seed: int, member: MemberId, round_no: int) -> bytes:
    """32 bytes for a member's training in a round; the same in every attempt of it."""
    return labelled_hash("training", u64(study_seed), member.encode(), u32(round_no))


def rounding_seed(study_seed: int, member: MemberId, round_no: int) -> bytes:
    """32 bytes for a member's stochastic rounding in a round; the same in every attempt of it."""
    return labelled_hash("rounding", u64(study_seed), member.encode(), u32(round_no))


def sampling_seed(study_seed: int, round_no: int) -> bytes:
    """32 bytes for who takes part in a simulated round; a deployed one draws nobody."""
    return labelled_hash("sampling", u64(study_seed), u32(round_no))


def alone_seeds(seed: bytes, rounds: int) -> Iterator[bytes]:
    """32 bytes for each round that a member trains by itself; `seed` is its own, of round 0."""
    return (labelled_hash("alone", seed, u32(number)) for number in range(rounds))


def tuning_seeds(seed: bytes, rounds: int) -> Iterator[bytes]:
    """32 bytes for each round of fine tuning; `seed` is the member's, of round 0."""
    return (labelled_hash("fine tuning", seed, u32(number)) for number in range(rounds))
