"""What readers are told without a look at the disk, and how much memory bulk bytes may take."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from comity.values import MemberId
from comity.web.bodies import PIECE_BYTES_LEAST, ROOM_BYTES, Room
from comity.web.told import BATCH_BYTES_MAX, LEAVES_MAX, Published, newest_leaves
from tests.host.hosting import chain, declare, hosting, logged, open_host
from tests.worlds import World

A = MemberId("member-a")


def test_the_newest_entries_are_in_memory_and_older_ones_are_not(tmp_path: Path) -> None:
    world = World.of(3)
    with open_host(tmp_path, world) as host:
        logged(host, *world.log)
        assert host.published.newest_from(0) == tuple(world.log)
        (more,) = chain(world, A, declare("a"))
        logged(host, more)
        assert host.published.newest_from(2) == (world.log[2], more)
        assert host.published.newest_from(4) == ()
    with open_host(tmp_path, world) as host:
        assert host.published.newest_from(3) is None, "nothing is in memory after a restart"
        assert host.published.newest_from(4) == ()
        assert host.entries(3) == [more]


def test_what_is_kept_in_memory_has_a_limit() -> None:
    many = [bytes([k % 256]) for k in range(LEAVES_MAX + 10)]
    assert newest_leaves(many[:20], many[20:]) == tuple(many[-LEAVES_MAX:])
    state = World.of(3).state
    half = bytes(BATCH_BYTES_MAX // 2)
    told = Published(state, None, None, (half, half, b"one more"), 1)
    assert told.newest_from(0) is None, "too much for one answer"
    assert told.newest_from(1) == (half, b"one more")
    assert told.newest_from(2) == (b"one more",)


def test_readers_that_were_away_get_the_same_entries(tmp_path: Path) -> None:
    with hosting(tmp_path) as hosted:
        log = hosted.world.log
        for start in (0, 2, 3):
            for _ in range(2):
                assert list(hosted.remote(A).entries(start).entries) == log[start:]
        hosted.say(A, declare("a"))
        assert list(hosted.remote(A).entries(0).entries) == hosted.world.log


def test_pieces_shrink_so_that_all_together_take_no_more(tmp_path: Path) -> None:
    room = Room()
    alone = room.piece_bytes()
    with ExitStack() as transfers:
        for count in range(1, 2_000):
            transfers.enter_context(room.one())
            piece = room.piece_bytes()
            assert piece * count <= ROOM_BYTES or piece == PIECE_BYTES_LEAST
        assert piece == PIECE_BYTES_LEAST
    assert room.piece_bytes() == alone
