"""A study file in Python: load it, invent a table for it, compare a table with it.

The file's own code runs in the sandbox, as everywhere; here is only what it declares.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

from comity.api.tables import ResultTable
from comity.commons.site import SitePolicy
from comity.errors import Misconfigured
from comity.learning.fitting import check_fit
from comity.learning.study import Contract
from comity.node.planning import read_study, study_parts
from comity.node.simulating import contract_of_file, twin_of
from comity.values import SandboxPolicy


@final
@dataclass(frozen=True, slots=True)
class StudyFile:
    """A study file that loads, and what it declares.

    Args:
        path: where it lies. code: its digest, which sites consent to.
        kind: "train", or "evaluate" of a given model.
        numbers: in the model that is trained or evaluated.
        columns: name, kind, unit, low, high of each declared column.
        missing_walls: of the sandbox, here; empty: none.
    """

    path: Path
    name: str
    title: str
    kind: str
    rounds: int
    rule: str
    weights: str
    method: str
    numbers: int
    columns: ResultTable
    code: str
    missing_walls: tuple[str, ...]


def load(file: Path | str, *, weak_sandbox: bool = False) -> StudyFile:
    """Load a study file in the sandbox, as `comity study check` does.

    Args:
        weak_sandbox: also where it cannot be shut in fully; its code then has your rights.
    Raises:
        StudyFault: it does not load; with file and line. Refused: the sandbox is incomplete here.
        Misconfigured: it cannot be read.
    """
    path, policy = Path(file), policy_of(weak_sandbox)
    with _copied(path) as (copy, work):
        card = study_parts(path, _folder(work / "parts"), SitePolicy(sandbox=policy))
        contract, weak = contract_of_file(copy, work, policy, path.name)
    columns = ResultTable(
        ("name", "kind", "unit", "low", "high"),
        tuple((c.name, c.kind, c.unit, c.low, c.high) for c in contract.columns),
    )
    of = card.card
    return StudyFile(
        path=path,
        name=of.name,
        title=of.title,
        kind=of.kind,
        rounds=of.rounds,
        rule=of.rule.name,
        weights=of.weights,
        method=of.method.name,
        numbers=sum(each.words for each in of.given) or of.model.data_words,
        columns=columns,
        code=card.code,
        missing_walls=weak,
    )


def twin(
    study: StudyFile | Path | str,
    out: Path | str,
    *,
    rows: int = 1_000,
    seed: int = 0,
    weak_sandbox: bool = False,
) -> Path:
    """Write an invented table that fits a study, as `comity data twin` does. Nobody's data.

    Args:
        out: a new file; with the ending .parquet it is Parquet.
    Returns:
        The file.
    Raises:
        StudyFault. Misconfigured: the file exists, or the number of rows cannot be.
    """
    target = Path(out)
    contract = _contract(study, weak_sandbox)
    made = twin_of(contract, rows, seed, parquet=target.suffix == ".parquet")
    try:
        with target.open("xb") as file:
            file.write(made)
    except OSError as error:
        raise Misconfigured(f"cannot write {target}: {error.strerror}") from error
    return target


def check(
    study: StudyFile | Path | str, table: Path | str, *, weak_sandbox: bool = False
) -> ResultTable:
    """Compare a table with a study, as `comity data check` does: counts, never a value.

    Returns:
        trouble, column, count, refused, advice; without a row the table fits and has no trouble.
    Raises:
        StudyFault. Misconfigured: a file cannot be read.
    """
    contract = _contract(study, weak_sandbox)
    try:
        raw = Path(table).read_bytes()
    except OSError as error:
        raise Misconfigured(f"cannot read {table}: {error.strerror}") from error
    rows = tuple(
        (found.trouble, found.column, found.count, found.refused, found.advice)
        for found in check_fit(contract, raw).findings
    )
    return ResultTable(("trouble", "column", "count", "refused", "advice"), rows)


def policy_of(weak_sandbox: bool) -> SandboxPolicy:
    """What the sandbox must be here."""
    return "warn" if weak_sandbox else "require"


def path_of(study: StudyFile | Path | str) -> Path:
    """The file of a study, loaded or named."""
    return study.path if isinstance(study, StudyFile) else Path(study)


def _contract(study: StudyFile | Path | str, weak_sandbox: bool) -> Contract:
    path = path_of(study)
    with _copied(path) as (copy, work):
        return contract_of_file(copy, work, policy_of(weak_sandbox), path.name)[0]


@contextmanager
def _copied(path: Path) -> Iterator[tuple[Path, Path]]:
    """A copy of a study file, and a folder for this call."""
    with tempfile.TemporaryDirectory(prefix="comity-study-") as name:
        work = Path(name)
        copy = work / "study.py"
        copy.write_bytes(read_study(path))
        yield copy, work


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
