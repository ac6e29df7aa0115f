"""What a study file offers: one `STUDY` declaration and three plain functions.

A study is one short Python file that people read before they consent. It declares everything a
plan must agree on, and says how a member trains and evaluates:

    STUDY = Study(name=..., title=..., columns=(...), tensors=(...), rounds=15, rule=FedAdam(...))

    def initial(seed): ...                  # -> {tensor name: float32 array}
    def train(weights, table, rng): ...     # -> (weights after, number of rows learned from)
    def evaluate(weights, table): ...       # -> {metric name: number}

Settings that are unknown or contradict each other are refused here, in a plain sentence. This
module runs no study code; `load` only picks the parts out of a namespace.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NoReturn, TypeVar, cast, final, get_args

import msgspec
from numpy.random import Generator

from comity.aggregation.layout import DIMENSIONS_MAX, Layout, Segment, layout_fault
from comity.errors import Malformed, StudyFault, StudyFaultKind
from comity.learning.steps import Float32Array, Rule, RuleCard, rule_card, rule_of
from comity.learning.tables import Column, Table
from comity.values import (
    INTEGER_MAX,
    SLUG_BYTES_MAX,
    TEXT_BYTES_MAX,
    VECTOR_WORDS_MAX,
    Digest,
    is_digest,
    is_slug,
    sha256,
)

Weights = Literal["equal", "declared", "hidden"]
Missing = Literal["refuse", "drop rows"]
Tensors = dict[str, Float32Array]
Chosen = TypeVar("Chosen", bound=str)

ROUNDS_MAX: Final = 10_000
WEIGHT_MAX: Final = 2**23
COLUMNS_MAX: Final = 10_000
TENSORS_MAX: Final = 4_096
METRICS_MAX: Final = 32
NAME = re.compile(r"\A[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")


@final
@dataclass(frozen=True, slots=True)
class Tensor:
    """One float32 array of the model.

    Args:
        name: letters, digits, `_ . -`, at most 64, not starting with a digit; unique.
        shape: at most 8 sides, each at least 1; () for a single number.
        range: the largest change of any one entry in one round; larger ones are clipped to it at
            home, before anything is weighted or masked. Small enough to be precise, large enough
            to bind rarely.
    """

    name: str
    shape: tuple[int, ...]
    range: float = 1.0

    def __post_init__(self) -> None:
        if NAME.match(self.name) is None:
            _refuse("a tensor's name has letters, digits, _ . - only, at most 64 of them")
        if len(self.shape) > DIMENSIONS_MAX:
            _refuse(f"tensor {self.name}: the shape has more than {DIMENSIONS_MAX} sides")
        for side in self.shape:
            _within(f"tensor {self.name}: each side of the shape", side, 1, VECTOR_WORDS_MAX)
        if not 2.0**-60 <= self.range <= 2.0**60:
            _refuse(f"tensor {self.name}: the range is a number from 2**-60 to 2**60")


@final
@dataclass(frozen=True, slots=True)
class Study:
    """What all members agree on before the first round.

    Args:
        name: a slug: lower-case letters, digits and hyphens, at most 64.
        title: one line for people.
        columns: what every member's table must have, in any order; others are not read.
        tensors: the model, in the order of its flat vector.
        rounds: how many, from 1 to 10000.
        rule: the server step (`FedAvg`, `FedAdam`, `FedYogi`, `FedAdagrad`).
        weights: "equal": each member counts 1; "declared": each counts the rows it says in the
            open; "hidden": each counts its rows, and nobody sees how many.
        weight_max: rows above it count as this many; 1 when weights are equal. Near the largest
            real count is best: the sum is then most precise.
        missing: "refuse" a table with empty cells, or "drop rows" that have one, as a step
            everybody can read.
        missing_texts: cells that count as empty, compared after blanks around them are cut off.
        strip_headers: whether blanks around names in the header line are cut off.
        seed: of the first model and, with member and round, of training.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    tensors: tuple[Tensor, ...]
    rounds: int
    rule: Rule
    weights: Weights = "declared"
    weight_max: int = 65_536
    missing: Missing = "refuse"
    missing_texts: tuple[str, ...] = ("",)
    strip_headers: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("weights", self.weights, get_args(Weights))
        _one_of("missing", self.missing, get_args(Missing))
        if not isinstance(self.rule, Rule):
            _refuse("rule is FedAvg(...), FedAdam(...), FedYogi(...) or FedAdagrad(...)")
        if not is_slug(self.name):
            _refuse(f"name has a-z, 0-9 and hyphens only, at most {SLUG_BYTES_MAX} of them")
        if not self.title.isprintable() or not 1 <= len(self.title.encode()) <= TEXT_BYTES_MAX:
            _refuse(f"title is one printable line of at most {TEXT_BYTES_MAX} bytes")
        _within("rounds", self.rounds, 1, ROUNDS_MAX)
        _within("weight_max", self.weight_max, 1, WEIGHT_MAX)
        _within("seed", self.seed, 0, INTEGER_MAX)
        _distinct("columns", tuple(column.name for column in self.columns), COLUMNS_MAX)
        _distinct("tensors", tuple(tensor.name for tensor in self.tensors), TENSORS_MAX)
        forms = [source.name for column in self.columns for source in column.sources]
        if len({*forms, *(column.name for column in self.columns)}) < len(forms) + len(
            self.columns
        ):
            _refuse("columns have two columns or sources of the same name")
        if sum(column.kind == "label" for column in self.columns) > 1:
            _refuse("columns have more than one label; the others are categories")
        if self.weights == "equal" and self.weight_max != 1:
            _refuse('weights="equal" needs weight_max=1: every member counts once')
        if self.weights != "equal" and self.weight_max == 1:
            _refuse(f'weights="{self.weights}" needs weight_max above 1, or say weights="equal"')
        if sum(math.prod(tensor.shape) for tensor in self.tensors) > VECTOR_WORDS_MAX - 8:
            _refuse(f"the model has more than {VECTOR_WORDS_MAX - 8} numbers")


@final
class Contract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every member's table must have: the part of a study that a site checks its data with."""

    columns: tuple[Column, ...]
    missing: Missing
    missing_texts: tuple[str, ...]
    strip_headers: bool


@final
class StudyCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a plan needs from a study file, in whole numbers and text.

    `schema` is the digest of the declared columns and the handling of missing cells. `parameters`
    is the digest of what determines an update besides code and model (R6): schema, layout with
    ranges, weights, seed. It leaves out name, title, rounds and rule, which change no update.
    """

    name: str
    title: str
    rounds: int
    rule: RuleCard
    weights: Weights
    weight_max: int
    seed: int
    layout: Layout
    columns: tuple[str, ...]
    schema: Digest
    parameters: Digest


class _SourceForm(msgspec.Struct, frozen=True):
    name: str
    unit: str
    factor: str
    recode: tuple[tuple[str, str], ...]


class _ColumnForm(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column as it is hashed: numbers as their shortest exact text, none as empty text.

    `sources` is left out where there are none, so a study without them keeps its digest.
    """

    name: str
    kind: str
    unit: str
    low: str
    high: str
    categories: tuple[str, ...]
    sources: tuple[_SourceForm, ...] = ()


class _SchemaForm(msgspec.Struct, frozen=True):
    columns: tuple[_ColumnForm, ...]
    missing: str
    missing_texts: tuple[str, ...]
    strip_headers: bool


class _ParametersForm(msgspec.Struct, frozen=True):
    layout: Layout
    schema: str
    seed: int
    weight_max: int
    weights: str


def card_fault(card: StudyCard) -> str | None:
    """Why no study file can declare this, in words; None when one can."""
    try:
        rule = rule_of(card.rule)
        fault = layout_fault(card.layout)
        if fault is not None:
            return fault
        Study(
            name=card.name,
            title=card.title,
            columns=tuple(Column(name) for name in card.columns),
            tensors=tuple(_tensor(segment) for segment in card.layout.segments),
            rounds=card.rounds,
            rule=rule,
            weights=card.weights,
            weight_max=card.weight_max,
            seed=card.seed,
        )
    except (Malformed, StudyFault) as error:
        return str(error)
    if not (is_digest(card.schema) and is_digest(card.parameters)):
        return "a digest is 64 lower-case hex digits"
    return None


def layout_of(study: Study) -> Layout:
    """The model's layout: one segment per tensor, its range as the exact mant * 2^exp."""
    return Layout(tuple(_segment(tensor) for tensor in study.tensors))


def contract_of(study: Study) -> Contract:
    """The study's contract about tables."""
    return Contract(study.columns, study.missing, study.missing_texts, study.strip_headers)


def describe(study: Study) -> StudyCard:
    """The study as a plan carries it."""
    layout = layout_of(study)
    schema = _digest(
        _SchemaForm(
            tuple(_column_form(column) for column in study.columns),
            study.missing,
            study.missing_texts,
            study.strip_headers,
        )
    )
    parameters = _digest(
        _ParametersForm(layout, schema, study.seed, study.weight_max, study.weights)
    )
    return StudyCard(
        name=study.name,
        title=study.title,
        rounds=study.rounds,
        rule=rule_card(study.rule),
        weights=study.weights,
        weight_max=study.weight_max,
        seed=study.seed,
        layout=layout,
        columns=tuple(column.name for column in study.columns),
        schema=schema,
        parameters=parameters,
    )


@final
@dataclass(frozen=True, slots=True)
class LoadedStudy:
    """A study with its functions, which are the author's code: call them in a sandbox only."""

    study: Study
    initial: Callable[[int], Mapping[str, Float32Array]]
    train: Callable[[Tensors, Table, Generator], tuple[Mapping[str, Float32Array], int]]
    evaluate: Callable[[Tensors, Table], Mapping[str, float]]


def load(namespace: Mapping[str, object]) -> LoadedStudy:
    """Pick the four parts out of what running a study file left behind.

    Raises:
        StudyFault(NOT_LOADABLE): a part is missing or has other parameters.
    """
    study = namespace.get("STUDY")
    if not isinstance(study, Study):
        _refuse("the file sets no STUDY = Study(...)")
    return LoadedStudy(
        study,
        cast(
            Callable[[int], Mapping[str, Float32Array]],  # checked where the result is used
            _function(namespace, "initial", ("seed",)),
        ),
        cast(
            Callable[
                [Tensors, Table, Generator], tuple[Mapping[str, Float32Array], int]
            ],  # checked where the result is used
            _function(namespace, "train", ("weights", "table", "rng")),
        ),
        cast(
            Callable[[Tensors, Table], Mapping[str, float]],  # checked where the result is used
            _function(namespace, "evaluate", ("weights", "table")),
        ),
    )


def _function(
    namespace: Mapping[str, object], name: str, parameters: tuple[str, ...]
) -> Callable[..., object]:
    found = namespace.get(name)
    form = f"def {name}({', '.join(parameters)})"
    if not inspect.isfunction(found):
        _refuse(f"the file has no function {form}")
    if tuple(inspect.signature(found).parameters) != parameters:
        _refuse(f"the parameters of {name} are not those of {form}")
    return found


def _segment(tensor: Tensor) -> Segment:
    fraction, exponent = math.frexp(tensor.range)
    mant = int(fraction * 2**53)  # exact: a double has 53 bits
    exponent -= 53
    while mant % 2 == 0:
        mant, exponent = mant // 2, exponent + 1
    return Segment(tensor.name, "real", tensor.shape, mant, exponent)


def _tensor(segment: Segment) -> Tensor:
    if segment.kind != "real":
        _refuse("a model has no count segments")
    return Tensor(segment.name, segment.shape, segment.range_max)


def _column_form(column: Column) -> _ColumnForm:
    low = "" if column.low is None else repr(float(column.low))
    high = "" if column.high is None else repr(float(column.high))
    sources = tuple(
        _SourceForm(source.name, source.unit, repr(float(source.factor)), source.recode)
        for source in column.sources
    )
    return _ColumnForm(column.name, column.kind, column.unit, low, high, column.categories, sources)


def _digest(form: msgspec.Struct) -> Digest:
    # Text, integers and booleans only, so sorted fields are canonical JSON.
    return sha256(msgspec.json.encode(form, order="sorted"))


def _one_of(setting: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        _refuse(f"{setting} is one of {', '.join(allowed)}")


def _within(setting: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        _refuse(f"{setting} is a whole number from {low} to {high}")


def _distinct(setting: str, names: tuple[str, ...], count_max: int) -> None:
    if not 1 <= len(names) <= count_max:
        _refuse(f"{setting} has 1 to {count_max} entries; write a single one as ({setting[:-1]},)")
    if len(set(names)) != len(names):
        _refuse(f"{setting} has the same name twice")


def _refuse(message: str) -> NoReturn:
    raise StudyFault(StudyFaultKind.NOT_LOADABLE, f"study file: {message}")
