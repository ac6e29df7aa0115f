"""What left my site: one line for each HTTP message, on disk before its first byte goes out.

    left/2026-11.jsonl

Decided here: the form of the ledger, and that what cannot be noted is not sent. A message with a
body is on the disk itself before it goes; a bare question is in the system's hands, so that a
killed process loses no line, and a power cut at most questions. It knows the routes by name, and
reads statements for their tags, never to judge them.
"""

from __future__ import annotations

import calendar
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, final

import httpcore
import msgspec
from msgspec import Struct

from comity.commons.attempts import closed_of, opened_of
from comity.commons.state import State
from comity.errors import Malformed, Misconfigured, Unavailable
from comity.node.outlet import Lines
from comity.node.stopping import Halted, stop_of
from comity.statements.entries import Body
from comity.statements.wire import read
from comity.values import Digest, StatementId, sha256

FOLDER: Final = "left"
_ASKS: Final = frozenset({"GET", "HEAD"})
_KINDS: Final = {
    "readers": "request to read",
    "cosignatures": "cosignature",
    "tails": "log entries",
    "statements": "statements",
}
_TOLD_MAX: Final = 4_096


@final
class About(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a part of a message is: a statement's tag or a kind of blob, and of which round."""

    kind: str
    study: str = ""
    round_no: int = 0


@final
class Left(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One message that left, or was about to when its line was written.

    time_s: POSIX seconds. to: host and port, or who asked a mirror. line: the first line of the
    request. bytes, sha256: of the body; headers hold lengths, addresses and a token of the host's
    own, and nothing else. answer: whether it answers that line, at this node's mirror.
    """

    time_s: int
    to: str
    line: str
    bytes: int
    sha256: Digest
    about: tuple[About, ...]
    answer: bool = False

    @property
    def kind(self) -> str:
        """In a few words."""
        return ", ".join(dict.fromkeys(each.kind for each in self.about))


@final
class Ledger:
    """The outlet of one node folder: notes what leaves, and lets nothing leave while it is stopped.

    Args:
        folder: of the node. clock: POSIX seconds.
    """

    def __init__(self, folder: Path, clock: Callable[[], int] = lambda: int(time.time())) -> None:
        self._folder, self._clock = folder, clock
        self._turn = threading.Lock()
        self._month, self._descriptor = "", -1
        self._told: dict[str, About] = {}
        self._state: Callable[[], State] | None = None
        self._lines = Lines(self.check)

    @property
    def backend(self) -> httpcore.NetworkBackend:
        """Connections that this ledger can cut."""
        return self._lines

    def follow(self, state: Callable[[], State]) -> None:
        """Name studies and rounds by this state from now on."""
        self._state = state

    def tell(self, names: Iterable[str], body: Body) -> None:
        """These blobs belong to that statement."""
        about = self._about(body)
        with self._turn:
            self._told.update(dict.fromkeys(names, about))
            while len(self._told) > _TOLD_MAX:
                del self._told[next(iter(self._told))]

    def check(self) -> None:
        """Raise Halted while this site is stopped."""
        stop = stop_of(self._folder, self._clock())
        if stop is not None:
            raise Halted(stop.words)

    def cut(self) -> None:
        """End every connection of this process to others, whatever is on it."""
        self._lines.cut()

    def close(self) -> None:
        """Give the file back; it is opened again when needed."""
        with self._turn:
            self._close()

    def leaving(self, to: str, line: str, body: bytes) -> None:
        """Note a request. Raises Unavailable: the disk does not take it. Halted: it must not go."""
        self.note(to, line, len(body), sha256(body), self._kinds(line, body))

    def answering(self, to: str, line: str, count: int, digest: Digest, kind: str) -> None:
        """Note the body of an answer of this node's mirror. Raises: as `leaving`."""
        name = line.partition("?")[0].rpartition("/")[2]
        about = self._blob(name) if kind == "blob" else About(kind)
        self.note(to, line, count, digest, (about,), answer=True)

    def note(
        self,
        to: str,
        line: str,
        count: int,
        digest: Digest,
        about: tuple[About, ...],
        *,
        answer: bool = False,
    ) -> None:
        """Write one line; see `leaving`."""
        self.check()
        left = Left(self._clock(), to, line, count, digest, about, answer)
        written = msgspec.json.encode(left) + b"\n"
        try:
            with self._turn:
                descriptor = self._opened(left.time_s)
                if os.write(descriptor, written) != len(written):
                    self._close()  # a torn line; the next one begins on a line of its own
                    raise OSError(0, "the disk took a part of a line")
                if count:
                    os.fdatasync(descriptor)
        except OSError as error:
            raise Unavailable(
                f"what leaves this site must be noted first, and {self._folder / FOLDER} does not"
                f" take it ({error.strerror}): free space; nothing was sent"
            ) from error

    # -- names --------------------------------------------------------------------------------

    def _kinds(self, line: str, body: bytes) -> tuple[About, ...]:
        method, _, target = line.partition(" ")
        first, _, name = target.partition("?")[0].removeprefix("/").partition("/")
        if method in _ASKS:
            return (About(f"question about {first}"),)
        if first == "statements":
            return tuple(self._statements(body))
        if first in ("blobs", "vectors"):
            return (self._blob(name),)
        return (About(_KINDS.get(first, "unknown")),)

    def _statements(self, body: bytes) -> Iterator[About]:
        for envelope in body.split(b"\n"):
            try:
                yield self._about(read(envelope).statement.body)
            except Malformed:
                yield About("unknown")

    def _about(self, body: Body) -> About:
        fields = msgspec.structs.asdict(body)
        study, round_no = str(fields.get("study", "")), int(fields.get("round_no", 0))
        opened = fields.get("opened")
        if opened is not None and self._state is not None:
            study, round_no = _round_of(self._state(), StatementId(str(opened)))
        return About(body.tag, study, round_no)

    def _blob(self, name: str) -> About:
        with self._turn:
            told = self._told.get(name)
        return About("blob") if told is None else About(f"blob of {told.kind}", *_place(told))

    # -- the file -----------------------------------------------------------------------------

    def _opened(self, time_s: int) -> int:
        month = time.strftime("%Y-%m", time.gmtime(time_s))
        if month != self._month:
            self._close()
            place = self._folder / FOLDER
            place.mkdir(exist_ok=True, mode=0o700)
            path = place / f"{month}.jsonl"
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o600)
            try:
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    os.write(descriptor, b"\n")  # after a power cut or a full disk
            except BaseException:
                os.close(descriptor)
                raise
            self._month, self._descriptor = month, descriptor
        return self._descriptor

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._month, self._descriptor = "", -1


def _place(about: About) -> tuple[str, int]:
    return about.study, about.round_no


def _round_of(state: State, opened: StatementId) -> tuple[str, int]:
    for study in state.studies.values():
        attempts = [*study.ended, *([study.current] if study.current else [])]
        for attempt in reversed(attempts):
            closed = closed_of(attempt)
            if opened in (opened_of(attempt).id, closed.id if closed else None):
                return study.id, opened_of(attempt).round_no
    return "", 0


# -- reading it ----------------------------------------------------------------------------------


@final
class LeftReport(Struct, frozen=True, tag="left"):
    """What left since a time. unreadable: lines that a power cut or a full disk tore."""

    since_s: int
    unreadable: int
    messages: tuple[Left, ...]


def left_since(folder: Path, since_s: int) -> LeftReport:
    """What the ledger of a node folder holds from `since_s` on, oldest first.

    Raises:
        Misconfigured: it cannot be read.
    """
    decoder = msgspec.json.Decoder(Left)
    found: list[Left] = []
    unreadable = 0
    first = time.strftime("%Y-%m", time.gmtime(since_s))
    try:
        for path in sorted((folder / FOLDER).glob("????-??.jsonl")):
            if path.stem < first:
                continue
            for line in path.read_bytes().splitlines():
                try:
                    left = decoder.decode(line)
                except (msgspec.MsgspecError, ValueError):
                    unreadable += bool(line)
                    continue
                if left.time_s >= since_s:
                    found.append(left)
    except OSError as error:
        raise Misconfigured(f"cannot read {folder / FOLDER} ({error.strerror})") from error
    return LeftReport(since_s, unreadable, tuple(found))


def since_of(text: str, now_s: int) -> int:
    """POSIX seconds of `2026-11-23`, `2026-11-23T08:00` (UTC), or `24h` before now.

    Raises:
        Misconfigured: none of these.
    """
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M"):
        try:
            return calendar.timegm(time.strptime(text, form))
        except ValueError:
            continue
    units = {"m": 60, "h": 3_600, "d": 86_400}
    count, unit = text[:-1], text[-1:]
    if count.isascii() and count.isdigit() and len(count) <= 6 and unit in units:
        return max(0, now_s - int(count) * units[unit])
    raise Misconfigured(f"a time is 2026-11-23, 2026-11-23T08:00 in UTC, or 24h, not {text!r}")
