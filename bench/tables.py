"""`make tables`: what others published on real data, beside what this code gives.

    python -m bench.tables [--data DIR] [--seeds 20] [--no-secure] [--no-download]

Fed-Heart-Disease: four hospitals, splits and protocol of FLamby (owkin/FLamby @ edacf54), every row
of its table of methods. The published column was run again by others' code over 20 seeds; ours must
be within .02 of it. Beside accuracy, which says little here (a majority guess reaches .721): AUC,
the mean of the three centres whose test rows have it in earnest, and log loss.

"Secure" rows repeat a method with every sum taken through the real aggregation, same seeds.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from bench.hearts import ROWS, Hearts, hearts
from comity.aggregation.whole_round import run_all_parties
from comity.demo.heart import CENTRES, prepare
from comity.learning import accuracy, auc, log_loss
from comity.learning.loading import LoadedStudy, load
from comity.learning.local import (
    fine_tuned,
    first_kept,
    first_shared,
    learn,
    next_shared,
    seen,
)
from comity.learning.methods.cards import Method
from comity.learning.methods.fedprox import FedProx
from comity.learning.methods.pull import Pull
from comity.learning.methods.scaffold import Scaffold
from comity.learning.steps import (
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedYogi,
    Float32Array,
    Float64Array,
    Rule,
)
from comity.learning.study import Tensors
from comity.learning.tables import Table
from comity.learning.training import (
    Logistic,
    adam,
    batches,
    clipped,
    first_weights,
    generator,
    sgd,
)
from comity.values import labelled_hash, u32

ROUNDS, STEPS, BATCH, EPOCHS = 15, 100, 4, 50
BAR, DIGITS = 0.02, 5e-5
AUC_CENTRES = (0, 1, 3)
"""Switzerland's test rows have one healthy person: an AUC there says nothing."""

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data" / "heart_disease"
"""Where the data lie on a machine that has them beside the checkout."""

PLAIN = FedAvg()


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. published: client mean of the re-run over 20 seeds; None: ours only.

    lr: of local steps. own: whether each centre keeps its own intercept.
    """

    name: str
    published: float | None
    lr: float
    rule: Rule = PLAIN
    method: Method | None = None
    own: bool = False
    secure: bool = False
    tuned: bool = False


ADAGRAD, ADAM, YOGI = FedAdagrad(0.316228), FedAdam(0.01), FedYogi(0.01)
FEDERATED = (
    Row("FedAvg", 0.7061, 0.001),
    Row("FedProx", 0.7058, 0.001, method=FedProx(0.01)),
    Row("Scaffold", 0.7061, 0.001, method=Scaffold(STEPS, 0.001, range=4.0)),
    Row("FedAdagrad", 0.7363, 0.003162, ADAGRAD),
    Row("FedAdam", 0.7373, 0.01, ADAM),
    Row("FedYogi", 0.7363, 0.003162, YOGI),
)
OWN = tuple(
    replace(row, name=f"{row.name}, own intercept", published=None, own=True) for row in FEDERATED
)
TUNED = (
    Row("FedAvg, lr .003162", 0.7178, 0.003162),
    Row("FedAvg, fine-tuned", 0.7351, 0.003162, tuned=True),
)
"""FLamby's own run over 5 seeds: FedAvg, then 100 steps at each centre by itself."""

SECURE = tuple(
    replace(row, name=f"{row.name}, secure", published=None, secure=True)
    for row in (*FEDERATED, OWN[4])
)


@dataclass(frozen=True, slots=True)
class Metrics:
    """Means over centres, one number a seed."""

    accuracy: Float64Array
    auc: Float64Array
    log_loss: Float64Array


def study_of(data: Hearts, row: Row, seed: int) -> LoadedStudy:
    """The heart recipe with the row's method; centres are told apart by their table."""
    recipe = load(data.scope)
    own = tuple(
        replace(tensor, own=row.own and tensor.name == "intercept")
        for tensor in recipe.study.tensors
    )
    study = replace(
        recipe.study, rule=row.rule, method=row.method, tensors=own, seed=seed, rounds=ROUNDS
    )
    place = {id(table): number for number, table in enumerate(data.tables)}

    def train(
        weights: Tensors, table: Table, rng: np.random.Generator, pull: Pull
    ) -> tuple[Tensors, int]:
        task = data.train[place[id(table)]]
        steps = batches(rng, len(task.y), BATCH, STEPS)
        offset = _joined(pull.offset) if isinstance(row.method, Scaffold) else None
        after = sgd(
            _joined(weights), task.gradient, steps,
            lr=row.lr, proximal=pull.proximal, offset=offset,
        )  # fmt: skip  # one line a thought
        return _split(after), len(task.y)

    return LoadedStudy(study, recipe.initial, train, recipe.evaluate, takes_pull=True)


def run_federated(data: Hearts, row: Row, seed: int) -> list[Float64Array]:
    """Fifteen rounds; the weights each centre ends with."""
    study = study_of(data, row, seed)
    shared = first_shared(study)
    kept = [first_kept(study) for _ in data.tables]
    for number in range(ROUNDS):
        learned = [
            learn(study, table, shared, kept[place], _dice(seed, place, number))
            for place, table in enumerate(data.tables)
        ]
        kept = [each.kept for each in learned]
        updates = [each.update for each in learned]
        weights = [each.example_count for each in learned]
        mean = (_secure if row.secure else _plain)(study, updates, weights, (seed, number))
        shared = next_shared(study.study, shared, mean)
    if row.tuned:
        return [
            _joined(
                seen(study.study, *fine_tuned(study, table, shared.model, own, _once(seed, at)))
            )
            for at, (table, own) in enumerate(zip(data.tables, kept, strict=True))
        ]
    return [_joined(seen(study.study, shared.model, own)) for own in kept]


def _plain(
    study: LoadedStudy,
    updates: Sequence[Float32Array],
    weights: Sequence[int],
    _: tuple[int, int],
) -> Float64Array:
    layout = study.study.parts.vector
    total = np.zeros(layout.data_words)
    for update, weight in zip(updates, weights, strict=True):
        total += weight * clipped(layout, update.astype(np.float64))
    return total / sum(weights)


def _secure(
    study: LoadedStudy,
    updates: Sequence[Float32Array],
    weights: Sequence[int],
    at: tuple[int, int],
) -> Float64Array:
    """Deal, mask, add, check, reveal, unmask: `aggregation/whole_round.py`."""
    rand = labelled_hash("tables", u32(at[0]), u32(at[1]))
    layout = study.study.parts.vector
    return run_all_parties(layout, updates, weights=weights, rand=rand).mean


def run_cyclic(data: Hearts, seed: int) -> list[Float64Array]:
    """One model handed from centre to centre, in a new order each cycle, 100 steps at each.

    In simulation only: whoever is next would see the one before it bare, and no sum hides that.
    FLamby's own code never hands the model on; this does (tables.md 1).
    """
    dice = np.random.default_rng(seed)
    weights = first_weights(np.random.default_rng(seed), 13)
    for _ in range(ROUNDS):
        for place in dice.permutation(len(data.tables)):
            task = data.train[place]
            weights = sgd(weights, task.gradient, batches(dice, len(task.y), BATCH, STEPS), lr=0.01)
    return [weights] * len(data.tables)


def run_one(task: Logistic, seed: int) -> Float64Array:
    """Adam, 50 passes over one table."""
    dice = np.random.default_rng(1_000 + seed)
    count = EPOCHS * -(-len(task.y) // BATCH)
    rows = batches(dice, len(task.y), BATCH, count)
    return adam(first_weights(np.random.default_rng(seed), 13), task.gradient, rows)


def run_pooled(data: Hearts, seed: int) -> list[Float64Array]:
    """All training rows at one place."""
    return [run_one(data.pooled_train, seed)] * len(data.tables)


def run_local(data: Hearts, place: int, seed: int) -> list[Float64Array]:
    """One centre's model, tried at every centre."""
    return [run_one(data.train[place], seed)] * len(data.tables)


def measured(data: Hearts, run: Callable[[int], list[Float64Array]], seeds: int) -> Metrics:
    """Run every seed and score each centre's test rows."""
    found = np.array([_scores(data, run(seed)) for seed in range(seeds)])
    return Metrics(found[:, 0], found[:, 1], found[:, 2])


def _scores(data: Hearts, weights: list[Float64Array]) -> tuple[float, float, float]:
    chances = [task.chances(each) for task, each in zip(data.test, weights, strict=True)]
    labels = [task.y for task in data.test]
    pairs = list(zip(labels, chances, strict=True))
    return (
        float(np.mean([accuracy(*pair) for pair in pairs])),
        float(np.mean([auc(*pairs[place]) for place in AUC_CENTRES])),
        float(np.mean([log_loss(*pair) for pair in pairs])),
    )


def lines(data: Hearts, seeds: int, *, secure: bool) -> Iterator[tuple[str, float | None, Metrics]]:
    """Every row of the table: its name, what was published, what is found here."""
    yield "Pooled", 0.7358, measured(data, partial(run_pooled, data), seeds)
    for row in FEDERATED:
        yield (
            row.name,
            row.published,
            measured(data, partial(run_federated, data, row), seeds),
        )
    for row in TUNED:
        found = measured(data, partial(run_federated, data, row), seeds)
        yield row.name, row.published, found
    yield "Cyclic, simulated", 0.7253, measured(data, partial(run_cyclic, data), seeds)
    for place, published in enumerate((0.7197, 0.6308, 0.6029, 0.6420)):
        yield (
            f"Local {place}",
            published,
            measured(data, partial(run_local, data, place), seeds),
        )
    own = measured(data, lambda s: [run_one(task, s) for task in data.train], seeds)
    yield "Each centre alone", None, own
    for row in (*OWN, *(SECURE if secure else ())):
        yield row.name, None, measured(data, partial(run_federated, data, row), seeds)


def _once(seed: int, place: int) -> Iterator[bytes]:
    """The dice of one more round at one centre."""
    yield labelled_hash("tuning", u32(seed), u32(place))


def _dice(seed: int, place: int, number: int) -> np.random.Generator:
    return generator(labelled_hash("test", u32(seed), u32(place), u32(number)))


def _joined(tensors: Mapping[str, Float32Array]) -> Float64Array:
    return np.concatenate((tensors["slopes"], tensors["intercept"])).astype(np.float64)


def _split(vector: Float64Array) -> Tensors:
    slopes, intercept = np.split(vector.astype(np.float32), [13])
    return {"slopes": slopes, "intercept": intercept}


def printed(name: str, published: float | None, found: Metrics) -> str:
    """One line of the table."""
    mean, spread = float(np.mean(found.accuracy)), float(np.std(found.accuracy))
    beside = (
        "      -       -" if published is None else f"{published:7.4f} {mean - published:+7.4f}"
    )
    far = "  beyond the bar" if published is not None and abs(mean - published) > BAR else ""
    return (
        f"{name:28}{mean:7.4f} +-{spread:6.4f} {beside}  {np.mean(found.auc):7.4f}"
        f"{np.mean(found.log_loss):9.4f}{far}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 when a row is further from its published figure than the bar."""
    parser = argparse.ArgumentParser(prog="python -m bench.tables")
    parser.add_argument("--data", type=Path, help="folder with the four processed.*.data files")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--no-secure", action="store_true", help="leave the secure rows out")
    parser.add_argument("--no-download", action="store_true", help="do not try the network")
    chosen = parser.parse_args(arguments)
    given = chosen.data
    if given is None and "COMITY_DATA" not in os.environ and BESIDE.is_dir():
        given = BESIDE
    with tempfile.TemporaryDirectory(prefix="comity-tables-") as folder:
        data = prepare(Path(folder), given=given, download=not chosen.no_download)
        if data.simulated:
            print("the heart data are not here, so there is no table to print:", file=sys.stderr)
            for remark in data.remarks:
                print(f"  {remark}", file=sys.stderr)
            names = ", ".join(f"processed.{name}.data" for name in CENTRES)
            print(f"name a folder with {names}: --data or COMITY_DATA", file=sys.stderr)
            return 0
        centres = hearts(data)
    print(f"{data.source}; {chosen.seeds} seeds; splits as published: {_splits()}")
    head = ("method", "client mean +- SD", "published", "apart", "AUC", "log loss")
    print("{:28}{:>16} {:>9}{:>7}{:>9}{:>9}".format(*head))
    started, far = time.monotonic(), 0
    means: dict[str, Metrics] = {}
    for name, published, found in lines(centres, chosen.seeds, secure=not chosen.no_secure):
        print(printed(name, published, found), flush=True)
        means[name] = found
        far += published is not None and _apart(found.accuracy, published) > BAR
    for row in () if chosen.no_secure else SECURE:
        twin = row.name.removesuffix(", secure")
        apart = _apart(means[row.name].accuracy, float(np.mean(means[twin].accuracy)))
        loss = _apart(means[row.name].log_loss, float(np.mean(means[twin].log_loss)))
        print(f"secure against plain, {twin}: client means {apart:.6f}, log loss {loss:.1e} apart")
        far += apart >= DIGITS
    verdict = "every row within its bar" if not far else f"{far} rows beyond their bar"
    print(f"{time.monotonic() - started:.0f} s; {verdict}")
    return 1 if far else 0


def _apart(found: Float64Array, expected: float) -> float:
    return abs(float(np.mean(found)) - expected)


def _splits() -> str:
    return ", ".join(f"{train}/{test}" for train, test in ROWS.values())


if __name__ == "__main__":
    sys.exit(main())
