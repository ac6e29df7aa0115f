"""`comity data check` and `comity data twin`: what a study expects of a table, before it runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, final

import typer
from msgspec import Struct

from comity.cli.asking import expect, node_of
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
from comity.cli.work import HERE, data
from comity.errors import ExitCode, Misconfigured
from comity.learning.fitting import check_fit
from comity.learning.study import Contract
from comity.node.planning import read_study
from comity.node.simulating import contract_of_file, twin_of
from comity.node.wish_wire import FindStudyFile
from comity.node.wishes import StudyFile

Study = Annotated[str, typer.Argument(help="A study file, or the name of a registered study.")]
WeakSandbox = Annotated[
    bool, typer.Option("--weak-sandbox", help="Also where it cannot be shut in fully.")
]


@final
class TwinWritten(Struct, frozen=True, tag="twin"):
    """A table that nobody's data went into."""

    file: str
    rows: int
    seed: int
    columns: tuple[str, ...]


@data.command("check")
def data_check(
    study: Study,
    file: Annotated[
        Path | None, typer.Option("--data", help="The table; default: this site's data set.")
    ] = None,
    weak_sandbox: WeakSandbox = False,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Say what of a table fits a study: counts for each column, never a value. Nothing is sent.

    The study's code says what it expects and sees no data here. It ends with 0 when the study can
    read the table, else with 1.

    \b
    Example:
      comity data check risk.py --data /data/heart.csv
    """
    screen = Screen(as_json)
    path = Path(study)
    if not path.is_file():
        unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
        with node_of(folder, unlock, screen) as ask:
            found = expect(StudyFile, ask(FindStudyFile(study)))
        path, file = Path(found.code), file or _only(found)
    if file is None:
        raise Misconfigured("name the table with --data")
    with _contract(path, weak_sandbox) as contract:
        fit = check_fit(contract, _read(file))
    rows = [
        [each.trouble, each.column or "-", str(each.count), _weight(each.refused), each.advice]
        for each in fit.findings
    ]
    screen.result(
        fit,
        f"{file.name}: {fit.rows} rows, "
        + (f"fits; training sees {fit.used}" if fit.fits else "the study cannot read it"),
        *(f"declared step: {step}" for step in fit.steps),
        *([table(("trouble", "column", "count", "", "what to do"), rows)] if rows else []),
    )
    if not fit.fits:
        raise typer.Exit(int(ExitCode.FAILED))


@data.command("twin")
def data_twin(
    study: Annotated[Path, typer.Argument(help="The study file.")],
    rows: Annotated[int, typer.Option(help="How many rows.", min=1)] = 1_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same table.", min=0)] = 0,
    out: Annotated[Path, typer.Option(help="A new file; .parquet too.")] = Path("twin.csv"),
    weak_sandbox: WeakSandbox = False,
    as_json: AsJson = False,
) -> None:
    """Write an invented table that fits a study, to debug it before anybody's data are near.

    \b
    Example:
      comity data twin risk.py --rows 500 --seed 7
    """
    with _contract(study, weak_sandbox) as contract:
        made = twin_of(contract, rows, seed, parquet=out.suffix == ".parquet")
    try:
        with out.open("xb") as target:
            target.write(made)
    except FileExistsError as error:
        raise Misconfigured(f"{out} exists already: name another file with --out") from error
    except OSError as error:
        raise Misconfigured(f"cannot write {out}: {error.strerror}") from error
    columns = tuple(column.name for column in contract.columns)
    Screen(as_json).result(
        TwinWritten(str(out), rows, seed, columns),
        f"written: {out}, {rows} invented rows of {len(columns)} columns; nobody's data are in it",
    )


@contextmanager
def _contract(study: Path, weak_sandbox: bool) -> Iterator[Contract]:
    policy: Literal["require", "warn"] = "warn" if weak_sandbox else "require"
    with tempfile.TemporaryDirectory(prefix="comity-contract-") as name:
        work = Path(name)
        copy = work / "study.py"
        copy.write_bytes(read_study(study))
        yield contract_of_file(copy, work, policy, study.name)[0]


def _only(found: StudyFile) -> Path:
    if len(found.tables) != 1:
        raise Misconfigured(
            f"this site has {len(found.tables)} data sets: name the table with --data"
        )
    return Path(next(iter(found.tables.values())))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Misconfigured(f"cannot read {file}: {error.strerror}") from error


def _weight(refused: bool) -> str:
    return "must be mended" if refused else "worth a look"
