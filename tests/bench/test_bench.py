"""The benchmark runs, leaves nothing behind, and its rows can fail."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bench.floor import measure_floor
from bench.machine import (
    ROOT,
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
from bench.plain import train_plain
from bench.rounds import TABLE, measure_rounds, write_study
from bench.run import main


def test_secure_and_plain_training_give_the_same_bits(tmp_path: Path) -> None:
    """Real processes; other members would give other models."""
    before = descendants(os.getpid())
    measured = measure_rounds(tmp_path, members=3, parameters=500, rounds=2, say=lambda _: None)
    study = write_study(tmp_path / "plain.py", 500, 2)
    plain = train_plain(study, TABLE, measured.members, 2)
    assert measured.models == plain.models
    assert plain.apart <= plain.apart_max
    assert train_plain(study, TABLE, ["x", "y", "z"], 2).models != plain.models
    assert len(measured.seconds) == 1 and measured.seconds[0] > 0
    assert set(descendants(os.getpid())) <= set(before), "it ends what it starts"


def test_the_floor_adds_every_vector(tmp_path: Path) -> None:
    """Each client fetches the sum of all vectors, carries and all; two chunks, three rounds."""
    words, clients = 2**20 + 64, 3
    seconds = measure_floor(tmp_path, words=words, clients=clients, rounds=3)
    assert len(seconds) == 2
    sent = [np.fromfile(tmp_path / f"vector{seat}", "<u4") for seat in range(clients)]
    total = np.zeros(words, np.uint64)
    for vector in sent:
        total += vector
    for seat in range(clients):
        fetched = np.fromfile(tmp_path / f"fetched{seat}", np.uint8)
        assert fetched.size == 5 * words
        for start, stop in ((0, 2**20), (2**20, words)):
            count = stop - start
            chunk = fetched[5 * start : 5 * stop]
            low = chunk[: 4 * count].view("<u4").astype(np.uint64)
            high = chunk[4 * count :].astype(np.uint64) << np.uint64(32)
            assert np.array_equal(low + high, total[start:stop])


def test_a_run_prints_its_rows_and_removes_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One measurement in its own process."""
    before = descendants(os.getpid())
    assert main(["--quick", "--only", "replay", "--folder", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "replaying a log of 300 statements" in printed and "not judged" in printed
    assert list(tmp_path.iterdir()) == []
    assert set(descendants(os.getpid())) <= set(before), "it ends what it starts"


def test_a_simulation_is_compared_with_a_bare_loop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tiny, and only that it runs and has the same bits; the ratio is not judged."""
    assert main(["--quick", "--only", "simulate", "--folder", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "a simulated round" in printed and "other bits" not in printed
    assert "of the loop" in printed


def test_the_fold_gives_one_state_on_every_replay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tiny, and only that it runs and gives the same state; the speed is not judged."""
    assert main(["--quick", "--only", "govern", "--folder", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "a second of one core" in printed and "ANOTHER" not in printed


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_rows_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every measurement, in tiny sizes."""
    before = descendants(os.getpid())
    assert main(["--quick", "--folder", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for words in (
        "peak memory of the host",
        "replaying a log",
        "secure aggregation",
        "processor time",
        "kill -9",
    ):
        assert words in printed
    assert list(tmp_path.iterdir()) == []
    assert set(descendants(os.getpid())) <= set(before), "it ends what it starts"


def test_what_cannot_be_measured_is_said(tmp_path: Path) -> None:
    """No room on the disk, no room in memory, and a process that ends with a message."""
    with pytest.raises(Broken, match="MiB of disk"):
        require_room(tmp_path, disk_bytes=2**62, memory_bytes=0)
    with pytest.raises(Broken, match="MiB of memory"):
        require_room(tmp_path, disk_bytes=0, memory_bytes=2**62)
    party = Party("replay", ["bench.replay", "many"], tmp_path / "notes")
    try:
        with pytest.raises(Broken, match=r"(?s)ended before whole.*ValueError"):
            party.wait_for("whole", limit_s=60)
    finally:
        party.stop()


def test_figures_of_a_process_come_from_the_system() -> None:
    """A child that holds 64 MiB for a moment shows it in its peak, and no more once forgotten."""
    code = "import sys; x = b'1' * 2**26; del x; print(flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in descendants(os.getpid())
        assert peak_bytes(child.pid) - rss_bytes(child.pid) > 2**25
        if forget_peak(child.pid):
            assert peak_bytes(child.pid) - rss_bytes(child.pid) < 2**22
        assert cpu_s(child.pid) < 60
    finally:
        child.kill()
        child.communicate()
    assert all(map(math.isclose, intervals([1.0, 1.5, 3.5]), [0.5, 2.0]))
