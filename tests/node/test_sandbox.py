"""The sandbox: honest work, faults that are told apart, and walls that are missing."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from comity.errors import DataFault, Misconfigured, Refused, Rule, StudyFault, StudyFaultKind
from comity.node.isolation import Limits
from comity.node.sandbox import Sandbox
from comity.node.sandbox_wire import Checked, Evaluate, Evaluated, Train, Trained
from comity.values import STUDY_FILE_BYTES_MAX, WALLS, walls_of
from tests.node.sandbox_site import SEED, STUDY, TABLE, Site, opened


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    yield from opened(tmp_path)


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from opened(tmp_path_factory.mktemp("warm"))


def test_an_honest_study_is_described_trained_and_evaluated(site: Site) -> None:
    sandbox = site.training()
    assert sandbox.isolation.complete and sandbox.isolation.missing == ()
    card = sandbox.describe()
    assert card.name == "try" and card.layout.data_words == 4
    assert sandbox.check_data() == Checked(3, 0)
    assert sandbox.train(SEED) == Trained(4, 3)
    update = np.fromfile(sandbox.vector_path, "<f4")
    assert len(update) == 4 and 2 <= update[0] < 3 and update[3] == 0
    assert sandbox.train(SEED) == Trained(4, 3)
    assert np.fromfile(sandbox.vector_path, "<f4").tobytes() == update.tobytes()
    sandbox.train(b"\x06" * 32)
    assert np.fromfile(sandbox.vector_path, "<f4").tobytes() != update.tobytes()
    assert sandbox.evaluate() == {"first": 5.0}  # what is undefined is left out
    assert sandbox.alone(SEED, 2) == {"first": 7.0}  # each change held within its range of 1


def test_notes_outlive_the_process(site: Site) -> None:
    sandbox = site.training("print('first words')")
    sandbox.train(SEED)
    sandbox.close()
    sandbox.close()
    assert "first words" in site.start().notes_path.read_text()


def test_a_study_may_have_dataclasses_of_its_own(site: Site) -> None:
    """They look for their module by its name."""
    head = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    own = "@dataclass\nclass Own:\n    x: int\n"
    assert site.start(study=head + STUDY + own).describe().name == "try"


def test_a_loop_goes_on_while_training_runs(site: Site) -> None:
    sandbox = site.training("import time; time.sleep(0.3)")
    sandbox.begin(Train(SEED.hex()))
    assert sandbox.poll() is None
    assert select.select([sandbox], [], [], 20)[0] == [sandbox]
    assert sandbox.poll() == Trained(4, 3)
    sandbox.begin(Evaluate())
    select.select([sandbox.fileno()], [], [], 20)
    assert sandbox.poll() == Evaluated({"first": 5.0})


def test_threads_are_allowed(site: Site) -> None:
    body = "import threading; t = threading.Thread(target=print); t.start(); t.join()"
    assert site.training(body).train(SEED) == Trained(4, 3)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("OUT = {'w': weights['w'], 'b': weights['b']}", StudyFaultKind.BAD_OUTPUT),
        ("OUT = weights, 0", StudyFaultKind.WEIGHT_OUT_OF_RANGE),
        ("OUT = weights, -1", StudyFaultKind.WEIGHT_OUT_OF_RANGE),
        ("OUT = weights, 2**60", StudyFaultKind.WEIGHT_OUT_OF_RANGE),
        ("OUT = weights, 1.5", StudyFaultKind.CODE_FAILED),
        ("OUT = {'w': weights['w']}, 1", StudyFaultKind.WRONG_SHAPE),
        ("OUT = weights | {'w': np.zeros(4, np.float32)}, 1", StudyFaultKind.WRONG_SHAPE),
        ("OUT = weights | {'w': np.zeros(3)}, 1", StudyFaultKind.WRONG_SHAPE),
        ("OUT = weights | {'w': weights['w'] * np.nan}, 1", StudyFaultKind.NOT_FINITE),
        ("sys.exit(0)", StudyFaultKind.CODE_FAILED),
        ("os._exit(0)", StudyFaultKind.CODE_FAILED),
        ("raise KeyboardInterrupt", StudyFaultKind.CODE_FAILED),
        ("import ctypes; ctypes.string_at(0)", StudyFaultKind.CODE_FAILED),
    ],
)
def test_what_train_gives_is_checked(warm: Site, body: str, kind: StudyFaultKind) -> None:
    with pytest.raises(StudyFault) as caught:
        warm.attack(body).train(SEED)
    assert caught.value.kind is kind


def test_a_killed_process_is_a_typed_error_and_another_can_start(site: Site) -> None:
    sandbox = site.training("while True: pass")
    sandbox.begin(Train(SEED.hex()))
    os.kill(sandbox.pid, signal.SIGKILL)
    with pytest.raises(StudyFault) as caught:
        while sandbox.poll() is None:
            select.select([sandbox], [], [], 20)
    assert caught.value.kind is StudyFaultKind.LIMIT_EXCEEDED
    assert site.training().train(SEED) == Trained(4, 3)


ORPHAN = """
import os, sys
from pathlib import Path
from comity.node.sandbox import Sandbox
from comity.node.sandbox_wire import Describe
sandbox = Sandbox.start(Path(sys.argv[1]), None, Path(sys.argv[2]))
sandbox.begin(Describe())
print(sandbox.pid, flush=True)
input()
os._exit(0)
"""


def test_a_study_ends_with_its_node(site: Site) -> None:
    """Even in the middle of a request."""
    endless = site.folder / "endless.py"
    endless.write_text("while True: pass\n")
    node = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, str(endless), str(site.folder / "work2")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert node.stdin is not None and node.stdout is not None
    watch = os.pidfd_open(int(node.stdout.readline()))
    assert select.select([watch], [], [], 0)[0] == []
    node.stdin.close()
    node.wait()
    node.stdout.close()
    assert select.select([watch], [], [], 20)[0] == [watch]
    os.close(watch)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (TABLE + "4711.5x,train\n", "table.csv, row 5, column x"),
        (TABLE + "4,4711\n", "table.csv, row 5, column part"),
        (TABLE + "4,train,4711\n", "table.csv, row 5"),
    ],
)
def test_data_that_do_not_fit_are_placed_without_their_value(
    site: Site, text: str, where: str
) -> None:
    sandbox = site.training()
    site.table.write_text(text)
    with pytest.raises(DataFault) as caught:
        sandbox.check_data()
    assert caught.value.where == where
    assert "4711" not in str(caught.value) + sandbox.notes_path.read_text()
    assert sandbox.alive


@pytest.mark.parametrize(
    ("source", "line"),
    [("x = 1\nthis is no Python\n", 2), ("\n\n1 / 0\n", 3), ("STUDY = 5\n", 0), ("\0", 0)],
)
def test_a_file_that_is_no_study_is_not_loadable(site: Site, source: str, line: int) -> None:
    sandbox = site.start(study=source)
    with pytest.raises(StudyFault) as caught:
        sandbox.describe()
    assert caught.value.kind is StudyFaultKind.NOT_LOADABLE
    assert caught.value.where == ("study.py" if line == 0 else f"study.py, line {line}")


def test_paths_and_limits_that_cannot_work_are_the_operators_fault(site: Site) -> None:
    with pytest.raises(Misconfigured, match="no file"):
        Sandbox.start(site.folder / "absent.py", None, site.folder / "work")
    with pytest.raises(Misconfigured, match="limits"):
        site.start(limits=Limits(memory_bytes=2**25))
    (site.folder / "long.py").write_text("#" * (STUDY_FILE_BYTES_MAX + 1))
    with pytest.raises(Misconfigured, match="at most"):
        Sandbox.start(site.folder / "long.py", None, site.folder / "work")


WITHOUT_LANDLOCK = """
import ctypes, struct, sys
from pathlib import Path
from comity.errors import Refused
from comity.node.sandbox import Sandbox
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)
for layer in range(16):  # as many as the kernel allows; none is left for the sandbox
    ruleset = libc.syscall(444, struct.pack("<Q", 1 << 12), 8, 0)
    assert libc.syscall(446, ruleset, 0) == 0
arguments = Path(sys.argv[1]), None, Path(sys.argv[2])
try:
    Sandbox.start(*arguments)
except Refused as refusal:
    print(refusal.rule.value)
sandbox = Sandbox.start(*arguments, policy="warn")
print(sandbox.isolation.files_confined, sandbox.isolation.network_off)
print(sandbox.isolation.missing[0])
print(sandbox.describe().name)
sandbox.close()
"""


def test_a_missing_wall_is_refused_or_said(site: Site) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-c", WITHOUT_LANDLOCK),
            *(str(site.folder / "study.py"), str(site.folder / "work3")),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    rule, holds, missing, name = done.stdout.splitlines()
    assert rule == Rule.SANDBOX_MISSING.value
    assert holds == "False True"
    assert missing.startswith("files: Landlock does not start")
    assert name == "try"


def test_a_node_folder_among_the_libraries_is_no_confinement(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a study may read for its imports must not hold the node's keys."""
    packages = site.folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "found.pth").write_text("\n".join(entry for entry in sys.path if entry))
    (site.folder / "bin").mkdir()
    python = site.folder / "bin" / "python"
    python.symlink_to(os.path.realpath(sys.executable))
    (site.folder / "pyvenv.cfg").write_text(f"home = {Path(os.path.realpath(python)).parent}\n")
    monkeypatch.setattr(sys, "executable", str(python))
    path = site.folder / "study.py"
    with pytest.raises(Refused, match="which studies may read") as caught:
        Sandbox.start(path, None, packages / "node" / "work")
    assert caught.value.rule is Rule.SANDBOX_MISSING
    Sandbox.start(path, None, site.folder / "work4").close()


def test_only_the_walls_that_the_policy_demands_must_hold(site: Site) -> None:
    """Where a node's folder lies among the libraries, `files` does not hold, and it is named."""
    sandbox = site.training()
    assert sandbox.isolation.walls == frozenset(WALLS)
    weak = msgspec.structs.replace(sandbox.isolation, files_confined=False, limits_set=False)
    assert weak.walls == {"network", "processes", "gpu"} and not weak.complete
    assert walls_of("require") - weak.walls == {"files", "limits"}
    assert walls_of(("network", "gpu")) <= weak.walls and not walls_of("warn")


def test_a_limit_that_the_system_refuses_is_a_wall_that_is_missing() -> None:
    """The attack: a study on a system that bounds nothing, and whose owner demands limits."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LIMITS], capture_output=True, text=True, check=True
    )
    held, missing = done.stdout.splitlines()
    assert held == "False" and "refuses to bound processor time" in missing


WITHOUT_LIMITS = """
import resource
from comity.node.isolation import Limits, shut_in

def refuses(kind, bounds, set_limit=resource.setrlimit):
    if kind == resource.RLIMIT_CPU:
        raise OSError("not on this system")
    set_limit(kind, bounds)

resource.setrlimit = refuses
isolation = shut_in(Limits(), ("/",), ())
print("limits" in isolation.walls)
print("; ".join(isolation.missing))
"""


@pytest.mark.parametrize(
    "body",
    [
        "open(os.environ['HOME'] + '/update.f32', 'r+b').write(bytes(2**21))",
        "kept = [open('/dev/zero', 'rb') for _ in range(60)]",
    ],
)
def test_files_are_bounded_as_the_policy_says(site: Site, body: str) -> None:
    tight = Limits(memory_bytes=2**30, request_s=30.0, file_bytes=2**20, open_files=40)
    with pytest.raises(StudyFault):
        site.training(body, tight).train(SEED)
    assert site.training("pass", tight).train(SEED) == Trained(4, 3)
