"""Mask graph, seeds and streams."""

from __future__ import annotations

from collections import deque
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.aggregation.masks import (
    BLOCK_WORDS,
    add_stream,
    add_streams,
    chunk_key,
    keystream,
    neighbours,
    next_words,
    pair_seed,
    self_seed,
    stream_buffer,
)
from comity.values import sha256

BINDING = sha256(b"binding")


def test_the_complete_graph_names_everybody_else() -> None:
    assert neighbours(2, 4, 3) == (1, 3, 4)


def test_the_circulant_graph_wraps_around() -> None:
    assert neighbours(1, 9, 4) == (2, 3, 8, 9)
    assert neighbours(9, 9, 4) == (1, 2, 7, 8)


@given(st.integers(3, 200), st.data())
def test_the_graph_is_symmetric_and_regular(n: int, choose: st.DataObject) -> None:
    k = choose.draw(st.sampled_from([n - 1, *range(2, n, 2)]))
    near = {seat: set(neighbours(seat, n, k)) for seat in range(1, n + 1)}
    for seat, others in near.items():
        assert len(others) == k and seat not in others
        assert all(seat in near[other] for other in others)


def connected(near: dict[int, set[int]], left: set[int]) -> bool:
    found, queue = {min(left)}, deque([min(left)])
    while queue:
        for other in near[queue.popleft()] & left - found:
            found.add(other)
            queue.append(other)
    return found == left


@pytest.mark.parametrize("n, k", [(9, 4), (11, 4), (12, 6)])
def test_the_circulant_graph_stays_connected_after_any_k_minus_1_losses(n: int, k: int) -> None:
    near = {seat: set(neighbours(seat, n, k)) for seat in range(1, n + 1)}
    everybody = set(near)
    for lost in combinations(sorted(everybody), k - 1):
        assert connected(near, everybody - set(lost))
    assert any(
        not connected(near, everybody - set(lost)) for lost in combinations(sorted(everybody), k)
    )


def disjoint_paths(near: dict[int, set[int]], source: int, sink: int) -> int:
    """Paths without a common seat, by max-flow over seats split in two (in, out)."""
    room: dict[tuple[tuple[int, int], tuple[int, int]], int] = {}
    links: dict[tuple[int, int], set[tuple[int, int]]] = {}

    def link(a: tuple[int, int], b: tuple[int, int], capacity: int) -> None:
        room[a, b] = room.get((a, b), 0) + capacity
        room.setdefault((b, a), 0)
        links.setdefault(a, set()).add(b)
        links.setdefault(b, set()).add(a)

    for seat, others in near.items():
        link((seat, 0), (seat, 1), len(near) if seat in (source, sink) else 1)
        for other in others:
            link((seat, 1), (other, 0), 1)
    paths, start, end = 0, (source, 0), (sink, 1)
    while True:
        came = {start: start}
        queue = deque([start])
        while queue and end not in came:
            here = queue.popleft()
            for there in links[here]:
                if there not in came and room[here, there]:
                    came[there] = here
                    queue.append(there)
        if end not in came:
            return paths
        paths, here = paths + 1, end
        while here != start:
            room[came[here], here] -= 1
            room[here, came[here]] += 1
            here = came[here]


@pytest.mark.parametrize("n, k", [(13, 4), (24, 10), (40, 12), (40, 38)])
def test_the_circulant_graph_is_k_connected(n: int, k: int) -> None:
    # The graph looks the same from every seat, so paths from seat 1 decide (Menger).
    near = {seat: set(neighbours(seat, n, k)) for seat in range(1, n + 1)}
    strangers = [seat for seat in near if seat != 1 and seat not in near[1]]
    assert strangers and all(disjoint_paths(near, 1, seat) == k for seat in strangers)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 3 * BLOCK_WORDS), st.integers(0, 5))
def test_streams_add_and_take_away_exactly(size: int, k: int) -> None:
    start = np.arange(size, dtype=np.uint32) * np.uint32(2654435761)
    acc = start.copy()
    seeds = [bytes([number]) * 32 for number in range(4)]
    add_streams(acc, k, seeds[:3], seeds[3:])
    one = start.copy()
    for seed in seeds[:3]:
        add_stream(one, seed, k, False)
    add_stream(one, seeds[3], k, True)
    assert np.array_equal(acc, one) and not np.array_equal(acc, start)
    add_streams(acc, k, seeds[3:], seeds[:3])
    assert np.array_equal(acc, start)


def test_a_stream_is_one_keystream_over_all_its_blocks() -> None:
    acc = np.zeros(2 * BLOCK_WORDS + 10, dtype=np.uint32)
    add_stream(acc, bytes(32), 3, False)
    plain = keystream(chunk_key(bytes(32), 3)).update(bytes(4 * acc.size))
    assert acc.astype("<u4").tobytes() == plain


def test_every_chunk_and_seed_has_its_own_stream() -> None:
    streams = set()
    for seed in (bytes(32), b"\x01" + bytes(31)):
        for k in range(3):
            words = next_words(keystream(chunk_key(seed, k)), stream_buffer(), 8)
            streams.add(words.tobytes())
    assert len(streams) == 6


def test_attack_41_seeds_bind_seats_and_both_sides() -> None:
    # Indices 1, 2 and parts that join to the same bytes never give the same seed.
    m = [bytes([number]) * 32 for number in range(3)]
    seeds = {
        pair_seed(BINDING, m[0], m[1], m[2], 1, 2),
        pair_seed(BINDING, m[0], m[2], m[1], 1, 2),
        pair_seed(BINDING, m[0], m[1], m[2], 1, 3),
        pair_seed(BINDING, m[0], m[1], m[2], 1, 258),
        pair_seed(sha256(b"other"), m[0], m[1], m[2], 1, 2),
        self_seed(BINDING, m[0] + m[1] + m[2], 1),
        self_seed(BINDING, m[0] + m[1] + m[2], 2),
    }
    assert len(seeds) == 7
