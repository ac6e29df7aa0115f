"""What is said about data sets, studies and consent.

One class per tag; a tag never changes meaning, loses or gains a field. `about()` gives the
subjects of the in-toto statement; an empty tuple means the charter. Who may say what, and when
it is void, is decided in `commons/studies.py`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, final

from msgspec import Meta, Struct

from comity.statements.fields import (
    About,
    Count,
    DatasetField,
    DigestField,
    DiseaseField,
    Duration,
    Millionths,
    Positive,
    ReasonField,
    SealingKey,
    SlugField,
    StatementIdField,
    TextField,
    Words,
)
from comity.values import DISEASES_MAX, FAILURE_LINE_MAX, ROSTER_MAX, Digest

FailureKind = Literal[
    "bad-output",
    "code-failed",
    "data-do-not-fit",
    "limit-exceeded",
    "not-finite",
    "not-loadable",
    "weight-out-of-range",
    "wrong-shape",
]
RaisedKind = Literal[
    "nothing",
    "ArithmeticError",
    "AssertionError",
    "AttributeError",
    "ImportError",
    "IndexError",
    "KeyError",
    "MemoryError",
    "NameError",
    "OSError",
    "PermissionError",
    "RecursionError",
    "RuntimeError",
    "SyntaxError",
    "SystemExit",
    "TypeError",
    "ValueError",
    "ZeroDivisionError",
    "other",
]


@final
class DatasetDeclare(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An owner says that it has a data set, in this version. Said again for each new version.

    version: a salted hash of the bytes (the salt stays at the node), so that it tells nobody what
    is in it. unit: what one row stands for. A budget (epsilon in millionths, delta in
    trillionths) is the ceiling of all privacy events of the data set; none: no noise is asked for.
    """

    tag: ClassVar[str] = "dataset.declare"
    dataset: DatasetField
    unit: SlugField
    version: DigestField
    delta_trillionths: Count = 0
    epsilon_millionths: Millionths = 0
    title: TextField = ""

    def about(self) -> tuple[About, ...]:
        return (("dataset", self.version),)


@final
class UpdateRule(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the next model follows from the sum (learning/steps.py). fedavg uses server_lr only,
    momentum and nesterov beta1 too."""

    name: Literal["fedavg", "fedadam", "fedyogi", "fedadagrad", "momentum", "nesterov"]
    server_lr_millionths: Positive
    beta1_millionths: Annotated[int, Meta(ge=0, lt=1_000_000)] = 0
    beta2_millionths: Annotated[int, Meta(ge=0, lt=1_000_000)] = 0
    tau_trillionths: Count = 0


@final
class Method(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What members do at home beside plain local steps (learning/methods).

    own: tensors that stay at each member. fine_tuning: rounds each adds for itself. proximal: of
    fedprox. lr, steps: of scaffold's local steps.
    """

    fine_tuning: Count = 0
    lr_trillionths: Count = 0
    name: Literal["plain", "fedprox", "scaffold"] = "plain"
    own: Count = 0
    proximal_millionths: Millionths = 0
    steps: Count = 0


@final
class Deadlines(Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds after the `time` of round.open, in round time; each not before the one before it."""

    join_by_s: Duration
    ready_by_s: Duration
    resolve_by_s: Duration
    start_by_s: Duration
    commit_by_s: Duration
    confirm_by_s: Duration
    reveal_by_s: Duration
    end_by_s: Duration


@final
class Plan(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a study fixes for all its rounds (aggregation.md 4).

    colluders: c. survivors_min: u_min. words: L. code, layout, model, moments: digests of blobs
    (moments: the update rule's state, absent when it has none). parameters: digest of all else
    that determines an update. method: absent when members take plain local steps only. evaluates:
    digest of the blob of the model that is evaluated; absent when one is trained.
    """

    attempts_max: Annotated[int, Meta(ge=1, le=1_000)]
    code: DigestField
    colluders: Annotated[int, Meta(ge=1, le=ROSTER_MAX)]
    deadlines: Deadlines
    layout: DigestField
    model: DigestField
    parameters: DigestField
    rounds_max: Annotated[int, Meta(ge=1, le=100_000)]
    rule: UpdateRule
    survivors_min: Annotated[int, Meta(ge=1, le=ROSTER_MAX)]
    weight_max: Positive
    weights: Literal["equal", "declared", "hidden"]
    words: Words
    method: Method | None = None
    moments: DigestField | None = None
    evaluates: DigestField | None = None

    @property
    def blobs(self) -> tuple[Digest, ...]:
        """The blobs that every member needs before the first round."""
        named = (self.code, self.layout, self.model, self.moments, self.evaluates)
        return tuple(name for name in named if name is not None)


@final
class UseTerms(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a study's result is for, in the words of the Data Use Ontology (commons/use.py).

    What is left out is not declared, and sites ask a person about it. purpose: research in general,
    on health, on the diseases listed, or on population origins. commercial: whether anybody earns
    by it. non_profit: whether all who take part are not-for-profit. methods: whether it develops
    methods. ancestry: whether it studies population origins, beside another purpose. ethics: digest
    of the document with which an ethics board approved it.
    """

    purpose: Literal["general", "health", "disease", "ancestry"]
    ancestry: bool | None = None
    commercial: bool | None = None
    diseases: Annotated[tuple[DiseaseField, ...], Meta(max_length=DISEASES_MAX)] = ()
    ethics: DigestField | None = None
    methods: bool | None = None
    non_profit: bool | None = None


def use_fault(use: UseTerms) -> str | None:
    """Why these terms contradict themselves, and what to write instead; None when they do not."""
    if (use.purpose == "disease") != bool(use.diseases):
        return 'use: diseases are listed exactly when purpose = "disease"'
    if use.diseases != tuple(sorted(set(use.diseases))):
        return "use.diseases: each once, in alphabetical order"
    if use.purpose == "ancestry" and use.ancestry is False:
        return 'use.ancestry: leave it out, or say another purpose than "ancestry"'
    return None


@final
class StudyRegister(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A registered piece of joint work; its id is the id of this statement.

    use: what its result is for, as the study file declares it; absent when it declares nothing.
    """

    tag: ClassVar[str] = "study.register"
    name: SlugField
    plan: Plan
    title: TextField = ""
    use: UseTerms | None = None

    def about(self) -> tuple[About, ...]:
        return (
            ("code", self.plan.code),
            ("layout", self.plan.layout),
            ("model", self.plan.model),
            *((("evaluates", self.plan.evaluates),) if self.plan.evaluates else ()),
        )


@final
class ConsentGive(Struct, frozen=True, forbid_unknown_fields=True):
    """The owner lets a study use one version of a data set. exposed: it accepts that absences may
    show nearly its update (aggregation.md 5.10), so that the study need not wait for it."""

    tag: ClassVar[str] = "consent.give"
    dataset: DatasetField
    exposed: bool
    study: StatementIdField
    version: DigestField

    def about(self) -> tuple[About, ...]:
        return (("dataset", self.version), ("study", Digest(self.study)))


@final
class ConsentRefuse(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The owner says no."""

    tag: ClassVar[str] = "consent.refuse"
    study: StatementIdField
    reason: TextField = ""

    def about(self) -> tuple[About, ...]:
        return (("study", Digest(self.study)),)


@final
class ConsentWithdraw(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The owner takes its consent back; a Commit already sent may still be in a sum."""

    tag: ClassVar[str] = "consent.withdraw"
    study: StatementIdField
    reason: TextField = ""

    def about(self) -> tuple[About, ...]:
        return (("study", Digest(self.study)),)


@final
class StudyEnrol(Struct, frozen=True, forbid_unknown_fields=True):
    """A member takes part from the next attempt on; brings a sealing key. serial: 0, 1, 2, ..."""

    tag: ClassVar[str] = "study.enrol"
    sealing_key: SealingKey
    serial: Count
    study: StatementIdField

    def about(self) -> tuple[About, ...]:
        return (("study", Digest(self.study)),)


@final
class StudyLeave(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A member leaves a study by itself."""

    tag: ClassVar[str] = "study.leave"
    study: StatementIdField
    reason: TextField = ""

    def about(self) -> tuple[About, ...]:
        return (("study", Digest(self.study)),)


@final
class Checklist(Struct, frozen=True, forbid_unknown_fields=True):
    """What a reviewer found true of a study file, point by point (governance A7).

    columns: it reads only columns it declares. output: it gives out only the declared update or
    statistic. isolation: no network, files or subprocess. clipping: clipping and noise are the
    node's, not the study's. seed: its randomness comes from the given generator alone.
    """

    clipping: bool
    columns: bool
    isolation: bool
    output: bool
    seed: bool

    @property
    def complete(self) -> bool:
        """Whether every point holds."""
        return self.clipping and self.columns and self.isolation and self.output and self.seed


@final
class CodeReview(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """I read the study file with this hash. It approves when every point holds; else a reason says
    what does not. Said again, it replaces what its author said of this file before."""

    tag: ClassVar[str] = "code.review"
    checklist: Checklist
    code: DigestField
    reason: TextField = ""

    def about(self) -> tuple[About, ...]:
        return (("code", self.code),)


@final
class StudyPause(Struct, frozen=True, forbid_unknown_fields=True):
    """No round of the study opens or is joined for 72 hours of commons time, for this reason."""

    tag: ClassVar[str] = "study.pause"
    reason: ReasonField
    study: StatementIdField

    def about(self) -> tuple[About, ...]:
        return (("study", Digest(self.study)),)


@final
class StudyResume(Struct, frozen=True, forbid_unknown_fields=True):
    """I end my pause of the study before its time."""

    tag: ClassVar[str] = "study.resume"
    study: StatementIdField

    def about(self) -> tuple[About, ...]:
        return (("study", Digest(self.study)),)


@final
class StudyFail(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a study failed at its author's site in one attempt, where the site policy lets that be
    told (ADR 58): codes of fixed lists, and a line of the study file; 0: none. Never a text."""

    tag: ClassVar[str] = "study.fail"
    attempt: Positive
    kind: FailureKind
    round_no: Positive
    study: StatementIdField
    line: Annotated[int, Meta(ge=0, le=FAILURE_LINE_MAX)] = 0
    raised: RaisedKind = "nothing"

    def about(self) -> tuple[About, ...]:
        return (("study", Digest(self.study)),)


Studying = (
    DatasetDeclare
    | StudyRegister
    | ConsentGive
    | ConsentRefuse
    | ConsentWithdraw
    | StudyEnrol
    | StudyLeave
    | CodeReview
    | StudyPause
    | StudyResume
    | StudyFail
)
STUDYING: tuple[type[Studying], ...] = (
    DatasetDeclare,
    StudyRegister,
    ConsentGive,
    ConsentRefuse,
    ConsentWithdraw,
    StudyEnrol,
    StudyLeave,
    CodeReview,
    StudyPause,
    StudyResume,
    StudyFail,
)
