"""A study file once it has run: its declaration and its functions, picked out and checked for form.

What the functions do and give back is checked where they are called. Source: docs/studies.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn, cast, final

from comity.learning.steps import Float32Array
from comity.learning.study import Study, Tensors, refuse
from comity.learning.tables import Table


@final
@dataclass(frozen=True, slots=True)
class LoadedStudy:
    """A study with its functions, which are the author's code: call them in a sandbox only.

    takes_pull: whether `train` has the fourth parameter. With kind "evaluate" the file has neither
    `initial` nor `train`, and what stands here for them fails (`learning/local.py: evaluating`).
    """

    study: Study
    initial: Callable[[int], Mapping[str, Float32Array]]
    train: Callable[..., tuple[Mapping[str, Float32Array], int]]
    evaluate: Callable[[Tensors, Table], Mapping[str, float]]
    takes_pull: bool = False


def load(namespace: Mapping[str, object]) -> LoadedStudy:
    """Pick the four parts out of what running a study file left behind.

    Raises:
        StudyFault(NOT_LOADABLE): a part is missing or has other parameters.
    """
    study = namespace.get("STUDY")
    if not isinstance(study, Study):
        refuse("the file sets no STUDY = Study(...)")
    evaluate = cast(
        Callable[[Tensors, Table], Mapping[str, float]],
        _function(namespace, "evaluate", ("weights", "table")),
    )
    if study.kind == "evaluate":
        return LoadedStudy(study, _not_given, _not_given, evaluate)
    train = _function(namespace, "train", ("weights", "table", "rng"), optional="pull")
    takes_pull = "pull" in inspect.signature(train).parameters
    if study.method is not None and not takes_pull:
        refuse(
            f"{type(study.method).__name__} changes local steps: write"
            " def train(weights, table, rng, pull), and add what pull says to each gradient"
        )
    # What the functions return is checked where it is used.
    return LoadedStudy(
        study,
        cast(
            Callable[[int], Mapping[str, Float32Array]],
            _function(namespace, "initial", ("seed",)),
        ),
        cast(Callable[..., tuple[Mapping[str, Float32Array], int]], train),
        evaluate,
        takes_pull,
    )


def _not_given(*_: object) -> NoReturn:
    refuse('with kind="evaluate" nothing is trained; name the model to evaluate with --model')


def _function(
    namespace: Mapping[str, object], name: str, parameters: tuple[str, ...], optional: str = ""
) -> Callable[..., object]:
    found = namespace.get(name)
    form = f"def {name}({', '.join(parameters)})"
    if not inspect.isfunction(found):
        refuse(f"the file has no function {form}")
    given = tuple(inspect.signature(found).parameters)
    if given != parameters and given != (*parameters, optional):
        refuse(f"the parameters of {name} are not those of {form}")
    return found
