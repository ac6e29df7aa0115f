"""A study's rounds with all its members on this machine, and what came of them as tables.

The same call as `comity simulate`: same seed, same members, same bits.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from comity.api.studies import StudyFile, path_of, policy_of
from comity.api.tables import Cell, ResultTable
from comity.errors import Misconfigured
from comity.learning.model import read_header
from comity.learning.simulate import Terms
from comity.node import simulating
from comity.node.simulating import RunSimulated, Simulated, Wanted


@final
@dataclass(frozen=True, slots=True, repr=False)
class Simulation:
    """A simulation that is over.

    Args:
        rows: each member's, by its name.
        models: the digest of the last model, by seed: what a commons with these members accepts.
        scores: seed, round, member, metric, value, tuned; tuned is of the member's own copy.
        summary: over members, for each evaluated round and metric: mean, its SD over seeds, lowest
            and highest.
        failures: seed, round, member, kind, line, raised.
        pooled: seed, metric, value: of a study of kind "evaluate", over all members; else empty.
        invented: whether no table was given; the scores then say nothing.
    """

    name: str
    rounds: int
    secure: bool
    invented: bool
    rows: dict[str, int]
    models: dict[int, str]
    scores: ResultTable
    summary: ResultTable
    failures: ResultTable
    pooled: ResultTable
    _model: bytes

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """The last model of the last seed, by the names of its tensors."""
        return tensors_of(self._model)

    def save(self, file: Path | str) -> Path:
        """Write that model as a new safetensors file. Raises Misconfigured: it exists."""
        return write_new(Path(file), self._model)

    def __repr__(self) -> str:
        seeds = ", ".join(map(str, self.models))
        return f"<{self.name}: {len(self.rows)} members, {self.rounds} rounds, seed {seeds}>"


def simulate(
    study: StudyFile | Path | str,
    data: Path | str | Sequence[Path | str] = (),
    *,
    members: int = 0,
    rounds: int = 0,
    by: str = "",
    alpha: float = 0.0,
    split_seed: int = 0,
    seeds: int = 1,
    evaluate_every: int = 1,
    sample: int = 0,
    survivors_min: int = 0,
    secure: bool = False,
    cyclic: bool = False,
    model: Path | str | None = None,
    weak_sandbox: bool = False,
    tell: Callable[[int, int, int], None] = lambda run, number, rounds: None,
) -> Simulation:
    """Run a study's rounds with many members in one sandboxed process, without network.

    Args:
        data: a table; several: each is a member, named by its file; none: rows are invented.
        members: that one table is dealt to; default 10.
        rounds: default as many as the study has.
        by: a column of the table that names the member.
        alpha: of a Dirichlet draw over the label's classes; 0.1 makes members unlike.
        split_seed: of dealing rows out. seeds: runs, with the study's seed and the next ones.
        evaluate_every: rounds between evaluations; 0: after the last one only.
        sample: members drawn for each round. survivors_min: fewest members in a sum.
        secure: sum through the real aggregation; the same model.
        cyclic: hand the model on instead of summing; exists in simulations only.
        model: that a study of kind "evaluate" is given: a file, or the folder of a release.
        weak_sandbox: also where the code cannot be shut in fully; it then has your rights.
        tell: told after each round: which run, from 0; which round, from 1; how many rounds.
    Raises:
        StudyFault: with file and line of the study. DataFault: a table does not fit.
        Refused: the sandbox is incomplete here. Misconfigured: a number that cannot be.
    """
    tables = (data,) if isinstance(data, Path | str) else tuple(data)
    wanted = Wanted(
        tables=tuple(map(Path, tables)),
        members=members,
        rounds=rounds,
        column=by,
        alpha=alpha,
        split_seed=split_seed,
        seeds=seeds,
        evaluate_every=evaluate_every,
        terms=Terms(sample, secure, survivors_min, cyclic),
        model=None if model is None else Path(model),
    )
    with tempfile.TemporaryDirectory(prefix="comity-simulation-") as folder:
        out = Path(folder) / "model.safetensors"
        done = simulating.simulate(
            path_of(study), wanted, policy=policy_of(weak_sandbox), tell=tell, out=out
        )
        raw = out.read_bytes()
    return Simulation(
        name=done.name,
        rounds=done.rounds,
        secure=done.secure,
        invented=done.invented,
        rows={str(member): count for member, count in done.rows.items()},
        models={run.seed: str(run.model) for run in done.runs},
        scores=scores_of(done),
        summary=summary_of(done),
        failures=failures_of(done),
        pooled=pooled_of(done),
        _model=raw,
    )


def scores_of(done: Simulated) -> ResultTable:
    """Every score of every member, in every evaluated round of every run."""
    rows: list[tuple[Cell, ...]] = []
    for run in done.runs:
        for tuned, found in ((False, run.metrics), (True, run.tuned)):
            for number, members in sorted(found.items()):
                for member, metrics in members.items():
                    rows += [
                        (run.seed, number, str(member), name, value, tuned)
                        for name, value in sorted(metrics.items())
                    ]
    return ResultTable(("seed", "round", "member", "metric", "value", "tuned"), tuple(rows))


def summary_of(done: Simulated) -> ResultTable:
    """The mean over members after each evaluated round, and its spread over seeds."""
    rows: list[tuple[Cell, ...]] = []
    for number in sorted(done.runs[0].metrics):
        each = [named_scores(run, number) for run in done.runs]
        names = sorted({name for run in each for found in run.values() for name in found})
        for name in names:
            means = [_mean([f[name] for f in run.values() if name in f]) for run in each]
            scores = [found[name] for run in each for found in run.values() if name in found]
            spread = statistics.stdev(means) if len(means) > 1 else None
            rows.append((number, name, _mean(means), spread, min(scores), max(scores)))
    heads = ("round", "metric", "mean of members", "SD over seeds", "lowest", "highest")
    return ResultTable(heads, tuple(rows))


def failures_of(done: Simulated) -> ResultTable:
    """Who gave no update, when and how; codes only."""
    rows = tuple(
        (run.seed, each.round_no, str(each.member), each.kind.value, each.line, each.raised.value)
        for run in done.runs
        for each in run.failed
    )
    return ResultTable(("seed", "round", "member", "kind", "line", "raised"), rows)


def pooled_of(done: Simulated) -> ResultTable:
    """What an evaluation gives for all members together."""
    rows = tuple(
        (run.seed, name, value) for run in done.runs for name, value in sorted(run.pooled.items())
    )
    return ResultTable(("seed", "metric", "value"), rows)


def named_scores(run: RunSimulated, number: int) -> dict[str, dict[str, float]]:
    """Each member's scores after a round, and beside them those of its fine-tuned copy."""
    tuned = run.tuned.get(number, {})
    return {
        str(member): {
            **found,
            **{f"{name}, tuned": s for name, s in tuned.get(member, {}).items()},
        }
        for member, found in run.metrics[number].items()
    }


def tensors_of(raw: bytes) -> dict[str, NDArray[np.float32]]:
    """The float32 tensors of a model file of this house. Raises Malformed."""
    start = 8 + int.from_bytes(raw[:8], "little")
    return {
        place.name: np.frombuffer(raw[start + place.start : start + place.stop], "<f4")
        .reshape(place.shape)
        .copy()
        for place in read_header(raw, len(raw))
    }


def write_new(path: Path, raw: bytes) -> Path:
    """Write a file that is not there yet. Raises Misconfigured."""
    try:
        with path.open("xb") as target:
            target.write(raw)
    except OSError as error:
        raise Misconfigured(f"cannot write {path}: {error.strerror}") from error
    return path


def _mean(numbers: Sequence[float]) -> float:
    return statistics.fmean(numbers) if numbers else float("nan")
