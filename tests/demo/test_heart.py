"""The demo's data without network: sources in order, refusal of wrong files, the simulated four."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

import pytest

from comity.demo.heart import CENTRES, DemoData, prepare, recipe_text
from comity.errors import Misconfigured
from comity.learning.loading import load
from comity.learning.tables import read_table

NO_NETWORK = {"HOME": "/nonexistent"}


def simulated(folder: Path) -> DemoData:
    return prepare(folder, environment=NO_NETWORK, download=False)


def test_without_network_four_institutions_are_simulated_and_it_is_said(tmp_path: Path) -> None:
    data = simulated(tmp_path / "made" / "here")
    assert data.simulated and "simulated" in data.source
    assert data.remarks == ("the network was not tried",)
    assert "CC BY 4.0" in data.attribution and "Changes:" in data.attribution
    assert [each.name for each in data.institutions] == ["sim-1", "sim-2", "sim-3", "sim-4"]
    rows = [(each.train_rows, each.test_rows) for each in data.institutions]
    assert rows == [(149, 78), (112, 58), (56, 29), (57, 30)]
    assert sum(map(sum, rows)) == 569


def test_the_simulated_tables_fit_their_recipe(tmp_path: Path) -> None:
    data = simulated(tmp_path)
    (tmp_path / "study.py").write_text(data.recipe)
    study = load(runpy.run_path(str(tmp_path / "study.py"))).study
    for each in data.institutions:
        reading = read_table(study.columns, each.path.read_bytes(), file_name=each.path.name)
        assert len(reading.table.only("part", "train")) == each.train_rows
        assert len(reading.table.only("part", "test")) == each.test_rows
        assert 0 < reading.table["malignant"].mean() < 1


def test_the_draw_is_the_same_every_time(tmp_path: Path) -> None:
    first, second = simulated(tmp_path / "a"), simulated(tmp_path / "b")
    for left, right in zip(first.institutions, second.institutions, strict=True):
        assert left.path.read_bytes() == right.path.read_bytes()


def test_no_row_is_at_two_institutions(tmp_path: Path) -> None:
    seen: set[tuple[str, ...]] = set()
    for each in simulated(tmp_path).institutions:
        with each.path.open(newline="") as file:
            rows = {tuple(row.values()) for row in csv.DictReader(file)}
        assert not rows & seen
        seen |= rows


def test_a_given_folder_with_a_wrong_file_is_refused_with_the_reason(tmp_path: Path) -> None:
    """Never replaced by another source: who names a folder means it."""
    given = tmp_path / "given"
    given.mkdir()
    with pytest.raises(Misconfigured, match="No such file"):
        prepare(tmp_path, given=given, environment=NO_NETWORK, download=False)
    for name in CENTRES:
        (given / f"processed.{name}.data").write_bytes(b"63.0,1.0\n")
    for arguments in ({"given": given}, {"environment": {"COMITY_DATA": str(given)}}):
        with pytest.raises(Misconfigured, match="expected SHA-256 a74b7efa") as caught:
            prepare(tmp_path, download=False, **arguments)
        assert "processed.cleveland.data" in str(caught.value)
        assert "63.0" not in str(caught.value)


def test_a_wrong_file_in_the_cache_is_said_and_the_next_source_used(tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "comity" / "heart_disease"
    cache.mkdir(parents=True)
    for name in CENTRES:
        (cache / f"processed.{name}.data").write_bytes(b"changed")
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": "/nonexistent"}
    data = prepare(tmp_path / "out", environment=environment, download=False)
    assert data.simulated
    assert "expected SHA-256" in data.remarks[0] and "cache" in data.remarks[0]


@pytest.mark.parametrize("name", ["heart", "breast", "minimal", "bench"])
def test_the_recipes_come_with_the_package(name: str) -> None:
    assert "STUDY = Study(" in recipe_text(name)
