"""Calls a study, inside its process, and turns whatever happens into a typed reply.

Runs only behind the walls of `isolation`. Errors become a code and a line of the study; their text
is printed, which puts it into the notes file.
"""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import assert_never, final

import numpy as np

from comity.aggregation.layout import Layout
from comity.errors import Malformed, StudyFault, StudyFaultKind
from comity.learning.local import (
    Shared,
    alone,
    fine_tuned,
    first_kept,
    first_shared,
    first_state,
    learn,
    seen,
)
from comity.learning.methods.scaffold import Scaffold
from comity.learning.model import header_bytes
from comity.learning.steps import Float32Array, flush_to_zero_fault
from comity.learning.study import METRICS_MAX, NAME, LoadedStudy, describe, load
from comity.learning.tables import Reading, Unread, inspect_table
from comity.learning.training import generator
from comity.node.sandbox_wire import (
    CONTROL_FILE,
    KEPT_FILE,
    MODEL_FILE,
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
    Reply,
    Request,
    Result,
    Train,
    Trained,
    Unfit,
)
from comity.values import labelled_hash, u32


class _DoesNotFit(Exception):
    def __init__(self, reply: Unfit) -> None:
        self.reply = reply


@final
class Worker:
    """One study and one table, each loaded when first needed and then kept."""

    def __init__(self, study_path: Path, data_path: Path, work_dir: Path) -> None:
        self._study_path = study_path
        self._data_path = data_path
        self._work = work_dir
        self._loaded: LoadedStudy | None = None
        self._reading: Reading | None = None

    def answer(self, request: Request) -> Reply:
        """Do what is asked; never raises for anything the study does."""
        try:
            return self._result(request)
        except _DoesNotFit as found:
            return found.reply
        except StudyFault as fault:
            traceback.print_exc()
            return Failed(fault.kind, self._line(fault))
        except MemoryError as error:
            traceback.print_exc()
            return Failed(StudyFaultKind.LIMIT_EXCEEDED, self._line(error))
        except BaseException as error:  # outermost loop of this process; SystemExit included
            traceback.print_exc()
            kind = StudyFaultKind.CODE_FAILED
            if self._loaded is None:
                kind = StudyFaultKind.NOT_LOADABLE
            return Failed(kind, self._line(error))

    def _result(self, request: Request) -> Result:
        loaded = self._study()
        parts = loaded.study.parts
        match request:
            case Describe():
                return Described(describe(loaded.study))
            case Initial():
                return Initialised(self._write(first_shared(loaded).model))
            case CheckData():
                reading = self._table()
                return Checked(reading.rows_count, reading.dropped_count)
            case Train():
                return self._train(loaded, bytes.fromhex(request.seed))
            case Evaluate():
                return self._evaluate(loaded, self._model(parts.model), self._kept(loaded))
            case Alone():
                return self._alone(loaded, request)
            case FineTune():
                return self._fine_tune(loaded, request)
            case _:
                assert_never(request)

    def _train(self, loaded: LoadedStudy, seed: bytes) -> Trained:
        parts = loaded.study.parts
        control = self._flat(CONTROL_FILE, parts.model.data_words) if _has_control(loaded) else None
        shared = Shared(self._model(parts.model), () if control is None else (control,))
        learned = learn(loaded, self._table().table, shared, self._kept(loaded), generator(seed))
        self._write(learned.kept, KEPT_FILE)
        return Trained(self._write(learned.update), learned.example_count)

    def _alone(self, loaded: LoadedStudy, request: Alone) -> Evaluated:
        fault = flush_to_zero_fault()
        if fault is not None:
            raise StudyFault(StudyFaultKind.CODE_FAILED, fault)
        study = loaded.study
        first = Shared(self._model(study.parts.model), first_state(study))
        seeds = _seeds("alone", request.seed, request.rounds)
        return self._evaluate(loaded, *alone(loaded, self._table().table, first, seeds))

    def _fine_tune(self, loaded: LoadedStudy, request: FineTune) -> Evaluated:
        model, kept = fine_tuned(
            loaded,
            self._table().table,
            self._model(loaded.study.parts.model),
            self._kept(loaded),
            _seeds("fine tuning", request.seed, request.rounds),
        )
        self._write(kept, KEPT_FILE)
        self._write(model)
        return self._evaluate(loaded, model, kept)

    def _evaluate(self, loaded: LoadedStudy, model: Float32Array, kept: Float32Array) -> Evaluated:
        found = loaded.evaluate(seen(loaded.study, model, kept), self._table().table)
        if not isinstance(found, Mapping) or len(found) > METRICS_MAX:
            raise StudyFault(
                StudyFaultKind.BAD_OUTPUT, f"evaluate returns at most {METRICS_MAX} named numbers"
            )
        metrics: dict[str, float] = {}
        for name, number in found.items():
            if not isinstance(name, str) or NAME.match(name) is None:
                raise StudyFault(StudyFaultKind.BAD_OUTPUT, "a metric's name is a plain word")
            value = float(number)
            if math.isinf(value):
                raise StudyFault(StudyFaultKind.NOT_FINITE, f"metric {name} is infinite")
            if not math.isnan(value):
                metrics[name] = value
        return Evaluated(metrics)

    def _study(self) -> LoadedStudy:
        if self._loaded is None:
            source = self._study_path.read_bytes()
            module = ModuleType("study")
            module.__file__ = str(self._study_path)
            sys.modules["study"] = module  # dataclasses of the study look for it there
            exec(compile(source, str(self._study_path), "exec"), module.__dict__)
            self._loaded = load(module.__dict__)
        return self._loaded

    def _table(self) -> Reading:
        if self._reading is None:
            study = self._study().study
            found = inspect_table(
                study.columns,
                self._data_path.read_bytes(),
                missing=study.missing,
                missing_texts=study.missing_texts,
                strip_headers=study.strip_headers,
            )
            if isinstance(found, Unread):
                print(found.text(self._data_path.name), file=sys.stderr)
                first = found.problems[0]
                names = [column.name for column in study.columns]
                place = names.index(first.column) + 1 if first.column in names else 0
                raise _DoesNotFit(Unfit(first.row, place, found.problem_count))
            self._reading = found
        return self._reading

    def _model(self, layout: Layout) -> Float32Array:
        """The flat model, read straight into its array."""
        header = header_bytes(layout)
        with (self._work / MODEL_FILE).open("rb") as file:
            if file.read(len(header)) != header:
                raise Malformed("the model file is not of this study's layout")
            flat = np.fromfile(file, "<f4")
        if len(flat) != layout.data_words:
            raise Malformed("the model file is not as long as this study's layout")
        return flat

    def _kept(self, loaded: LoadedStudy) -> Float32Array:
        """What this site keeps; before its first round, what everybody begins with."""
        words = loaded.study.parts.kept_words
        if not words or not (self._work / KEPT_FILE).stat().st_size:
            return first_kept(loaded)
        return self._flat(KEPT_FILE, words)

    def _flat(self, name: str, words: int) -> Float32Array:
        flat = np.fromfile(self._work / name, "<f4")
        if len(flat) != words:
            raise Malformed(f"{name} is not as long as this study's layout")
        return flat

    def _write(self, flat: Float32Array, name: str = VECTOR_FILE) -> int:
        """Replace what a file holds; the file itself was made by the node."""
        if not np.isfinite(flat).all():
            raise StudyFault(StudyFaultKind.NOT_FINITE, f"a number for {name} is NaN or infinite")
        with (self._work / name).open("r+b") as file:
            file.write(flat.astype("<f4", copy=False).data)
            file.truncate()
        return len(flat)

    def _line(self, error: BaseException) -> int:
        """The innermost line of the study that the error came through; 0 when there is none."""
        if isinstance(error, SyntaxError) and error.filename == str(self._study_path):
            return error.lineno or 0
        line = 0
        for frame, number in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename == str(self._study_path):
                line = number
        return line


def _has_control(loaded: LoadedStudy) -> bool:
    return isinstance(loaded.study.method, Scaffold)


def _seeds(what: str, seed: str, rounds: int) -> Iterator[bytes]:
    return (labelled_hash(what, bytes.fromhex(seed), u32(number)) for number in range(rounds))
