"""A member's running node in Python: register a study, watch it, fetch what came of it.

As the commands do, over `node.sock` in the node's folder, which only its owner can enter. A node
must run there (`comity node run`): nothing here unlocks keys.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from comity.api.simulations import tensors_of
from comity.api.studies import StudyFile, path_of
from comity.api.tables import Cell, ResultTable
from comity.errors import Misconfigured, Unavailable
from comity.node.evaluating import Evaluation
from comity.node.failures import Failures
from comity.node.planning import PHASE_S, TRAIN_S
from comity.node.reports import Status, StudyStatus
from comity.node.rows import StudyShown
from comity.node.speaking import ask_running, expect, logged_within
from comity.node.wish_wire import (
    AskFailures,
    AskStatus,
    EvaluateStudy,
    RegisterStudy,
    Result,
    ShowStudy,
    Wish,
)
from comity.node.wishes import Said


@final
class Node:
    """The node that runs in a folder; `connect` makes one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        status = self._status()
        self.member = str(status.member)
        self.commons = status.name

    def studies(self) -> ResultTable:
        """name, id, kind or method, rounds with a result, of how many, phase, consent here."""
        heads = ("name", "id", "method", "results", "rounds", "phase", "consent")
        rows = tuple(
            (s.name, str(s.id), s.method, s.results_count, s.rounds_max, s.phase, s.consent)
            for s in self._status().studies
        )
        return ResultTable(heads, rows)

    def study(self, name: str) -> RegisteredStudy:
        """A registered study, by name, id, or the beginning of its id. Raises Refused."""
        shown = expect(StudyShown, self._ask(ShowStudy(name)))
        return RegisteredStudy(self, str(shown.status.id), shown.status.name)

    def register(
        self,
        study: StudyFile | Path | str,
        *,
        name: str | None = None,
        model: Path | str | None = None,
        colluders: int | None = None,
        survivors_min: int | None = None,
        attempts_max: int | None = None,
        phase_s: int = PHASE_S,
        train_s: int = TRAIN_S,
    ) -> RegisteredStudy:
        """Register a study file and wait until it is in the log, as `comity study register` does.

        Nothing runs on anybody's data before its owner consents to exactly this file.

        Args:
            name: default: the file's own.
            model: for `kind="evaluate"`: a file, the folder of a release, a study, or a digest.
            colluders: members that may collude; default a third. survivors_min: fewest members in
                a sum; default two thirds. attempts_max: tries of one round. phase_s, train_s:
                seconds for each phase and for training.
        Raises:
            StudyFault: the file does not load. Refused: the charter does not allow it.
            Unavailable: not logged in time; the node sends it by itself.
        """
        file = str(path_of(study).absolute())
        wish = RegisterStudy(
            file, name, colluders, survivors_min, attempts_max, phase_s, train_s, named_model(model)
        )
        said = expect(Said, self._ask(wish))
        spoken = logged_within(self._ask, said)
        return self.study(spoken.statement)

    def __repr__(self) -> str:
        return f"<node of {self.member} in {self.commons}>"

    def _ask(self, wish: Wish) -> Result:
        return ask_running(self.folder, wish)

    def _status(self) -> Status:
        return expect(Status, self._ask(AskStatus()))


@final
class RegisteredStudy:
    """A study that a commons has registered, as this member's node sees it."""

    def __init__(self, node: Node, study: str, name: str) -> None:
        self.node = node
        self.id = study
        self.name = name

    def status(self) -> StudyStatus:
        """Where it stands now: round, phase, whom it waits for and why."""
        return self._shown().status

    def watch(
        self, *, every_s: float = 1.0, timeout_s: float | None = None
    ) -> Iterator[StudyStatus]:
        """Yields the status now and after each change, until the study is finished.

        Raises:
            Unavailable: `timeout_s` is over.
        """
        limit = None if timeout_s is None else time.monotonic() + timeout_s
        before: StudyStatus | None = None
        while before is None or before.phase != "finished":
            now = self.status()
            if now != before:
                yield now
                before = now
                continue
            if limit is not None and time.monotonic() > limit:
                raise Unavailable(f"{self.name} is not finished after {timeout_s} s: {now.why}")
            time.sleep(every_s)

    def rounds(self) -> ResultTable:
        """round, attempt, model, members: a row for each round with a result."""
        rows = tuple(
            (each.round_no, each.attempt, str(each.model), ", ".join(each.members))
            for each in self._shown().rounds
        )
        return ResultTable(("round", "attempt", "model", "members"), rows)

    def scores(self) -> ResultTable:
        """Metrics: of an evaluation, pooled and this site's own; else together, alone, tuned here.

        The latter trains alone at this site for as many rounds, so it may take long; the numbers
        stay here.

        Raises:
            Refused: no result yet, or no consent here. StudyFault, DataFault.
        """
        shown = self._shown()
        if shown.evaluates:
            columns = {"pooled": shown.pooled, "own": shown.own}
        else:
            found = expect(Evaluation, self.node._ask(EvaluateStudy(self.id)))
            columns = {"together": found.together, "alone": found.alone}
            if found.tuned is not None:
                columns["tuned here"] = found.tuned
        names = sorted({name for column in columns.values() for name in column})
        rows: list[tuple[Cell, ...]] = [
            (name, *(column.get(name) for column in columns.values())) for name in names
        ]
        return ResultTable(("metric", *columns), tuple(rows))

    def failures(self) -> ResultTable:
        """Codes of what failed: at this site, and what other sites told. No texts."""
        here = expect(Failures, self.node._ask(AskFailures(self.id)))
        rows: list[tuple[Cell, ...]] = [
            (self.node.member, f.round_no, f.attempt, f.kind, f.line, f.raised.value)
            for f in here.noted
        ]
        rows += [
            (str(f.member), f.round_no, f.attempt, f.kind, f.line, f.raised)
            for f in self._shown().told
            if f.member != self.node.member
        ]
        return ResultTable(("member", "round", "attempt", "kind", "line", "raised"), tuple(rows))

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """The newest model, by the names of its tensors; of an evaluation: its sums."""
        return tensors_of(Path(self._shown().model_file).read_bytes())

    def __repr__(self) -> str:
        return f"<study {self.name} ({self.id[:12]})>"

    def _shown(self) -> StudyShown:
        return expect(StudyShown, self.node._ask(ShowStudy(self.id)))


def connect(folder: Path | str) -> Node:
    """The node that runs in a folder. Raises Misconfigured: none runs there."""
    path = Path(folder)
    if not path.is_dir():
        raise Misconfigured(f"{path} is no folder of a node")
    return Node(path)


def named_model(model: Path | str | None) -> str | None:
    """A model as a node that runs elsewhere is told it: an absolute path, where it is one."""
    if model is None:
        return None
    return str(Path(model).absolute()) if os.path.exists(model) else str(model)
