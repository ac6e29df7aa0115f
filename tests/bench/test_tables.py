"""The published table: met within its bar with secure sums and without, and said when it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.hearts import ROWS, hearts
from bench.tables import FEDERATED, OWN, main, measured, run_federated

from bench import tables
from comity.demo.heart import prepare
from comity.errors import Misconfigured
from tests.outside.shared import shared_data


def test_without_the_data_it_says_so_and_where_to_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tables, "BESIDE", tmp_path / "nothing")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("COMITY_DATA", raising=False)
    assert main(["--no-download"]) == 0
    said = capsys.readouterr()
    assert "COMITY_DATA" in said.err and "processed.va.data" in said.err and not said.out


def test_another_split_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepare(tmp_path, given=shared_data("heart_disease"))
    monkeypatch.setitem(ROWS, "va", (86, 44))
    with pytest.raises(Misconfigured, match="splits"):
        hearts(data)


def test_a_row_beyond_its_bar_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table can fail."""
    folder = str(shared_data("heart_disease"))
    monkeypatch.setattr(tables, "BAR", 1e-9)
    monkeypatch.setattr(tables, "FEDERATED", FEDERATED[:1])
    monkeypatch.setattr(tables, "OWN", ())
    monkeypatch.setattr(tables, "TUNED", ())
    monkeypatch.setattr(tables, "EPOCHS", 1)
    assert main(["--data", folder, "--seeds", "1", "--no-secure"]) == 1
    assert "beyond the bar" in capsys.readouterr().out


def test_own_intercepts_keep_each_centres_calibration(tmp_path: Path) -> None:
    """Three seeds: log loss is clearly lower, and ranking is not given up for it."""
    data = hearts(prepare(tmp_path, given=shared_data("heart_disease")))
    plain, own = (
        measured(data, lambda seed, row=row: run_federated(data, row, seed), 3)  # type: ignore[misc]
        for row in (FEDERATED[4], OWN[4])
    )
    assert own.log_loss.mean() < plain.log_loss.mean() - 0.1
    assert own.auc.mean() > plain.auc.mean() - 0.01


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_every_published_row_is_met_with_secure_sums_and_without(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """20 seeds: within .02 of the re-run column; secure against plain to 4 digits. Fixed seeds."""
    assert main(["--data", str(shared_data("heart_disease"))]) == 0
    said = capsys.readouterr().out
    assert "every row within its bar" in said and said.count("secure against plain") == 7
    for name in ("Pooled", "FedAvg", "FedProx", "Scaffold", "Cyclic", "FedAdagrad", "FedAdam"):
        assert f"\n{name}" in said
    assert "\nFedAvg, lr .003162" in said and "\nFedAvg, fine-tuned" in said
    for name in ("FedYogi", "Local 0", "Local 1", "Local 2", "Local 3", "FedAdam, own intercept"):
        assert f"\n{name}" in said
