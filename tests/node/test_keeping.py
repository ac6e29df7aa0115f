"""What is laid out for a study's process: whole, of the right length, or nothing. The rest of
`keeping` is tested with nodes, in tests/e2e/test_methods.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from comity.errors import StudyFault, StudyFaultKind
from comity.learning.methods.scaffold import Scaffold
from comity.learning.model import read_header
from comity.learning.steps import FedAdam
from comity.learning.study import Study, StudyCard, describe
from comity.learning.tables import Column
from comity.learning.tensors import Tensor
from comity.node.keeping import lay_out_control, lay_out_kept, write_tuned
from comity.node.vectors import write_first_moments


def card(method: Scaffold | None = None) -> StudyCard:
    return describe(
        Study(
            name="x",
            title="A study",
            columns=(Column("a"),),
            tensors=(Tensor("w", (3,)), Tensor("head", (2,), own=True)),
            rounds=1,
            rule=FedAdam(),
            method=method,
        )
    )


def test_the_last_part_of_the_state_is_c(tmp_path: Path) -> None:
    study = card(Scaffold(1, 0.1))
    state, target = tmp_path / "state", tmp_path / "control.f32"
    write_first_moments(FedAdam(), study.layout, state)
    raw = state.read_bytes()
    assert len(raw) == 4 * (3 + 3 + 3) and not any(raw[24:])
    state.write_bytes(raw[:24] + np.array([1, 2, 3], "<f4").tobytes())
    lay_out_control(state, study, target)
    assert np.fromfile(target, "<f4").tolist() == [1, 2, 3]
    lay_out_control(None, card(), tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("size", [None, 0, 35, 37])
def test_a_state_of_another_length_stops_the_study_here(tmp_path: Path, size: int | None) -> None:
    state = tmp_path / "state"
    state.write_bytes(bytes(size or 0))
    with pytest.raises(StudyFault, match="36 bytes") as caught:
        lay_out_control(
            None if size is None else state, card(Scaffold(1, 0.1)), tmp_path / "control.f32"
        )
    assert caught.value.kind is StudyFaultKind.BAD_OUTPUT


def test_what_is_kept_is_laid_out_whole_or_not_at_all(tmp_path: Path) -> None:
    kept, target = tmp_path / "1.f32", tmp_path / "kept.f32"
    kept.write_bytes(b"12345678")
    lay_out_kept(kept, card(), target)
    assert target.read_bytes() == b"12345678"
    lay_out_kept(None, card(), target)
    assert target.read_bytes() == b""
    kept.write_bytes(b"1234567")
    lay_out_kept(kept, card(), target)
    assert target.read_bytes() == b""


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    kept, other = tmp_path / "1.f32", tmp_path / "other"
    kept.write_bytes(b"12345678")
    other.write_bytes(b"untouched")
    (tmp_path / "kept.f32").symlink_to(other)
    with pytest.raises(OSError):
        lay_out_kept(kept, card(), tmp_path / "kept.f32")
    assert other.read_bytes() == b"untouched"


def test_a_tuned_copy_holds_all_tensors_or_is_refused(tmp_path: Path) -> None:
    model, kept = tmp_path / "update.f32", tmp_path / "kept.f32"
    model.write_bytes(bytes(12))
    kept.write_bytes(bytes(8))
    target = tmp_path / "kept" / "fine-tuned.safetensors"
    write_tuned(card(), model, kept, target)
    raw = target.read_bytes()
    assert [(each.name, each.shape) for each in read_header(raw, len(raw))] == [
        ("w", (3,)), ("head", (2,)),
    ]  # fmt: skip  # a list to read
    model.write_bytes(bytes(16))
    with pytest.raises(StudyFault):
        write_tuned(card(), model, kept, target)
    assert target.read_bytes() == raw, "the copy before stays whole"
