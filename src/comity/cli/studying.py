"""`comity study`: from a recipe to a result that a site can judge on its own data."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from comity.api.nodes import named_model
from comity.cli.asking import PAUSE_S, expect, node_of, read_node
from comity.cli.reading import score, shown_lines, study_lines
from comity.cli.recipes import RECIPES, check_study, new_study
from comity.cli.terminal import (
    AsJson,
    Folder,
    NoPassphrase,
    PassphraseFd,
    PassphraseFile,
    Screen,
    table,
    unlocker,
)
from comity.cli.work import HERE, StudyName, say
from comity.errors import Misconfigured, Refused, Rule
from comity.node.control import ask_node
from comity.node.evaluating import Evaluation
from comity.node.failures import Failures
from comity.node.planning import PHASE_S, TRAIN_S
from comity.node.reports import Status, StudyStatus
from comity.node.rows import StudyShown
from comity.node.wish_wire import (
    AskFailures,
    AskStatus,
    EvaluateStudy,
    RegisterStudy,
    ShowStudy,
)

study = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@study.command("new")
def study_new(
    file: Annotated[Path, typer.Argument(help="The new file.")] = Path("study.py"),
    recipe: Annotated[str, typer.Option(help=f"One of: {', '.join(RECIPES)}.")] = "minimal",
    as_json: AsJson = False,
) -> None:
    """Copy a recipe to start from: one short Python file that everybody reads before consenting.

    \b
    Example:
      comity study new risk.py --recipe heart
    """
    copied = new_study(file, recipe)
    Screen(as_json).result(
        copied, f"written: {copied.file}", f"change it, then: comity study check {copied.file}"
    )


@study.command("check")
def study_check(
    file: Annotated[Path, typer.Argument(help="The study file.")],
    table_file: Annotated[
        Path | None, typer.Option("--data", help="Try it on this table as well.")
    ] = None,
    weak_sandbox: Annotated[
        bool, typer.Option("--weak-sandbox", help="Also where it cannot be shut in fully.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Load a study file in the sandbox, and try it on a table. Nothing leaves this machine.

    \b
    Example:
      comity study check risk.py --data /data/heart.csv
    """
    sandbox: Literal["require", "warn"] = "warn" if weak_sandbox else "require"
    checked = check_study(file, table_file, sandbox=sandbox)
    tried = f"table: {checked.rows} rows, {checked.dropped} dropped as declared"
    Screen(as_json).result(
        checked,
        f"study:  {checked.name}: {checked.title}",
        f"rounds: {checked.rounds}, rule {checked.rule}, weights {checked.weights}",
        f"model:  {checked.numbers} numbers, method {checked.method}",
        *([f"own:    {', '.join(checked.own)}: never leaves a site"] if checked.own else []),
        *([f"tuning: {checked.fine_tuning} rounds at each site"] if checked.fine_tuning else []),
        f"reads:  {', '.join(checked.columns)}",
        f"code:   {checked.code}",
        *([tried] if checked.rows >= 0 else []),
        *(f"the sandbox is weak here: {why}" for why in checked.weak),
    )


@study.command("register")
def study_register(
    file: Annotated[Path, typer.Argument(help="The study file.")],
    name: Annotated[str | None, typer.Option(help="Its name; default: the file's own.")] = None,
    colluders: Annotated[
        int | None, typer.Option(help="c: members that may collude; default a third.", min=1)
    ] = None,
    survivors_min: Annotated[
        int | None, typer.Option(help="Fewest members in a sum; default two thirds.", min=1)
    ] = None,
    attempts_max: Annotated[int | None, typer.Option(help="Tries of one round.", min=1)] = None,
    phase_s: Annotated[int, typer.Option(help="Seconds for each phase of a round.", min=1)] = (
        PHASE_S
    ),
    train_s: Annotated[int, typer.Option(help="Seconds for training in a round.", min=1)] = TRAIN_S,
    model: Annotated[
        str | None,
        typer.Option(help="For an evaluation: a file, a release folder, a study, or a digest."),
    ] = None,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Register a study file: its code, first model and plan are fixed, and everybody is asked.

    Nothing runs on anybody's data before its owner consents to exactly this file.

    \b
    Example:
      comity study register risk.py --train-s 3600
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    wish = RegisterStudy(
        str(file.absolute()),
        name,
        colluders,
        survivors_min,
        attempts_max,
        phase_s,
        train_s,
        named_model(model),
    )
    say(folder, as_json, unlock, wish, "registered study")


@study.command("watch")
def study_watch(
    name: StudyName,
    folder: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Show how a study goes: rounds, phase, and whom it waits for and why. Ends with the study.

    With --json it prints the state of the study as it is now, and ends.

    \b
    Example:
      comity study watch risk
    """
    screen = Screen(as_json)
    now = _find(expect(Status, read_node(folder, AskStatus())), name)
    if as_json:
        screen.result(now)
        return
    if now.phase != "finished" and ask_node(folder, AskStatus()) is None:
        raise Misconfigured("no node runs in this folder: start it with `comity node run`")
    with screen.waiting(_brief(now)) as show:
        while now.phase != "finished":
            time.sleep(PAUSE_S)
            now = _find(expect(Status, read_node(folder, AskStatus())), now.id)
            show(_brief(now))
    shown = expect(StudyShown, read_node(folder, ShowStudy(now.id)))
    screen.result(now, *study_lines(now), *shown_lines(shown))


@study.command("show")
def study_show(name: StudyName, folder: Folder = HERE, as_json: AsJson = False) -> None:
    """Show what a study has given: its rounds, what sites told of failures, and the rows of an
    evaluation: pooled over all members, and this site's own, which stays here.

    \b
    Example:
      comity study show risk
    """
    shown = expect(StudyShown, read_node(folder, ShowStudy(name)))
    Screen(as_json).result(shown, *study_lines(shown.status), *shown_lines(shown))


@study.command("evaluate")
def study_evaluate(
    name: StudyName,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Compare the newest model with what this site gets alone, on this site's own data.

    The numbers stay here.

    \b
    Example:
      comity study evaluate risk
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    screen = Screen(as_json)
    with (
        node_of(folder, unlock, screen) as ask,
        screen.waiting("evaluating here, together and alone"),
    ):
        found = expect(Evaluation, ask(EvaluateStudy(name)))
    columns = {"together": found.together, "alone": found.alone}
    if found.tuned is not None:
        columns["tuned here"] = found.tuned
    rows = [
        [metric, *(score(column.get(metric)) for column in columns.values())]
        for metric in sorted({name for column in columns.values() for name in column})
    ]
    screen.result(
        found,
        f"study {found.name} after {found.round_no} rounds, on this site's data",
        table(("metric", *columns), rows),
        *([f"this site's own copy: {found.tuned_file}"] if found.tuned_file else []),
    )


@study.command("failures")
def study_failures(
    name: StudyName,
    out: Annotated[
        Path | None, typer.Option(help="Write codes and words to this new file, to hand on.")
    ] = None,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Show how a study failed at this site: codes, and its own words.

    The words may hold values of your data. They stay here; whoever hands them on decides that.

    \b
    Example:
      comity study failures risk
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    screen = Screen(as_json)
    with node_of(folder, unlock, screen) as ask:
        found = expect(Failures, ask(AskFailures(name)))
    rows = [
        [str(f.round_no), str(f.attempt), f.kind, str(f.line or "-"), f.raised.value]
        for f in found.noted
    ]
    codes = ["\t".join(row) for row in rows]
    if out is not None:
        try:
            with out.open("x", encoding="utf-8") as target:
                target.write("\n".join(("round\tattempt\tkind\tline\traised", *codes, "")))
                target.write(found.words)
        except OSError as error:
            raise Misconfigured(f"cannot write {out}: {error.strerror}") from error
    screen.result(
        found,
        f"study {found.name}: {len(rows)} failures here",
        table(("round", "attempt", "kind", "line", "raised"), rows),
        f"the study's own words, which stay here (all: {found.file}):",
        *found.words.splitlines(),
        *([f"written, with those words: {out}"] if out is not None else []),
    )


def _find(now: Status, name: str) -> StudyStatus:
    found = [s for s in now.studies if s.id == name] or [s for s in now.studies if s.name == name]
    found = found or [s for s in now.studies if len(name) >= 4 and s.id.startswith(name)]
    if len(found) != 1:
        raise Refused(
            Rule.NO_SUCH_THING,
            f"expected the name or id of one study, {len(found)} have {name!r}: `comity status`"
            " lists them",
        )
    return found[0]


def _brief(now: StudyStatus) -> str:
    line = " ".join(part.strip() for part in study_lines(now)[1:])
    return f"{now.name}: {now.results_count} of {now.rounds_max} rounds; {line}"
