"""A node's one loop: sync, fold, cosign, then whatever the log says is owed now.

There is no queue of jobs and no pending flag: what is owed is `duties(state, ...)`, a pure
function, so a node that dies anywhere starts again with the same question. Two threads serve the
loop and decide nothing: one holds the long-poll open, one waits for the study's process. Nothing
sleeps.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Final, final

from comity.commons.duties import Duty, SayApprove, duties
from comity.commons.state import Outcome
from comity.errors import ComityError, Forged, HostFault, Malformed, Refused, Rule, Unavailable
from comity.log.heads import parse_signed_head
from comity.node.comparing import Compared, investigate
from comity.node.cosigning import Cosigner
from comity.node.events import (
    Event,
    Handed,
    Heard,
    Stopped,
    Trained,
    Wish,
    disk_fault,
    grant,
    refuse_wishes,
    stopped,
)
from comity.node.histories import Applied
from comity.node.moving import Moving
from comity.node.peers import Peers
from comity.node.performing import perform
from comity.node.polling import Poller
from comity.node.reacting import caught, halt, note_truncated, proven_against_host, resume
from comity.node.remote import Batch
from comity.node.rotating import adopt_if_final, has_other_keys, has_unread_keys
from comity.node.rounds import Rounds
from comity.node.said import is_said
from comity.node.station import Station, describe
from comity.node.succession import hand_in_bulk
from comity.statements.entries import Entry
from comity.storage.memory import keep_freed_memory

LOG = logging.getLogger(__name__)

RETRY_S: Final = 1.0
"""How long to wait before asking again for what was unavailable."""

MOVING_S: Final = 0.2
"""How long to wait before looking at a candidate again."""


@final
class Loop:
    """Runs one station until it is stopped or the host is caught at a fault.

    Args:
        station: the member's open folder.
        on_change: called after every change of the state, for screens; may be None.
    """

    def __init__(
        self, station: Station, on_change: Callable[[Station], None] | None = None
    ) -> None:
        self._station = station
        self._events: queue.Queue[Event] = queue.Queue()
        self._rounds = Rounds(station, lambda: self._events.put(Trained()))
        self._on_change = on_change
        self._stopping = threading.Event()
        self._poller = Poller(station, self._wanted, self._events.put)
        self._moving = Moving(station)
        self._version = 0
        self._pending: list[bytes] = []
        self._unsettled: list[Applied] = []
        self._cosigner = Cosigner(station)
        self._peers = Peers(station, self._events.put)
        self._retry = False
        self._bulk_owed = self._away = False
        self._in_step = True
        self.keys_changed = False  # whether `run` ended so that the folder is opened with others

    def stop(self) -> None:
        """Make `run` return soon; may be called from any thread or a signal handler."""
        self._stopping.set()
        self._poller.stop()
        self._events.put(Stopped())

    def cut(self) -> None:
        """Let the mirror answer nobody any more; may be called from any thread."""
        self._peers.cut()

    def ask(self, fulfil: Callable[[Station], object], timeout_s: float = 600.0) -> object:
        """Run something in the loop's thread and return its answer; errors are raised here."""
        wish = Wish(fulfil, queue.Queue())
        if self._stopping.is_set():
            raise stopped()
        self._events.put(wish)
        try:
            answer = wish.answer.get(timeout=timeout_s)
        except queue.Empty as error:
            raise Unavailable("the node is busy; ask again later") from error
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def run(self) -> None:
        """Serve until `stop`.

        A host that broke the protocol is spoken to no more (`reacting.py`); wishes are granted, and
        the mirror is served, as before.
        """
        keep_freed_memory()
        self.begin()
        try:
            self._peers.start()
            self._poller.start()
            while not self._stopping.is_set():
                self._serve(self._next_event())
        finally:
            self._stopping.set()
            self._poller.stop()
            refuse_wishes(self._events)
            self._peers.close()
            self._rounds.close()
            self._send(self._station.flush)

    def begin(self) -> None:
        """What comes before the first event, on a folder that may be old or hold evidence."""
        # Until it has the whole log, this node cannot know what it has said: it may be a copy (R8).
        self._in_step = self._station.may_speak = False
        why = proven_against_host(self._station)
        if why is not None:
            halt(self._station, why)

    def _wanted(self) -> tuple[int, int, int]:
        """What the next question to the host is about."""
        station = self._station
        start = station.replica.state.size + len(self._pending)
        patient = self._in_step and not self._away
        return start, self._version, station.settings.poll_s if patient else 0

    # -- events -------------------------------------------------------------------------------

    def _next_event(self) -> Event | None:
        """The next event, or None when it is time to look at the clock."""
        wait_s = RETRY_S if self._retry else float(self._station.settings.cosign_every_s)
        if self._moving.is_near:
            wait_s = MOVING_S
        try:
            return self._events.get(timeout=wait_s)
        except queue.Empty:
            return None

    def _serve(self, event: Event | None) -> None:
        try:
            heard = self._heard(event)
            if has_other_keys(self._station):
                self.keys_changed = True
                self.stop()
                return
            # Trying a host that is away again and again would keep wishes and the next host
            # waiting.
            if heard and self._in_step and not self._moving.waits and not self._away:
                self._work()
        except (HostFault, Forged, Malformed) as error:
            if not self._station.halted:
                caught(self._station, error)

    def _heard(self, event: Event | None) -> bool:
        """React to an event; whether this node's disk took what that brought."""
        try:
            self._settle()
            self._react(event)
            self._station.faults.pop("disk", None)
        except (OSError, Unavailable) as error:
            # What was not stored or settled stays in memory, and comes first at the next event.
            fault = disk_fault(error)
            self._note("disk", fault)
            self._retry = True
            if isinstance(event, Wish):
                event.answer.put(fault)
            return False
        finally:
            if isinstance(event, Heard):
                self._poller.taken()
        return True

    def _react(self, event: Event | None) -> None:
        match event:
            case Heard():
                if event.remote is self._station.remote:
                    self._take(event.batch)
            case Wish():
                grant(event, self._station)
            case Compared():
                self._peers.take(event)
            case Handed():
                self._send(self._peers.turn)
            case ComityError():
                self._unread(event)
            case Stopped() | Trained():
                pass
            case None:
                self._look_around()
        applied = self._moving.step()
        if applied is not None:
            self._moved(applied)

    def _look_around(self) -> None:
        """What the clock alone may have changed."""
        self._flush()
        self._peers.hand_over(self._station.watch_own())
        self._send(self._peers.turn)
        self._moving.tell_left()

    def _moved(self, applied: Sequence[Applied]) -> None:
        """Another host's entries are ours now; what hung on the old one goes, or is sent again."""
        self._version, self._pending = 0, []
        self._cosigner = Cosigner(self._station)
        # With nothing new, only the address is another: what else is logged there is read first.
        self._in_step = self._station.may_speak = bool(applied)
        self._away = False
        resume(self._station)
        self._unsettled = list(applied)
        self._settle()
        self._flush()
        self._bulk_owed = True
        if self._on_change:
            self._on_change(self._station)

    def _hand_in_bulk(self) -> None:
        if self._bulk_owed:
            hand_in_bulk(self._station)
            self._bulk_owed = False

    def _unread(self, error: ComityError) -> None:
        """The host gave no entries: say so, and do what needs none."""
        station, why = self._station, describe(error)
        if station.faults.get("host") != why:
            LOG.info("host not reached why=%s", why)
        station.faults["host"] = why
        self._away = isinstance(error, Unavailable)
        if isinstance(error, Forged) and has_unread_keys(station):
            self.keys_changed = True  # the host knows new keys of this member, and no others
            self.stop()
        rule = error.rule if isinstance(error, Refused) else None
        if rule is Rule.HEAD_UNKNOWN:
            # A host that forgot what it signed is shown it, and stops for good.
            self._cosigner.again()
            self._send(self._cosigner.cosign)
        elif rule is Rule.UNKNOWN_AUTHOR and station.member not in station.replica.state.keys:
            # Nobody reads before it has entered; and nothing but entering is owed before.
            station.may_speak = True
            self._work()
            station.may_speak = self._in_step

    def _take(self, batch: Batch) -> None:
        """Take what the host shows; what does not fit is kept, and ends all talk with it.

        Unless it is the log of a host that the members put in its place, at the same address.
        """
        if self._station.halted:
            return
        try:
            self._follow(batch)
        except (HostFault, Forged, Malformed) as error:
            url = self._station.remote.url
            applied = None if isinstance(error, Malformed) else self._moving.look(url)
            if applied is None:
                caught(self._station, error, [head.note for head in batch.heads])
                raise
            self._moved(applied)

    def _follow(self, batch: Batch) -> None:
        station = self._station
        station.faults.pop("host", None)
        self._away = False
        replica = station.replica
        replica.compare([head.note for head in batch.heads])
        if batch.start == replica.state.size + len(self._pending):
            self._pending += batch.entries
        for head in batch.heads:
            size = parse_signed_head(head.note).head.size
            ahead = size - replica.state.size
            if 0 < ahead <= len(self._pending):
                self._unsettled += self._taken_from(head.note, self._pending[:ahead])
                del self._pending[:ahead]
                self._settle()
        for head in batch.heads:
            if head.cosignatures and replica.take_cosignatures(head.note, head.cosignatures):
                self._flush()
                station.journal.settled(replica.final_size)
                adopt_if_final(station)
        self._version = batch.version
        newest = max((parse_signed_head(head.note).head.size for head in batch.heads), default=0)
        if replica.state.size >= newest:
            self._in_step = station.may_speak = True
        note_truncated(station, newest, len(batch.entries))
        if self._on_change:
            self._on_change(station)

    def _settle(self) -> None:
        """Settle what was applied, in order; what fails is settled again, which changes nothing."""
        while self._unsettled:
            self._applied(*self._unsettled[0])
            del self._unsettled[0]

    def _taken_from(self, note: bytes, leaves: list[bytes]) -> list[Applied]:
        replica = self._station.replica
        try:
            return replica.take(note, leaves)
        except Forged as error:
            raise investigate(replica, self._station.remote, note, error) from error

    def _applied(self, entry: Entry, outcome: Outcome) -> None:
        station, statement = self._station, entry.statement
        if statement.author == station.member:
            if station.journal.holds(statement.id):
                station.logged(statement.id, entry.index)
            else:
                self._rounds.lost_memory(entry)
        self._rounds.applied(entry, outcome)

    def _flush(self) -> None:
        """Make durable what was taken, and let the mirror show it."""
        self._station.flush()
        self._peers.publish()

    # -- what is owed -------------------------------------------------------------------------

    def _work(self) -> None:
        """Do everything that is owed now, then cosign and deliver."""
        self._retry = False
        if self._station.halted:
            return
        # A statement said here changes what is owed only once it is logged, so one pass is
        # enough; the next entries wake the loop again.
        for duty in duties(
            self._station.replica.state,
            self._station.member,
            self._station.replica.final_size,
            self._station.clock(),
        ):
            self._perform(duty)
            if isinstance(duty, SayApprove) and self._moving.has_approved():
                return  # another host was approved: this one is told nothing more
        # What one member or study lacks keeps nothing else back.
        self._send(self._hand_in_bulk)
        self._send(self._station.deliver)
        self._send(self._cosigner.cosign)
        self._send(self._peers.publish)

    def _send(self, send: Callable[[], None]) -> None:
        try:
            send()
        except Unavailable as error:
            LOG.debug("waiting why=%s", describe(error))
            self._retry = True
        except Refused as error:
            self._note("cosign", error)  # it lets us not read or cosign, say by a wrong clock
        except OSError as error:
            self._note("disk", disk_fault(error))
            self._retry = True

    def _perform(self, duty: Duty) -> None:
        subject = type(duty).__name__
        try:
            if is_said(self._station, duty):
                return  # on its way to the log
            self._dispatch(duty)
            self._station.faults.pop(subject, None)
        except Unavailable as error:
            self._note(subject, error)
            self._retry = True
        except Refused as error:
            if error.rule is not Rule.SAID_BEFORE:
                self._note(subject, error)
        except HostFault:
            raise
        except ComityError as error:
            self._note(subject, error)
        except OSError as error:
            self._note(subject, disk_fault(error))
            self._retry = True

    def _dispatch(self, duty: Duty) -> None:
        perform(self._station, self._rounds, duty)

    def _note(self, subject: str, error: ComityError) -> None:
        text = describe(error)
        if self._station.faults.get(subject) != text:
            LOG.warning("not done duty=%s why=%s", subject, text)
            self._station.faults[subject] = text
