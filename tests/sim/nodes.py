"""A node in the simulation: the real station, loop and stores; only who moves next is chosen."""

from __future__ import annotations

import queue
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from comity.commons.duties import Duty
from comity.commons.state import State
from comity.errors import ComityError, HostFault, HostFaultKind, Unavailable
from comity.node.events import Event, Heard, Wish
from comity.node.keyfile import MemberKeys
from comity.node.loop import Loop
from comity.node.machine import Machine
from comity.node.opening import open_station
from comity.node.station import Station
from comity.statements.entries import Body
from comity.statements.wire import Draft, read, sign
from comity.storage.ports import Attempt
from comity.values import NOTHING, MemberId, StatementId
from tests.sim.disk import Died, Disk, copy_folder, cut_power
from tests.sim.network import Network, Wire
from tests.sim.studies import start_in_process


class SimNode:
    """One member's node. dead: no process runs. stopped: it has seen a fault of the host and waits
    for its operator. away: it does nothing, as if its machine slept.
    """

    def __init__(
        self,
        member: MemberId,
        keys: MemberKeys,
        folder: Path,
        network: Network,
        clock: Callable[[], int],
        seed: int,
        *,
        wire: MemberId | None = None,
    ) -> None:
        self.member, self.keys, self.folder = member, keys, folder
        self.network, self.clock = network, clock
        self.wire = wire or member
        self.disk = Disk()
        self.dice = random.Random(seed)
        self.dead, self.away = True, False
        self._last_seq = -1
        self._latest_s = 0
        self._ended: ComityError | None = None
        self.lie: Callable[[SimNode, Duty], bool] = lambda node, duty: False
        self.backup: Path | None = None
        self.backup_seq: int | None = None
        self.start()

    @property
    def state(self) -> State:
        """What its copy of the log means."""
        return self.station.replica.state

    @property
    def stopped(self) -> ComityError | None:
        """Why it speaks to its host no more, or its process has ended; None when neither is so."""
        if self._ended is None and not self.dead and self.station.halted:
            return HostFault(HostFaultKind.SPLIT_VIEW, self.station.halted)
        return self._ended

    @property
    def last_seq(self) -> int:
        """Of the newest statement it has said; -1 before the first, or when no process runs."""
        if not self.dead:
            last = self.station.journal.last_said()
            self._last_seq = last[0] if last else -1
        return self._last_seq

    def start(self) -> None:
        """Start, or start again, on its folder."""
        machine = Machine(
            rand=self.dice.randbytes,
            hook=self.disk.hook,
            connect=lambda url, tls, proxy, limits, outlet: Wire(self.network, self.wire, url),
            start_study=start_in_process,
            wait=lambda study, on_ready, limit_s: on_ready(),
            monotonic_s=self._monotonic_s,
            aside=lambda slow: slow(),
        )
        self.station = open_station(self.folder, self.keys, clock=self.clock, machine=machine)
        try:
            self.loop = Loop(self.station)
        except BaseException:
            self._drop_files()
            raise
        self.loop._dispatch = self._dispatch(self.loop._dispatch)  # type: ignore[method-assign,assignment]
        self.loop.begin()
        self.dead, self._ended = False, None

    def _monotonic_s(self) -> float:
        self._latest_s = max(self._latest_s, self.clock())
        return float(self._latest_s)

    def _dispatch(self, honest: Callable[[Duty], None]) -> Callable[[Duty], None]:
        def dispatch(duty: Duty) -> None:
            if not self.lie(self, duty):
                honest(duty)

        return dispatch

    def die(self) -> None:
        """End as a killed process does: nothing more is written."""
        if not self.dead:
            self.last_seq  # noqa: B018 (read it while it can be read)
            self.dead = True
            self._drop_files()

    def _drop_files(self) -> None:
        self.station.remote.close()
        self.station.replica.store.close()
        self.station.journal.close()

    def restart(self) -> None:
        """Come back on the same folder; again when it dies at once."""
        self.die()
        try:
            self.start()
        except (Died, Unavailable):
            self.dead = True

    def lose_power(self) -> None:
        """Die, and lose what was not synced."""
        self.die()
        cut_power(self.folder, self.dice)

    def keep_backup(self) -> None:
        """Copy the folder as it is now."""
        self.backup = self.folder.with_name(f"{self.folder.name}.backup")
        copy_folder(self.folder, self.backup)

    def restore(self) -> None:
        """Come back on the backup."""
        assert self.backup is not None
        self.die()
        copy_folder(self.backup, self.folder)
        self.restart()

    def copy_to(self, folder: Path) -> None:
        """A second copy of this node's folder, for a second node of the same keys."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("*.lock"))

    def step(self, *, clock: bool = False) -> None:
        """Ask the host once and do what is owed; or look at the clock only."""
        if not self.away:
            self._live(lambda: self._serve(None if clock else self._ask()))

    def wish(self, fulfil: Callable[[Station], object]) -> None:
        """A person asks something of it, as `Loop.ask`; what is refused changes nothing."""
        if not self.away:
            self._live(lambda: self._serve(Wish(fulfil, queue.Queue())))

    def _live(self, serve: Callable[[], None]) -> None:
        if self.dead or self._ended:
            return
        try:
            serve()
        except Died:
            self.die()
        except Unavailable:
            self.die()  # its process ended with an error; whoever watches it starts it again
        except ComityError as error:
            self._ended = error

    def _ask(self) -> Event | None:
        if self.station.halted:
            return None
        try:
            start = self.state.size + len(self.loop._pending)
            remote = self.station.remote
            return Heard(remote, remote.entries(start, self.loop._version, 0))
        except ComityError as error:
            return error

    def _serve(self, event: Event | None) -> None:
        self.loop._serve(event)
        while not self.loop._events.empty():
            self.loop._serve(self.loop._events.get())

    def say(
        self, body: Body, scope: Attempt | None, tag: str, stage: bytes | None = None
    ) -> StatementId:
        """Say something without asking the rules: what a dishonest member may do."""
        last = self.station.journal.last_said()
        final = self.station.replica.view.final
        draft = Draft(
            author=self.member,
            commons=self.station.replica.commons,
            seq=last[0] + 1 if last else 0,
            prev=last[1] if last else StatementId(NOTHING),
            head_size=final.size,
            head_root=final.root,
            time_s=self.clock(),
            body=body,
        )
        envelope = sign(draft, self.keys.statement)
        said = read(envelope).statement
        released = getattr(body, "released", None)
        self.station.journal.say(
            envelope,
            statement_id=said.id,
            seq=said.seq,
            tag=tag,
            scope=scope,
            stage=stage,
            released=released,
        )
        self.station.deliver_again()
        return said.id
