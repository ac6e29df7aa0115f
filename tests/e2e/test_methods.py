"""Methods that keep something at home, through real nodes: SCAFFOLD, own tensors, fine tuning.

The result is that of the same arithmetic in the clear, to the last bit, whoever was away or killed.
"""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest

from comity.commons.attempts import End
from comity.learning.local import seen
from comity.learning.model import read_header
from comity.node.evaluating import evaluate
from comity.node.keyfile import Unencrypted, write_keys
from comity.node.models import method_text
from comity.statements.studies import Method
from comity.values import BlobName
from tests.e2e.prepared import Make
from tests.e2e.steps import Desk, World
from tests.e2e.test_kill import assert_nothing_twice, move, node_process
from tests.e2e.test_rounds import Plain, same_as_plain

SCAFFOLD = "method=Scaffold(steps=5, lr=0.5, range=0.25),"
BOTH = {"method": SCAFFOLD + " fine_tuning=2,", "own": ", own=True"}
ALL = (0, 1, 2)


def kept_of(desk: Desk, world: World, number: int) -> bytes:
    """What a site keeps of a round."""
    return (desk.place.folder / "kept" / world.study_id / f"{number}.f32").read_bytes()


@pytest.mark.parametrize(
    ("rule", "settings"),
    [
        ("FedAvg()", {"method": SCAFFOLD}),
        ("FedAvg()", {"own": ", own=True"}),
        ("FedAdam(server_lr=0.1)", BOTH),
    ],
)
def test_the_secure_result_of_a_method_is_the_plain_one(
    commons: Make, tmp_path: Path, rule: str, settings: dict[str, str]
) -> None:
    prepared = commons(3, weights="hidden", weight_max=4, rule=rule, **settings)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        for number in (1, 2, 3):
            world.round(number)
            same_as_plain(world, plain, ALL, 3)
            for place, desk in enumerate(world.desks):
                assert kept_of(desk, world, number) == plain.kept[place].tobytes()
        assert world.study.finished
        said = world.study.register.plan.method
        if settings is BOTH:
            assert said == Method(
                fine_tuning=2, lr_trillionths=5 * 10**11, name="scaffold", own=1, steps=5
            )
            assert "scaffold, 1 own tensors" in method_text(world.study.register.plan)


def test_a_method_that_pulls_makes_another_model(commons: Make, tmp_path: Path) -> None:
    """The comparison can fail: the same study without SCAFFOLD goes elsewhere in round 2."""
    prepared = commons(3, weights="hidden", weight_max=4, rule="FedAvg()", method=SCAFFOLD)
    without = Plain(prepared.text.replace(SCAFFOLD, ""))
    with prepared.world(tmp_path) as world:
        world.round(1)
        without.round(1, 3, ALL)
        assert world.study.results[0].model == without.digests()[0]
        world.round(2)
        without.round(2, 3, ALL)
        assert world.study.results[1].model != without.digests()[0]


def test_a_repeated_round_starts_from_what_the_last_result_left(
    commons: Make, tmp_path: Path
) -> None:
    """Attempt 1 of round 2 is sealed after two members trained; attempt 2 learns the same."""
    prepared = commons(3, **BOTH)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        world.round(1)
        same_as_plain(world, plain, ALL, 3)
        world.desk("m2").sleep_before("round.commit")
        world.let_time_pass(lambda: len(world.said("round.abandon")) == 2)
        first_try = kept_of(world.desk("m0"), world, 2)
        world.desk("m2").wake()
        world.let_time_pass(world.results(2))
        assert [ended.end for ended in world.study.ended] == [
            End.ACCEPTED, End.SEALED, End.ACCEPTED,
        ]  # fmt: skip  # a list to read
        same_as_plain(world, plain, ALL, 3)
        assert kept_of(world.desk("m0"), world, 2) == first_try


def test_a_round_a_member_was_not_in_the_sum_of_moves_nothing_it_keeps(
    commons: Make, tmp_path: Path
) -> None:
    exposed = ("m0", "m1", "m2", "m3")
    prepared = commons(4, exposed=exposed, **BOTH)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        world.round(1)
        same_as_plain(world, plain, (0, 1, 2, 3), 4)
        absent = world.desk("m2")
        absent.sleep_before("round.commit")
        world.let_time_pass(world.results(2))
        same_as_plain(world, plain, (0, 1, 3), 4)
        absent.wake()
        world.let_time_pass(world.results(3))
        same_as_plain(world, plain, (0, 1, 2, 3), 4)
        folder = absent.place.folder / "kept" / world.study_id
        assert sorted(path.name for path in folder.iterdir()) == ["1.f32", "3.f32"]


@pytest.mark.parametrize("point", ["round.commit@saying", "round.commit@committed"])
def test_a_node_killed_while_it_keeps_and_between_rounds(
    commons: Make, tmp_path: Path, point: str
) -> None:
    """A real process, SIGKILL: once when it has kept and not yet said so, once between rounds."""
    prepared = commons(3, **BOTH)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        victim = world.desk("m2")
        folder = victim.place.folder
        write_keys(folder / "keys.pem", victim.place.keys, passphrase=Unencrypted.ON_PURPOSE)
        victim.close()
        victim.asleep = True

        def why() -> str:
            return world.describe() + (folder / "stderr.txt").read_text()

        with node_process(world, "m2", point) as process:
            move(world, lambda: process.poll() is not None, why)
            assert process.returncode == -signal.SIGKILL, why()
        learned = kept_of(victim, world, 1)
        with node_process(world, "m2", "never") as process:
            move(world, world.results(1), why)
            process.kill()  # between rounds
        assert kept_of(victim, world, 1) == learned
        with node_process(world, "m2", "never"):
            move(world, world.results(3), why)
        for number in (1, 2, 3):
            plain.round(number, 3, ALL)
            assert world.study.results[number - 1].model == plain.digests()[0]
        assert kept_of(victim, world, 3) == plain.kept[2].tobytes()
        assert_nothing_twice(world.log(), "m2")


def test_lost_and_damaged_files_are_no_end_of_a_study(
    commons: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A site whose file is gone uses an older one, else begins as at first, and says so."""
    prepared = commons(3, **BOTH)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        world.round(1)
        same_as_plain(world, plain, ALL, 3)
        folder = world.desk("m1").place.folder / "kept" / world.study_id
        (folder / "1.f32").unlink()
        damaged = world.desk("m2").place.folder / "kept" / world.study_id / "1.f32"
        damaged.write_bytes(b"short")
        plain.kept = {0: plain.kept[0]}
        assert "begins afresh" not in caplog.text
        world.round(2)
        same_as_plain(world, plain, ALL, 3)
        assert "round=1 is gone" in caplog.text and "1.f32 is damaged" in caplog.text


def test_a_plain_study_keeps_nothing_and_misses_nothing(
    commons: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = commons(3)
    with prepared.world(tmp_path) as world:
        world.round(2)
        assert world.study.register.plan.method is None
        assert not (world.desks[0].place.folder / "kept").exists()
    assert "begins afresh" not in caplog.text


def test_evaluation_shows_own_heads_and_the_tuned_copy(commons: Make, tmp_path: Path) -> None:
    prepared = commons(3, **BOTH)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        for number in (1, 2, 3):
            world.round(number)
            plain.round(number, 3, ALL)
        found = [evaluate(desk.station, "small") for desk in world.desks[:2]]
        for place, each in enumerate(found):
            whole = seen(plain.study.study, plain.shared.model, plain.kept[place])
            assert each.together == {"first": whole["b"][0], "own": whole["a"][0, 0]}
            assert each.tuned is not None and each.tuned != each.together
            raw = Path(each.tuned_file).read_bytes()
            assert [tensor.name for tensor in read_header(raw, len(raw))] == ["b", "a"]
            last = np.frombuffer(raw[-24:], "<f4")
            assert each.tuned["own"] == last[0]
        assert found[0].together["own"] != found[1].together["own"], "each has its own"
        model = world.desks[0].station.blobs.path(BlobName(world.study.results[-1].model))
        raw = model.read_bytes()
        assert [tensor.name for tensor in read_header(raw, len(raw))] == ["b"]
