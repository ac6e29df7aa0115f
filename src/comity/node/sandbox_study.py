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
from comity.learning.loading import LoadedStudy, load
from comity.learning.local import (
    Shared,
    alone,
    evaluating,
    fine_tuned,
    first_kept,
    first_shared,
    first_state,
    learn,
)
from comity.learning.methods.scaffold import Scaffold
from comity.learning.model import header_bytes
from comity.learning.seeds import alone_seeds, tuning_seeds
from comity.learning.steps import Float32Array, flush_to_zero_fault
from comity.learning.study import contract_of, describe
from comity.learning.tables import Reading
from comity.learning.training import generator
from comity.node.sandbox_calls import (
    DoesNotFit,
    NoSum,
    codes_of,
    measured,
    out_of_memory,
    raised_by,
    read_file,
)
from comity.node.sandbox_simulation import SimulationRun
from comity.node.sandbox_wire import (
    CONTROL_FILE,
    KEPT_FILE,
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
    FineTune,
    Initial,
    Initialised,
    Reply,
    Request,
    Result,
    RoundSimulated,
    Simulate,
    SimulateRound,
    Simulating,
    Train,
    Trained,
    Unfit,
)

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
        except BaseException as error:  # outermost loop of this process; SystemExit included
            traceback.print_exc()
            if out_of_memory(error):
                return Failed(StudyFaultKind.LIMIT_EXCEEDED, self._line(error), Raised.MEMORY)
            kind = StudyFaultKind.CODE_FAILED
            if self._loaded is None:
                kind = StudyFaultKind.NOT_LOADABLE
            return Failed(kind, self._line(error), raised_by(error))

    def _result(self, request: Request) -> Result:
        loaded = self._study()
        evaluates = loaded.study.kind == "evaluate"
        if evaluates and not isinstance(request, Describe | CheckData | AskContract | Initial):
            loaded = evaluating(loaded, self._model(loaded.study.given))
        parts = loaded.study.parts
        match request:
            case Describe():
                return Described(describe(loaded.study))
            case Initial():
                nothing = np.zeros(parts.model.data_words, np.float32)
                first = nothing if evaluates else first_shared(loaded).model
                return Initialised(self._write(first))
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
            case AskContract():
                return Contracted(contract_of(loaded.study))
            case Simulate():
                kept = self._work / KEPT_FILE
                self._run = SimulationRun(loaded, self._tables, kept, request, self._guarded)
                return Simulating(self._run.rows)
            case SimulateRound():
                return self._simulate_round(request)
            case _:
                assert_never(request)

    def _simulate_round(self, request: SimulateRound) -> RoundSimulated:
        run, self._run = self._run, None
        assert run is not None, "a simulation is begun before its first round"
        done = run.round(evaluate=request.evaluate)
        if request.keep:
            self._write(run.model)
        self._run = run  # a round without a sum is its end: members have kept what nobody accepted
        return done

    def _train(self, loaded: LoadedStudy, seed: bytes) -> Trained:
        if loaded.study.kind == "evaluate":
            shared = first_shared(loaded)
        else:
            parts = loaded.study.parts
            control = (
                self._flat(CONTROL_FILE, parts.model.data_words) if _has_control(loaded) else None
            )
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
        seeds = alone_seeds(bytes.fromhex(request.seed), request.rounds)
        return self._evaluate(loaded, *alone(loaded, self._table().table, first, seeds))

    def _fine_tune(self, loaded: LoadedStudy, request: FineTune) -> Evaluated:
        model, kept = fine_tuned(
            loaded,
            self._table().table,
            self._model(loaded.study.parts.model),
            self._kept(loaded),
            tuning_seeds(bytes.fromhex(request.seed), request.rounds),
        )
        self._write(kept, KEPT_FILE)
        self._write(model)
        return self._evaluate(loaded, model, kept)

    def _evaluate(self, loaded: LoadedStudy, model: Float32Array, kept: Float32Array) -> Evaluated:
        return Evaluated(measured(loaded, model, kept, self._table().table))

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


def _has_control(loaded: LoadedStudy) -> bool:
    return isinstance(loaded.study.method, Scaffold)
