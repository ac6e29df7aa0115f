"""What was true at the Join must be true to the end: the work's one set, the data, the yes."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import pytest

from comity.commons.attempts import Confirming, opened_of, started_of
from comity.errors import Rule, Unavailable
from comity.node import wishes
from comity.node.models import model_files
from comity.node.sandbox import Sandbox
from comity.node.stages import scope_of
from comity.node.works import joined_data, work_record
from comity.statements.rounds import RoundReveal
from comity.storage.ports import Attempt, Ending
from comity.values import MemberId, sha256
from tests.e2e.lies import closed_now
from tests.e2e.prepared import Make
from tests.e2e.steps import Desk, World
from tests.e2e.test_lying_members import until_asleep

TWIN = Attempt("f" * 64, 1, 1)
"""An attempt of another study with the same code, parameters and model."""


def took_part_in_twin(world: World, node: Desk, *, survivors: frozenset[MemberId] | None) -> None:
    """The node's memory of the twin, which is still under way."""
    opened = opened_of(world.attempt)
    started = started_of(world.attempt)
    about = joined_data(node.station, opened, started.joins if started else {})
    assert about is not None
    record = work_record(
        opened, TWIN, *about, committed=True, confirmed=survivors is not None, survivors=survivors
    )
    node.station.journal.record_work(record)


def test_a_twin_study_committed_meanwhile_stops_the_commit(commons: Make, tmp_path: Path) -> None:
    """R6: the host opens two studies of one work at once, and drops m2 from the second sum.

    Both were joined before either was committed; the difference of the sums would be m2's update.
    """
    with commons(4).world(tmp_path) as world:
        node = world.desk("m2")
        until_asleep(world, "m2", "round.commit")
        took_part_in_twin(world, node, survivors=None)
        node.wake()
        world.run(lambda: bool(world.said("round.abandon", "m2")))
        world.settle()
        assert not world.said("round.commit", "m2")
        assert node.stopped is None


def test_a_twin_study_confirmed_meanwhile_stops_the_confirm(commons: Make, tmp_path: Path) -> None:
    with commons(4).world(tmp_path) as world:
        node = world.desk("m2")
        until_asleep(world, "m2", "round.confirm")
        took_part_in_twin(world, node, survivors=frozenset({MemberId("m0"), MemberId("m2")}))
        node.wake()
        world.settle()
        assert not world.said("round.confirm", "m2")
        assert Rule.WORK_SUMMED_BEFORE.value in node.station.faults["SayConfirm"]


def test_a_withdrawn_consent_does_not_lift_the_one_set(commons: Make, tmp_path: Path) -> None:
    """R6 is about what was joined with: taking the yes back after the Commit changes nothing."""
    with commons(4).world(tmp_path) as world:
        node = world.desk("m2")
        until_asleep(world, "m2", "round.confirm")
        took_part_in_twin(world, node, survivors=frozenset({MemberId("m0"), MemberId("m2")}))
        wishes.withdraw_consent(node.station, world.study_id)
        node.station.deliver()
        node.sync()
        assert "m2" not in node.state.studies[world.study_id].consents
        node.wake()
        world.settle()
        assert not world.said("round.confirm", "m2")


def test_a_consent_for_other_data_stops_the_update_of_the_old(
    commons: Make, tmp_path: Path
) -> None:
    """P6: m2 joined with one data set and consents to another; neither goes into this sum."""
    with commons(4).world(tmp_path) as world:
        node = world.desk("m2")
        until_asleep(world, "m2", "round.commit")
        practice = node.loop._rounds._practice
        old = practice._running[world.study_id]
        other = tmp_path / "other.csv"
        other.write_bytes(node.place.table.read_bytes())
        wishes.declare_dataset(node.station, "other-m2", other)
        node.station.deliver()
        node.sync()
        wishes.give_consent(node.station, world.study_id, dataset="other-m2")
        node.station.deliver()
        node.sync()
        assert world.study_id not in practice._running, "it still reads the old data"
        assert not old.sandbox.alive
        node.wake()
        world.run(lambda: bool(world.said("round.abandon", "m2")))
        assert not world.said("round.commit", "m2")


def test_the_update_is_overwritten_once_it_is_committed(
    commons: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[Path] = set()
    forget = Sandbox.forget

    def noted(sandbox: Sandbox) -> None:
        if any(sandbox.vector_path.read_bytes()):
            seen.add(sandbox.vector_path)
        forget(sandbox)

    monkeypatch.setattr(Sandbox, "forget", noted)
    with commons(4).world(tmp_path) as world:
        world.run(lambda: isinstance(world.study.current, Confirming))
        assert len(seen) == 4, "each had an update to forget"
        world.settle(world.results(1))
        world.settle()
        assert not any(any(path.read_bytes()) for path in seen)


def test_a_study_file_that_was_changed_here_does_not_run(commons: Make, tmp_path: Path) -> None:
    """P6: the copy that runs is the registered one, whatever lies in the folder."""
    with commons(4).world(tmp_path) as world:
        node = world.desk("m2")
        plan = world.study.register.plan
        file = node.station.folder / "studies" / f"{plan.code}.py"
        file.write_text("raise SystemExit(9)\n")
        practice = node.loop._rounds._practice
        practice._running.clear()
        running = practice.prepare(world.study)
        running.sandbox.close()
        assert sha256(file.read_bytes()) == plan.code


def test_the_site_sets_the_limits_of_its_processes(commons: Make, tmp_path: Path) -> None:
    with commons(4).world(tmp_path) as world:
        node = world.desk("m2")
        practice = node.loop._rounds._practice
        practice._running.clear()
        running = practice.prepare(world.study)
        limits = Path(f"/proc/{running.sandbox.pid}/limits").read_text()
        running.sandbox.close()
        site = node.station.site
        assert f"Max cpu time              {site.cpu_s_max} " in limits
        assert f"Max address space         {site.memory_mb_max * 2**20} " in limits
        assert running.sandbox.cpu_s >= 0


def test_a_late_abandon_makes_an_attempt_sealed_for_who_says_it(
    commons: Make, tmp_path: Path
) -> None:
    """R5: m2 is away while t others abandon; back, it abandons too and may join the next one."""
    with commons(4, exposed=("m0", "m1", "m2", "m3")).world(tmp_path) as world:
        node = world.desk("m2")
        for member in ("m0", "m1", "m3"):
            world.desk(member).sleep_before("round.commit")
        node.sleep_before("round.abandon")
        world.settle()
        attempt = world.attempt
        opened, joins = opened_of(attempt), started_of(attempt).joins  # type: ignore[union-attr]
        world.let_time_pass(lambda: bool(world.said("round.commit", "m2")))
        for member in ("m0", "m1", "m3"):
            world.desk(member).wake()
            world.desk(member).sleep_before("round.join")
        world.clock.now_s += 600
        world.let_time_pass(lambda: bool(world.study.ended))
        node.sync()
        about = joined_data(node.station, opened, joins)
        assert about is not None
        (work,) = node.station.journal.works(*about, opened.work)
        assert work.ending is Ending.OPEN
        node.wake()
        world.settle()
        assert world.said("round.abandon", "m2")
        (work,) = node.station.journal.works(*about, opened.work)
        assert work.ending is Ending.SEALED


@pytest.mark.parametrize("what", ["everything", "the journal alone"])
def test_a_restored_node_counts_itself_as_committed(
    commons: Make, tmp_path: Path, what: str
) -> None:
    """R8: what it forgot blocks the same work over another set, and it says nothing more."""
    with commons(4).world(tmp_path / "world") as world:
        node = world.desk("m2")
        until_asleep(world, "m2", "round.commit")
        opened, folder = opened_of(world.attempt), node.place.folder
        started = started_of(world.attempt)
        assert started is not None
        about = joined_data(node.station, opened, started.joins)
        assert about is not None
        backup = tmp_path / "backup"
        shutil.copytree(folder, backup)
        node.wake()
        world.run(lambda: bool(world.said("round.commit", "m2")))
        node.sync()
        node.station.replica.flush()
        node.die()
        if what == "everything":
            shutil.rmtree(folder)
            shutil.copytree(backup, folder)
        else:
            for name in ("node.sqlite", "node.sqlite-wal", "node.sqlite-shm"):
                (folder / name).unlink(missing_ok=True)
                if (backup / name).exists():
                    shutil.copy(backup / name, folder / name)
        node.restart()
        if what == "everything":
            node.sync()
        assert node.station.journal.has_amnesia(scope_of(opened))
        (work,) = node.station.journal.works(*about, opened.work)
        assert work.committed and work.ending is Ending.OPEN


def test_a_running_node_reads_the_log_before_it_speaks(commons: Make, tmp_path: Path) -> None:
    """R8: a copy from before its Confirm would say another one, under the same number, at once."""
    with commons(4).world(tmp_path / "world") as world:
        node = world.desk("m2")
        until_asleep(world, "m2", "round.confirm")
        scope, folder = scope_of(opened_of(world.attempt)), node.place.folder
        shutil.copytree(folder, tmp_path / "backup")
        node.wake()
        node.sleep_before("round.accept")
        world.let_time_pass(lambda: bool(world.said("round.reveal", "m2")))
        node.die()
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "backup", folder)
        node.restart()
        ended: list[BaseException] = []

        def run() -> None:
            try:
                node.loop.run()
            except BaseException as error:
                ended.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        limit = time.monotonic() + 20
        while not (node.loop._in_step and node.station.journal.has_amnesia(scope)):
            assert time.monotonic() < limit and not ended, ended
            time.sleep(0.01)
        node.loop.stop()
        thread.join(20)
        assert not ended
        logged = {said.id for said in world.log()}
        promised = node.station.journal.promised(scope)
        assert {"round.confirm", "round.reveal"} <= promised.keys()
        assert set(promised.values()) <= logged, "it said nothing else in this attempt"


def test_what_one_study_lacks_keeps_nothing_else_back(
    commons: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One blob that nobody has, of any member: the node still delivers and cosigns."""
    with commons(4).world(tmp_path) as world:
        node = world.desk("m2")
        until_asleep(world, "m2", "round.ready")

        def nothing(*_: object) -> None:
            raise Unavailable("the host does not have this")

        with monkeypatch.context() as patch:
            patch.setattr("comity.node.rounds.dealings_of", nothing)
            node.wake()
            wishes.declare_dataset(node.station, "other-m2", node.place.table)
            node.step()
        assert "host does not have this" in node.station.faults["SayReady"]
        (declared,) = world.said("dataset.declare", "m2")[1:]
        assert world.outcome(declared.id) is None
        world.run(world.results(1))


def test_void_reveals_do_not_mislead_who_was_away(commons: Make, tmp_path: Path) -> None:
    """m1 first says a false reveal, too early, then a true one; m2 computes the model later."""
    with commons(4).world(tmp_path) as world:
        liar, absent = world.desk("m1"), world.desk("m2")
        absent.sleep_before("round.accept")
        until_asleep(world, "m1", "round.confirm")
        closed = closed_now(world)
        false = RoundReveal(closed=closed.id, opened=closed.started.opened.id, beta=bytes(32))
        said = liar.lie(false, tag="round.reveal#early")
        assert world.outcome(said) is Rule.BEFORE_QUORUM
        liar.wake()
        world.let_time_pass(lambda: absent.asleep and bool(world.study.results))
        absent.sync()
        study = absent.state.studies[world.study_id]
        files = model_files(absent.station, study)
        assert sha256(files.model.read_bytes()) == study.results[-1].model
