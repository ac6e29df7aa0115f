"""Inside a study's process: a simulation of it, with all its members.

It runs behind the same walls, with the same limits and the same number of threads as at a site, so
it gives the same bits, and a study that misbehaves hurts nobody before it has been seen anywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, TypeVar, assert_never, final

import numpy as np

from comity.errors import Misconfigured, StudyFault, StudyFaultKind
from comity.learning.fitting import contract_text
from comity.learning.loading import LoadedStudy
from comity.learning.local import Learned, Shared, fine_tuned, first_kept, first_shared, learn
from comity.learning.partition import by_column, dirichlet, even
from comity.learning.seeds import training_seed, tuning_seeds
from comity.learning.simulate import Simulation, Terms
from comity.learning.steps import Float32Array, flush_to_zero_fault
from comity.learning.study import contract_of
from comity.learning.tables import Table
from comity.learning.training import generator
from comity.node.sandbox_calls import NoSum, measured, read_bytes, read_file
from comity.node.sandbox_wire import WORD_BYTES, Failed, RoundSimulated, Simulate, Unfit
from comity.values import MemberId

T = TypeVar("T")


class Guard(Protocol):
    """Calls, and turns whatever is raised into how it failed."""

    def __call__(self, call: Callable[[], T], /) -> T | Unfit | Failed: ...


@final
class KeptOfMembers:
    """What simulated members keep from round to round: one file, with a place for each of them.

    In a file, so that memory does not grow with the members. One that has none yet begins as
    everybody does, as at a site.

    Args:
        file: is there, and the process may write to it.
        first: what everybody begins with, float32.
    """

    def __init__(self, file: Path, first: Float32Array, members: Iterable[MemberId]) -> None:
        self._file = file
        self._first = first
        self._places = {member: place for place, member in enumerate(members)}
        self._there: set[MemberId] = set()

    def of(self, member: MemberId) -> Float32Array:
        """What the member starts from; not to be changed."""
        if member not in self._there:
            return self._first
        return np.fromfile(self._file, "<f4", len(self._first), offset=self._offset(member))

    def put(self, member: MemberId, kept: Float32Array) -> None:
        """Let the member start from this in its next round."""
        if not len(self._first):
            return
        with self._file.open("r+b") as file:
            file.seek(self._offset(member))
            file.write(kept.astype("<f4", copy=False).data)
        self._there.add(member)

    def _offset(self, member: MemberId) -> int:
        return WORD_BYTES * len(self._first) * self._places[member]


@final
class SimulationRun:
    """A simulation with its members' tables in memory, each row once.

    After a round that raises it is over: members have kept what no sum has.

    Args:
        kept: file for what members keep.
    Raises:
        StudyFault, DoesNotFit, Misconfigured, DataFault: no members can be made of these tables.
    """

    def __init__(
        self,
        loaded: LoadedStudy,
        tables: tuple[Path, ...],
        kept: Path,
        wanted: Simulate,
        guard: Guard,
    ) -> None:
        fault = flush_to_zero_fault()
        if fault is not None:
            raise StudyFault(StudyFaultKind.CODE_FAILED, fault)
        study = dataclasses.replace(loaded.study, seed=wanted.seed)
        self._loaded = dataclasses.replace(loaded, study=study)
        self._guard = guard
        self._members = _members(loaded, tables, wanted)
        self._failed: dict[MemberId, Failed] = {}
        self._kept = KeptOfMembers(kept, first_kept(self._loaded), self._members)
        self._simulation = Simulation(
            study,
            first_shared(self._loaded),
            self.rows,
            Terms(wanted.sampled, wanted.secure, wanted.survivors_min, wanted.cyclic),
            self._train,
        )

    @property
    def rows(self) -> dict[MemberId, int]:
        """How many rows each member has."""
        return {member: len(table) for member, table in self._members.items()}

    @property
    def model(self) -> Float32Array:
        """The newest model, flat."""
        return self._simulation.shared.model

    def round(self, *, evaluate: bool) -> RoundSimulated:
        """The next round; with `evaluate`, metrics of the model after it at every member."""
        self._failed = {}
        try:
            done = self._simulation.round()
        except StudyFault:
            if not self._failed:
                raise
            raise NoSum(next(iter(self._failed.values()))) from None
        metrics: dict[MemberId, dict[str, float]] = {}
        tuned: dict[MemberId, dict[str, float]] = {}
        for member, table in self._members.items() if evaluate else ():
            if self._loaded.study.kind == "evaluate" and member in self._failed:
                continue  # evaluating was its update
            kept = self._kept.of(member)
            metrics[member] = measured(self._loaded, self.model, kept, table)
            if self._loaded.study.fine_tuning:
                tuned[member] = self._tuned(member, kept)
        return RoundSimulated(
            done.round_no, len(done.roster), self._failed, done.model, metrics, tuned
        )

    def _tuned(self, member: MemberId, kept: Float32Array) -> dict[str, float]:
        """Metrics of the member's fine-tuned copy of the newest model, as at a site."""
        study, table = self._loaded.study, self._members[member]
        seeds = tuning_seeds(training_seed(study.seed, member, 0), study.fine_tuning)
        copy = fine_tuned(self._loaded, table, self.model, kept, seeds)
        return measured(self._loaded, *copy, table)

    def _train(
        self, member: MemberId, shared: Shared, seed: bytes
    ) -> tuple[Float32Array, int] | None:
        found = self._guard(lambda: self._learned(member, shared, seed))
        match found:
            case Failed():
                self._failed[member] = found
                return None
            case Unfit():
                raise AssertionError("tables were read before the first round")
            case _:
                self._kept.put(member, found.kept)
                return found.update, found.example_count

    def _learned(self, member: MemberId, shared: Shared, seed: bytes) -> Learned:
        kept = self._kept.of(member)
        return learn(self._loaded, self._members[member], shared, kept, generator(seed))


def _members(
    loaded: LoadedStudy, tables: tuple[Path, ...], wanted: Simulate
) -> dict[MemberId, Table]:
    """Each member's table. Dice of the split come from its own seed, so all runs have the same."""
    contract, dice = contract_of(loaded.study), np.random.default_rng(wanted.split_seed)
    match wanted.split:
        case "files":
            found = [read_file(contract, path).table for path in tables]
            return dict(zip(wanted.names, found, strict=True))
        case "column":
            raw = contract_text(contract, tables[0].read_bytes(), wanted.column)
            parts = by_column(raw, wanted.column, tables[0].name)
            return {
                member: read_bytes(contract, raw, f"{tables[0].name}, {member}").table
                for member, raw in sorted(parts.items())
            }
        case "even":
            return even(read_file(contract, tables[0]).table, wanted.members, dice)
        case "dirichlet":
            labels = [column for column in contract.columns if column.kind == "label"]
            if not labels:
                raise Misconfigured("a Dirichlet draw needs a column of kind label in the study")
            table = read_file(contract, tables[0]).table
            return dirichlet(table, labels[0], wanted.members, wanted.alpha, dice)
        case _:
            assert_never(wanted.split)
