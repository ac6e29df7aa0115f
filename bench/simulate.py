"""What `comity simulate` costs over a bare loop that does the same local steps.

Both run in one process, one round of each in turn, so that a change of the machine hits both alike.
The bare loop keeps nothing but the mean of the updates in float64; it quantises nothing, checks
nothing, and evaluates nothing. "The same result" means two things, and both are measured: a loop
that quantises as the commons does gives the same bits, and the bare one lies no further from them
than the declared quantisation may.
"""

from __future__ import annotations

import gc
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np

from bench.plain import quantised_mean
from comity.learning.loading import LoadedStudy, load
from comity.learning.model import model_digest, to_flat, to_tensors
from comity.learning.partition import even
from comity.learning.seeds import training_seed
from comity.learning.steps import Float32Array, first_moments, step_chunk
from comity.learning.tables import Table, read_table
from comity.learning.training import generator
from comity.learning.twin import twin
from comity.node.sandbox_study import Worker
from comity.node.sandbox_wire import RoundSimulated, Simulate, SimulateRound, Simulating
from comity.values import MemberId

STUDY: Final = Path(__file__).with_name("small_network.py")
ROWS_EACH: Final = 50


@final
@dataclass(frozen=True, slots=True)
class Compared:
    """One run. simulated, bare: processor seconds of each round, of one thread, so that what else
    runs on this machine does not count.

    same: whether the quantised loop has the same models; apart: largest difference of a parameter
    from the bare loop; apart_max: what may be.
    """

    simulated: list[float]
    bare: list[float]
    parameters: int
    same: bool
    apart: float
    apart_max: float


def compare(members: int, rounds: int) -> Compared:
    """Run a study of a small network both ways, round by round."""
    namespace: dict[str, object] = {}
    exec(compile(STUDY.read_text(), str(STUDY), "exec"), namespace)
    loaded = load(namespace)
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "invented.csv"
        rows = twin(loaded.study.columns, ROWS_EACH * members, np.random.default_rng(0))
        data.write_bytes(rows)
        (Path(name) / "update.f32").touch()
        worker = Worker(STUDY, (data,), Path(name))
        begun = worker.answer(
            Simulate(split="even", members=members, seed=loaded.study.seed, split_seed=1)
        )
        assert isinstance(begun, Simulating)
        table = read_table(loaded.study.columns, rows, file_name=data.name).table
        tables = even(table, members, np.random.default_rng(1))
        return _in_turn(worker, loaded, tables, rounds)


def _in_turn(
    worker: Worker, loaded: LoadedStudy, tables: dict[MemberId, Table], rounds: int
) -> Compared:
    layout, study = loaded.study.parts.vector, loaded.study
    bare = exact = to_flat(layout, loaded.initial(study.seed))
    moments, names = first_moments(study.rule, len(bare)), list(tables)
    exact_moments = moments
    seconds: tuple[list[float], list[float]] = ([], [])
    same = True
    gc.disable()
    for number in range(1, rounds + 1):
        start = time.process_time()
        done = worker.answer(SimulateRound(evaluate=False, keep=False))
        middle = time.process_time()
        mean = np.zeros(len(bare), np.float64)
        for member, table in tables.items():
            rng = generator(training_seed(study.seed, member, number))
            after, _ = loaded.train(to_tensors(layout, bare), table, rng)
            mean += to_flat(layout, after) - bare
        bare, moments = step_chunk(study.rule, bare, moments, mean / len(tables))
        end = time.process_time()
        seconds[0].append(middle - start)
        seconds[1].append(end - middle)
        updates = _updates(loaded, tables, exact, number)
        summed = quantised_mean(loaded, updates, names, number)
        exact, exact_moments = step_chunk(study.rule, exact, exact_moments, summed)
        assert isinstance(done, RoundSimulated), done
        same = same and done.model == model_digest(layout, [exact])
    gc.enable()
    apart = float(np.abs(bare.astype(np.float64) - exact).max())
    return Compared(seconds[0], seconds[1], len(bare), same, apart, APART_MAX)


APART_MAX: Final = 1e-4
"""Training goes on from each difference, so they grow."""


def _updates(
    loaded: LoadedStudy, tables: dict[MemberId, Table], flat: Float32Array, number: int
) -> list[Float32Array]:
    layout, seed = loaded.study.parts.vector, loaded.study.seed
    found = []
    for member, table in tables.items():
        rng = generator(training_seed(seed, member, number))
        after, _ = loaded.train(to_tensors(layout, flat), table, rng)
        found.append(to_flat(layout, after) - flat)
    return found
