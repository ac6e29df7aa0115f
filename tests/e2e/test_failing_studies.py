"""A study that fails at one site: a code is kept, its words stay, the round goes on without it.

Issue: a secret planted in an exception, a print, a log record, a file name or a class name must
never leave the site: not in the log, a statement, the host's folder or log, another node's folder.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from comity.errors import Raised, StudyFaultKind
from comity.node import wishes
from comity.node.failures import FailureNoted
from comity.statements.wire import read
from tests.e2e.prepared import Make
from tests.e2e.steps import World

EVERYBODY = ("m0", "m1", "m2", "m3")
SECRET = "Patient-4711-positive"
TWIST = (
    "if len(table) == 5: exec(open(os.environ['HOME'] + '/attack.py').read(), globals(), locals())"
)
"""At one site the study does what a file there says: one commons serves all these tests."""

LEAKS = {
    "exception text": f"raise ValueError('{SECRET}')",
    "print": f"print('{SECRET}', flush=True); 1 / 0",
    "log record": f"import logging; logging.critical('{SECRET}'); 1 / 0",
    "file name": f"open('/tmp/{SECRET}', 'w')",
    "class name": f"raise type('{SECRET}', (KeyError,), {{}})('{SECRET}')",
    "line": "exec(compile(chr(10) * 4710 + 'x', __file__, 'exec'))",
    "number": "raise SyntaxError('x', (__file__, 4711, 1, ''))",
}
KINDS = {
    "exception text": Raised.VALUE,
    "print": Raised.ZERO_DIVISION,
    "log record": Raised.ZERO_DIVISION,
    "file name": Raised.PERMISSION,
    "class name": Raised.KEY,
    "line": Raised.NAME,
    "number": Raised.SYNTAX,
}


@contextmanager
def attacked(commons: Make, folder: Path, attack: str) -> Iterator[World]:
    """Four members; m3's study process starts anew in its own folder, and does this in training."""
    twist = "import os\n    " + TWIST
    prepared = commons(4, exposed=EVERYBODY, survivors_min=3, rounds=1, twist=twist)
    with prepared.world(folder) as world:
        failing = world.desk("m3")
        failing.loop._rounds._practice._running.clear()
        home = failing.station.folder / "sandbox" / prepared.study_id
        home.mkdir(parents=True, mode=0o700)
        (home / "attack.py").write_text(attack)
        yield world


def bytes_below(folder: Path) -> bytes:
    """Everything that lies in a folder, names too."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return b"".join(str(path).encode() + path.read_bytes() for path in files)


@pytest.mark.parametrize("leak", LEAKS)
def test_a_planted_secret_stays_at_its_site(
    commons: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, leak: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with attacked(commons, tmp_path, LEAKS[leak]) as world:
        world.let_time_pass(world.results(1))
        assert len(world.study.results) == 1, world.describe()
        assert not world.said("round.commit", "m3")
        own = wishes.failures(world.desk("m3").station, "small")
        file = Path(wishes.study_file(world.desk("m3").station, "small").code)
        line = 1 + file.read_text().splitlines().index("    " + TWIST)
        code = StudyFaultKind.CODE_FAILED.value
        assert own.noted == (FailureNoted(1, 1, code, line, KINDS[leak]),)
        if leak not in ("line", "number"):
            assert SECRET in own.words
        told = b"".join(world.leaves()) + repr([read(x).statement for x in world.leaves()]).encode()
        told += caplog.text.encode() + repr([d.station.faults for d in world.desks]).encode()
        told += repr([wishes.status(desk.station) for desk in world.desks]).encode()
    for place in ("host", "m0", "m1", "m2"):
        told += bytes_below(tmp_path / place)
    assert SECRET.encode() not in told
    assert not Path(f"/tmp/{SECRET}").exists()


def test_the_search_would_find_it(commons: Make, tmp_path: Path) -> None:
    """The failing site's own folder has the secret, so looking through folders can fail."""
    with attacked(commons, tmp_path, LEAKS["exception text"]) as world:
        world.let_time_pass(world.results(1))
    assert SECRET.encode() in bytes_below(tmp_path / "m3")


HOSTILE = {
    "hold = [np.ones(2**28) for _ in range(64)]": StudyFaultKind.LIMIT_EXCEEDED,
    "import os; os.fork()": StudyFaultKind.CODE_FAILED,
    "import socket; socket.create_connection(('127.0.0.1', 9))": StudyFaultKind.CODE_FAILED,
    "open('/tmp/comity-left-behind', 'w')": StudyFaultKind.CODE_FAILED,
    "after['b'][0] = np.nan": StudyFaultKind.NOT_FINITE,
    "after['b'][0] = np.inf": StudyFaultKind.NOT_FINITE,
    "after.pop('b')": StudyFaultKind.WRONG_SHAPE,
    "print(list(table['x'])); import os; os._exit(0)": StudyFaultKind.CODE_FAILED,
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_the_round_goes_on_without_a_site_where_the_study_is_hostile(
    commons: Make, tmp_path: Path, attack: str
) -> None:
    """The site's operator reads which; the others read whom they wait for, and go on."""
    with attacked(commons, tmp_path, attack) as world:
        world.run(lambda: "SayCommit" in world.desk("m3").station.faults)
        fault = world.desk("m3").station.faults["SayCommit"]
        assert f"[{HOSTILE[attack].value}]" in fault
        world.let_time_pass(world.results(1))
        assert len(world.study.results) == 1, world.describe()
        own = wishes.failures(world.desk("m3").station, "small")
        assert own.noted[-1].kind == HOSTILE[attack].value
    assert not Path("/tmp/comity-left-behind").exists()
