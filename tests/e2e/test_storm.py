"""kill -9 of host and nodes, at random, as real programs: no round is lost, run twice or changed.

Nobody does anything but start again what was killed. `make test` kills at every single step of a
round instead (test_kill.py, test_host_killed.py); `python -m bench.run --only storm` prints this.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.storm import measure_storm


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize(
    ("members", "rounds", "seed"),
    [
        pytest.param(3, 3, 1, marks=pytest.mark.slow),
        pytest.param(4, 30, 7, marks=pytest.mark.nightly),
    ],
)
def test_a_storm_of_kills_changes_nothing(
    tmp_path: Path, members: int, rounds: int, seed: int
) -> None:
    found = measure_storm(
        tmp_path, members=members, rounds=rounds, every_s=2.0, seed=seed, limit_s=1_000
    )
    assert found.kills.total() >= rounds // 3, "there was a storm"
    assert found.models == found.plain, "every round, and to the last bit"
    assert found.attempts == rounds, "no round took a second attempt"
    assert found.everybody
    assert found.harmless
