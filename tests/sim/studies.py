"""A study at work inside the simulation: the worker of the real study process, called directly."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from comity.learning.study import StudyCard
from comity.node.isolation import Isolation, Limits
from comity.node.sandbox_start import overwrite, prepare
from comity.node.sandbox_study import Worker
from comity.node.sandbox_wire import (
    CONTROL_FILE,
    KEPT_FILE,
    MODEL_FILE,
    VECTOR_FILE,
    CheckData,
    Checked,
    Describe,
    Described,
    Request,
    Result,
)
from comity.values import SandboxPolicy
from tests.e2e.small_study import study_text, table_of

TEXT = study_text(numbers=10, rounds=1_000)


class StudyInProcess:
    """As `Sandbox`, without a process: it has answered as soon as it is asked."""

    isolation = Isolation(True, True, True, (), True, True)
    cpu_s = 0.0
    pid = 0

    def __init__(self, worker: Worker, work: Path) -> None:
        self._worker, self._work = worker, work
        self._result: Result | None = None
        self.alive = True

    @property
    def busy(self) -> bool:
        """Whether it was asked something whose result nobody has taken."""
        return self._result is not None

    @property
    def model_path(self) -> Path:
        """Where the node puts the model before it asks."""
        return self._work / MODEL_FILE

    @property
    def vector_path(self) -> Path:
        """Where an update lies after the answer."""
        return self._work / VECTOR_FILE

    @property
    def kept_path(self) -> Path:
        """Where what stays at the site lies, before and after."""
        return self._work / KEPT_FILE

    @property
    def control_path(self) -> Path:
        """Where the node puts the shared control variate before it asks."""
        return self._work / CONTROL_FILE

    def fileno(self) -> int:
        """Nothing to wait for."""
        return -1

    def begin(self, request: Request) -> None:
        """Do what is asked."""
        assert self._result is None and self.alive
        self._worker._work = self._work
        reply = self._worker.answer(request)
        assert isinstance(reply, Result), reply
        self._result = reply

    def poll(self) -> Result | None:
        """The result, once."""
        result, self._result = self._result, None
        return result

    def describe(self) -> StudyCard:
        """What the study declares."""
        self.begin(Describe())
        result = self.poll()
        assert isinstance(result, Described)
        return result.card

    def check_data(self) -> Checked:
        """Check the data file against the declared columns."""
        self.begin(CheckData())
        result = self.poll()
        assert isinstance(result, Checked)
        return result

    def forget(self) -> None:
        """Overwrite the update."""
        overwrite(self.vector_path)
        overwrite(self.kept_path)

    def close(self) -> None:
        """End it."""
        self.alive, self._result = False, None


def start_in_process(
    study_path: Path,
    data_path: Path | None,
    work_dir: Path,
    *,
    policy: SandboxPolicy = "require",
    limits: Limits | None = None,
) -> StudyInProcess:
    """As `Sandbox.start`."""
    setup = prepare(study_path, data_path, work_dir, limits or Limits())
    table = b"" if data_path is None else data_path.read_bytes()
    return StudyInProcess(_worker(study_path.read_bytes(), table), Path(setup.work))


@lru_cache(maxsize=64)
def _worker(text: bytes, table: bytes) -> Worker:
    """A worker that keeps its study and table for all worlds of this process."""
    return Worker(_Content(text), (_Content(table),), Path())  # type: ignore[arg-type]  # as meant


class _Content:
    """A file of which only the bytes are there."""

    name = "table.csv"

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read_bytes(self) -> bytes:
        """All of it."""
        return self._content

    def __str__(self) -> str:
        return "study.py"


__all__ = ["TEXT", "StudyInProcess", "start_in_process", "table_of"]
