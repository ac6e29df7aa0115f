"""The node's side of a study's process: start it, ask it, believe nothing that it sends.

A study is somebody else's code beside the site's data. It runs in a process of its own that is
started once, stays warm, and can reach nothing but the study file, the data file and a few files of
its work folder (`isolation`). This side keeps the time, bounds every byte, and turns a dead,
hanging or lying process into a `StudyFault` with a code and a line; text and values of the study
stay in the notes file, for the owner of the site.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar, final

import msgspec

from comity.errors import (
    Misconfigured,
    Refused,
    Rule,
    StudyFault,
    StudyFaultKind,
)
from comity.learning.study import StudyCard
from comity.node.children import CHILDREN
from comity.node.isolation import Isolation, Limits, Setup
from comity.node.sandbox_faults import data_fault, study_fault
from comity.node.sandbox_start import cpu_seconds, overwrite, prepare, spawn, vectors_fault
from comity.node.sandbox_wire import (
    ANY_REPLY,
    CONTROL_FILE,
    KEPT_FILE,
    LINE_BYTES_MAX,
    MODEL_FILE,
    NOTES_FILE,
    VECTOR_FILE,
    Alone,
    CheckData,
    Checked,
    Describe,
    Described,
    Evaluate,
    Evaluated,
    Failed,
    FineTune,
    Initial,
    Initialised,
    Request,
    Result,
    Train,
    Trained,
    Unfit,
    answer_fault,
)
from comity.values import SandboxPolicy, walls_of

Decoded = TypeVar("Decoded")
Wanted = TypeVar("Wanted", bound=Result)

NOTES_BYTES_MAX: Final = 2**20
_SEED: Final = re.compile(r"\A[0-9a-f]{64}\Z")
_READ_BYTES: Final = 2**16


@final
class Sandbox:
    """A study's process. One request at a time; after a fault of the process, start another.

    Blocking: `describe()`, `train(seed)` and so on. Inside a loop: `begin(request)`, wait until
    `fileno()` is readable or a while has passed, then `poll()` until it gives a result.
    """

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        replies: int,
        setup: Setup,
        isolation: Isolation,
    ) -> None:
        self._child = child
        self._replies = replies
        self._setup = setup
        self._work = Path(setup.work)
        self._buffer = bytearray()
        self._asked: Request | None = None
        self._deadline = 0.0
        self._card: StudyCard | None = None
        self.isolation = isolation

    @classmethod
    def start(
        cls,
        study_path: Path,
        data_path: Path | None,
        work_dir: Path,
        *,
        policy: SandboxPolicy = "require",
        limits: Limits | None = None,
        more_data: Sequence[Path] = (),
    ) -> Sandbox:
        """Start the process and shut it in; no study code has run when this returns.

        Args:
            study_path: the study file, at most 1 MiB.
            data_path: this site's table; None for a study that is only described or begun.
            work_dir: a folder of its own, made here when absent, for model, update and notes;
                the notes of an earlier process are kept in it.
            policy: the walls that must hold. Where others are missing it goes on, and the caller
                tells its operator what `isolation.missing` says.
            limits: `Limits()` when None.
            more_data: tables of a simulation's other members.
        Raises:
            Refused(SANDBOX_MISSING): a wall that must hold is missing.
            Misconfigured: a path is missing, or Python does not start within these limits.
        """
        setup = prepare(study_path, data_path, work_dir, limits or Limits(), more_data)
        child, replies = spawn(setup)
        unready = Isolation(False, False, False, ("not asked yet",))
        sandbox = cls(child, replies, setup, unready)
        started = False
        try:
            CHILDREN.begun(child)
            sandbox.isolation = sandbox._begin_life()
            lacking = sorted(walls_of(policy) - sandbox.isolation.walls)
            if lacking:
                why = "; ".join(sandbox.isolation.missing)
                raise Refused(
                    Rule.SANDBOX_MISSING,
                    f"this system cannot shut a study in: {', '.join(lacking)} ({why}); use a "
                    "Linux kernel with Landlock and seccomp, or let the owner demand less in "
                    "sandbox of site.toml",
                )
            started = True
        finally:
            if not started:
                sandbox.close()
        return sandbox

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self._replies >= 0

    @property
    def busy(self) -> bool:
        """Whether it was asked something whose result nobody has taken."""
        return self._asked is not None

    @property
    def cpu_s(self) -> float:
        """Processor seconds it has used; 0 where the system does not tell."""
        return cpu_seconds(self._child.pid)

    @property
    def pid(self) -> int:
        """Of the study's process."""
        return self._child.pid

    @property
    def model_path(self) -> Path:
        """Where the node puts the model before it asks to train or evaluate (a copy, no link)."""
        return self._work / MODEL_FILE

    @property
    def vector_path(self) -> Path:
        """Where an update or a first model lies after the answer: flat little-endian float32.

        Read it in place: the process may write to this very file only, not to a new one.
        """
        return self._work / VECTOR_FILE

    @property
    def control_path(self) -> Path:
        """Where the node puts c of SCAFFOLD before it asks to train."""
        return self._work / CONTROL_FILE

    @property
    def kept_path(self) -> Path:
        """What this site keeps from round to round: put here before, found here after training."""
        return self._work / KEPT_FILE

    @property
    def notes_path(self) -> Path:
        """What the study printed and the text of its errors; show it to the site's owner only."""
        return self._work / NOTES_FILE

    def fileno(self) -> int:
        """Readable when `poll` has something to do; for select, poll or an event loop."""
        return self._replies

    def begin(self, request: Request) -> None:
        """Ask, without waiting. Raises StudyFault when the process has ended."""
        assert self._asked is None, "one request at a time"
        if not self.alive:
            raise StudyFault(
                StudyFaultKind.CODE_FAILED, "the study's process has ended; restart it"
            )
        match request:
            case Train(seed=seed) | Alone(seed=seed) | FineTune(seed=seed):
                assert _SEED.match(seed)
            case _:
                pass
        self._trim_notes()
        self._asked = request
        self._deadline = time.monotonic() + self._setup.limits.request_s
        self._send(msgspec.json.encode(request))

    def poll(self) -> Result | None:
        """The result once it is here, None before; never waits.

        Raises:
            StudyFault: the study failed; or its process died, hung past its limit, or lied, and
                has been ended. `where` is the study's file and line.
            DataFault: the data do not fit the declared columns; `where` is file, row and column.
        """
        asked = self._asked
        assert asked is not None, "nothing was asked"
        line = self._line()
        if line is None:
            return None
        self._asked = None
        reply = self._decode(line, ANY_REPLY)
        match reply:
            case Failed():
                raise study_fault(self._setup, reply)
            case Unfit():
                raise data_fault(self._setup, reply, self._card)
            case _:
                try:
                    lie = answer_fault(asked, reply)
                except (ArithmeticError, ValueError):  # integers come from there in any size
                    lie = "numbers out of bounds"
                if lie is not None:
                    raise self._lied(lie)
                match reply:
                    case Described():
                        self._card = reply.card
                    case Initialised():
                        self._check_vectors(reply.words, trained=False)
                    case Trained():
                        self._check_vectors(reply.words, trained=True)
                    case _:
                        pass
                return reply

    def ask(self, request: Request, wanted: type[Wanted]) -> Wanted:
        """The result of a request, waited for. Raises as `poll`."""
        self.begin(request)
        result = self.poll()
        while result is None:
            self._wait(1.0)
            result = self.poll()
        assert isinstance(result, wanted)
        return result

    def describe(self) -> StudyCard:
        """What the study declares."""
        return self.ask(Describe(), Described).card

    def initial(self) -> Path:
        """The first model, in the file returned: flat little-endian float32."""
        self.ask(Initial(), Initialised)
        return self.vector_path

    def check_data(self) -> Checked:
        """Check the data file against the declared columns."""
        return self.ask(CheckData(), Checked)

    def train(self, seed: bytes) -> Trained:
        """Train from `model_path`; the update is in `vector_path`. `seed`: 32 bytes."""
        return self.ask(Train(seed.hex()), Trained)

    def evaluate(self) -> dict[str, float]:
        """Metrics of the model in `model_path` on this site's data."""
        return self.ask(Evaluate(), Evaluated).metrics

    def alone(self, seed: bytes, rounds: int) -> dict[str, float]:
        """Metrics of what this site gets by itself from `model_path` in so many rounds."""
        return self.ask(Alone(seed.hex(), rounds), Evaluated).metrics

    def fine_tune(self, seed: bytes, rounds: int) -> dict[str, float]:
        """Metrics of `model_path` after some rounds for this site alone; see the request."""
        return self.ask(FineTune(seed.hex(), rounds), Evaluated).metrics

    def forget(self) -> None:
        """Overwrite the update, and what is kept: both are this member's alone."""
        overwrite(self.vector_path)
        overwrite(self.kept_path)

    def close(self) -> None:
        """End the process and everything it started, overwrite the update; may be called twice."""
        if self._replies < 0:
            return
        os.close(self._replies)
        self._replies = -1
        self._asked = None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        CHILDREN.ended(self._child)
        if self._child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()
        self._child.wait()
        self.forget()

    def _begin_life(self) -> Isolation:
        try:
            self._deadline = time.monotonic() + self._setup.limits.start_s
            self._send(msgspec.json.encode(self._setup))
            line = self._line()
            while line is None:
                self._wait(1.0)
                line = self._line()
            return self._decode(line, msgspec.json.Decoder(Isolation))
        except StudyFault as fault:  # before any code of a study runs, it cannot be the study's
            raise Misconfigured(
                f"the sandbox does not start within its limits: {fault}; see {self.notes_path}"
            ) from None

    def _wait(self, seconds: float) -> None:
        poll = select.poll()
        poll.register(self._replies, select.POLLIN)
        left = min(seconds, max(0.0, self._deadline - time.monotonic()))
        poll.poll(1000 * left)

    def _send(self, line: bytes) -> None:
        assert self._child.stdin is not None and len(line) < LINE_BYTES_MAX
        try:
            self._child.stdin.write(line + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def _line(self) -> bytes | None:
        """One whole line of the process, or None; ends a process that is late or too talkative."""
        end = self._buffer.find(b"\n")
        while end < 0:
            try:
                piece = os.read(self._replies, _READ_BYTES)
            except BlockingIOError:
                if time.monotonic() > self._deadline:
                    self.close()
                    raise StudyFault(
                        StudyFaultKind.LIMIT_EXCEEDED,
                        "the study took longer than its time limit and was ended",
                    ) from None
                return None
            if not piece:
                raise self._ended()
            self._buffer += piece
            if len(self._buffer) > LINE_BYTES_MAX:
                raise self._lied("an answer too long")
            end = self._buffer.find(b"\n")
        if end != len(self._buffer) - 1:
            raise self._lied("more than one answer")
        line = bytes(self._buffer[:end])
        self._buffer.clear()
        return line

    def _ended(self) -> StudyFault:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(1.0)
        status = self._child.poll()
        self.close()
        if status in (-signal.SIGKILL, -signal.SIGXCPU):
            return StudyFault(
                StudyFaultKind.LIMIT_EXCEEDED,
                "the system ended the study's process, for memory or processor time",
            )
        return StudyFault(StudyFaultKind.CODE_FAILED, "the study's process has ended by itself")

    def _lied(self, what: str) -> StudyFault:
        self.close()
        return StudyFault(StudyFaultKind.BAD_OUTPUT, f"the study's process sent {what}")

    def _decode(self, line: bytes, form: msgspec.json.Decoder[Decoded]) -> Decoded:
        try:
            return form.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, StudyFault):
            raise self._lied("an answer that is not in the form") from None

    def _check_vectors(self, words: int, *, trained: bool) -> None:
        lie = vectors_fault(self._work, self._card, words, trained=trained)
        if lie is not None:
            raise self._lied(lie)

    def _trim_notes(self) -> None:
        if self.notes_path.stat().st_size > NOTES_BYTES_MAX // 2:
            os.truncate(self.notes_path, 0)
