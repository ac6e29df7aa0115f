"""Inside a study's process: a simulation of it, with all its members.

It runs behind the same walls, with the same limits and the same number of threads as at a site, so
it gives the same bits, and a study that misbehaves hurts nobody before it has been seen anywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar, assert_never, final

import numpy as np

from comity.errors import Misconfigured, StudyFault, StudyFaultKind
from comity.learning.model import to_flat
from comity.learning.partition import by_column, dirichlet, even
from comity.learning.simulate import Simulation, Terms
from comity.learning.steps import Float32Array, flush_to_zero_fault
from comity.learning.study import LoadedStudy, contract_of, layout_of
from comity.learning.tables import Table
from comity.node.sandbox_calls import NoSum, learned, measured, read_bytes, read_file
from comity.node.sandbox_wire import Failed, RoundSimulated, Simulate, Unfit
from comity.values import MemberId

T = TypeVar("T")


class Guard(Protocol):
    """Calls, and turns whatever is raised into how it failed."""

    def __call__(self, call: Callable[[], T], /) -> T | Unfit | Failed: ...


@final
class SimulationRun:
    """A simulation with its members' tables in memory, each row once.

    Raises:
        StudyFault, DoesNotFit, Misconfigured, DataFault: no members can be made of these tables.
    """

    def __init__(
        self, loaded: LoadedStudy, tables: tuple[Path, ...], wanted: Simulate, guard: Guard
    ) -> None:
        fault = flush_to_zero_fault()
        if fault is not None:
            raise StudyFault(StudyFaultKind.CODE_FAILED, fault)
        self._loaded = loaded
        self._layout = layout_of(loaded.study)
        self._guard = guard
        self._members = _members(loaded, tables, wanted)
        self._failed: dict[MemberId, Failed] = {}
        study = dataclasses.replace(loaded.study, seed=wanted.seed)
        self._simulation = Simulation(
            study,
            to_flat(self._layout, loaded.initial(study.seed)),
            self.rows,
            Terms(wanted.sampled, wanted.secure, wanted.survivors_min, wanted.cyclic),
            self._train,
        )

    @property
    def rows(self) -> dict[MemberId, int]:
        """How many rows each member has."""
        return {member: len(table) for member, table in self._members.items()}

    @property
    def flat(self) -> Float32Array:
        """The newest model."""
        return self._simulation.flat

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
        for member, table in self._members.items() if evaluate else ():
            metrics[member] = measured(self._loaded, self._layout, self.flat, table)
        return RoundSimulated(done.round_no, len(done.roster), self._failed, done.model, metrics)

    def _train(
        self, member: MemberId, before: Float32Array, seed: bytes
    ) -> tuple[Float32Array, int] | None:
        found = self._guard(lambda: self._learned(self._members[member], before, seed))
        match found:
            case Failed():
                self._failed[member] = found
                return None
            case Unfit():
                raise AssertionError("tables were read before the first round")
            case _:
                return found

    def _learned(self, table: Table, before: Float32Array, seed: bytes) -> tuple[Float32Array, int]:
        update, count = learned(self._loaded, self._layout, before, table, seed)
        if not np.isfinite(update).all():
            raise StudyFault(StudyFaultKind.NOT_FINITE, "an update is NaN or infinite")
        return update, count


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
            parts = by_column(tables[0].read_bytes(), wanted.column, tables[0].name)
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
