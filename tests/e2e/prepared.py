"""Prepared commons, made once for a whole test session and copied by each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from comity.node.planning import PlanTerms
from tests.e2e.preparing import PHASE_S, TRAIN_S, Prepared, prepare
from tests.e2e.small_study import study_text

Make = Callable[..., Prepared]


@pytest.fixture(scope="session")
def commons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """`commons(4, rule=..., exposed=(...), survivors_min=...)`: made at the first call."""
    made: dict[object, Prepared] = {}

    def make(
        count: int = 4,
        *,
        exposed: tuple[str, ...] = (),
        survivors_min: int | None = None,
        colluders: int | None = None,
        attempts_max: int | None = None,
        **study: str | int,
    ) -> Prepared:
        terms = PlanTerms(
            colluders=colluders,
            survivors_min=survivors_min,
            attempts_max=attempts_max,
            phase_s=PHASE_S,
            train_s=TRAIN_S,
        )
        name = (count, exposed, terms, tuple(sorted(study.items())))
        if name not in made:
            text = study_text(**study)  # type: ignore[arg-type]  # as meant
            root: Path = tmp_path_factory.mktemp("commons")
            made[name] = prepare(root, count, text, terms=terms, exposed=exposed)
        return made[name]

    try:
        yield make
    finally:
        for prepared in made.values():
            prepared.close()
