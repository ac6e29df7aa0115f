"""Studies: what authors may say, what is refused, and what a plan gets to see."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import comity
from comity.aggregation.layout import layout_fault
from comity.errors import StudyFault, StudyFaultKind
from comity.learning.loading import load
from comity.learning.steps import FedAdam, FedAvg, RuleCard
from comity.learning.study import Study, StudyCard, Tensor, card_fault, describe
from comity.learning.tables import Column
from comity.statements.studies import UseTerms
from comity.values import Digest

RECIPES = Path(comity.__file__).parent / "recipes"
SETTINGS: dict[str, Any] = {  # Any: keyword arguments of many types
    "name": "x",
    "title": "A study",
    "columns": (Column("a", low=0.1),),
    "tensors": (Tensor("w", (2, 3), range=0.3), Tensor("b", (), range=2)),
    "rounds": 3,
    "rule": FedAdam(),
}


def study(**changes: object) -> Study:
    return Study(**(SETTINGS | changes))


def test_a_card_says_everything_in_whole_numbers() -> None:
    card = describe(study(weight_max=64, seed=7))
    assert (card.name, card.rounds, card.weights, card.weight_max) == ("x", 3, "declared", 64)
    assert card.rule == RuleCard("fedadam", 10_000, 900_000, 999_000, 10_000)
    assert card.columns == ("a",)
    raw = msgspec.json.encode(card)
    assert msgspec.json.decode(raw, type=StudyCard) == card
    assert b"." not in raw.replace(b"A study", b"")  # no floats on the wire
    assert card_fault(card) is None


def test_what_a_study_is_for_is_in_its_card_and_changes_no_update() -> None:
    use = UseTerms(purpose="disease", diseases=("MONDO:0004995",), commercial=False)
    card = describe(study(use=use))
    assert card.use == use and card_fault(card) is None
    assert card.parameters == describe(study()).parameters
    assert msgspec.json.decode(msgspec.json.encode(card), type=StudyCard) == card


@pytest.mark.parametrize(
    "use",
    [
        UseTerms(purpose="disease"),
        UseTerms(purpose="health", diseases=("heart",)),
        UseTerms(purpose="healing"),  # type: ignore[arg-type]  # what an author may write
        UseTerms(purpose="health", commercial="no"),  # type: ignore[arg-type]  # so too
        UseTerms(purpose="health", ethics=Digest("approved")),
    ],
)
def test_a_use_that_is_no_use_is_refused_where_it_is_written(use: UseTerms) -> None:
    with pytest.raises(StudyFault, match="use") as caught:
        study(use=use)
    assert caught.value.kind is StudyFaultKind.NOT_LOADABLE
    assert card_fault(msgspec.structs.replace(describe(study()), use=use)) is not None


@pytest.mark.parametrize("number", [1.0, 0.3, 2.0**-60, 1e15, 1 / 3, 5e-10])
def test_ranges_are_exact(number: float) -> None:
    layout = study(tensors=(Tensor("w", (4,), range=number),)).parts.vector
    assert layout.segments[0].range_max == number
    assert layout.segments[0].mant % 2 == 1
    assert layout_fault(layout) is None


def test_parameters_change_with_what_determines_an_update_and_with_nothing_else() -> None:
    """R6: two works with the same digest may be summed over one set only."""
    first = describe(study())
    for same in (
        {"name": "y"},
        {"title": "Another"},
        {"rounds": 9},
        {"rule": FedAvg()},
    ):
        assert describe(study(**same)).parameters == first.parameters
    for other in (
        {"seed": 1},
        {"weight_max": 7},
        {"weights": "hidden"},
        {"tensors": (Tensor("w", (2, 3), range=0.25), Tensor("b", (), range=2))},
        {"columns": (Column("a", low=0.2),)},
        {"missing": "drop rows"},
        {"missing_texts": ("", "?")},
        {"strip_headers": True},
    ):
        assert describe(study(**other)).parameters != first.parameters


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "No Slug"}, "name has a-z"),
        ({"title": "two\nlines"}, "one printable line"),
        ({"title": ""}, "one printable line"),
        ({"columns": ()}, "columns has 1 to"),
        ({"columns": (Column("a"), Column("a"))}, "same name twice"),
        (
            {"columns": tuple(Column(n, "label", categories=("0", "1")) for n in "ab")},
            "more than one label",
        ),
        ({"tensors": ()}, "tensors has 1 to"),
        ({"tensors": (Tensor("w", (2**28,)),)}, "numbers"),
        ({"rounds": 0}, "rounds is a whole number from 1"),
        ({"rounds": True}, "rounds is a whole number"),
        ({"rounds": 1.5}, "rounds is a whole number"),
        ({"rule": "fedavg"}, "rule is FedAvg"),
        ({"weights": "rows"}, "weights is one of equal, declared, hidden"),
        ({"weights": "equal"}, "needs weight_max=1"),
        ({"weight_max": 1}, "needs weight_max above 1"),
        ({"weight_max": 2**24}, "weight_max is a whole number"),
        ({"missing": "impute"}, "missing is one of refuse, drop rows"),
        ({"seed": -1}, "seed is a whole number"),
    ],
)
def test_contradictory_settings_are_refused_in_plain_words(
    changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(StudyFault, match=sentence) as caught:
        study(**changes)
    assert caught.value.kind is StudyFaultKind.NOT_LOADABLE


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(TypeError, match="epochs"):
        study(epochs=5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("1w", (3,)), "name has letters"),
        (("w", (0,)), "each side"),
        (("w", (1.5,)), "each side"),
        (("w", (1,) * 9), "more than 8 sides"),
        (("w", (3,), 0.0), "the range is a number"),
        (("w", (3,), float("nan")), "the range is a number"),
    ],
)
def test_impossible_tensors_are_refused(arguments: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(StudyFault, match=sentence):
        Tensor(*arguments)


def test_cards_that_no_study_file_gives_are_found() -> None:
    good = describe(study())
    for changes in (
        {"name": "No Slug"},
        {"title": "x" * 3000},
        {"rounds": 0},
        {"rule": RuleCard("fedavg", 0, 0, 0, 0)},
        {"weights": "equal"},
        {"columns": ()},
        {"schema": "0"},
        {"parameters": "A" * 64},
    ):
        assert card_fault(msgspec.structs.replace(good, **changes)) is not None


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.py")))
def test_every_recipe_loads_and_begins(name: str) -> None:
    if name == "characters":
        pytest.importorskip("torch", reason="PyTorch is an extra: `make test-torch` has it")
    loaded = load(runpy.run_path(str(RECIPES / f"{name}.py")))
    card = describe(loaded.study)
    assert card_fault(card) is None
    first = loaded.initial(loaded.study.seed)
    assert {key: value.shape for key, value in first.items()} == {
        segment.name: segment.shape for segment in (*card.model.segments, *card.own)
    }
    assert all(tensor.dtype == np.float32 for tensor in first.values())


def test_a_file_without_its_parts_is_refused() -> None:
    def initial(seed: int) -> None: ...
    def train(weights: None, table: None, rng: None) -> None: ...
    def evaluate(weights: None, table: None) -> None: ...
    def wrong(model: None, table: None) -> None: ...

    good = {"STUDY": study(), "initial": initial, "train": train, "evaluate": evaluate}
    assert load(good).study == study()
    for name in good:
        with pytest.raises(StudyFault, match=name):
            load({key: value for key, value in good.items() if key != name})
    with pytest.raises(StudyFault, match="evaluate"):
        load(good | {"evaluate": wrong})
    with pytest.raises(StudyFault, match="train"):
        load(good | {"train": 5})
