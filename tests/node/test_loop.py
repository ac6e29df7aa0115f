"""One node's loop where the host is away, behind, or does not let it read; real host, real node."""

from __future__ import annotations

import errno
import queue
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from comity.errors import ComityError, Unavailable
from comity.host.serve import HostServer
from comity.node import wishes
from comity.node.events import Heard, Trained, Wish
from comity.node.station import Station
from comity.statements.governing import Seen
from comity.values import SEEN_INTERVAL_S
from tests.e2e.places import Places, found_places, free_port
from tests.e2e.steps import Clock, Desk

TABLE = b"x\n1\n2\n"


@contextmanager
def hosted(places: Places, clock: Clock, port: int) -> Iterator[HostServer]:
    server = HostServer(
        places.host_folder,
        places.charter,
        host_key=places.host.keys.host,
        listen=f"127.0.0.1:{port}",
        clock=clock,
    )
    thread = threading.Thread(target=server.run, args=(lambda _: None,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(20)


def desks_of(places: Places, clock: Clock, port: int) -> list[Desk]:
    return [Desk(place, f"http://127.0.0.1:{port}", clock) for place in places.all]


def turns(desks: list[Desk], count: int) -> None:
    for _ in range(count):
        for desk in desks:
            desk.step()


def test_attack_03_a_host_restored_from_a_backup_is_shown_what_it_signed(tmp_path: Path) -> None:
    """Nobody has anything new to cosign; still the first node that asks stops the host for good."""
    clock, port = Clock(), free_port()
    places = found_places(tmp_path, ("a", "b", "c"), table=TABLE)
    with hosted(places, clock, port):
        desks = desks_of(places, clock, port)
        turns(desks, 6)
        assert desks[0].state.founded_size == 3
    shutil.copytree(places.host_folder, tmp_path / "backup")
    clock.now_s += SEEN_INTERVAL_S + 10
    with hosted(places, clock, port) as server:
        desks[1].station.say(Seen())
        turns(desks, 3)
        assert server.host.published.state.size == 4
        clock.now_s += 10
        turns(desks, 3)
        assert all(desk.station.replica.final_size == 4 for desk in desks)
    shutil.rmtree(places.host_folder)
    (tmp_path / "backup").rename(places.host_folder)
    clock.now_s += 10
    with hosted(places, clock, port) as server:
        desks[2].loop._in_step = desks[2].station.may_speak = False  # it has just been started
        desks[2].loop._serve(poll_fails(desks[2]))
        assert "you name a head of size 4" in desks[2].station.faults["host"]
        assert (places.host_folder / "halted").read_bytes()
        with pytest.raises(Unavailable, match="appends nothing more"):
            server.host.submit([b"{}"]).result(10)
    for desk in desks:
        desk.close()


def poll_fails(desk: Desk) -> ComityError:
    """What the thread of the long-poll hands to the loop."""
    with pytest.raises(ComityError) as caught:
        desk.station.remote.entries(desk.state.size)
    return caught.value


def test_who_may_not_read_yet_enters_all_the_same_and_says_nothing_else(tmp_path: Path) -> None:
    """A host lets nobody read whom its log does not know, so the log cannot be read first."""
    clock, port = Clock(), free_port()
    places = found_places(tmp_path, ("a", "b", "c"), table=TABLE)
    with hosted(places, clock, port) as server:
        desks = desks_of(places, clock, port)
        for desk in desks:
            desk.loop._in_step = desk.station.may_speak = False
            refused = poll_fails(desk)
            desk.loop._serve(refused)
            desk.loop._serve(refused)
            assert not desk.station.may_speak
        assert server.host.published.state.founded_size == server.host.published.state.size == 3
    for desk in desks:
        desk.close()


def test_a_wish_is_granted_while_the_host_is_away(tmp_path: Path) -> None:
    """Something waits to be sent, and nobody takes it: status is shown all the same."""
    clock, port = Clock(), free_port()
    places = found_places(tmp_path, ("a", "b", "c"), table=TABLE)
    desk = desks_of(places, clock, port)[0]
    desk.step()
    assert desk.station.journal.last_said(), "commons.found is said and not sent"
    assert fulfilled(desk, wishes.status) == wishes.status(desk.station)
    desk.close()


def test_a_wish_that_fails_ends_neither_the_loop_nor_the_one_who_asked(tmp_path: Path) -> None:
    clock, port = Clock(), free_port()
    places = found_places(tmp_path, ("a", "b", "c"), table=TABLE)
    desk = desks_of(places, clock, port)[0]

    def fails(_: Station) -> object:
        raise OSError("the disk")

    assert isinstance(fulfilled(desk, fails), Unavailable)
    desk.close()


def test_what_cannot_be_settled_holds_up_neither_the_long_poll_nor_who_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full, and entries wait for it: poller and wish get their answer all the same."""
    clock, port = Clock(), free_port()
    places = found_places(tmp_path, ("a", "b", "c"), table=TABLE)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with hosted(places, clock, port):
        desks = desks_of(places, clock, port)
        turns(desks, 6)
        desk = desks[0]
        batch = desk.station.remote.entries(desk.state.size)
        monkeypatch.setattr(desk.loop, "_settle", full)
        desk.loop._poller._taken.clear()
        desk.loop._serve(Heard(desk.station.remote, batch))
        assert desk.loop._poller._taken.is_set()
        assert "No space left" in desk.station.faults["disk"]
        assert "No space left" in str(fulfilled(desk, wishes.status))
        monkeypatch.undo()
        assert not isinstance(fulfilled(desk, wishes.status), ComityError)
        assert "disk" not in desk.station.faults
    for desk in desks:
        desk.close()


def test_a_journal_that_cannot_be_read_ends_no_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by filling the disk again and again: the loop asked the journal while it waited."""
    places = found_places(tmp_path, ("a", "b", "c"), table=TABLE)
    (desk, *others) = desks_of(places, Clock(), free_port())

    def unreadable(_: str) -> bytes:
        raise Unavailable("cannot use node.sqlite")

    monkeypatch.setattr(desk.station.journal, "get", unreadable)
    desk.loop._events.put(Trained())
    desk.loop._serve(desk.loop._next_event())
    assert "node.sqlite" in desk.station.faults["disk"]
    assert desk.loop._moving.has_approved(), "what is not known is not said either"
    monkeypatch.undo()
    desk.loop._serve(Trained())
    assert "disk" not in desk.station.faults
    for each in (desk, *others):
        each.close()


def fulfilled(desk: Desk, fulfil: Callable[[Station], object]) -> object:
    wish = Wish(fulfil, queue.Queue())
    desk.loop._serve(wish)
    return wish.answer.get_nowait()


def test_a_clock_an_hour_off_is_said_and_does_not_end_the_node(tmp_path: Path) -> None:
    """The token runs out while the clock is wrong: the cosignature waits, the loop goes on."""
    clock, port = Clock(), free_port()
    places = found_places(tmp_path, ("a", "b", "c"), table=TABLE)
    with hosted(places, clock, port):
        desks = desks_of(places, clock, port)
        for desk in desks:
            desk.loop._work()
        desk, right_s = desks[1], clock.now_s
        desk.sync()
        desk.station.remote._tokens._token = ""
        desk.station.clock = desk.station.remote._clock = Clock(right_s + 3_600)
        desk.loop._work()
        assert "3600 seconds ahead" in desk.station.faults["cosign"]
        desk.station.clock = desk.station.remote._clock = clock
        clock.now_s += 10
        desk.loop._work()
        assert "cosign" not in desk.station.faults
    for desk in desks:
        desk.close()
