"""Studies that attack the site they run at, each in a real process behind the real walls.

An attack is what the `train` of a study does; the honest study is in test_sandbox.py.
"""

from __future__ import annotations

import logging
import os
import socket
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from comity.errors import StudyFault, StudyFaultKind
from comity.node.isolation import Limits
from comity.node.sandbox import Sandbox
from comity.node.sandbox_wire import Trained
from tests.node.sandbox_site import SEED, TABLE, Site, opened


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
    "for h in range(3, 4096):\n    try: os.write(h, LINE)\n    except OSError: pass\nos._exit(0)"
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


@pytest.mark.parametrize(("kept", "lies"), [(b"", False), (b"12345678", True)])
def test_attack_a_study_lies_about_what_its_site_keeps(warm: Site, kept: bytes, lies: bool) -> None:
    """A forged answer with files of the right length is an update like any other; else refused."""
    answer = b'{"type":"trained","words":4,"example_count":1}\n'
    home = "os.environ['HOME'] + "
    sandbox = warm.attack(
        f"open({home}'/update.f32', 'r+b').write(bytes(16))\n"
        f"open({home}'/kept.f32', 'r+b').write({kept!r})\n" + FORGED.replace("LINE", repr(answer))
    )
    if not lies:
        assert sandbox.train(SEED) == Trained(4, 1)
        sandbox.close()
        return
    with pytest.raises(StudyFault, match="another size") as caught:
        sandbox.train(SEED)
    assert caught.value.kind is StudyFaultKind.BAD_OUTPUT and not sandbox.alive
