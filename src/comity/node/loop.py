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
from collections.abc import Callable
from typing import Final, final

from comity.commons.duties import (
    AskConsent,
    Duty,
    SayAbandon,
    SayAccept,
    SayApprove,
    SayClose,
    SayCommit,
    SayConfirm,
    SayEnrol,
    SayFound,
    SayJoin,
    SayOpen,
    SayReady,
    SayRecover,
    SayResolve,
    SayReveal,
    SaySeen,
    SayStart,
    SignRelease,
    duties,
    something_waits,
)
from comity.commons.state import Outcome
from comity.errors import ComityError, HostFault, Refused, Rule, Unavailable
from comity.log.heads import cosign, parse_signed_head
from comity.node.events import (
    Event,
    Stopped,
    Trained,
    Wish,
    disk_fault,
    refuse_wishes,
    stopped,
)
from comity.node.remote import Batch
from comity.node.replica import Applied
from comity.node.revealing import say_accept, say_confirm, say_recover, say_reveal
from comity.node.rounds import Rounds
from comity.node.standing import approve, consent, enrol, found, is_said, sign_release
from comity.node.station import Station, describe
from comity.statements.entries import Entry
from comity.statements.governing import Seen
from comity.storage.memory import keep_freed_memory
from comity.values import StatementId

LOG = logging.getLogger(__name__)

RETRY_S: Final = 1.0
"""How long to wait before asking again for what was unavailable."""


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
        self._taken = threading.Event()
        self._version = 0
        self._pending: list[bytes] = []
        self._unsettled: list[Applied] = []
        self._own: list[tuple[StatementId, int]] = []
        self._cosigned_at_s = 0
        self._handed_in = 0
        self._retry = False
        self._in_step = True

    def stop(self) -> None:
        """Make `run` return soon; may be called from any thread or a signal handler."""
        self._stopping.set()
        self._taken.set()
        self._events.put(Stopped())

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

        Raises:
            HostFault, Forged, Malformed: the host broke the protocol. Nothing more is sent to it;
                the evidence is in the log of the node and an operator must decide.
        """
        keep_freed_memory()
        poller = threading.Thread(target=self._poll, name="poll", daemon=True)
        # Until it has the whole log, this node cannot know what it has said: it may be a copy (R8).
        self._in_step = self._station.may_speak = False
        try:
            poller.start()
            while not self._stopping.is_set():
                self._serve(self._next_event())
        finally:
            self._stopping.set()
            self._taken.set()
            refuse_wishes(self._events)
            self._rounds.close()
            self._send(self._flush)

    # -- events -------------------------------------------------------------------------------

    def _next_event(self) -> Event | None:
        """The next event, or None when it is time to look at the clock."""
        wait_s = RETRY_S if self._retry else float(self._station.settings.cosign_every_s)
        try:
            return self._events.get(timeout=wait_s)
        except queue.Empty:
            return None

    def _serve(self, event: Event | None) -> None:
        try:
            self._hear(event)
            self._station.faults.pop("disk", None)
        except (OSError, Unavailable) as error:
            # What was not stored or settled stays in memory, and comes first at the next event.
            self._note("disk", disk_fault(error))
            self._retry = True
            return
        if self._in_step:
            self._work()

    def _hear(self, event: Event | None) -> None:
        self._settle()
        match event:
            case Batch():
                try:
                    self._take(event)
                finally:
                    self._taken.set()
            case Wish():
                self._fulfil(event)
            case ComityError():
                self._unread(event)
            case Stopped():
                return
            case None:
                self._flush()
                self._station.watch_own()

    def _unread(self, error: ComityError) -> None:
        """The host gave no entries: say so, and do what needs none."""
        station, why = self._station, describe(error)
        if station.faults.get("host") != why:
            LOG.info("host not reached why=%s", why)
        station.faults["host"] = why
        rule = error.rule if isinstance(error, Refused) else None
        if rule is Rule.HEAD_UNKNOWN:
            # A host that forgot what it signed is shown it, and stops for good.
            self._handed_in = 0
            self._send(self._cosign)
        elif rule is Rule.UNKNOWN_AUTHOR and station.member not in station.replica.state.keys:
            # Nobody reads before it has entered; and nothing but entering is owed before.
            station.may_speak = True
            self._work()
            station.may_speak = self._in_step

    def _take(self, batch: Batch) -> None:
        self._settle()
        station = self._station
        station.faults.pop("host", None)
        replica = station.replica
        replica.compare([head.note for head in batch.heads])
        if batch.start == replica.state.size + len(self._pending):
            self._pending += batch.entries
        for head in batch.heads:
            size = parse_signed_head(head.note).head.size
            ahead = size - replica.state.size
            if 0 < ahead <= len(self._pending):
                self._unsettled += replica.take(head.note, self._pending[:ahead])
                del self._pending[:ahead]
                self._settle()
        for head in batch.heads:
            if head.cosignatures and replica.take_cosignatures(head.note, head.cosignatures):
                self._flush()
                station.journal.settled(replica.final_size)
        self._version = batch.version
        newest = max((parse_signed_head(head.note).head.size for head in batch.heads), default=0)
        if replica.state.size >= newest:
            self._in_step = station.may_speak = True
        if self._on_change:
            self._on_change(station)

    def _settle(self) -> None:
        """Settle what was applied, in order; what fails is settled again, which changes nothing."""
        while self._unsettled:
            self._applied(*self._unsettled[0])
            del self._unsettled[0]

    def _applied(self, entry: Entry, outcome: Outcome) -> None:
        station, statement = self._station, entry.statement
        if statement.author == station.member:
            if station.journal.holds(statement.id):
                self._own.append((statement.id, entry.index))
            else:
                self._rounds.lost_memory(entry)
        self._rounds.applied(entry, outcome)

    def _flush(self) -> None:
        """Make durable what was taken: entries, and which of mine are among them."""
        self._station.replica.flush()
        if self._own:
            self._station.journal.logged_all(self._own)
            self._own = []

    def _fulfil(self, wish: Wish) -> None:
        # What it says is delivered with the rest: it is kept, so a host that is away is no error.
        try:
            wish.answer.put(wish.fulfil(self._station))
        except ComityError as error:
            wish.answer.put(error)
        except Exception:
            LOG.exception("wish failed")
            wish.answer.put(Unavailable("the node failed at this; what it logged says why"))

    # -- what is owed -------------------------------------------------------------------------

    def _work(self) -> None:
        """Do everything that is owed now, then cosign and deliver."""
        self._retry = False
        # A statement said here changes what is owed only once it is logged, so one pass is
        # enough; the next entries wake the loop again.
        for duty in duties(
            self._station.replica.state,
            self._station.member,
            self._station.replica.final_size,
            self._station.clock(),
        ):
            self._perform(duty)
        # What one member or study lacks keeps nothing else back.
        self._send(self._station.deliver)
        self._send(self._cosign)

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

    def _note(self, subject: str, error: ComityError) -> None:
        text = describe(error)
        if self._station.faults.get(subject) != text:
            LOG.warning("not done duty=%s why=%s", subject, text)
            self._station.faults[subject] = text

    def _dispatch(self, duty: Duty) -> None:
        station, rounds = self._station, self._rounds
        match duty:
            case SayFound():
                found(station)
            case SaySeen():
                station.say(Seen())
            case AskConsent():
                consent(station, duty)
            case SayEnrol():
                enrol(station, duty)
            case SayOpen() | SayStart():
                rounds.say_derived(duty)
            case SayJoin():
                rounds.say_join(duty)
            case SayReady():
                rounds.say_ready(duty)
            case SayResolve():
                rounds.say_resolve(duty)
            case SayCommit():
                rounds.say_commit(duty)
            case SayClose():
                rounds.say_close(duty)
            case SayConfirm():
                say_confirm(station, duty)
            case SayReveal():
                say_reveal(station, duty)
            case SayRecover():
                say_recover(station, duty)
            case SayAccept():
                say_accept(station, duty)
            case SayAbandon():
                rounds.say_abandon(duty)
            case SignRelease():
                sign_release(station, duty)
            case SayApprove():
                approve(station, duty)
            case _:
                pass  # AskVote, AskApprove: people answer

    def _cosign(self) -> None:
        """Cosign the newest head: at once while something waits, else every few seconds."""
        station = self._station
        newest, last = station.replica.newest(), station.journal.last_cosigned()
        held, now_s = station.replica.state.keys.get(station.member), station.clock()
        if newest is None or held is None or held.keys.head != station.keys.public_head:
            return  # it is no member (yet), or holds other keys than those in force
        # The line of a head may not have arrived, so until it has, it is made and sent again.
        again = last == (newest.size, newest.root) and self._handed_in < newest.size
        if last is not None and newest.size <= last[0] and not again:
            return
        due = now_s - self._cosigned_at_s >= station.settings.cosign_every_s
        if not due and not something_waits(station.replica.state, station.replica.final_size):
            return
        try:
            self._flush()  # a cosignature means: stored and replayed
        except Unavailable as error:
            self._note("disk", error)
            raise
        # From here on this node has spoken for the head, whether or not the line arrives.
        station.journal.cosigned(last, (newest.size, newest.root))
        self._cosigned_at_s = now_s
        line = cosign(newest, station.member, station.keys.head, now_s).line()
        note = station.replica.newest_note()
        station.remote.post_cosignature(newest.size, line, note)
        self._handed_in = newest.size
        station.faults.pop("cosign", None)

    # -- the long-poll ------------------------------------------------------------------------

    def _poll(self) -> None:
        station = self._station
        while not self._stopping.is_set():
            try:
                batch = station.remote.entries(
                    station.replica.state.size + len(self._pending),
                    self._version,
                    station.settings.poll_s if self._in_step else 0,
                )
            except ComityError as error:
                self._events.put(error)
                self._stopping.wait(RETRY_S)
                continue
            self._taken.clear()
            self._events.put(batch)
            self._taken.wait()
            if "disk" in station.faults:
                self._stopping.wait(RETRY_S)
