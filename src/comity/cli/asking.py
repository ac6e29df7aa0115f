"""From a command to a node: the one that runs, or one that is opened for this command alone.

A node's folder belongs to one process. So a command first asks over `node.sock`; if no node runs,
it unlocks the keys, opens the folder itself, and runs the same loop until its statement is logged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from comity.cli.terminal import Screen, Unlock
from comity.errors import ComityError, HostFault, HostFaultKind, Unavailable
from comity.node.control import ask_node
from comity.node.keyfile import make_keys
from comity.node.loop import Loop
from comity.node.opening import open_own, open_station
from comity.node.reacting import halt, proven_against_host
from comity.node.reports import Status
from comity.node.rotating import load_own_keys
from comity.node.speaking import LOGGED_WITHIN_S, Ask, Spoken, logged_within
from comity.node.speaking import PAUSE_S as PAUSE_S
from comity.node.speaking import ask_running as ask_running
from comity.node.speaking import expect as expect
from comity.node.station import Station
from comity.node.wish_wire import AskStatus, Result, Wish, check_wish, fulfil, fulfil_beside
from comity.node.wishes import Said

SYNCED_WITHIN_S: Final = 120.0


@contextmanager
def node_of(
    folder: Path, unlock: Unlock, screen: Screen, *, patient: bool = False
) -> Iterator[Ask]:
    """The node of a folder, to ask several things.

    Args:
        patient: the host need not answer yet.
    Raises:
        Misconfigured: no node folder, wrong passphrase. Unavailable: the host is not reached.
        HostFault, Forged, Malformed: the host broke the protocol.
    """
    if ask_node(folder, AskStatus()) is not None:
        yield lambda wish: _of_running(folder, wish)
        return
    station = open_own(folder, load_own_keys(folder, passphrase=unlock()))
    try:
        screen.note("no node runs in this folder, so this command opens it by itself")
        with running_loop(station) as ask:
            if not patient:
                _sync(station, ask, screen)
            yield ask
    finally:
        station.close()


def read_node(folder: Path, wish: Wish) -> Result:
    """Ask for what needs no key: the running node, or the folder's own verified copy of the log."""
    check_wish(wish)
    answer = ask_node(folder, wish)
    if answer is not None:
        return answer
    # Keys that nobody knows: this station can read its folder, and say nothing that would count.
    station = open_station(folder, make_keys())
    try:
        why = proven_against_host(station)
        if why is not None:
            halt(station, why)
        return fulfil(wish, station)
    finally:
        station.close()


def speak(ask: Ask, wish: Wish, screen: Screen, *, within_s: float = LOGGED_WITHIN_S) -> Spoken:
    """Grant a wish that says something, and wait until its statement is in the log.

    Raises: as `node.speaking.logged_within`.
    """
    said = expect(Said, ask(wish))
    with screen.waiting("said; waiting until it is in the log"):
        return logged_within(ask, said, within_s)


@contextmanager
def running_loop(station: Station) -> Iterator[Ask]:
    """The loop of a station in a thread of its own, for as long as the block runs."""
    ended: list[ComityError] = []
    loop = Loop(station)

    def run() -> None:
        try:
            loop.run()
        except ComityError as error:
            ended.append(error)

    thread = threading.Thread(target=run, name="loop", daemon=True)

    def ask(wish: Wish) -> Result:
        # What ended the loop is the answer to everything after it.
        if ended:
            raise ended[0]
        check_wish(wish)
        if not thread.is_alive():
            raise Unavailable("the node's loop has ended; start the command again")
        return fulfil_beside(wish, station, loop.ask)

    thread.start()
    try:
        yield ask
    finally:
        loop.stop()
        thread.join()


def _of_running(folder: Path, wish: Wish) -> Result:
    check_wish(wish)
    answer = ask_node(folder, wish)
    if answer is None:
        raise Unavailable("the node that ran in this folder has ended; start it, and try again")
    return answer


def _sync(station: Station, ask: Ask, screen: Screen) -> None:
    """Follow the log as far as the host has it now, so that a wish is judged by its newest state.

    Raises:
        Unavailable: the host is not reached, or not in time.
    """
    with screen.waiting("reading the log from the host"):
        size = station.remote.status().size
        limit = time.monotonic() + SYNCED_WITHIN_S
        while expect(Status, ask(AskStatus())).size < size or not station.may_speak:
            if station.halted:
                raise HostFault(HostFaultKind.SPLIT_VIEW, station.halted)
            if time.monotonic() > limit:
                raise Unavailable("the host has not shown its log in time; try again later")
            time.sleep(PAUSE_S)
