"""Studies that attack the site they run at, each in a real process behind the real walls.

Every attack is written as the `train` of a study; the honest study beside it passes.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from comity.errors import DataFault, Misconfigured, Refused, Rule, StudyFault, StudyFaultKind
from comity.learning.model import model_bytes
from comity.learning.study import StudyCard
from comity.node.isolation import Limits
from comity.node.sandbox import Sandbox
from comity.node.sandbox_wire import Checked, Evaluate, Evaluated, Train, Trained

STUDY = """
import os, sys
import numpy as np
from comity.learning import Column, FedAvg, Study, Tensor

STUDY = Study(
    name="try", title="A try", columns=(Column("x", "real"), Column("part", "category",
    categories=("train", "test"))), tensors=(Tensor("w", (3,)), Tensor("b", ())), rounds=2,
    rule=FedAvg(), seed=5,
)

def initial(seed):
    return {"w": np.full(3, seed, np.float32), "b": np.float32(1)}

def train(weights, table, rng):
    BODY
    w = weights["w"] + np.float32(table["x"].mean()) + np.float32(rng.random())
    return {"w": w, "b": weights["b"]}, len(table)

def evaluate(weights, table):
    return {"first": float(weights["w"][0]), "undefined": float("nan")}
"""
TABLE = "x,part\n1,train\n2,train\n3,test\n"
SEED = b"\x05" * 32
SMALL = Limits(memory_bytes=2**30, request_s=30.0, file_bytes=2**20)


class Site:
    """A node's folder with a secret in it, and sandboxes that are closed at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "node"
        self.folder.mkdir()
        (self.folder / "keys.pem").write_text("PRIVATE")
        (folder / "table.csv").write_text(TABLE)
        self.table = folder / "table.csv"
        self.open: list[Sandbox] = []

    def start(self, body: str = "pass", limits: Limits = SMALL, study: str = STUDY) -> Sandbox:
        path = self.folder / "study.py"
        path.write_text(study.replace("BODY", body.replace("\n", "\n    ")))
        sandbox = Sandbox.start(path, self.table, self.folder / "work", limits=limits)
        self.open.append(sandbox)
        return sandbox

    def attack(self, body: str) -> Sandbox:
        """A warm sandbox whose next `train` runs `body`; made once, since most attacks end well."""
        if not self.open or not self.open[-1].alive:
            self.training(
                "scope = globals() | locals() | {'OUT': None}\n"
                "exec(open(os.environ['HOME'] + '/attack.py').read(), scope)\n"
                "if scope['OUT'] is not None: return scope['OUT']"
            )
        (self.folder / "work" / "attack.py").write_text(body)
        os.truncate(self.open[-1].notes_path, 0)
        return self.open[-1]

    def training(self, body: str = "pass", limits: Limits = SMALL) -> Sandbox:
        """A sandbox with its first model in place, ready for `train`."""
        sandbox = self.start(body, limits)
        card = sandbox.describe()
        place_model(sandbox, card)
        return sandbox


def place_model(sandbox: Sandbox, card: StudyCard) -> None:
    first = np.fromfile(sandbox.initial(), "<f4")
    sandbox.model_path.write_bytes(model_bytes(card.layout, first))


def opened(folder: Path) -> Iterator[Site]:
    place = Site(folder)
    try:
        place.training().close()
    except Refused as refusal:
        pytest.skip(f"this system has no sandbox: {refusal}")
    yield place
    for sandbox in place.open:
        sandbox.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    yield from opened(tmp_path)


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from opened(tmp_path_factory.mktemp("warm"))


def refused(sandbox: Sandbox) -> str:
    """What the study's owner reads after a training that must fail."""
    with pytest.raises(StudyFault):
        sandbox.train(SEED)
    return sandbox.notes_path.read_text()


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


def test_a_loop_goes_on_while_training_runs(site: Site) -> None:
    sandbox = site.training("import time; time.sleep(0.3)")
    sandbox.begin(Train(SEED.hex()))
    assert sandbox.poll() is None
    assert select.select([sandbox], [], [], 20)[0] == [sandbox]
    assert sandbox.poll() == Trained(4, 3)
    sandbox.begin(Evaluate())
    select.select([sandbox.fileno()], [], [], 20)
    assert sandbox.poll() == Evaluated({"first": 5.0})


@pytest.mark.parametrize(
    "body",
    [
        "import socket; socket.create_connection(('127.0.0.1', {port}), 1)",
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "import socket; socket.socket(socket.AF_UNIX)",
        "import urllib.request as u; u.urlopen('http://127.0.0.1:{port}/')",
    ],
)
def test_attack_a_study_reaches_the_network(warm: Site, body: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        text = refused(warm.attack(body.format(port=server.getsockname()[1])))
        assert "PermissionError" in text or "not permitted" in text
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize(
    "body",
    [
        "open('{node}/keys.pem').read()",
        "open('{node}/work/../keys.pem').read()",
        "os.listdir('{node}')",
        "os.symlink('{node}/keys.pem', '{node}/work/link')",
        "os.link('{node}/keys.pem', '{node}/work/link')",
        "open('/etc/passwd').read()",
        "open(f'/proc/{{os.getppid()}}/environ').read()",
        "open(f'/proc/{{os.getppid()}}/mem', 'rb').read(1)",
        "open('{table}', 'w')",
        "open('{table}', 'a')",
        "open('{node}/work/more', 'w')",
        "open('{node}/work/model.safetensors', 'r+b')",
        "open('{node}/study.py', 'a')",
        "os.open('{node}/keys.pem', os.O_RDONLY | os.O_TRUNC)",
        "os.truncate('{node}/keys.pem', 0)",
        "os.unlink('{node}/keys.pem')",
        "os.rename('{node}/work/update.f32', '{node}/work/x')",
        "os.chmod('{node}/keys.pem', 0o777)",
        "os.utime('{node}/keys.pem')",
        "os.mkfifo('{node}/work/fifo')",
    ],
)
def test_attack_a_study_reaches_other_files(warm: Site, body: str) -> None:
    text = refused(warm.attack(body.format(node=warm.folder, table=warm.table)))
    assert "PermissionError" in text
    assert (warm.folder / "keys.pem").read_text() == "PRIVATE"
    assert warm.table.read_text() == TABLE


@pytest.mark.parametrize(
    "body",
    [
        "while True: os.fork()",
        "import subprocess; subprocess.run(['/bin/true'])",
        "os.execv('/bin/true', ['true'])",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.kill(os.getppid(), 9)",
        "os.kill(-1, 9)",
        "import signal; signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 9)",
        "import resource; resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (1, 1))",
        "os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
        "import ctypes; c = ctypes.CDLL(None, use_errno=True)\n"
        "if c.ptrace(16, os.getppid(), 0, 0) < 0 and ctypes.get_errno() == 1: "
        "raise PermissionError",
        "import ctypes; c = ctypes.CDLL(None, use_errno=True)\n"
        "if c.unshare(0x10000000) < 0 and ctypes.get_errno() == 1: raise PermissionError",
    ],
)
def test_attack_a_study_reaches_other_processes(warm: Site, body: str) -> None:
    """Among them a fork bomb. The node itself is the parent that must live."""
    sandbox = warm.attack(body)
    assert "PermissionError" in refused(sandbox)
    assert sandbox.alive


def test_threads_are_allowed(site: Site) -> None:
    body = "import threading; t = threading.Thread(target=print); t.start(); t.join()"
    assert site.training(body).train(SEED) == Trained(4, 3)


def test_attack_secrets_are_inherited(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment, or as an open file that was left inheritable."""
    monkeypatch.setenv("COMITY_PASSWORD_FILE", "SECRET-4711")
    handle = os.open(site.folder / "keys.pem", os.O_RDONLY)
    os.set_inheritable(handle, True)
    body = (
        "print(sorted(os.environ), sys.argv)\n"
        "for h in range(3, 256):\n"
        "    try: print(os.read(h, 99) if os.lseek(h, 0, 0) == 0 else '')\n"
        "    except OSError: pass"
    )
    sandbox = site.training(body)
    os.close(handle)
    sandbox.train(SEED)
    notes = sandbox.notes_path.read_text()
    assert "'HOME'" in notes and "COMITY" not in notes and "PRIVATE" not in notes


def test_attack_a_memory_bomb_ends_at_the_limit(site: Site) -> None:
    sandbox = site.training("hold = [np.ones(2**24) for _ in range(100)]")
    with pytest.raises(StudyFault) as caught:
        sandbox.train(SEED)
    assert caught.value.kind is StudyFaultKind.LIMIT_EXCEEDED
    assert sandbox.evaluate() == {"first": 5.0}  # it lives on


def test_attack_a_study_never_ends(site: Site) -> None:
    sandbox = site.training(
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass",
        Limits(memory_bytes=2**30, request_s=1.0),
    )
    with pytest.raises(StudyFault) as caught:
        sandbox.train(SEED)
    assert caught.value.kind is StudyFaultKind.LIMIT_EXCEEDED
    assert not sandbox.alive
    with pytest.raises(StudyFault, match="restart"):
        sandbox.train(SEED)
    assert site.training().train(SEED) == Trained(4, 3)


def test_attack_processor_time_is_bounded_for_life(site: Site) -> None:
    sandbox = site.training("while True: pass", Limits(memory_bytes=2**30, cpu_s=2))
    with pytest.raises(StudyFault) as caught:
        sandbox.train(SEED)
    assert caught.value.kind is StudyFaultKind.LIMIT_EXCEEDED


def test_attack_a_study_fills_the_disk(site: Site) -> None:
    sandbox = site.training("print('x' * 2**21)")
    assert "File too large" in refused(sandbox) or sandbox.notes_path.stat().st_size <= 2**20
    assert sandbox.notes_path.stat().st_size <= 2**20
    body = "open(os.environ['HOME'] + '/update.f32', 'r+b').write(b'x' * 2**21)"
    sandbox = site.training(body)
    assert "OSError" in refused(sandbox)
    assert sandbox.vector_path.stat().st_size <= 2**20


def test_attack_an_exception_carries_a_value_out(
    site: Site, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """In its text, its type's name, its notes, its cause, in what is printed."""
    caplog.set_level(logging.DEBUG)
    sandbox = site.training(
        "secret = 'SECRET-' + str(4700 + 11)\nprint(secret, file=sys.stderr); print(secret)\n"
        "error = type(secret, (ValueError,), {})(secret); error.add_note(secret)\n"
        "raise error from KeyError(secret)"
    )
    with pytest.raises(StudyFault) as caught:
        sandbox.train(SEED)
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    told += "".join(capfd.readouterr()) + repr(caught.value.args)
    assert caught.value.kind is StudyFaultKind.CODE_FAILED
    assert caught.value.where == "study.py, line 19"
    assert "4711" not in told
    assert "SECRET-4711" in sandbox.notes_path.read_text()  # for the owner of the site
    assert sandbox.evaluate() == {"first": 5.0}


FORGED = (
    "for h in range(3, 128):\n    try: os.write(h, LINE)\n    except OSError: pass\nos._exit(0)"
)


@pytest.mark.parametrize(
    "line",
    [
        b"x" * 3_000_000 + b"\n",
        b"nonsense\n",
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
        b'{"type":"trained","words":4,"example_count":0}\n',
        b'{"type":"trained","words":4,"example_count":1e400}\n',
        b'{"type":"trained","words":99,"example_count":1}\n',
        b'{"type":"trained","words":4,"example_count":1,"more":"SECRET"}\n',
        b'{"type":"evaluated","metrics":{}}\n',
        b'{"type":"failed","kind":"SECRET","line":1}\n',
        b'{"type":"trained","words":4,"example_count":1}\n' * 2,
    ],
)
def test_attack_a_study_forges_the_answer(warm: Site, line: bytes) -> None:
    expression = f"b'{line[:1].decode('latin-1')}' * {len(line) - 1} + b'\\n'"
    if len(line) < 1000:
        expression = repr(line)
    sandbox = warm.attack(FORGED.replace("LINE", expression))
    with pytest.raises(StudyFault) as caught:
        sandbox.train(SEED)
    assert caught.value.kind is StudyFaultKind.BAD_OUTPUT
    assert "SECRET" not in str(caught.value)
    assert not sandbox.alive


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
    (site.folder / "long.py").write_text("#" * (2**20 + 1))
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
