"""The four hospitals of Fed-Heart-Disease, read as the heart recipe reads them, for the tables."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import comity
from comity.demo.heart import DemoData
from comity.errors import Misconfigured
from comity.learning.loading import load
from comity.learning.tables import Table, read_table
from comity.learning.training import Logistic, standardised

ROWS = {"cleveland": (199, 104), "hungarian": (172, 89), "switzerland": (30, 16), "va": (85, 45)}
"""Training and test rows after FLamby's split."""


@dataclass(frozen=True, slots=True)
class Hearts:
    """The four centres as the recipe reads them. x, y: standardised by each centre's own rows."""

    scope: Mapping[str, object]
    tables: tuple[Table, ...]
    train: tuple[Logistic, ...]
    test: tuple[Logistic, ...]
    pooled_train: Logistic
    pooled_test: Logistic


def hearts(data: DemoData) -> Hearts:
    """Read the centres with the recipe's own columns and coding.

    Raises:
        Misconfigured: the splits are not FLamby's to the row.
    """
    found = {each.name: (each.train_rows, each.test_rows) for each in data.institutions}
    if found != ROWS:
        raise Misconfigured(f"expected the splits {ROWS}, found {found}: another data set")
    scope = runpy.run_path(str(Path(comity.__file__).parent / "recipes" / "heart.py"))
    study = load(scope).study
    tables = tuple(
        read_table(
            study.columns, each.path.read_bytes(), file_name=each.path.name, missing=study.missing
        ).table
        for each in data.institutions
    )
    coded = scope["coded"]
    assert callable(coded)
    parts = {
        part: [(coded(rows), rows["disease"]) for table in tables for rows in [table.only(*at)]]
        for part, at in {"train": ("part", "train"), "test": ("part", "test")}.items()
    }
    alone = {
        part: tuple(
            Logistic(standardised(x, own), y)
            for (x, y), (own, _) in zip(parts[part], parts["train"], strict=True)
        )
        for part in parts
    }
    whole = np.concatenate([x for x, _ in parts["train"]])
    pooled = {
        part: Logistic(
            standardised(np.concatenate([x for x, _ in parts[part]]), whole),
            np.concatenate([y for _, y in parts[part]]),
        )
        for part in parts
    }
    return Hearts(scope, tables, alone["train"], alone["test"], pooled["train"], pooled["test"])
