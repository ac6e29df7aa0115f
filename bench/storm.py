"""Kills programs of a real commons with SIGKILL, at random, and starts them again.

A host and the members' nodes, each a process of its own. Every `every_s` seconds, or when all run
again if that takes longer, one of them is killed, and started at once. Nobody does anything else.
Whether a round was lost, run twice or changed shows in the log and in the models.
"""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from tests.e2e.live import live
from tests.e2e.preparing import Prepared, prepare

from bench.plain import train_plain
from bench.rounds import TABLE, write_study
from comity.commons.state import Study
from comity.node.planning import PlanTerms

PARAMETERS: Final = 2_000
PHASE_S: Final = 300
"""Of each phase of a round: much longer than a program takes to start."""


@final
@dataclass(frozen=True, slots=True)
class Storm:
    """What a storm left.

    kills: by program. models: after each round; plain: of the same training in clear. attempts:
    that rounds took in all.
    """

    seconds: float
    kills: Counter[str]
    models: list[str]
    plain: list[str]
    attempts: int
    everybody: bool

    @property
    def harmless(self) -> bool:
        """Whether every round was accepted at its first attempt, over all, with the same bits."""
        first = self.attempts == len(self.models)
        return first and self.everybody and self.models == self.plain


def measure_storm(
    folder: Path, *, members: int, rounds: int, every_s: float, seed: int, limit_s: float
) -> Storm:
    """Run a study over all its rounds while programs are killed.

    Args:
        folder: empty. seed: of who is killed when; a pause is between half and one and a half
            times `every_s`.
    Raises:
        AssertionError: the rounds do not end in `limit_s`; says what stands in the way.
    """
    file = write_study(folder / "study.py", PARAMETERS, rounds)
    terms = PlanTerms(phase_s=PHASE_S, train_s=PHASE_S)
    prepared = prepare(folder / "made", members, file.read_text(), terms=terms)
    prepared.close()
    plain = train_plain(file, TABLE, [p.member for p in prepared.places.all], rounds).models
    try:
        return _weather(prepared, folder / "live", plain, rounds, every_s, seed, limit_s)
    finally:
        shutil.rmtree(folder / "made")


def _weather(
    prepared: Prepared,
    folder: Path,
    plain: list[str],
    rounds: int,
    every_s: float,
    seed: int,
    limit_s: float,
) -> Storm:
    # Who and when, so that a run can be repeated; nothing secret hangs on it.
    dice = random.Random(seed)  # noqa: S311  # no secret
    kills: Counter[str] = Counter()
    with live(prepared, folder) as commons:
        began_s = time.monotonic()
        commons.start()
        while len(commons.results) < rounds:
            pause_s = every_s * dice.uniform(0.5, 1.5)
            until_s = time.monotonic() + pause_s
            # On a busy machine a program may take longer than the pause to start: it may, always.
            commons.wait_until(
                lambda until_s=until_s: (  # type: ignore[misc]  # its default
                    len(commons.results) >= rounds
                    or (time.monotonic() > until_s and all(map(commons.is_up, commons.names)))
                ),
                pause_s + 60,
            )
            victim = dice.choice(commons.names)
            if len(commons.results) < rounds:
                commons.kill(victim)
                commons.start(victim)
                kills[victim] += 1
            assert time.monotonic() - began_s < limit_s, commons.describe()
        seconds = time.monotonic() - began_s
        commons.wait_until(commons.have_model(commons.models()[-1]), 120)
        study: Study = commons.study
        everybody = all(len(r.survivors) == len(prepared.places.all) for r in study.results)
        return Storm(seconds, kills, commons.models(), plain, len(study.ended), everybody)
