"""A model file named for an evaluation: what is no file holds nothing up and ends nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from comity.api.nodes import named_model
from comity.errors import Malformed, Misconfigured
from comity.learning.given import Metric
from comity.learning.study import Study, describe
from comity.learning.tables import Column
from comity.learning.tensors import Tensor
from comity.node.planning import copy_given

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
