"""A study that fails at one site: a code is kept, its words stay, the round goes on without it.

Issue: a secret planted in an exception, a print, a log record, a file name or a class name must
never leave the site: not in the log, a statement, the host's folder or log, another node's folder.
"""

from __future__ import annotations

import logging
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
PARTS = "'-'.join(('Patient', '47' + '11', 'positive'))"
"""The file holds no such word; the study makes it, as it would from a row."""

LEAKS = {
    "exception text": f"if len(table) == 5: raise ValueError({PARTS})",
    "print": f"if len(table) == 5: print({PARTS}, flush=True); 1 / 0",
    "log record": f"if len(table) == 5: import logging; logging.critical({PARTS}); 1 / 0",
    "file name": f"if len(table) == 5: open('/tmp/' + {PARTS}, 'w')",
    "class name": f"if len(table) == 5: raise type({PARTS}, (KeyError,), {{}})({PARTS})",
    "line": "if len(table) == 5: exec(compile(chr(10) * 47 * 100 + 'x', __file__, 'exec'))",
    "number": "if len(table) == 5: raise SyntaxError('x', (__file__, 4711, 1, ''))",
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


def fresh(world: World) -> None:
    """The failing member's study process starts anew, in its own folder."""
    world.desk("m3").loop._rounds._practice._running.clear()


def bytes_below(folder: Path) -> bytes:
    """Everything that lies in a folder, names too."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return b"".join(str(path).encode() + path.read_bytes() for path in files)


@pytest.mark.parametrize("leak", LEAKS)
def test_a_planted_secret_stays_at_its_site(
    commons: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, leak: str
) -> None:
    caplog.set_level(logging.DEBUG)
    prepared = commons(4, exposed=EVERYBODY, survivors_min=3, rounds=1, twist=LEAKS[leak])
    with prepared.world(tmp_path) as world:
        fresh(world)
        world.let_time_pass(world.results(1))
        assert len(world.study.results) == 1, world.describe()
        assert not world.said("round.commit", "m3")
        own = wishes.failures(world.desk("m3").station, "small")
        lines = prepared.text.splitlines()
        line = 1 + next(at for at, text in enumerate(lines) if "len(table) == 5" in text)
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
    prepared = commons(
        4, exposed=EVERYBODY, survivors_min=3, rounds=1, twist=LEAKS["exception text"]
    )
    with prepared.world(tmp_path) as world:
        fresh(world)
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
    "return after, 0": StudyFaultKind.WEIGHT_OUT_OF_RANGE,
    "print(list(table['x'])); import os; os._exit(0)": StudyFaultKind.CODE_FAILED,
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_the_round_goes_on_without_a_site_where_the_study_is_hostile(
    commons: Make, tmp_path: Path, attack: str
) -> None:
    """The site's operator reads which; the others read whom they wait for, and go on."""
    prepared = commons(
        4, exposed=EVERYBODY, survivors_min=3, rounds=1, twist=f"if len(table) == 5: {attack}"
    )
    with prepared.world(tmp_path) as world:
        fresh(world)
        world.run(lambda: "SayCommit" in world.desk("m3").station.faults)
        fault = world.desk("m3").station.faults["SayCommit"]
        assert f"[{HOSTILE[attack].value}]" in fault and str(tmp_path / "m3") in fault
        world.let_time_pass(world.results(1))
        assert len(world.study.results) == 1, world.describe()
        own = wishes.failures(world.desk("m3").station, "small")
        assert own.noted[-1].kind == HOSTILE[attack].value
    assert not Path("/tmp/comity-left-behind").exists()
