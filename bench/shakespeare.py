"""`make tables-torch`: a language model that learns letter by letter at four members.

    python -m bench.shakespeare [--text FILE] [--steps 2000]

Published: nanoGPT's small setting on tiny Shakespeare (4 layers, 4 heads, 128 wide, 64 letters,
batches of 12, 2,000 steps) ends at 1.88 nats a letter on the last tenth of the text. Ours: the
recipe `characters`, the same size; four members with a quarter of the other nine tenths each, who
take as many steps, 50 of them between two exchanges: one exchange for 50 steps. Beside it: one
place that has all the text, and each member alone, both in one go, without rounds.

Needs the extra `comity[torch]`, and minutes to an hour of one core.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import runpy
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

import comity
from comity.learning.loading import load
from comity.learning.tables import Table, read_table
from comity.learning.training import generator
from comity.node.simulating import Wanted, simulate
from comity.values import labelled_hash, u32

PUBLISHED: Final = 1.88
MEMBERS: Final = 4
RECIPE: Final = Path(comity.__file__).parent / "recipes" / "characters.py"
BESIDE: Final = Path(__file__).resolve().parents[2] / "shared/data/text/tinyshakespeare.txt"
"""Where the text lies on a machine that has it beside the checkout."""


def write_tables(text: str, folder: Path) -> tuple[Path, ...]:
    """Each member's table: a quarter of the first nine tenths, and of the rest to test with."""
    cut = len(text) * 9 // 10
    found = []
    for place in range(MEMBERS):
        lines = ["letter,part"]
        for part, whole in (("train", text[:cut]), ("test", text[cut:])):
            start, stop = (len(whole) * each // MEMBERS for each in (place, place + 1))
            lines += [f"{ord(letter)},{part}" for letter in whole[start:stop]]
        path = folder / f"member-{place + 1}.csv"
        path.write_text("\n".join(lines) + "\n")
        found.append(path)
    return tuple(found)


def alone(scope: dict[str, Any], tables: Sequence[Table], place: int, steps: int) -> Any:
    """The recipe's model after all steps in one go, on the text of these tables."""
    import torch  # the extra

    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = scope["Writer"]()
    text = torch.cat([scope["letters"](table, "train") for table in tables])
    scope["learn"](net, text, generator(labelled_hash("alone", u32(place))), range(steps))
    return net


def loss(scope: dict[str, Any], net: Any, tables: Sequence[Table]) -> float:
    """Mean nats a letter over the text that nobody trained on."""
    weights = {**scope["state_of"](net), "steps": np.zeros(1, np.float32)}
    return _mean([scope["evaluate"](weights, table)["loss"] for table in tables])


def compare(text: Path, steps: int) -> int:
    """Print the table; 1 when together is beyond its bar, 0 otherwise or in a shorter run."""
    scope = runpy.run_path(str(RECIPE))
    rounds, every = scope["ROUNDS"], scope["STEPS"]
    whole = steps == rounds * every
    rounds = max(1, steps // every)
    print(f"{text.name}: {MEMBERS} members, {rounds * every} steps each, one exchange a {every}")
    print(f"{'':34}{'nats a letter':>14}{'s':>8}")
    with tempfile.TemporaryDirectory(prefix="comity-letters-") as name:
        paths = write_tables(text.read_text(encoding="ascii"), Path(name))
        columns = load(scope).study.columns
        tables = [read_table(columns, each.read_bytes(), file_name=each.name) for each in paths]
        own = [each.table for each in tables]
        begun = time.monotonic()
        wanted = Wanted(tables=paths, rounds=rounds, evaluate_every=min(10, rounds))
        run = simulate(RECIPE, wanted, tell=_tell).runs[0]
    for number, scores in sorted(run.metrics.items()):
        found = _mean([score["loss"] for score in scores.values()])
        took = time.monotonic() - begun if number == rounds else None
        _print(f"together, {number} exchanges", found, took)
    together, lone = found, []
    for place in range(MEMBERS):
        begun = time.monotonic()
        net = alone(scope, own[place : place + 1], place, rounds * every)
        lone.append(loss(scope, net, own))
        _print(f"member {place + 1} alone on its quarter", lone[-1], time.monotonic() - begun)
    begun = time.monotonic()
    everything = loss(scope, alone(scope, own, MEMBERS, rounds * every), own)
    _print("one place with all the text", everything, time.monotonic() - begun)
    print(f"published, one place: {PUBLISHED}")
    if not whole:
        print("fewer steps than published: not judged")
        return 0
    good = together <= PUBLISHED and together < min(lone)
    print(f"target: at most {PUBLISHED}, below each alone: {'met' if good else 'NOT MET'}")
    return 0 if good else 1


def _mean(numbers: Sequence[float] | npt.NDArray[np.float64]) -> float:
    return float(np.mean(numbers))


def _tell(run: int, number: int, rounds: int) -> None:
    print(f"  round {number} of {rounds}", file=sys.stderr, flush=True)


def _print(what: str, found: float, seconds: float | None) -> None:
    took = "" if seconds is None else f"{seconds:8.0f}"
    print(f"{what:34}{found:14.4f}{took}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or why there is none."""
    parser = argparse.ArgumentParser(prog="python -m bench.shakespeare")
    parser.add_argument("--text", type=Path, help="a text of the recipe's 65 letters")
    parser.add_argument("--steps", type=int, default=2_000, help="of each member")
    chosen = parser.parse_args(arguments)
    shared = os.environ.get("COMITY_SHARED")
    beside = Path(shared, "data/text/tinyshakespeare.txt") if shared else BESIDE
    text = chosen.text or beside
    if importlib.util.find_spec("torch") is None:
        print("letters: PyTorch is not installed (extra comity[torch]), so there is no table")
        return 0
    if not text.is_file():
        print(f"letters: there is no text at {text}, so there is no table: name one with --text")
        return 0
    return compare(text, chosen.steps)


if __name__ == "__main__":
    sys.exit(main())
