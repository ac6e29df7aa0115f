"""How a command asks the node that runs: one JSON line there and one back, over `node.sock`.

The socket lies in the node's folder, which only its owner can enter; the kernel tells who connects,
and anybody else is refused all the same. Requests and answers are of fixed types (`wish_wire.py`)
with size and time limits. A wish that sees or says something runs in the loop's thread; what takes
long, a study's process, runs in the thread of its connection, so that rounds go on meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

import msgspec
from msgspec import Struct

from comity.errors import (
    ComityError,
    DataFault,
    Forged,
    HostFault,
    HostFaultKind,
    Malformed,
    MemberFault,
    MemberFaultKind,
    Misconfigured,
    Refused,
    Rule,
    StudyFault,
    StudyFaultKind,
    Unavailable,
)
from comity.node.station import Station
from comity.node.wish_wire import InLoop, Result, SiteStopped, StopNow, Wish, fulfil_beside

SOCKET: Final = "node.sock"
REQUEST_BYTES_MAX: Final = 65_536
ANSWER_BYTES_MAX: Final = 16 * 2**20
CONNECTIONS_MAX: Final = 16
LINE_S: Final = 10.0
ANSWER_S: Final = 7 * 86_400.0
"""How long a command waits for its answer: an evaluation trains alone for many rounds."""

_PATH_BYTES_MAX: Final = 100
"""A longer path is no address of a socket on some system."""
_PIECE_BYTES: Final = 65_536
_LOG = logging.getLogger(__name__)


@final
class Failure(Struct, frozen=True, tag="failure", forbid_unknown_fields=True):
    """Why a wish was not granted. error: class; code: of its rule or kind, "" for none."""

    error: str
    message: str
    code: str = ""


_NOT_IN_FORM: Final = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
_WISH: Final[msgspec.json.Decoder[Wish]] = msgspec.json.Decoder(Wish)
_ANSWER: Final[msgspec.json.Decoder[Result | Failure]] = msgspec.json.Decoder(Result | Failure)


@final
class ControlServer:
    """Serves `node.sock` of a station whose loop runs, from `start` to `close`.

    Args:
        station: open, so that this process owns its folder.
        in_loop: `Loop.ask` of its loop.
        line_s: how long a command may take to send its line, or to take its answer.
        on_stop: ends what the node has under way, beside its loop; returns how many studies ran.
    """

    def __init__(
        self,
        station: Station,
        in_loop: InLoop,
        *,
        line_s: float = LINE_S,
        on_stop: Callable[[], int] = lambda: 0,
    ) -> None:
        self._station = station
        self._in_loop = in_loop
        self._on_stop = on_stop
        self._line_s = line_s
        self._room = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self._closing = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._thread = threading.Thread(target=self._accept, name="control", daemon=True)

    def start(self) -> None:
        """Listen. Raises Misconfigured: the folder's path is too long; Unavailable: the disk."""
        path = self._station.folder / SOCKET
        try:
            # Whoever owns the folder's database owns the socket: one that is left over is dead.
            path.unlink(missing_ok=True)
            with _address(self._station.folder) as address:
                self._socket.bind(address)
            path.chmod(0o600)
            self._socket.listen(CONNECTIONS_MAX)
        except OSError as error:
            raise Unavailable(f"cannot make {path} ({error.strerror}); check the disk") from error
        self._thread.start()

    def close(self) -> None:
        """Take no more wishes; again changes nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        if self._thread.is_alive():
            with contextlib.suppress(OSError), _connected(self._station.folder):
                pass  # wakes `accept`, which then sees that it is time to end
            self._thread.join(LINE_S)
        self._socket.close()
        (self._station.folder / SOCKET).unlink(missing_ok=True)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            if self._closing.is_set() or not self._room.acquire(blocking=False):
                peer.close()
                continue
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        try:
            with peer, contextlib.suppress(OSError):
                answer = self._answer(peer)
                peer.settimeout(self._line_s)
                peer.sendall(msgspec.json.encode(answer) + b"\n")
        finally:
            self._room.release()

    def _answer(self, peer: socket.socket) -> Result | Failure:
        try:
            _check_peer(peer)
            line = _read_line(peer, REQUEST_BYTES_MAX, self._line_s)
            try:
                wish = _WISH.decode(line)
            except _NOT_IN_FORM as error:
                raise Malformed(f"no wish that this node knows: {error}") from None
            if isinstance(wish, StopNow):  # at once: the loop may be at work for a while
                return SiteStopped(self._on_stop())
            return fulfil_beside(wish, self._station, self._in_loop)
        except ComityError as error:
            failure = failure_of(error)
            # No message: it may quote what the owner asked about. The class and the code do not.
            _LOG.info("wish not granted why=%s code=%s", failure.error, failure.code or "none")
            return failure


def ask_node(folder: Path, wish: Wish, *, timeout_s: float = ANSWER_S) -> Result | None:
    """Ask the node that runs in a folder; None when none runs there.

    Raises:
        ComityError: as the wish's function raised it in the node.
        Unavailable: the node ended meanwhile, or did not answer in time.
        Malformed: what answered is no node of this version.
    """
    try:
        with _connected(folder) as peer:
            peer.sendall(msgspec.json.encode(wish) + b"\n")
            line = _read_line(peer, ANSWER_BYTES_MAX, timeout_s)
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except OSError as error:
        raise Unavailable(f"the node in {folder} did not answer ({error}); try again") from error
    try:
        answer = _ANSWER.decode(line)
    except _NOT_IN_FORM as error:
        raise Malformed(f"the node in {folder} is of another version: restart it") from error
    if isinstance(answer, Failure):
        raise error_of(answer)
    return answer


def failure_of(error: ComityError) -> Failure:
    """An error on its way to another process."""
    code = ""
    match error:
        case Refused():
            code = error.rule.value
        case HostFault() | MemberFault() | StudyFault():
            code = error.kind.value
        case _:
            pass
    message = str(error).removesuffix(f" [{code}]") if code else str(error)
    # A finer class of the node's own travels as the one of errors.py that it is.
    name = next(kind.__name__ for kind in _KINDS if isinstance(error, kind))
    return Failure(name, message, code)


def error_of(failure: Failure) -> ComityError:
    """The error that `failure_of` was given."""
    words, code = failure.message, failure.code
    try:
        match failure.error:
            case "Refused":
                return Refused(Rule(code), words)
            case "HostFault":
                return HostFault(HostFaultKind(code), words)
            case "MemberFault":
                return MemberFault(MemberFaultKind(code), words)
            case "StudyFault":
                return StudyFault(StudyFaultKind(code), words)
            case name:
                return _PLAIN[name](words)
    except (ValueError, KeyError):
        return Malformed("the node named an error that does not exist: restart it")


_KINDS: Final[tuple[type[ComityError], ...]] = (
    Malformed,
    Forged,
    Refused,
    HostFault,
    MemberFault,
    StudyFault,
    DataFault,
    Unavailable,
    Misconfigured,
)
_PLAIN: Final[dict[str, type[ComityError]]] = {
    plain.__name__: plain for plain in (DataFault, Forged, Malformed, Misconfigured, Unavailable)
}


@contextmanager
def _connected(folder: Path) -> Iterator[socket.socket]:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with peer:
        peer.settimeout(LINE_S)
        with _address(folder) as address:
            peer.connect(address)
        yield peer


@contextmanager
def _address(folder: Path) -> Iterator[str]:
    """A path of the socket that is short enough: through the open folder when it is a long one."""
    path = os.fspath(folder / SOCKET)
    if len(os.fsencode(path)) <= _PATH_BYTES_MAX:
        yield path
        return
    if not Path("/proc/self/fd").is_dir():
        raise Misconfigured(
            f"the path of the node's folder is too long for a socket here: {folder}; move it to a"
            f" path of at most {_PATH_BYTES_MAX - len(SOCKET) - 1} bytes"
        )
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


def _check_peer(peer: socket.socket) -> None:
    """Only this user asks, where the system tells who it is."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, option, size))
    if user != os.geteuid():
        raise Misconfigured("this node answers only the user that it runs as")


def _read_line(peer: socket.socket, bytes_max: int, wait_s: float) -> bytes:
    """One line without its newline; nothing may follow it.

    Raises:
        Malformed: longer than `bytes_max`, cut off, or more than one line.
        Unavailable: not here in time.
    """
    read = bytearray()
    limit = time.monotonic() + wait_s
    while not read.endswith(b"\n"):
        left_s = limit - time.monotonic()
        if left_s <= 0:
            raise Unavailable("the other side did not finish its line in time; try again")
        peer.settimeout(left_s)
        try:
            piece = peer.recv(_PIECE_BYTES)
        except TimeoutError:
            continue
        if not piece:
            raise Unavailable("the other side closed the connection; try again")
        read += piece
        if len(read) > bytes_max or b"\n" in read[:-1]:
            raise Malformed(f"expected one line of at most {bytes_max} bytes")
    return bytes(read[:-1])
