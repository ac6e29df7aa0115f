"""Study processes at a site: seeds, versions, plans that differ from their file."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from comity.commons.attempts import Confirming, Masking
from comity.errors import Misconfigured, StudyFault
from comity.learning.seeds import rounding_seed, training_seed
from comity.node.practice import (
    LocalDataset,
    _compare,
    local_dataset,
    version_of,
)
from comity.statements.studies import UseTerms
from comity.values import MemberId
from tests.e2e.prepared import Make

A, B = MemberId("a"), MemberId("b")


def test_a_repeated_round_gives_the_same_dice_and_nothing_else_does() -> None:
    seeds = {
        seed(card, member, round_no)
        for seed in (training_seed, rounding_seed)
        for card in (0, 1)
        for member in (A, B)
        for round_no in (1, 2)
    }
    assert len(seeds) == 16
    assert training_seed(0, A, 1) == training_seed(0, A, 1)


def test_a_version_is_salted_and_follows_the_file(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(b"x\n1\n")
    first = version_of(file, bytes(32))
    assert first != version_of(file, b"\x01" * 32)
    assert LocalDataset(str(file), bytes(32), first).version_now() == first
    file.write_bytes(b"x\n2\n")
    assert version_of(file, bytes(32)) != first
    with pytest.raises(Misconfigured, match="cannot read the data file"):
        version_of(tmp_path / "none.csv", bytes(32))


def test_a_data_set_of_nobody_is_named(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        station = world.desk("m1").station
        assert local_dataset(station, "rows-m1").path.endswith("m1.csv")
        with pytest.raises(Misconfigured, match="comity data add"):
            local_dataset(station, "rows-m2")


def test_a_plan_that_is_not_what_the_file_declares_is_not_run(
    commons: Make, tmp_path: Path
) -> None:
    with commons(3).world(tmp_path) as world:
        study, (running,) = world.study, world.desk("m1").warm.values()
        _compare(study, running.card)
        for false in (
            replace(study.register.plan, weight_max=2),
            replace(study.register.plan, rounds_max=9),
            replace(study.register.plan, parameters=study.register.plan.code),
            replace(study.register.plan, layout=study.register.plan.code),
        ):
            changed = type(study)(
                **{name: getattr(study, name) for name in study.__dataclass_fields__}
                | {"register": replace(study.register, plan=false)}
            )
            with pytest.raises(StudyFault, match="do not run it"):
                _compare(changed, running.card)
        # The registration says that it is for health, to fit terms; the file says nothing.
        card = replace(running.card, use=UseTerms(purpose="health"))
        with pytest.raises(StudyFault, match="do not run it"):
            _compare(study, card)


def test_a_study_that_fails_is_asked_once_in_an_attempt(commons: Make, tmp_path: Path) -> None:
    """The node goes on, says what failed, and does not start the same training for ever."""
    prepared = commons(4, twist="None if len(table) != 3 else 1 / 0", rounds=1)
    with prepared.world(tmp_path) as world:
        world.settle()
        assert isinstance(world.attempt, Masking)
        node = world.desk("m1")
        assert "code-failed" in node.station.faults["SayCommit"]
        (running,) = node.loop._rounds._practice._running.values()
        for _ in range(3):
            node.step()
        assert not running.sandbox.busy
        assert node.stopped is None


def test_limits_that_the_owner_lowers_hold_from_the_next_training_on(
    commons: Make, tmp_path: Path
) -> None:
    with commons(4).world(tmp_path) as world:
        node = world.desk("m1")
        practice = node.loop._rounds._practice
        before = practice.prepare(world.study)
        policy = node.station.folder / "site.toml"
        policy.write_text("memory_mb_max = 3000\n" + policy.read_text())
        world.run(lambda: isinstance(world.study.current, Confirming))
        (running,) = practice._running.values()
        assert running.sandbox.pid != before.sandbox.pid and not before.sandbox.alive
        limits = Path(f"/proc/{running.sandbox.pid}/limits").read_text()
        assert f"Max address space         {3000 * 2**20} " in limits
