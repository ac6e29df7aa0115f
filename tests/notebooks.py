"""Runs notebooks without Jupyter: code cells in order, in one process, outputs as cells show them.

    python -m tests.notebooks docs/notebooks/first-study.ipynb     # run, and write the outputs

What a cell prints is a stream; the value of its last expression is shown by `_repr_svg_`,
`_repr_html_` and `repr`, as in a notebook. A cell tagged `raises` must raise; the error's name and
text are its output. Nothing else is rewritten, so what lies in docs/ was executed.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

Cell = dict[str, Any]
"""A cell of the notebook format 4.5, as JSON has it."""


def code_cells(notebook: Path) -> list[Cell]:
    """The code cells, in order."""
    cells: list[Cell] = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def executed(cells: list[Cell]) -> list[list[Cell]]:
    """The outputs of each cell, run in this process and this folder.

    Raises:
        RuntimeError: a cell failed that should not, or the other way round.
    """
    space: dict[str, object] = {"__name__": "__main__"}
    return [_outputs(cell, number, space) for number, cell in enumerate(cells, start=1)]


def _outputs(cell: Cell, number: int, space: dict[str, object]) -> list[Cell]:
    body = ast.parse("".join(cell["source"])).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    printed, shown, error = io.StringIO(), None, None
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(ast.Module(body, []), f"cell {number}", "exec"), space)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), space)
                shown = _shown(value) if value is not None else None
        except Exception as raised:
            error = raised
    if (error is not None) != ("raises" in cell["metadata"].get("tags", ())):
        raise RuntimeError(f"cell {number}: raised {error!r}") from error
    made: list[Cell] = []
    if text := printed.getvalue():
        made.append({"name": "stdout", "output_type": "stream", "text": _lines(text)})
    if error is not None:
        words = {"ename": type(error).__name__, "evalue": str(error)}
        said = traceback.format_exception_only(error)
        made.append(
            {**words, "output_type": "error", "traceback": [line.rstrip() for line in said]}
        )
    if shown is not None:
        kept = {"execution_count": number, "metadata": {}, "output_type": "execute_result"}
        made.append({"data": shown, **kept})
    return made


def _shown(value: object) -> dict[str, list[str]]:
    data = {"text/plain": _lines(repr(value))}
    for kind, name in (("text/html", "_repr_html_"), ("image/svg+xml", "_repr_svg_")):
        method = getattr(value, name, None)
        if method is not None:
            data[kind] = _lines(method())
    return data


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def main(file: Path) -> None:
    """Run a notebook in an empty folder and write its outputs."""
    notebook = json.loads(file.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            outputs = executed(cells)
        finally:
            os.chdir(before)
    for number, (cell, made) in enumerate(zip(cells, outputs, strict=True), start=1):
        cell["outputs"], cell["execution_count"] = made, number
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True)
    file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
