"""What a node takes from the machine it runs on, beside clock and disk: a place to put another one.

A node asks for chance, for a connection to its host and for study processes here and nowhere else;
the simulation (`tests/sim`) gives it others, and everything else in a node stays what it is.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

from comity.learning.study import StudyCard
from comity.node.clients import ConnectFrom
from comity.node.http_client import HttpClient
from comity.node.isolation import Isolation, Limits
from comity.node.sandbox import Sandbox
from comity.node.sandbox_wire import Checked, Request, Result
from comity.storage.database import pass_by
from comity.storage.ports import Hook
from comity.values import SandboxPolicy


class StudyProcess(Protocol):
    """A study at work, asked one thing at a time; `Sandbox` says what each method promises."""

    isolation: Isolation

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        ...

    @property
    def busy(self) -> bool:
        """Whether it was asked something whose result nobody has taken."""
        ...

    @property
    def cpu_s(self) -> float:
        """Processor seconds it has used."""
        ...

    @property
    def pid(self) -> int:
        """Of its process."""
        ...

    @property
    def model_path(self) -> Path:
        """Where the node puts the model before it asks."""
        ...

    @property
    def vector_path(self) -> Path:
        """Where an update lies after the answer."""
        ...

    @property
    def kept_path(self) -> Path:
        """Where what stays at the site lies, before and after."""
        ...

    @property
    def control_path(self) -> Path:
        """Where the node puts the shared control variate before it asks."""
        ...

    def fileno(self) -> int:
        """Readable when `poll` has something to do."""
        ...

    def begin(self, request: Request) -> None:
        """Ask, without waiting."""
        ...

    def poll(self) -> Result | None:
        """The result once it is here, None before."""
        ...

    def describe(self) -> StudyCard:
        """What the study declares."""
        ...

    def check_data(self) -> Checked:
        """Check the data file against the declared columns."""
        ...

    def forget(self) -> None:
        """Overwrite the update."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class StartStudy(Protocol):
    """Starts the process of a study; as `Sandbox.start`."""

    def __call__(
        self,
        study_path: Path,
        data_path: Path | None,
        work_dir: Path,
        *,
        policy: SandboxPolicy = "require",
        limits: Limits | None = None,
    ) -> StudyProcess:
        """No study code has run when this returns."""
        ...


def random_bytes(count: int) -> bytes:
    """Fresh randomness from the system."""
    return os.urandom(count)


def wait_in_thread(process: StudyProcess, on_ready: Callable[[], None], limit_s: float) -> None:
    """Call `on_ready`, from a thread of its own, once the process has answered, or at the limit."""
    descriptor = process.fileno()

    def wait() -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll(1000 * limit_s)
        on_ready()

    threading.Thread(target=wait, name="study", daemon=True).start()


def in_thread(slow: Callable[[], None]) -> None:
    """Do something slow in a thread of its own, which ends with the process."""
    threading.Thread(target=slow, name="aside", daemon=True).start()


@final
@dataclass(frozen=True, slots=True)
class Machine:
    """rand: so many fresh random bytes. hook: called at the commit points of every store. connect:
    a connection to a host. start_study, wait: a study's process, and how its answer is noticed.
    monotonic_s: a clock that nobody sets. aside: does beside the loop what may take long."""

    rand: Callable[[int], bytes] = random_bytes
    hook: Hook = pass_by
    connect: ConnectFrom = HttpClient
    start_study: StartStudy = Sandbox.start
    wait: Callable[[StudyProcess, Callable[[], None], float], None] = wait_in_thread
    monotonic_s: Callable[[], float] = time.monotonic
    aside: Callable[[Callable[[], None]], None] = in_thread
