"""What a node and a study's process say to each other: one JSON line each way, strictly typed.

A reply holds numbers, names of a fixed form and codes; no text of the study fits in one. Vectors
travel as files in the work folder.
"""

from __future__ import annotations

from typing import Final, Literal, final

import msgspec

from comity.errors import Raised, StudyFaultKind
from comity.learning.local import ROWS_MAX
from comity.learning.study import METRICS_MAX, NAME, Contract, StudyCard, card_fault
from comity.values import Digest, MemberId, is_digest, is_slug

MODEL_FILE: Final = "model.safetensors"
"""In: the model before; the node writes it."""

VECTOR_FILE: Final = "update.f32"
"""Out: a flat vector in layout order, little-endian float32: an update, or a first model."""

CONTROL_FILE: Final = "control.f32"
"""In: c of SCAFFOLD, flat; the node writes it when the study has one."""

KEPT_FILE: Final = "kept.f32"
"""In and out: what this site keeps from round to round, flat; empty before its first round."""

NOTES_FILE: Final = "notes.txt"
"""What the study printed and the text of its errors; for the owner of the site only."""

LINE_BYTES_MAX: Final = 2**21
WORD_BYTES: Final = 4


Split = Literal["files", "column", "even", "dirichlet"]


@final
class Describe(msgspec.Struct, frozen=True, tag="describe"):
    """Load the study file and say what it declares."""


@final
class Initial(msgspec.Struct, frozen=True, tag="initial"):
    """Write the first model of the declared seed to `update.f32`."""


@final
class CheckData(msgspec.Struct, frozen=True, tag="check-data"):
    """Read the data file and check it against the declared columns."""


@final
class Train(msgspec.Struct, frozen=True, tag="train"):
    """Train from `model.safetensors`; write after minus before to `update.f32`, and `kept.f32`.

    `seed`: 64 hex digits, from (study seed, member, round).
    """

    seed: str


@final
class Evaluate(msgspec.Struct, frozen=True, tag="evaluate"):
    """Evaluate `model.safetensors` on this site's data."""


@final
class Alone(msgspec.Struct, frozen=True, tag="alone"):
    """From `model.safetensors`, train this site alone for `rounds`, then evaluate that model."""

    seed: str
    rounds: int


@final
class FineTune(msgspec.Struct, frozen=True, tag="fine-tune"):
    """Train `model.safetensors` and `kept.f32` on for `rounds`, for this site only; evaluate it.

    The tuned model is in `update.f32` and `kept.f32` then.
    """

    seed: str
    rounds: int


@final
class AskContract(msgspec.Struct, frozen=True, tag="contract"):
    """Say what every member's table must have."""


@final
class Simulate(msgspec.Struct, frozen=True, tag="simulate", kw_only=True):
    """Make members out of the tables, and begin with the first model.

    split: how; names: of the members, when the tables are files of theirs; column: whose cells
    name the member. seed: of the study in this run; the members are parted by `split_seed`.
    sampled, secure, survivors_min, cyclic: as in `learning.simulate.Terms`.
    """

    split: Split
    members: int
    seed: int
    split_seed: int
    names: tuple[MemberId, ...] = ()
    column: str = ""
    alpha: float = 1.0
    sampled: int = 0
    secure: bool = False
    survivors_min: int = 0
    cyclic: bool = False


@final
class SimulateRound(msgspec.Struct, frozen=True, tag="simulate-round"):
    """Run the next round; with `evaluate`, try the model after it on every member's table too.

    `keep`: write that model to `update.f32`.
    """

    evaluate: bool
    keep: bool


Request = (
    Describe
    | Initial
    | CheckData
    | Train
    | Evaluate
    | Alone
    | FineTune
    | AskContract
    | Simulate
    | SimulateRound
)


@final
class Described(msgspec.Struct, frozen=True, tag="described", forbid_unknown_fields=True):
    """Answer to `Describe`."""

    card: StudyCard


@final
class Initialised(msgspec.Struct, frozen=True, tag="initialised", forbid_unknown_fields=True):
    """Answer to `Initial`: `update.f32` holds `words` numbers."""

    words: int


@final
class Checked(msgspec.Struct, frozen=True, tag="checked", forbid_unknown_fields=True):
    """Answer to `CheckData`: rows in the file, and how many were dropped as declared."""

    rows_count: int
    dropped_count: int


@final
class Trained(msgspec.Struct, frozen=True, tag="trained", forbid_unknown_fields=True):
    """Answer to `Train`: `update.f32` holds `words` numbers, learned from `example_count` rows."""

    words: int
    example_count: int


@final
class Evaluated(msgspec.Struct, frozen=True, tag="evaluated", forbid_unknown_fields=True):
    """Answer to `Evaluate`, `Alone`, `FineTune`: finite; a metric undefined here is absent."""

    metrics: dict[str, float]


@final
class Unfit(msgspec.Struct, frozen=True, tag="unfit", forbid_unknown_fields=True):
    """The data do not fit. `column`: place among the declared columns from 1; 0 is none."""

    row: int
    column: int
    problem_count: int


@final
class Failed(msgspec.Struct, frozen=True, tag="failed", forbid_unknown_fields=True):
    """The study failed. `line`: of the study file; 0 is unknown."""

    kind: StudyFaultKind
    line: int
    raised: Raised = Raised.NOTHING


@final
class Contracted(msgspec.Struct, frozen=True, tag="contracted", forbid_unknown_fields=True):
    """Answer to `AskContract`."""

    contract: Contract


@final
class Simulating(msgspec.Struct, frozen=True, tag="simulating", forbid_unknown_fields=True):
    """Answer to `Simulate`: rows of each member."""

    rows: dict[MemberId, int]


@final
class RoundSimulated(
    msgspec.Struct, frozen=True, tag="round-simulated", forbid_unknown_fields=True
):
    """Answer to `SimulateRound`: who took part, who failed and how, each member's metrics.

    tuned: metrics of each member's fine-tuned copy; empty when the study asks for none.
    """

    round_no: int
    roster_count: int
    failed: dict[MemberId, Failed]
    model: Digest
    metrics: dict[MemberId, dict[str, float]]
    tuned: dict[MemberId, dict[str, float]]


Result = (
    Described
    | Initialised
    | Checked
    | Trained
    | Evaluated
    | Contracted
    | Simulating
    | RoundSimulated
)
Reply = Result | Unfit | Failed

ANY_REPLY: Final[msgspec.json.Decoder[Reply]] = msgspec.json.Decoder(Reply)
_ANSWERS: Final[dict[type[Request], type[Result]]] = {
    Describe: Described,
    Initial: Initialised,
    CheckData: Checked,
    Train: Trained,
    Evaluate: Evaluated,
    Alone: Evaluated,
    FineTune: Evaluated,
    AskContract: Contracted,
    Simulate: Simulating,
    SimulateRound: RoundSimulated,
}


def answer_fault(asked: Request, result: Result) -> str | None:
    """Why a well-formed answer cannot be true, in words; None when it can."""
    if type(result) is not _ANSWERS[type(asked)]:
        return "the answer to another question"
    match result:
        case Described(card=card):
            fault = card_fault(card)
            return None if fault is None else f"a description out of bounds: {fault}"
        case Initialised():
            return None
        case Trained(example_count=count):
            return None if 1 <= count <= ROWS_MAX else "a number of rows out of range"
        case Checked(rows_count=rows, dropped_count=dropped):
            return None if 0 <= dropped < rows <= ROWS_MAX else "a number of rows out of range"
        case Evaluated(metrics=metrics):
            return None if _plain(metrics) else "metrics without plain names"
        case Contracted() | Simulating():
            return None
        case RoundSimulated(metrics=each, tuned=tuned, failed=failed, model=model):
            names = all(map(is_slug, (*each, *tuned, *failed))) and is_digest(model)
            plain = all(map(_plain, (*each.values(), *tuned.values())))
            return None if names and plain else "metrics without names"


def _plain(metrics: dict[str, float]) -> bool:
    named = all(NAME.match(name) is not None for name in metrics)
    return named and len(metrics) <= METRICS_MAX
