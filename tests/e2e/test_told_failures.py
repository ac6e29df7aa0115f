"""What a site lets out of a failure: what its policy says, codes only, whatever the study tries.

ADR 58. The slow test runs host and nodes as the programs they are, and looks at every byte that
went to the host; CI runs the same study with nodes in one process, and its study process apart.
"""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from comity.errors import Raised
from comity.node import wishes
from comity.node.planning import PlanTerms
from comity.node.sandbox_wire import NOTES_FILE
from comity.statements.studies import StudyFail
from tests.e2e.live import live
from tests.e2e.places import free_port
from tests.e2e.prepared import Make
from tests.e2e.preparing import PHASE_S, TRAIN_S, prepare
from tests.e2e.small_study import study_text
from tests.e2e.steps import World
from tests.e2e.test_failing_studies import EVERYBODY, LEAKS, SECRET, attacked, bytes_below

FAILING = "m3"
ALL_AT_ONCE = (
    "if len(table) == 5: import logging; row = '-'.join(str(int(x) * 1117) for x in table['x']);"
    " print(row, flush=True); logging.critical(row); raise type(row, (KeyError,), {})(row)"
)
"""At m3 alone: its row in a print, a log record, an exception's text, the name of its class."""

ROW = "4468-5585-6702-7819-8936"


def forms_of(text: str) -> list[bytes]:
    """How a text may look in bytes: itself, hex, and base64 from each of three beginnings."""
    raw = text.encode()
    forms = [raw, raw.hex().encode()]
    for skip in range(3):
        whole = base64.b64encode(b"\0" * skip + raw)
        forms.append(whole[skip and 4 : len(whole) - 4])  # but for what neighbours decide
    return forms


def found_in(text: str, told: bytes) -> bool:
    """Whether the bytes hold the text in one of its forms."""
    return any(form in told for form in forms_of(text))


def fail_with(world: World, much: str) -> None:
    """Run until the study has failed at m3, whose policy says how much of that may be told."""
    station = world.desk(FAILING).station
    policy = station.folder / "site.toml"
    policy.write_text(f'tell_failures = "{much}"\n{policy.read_text()}')
    world.run(lambda: "SayCommit" in station.faults)
    if much != "nothing":
        world.run(lambda: bool(world.said("study.fail", FAILING)))


@pytest.mark.parametrize("much", [pytest.param("nothing", marks=pytest.mark.slow), "kind", "line"])
def test_the_policy_says_how_much_is_told(commons: Make, tmp_path: Path, much: str) -> None:
    with attacked(commons, tmp_path, LEAKS["class name"]) as world:
        fail_with(world, much)
        own = wishes.failures(world.desk(FAILING).station, "small").noted[0]
        assert own.raised is Raised.KEY and own.line > 0
        told = [failure for who, failure in world.study.failures if who == FAILING]
        match much:
            case "nothing":
                assert told == [] and not world.said("study.fail", FAILING)
            case "kind":
                assert [(f.kind, f.line, f.raised) for f in told] == [("code-failed", 0, "nothing")]
            case _:
                assert [(f.kind, f.line, f.raised) for f in told] == [
                    ("code-failed", own.line, "KeyError")
                ]
        # Everybody's screen has it; once for the attempt, whatever the node does meanwhile.
        world.run(lambda: len(world.desk("m0").station.replica.state.studies) == 1)
        world.desk(FAILING).loop._rounds._practice.follow(world.state)
        world.let_time_pass(world.results(1))
        assert len(world.study.failures) == len(told)
        copy = world.desk("m0").station.replica
        world.run(lambda: copy.state.studies[world.study_id].failures == world.study.failures)
        shown = wishes.show_study(world.desk("m0").station, "small").told
        assert [(each.member, each.line) for each in shown] == [(FAILING, f.line) for f in told]
        leaves = b"".join(world.leaves())
    for place in ("host", "m0", "m1", "m2"):
        leaves += bytes_below(tmp_path / place)
    assert not found_in(SECRET, leaves)
    assert found_in("statement/study.fail/v1", leaves) == bool(told)  # so the search can find


def test_the_search_finds_a_text_wherever_it_begins() -> None:
    for skip in range(7):
        around = b'{"payload":"' + base64.b64encode(b"x" * skip + SECRET.encode() + b"yz") + b'"}'
        assert found_in(SECRET, around)
    assert not found_in(SECRET, base64.b64encode(b"Patient-4712-positive" * 3))


class Recorder:
    """A relay in front of the host that keeps every byte that goes to it."""

    def __init__(self, port: int) -> None:
        self.sent = bytearray()
        self._onward = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more."""
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._listening.accept()
                threading.Thread(target=self._relay, args=(line,), daemon=True).start()

    def _relay(self, line: socket.socket) -> None:
        with (
            suppress(OSError),
            line,
            socket.create_connection(("127.0.0.1", self._onward)) as onward,
        ):
            back = threading.Thread(target=_pump, args=(onward, line, None), daemon=True)
            back.start()
            _pump(line, onward, self.sent)
            back.join()


def _pump(source: socket.socket, target: socket.socket, kept: bytearray | None) -> None:
    with suppress(OSError):
        while piece := source.recv(65_536):
            if kept is not None:
                kept += piece
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def recorded(port: int) -> Iterator[Recorder]:
    """A recorder in front of a host that will listen at this port."""
    recorder = Recorder(port)
    try:
        yield recorder
    finally:
        recorder.close()


@pytest.mark.slow
def test_no_byte_that_the_host_gets_holds_a_planted_secret(tmp_path: Path) -> None:
    """Programs: `comity host serve`, four times `comity node run`, each study process its own."""
    text = study_text(rounds=1, twist=ALL_AT_ONCE)
    made = prepare(
        tmp_path / "made",
        4,
        text,
        terms=PlanTerms(survivors_min=3, phase_s=PHASE_S, train_s=TRAIN_S),
        exposed=EVERYBODY,
        site='tell_failures = "line"\n',
    )
    made.close()
    port = free_port()
    with recorded(port) as recorder:
        url = f"http://127.0.0.1:{recorder.port}"
        urls = {place.member: url for place in made.places.all}
        with live(made, tmp_path / "live", urls=urls, port=port) as commons:
            commons.start()

            def told() -> list[StudyFail]:
                study = commons.reader.look().studies.get(commons.study_id)
                return [said for who, said in study.failures if who == FAILING] if study else []

            commons.wait_until(lambda: bool(told()), limit_s=240)
            line = 1 + text.splitlines().index("    " + ALL_AT_ONCE)
            assert [(f.kind, f.line, f.raised) for f in told()] == [
                ("code-failed", line, "KeyError")
            ]
            everything = "".join(map(commons.said, commons.names)).encode()
            notes = commons.place(FAILING).folder / "sandbox" / commons.study_id / NOTES_FILE
            assert notes.read_text().count(ROW) >= 4  # it was there, and is there only
    everything += bytes(recorder.sent)
    for place in ("host", "m0", "m1", "m2"):
        everything += bytes_below(tmp_path / "live" / place)
    assert found_in("statement/study.fail/v1", bytes(recorder.sent))
    assert not found_in(ROW, everything)
