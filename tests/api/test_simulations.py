"""What Python gives is what the command gives, number for number and bit for bit."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

import comity
from tests.cli.commands import Terminal
from tests.cli.test_studies_page import study_of_page


@pytest.fixture
def risk(tmp_path: Path) -> Path:
    """The study of docs/studies.md."""
    file = tmp_path / "risk.py"
    file.write_text(study_of_page())
    return file


def test_a_simulation_is_that_of_the_command_bit_for_bit(
    risk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = comity.twin(risk, tmp_path / "twin.csv", rows=200, seed=7, weak_sandbox=True)
    flags = ("--members", "4", "--rounds", "3", "--alpha", "0.5", "--seeds", "2")
    out = tmp_path / "model.safetensors"
    more = ("--evaluate-every", "1", "--weak-sandbox", "--out", out, "--json")
    told = Terminal(capsys)("simulate", risk, "--data", made, *flags, *more).json()
    done = comity.simulate(risk, made, members=4, rounds=3, alpha=0.5, seeds=2, weak_sandbox=True)
    runs = told["runs"]
    assert isinstance(runs, list)
    assert done.models == {run["seed"]: run["model"] for run in runs}
    assert (done.rows, done.rounds, done.invented) == (told["rows"], 3, False)
    scores = [
        (run["seed"], int(number), member, metric, value, False)
        for run in runs
        for number, members in run["metrics"].items()
        for member, metrics in members.items()
        for metric, value in sorted(metrics.items())
    ]
    assert sorted(done.scores.rows) == sorted(scores) and len(scores) > 20
    assert done.save(tmp_path / "again.safetensors").read_bytes() == out.read_bytes()
    assert done.tensors()["weights"].shape == (4,)
    masked = comity.simulate(
        risk, made, members=4, rounds=3, alpha=0.5, secure=True, weak_sandbox=True
    )
    assert masked.models[0] == done.models[0] and masked.secure
    drawn = comity.plot(done, "log_loss")
    assert drawn.svg == comity.plot(done, "log_loss").svg and "<svg" in drawn._repr_svg_()
    with pytest.raises(comity.Misconfigured, match="the metrics are auc, log_loss"):
        comity.plot(done, "accuracy")


def test_a_file_says_what_it_declares_and_how_it_fails(risk: Path, tmp_path: Path) -> None:
    study = comity.load(risk, weak_sandbox=True)
    assert (study.name, study.kind, study.rounds, study.numbers) == ("risk", "train", 10, 4)
    assert study.columns.only(name="age").to_dicts()[0]["unit"] == "years"
    table = tmp_path / "a.csv"
    table.write_text("age,chol,smoker,ill\n4711,200,no,no\n60,220,yes,yes\n")
    found = comity.check(study, table, weak_sandbox=True)
    assert found.only(trouble="out-of-range").column("count") == (1,)
    assert "4711" not in str(found)
    risk.write_text(risk.read_text().replace("task = logistic(table)", "task = logistic(tabel)"))
    with pytest.raises(comity.StudyFault, match=r"risk\.py, line \d+"):
        comity.simulate(risk, members=3, rounds=1, weak_sandbox=True)
    with pytest.raises(comity.Misconfigured, match="no node runs"):
        comity.connect(tmp_path)


def test_a_table_goes_where_data_frames_are(tmp_path: Path) -> None:
    """Numbers to the last bit; an undefined cell is empty; a text cannot break the page."""
    made = comity.ResultTable(("who", "auc"), (("<b>", 0.1 + 0.2), ("m1", None)))
    assert made.to_dicts() == [{"who": "<b>", "auc": 0.1 + 0.2}, {"who": "m1", "auc": None}]
    rows = list(csv.reader(io.StringIO(made.to_csv(tmp_path / "t.csv"))))
    assert float(rows[1][1]) == 0.1 + 0.2 and rows[2] == ["m1", ""]
    assert "&lt;b&gt;" in made._repr_html_() and "undefined" in str(made)
    assert json.dumps(made.to_dicts())
    with pytest.raises(comity.Misconfigured):
        made.to_csv(tmp_path / "t.csv")
    with pytest.raises(comity.Misconfigured, match="columns are who, auc"):
        made.column("none")
