"""What a measurement needs of this machine: child processes that report lines, and `/proc`.

Linux only. Every process started here is stopped by its own pid, and ends by itself when its
standard input closes, so nothing outlives the benchmark.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final, final

import msgspec
from msgspec import Struct

ROOT: Final = Path(__file__).resolve().parents[1]
_STOP_S: Final = 20.0
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class Broken(Exception):
    """A measurement could not be made; says why."""


@final
class Event(Struct, frozen=True):
    """A line that a process reports.

    kind: what happened. number: of the round, or a count. at_s: by the machine's monotonic clock.
    """

    kind: str
    number: int = 0
    text: str = ""
    at_s: float = 0.0


def report(kind: str, number: int = 0, text: str = "") -> None:
    """Say, as a process under measurement, that something happened now."""
    line = msgspec.json.encode(Event(kind, number, text, time.monotonic()))
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


@final
class Party:
    """A Python process of a measurement.

    Args:
        name: for messages. arguments: behind `python -m`. notes: file for what it prints as errors.
    """

    def __init__(self, name: str, arguments: Sequence[str | Path], notes: Path) -> None:
        self.name = name
        self._notes = notes
        with notes.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
            )
        self.pid = self._process.pid
        self._events: queue.Queue[Event | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def tell(self, *words: str | Path) -> None:
        """Send one line."""
        assert self._process.stdin is not None
        self._process.stdin.write("\t".join(map(str, words)).encode() + b"\n")
        self._process.stdin.flush()

    def wait_for(self, kind: str, number: int = 0, *, limit_s: float) -> Event:
        """The next event of that kind with at least that number; others before it are dropped.

        Raises:
            Broken: the process ended, or the time is over.
        """
        until = time.monotonic() + limit_s
        while True:
            try:
                event = self._events.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                what = f"{self.name}: no {kind} {number} in {limit_s:.0f} s"
                raise Broken(what + self._said()) from None
            if event is None:
                raise Broken(f"{self.name} ended before {kind} {number}{self._said()}")
            if event.kind == kind and event.number >= number:
                return event

    def stop(self) -> None:
        """Close its input; end it by its pid when that is not enough."""
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended already, with our last line unread
            self._process.stdin.close()
        for end in (None, self._process.terminate, self._process.kill):
            if end is not None:
                end()
            try:
                self._process.wait(_STOP_S)
                return
            except subprocess.TimeoutExpired:
                continue

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._events.put(msgspec.json.decode(line, type=Event))
        self._events.put(None)

    def _said(self) -> str:
        text = self._notes.read_text(errors="replace").strip()
        return f"; it said:\n{text[-3_000:]}" if text else ""


def intervals(ends_s: Sequence[float]) -> list[float]:
    """Seconds from each end to the next."""
    return [after - before for before, after in pairwise(ends_s)]


def rss_bytes(pid: int) -> int:
    """Memory a process holds now."""
    return _status(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """Most memory a process has held since it began, or since `forget_peak`."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int) -> bool:
    """Let the peak begin at what is held now; False where the system does not allow it."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def cpu_s(pid: int) -> float:
    """Processor time of all threads of a process so far, in user and kernel."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def descendants(pid: int) -> list[int]:
    """Processes started by a process, and by those."""
    found: list[int] = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in tasks.read_text().split()]
        except OSError:
            continue
        found += [one for child in children for one in (child, *descendants(child))]
    return found


def available_bytes() -> int:
    """Memory that new processes can have without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    raise Broken("this system does not say how much memory is available")


def require_room(folder: Path, *, disk_bytes: int, memory_bytes: int) -> None:
    """Raise Broken unless a measurement fits on the disk of `folder` and into memory."""
    free = shutil.disk_usage(folder).free
    if free < disk_bytes:
        raise Broken(f"needs {disk_bytes >> 20} MiB of disk in {folder}, {free >> 20} are free")
    available = available_bytes()
    if available < memory_bytes:
        raise Broken(f"needs {memory_bytes >> 20} MiB of memory, {available >> 20} are available")


def _status(pid: int, wanted: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == wanted:
            return int(rest.split()[0]) * 1024
    raise Broken(f"process {pid} has no {wanted}")
