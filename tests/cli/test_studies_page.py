"""docs/studies.md: every command of the page is run as it stands, and what it promises holds."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from comity.errors import ExitCode
from tests.cli.commands import Terminal

PAGE = Path(__file__).resolve().parents[2] / "docs/studies.md"
COMMAND = re.compile(r"^    comity (.+)$", re.MULTILINE)


def study_of_page() -> str:
    """The first Python block."""
    return blocks_of_page()[0]


def blocks_of_page() -> list[str]:
    """Its Python blocks: the study, and the evaluation."""
    return [part.split("```")[0] for part in PAGE.read_text().split("```python\n")[1:]]


def test_every_command_of_the_page_runs(
    comity: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, block in zip(("risk.py", "how-good.py"), blocks_of_page(), strict=True):
        Path(name).write_text(block)
    commands = COMMAND.findall(PAGE.read_text())
    assert len(commands) >= 6
    for command in commands:
        ran = comity(*shlex.split(command))
        assert ran.code == ExitCode.DONE, f"{command}: {ran.err}"
        assert "100 members" in ran.out or "--members 100" not in command
    assert Path("model.safetensors").stat().st_size > 0


def test_a_simulation_is_told_in_json_and_the_same_with_masks(
    comity: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("risk.py").write_text(study_of_page())
    asked = ("simulate", "risk.py", "--members", "4", "--rounds", "2", "--json")
    plain, masked = comity(*asked).json(), comity(*asked, "--secure").json()
    assert (plain["invented"], plain["secure"], masked["secure"]) == (True, False, True)
    assert plain["runs"] == masked["runs"]


def test_a_site_reads_what_to_mend(
    comity: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps that are declared are said; what does not fit ends with 1, and holds no value."""
    monkeypatch.chdir(tmp_path)
    Path("risk.py").write_text(study_of_page())
    Path("a.csv").write_text("age,chol_mmol,raucher,ill\n50,5,ja,no\n60,6,nein,yes\n")
    fits = comity("data", "check", "risk.py", "--data", "a.csv")
    assert fits.code == ExitCode.DONE
    assert "chol_mmol is read as chol, times 38.67 (mmol/l to mg/dl)" in fits.out
    Path("b.csv").write_text("age,chol,smoker,ill\n4711,5,no,no\n60,6,no,no\n")
    wrong = comity("data", "check", "risk.py", "--data", "b.csv")
    assert wrong.code == ExitCode.FAILED
    for word in ("wrong-unit", "out-of-range", "constant", "one-class", "chol_mmol in mmol/l"):
        assert word in re.sub(r"\s+", " ", wrong.out)
    assert "4711" not in wrong.out + wrong.err
    assert comity("data", "check", "risk.py").code == ExitCode.USAGE
    twice = ("data", "twin", "risk.py", "--out", "a.csv")
    assert comity(*twice).code == ExitCode.USAGE


def test_a_study_that_fails_in_a_simulation_says_where(
    comity: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = study_of_page().replace("    task = logistic(table)\n", "    task = logistic(tabel)\n")
    Path("risk.py").write_text(text)
    line = 1 + text.splitlines().index("    task = logistic(tabel)")
    ran = comity("simulate", "risk.py", "--rounds", "1")
    assert ran.code == ExitCode.FAILED
    assert f"risk.py, line {line}" in ran.err and "name 'tabel' is not defined" in ran.err
    assert comity("simulate", "risk.py", "--members", "2").code == ExitCode.USAGE
    assert comity("simulate", "risk.py", "--seeds", "0").code == ExitCode.USAGE
