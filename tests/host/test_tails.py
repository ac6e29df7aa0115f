"""A tail is bytes from outside: whatever comes, it is taken as a whole or refused as one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.errors import Forged, Malformed, Refused
from comity.host.answers import read_tail
from comity.host.service import Host
from comity.host.tails import CheckedTail, Tail, verify_tail
from comity.node.sources import tail_body
from tests.host.hosting import declare, logged, open_host
from tests.worlds import World


@dataclass(frozen=True)
class Pair:
    """A host that is behind, and the honest tail that it lacks. start: its first entry."""

    behind: Host
    note: bytes
    start: int
    leaves: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        return tail_body(self.note, self.start, self.leaves)

    def verify(self, tail: Tail) -> CheckedTail | None:
        host = self.behind
        return verify_tail(
            tail,
            state=host.published.state,
            store=host._store,
            origin=host.origin,
            charter=host._charter,
        )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    root = tmp_path_factory.mktemp("tails")
    world = World.of(3)
    with ExitStack() as hosts:
        behind = hosts.enter_context(open_host(root / "behind", world))
        ahead = hosts.enter_context(open_host(root / "ahead", world))
        logged(behind, *world.log)
        start = world.tree.size
        for number in range(4):
            world.done(world.members[number % 3], declare(f"rows-{number}"))
        logged(ahead, *world.log)
        newest = ahead.published.newest
        assert newest is not None
        yield Pair(behind, newest.head.note, start - 1, tuple(world.log[start - 1 :]))


def test_the_honest_tail_fits(pair: Pair) -> None:
    tail = read_tail(pair.body)
    assert tail == Tail(pair.note, pair.start, pair.leaves)
    checked = pair.verify(tail)
    assert checked is not None
    assert checked.keep == pair.start + 1
    assert checked.state.size == pair.start + len(pair.leaves)


@settings(max_examples=300)
@given(junk=st.binary(max_size=400))
def test_junk_is_malformed(junk: bytes) -> None:
    for body in (junk, b'{"note":"x","from":0,"count":1}\n' + junk):
        try:
            tail = read_tail(body)
        except Malformed:
            continue
        assert tail_body(tail.note, tail.start, tail.leaves).partition(b"\n")[2] == junk


@settings(max_examples=150)
@given(data=st.data())
def test_a_bent_tail_is_refused_and_nothing_else(pair: Pair, data: st.DataObject) -> None:
    """Bytes changed, cut out, doubled or put in anywhere: only the honest entries get through."""
    body = bytearray(pair.body)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        stop = min(len(body), at + data.draw(st.integers(0, 40)))
        body[at:stop] = data.draw(
            st.one_of(st.binary(max_size=8), st.just(bytes(body[at:stop]) * 2))
        )
    try:
        tail = read_tail(bytes(body))
        checked = pair.verify(tail)
    except (Malformed, Forged, Refused):
        return
    honest = dict(enumerate(pair.leaves, pair.start))
    shown = dict(enumerate(tail.leaves, tail.start))
    assert shown.items() <= honest.items()
    assert checked is None or checked.tree.root() == checked.head.root


@pytest.mark.parametrize("lie", ["dropped", "doubled", "swapped", "shifted", "another head"])
def test_honest_entries_in_another_order_are_refused(pair: Pair, lie: str) -> None:
    first, second, *rest = pair.leaves
    note, start = pair.note, pair.start
    leaves = {
        "dropped": (first, *rest),
        "doubled": (first, first, second, *rest),
        "swapped": (second, first, *rest),
        "shifted": pair.leaves,
        "another head": pair.leaves,
    }[lie]
    if lie == "shifted":
        start -= 1
    if lie == "another head":
        note = note.replace(b"\n", b"\nx", 1)
    with pytest.raises((Malformed, Forged, Refused)):
        pair.verify(read_tail(tail_body(note, start, leaves)))
