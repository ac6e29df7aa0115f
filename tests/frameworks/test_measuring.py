"""What is measured with PyTorch: skipped with a reason without it, and able to fail."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from bench.run import main as bench
from bench.shakespeare import MEMBERS, main, write_tables

from bench import shakespeare


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_without_pytorch_both_say_so_and_measure_nothing(
    without_torch: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 0
    assert "PyTorch is not installed" in capsys.readouterr().out
    assert bench(["--quick", "--only", "torch", "--folder", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "make bench-torch" in " ".join(said.split()) and "round 1" not in said


def test_members_have_quarters_of_the_text_in_order_and_nothing_twice(tmp_path: Path) -> None:
    text = "".join(chr(65 + place % 26) for place in range(1_003))
    tables = [path.read_text().splitlines()[1:] for path in write_tables(text, tmp_path)]
    assert len(tables) == MEMBERS
    for part, whole in (("train", text[:902]), ("test", text[902:])):
        found = [line.split(",") for table in tables for line in table]
        assert "".join(chr(int(code)) for code, where in found if where == part) == whole


def test_a_text_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: `make test-torch` has it")
    assert main(["--text", str(tmp_path / "nothing.txt")]) == 0
    assert "there is no text at" in capsys.readouterr().out


def test_a_table_of_letters_is_printed_and_can_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tiny recipe, whole: judged, against a target that nothing meets."""
    pytest.importorskip("torch", reason="PyTorch is not installed: `make test-torch` has it")
    recipe = shakespeare.RECIPE.read_text().replace("= 4, 4, 128, 64", "= 1, 2, 16, 16")
    tiny = recipe.replace("ROUNDS, STEPS, BATCH = 40, 50, 12", "ROUNDS, STEPS, BATCH = 2, 5, 4")
    (tmp_path / "tiny.py").write_text(tiny)
    (tmp_path / "text.txt").write_text("abcdefgh\n" * 400)
    monkeypatch.setattr(shakespeare, "RECIPE", tmp_path / "tiny.py")
    text = ["--text", str(tmp_path / "text.txt")]
    assert main([*text, "--steps", "5"]) == 0
    assert "not judged" in capsys.readouterr().out
    monkeypatch.setattr(shakespeare, "PUBLISHED", 1e-9)
    assert main([*text, "--steps", "10"]) == 1
    said = capsys.readouterr().out
    assert "together, 2 exchanges" in said and "member 4 alone" in said and "NOT MET" in said
