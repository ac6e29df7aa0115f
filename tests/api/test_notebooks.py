"""The notebooks in docs/: executed, free of machine paths; the first one's cells run here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.notebooks import code_cells, executed

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
PATHS = re.compile(r"(?<![\w.}\-])/(tmp|work|root|home|Users|usr|var)/|[A-Z]:\\\\")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_was_executed_in_order_and_names_no_machine(notebook: Path) -> None:
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell["outputs"]) for cell in cells) >= len(cells) // 2
    assert not PATHS.search(notebook.read_text(encoding="utf-8"))
    kept = json.loads(notebook.read_text(encoding="utf-8"))
    assert (kept["nbformat"], kept["nbformat_minor"]) == (4, 5)
    names = [cell["id"] for cell in kept["cells"]]
    assert len(set(names)) == len(names)


def test_the_cells_of_the_first_notebook_run(tmp_path: Path) -> None:
    """In a process and a folder of their own; where sums are added decides a last digit at most."""
    code = (
        "import json, sys; from pathlib import Path; from tests.notebooks import *;"
        "print(json.dumps(executed(code_cells(Path(sys.argv[1])))))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "docs/notebooks/first-study.ipynb")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr[-2_000:]
    shown = json.loads(ran.stdout)
    kept = [cell["outputs"] for cell in code_cells(ROOT / "docs/notebooks/first-study.ipynb")]
    assert [[o["output_type"] for o in each] for each in shown] == [
        [o["output_type"] for o in each] for each in kept
    ]
    assert shown[-2] == kept[-2]  # masked and plain are the same
    assert shown[-1][0]["evalue"] == kept[-1][0]["evalue"]  # file and line


def test_a_cell_that_fails_is_not_kept() -> None:
    cell = {"source": ["1 / 0"], "metadata": {}}
    with pytest.raises(RuntimeError, match="cell 1: raised ZeroDivisionError"):
        executed([cell])
    meant = {"source": ["1"], "metadata": {"tags": ["raises"]}}
    with pytest.raises(RuntimeError, match="cell 1: raised None"):
        executed([meant])
