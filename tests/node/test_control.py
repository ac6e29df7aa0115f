"""The control socket: a real station behind a real socket; its loop is a lock, held by turns."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.errors import (
    ComityError,
    DataFault,
    Forged,
    HeadMoved,
    HostFault,
    HostFaultKind,
    Malformed,
    MemberFault,
    MemberFaultKind,
    Misconfigured,
    Refused,
    Rule,
    StudyFault,
    StudyFaultKind,
    Unavailable,
)
from comity.node.control import (
    CONNECTIONS_MAX,
    REQUEST_BYTES_MAX,
    SOCKET,
    ControlServer,
    Failure,
    ask_node,
    error_of,
    failure_of,
)
from comity.node.pages import LogPage
from comity.node.reports import Status
from comity.node.station import Station
from comity.node.wish_wire import (
    AskStatus,
    CastVote,
    GiveConsent,
    ListLog,
    ShowEntry,
    check_wish,
    fulfil,
)
from comity.storage.ports import SaidBefore
from comity.values import StatementId
from tests.e2e.places import found_places

NOBODY = "http://127.0.0.1:9"


@contextmanager
def served(folder: Path, *, line_s: float = 10.0) -> Iterator[tuple[Path, Station]]:
    """A station of a commons that nobody has entered, behind its socket."""
    place = found_places(folder, ("a", "b", "c"), table=b"x\n").all[0]
    station = place.open(NOBODY)
    turn = threading.Lock()

    def in_loop(call: Callable[[Station], object]) -> object:
        with turn:
            return call(station)

    server = ControlServer(station, in_loop, line_s=line_s)
    server.start()
    try:
        yield place.folder, station
    finally:
        server.close()
        server.close()
        station.close()


@pytest.fixture(scope="module")
def node() -> Iterator[tuple[Path, Station]]:
    with tempfile.TemporaryDirectory() as name, served(Path(name)) as found:
        yield found


def sent(folder: Path, raw: bytes, *, end: bool = False) -> bytes:
    """What a node answers to these bytes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(20)
        peer.connect(str(folder / SOCKET))
        try:
            peer.sendall(raw)
            if end:
                peer.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass
        answer = b""
        try:
            while piece := peer.recv(65_536):
                answer += piece
        except ConnectionResetError:
            pass
        return answer


def test_a_wish_is_answered_as_by_the_station_itself(node: tuple[Path, Station]) -> None:
    folder, station = node
    answer = ask_node(folder, AskStatus())
    assert isinstance(answer, Status)
    assert answer == fulfil(AskStatus(), station)
    assert answer.missing == ("a", "b", "c") and not answer.founded
    assert ask_node(folder, ListLog()) == LogPage(0, 0, ())


def test_an_error_comes_back_as_it_was_raised(node: tuple[Path, Station]) -> None:
    folder, station = node
    with pytest.raises(Refused) as here:
        fulfil(ShowEntry(3), station)
    with pytest.raises(Refused) as there:
        ask_node(folder, ShowEntry(3))
    assert there.value.rule is Rule.NO_SUCH_THING
    assert str(there.value) == str(here.value)


@pytest.mark.parametrize(
    "error",
    [
        Malformed("m"),
        Forged("f [x]"),
        Refused(Rule.NO_CONSENT, "no"),
        HostFault(HostFaultKind.SPLIT_VIEW, "two"),
        MemberFault(MemberFaultKind.BAD_SUM, "sum"),
        StudyFault(StudyFaultKind.CODE_FAILED, "broke", "s.py, line 3"),
        DataFault("does not fit", "t.csv, row 2"),
        Unavailable("later"),
        Misconfigured("setting"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_survives_the_socket(error: ComityError) -> None:
    again = error_of(failure_of(error))
    assert type(again) is type(error) and str(again) == str(error)
    assert getattr(again, "kind", None) == getattr(error, "kind", None)
    assert getattr(again, "rule", None) == getattr(error, "rule", None)


def test_a_finer_error_travels_as_what_it_is() -> None:
    assert type(error_of(failure_of(HeadMoved("moved")))) is Unavailable
    said = SaidBefore(StatementId("0" * 64), "once")
    again = error_of(failure_of(said))
    assert type(again) is Refused and str(again) == str(said)


def test_an_error_that_does_not_exist_is_malformed() -> None:
    for made_up in (Failure("ValueError", "x"), Failure("Refused", "x", "no-such-rule")):
        assert type(error_of(made_up)) is Malformed


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"hello\n",
        b"null\n",
        b"[]\n",
        b'{"type":"no-such-wish"}\n',
        b'{"type":"status","extra":1}\n',
        b'{"type":"log-show","index":-1}\n',
        b'{"type":"log-show","index":"1"}\n',
        b'{"type":"log-list","count":1001}\n',
        b'{"type":"consent-give","study":""}\n',
        b'{"type":"consent-give","study":"' + b"x" * 65 + b'"}\n',
        b'{"type":"vote","proposal":"aaaa","choice":"perhaps"}\n',
        b'{"type":"data-add","dataset":"../a","path":"/x"}\n',
        b'{"type":"status"\xff}\n',
        b"[" * 60_000 + b"\n",
        b'{"type":"status"}\n{"type":"status"}\n',
        b"x" * (REQUEST_BYTES_MAX + 2) + b"\n",
    ],
    ids=lambda line: line[:24].decode("latin-1").strip(),
)
def test_a_hostile_line_is_refused_and_the_node_goes_on(
    node: tuple[Path, Station], line: bytes
) -> None:
    folder, _ = node
    answer = sent(folder, line)
    # A line that is cut off while it is sent may leave no way to answer.
    if answer:
        assert msgspec.json.decode(answer, type=Failure).error == "Malformed"
    else:
        assert len(line) > REQUEST_BYTES_MAX
    assert isinstance(ask_node(folder, AskStatus()), Status)


def test_why_a_wish_is_not_granted_is_logged_with_its_rule_and_no_words(
    node: tuple[Path, Station], caplog: pytest.LogCaptureFixture
) -> None:
    folder, _ = node
    caplog.set_level("INFO", "comity.node.control")
    with pytest.raises(Refused):
        ask_node(folder, CastVote("ab" * 32, "yes"))
    (line,) = [r.getMessage() for r in caplog.records if r.name == "comity.node.control"]
    assert line == "wish not granted why=Refused code=no-such-thing"


@settings(max_examples=60, deadline=None)
@given(raw=st.binary(max_size=200))
def test_no_bytes_end_the_node(node: tuple[Path, Station], raw: bytes) -> None:
    folder, _ = node
    answer = sent(folder, raw.replace(b"\n", b"") + b"\n")
    assert msgspec.json.decode(answer, type=Failure).error == "Malformed"


def test_a_line_without_end_is_given_up(tmp_path: Path) -> None:
    with served(tmp_path, line_s=0.2) as (folder, _):
        began = time.monotonic()
        answer = sent(folder, b'{"type":"sta')
        assert msgspec.json.decode(answer, type=Failure).error == "Unavailable"
        assert time.monotonic() - began < 5
        answer = sent(folder, b'{"type":"sta', end=True)
        assert msgspec.json.decode(answer, type=Failure).error == "Unavailable"
        assert isinstance(ask_node(folder, AskStatus()), Status)


def test_too_many_at_once_are_turned_away(tmp_path: Path) -> None:
    with served(tmp_path, line_s=2.0) as (folder, _):
        idle = [socket.socket(socket.AF_UNIX) for _ in range(CONNECTIONS_MAX)]
        try:
            for peer in idle:
                peer.connect(str(folder / SOCKET))
            with pytest.raises(Unavailable):
                for _ in range(3):  # the last of the idle ones may not be taken yet
                    ask_node(folder, AskStatus())
        finally:
            for peer in idle:
                peer.close()


def test_without_a_node_there_is_no_answer(tmp_path: Path) -> None:
    assert ask_node(tmp_path, AskStatus()) is None
    assert ask_node(tmp_path / "no-such-folder", AskStatus()) is None
    left_over = socket.socket(socket.AF_UNIX)
    left_over.bind(str(tmp_path / SOCKET))
    left_over.close()
    assert ask_node(tmp_path, AskStatus()) is None


def test_a_folder_with_a_long_path_has_a_socket_too(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    with served(deep) as (folder, _):
        assert len(str(folder / SOCKET)) > 108
        assert isinstance(ask_node(folder, AskStatus()), Status)
    assert ask_node(folder, AskStatus()) is None


def test_the_socket_is_its_owners_alone(node: tuple[Path, Station]) -> None:
    folder, _ = node
    assert (folder / SOCKET).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o077 == 0


def test_a_wish_beyond_its_limits_is_a_mistake_of_its_author() -> None:
    check_wish(GiveConsent("study"))
    with pytest.raises(Misconfigured, match="study"):
        check_wish(GiveConsent("x" * 65))
