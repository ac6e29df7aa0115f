"""What a study file offers: one `STUDY` declaration and three plain functions.

A study is one short Python file that people read before they consent. It declares everything a
plan must agree on, and says how a member trains and evaluates:

    STUDY = Study(name=..., title=..., columns=(...), tensors=(...), rounds=15, rule=FedAdam(...))

    def initial(seed): ...                  # -> {tensor name: float32 array}
    def train(weights, table, rng): ...     # -> (weights after, number of rows learned from)
    def evaluate(weights, table): ...       # -> {metric name: number}

With `kind="evaluate"` a study has no `initial` and no `train`: `evaluate` then returns (metrics,
number of rows tested), of a model that is given when it is registered (`learning/given.py`).

With `method=FedProx(...)` or `Scaffold(...)`, `train` has a fourth parameter, `pull`
(`learning/methods/pull.py`).

Settings that are unknown or contradict each other are refused here, in a plain sentence. This
module runs no study code; `load` only picks the parts out of a namespace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, NoReturn, TypeVar, final, get_args

import msgspec

from comity.aggregation.layout import Layout, Segment, layout_fault
from comity.errors import Malformed, StudyFault, StudyFaultKind
from comity.learning.contracts import Contract as Contract
from comity.learning.contracts import Missing, form_digest, schema_digest
from comity.learning.given import METRICS_MAX as METRICS_MAX
from comity.learning.given import Metric, evaluate_fault, metric_tensors
from comity.learning.methods.cards import (
    FINE_TUNING_MAX,
    Method,
    MethodCard,
    method_card,
    method_of,
)
from comity.learning.names import NAME as NAME
from comity.learning.steps import FedAvg, Float32Array, Rule, RuleCard, rule_card, rule_of
from comity.learning.tables import Column
from comity.learning.tensors import CONTROL, Parts, model_part, parts_of, tensor_of
from comity.learning.tensors import Tensor as Tensor
from comity.statements.studies import UseTerms, use_fault
from comity.values import (
    INTEGER_MAX,
    SLUG_BYTES_MAX,
    TEXT_BYTES_MAX,
    VECTOR_WORDS_MAX,
    Digest,
    is_digest,
    is_slug,
)

Kind = Literal["train", "evaluate"]
Weights = Literal["equal", "declared", "hidden"]
Tensors = dict[str, Float32Array]
Chosen = TypeVar("Chosen", bound=str)

PLAIN: Final = FedAvg()
ROUNDS_MAX: Final = 10_000
WEIGHT_MAX: Final = 2**23
COLUMNS_MAX: Final = 10_000
TENSORS_MAX: Final = 4_096


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
        rule: the server step (`FedAvg`, `FedAdam`, `FedYogi`, `FedAdagrad`, `Momentum`,
            `Nesterov`).
        weights: "equal": each member counts 1; "declared": each counts the rows it says in the
            open; "hidden": each counts its rows, and nobody sees how many.
        weight_max: rows above it count as this many; 1 when weights are equal. Near the largest
            real count is best: the sum is then most precise.
        missing: "refuse" a table with empty cells, or "drop rows" that have one, as a step
            everybody can read.
        missing_texts: cells that count as empty, compared after blanks around them are cut off.
        strip_headers: whether blanks around names in the header line are cut off.
        seed: of the first model and, with member and round, of training.
        method: what members do beside plain local steps: `FedProx(mu)`, `Scaffold(steps, lr)`.
        fine_tuning: rounds of `train` that each member adds for itself, on its own copy of the
            newest model, when it evaluates; from 0 to 1000. That copy never leaves.
        use: what the result is for, `UseTerms(purpose=...)`, so that sites can compare it with what
            their data may be used for; None says nothing, and then people are asked.
        kind: "train", or "evaluate" a given model, whose tensors these are.
        metrics: what an evaluation sums; with `kind="evaluate"` only.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    tensors: tuple[Tensor, ...]
    rounds: int = 1
    rule: Rule = PLAIN
    weights: Weights = "declared"
    weight_max: int = 65_536
    missing: Missing = "refuse"
    missing_texts: tuple[str, ...] = ("",)
    strip_headers: bool = False
    seed: int = 0
    method: Method | None = None
    fine_tuning: int = 0
    use: UseTerms | None = None
    kind: Kind = "train"
    metrics: tuple[Metric, ...] = ()

    def __post_init__(self) -> None:
        _one_of("kind", self.kind, get_args(Kind))
        _one_of("weights", self.weights, get_args(Weights))
        _one_of("missing", self.missing, get_args(Missing))
        if not isinstance(self.rule, Rule):
            refuse(
                "rule is FedAvg(...), FedAdam(...), FedYogi(...), FedAdagrad(...), Momentum(...) or"
                " Nesterov(...)"
            )
        if self.method is not None and not isinstance(self.method, Method):
            refuse("method is FedProx(...) or Scaffold(...), or left out")
        if not is_slug(self.name):
            refuse(f"name has a-z, 0-9 and hyphens only, at most {SLUG_BYTES_MAX} of them")
        if not self.title.isprintable() or not 1 <= len(self.title.encode()) <= TEXT_BYTES_MAX:
            refuse(f"title is one printable line of at most {TEXT_BYTES_MAX} bytes")
        _within("rounds", self.rounds, 1, ROUNDS_MAX)
        _within("weight_max", self.weight_max, 1, WEIGHT_MAX)
        _within("seed", self.seed, 0, INTEGER_MAX)
        _within("fine_tuning", self.fine_tuning, 0, FINE_TUNING_MAX)
        if self.use is not None:
            _check_use(self.use)
        _distinct("columns", tuple(column.name for column in self.columns), COLUMNS_MAX)
        _distinct("tensors", tuple(tensor.name for tensor in self.tensors), TENSORS_MAX)
        forms = [source.name for column in self.columns for source in column.sources]
        if len({*forms, *(column.name for column in self.columns)}) < len(forms) + len(
            self.columns
        ):
            refuse("columns have two columns or sources of the same name")
        if sum(column.kind == "label" for column in self.columns) > 1:
            refuse("columns have more than one label; the others are categories")
        if self.weights == "equal" and self.weight_max != 1:
            refuse('weights="equal" needs weight_max=1: every member counts once')
        if self.weights != "equal" and self.weight_max == 1:
            refuse(f'weights="{self.weights}" needs weight_max above 1, or say weights="equal"')
        own = any(tensor.own for tensor in self.tensors)
        trains = self.rule != PLAIN or bool(self.method or self.fine_tuning or own)
        fault = evaluate_fault(self.kind, self.metrics, self.rounds, self.weights, trains=trains)
        if fault is not None:
            refuse(fault)
        if all(tensor.own for tensor in self.tensors):
            refuse("every tensor is a member's own: nothing is learned together")
        if len(self.parts.vector.segments) > TENSORS_MAX:
            refuse(f"Scaffold: at most {TENSORS_MAX // 2} shared tensors")
        words = sum(math.prod(tensor.shape) for tensor in self.tensors)
        if max(words, self.parts.vector.data_words) > VECTOR_WORDS_MAX - 8:
            refuse(
                f"the model has more than {VECTOR_WORDS_MAX - 8} numbers; with Scaffold it counts"
                " twice"
            )

    @property
    def parts(self) -> Parts:
        """Where each tensor goes; of an evaluation: each metric."""
        if self.kind == "evaluate":
            return parts_of(metric_tensors(self.metrics), None)
        return parts_of(self.tensors, self.method)

    @property
    def given(self) -> Layout:
        """Of the model that an evaluation is given; no segments otherwise."""
        return parts_of(self.tensors, None).whole if self.kind == "evaluate" else Layout(())


@final
class StudyCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a plan needs from a study file, in whole numbers and text.

    `schema` is the digest of the declared columns and the handling of missing cells. `parameters`
    is the digest of what determines an update besides code and model (R6): schema, layout with
    ranges, weights, seed, method. It leaves out name, title, rounds, rule, fine tuning and use,
    which change no update. `layout` is that of vectors; `own` are the tensors that are not in it.
    `given` are those of the model that a study of kind "evaluate" is given.
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
    method: MethodCard = MethodCard()
    own: tuple[Segment, ...] = ()
    use: UseTerms | None = None
    kind: Kind = "train"
    given: tuple[Segment, ...] = ()

    @property
    def model(self) -> Layout:
        """Of the model that the commons trains."""
        return model_part(self.layout)

    @property
    def kept_words(self) -> int:
        """Numbers a site keeps from round to round (learning/tensors.py)."""
        own = sum(segment.words for segment in self.own)
        return own + self.layout.data_words - self.model.data_words


class _ParametersForm(msgspec.Struct, frozen=True, omit_defaults=True):
    layout: Layout
    schema: str
    seed: int
    weight_max: int
    weights: str
    method: MethodCard = MethodCard()
    own: tuple[Segment, ...] = ()
    kind: str = "train"
    given: tuple[Segment, ...] = ()


def card_fault(card: StudyCard) -> str | None:
    """Why no study file can declare this, in words; None when one can."""
    try:
        rule = rule_of(card.rule)
        fault = layout_fault(card.layout)
        if fault is not None:
            return fault
        control = [each for each in card.layout.segments if each.name.startswith(CONTROL)]
        evaluates = card.kind == "evaluate"
        shared = tuple(
            tensor_of(each) for each in (card.given if evaluates else card.model.segments)
        )
        segments = card.layout.segments if evaluates else ()
        study = Study(
            name=card.name,
            title=card.title,
            columns=tuple(Column(name) for name in card.columns),
            tensors=(*shared, *(tensor_of(segment, own=True) for segment in card.own)),
            rounds=card.rounds,
            rule=rule,
            weights=card.weights,
            weight_max=card.weight_max,
            seed=card.seed,
            method=method_of(card.method, control[0].range_max if control else 1.0),
            fine_tuning=card.method.fine_tuning,
            use=card.use,
            kind=card.kind,
            metrics=tuple(Metric(each.name, each.range_max) for each in segments),
        )
    except (Malformed, StudyFault) as error:
        return str(error)
    if (
        study.parts.vector != card.layout
        or len(card.own) != card.method.own
        or (study.given.segments != card.given)
    ):
        return "the layout is not the one that tensors and method give"
    if not (is_digest(card.schema) and is_digest(card.parameters)):
        return "a digest is 64 lower-case hex digits"
    return None


def contract_of(study: Study) -> Contract:
    """The study's contract about tables."""
    return Contract(study.columns, study.missing, study.missing_texts, study.strip_headers)


def describe(study: Study) -> StudyCard:
    """The study as a plan carries it."""
    layout = study.parts.vector
    schema = schema_digest(contract_of(study))
    own = study.parts.own.segments
    method = method_card(study.method, len(own), study.fine_tuning)
    parameters = form_digest(
        _ParametersForm(
            layout,
            schema,
            study.seed,
            study.weight_max,
            study.weights,
            msgspec.structs.replace(method, own=0, fine_tuning=0),
            own,
            study.kind,
            study.given.segments,
        )
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
        method=method,
        own=own,
        use=study.use,
        kind=study.kind,
        given=study.given.segments,
    )


def _check_use(use: UseTerms) -> None:
    try:
        fault = use_fault(msgspec.convert(msgspec.to_builtins(use), UseTerms))
    except (msgspec.ValidationError, TypeError):
        fault = (
            "use is UseTerms(purpose=...) with general, health, disease or ancestry; its other"
            " fields are true or false, ontology terms such as MONDO:0004995, and a digest"
        )
    if fault is not None:
        refuse(fault)


def _one_of(setting: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        refuse(f"{setting} is one of {', '.join(allowed)}")


def _within(setting: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        refuse(f"{setting} is a whole number from {low} to {high}")


def _distinct(setting: str, names: tuple[str, ...], count_max: int) -> None:
    if not 1 <= len(names) <= count_max:
        refuse(f"{setting} has 1 to {count_max} entries; write a single one as ({setting[:-1]},)")
    if len(set(names)) != len(names):
        refuse(f"{setting} has the same name twice")


def refuse(message: str) -> NoReturn:
    """Raise StudyFault(NOT_LOADABLE): the study file cannot be taken as it is."""
    raise StudyFault(StudyFaultKind.NOT_LOADABLE, f"study file: {message}")
