"""Calls a study, inside its process, and turns whatever happens into a typed reply.

Runs only behind the walls of `isolation`. Errors become a code and a line of the study; their text
is printed, which puts it into the notes file.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import CodeType, ModuleType
from typing import TypeVar, assert_never, final

import numpy as np

from comity.aggregation.layout import Layout
from comity.errors import Malformed, Raised, StudyFault, StudyFaultKind
from comity.learning.model import header_bytes, to_flat
from comity.learning.steps import Float32Array, flush_to_zero_fault
from comity.learning.study import LoadedStudy, contract_of, describe, layout_of, load
from comity.learning.tables import Reading
from comity.learning.training import alone
from comity.node.sandbox_calls import (
    DoesNotFit,
    NoSum,
    codes_of,
    learned,
    measured,
    raised_by,
    read_file,
)
from comity.node.sandbox_simulation import SimulationRun
from comity.node.sandbox_wire import (
    MODEL_FILE,
    VECTOR_FILE,
    Alone,
    AskContract,
    CheckData,
    Checked,
    Contracted,
    Describe,
    Described,
    Evaluate,
    Evaluated,
    Failed,
    Initial,
    Initialised,
    Reply,
    Request,
    Result,
    Simulate,
    SimulateRound,
    Simulating,
    Train,
    Trained,
    Unfit,
)
from comity.values import labelled_hash, u32

T = TypeVar("T")


@final
class Worker:
    """One study and one table, each loaded when first needed and then kept."""

    def __init__(self, study_path: Path, tables: tuple[Path, ...], work_dir: Path) -> None:
        self._study_path = study_path
        self._data_path = tables[0]
        self._tables = tables
        self._own_code: dict[int, CodeType] = {}
        self._run: SimulationRun | None = None
        self._work = work_dir
        self._loaded: LoadedStudy | None = None
        self._reading: Reading | None = None

    def answer(self, request: Request) -> Reply:
        """Do what is asked; never raises for anything the study does."""
        return self._guarded(lambda: self._result(request))

    def _guarded(self, call: Callable[[], T]) -> T | Unfit | Failed:
        """What the call gives, or how it failed; the text of an error goes to the notes."""
        try:
            return call()
        except (DoesNotFit, NoSum) as found:
            return found.reply
        except StudyFault as fault:
            traceback.print_exc()
            return Failed(fault.kind, self._line(fault))
        except MemoryError as error:
            traceback.print_exc()
            return Failed(StudyFaultKind.LIMIT_EXCEEDED, self._line(error), Raised.MEMORY)
        except BaseException as error:  # outermost loop of this process; SystemExit included
            traceback.print_exc()
            kind = StudyFaultKind.CODE_FAILED
            if self._loaded is None:
                kind = StudyFaultKind.NOT_LOADABLE
            return Failed(kind, self._line(error), raised_by(error))

    def _result(self, request: Request) -> Result:
        loaded = self._study()
        layout = layout_of(loaded.study)
        match request:
            case Describe():
                return Described(describe(loaded.study))
            case Initial():
                flat = to_flat(layout, loaded.initial(loaded.study.seed))
                return Initialised(self._write(flat))
            case CheckData():
                reading = self._table()
                return Checked(reading.rows_count, reading.dropped_count)
            case Train():
                return self._train(loaded, layout, bytes.fromhex(request.seed))
            case Evaluate():
                table = self._table().table
                return Evaluated(measured(loaded, layout, self._model(layout), table))
            case Alone():
                return self._alone(loaded, layout, request)
            case AskContract():
                return Contracted(contract_of(loaded.study))
            case Simulate():
                self._run = SimulationRun(loaded, self._tables, request, self._guarded)
                return Simulating(self._run.rows)
            case SimulateRound():
                assert self._run is not None, "a simulation is begun before its first round"
                done = self._run.round(evaluate=request.evaluate)
                if request.keep:
                    self._write(self._run.flat)
                return done
            case _:
                assert_never(request)

    def _train(self, loaded: LoadedStudy, layout: Layout, seed: bytes) -> Trained:
        before = self._model(layout)
        update, count = learned(loaded, layout, before, self._table().table, seed)
        return Trained(self._write(update), count)

    def _alone(self, loaded: LoadedStudy, layout: Layout, request: Alone) -> Evaluated:
        fault = flush_to_zero_fault()
        if fault is not None:
            raise StudyFault(StudyFaultKind.CODE_FAILED, fault)
        table = self._table().table
        seed = bytes.fromhex(request.seed)
        flat = alone(
            layout,
            loaded.study.rule,
            self._model(layout),
            lambda weights, rng: loaded.train(weights, table, rng),
            (labelled_hash("alone", seed, u32(number)) for number in range(request.rounds)),
        )
        return Evaluated(measured(loaded, layout, flat, table))

    def _study(self) -> LoadedStudy:
        if self._loaded is None:
            source = self._study_path.read_bytes()
            module = ModuleType("study")
            module.__file__ = str(self._study_path)
            sys.modules["study"] = module  # dataclasses of the study look for it there
            code = compile(source, str(self._study_path), "exec")
            self._own_code = {id(each): each for each in codes_of(code)}
            exec(code, module.__dict__)
            self._loaded = load(module.__dict__)
        return self._loaded

    def _table(self) -> Reading:
        if self._reading is None:
            contract = contract_of(self._study().study)
            self._reading = read_file(contract, self._data_path)
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

    def _write(self, flat: Float32Array) -> int:
        """Replace what `update.f32` holds; the file itself was made by the node."""
        if not np.isfinite(flat).all():
            raise StudyFault(StudyFaultKind.NOT_FINITE, "an update is NaN or infinite")
        with (self._work / VECTOR_FILE).open("r+b") as file:
            file.write(flat.astype("<f4", copy=False).data)
            file.truncate()
        return len(flat)

    def _line(self, error: BaseException) -> int:
        """The innermost line of the study that the error came through; 0 when there is none.

        Only code compiled from the study file counts: a study can compile more, under the same
        file name, with any number it likes as its line.
        """
        if isinstance(error, SyntaxError) and not self._own_code:
            return error.lineno or 0
        line = 0
        for frame, number in traceback.walk_tb(error.__traceback__):
            if id(frame.f_code) in self._own_code:
                line = number
        return line
