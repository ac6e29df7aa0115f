"""A model file named for an evaluation: what is no file holds nothing up and ends nothing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from comity.aggregation.layout import Layout
from comity.api.nodes import named_model
from comity.api.simulations import summary_of
from comity.errors import Malformed, Misconfigured
from comity.learning.given import Metric
from comity.learning.model import model_bytes
from comity.learning.study import Study, describe
from comity.learning.tables import Column
from comity.learning.tensors import Tensor
from comity.node.planning import copy_given
from comity.node.simulating import Wanted, simulate

CARD = describe(
    Study(
        name="how-good",
        title="How good",
        kind="evaluate",
        columns=(Column("x"),),
        tensors=(Tensor("w", (2,)),),
        metrics=(Metric("auc"),),
        weights="hidden",
        weight_max=64,
    )
)

FAILING = """
from comity.learning import Column, Metric, Study, Tensor

STUDY = Study(
    name="how-good",
    title="How good",
    kind="evaluate",
    columns=(Column("x"),),
    tensors=(Tensor("w", (2,)),),
    metrics=(Metric("auc"),),
    weights="hidden",
    weight_max=64,
)


def evaluate(weights, table):
    level = float(table["x"][0])
    if level > 3:
        raise ValueError(level)
    return {"auc": level / 10}, len(table)
"""


def test_a_pipe_a_huge_file_and_a_missing_one_are_refused_at_once(tmp_path: Path) -> None:
    pipe, huge, out = tmp_path / "pipe", tmp_path / "huge", tmp_path / "out"
    os.mkfifo(pipe)
    with huge.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(Misconfigured, match="no regular file"):
        copy_given(CARD, pipe, out)
    with pytest.raises(Malformed, match="no model of the tensors"):
        copy_given(CARD, huge, out)
    with pytest.raises(Misconfigured, match="cannot read the model"):
        copy_given(CARD, tmp_path / "none", out)
    assert not out.exists()


def test_a_name_that_no_file_can_have_is_left_to_the_node(tmp_path: Path) -> None:
    assert named_model("n" * 5_000) == "n" * 5_000
    assert named_model("risk") == "risk"
    assert named_model(tmp_path) == str(tmp_path)


def test_a_site_that_an_evaluation_fails_at_is_left_out_of_the_simulated_one(
    tmp_path: Path,
) -> None:
    """As in a commons: the others' sum goes on, and its own row is not there."""
    file, model = tmp_path / "study.py", tmp_path / "given.safetensors"
    file.write_text(FAILING)
    layout = Layout(CARD.given)
    model.write_bytes(model_bytes(layout, np.zeros(layout.data_words, np.float32)))
    tables = tuple(tmp_path / f"m{place}.csv" for place in range(5))
    for place, table in enumerate(tables):
        table.write_text(f"x\n{place}\n")
    done = simulate(file, Wanted(tables=tables, model=model), policy="warn")
    assert [(each.member, each.kind.value) for each in done.runs[0].failed] == [
        ("m4", "code-failed")
    ]
    assert sorted(done.runs[0].metrics[1]) == ["m0", "m1", "m2", "m3"]
    assert done.runs[0].pooled["auc"] == pytest.approx(0.15, abs=1e-3)
    (mean,) = summary_of(done).only(metric="auc").column("mean of members")
    assert mean == pytest.approx(0.15)
