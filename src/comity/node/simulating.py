"""A study's rounds on this machine alone, in its sandbox: what `comity simulate` asks for.

The study's code runs behind the same walls as at a site, so trying a study of unknown origin hurts
nobody. The tables are this machine's own; nothing of this is a promise to anyone, and nothing is
said or sent.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
from msgspec import Struct

from comity.errors import DataFault, Misconfigured, Raised, StudyFault, StudyFaultKind
from comity.learning.given import from_sum
from comity.learning.parquet import table_as_parquet
from comity.learning.partition import named
from comity.learning.simulate import MEMBERS_MAX, Terms, check_count
from comity.learning.study import ROUNDS_MAX, Contract, StudyCard
from comity.learning.twin import ROWS_MAX, twin
from comity.node.isolation import Limits
from comity.node.planning import copy_given, read_study, write_model
from comity.node.sandbox import Sandbox
from comity.node.sandbox_faults import believed_line
from comity.node.sandbox_wire import (
    WORD_BYTES,
    AskContract,
    Contracted,
    RoundSimulated,
    Simulate,
    SimulateRound,
    Simulating,
    Split,
)
from comity.values import Digest, MemberId, SandboxPolicy

NOTES_SHOWN: Final = 2_000
"""Characters of the study's own words that its author is shown; all is on this machine."""

MEMBERS: Final = 10
LINES_SHOWN: Final = 6
"""Of what does not fit: `tables.PROBLEMS_SHOWN` and how many more there are."""

SEEDS_MAX: Final = 1_000
ALL: Final = Terms()
"""Everybody takes part, and updates are summed in the clear."""
_TWIN_ROWS_MIN: Final = 1_000
_TWIN_ROWS_EACH: Final = 20


@final
@dataclass(frozen=True, slots=True)
class Wanted:
    """What is simulated.

    Args:
        tables: files; several: each is a member, named by its file; none: rows are invented.
        members: how many, when one table is dealt out; 0: `MEMBERS`.
        rounds: 0: as many as the study has.
        column: whose cells name the member; "": no.
        alpha: of a Dirichlet draw over the label's classes; 0: rows are dealt evenly.
        split_seed: of dealing rows out and of inventing them.
        seeds: how many runs, with the study's own seed and the next ones.
        evaluate_every: rounds between evaluations; 0: after the last one only.
        terms: who takes part in a round, and whether sums go through the real aggregation.
        model: that a study of kind "evaluate" is given.
    """

    tables: tuple[Path, ...] = ()
    members: int = 0
    rounds: int = 0
    column: str = ""
    alpha: float = 0.0
    split_seed: int = 0
    seeds: int = 1
    evaluate_every: int = 0
    terms: Terms = ALL
    model: Path | None = None


@final
class MemberFailed(Struct, frozen=True):
    """A member that gave no update in a round. line: of the study file; 0: unknown."""

    round_no: int
    member: MemberId
    kind: StudyFaultKind
    line: int
    raised: Raised


@final
class RunSimulated(Struct, frozen=True):
    """One run. metrics: after a round, of each member; model: digest after the last one.

    tuned: as metrics, of each member's fine-tuned copy; empty when the study asks for none. pooled:
    of an evaluation, the metrics that all members together see; undefined ones are left out.
    """

    seed: int
    model: Digest
    metrics: dict[int, dict[MemberId, dict[str, float]]]
    failed: tuple[MemberFailed, ...]
    tuned: dict[int, dict[MemberId, dict[str, float]]]
    pooled: dict[str, float] = {}


@final
class Simulated(Struct, frozen=True, tag="simulated"):
    """A simulation. rows: of each member; invented: whether nobody's data were used."""

    name: str
    rounds: int
    roster: int
    secure: bool
    invented: bool
    rows: dict[MemberId, int]
    runs: tuple[RunSimulated, ...]
    weak: tuple[str, ...]


Tell = Callable[[int, int, int], None]
"""Told after each round: which run, from 0; which round, from 1; how many rounds."""


def contract_of_file(
    file: Path, work: Path, policy: SandboxPolicy, file_name: str
) -> tuple[Contract, tuple[str, ...]]:
    """What a study file declares about tables, and which walls are missing; no data are near.

    Args:
        file: the study file, or a copy. work: a folder of this call's own.
        file_name: as a person knows it.
    Raises:
        StudyFault: it does not load. Refused(SANDBOX_MISSING). Misconfigured: it cannot be read.
    """
    sandbox = Sandbox.start(file, None, work / "contract", policy=policy)
    try:
        contract = sandbox.ask(AskContract(), Contracted).contract
        return contract, sandbox.isolation.missing
    except StudyFault as fault:
        raise _with_words(fault, sandbox.notes_path, file_name) from None
    finally:
        sandbox.close()


def twin_of(contract: Contract, rows: int, seed: int, *, parquet: bool = False) -> bytes:
    """An invented table that fits a contract, comma-separated or as Parquet.

    Raises Misconfigured: too many rows, or none; or Parquet's writer is not installed.
    """
    if not 1 <= rows <= ROWS_MAX or seed < 0:
        raise Misconfigured(f"rows are 1 to {ROWS_MAX}, and a seed is a number from 0")
    text = twin(contract.columns, rows, np.random.default_rng(seed))
    return table_as_parquet(contract.columns, text) if parquet else text


def simulate(
    file: Path,
    wanted: Wanted,
    *,
    policy: SandboxPolicy = "require",
    limits: Limits | None = None,
    tell: Tell = lambda run, number, rounds: None,
    out: Path | None = None,
) -> Simulated:
    """Run a study file's rounds with all its members in one sandboxed process.

    Args:
        tell: told after each round.
        out: where the last run's model goes, as safetensors.
    Raises:
        StudyFault: with file and line; the study's own words are at the end of its message, for
            this is its author's machine. Refused(SANDBOX_MISSING).
        Misconfigured: a number that cannot be, or a file that cannot be read.
    """
    _check(wanted)
    with tempfile.TemporaryDirectory(prefix="comity-simulate-") as name:
        work = Path(name)
        study = work / "study.py"
        study.write_bytes(read_study(file))
        tables, limits = wanted.tables, limits or Limits()
        if not tables:
            contract, _ = contract_of_file(study, work, policy, file.name)
            rows = max(_TWIN_ROWS_MIN, _TWIN_ROWS_EACH * (wanted.members or MEMBERS))
            (work / "invented.csv").write_bytes(twin_of(contract, rows, wanted.split_seed))
            tables = (work / "invented.csv",)
        sandbox = Sandbox.start(
            study, tables[0], work / "sandbox", policy=policy, limits=limits, more_data=tables[1:]
        )
        try:
            return _simulated(sandbox, study, tables, wanted, limits, tell, out)
        except (StudyFault, DataFault) as fault:
            raise _with_words(fault, sandbox.notes_path, file.name) from None
        finally:
            sandbox.close()


def _simulated(
    sandbox: Sandbox,
    study: Path,
    tables: Sequence[Path],
    wanted: Wanted,
    limits: Limits,
    tell: Tell,
    out: Path | None,
) -> Simulated:
    card = sandbox.describe()
    _lay_out_given(card, wanted.model, sandbox)
    if wanted.terms.cyclic and (card.method.name == "scaffold" or card.kind == "evaluate"):
        raise Misconfigured(
            "SCAFFOLD needs the sum of control variates and evaluations need a sum; a cyclic"
            " order has none"
        )
    rounds = wanted.rounds or card.rounds
    runs: list[RunSimulated] = []
    rows: Mapping[MemberId, int] = {}
    for place in range(wanted.seeds):
        rows = sandbox.ask(_request(wanted, tables, card.seed + place), Simulating).rows
        _check_kept(card.kept_words, len(rows), limits)
        metrics: dict[int, dict[MemberId, dict[str, float]]] = {}
        tuned: dict[int, dict[MemberId, dict[str, float]]] = {}
        failed: list[MemberFailed] = []
        model = Digest("")
        for number in range(1, rounds + 1):
            last = number == rounds
            every = wanted.evaluate_every
            evaluate = last or (every > 0 and number % every == 0)
            done = sandbox.ask(SimulateRound(evaluate, keep=last), RoundSimulated)
            if evaluate:
                metrics[number] = done.metrics
            if done.tuned:
                tuned[number] = done.tuned
            failed += _failed(study, done)
            model = done.model
            tell(place, number, rounds)
        pooled = _pooled(card, sandbox)
        seed = card.seed + place
        runs.append(RunSimulated(seed, model, metrics, tuple(failed), tuned, pooled))
    if out is not None:
        write_model(card.model, sandbox.vector_path, out)
    return Simulated(
        name=card.name,
        rounds=rounds,
        roster=wanted.terms.sampled or len(rows),
        secure=wanted.terms.secure,
        invented=not wanted.tables,
        rows=dict(rows),
        runs=tuple(runs),
        weak=sandbox.isolation.missing,
    )


def _lay_out_given(card: StudyCard, model: Path | None, sandbox: Sandbox) -> None:
    """Put the model that an evaluation is given where its process reads it."""
    if model is not None:
        copy_given(card, model, sandbox.model_path)
    elif card.kind == "evaluate":
        raise Misconfigured("this study evaluates a given model: name it with --model")


def _pooled(card: StudyCard, sandbox: Sandbox) -> dict[str, float]:
    if card.kind != "evaluate":
        return {}
    return from_sum(card.model, np.fromfile(sandbox.vector_path, "<f4"))


def _check_kept(words: int, members: int, limits: Limits) -> None:
    """Raises Misconfigured when the file of what members keep would be longer than it may be."""
    size = WORD_BYTES * words * members
    if size > limits.file_bytes:
        raise Misconfigured(
            f"{members} members keep {size} bytes between rounds, at most {limits.file_bytes} may"
            " lie in a file: take fewer members, or fewer own tensors"
        )


def _request(wanted: Wanted, tables: Sequence[Path], seed: int) -> Simulate:
    split: Split = "even"
    names: tuple[MemberId, ...] = ()
    if len(tables) > 1:
        split, names = "files", tuple(named(table.stem) for table in tables)
        if len(set(names)) < len(names):
            raise Misconfigured("two files give the same member name: rename one")
    elif wanted.column:
        split = "column"
    elif wanted.alpha:
        split = "dirichlet"
    return Simulate(
        split=split,
        members=wanted.members or MEMBERS,
        seed=seed,
        split_seed=wanted.split_seed,
        names=names,
        column=wanted.column,
        alpha=wanted.alpha or 1.0,
        sampled=wanted.terms.sampled,
        secure=wanted.terms.secure,
        survivors_min=wanted.terms.survivors_min,
        cyclic=wanted.terms.cyclic,
    )


def _failed(study: Path, done: RoundSimulated) -> list[MemberFailed]:
    return [
        MemberFailed(done.round_no, member, how.kind, believed_line(study, how.line), how.raised)
        for member, how in sorted(done.failed.items())
    ]


def _with_words(
    fault: StudyFault | DataFault, notes: Path, file_name: str
) -> StudyFault | DataFault:
    """The fault with the study's own last words: its author runs it, on this machine's data."""
    words = notes.read_text(encoding="utf-8", errors="replace")[-NOTES_SHOWN:].strip()
    said = words.splitlines() or ["it said nothing"]
    if isinstance(fault, DataFault):
        return DataFault(f"does not fit what the study declares: {'; '.join(said[-LINES_SHOWN:])}")
    return StudyFault(
        fault.kind,
        f"the study failed here: {said[-1]}",
        f"{file_name}, line {fault.line}" if fault.line else file_name,
        line=fault.line,
        raised=fault.raised,
    )


def _check(wanted: Wanted) -> None:
    """Raises Misconfigured for numbers and flags that cannot be meant."""
    if not 0 <= wanted.members <= MEMBERS_MAX:
        raise Misconfigured(f"--members is at most {MEMBERS_MAX}, not {wanted.members}")
    if not 0 <= wanted.rounds <= ROUNDS_MAX:
        raise Misconfigured(f"--rounds is at most {ROUNDS_MAX}, not {wanted.rounds}")
    if not 1 <= wanted.seeds <= SEEDS_MAX or wanted.split_seed < 0:
        raise Misconfigured(f"--seeds is 1 to {SEEDS_MAX}, and --split-seed is from 0")
    if not 0 <= wanted.alpha <= 1e6:
        raise Misconfigured("--alpha is above 0, at most a million; 0.1 makes members unlike")
    parted = len(wanted.tables) > 1 or bool(wanted.column)
    if wanted.terms.cyclic and wanted.terms.secure:
        raise Misconfigured("a cyclic order has no sum that could be secure: leave --secure")
    if parted and (wanted.members or wanted.alpha):
        raise Misconfigured("files or a column say who the members are: leave --members, --alpha")
    if len(wanted.tables) > 1 and wanted.column:
        raise Misconfigured("give several files or one with --by, not both")
    if wanted.column and not wanted.tables:
        raise Misconfigured("--by names a column of a table: give the table with --data")
    if not wanted.column:
        count = len(wanted.tables) if len(wanted.tables) > 1 else wanted.members or MEMBERS
        check_count(wanted.terms, count)
