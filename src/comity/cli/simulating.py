"""`comity simulate`: a study's rounds with all its members in one process, without network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from comity.api.simulations import named_scores, summary_of
from comity.cli.reading import score
from comity.cli.terminal import AsJson, Screen, table
from comity.errors import Raised
from comity.learning.simulate import Terms
from comity.node.simulating import MemberFailed, RunSimulated, Simulated, Wanted
from comity.node.simulating import simulate as run_simulation

MEMBERS_SHOWN: Final = 20
FAILURES_SHOWN: Final = 10


def simulate(
    file: Annotated[Path, typer.Argument(help="The study file.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(help="A table; several: each is a member; none: rows are invented."),
    ] = None,
    members: Annotated[
        int, typer.Option(help="Members that one table is dealt to; default 10.", min=0)
    ] = 0,
    rounds: Annotated[int, typer.Option(help="Default: as many as the study has.", min=0)] = 0,
    by: Annotated[str, typer.Option(help="A column of the table that names the member.")] = "",
    alpha: Annotated[
        float, typer.Option(help="Deal classes by a Dirichlet draw; 0.1 makes members unlike.")
    ] = 0.0,
    split_seed: Annotated[int, typer.Option(help="Of dealing rows out.", min=0)] = 0,
    sample: Annotated[
        int, typer.Option(help="Members drawn for each round; default all.", min=0)
    ] = 0,
    survivors_min: Annotated[
        int, typer.Option(help="Fewest members in a sum; default two thirds.", min=0)
    ] = 0,
    seeds: Annotated[int, typer.Option(help="Runs: the study's seed and the next ones.")] = 1,
    evaluate_every: Annotated[
        int, typer.Option(help="Rounds between evaluations; default: after the last only.", min=0)
    ] = 0,
    secure: Annotated[
        bool, typer.Option("--secure", help="Sum through the real aggregation: the same model.")
    ] = False,
    cyclic: Annotated[
        bool, typer.Option("--cyclic", help="Hand the model on instead of summing; no deployment.")
    ] = False,
    model: Annotated[
        Path | None, typer.Option(help="For an evaluation: a model file, or a release folder.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the last model here.")] = None,
    weak_sandbox: Annotated[
        bool, typer.Option("--weak-sandbox", help="Also where it cannot be shut in fully.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a study's rounds with many members on this machine: no network, nobody else's data.

    The same seed and members give the model that a commons would accept, bit for bit. The study's
    code runs shut in, as at a site; with --weak-sandbox it may run on this machine with your
    rights, so read it first.

    \b
    Example:
      comity simulate risk.py --members 100 --rounds 20
    """
    screen = Screen(as_json)
    wanted = Wanted(
        tables=tuple(data or ()),
        members=members,
        rounds=rounds,
        column=by,
        alpha=alpha,
        split_seed=split_seed,
        seeds=seeds,
        evaluate_every=evaluate_every,
        terms=Terms(sample, secure, survivors_min, cyclic),
        model=model,
    )
    if not data:
        screen.note(
            "no --data: rows are invented from what the study declares; scores mean nothing"
        )
    if cyclic:
        screen.note("--cyclic: each member would see the model of the one before, so only here")
    if weak_sandbox:
        screen.note("--weak-sandbox: where walls are missing, this study's code has your rights")
    with _bar(as_json, seeds) as tell:
        done = run_simulation(
            file, wanted, policy="warn" if weak_sandbox else "require", tell=tell, out=out
        )
    screen.result(done, *_lines(done), *([f"model: {out}"] if out else []))


@contextmanager
def _bar(as_json: bool, seeds: int) -> Iterator[Callable[[int, int, int], None]]:
    """A bar on stderr at a terminal; nothing elsewhere."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    hidden = as_json or not console.is_terminal
    with Progress(*columns, console=console, disable=hidden, transient=True) as progress:
        task = progress.add_task("rounds", total=None)

        def tell(run: int, number: int, rounds: int) -> None:
            progress.update(task, completed=run * rounds + number, total=seeds * rounds)

        yield tell


def _lines(done: Simulated) -> list[str | Table]:
    counts = sorted(done.rows.values())
    seeds = ", ".join(str(run.seed) for run in done.runs)
    lines: list[str | Table] = [
        f"study {done.name}, simulated: {len(done.rows)} members with {counts[0]} to {counts[-1]}"
        f" rows, {done.roster} in a round, {done.rounds} rounds, seed {seeds},"
        f" secure aggregation {'on' if done.secure else 'off'}",
        *([_by_member(done.runs[0])] if len(done.rows) <= MEMBERS_SHOWN else []),
        _over_members(done),
        *(line for run in done.runs for line in _pooled(run)),
        *(f"model with seed {run.seed}: {run.model}" for run in done.runs),
        *_failures([failed for run in done.runs for failed in run.failed]),
        *(f"the sandbox is weak here: {why}" for why in done.weak),
    ]
    if done.invented:
        lines.append("these rows are invented: the scores say that it runs, and nothing else")
    return lines


def _by_member(run: RunSimulated) -> Table:
    """The last scores of each member, in one run."""
    last = named_scores(run, max(run.metrics))
    names = sorted({name for found in last.values() for name in found})
    rows = [[member, *(score(found.get(name)) for name in names)] for member, found in last.items()]
    return table((f"member, seed {run.seed}", *names), rows)


def _over_members(done: Simulated) -> Table:
    """The mean over members after each evaluated round, and its spread over seeds."""
    found = summary_of(done)
    rows = [
        [str(number), str(name), *("-" if cell is None else f"{cell:.4f}" for cell in cells)]
        for number, name, *cells in found.rows
    ]
    return table(found.columns, rows)


def _pooled(run: RunSimulated) -> list[str | Table]:
    """Of an evaluation: what all members see."""
    rows = [[name, score(value)] for name, value in sorted(run.pooled.items())]
    return [table((f"over all members, seed {run.seed}", "pooled"), rows)] if rows else []


def _failures(failed: Sequence[MemberFailed]) -> list[str]:
    lines = [
        f"round {each.round_no}: {each.member} gave no update: {each.kind.value}"
        + (f", line {each.line}" if each.line else "")
        + (f", {each.raised.value}" if each.raised is not Raised.NOTHING else "")
        for each in failed[:FAILURES_SHOWN]
    ]
    if len(failed) > FAILURES_SHOWN:
        lines.append(f"and {len(failed) - FAILURES_SHOWN} more")
    return lines
