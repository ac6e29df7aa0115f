"""Recipes and study files without a station: copy one, and check one before it is registered."""

from __future__ import annotations

import importlib.resources
import tempfile
from pathlib import Path
from typing import Final, Literal, final

from msgspec import Struct

from comity.commons.site import SitePolicy
from comity.errors import Misconfigured
from comity.node.planning import study_parts
from comity.node.sandbox import Sandbox
from comity.values import Digest

RECIPES: Final = ("minimal", "heart", "breast", "scaffold", "own_head", "perceptron", "characters")


@final
class StudyCopied(Struct, frozen=True, tag="study-copied"):
    """A recipe, copied."""

    recipe: str
    file: str


@final
class StudyChecked(Struct, frozen=True, tag="study-checked"):
    """What a study file declares. rows, dropped: of the table it was tried with; -1: none."""

    name: str
    title: str
    rounds: int
    rule: str
    weights: str
    numbers: int
    columns: tuple[str, ...]
    code: Digest
    rows: int = -1
    dropped: int = -1
    method: str = "plain"
    own: tuple[str, ...] = ()
    fine_tuning: int = 0
    weak: tuple[str, ...] = ()


def new_study(file: Path, recipe: str = "minimal") -> StudyCopied:
    """Copy a recipe to a new file.

    Raises:
        Misconfigured: no such recipe, or the file exists.
    """
    if recipe not in RECIPES:
        raise Misconfigured(f"the recipes are {', '.join(RECIPES)}, not {recipe!r}")
    source = importlib.resources.files("comity.recipes").joinpath(f"{recipe}.py")
    try:
        with file.open("xb") as target:
            target.write(source.read_bytes())
    except FileExistsError as error:
        raise Misconfigured(f"{file} exists already: name another file") from error
    except OSError as error:
        raise Misconfigured(f"cannot write {file}: {error.strerror}") from error
    return StudyCopied(recipe, str(file))


def check_study(
    file: Path, table: Path | None = None, *, sandbox: Literal["require", "warn"] = "require"
) -> StudyChecked:
    """Load a study file in the sandbox, make its first model, and try it on a table.

    Raises:
        StudyFault: with file and line. DataFault: with row and column. Refused(SANDBOX_MISSING).
        Misconfigured: a file cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="comity-check-") as name:
        work = Path(name)
        parts = study_parts(file, work, SitePolicy(sandbox=sandbox))
        rows, dropped = -1, -1
        process = Sandbox.start(work / "study.py", table, work / "table", policy=sandbox)
        try:
            process.describe()
            weak = process.isolation.missing
            if table is not None:
                checked = process.check_data()
                rows, dropped = checked.rows_count, checked.dropped_count
        finally:
            process.close()
    card = parts.card
    return StudyChecked(
        name=card.name,
        title=card.title,
        rounds=card.rounds,
        rule=card.rule.name,
        weights=card.weights,
        numbers=card.model.data_words,
        columns=card.columns,
        code=parts.code,
        rows=rows,
        dropped=dropped,
        method=card.method.name,
        own=tuple(segment.name for segment in card.own),
        fine_tuning=card.method.fine_tuning,
        weak=weak,
    )
