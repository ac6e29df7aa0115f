"""What a node reads at an address that somebody offered: no more than a bounded stretch of lies.

The liar is a member with its own keys: it may sign statements of its own without end, and show
them under heads that nobody else has signed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from comity.errors import Forged, HostFault, HostFaultKind, Malformed
from comity.log.heads import TreeHead, cosign, origin_of, sign_head
from comity.node import showing
from comity.node.answers import Batch, PublishedHead
from comity.node.moving import Moving
from comity.node.showing import look
from comity.statements.governing import Seen
from comity.statements.membership import HostOffer
from comity.statements.wire import Draft, read, sign
from comity.values import CommonsId, sha256
from tests.e2e.steps import Desk
from tests.node.test_succession import Commons, founded

LIAR = 3
URL = "http://127.0.0.1:1"
Entries = Callable[..., Batch]


def own_statements(commons: Commons, count: int) -> list[bytes]:
    """Statements that the liar alone has signed, each behind the one before."""
    desk = commons.desk(LIAR)
    state, key = desk.state, desk.place.keys.statement
    author = state.authors[desk.member]
    seq, prev, leaves = author.seq, author.last, []
    for _ in range(count):
        seq += 1
        size, root = author.head_size, desk.station.replica.view.tree.root(author.head_size)
        draft = Draft(desk.member, state.commons, seq, prev, size, root, desk.clock(), Seen())
        leaves.append(sign(draft, key))
        prev = read(leaves[-1]).statement.id
    return leaves


def serve_lies(desk: Desk, leaves: list[bytes], heads: tuple[PublishedHead, ...]) -> list[int]:
    """What this node is given at `URL`, 32 entries a batch; where it asked from."""
    asked: list[int] = []
    start = desk.station.replica.final_size

    def entries(size: int, version: int = 0, wait_s: int = 0, *, proposed: bool = False) -> Batch:
        asked.append(size)
        return Batch(1, heads, size, tuple(leaves[size - start : size - start + 32]))

    setattr(desk.station.remote_to(URL), "entries", entries)  # noqa: B010 - a host that lies
    return asked


def head(commons: Commons, size: int, *cosigners: int, origin: str = "") -> PublishedHead:
    """A head of that size that the liar signs as host, with the good cosignatures of these."""
    desk = commons.desk(LIAR)
    said = TreeHead(origin or desk.station.replica.origin, size, bytes(32))
    lines = (
        cosign(said, d.member, d.place.keys.head, d.clock()).line()
        for d in map(commons.desk, cosigners)
    )
    return PublishedHead(sign_head(said, desk.place.keys.host).note(), tuple(lines))


def test_entries_without_end_are_not_read_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showing, "UNSETTLED_ENTRIES_MAX", 100)
    with founded(tmp_path) as commons:
        desk = commons.desk(1)
        leaves = own_statements(commons, 200)
        far = head(commons, 10**9, LIAR)
        asked = serve_lies(desk, leaves, (far,))
        with pytest.raises(Malformed, match="no head with enough cosignatures"):
            look(desk.station, URL)
        start = desk.station.replica.final_size
        assert max(asked) <= start + 100, "nothing is asked for beyond the bound"
        # The honest case: the same entries below a head that three of four have cosigned.
        asked = serve_lies(desk, leaves, (head(commons, start + 200, 0, 1, 2),))
        assert look(desk.station, URL).whole.size == start + 200


def test_bytes_without_end_are_not_read_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showing, "UNSETTLED_BYTES_MAX", 20_000)
    with founded(tmp_path) as commons:
        desk = commons.desk(1)
        leaves = own_statements(commons, 200)
        asked = serve_lies(desk, leaves, ())
        with pytest.raises(Malformed, match="not read to the end"):
            look(desk.station, URL)
        assert len(asked) == 20_000 // sum(map(len, leaves[:32])) + 1


def test_what_can_be_in_no_log_is_not_read_on(tmp_path: Path) -> None:
    """Judged batch by batch: the second one is never asked for."""
    with founded(tmp_path) as commons:
        desk = commons.desk(1)
        leaves = own_statements(commons, 64)
        asked = serve_lies(desk, [*leaves[:5], *leaves[6:]], ())
        with pytest.raises(HostFault) as fault:
            look(desk.station, URL)
        assert fault.value.kind is HostFaultKind.INADMISSIBLE
        assert len(asked) == 1
        other = head(commons, 50, origin=origin_of(CommonsId(sha256(b"another"))))
        serve_lies(desk, leaves, (other,))
        with pytest.raises(Forged, match="another log"):
            look(desk.station, URL)


def test_an_address_that_lies_is_probed_less_and_less(tmp_path: Path) -> None:
    with founded(tmp_path) as commons:
        desk = commons.desk(1)
        commons.desk(LIAR).station.say(HostOffer(address=URL))
        commons.desk(LIAR).station.deliver()
        desk.sync()
        leaves = own_statements(commons, 8)
        asked = serve_lies(desk, leaves[1:], ())
        status = desk.station.remote.status

        def in_office(tries: int | None = None) -> object:
            return status()

        setattr(desk.station.remote_to(URL), "status", in_office)  # noqa: B010 - it says so
        desk.station.faults["host"] = "away"
        now_s = [100.0]
        desk.station.machine = replace(desk.station.machine, monotonic_s=lambda: now_s[0])
        moving = Moving(desk.station)
        counts = []
        for _ in range(3):
            before = len(asked)
            for _ in range(100):
                now_s[0] += 1.0
                assert moving.step() is None
            counts.append(len(asked) - before)
        assert counts[0] <= 5 and counts[2] <= 1, counts
        assert "must not be in the log" in desk.station.faults["new host"]
