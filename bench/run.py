"""Measures what the software promises about speed, size and sameness, and prints one table.

    python -m bench.run [--quick] [--only NAME ...] [--folder DIR]

All but sim, simulate and govern run in real processes on loopback, each next to its floor in the
same run. NAME is one of `NAMES`. The exit status says only whether it could be measured.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn, final

from rich.console import Console

from bench.arithmetic import measure_arithmetic
from bench.floor import measure_floor
from bench.govern import govern_rows
from bench.machine import Broken, Party
from bench.plain import train_plain
from bench.replay import MORE
from bench.rounds import TABLE, WORD_BYTES, Measured, measure_rounds, write_study
from bench.sim import measure_sim
from bench.simulate import compare
from bench.sizes import (
    DEARER_MAX,
    FLOORS_MAX,
    FULL,
    HOST_VECTORS_APART_MAX,
    HOST_VECTORS_MAX,
    JOIN_S_MAX,
    NODE_VECTORS_MAX,
    QUICK,
    QUIET_LOAD,
    REPLAY_S_MAX,
    ROUND_S_MAX,
    SIMULATED_MAX,
    SIMULATED_PER_S_MIN,
    STORM_EVERY_S,
    TAKEOVER_S_MAX,
    Sizes,
)
from bench.storm import measure_storm
from bench.table import Row, about, in_vectors, print_rows, processor_times, spread
from bench.torch_rounds import torch_rows
from comity.values import words_of_vector


@final
@dataclass(slots=True)
class Bench:
    """One run: where it works, what it has measured so far, and how it speaks."""

    sizes: Sizes
    folder: Path
    console: Console
    notes: list[str] = field(default_factory=list)
    _big: Measured | None = None

    def small(self) -> list[Row]:
        """A round of a small model, in seconds."""
        sizes = self.sizes
        floor, measured = self._beside_floor("small", sizes.small, sizes.small_rounds)
        seconds, least = statistics.median(measured.seconds), statistics.median(floor)
        return [
            Row(
                f"secure, verified round: {about(sizes.members, sizes.small)}",
                spread(measured.seconds),
                spread(floor),
                f"{seconds / least:.1f}",
                f"at most {ROUND_S_MAX:.2f} s",
                seconds <= ROUND_S_MAX,
            )
        ]

    def big(self) -> list[Row]:
        """A round of a big model, against the floor."""
        sizes = self.sizes
        floor, measured = self._beside_floor("big", sizes.big, sizes.big_rounds)
        self._big = measured
        least = statistics.median(floor)
        ratio = statistics.median(measured.seconds) / least
        alone = measure_arithmetic(sizes.members, sizes.big)
        cores = os.cpu_count() or 1
        bound_s = (sizes.members * alone.member_s + alone.host_s) / cores
        self.notes.append(
            f"big: the protocol's arithmetic alone is {1000 * alone.member_s:.0f} ms a member"
            f" (SHA-256 and AES of the library: {1000 * alone.prescribed_s:.0f} ms) and"
            f" {1000 * alone.host_s:.0f} ms at the host; {sizes.members} members on {cores} cores"
            f" take {bound_s:.2f} s for it, with the floor {bound_s + least:.2f} s or"
            f" {(bound_s + least) / least:.1f} floors, before log, disk, statements and waiting"
        )
        return [
            Row(
                f"secure, verified round: {about(sizes.members, sizes.big)}",
                spread(measured.seconds),
                spread(floor),
                f"{ratio:.1f}",
                f"at most {FLOORS_MAX} floors",
                ratio <= FLOORS_MAX,
            )
        ]

    def memory(self) -> list[Row]:
        """Peaks of host and nodes, with few and with many members."""
        sizes = self.sizes
        few = self._big or self._rounds("memory", sizes.members, sizes.big, sizes.many_rounds)
        many = self._rounds("memory", sizes.many, sizes.big, sizes.many_rounds)
        vector = WORD_BYTES * sizes.big
        hosts = [measured.host.peak_bytes / vector for measured in (few, many)]
        nodes = [max(n.peak_bytes for n in measured.nodes) / vector for measured in (few, many)]
        if not (few.peaks_reset and many.peaks_reset):
            self.notes.append("peaks count from the start of each process: no reset allowed here")
        counts = f"{sizes.members} and {sizes.many} members"
        what = f"{vector / 1e6:.4g} MB, {counts}"
        same = abs(hosts[0] - hosts[1]) <= HOST_VECTORS_APART_MAX
        return [
            Row(
                f"peak memory of the host above idle, {what}",
                in_vectors(hosts),
                "",
                "",
                f"at most {HOST_VECTORS_MAX} vectors, the same (within {HOST_VECTORS_APART_MAX})",
                max(hosts) <= HOST_VECTORS_MAX and same,
            ),
            Row(
                f"peak memory of a node above idle (the largest), {what}",
                in_vectors(nodes),
                "",
                "",
                f"at most {NODE_VECTORS_MAX} vectors",
                max(nodes) <= NODE_VECTORS_MAX,
            ),
        ]

    def replay(self) -> list[Row]:
        """A log from its first entry, and what comes afterwards."""
        count = self.sizes.statements
        self.console.print(f"replay: making and replaying {count:,} statements")
        arguments = ["bench.replay", str(count)]
        party = Party("replay", arguments, self.folder / "replay.notes")
        try:
            whole = float(party.wait_for("whole", limit_s=900).text)
            more = float(party.wait_for("more", limit_s=60).text)
        finally:
            party.stop()
        each, each_more = whole / count, more / MORE
        return [
            Row(
                f"replaying a log of {count:,} statements",
                f"{whole:.2f} s",
                "",
                "",
                f"at most {REPLAY_S_MAX:.0f} s",
                whole <= REPLAY_S_MAX,
            ),
            Row(
                f"{MORE:,} more statements afterwards",
                f"{more:.3f} s",
                "",
                f"{each_more / each:.2f} of one replayed",
                "incremental: only they are paid for",
                each_more <= DEARER_MAX * each,
            ),
        ]

    def takeover(self) -> list[Row]:
        """A forced change of host, and a newcomer with a long log to read."""
        count = self.sizes.statements
        self.console.print(f"takeover: five members, then joining at {count:,} statements")
        forced = self._told("takeover", "takeover", str(self.folder / "takeover"))
        joined = self._told("join", "join", str(self.folder / "join"), str(count))
        took_s, same = forced.split()
        return [
            Row(
                "forced take-over, 5 members, from the decision to the next accepted round",
                f"{float(took_s):.2f} s; final model {'the same' if same == 'True' else 'ANOTHER'}",
                "",
                "",
                f"at most {TAKEOVER_S_MAX:.0f} s, the same bits",
                float(took_s) <= TAKEOVER_S_MAX and same == "True",
            ),
            Row(
                f"joining a commons of {count:,} statements, to a fully verified state",
                f"{float(joined):.2f} s",
                "",
                "",
                f"at most {JOIN_S_MAX:.0f} s",
                float(joined) <= JOIN_S_MAX,
            ),
        ]

    def _told(self, event: str, *arguments: str) -> str:
        party = Party(event, ["bench.takeover", *arguments], self.folder / f"{event}.notes")
        try:
            return party.wait_for(event, limit_s=1_800).text
        finally:
            party.stop()

    def same(self) -> list[Row]:
        """Secure aggregation on and off."""
        sizes = self.sizes
        measured = self._rounds("same", sizes.members, sizes.small, sizes.many_rounds)
        rounds = len(measured.models)
        study = write_study(self.folder / "plain.py", sizes.small, rounds)
        plain = train_plain(study, TABLE, measured.members, rounds)
        return [
            Row(
                f"model after {rounds} rounds, secure aggregation on and off",
                f"{measured.models[-1][:12]}, {plain.models[-1][:12]}",
                "",
                "",
                "the same bits",
                measured.models == plain.models,
            ),
            Row(
                "the same against training without quantising",
                f"{plain.apart:.2g} apart",
                "",
                "",
                f"at most {plain.apart_max:.2g}, as declared",
                plain.apart <= plain.apart_max,
            ),
        ]

    def storm(self) -> list[Row]:
        """Rounds while programs are killed."""
        sizes = self.sizes
        self.console.print(
            f"storm: {sizes.storm_rounds} rounds, a kill every {STORM_EVERY_S:.0f} s"
        )
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            try:
                found = measure_storm(
                    Path(place),
                    members=sizes.storm_members,
                    rounds=sizes.storm_rounds,
                    every_s=STORM_EVERY_S,
                    seed=1,
                    limit_s=60 + 30 * sizes.storm_rounds,
                )
            except AssertionError as error:
                raise Broken(str(error)) from None
        accepted = len(found.models)
        return [
            Row(
                f"kill -9 every {STORM_EVERY_S:.0f} s: {sizes.storm_members} members and the host",
                f"{accepted} of {accepted} rounds, {found.attempts} attempts,"
                f" {found.kills.total()} kills in {found.seconds:.0f} s",
                "",
                "",
                "every first attempt accepted, the same bits",
                found.harmless,
            )
        ]

    def sim(self) -> list[Row]:
        """Whole rounds of a simulated world, in one process."""
        members, rounds = 4, self.sizes.simulated
        measured = measure_sim(members=members, rounds=rounds)
        per_s = 1 / statistics.median(measured.seconds)
        self.notes.append(f"sim: own time of the dearest functions: {', '.join(measured.dearest)}")
        return [
            Row(
                f"simulated rounds, {members} members, a small model, all invariants",
                f"{per_s:.1f} rounds a second of one core; {spread(measured.seconds)}",
                "",
                "",
                f"at least {SIMULATED_PER_S_MIN:.0f} a second",
                per_s >= SIMULATED_PER_S_MIN,
            )
        ]

    def simulate(self) -> list[Row]:
        """A simulation against a bare loop that does the same local steps."""
        sizes = self.sizes
        found = compare(sizes.partitions, sizes.partition_rounds)
        ratio = statistics.median(found.simulated) / statistics.median(found.bare)
        rounds = f"{sizes.partition_rounds} rounds"
        return [
            Row(
                f"a simulated round, processor time: {about(sizes.partitions, found.parameters)}",
                spread(found.simulated),
                f"bare loop {spread(found.bare)}",
                f"{ratio:.3f}",
                f"at most {SIMULATED_MAX} of the loop",
                ratio <= SIMULATED_MAX,
            ),
            Row(
                f"its model after each of {rounds}, beside a loop that quantises",
                "the same bits" if found.same else "other bits",
                "",
                "",
                "the same bits",
                found.same,
            ),
            Row(
                f"the same after {rounds}, beside the bare loop",
                f"{found.apart:.2g} apart",
                "",
                "",
                f"at most {found.apart_max:.2g}",
                found.apart <= found.apart_max,
            ),
        ]

    def _beside_floor(
        self, name: str, parameters: int, rounds: int
    ) -> tuple[list[float], Measured]:
        """The floor before and after, so that a change of the machine hits both alike."""
        floor = self._floor(name, parameters)
        measured = self._rounds(name, self.sizes.members, parameters, rounds)
        floor += self._floor(name, parameters)
        self.notes.append(f"{name}: processor time per round: {processor_times(measured)}")
        return floor, measured

    def _floor(self, name: str, parameters: int) -> list[float]:
        sizes, words = self.sizes, words_of_vector(parameters)
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            found = measure_floor(
                Path(place), words=words, clients=sizes.members, rounds=sizes.floor_rounds + 1
            )
        self.console.print(f"{name}: floor {spread(found)}")
        return found

    def _rounds(self, name: str, members: int, parameters: int, rounds: int) -> Measured:
        title = f"{name}, {members} members"
        self.console.print(f"{title}: starting {members + 1} processes")
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            return measure_rounds(
                Path(place),
                members=members,
                parameters=parameters,
                rounds=rounds + 1,
                say=lambda line: self.console.print(f"{title}: {line}"),
            )


NAMES: Final[dict[str, Callable[[Bench], list[Row]]]] = {
    "small": Bench.small,
    "big": Bench.big,
    "memory": Bench.memory,
    "replay": Bench.replay,
    "takeover": Bench.takeover,
    "same": Bench.same,
    "storm": Bench.storm,
    "sim": Bench.sim,
    "simulate": Bench.simulate,
    "govern": lambda bench: govern_rows(bench.sizes, bench.notes),
    "torch": lambda bench: torch_rows(bench.folder, bench.sizes, bench.console.print, bench.notes),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print; 0 when everything could be measured, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="bench.run", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only that it runs")
    parser.add_argument("--only", action="append", choices=list(NAMES), help="may be repeated")
    parser.add_argument("--folder", type=Path, help="where to work; default: the system's temp")
    chosen = parser.parse_args(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    load = os.getloadavg()[0]
    console.print(f"{os.cpu_count()} cores, load {load:.2f} at the start")
    if load > QUIET_LOAD:
        console.print("WARNING: other jobs run on this machine; times will be too long")
    rows: list[Row] = []
    failed = False
    with tempfile.TemporaryDirectory(prefix="comity-bench-", dir=chosen.folder) as folder:
        bench = Bench(QUICK if chosen.quick else FULL, Path(folder), console)
        for name, measure in NAMES.items():
            if chosen.only and name not in chosen.only:
                continue
            try:
                rows += measure(bench)
            except Broken as error:
                failed = True
                console.print(f"{name}: NOT MEASURED: {error}")
    print_rows(console, rows, bench.notes, judged=not chosen.quick)
    return 1 if failed else 0


def _leave(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)  # through every `finally`: processes stopped, folder removed


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _leave)
    sys.exit(main())
