"""Measures secure, verified rounds of a real commons: one host and n nodes, each a process.

A round lasts from one accepted result to the next, as the hosting member's node sees them: Open,
Join, Ready, Start, training, Commit, Close, Confirm, Reveal, Accept, all signed and logged.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from tests.e2e.places import Places, found_places

from bench.machine import (
    Broken,
    Party,
    cpu_s,
    descendants,
    forget_peak,
    intervals,
    peak_bytes,
    require_room,
    rss_bytes,
)
from comity.node.keyfile import Unencrypted, write_keys
from comity.node.settings import NodeSettings, write_node_settings

Say = Callable[[str], None]
WORD_BYTES: Final = 4
STUDY: Final = Path(__file__).resolve().parents[1] / "src/comity/recipes/bench.py"
TABLE: Final = b"x\n1\n2\n3\n"
_FILES_PER_MEMBER: Final = 12
"""Vectors, sums and models of one member on disk, here and at the host, at most."""
_PROCESS_BYTES: Final = 150 * 2**20
_ROUND_S: Final = 60.0


@final
@dataclass(frozen=True, slots=True)
class Usage:
    """What one process took. peak_bytes: above what it held before the study was registered."""

    peak_bytes: int
    cpu_s_per_round: float


@final
@dataclass(frozen=True, slots=True)
class Measured:
    """What a run gave.

    seconds: of each round after the first. models: digest of the model after each round.
    studies: processor seconds per round of each study process. peaks_reset: whether peaks count
    from idle on; otherwise from the start of the process, which can only be more.
    """

    seconds: list[float]
    models: list[str]
    members: list[str]
    host: Usage
    nodes: list[Usage]
    studies: list[float]
    peaks_reset: bool


def write_study(path: Path, parameters: int, rounds: int, source: Path = STUDY) -> Path:
    """The benchmark's study file in another size."""
    changed = source.read_text().replace("NUMBERS = 100_000", f"NUMBERS = {parameters}")
    changed = changed.replace("rounds=1_000", f"rounds={rounds}")
    path.write_text(changed)
    return path


def measure_rounds(
    folder: Path, *, members: int, parameters: int, rounds: int, say: Say, source: Path = STUDY
) -> Measured:
    """Found a commons in `folder`, run a study over all its rounds, and stop everything.

    Args:
        folder: empty. members: at least 3. rounds: at least 2. say: told after each round.
        source: the study file, which has lines to change as the recipe `bench` has.
    Raises:
        Broken: no room, or a process failed; says what it said.
    """
    vector = WORD_BYTES * parameters
    require_room(
        folder,
        disk_bytes=_FILES_PER_MEMBER * members * vector + 2**28,
        memory_bytes=members * (2 * _PROCESS_BYTES + 5 * vector),
    )
    study = write_study(folder / "study.py", parameters, rounds, source)
    places = found_places(folder, [f"m{number:02}" for number in range(members)], table=TABLE)
    for place in places.all:
        place.allow(study.read_text())
        write_keys(place.folder / "keys.pem", place.keys, passphrase=Unencrypted.ON_PURPOSE)
    with ExitStack() as running:
        host, nodes = _start(folder, places, running)
        return _measure(host, nodes, study, rounds, vector, say)


def _start(folder: Path, places: Places, running: ExitStack) -> tuple[Party, list[Party]]:
    """Host and nodes, founded and with their data declared; the hosting member's node first."""
    home = places.host.folder
    host = Party("host", ["bench.party", "host", places.host_folder, home], folder / "host.notes")
    running.callback(host.stop)
    url = host.wait_for("ready", limit_s=_ROUND_S).text
    nodes = []
    for place in places.all:
        settings = NodeSettings(member=place.member, host_url=url)
        write_node_settings(place.folder / "node.toml", settings)
        count = str(len(places.all))
        party = Party(
            place.member,
            ["bench.party", "node", place.folder, place.table, count],
            folder / f"{place.member}.notes",
        )
        running.callback(party.stop)
        nodes.append(party)
    for party in nodes:
        party.wait_for("founded", limit_s=_ROUND_S + 5 * len(nodes))
    for party in nodes:
        party.tell("declare")
    for party in nodes:
        party.wait_for("declared", limit_s=_ROUND_S)
    return host, nodes


def _measure(
    host: Party, nodes: list[Party], study: Path, rounds: int, vector: int, say: Say
) -> Measured:
    parties = [host, *nodes]
    idle = {party.pid: rss_bytes(party.pid) for party in parties}
    peaks_reset = all([forget_peak(party.pid) for party in parties])
    nodes[-1].tell("register", study)
    limit_s = _ROUND_S + len(nodes) * vector / 2e6
    ends: list[float] = []
    models: list[str] = []
    cpu: dict[int, float] = {}
    work: list[float] = []
    for number in range(1, rounds + 1):
        event = nodes[0].wait_for("round", number, limit_s=limit_s)
        if event.number != number:
            raise Broken(f"round {number} was not seen")
        ends.append(event.at_s)
        models.append(event.text)
        if number == 1:
            cpu = {party.pid: cpu_s(party.pid) for party in parties}
            work = _studies(nodes)
        if number == rounds - 1:
            # The study processes end with the last round.
            spans = zip(work, _studies(nodes), strict=True)
            work = [(now - then) / max(1, rounds - 2) for then, now in spans]
        say(f"round {number} of {rounds}" + (f": {ends[-1] - ends[-2]:.3f} s" if ends[1:] else ""))
    spent = {party.pid: (cpu_s(party.pid) - cpu[party.pid]) / (rounds - 1) for party in parties}
    for party in nodes[1:]:
        party.wait_for("round", rounds, limit_s=limit_s)
    usages = [Usage(peak_bytes(p.pid) - idle[p.pid], spent[p.pid]) for p in parties]
    return Measured(
        seconds=intervals(ends),
        models=models,
        members=[party.name for party in nodes],
        host=usages[0],
        nodes=usages[1:],
        studies=work,
        peaks_reset=peaks_reset,
    )


def _studies(nodes: list[Party]) -> list[float]:
    return [sum(map(cpu_s, descendants(party.pid))) for party in nodes]
