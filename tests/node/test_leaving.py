"""The outlet of a site: what leaves is written down first, or it does not leave.

The attacks: a request that goes out before its line, or without one; a body that goes on after the
owner said stop; a client in the house that passes the outlet by.
"""

from __future__ import annotations

import ast
import json
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.commons.charter import charter_bytes
from comity.errors import Misconfigured, Refused, Unavailable
from comity.node.children import Children
from comity.node.http_client import HttpClient, Limits
from comity.node.keyfile import make_keys
from comity.node.leaving import FOLDER, Ledger, left_since, since_of
from comity.node.remote import Remote
from comity.node.rotating import OwnKeys
from comity.node.running import Running
from comity.node.settings import NodeSettings, write_node_settings
from comity.node.station import Station, system_clock
from comity.node.stopping import FILE, Halted, begin_stop, end_stop, stop_of
from comity.values import MemberId, sha256
from tests.e2e.prepared import Make
from tests.e2e.taps import messages, tapped
from tests.node.test_mirror import mirrored
from tests.web import Quiet, serving
from tests.worlds import charter_of

SOURCE = Path(__file__).resolve().parents[2] / "src" / "comity"
NOW_S = 1_795_000_000
ONCE = Limits(connect_s=2, silence_s=5, answer_s=5, tries=1)


def node_folder(root: Path) -> Path:
    folder = root / "node"
    folder.mkdir()
    (folder / "node.toml").write_text("")
    return folder


def client_of(folder: Path, port: int) -> HttpClient:
    ledger = Ledger(folder, lambda: NOW_S)
    url = f"http://127.0.0.1:{port}"
    return HttpClient(url, tls=None, proxy=None, limits=ONCE, outlet=ledger)


@contextmanager
def listening(seen: list[tuple[int, bytes]], folder: Path) -> Iterator[int]:
    """A server that notes, at the first byte, how many lines the ledger has already."""

    class Looking(Quiet):
        def look(self) -> None:
            lines = len(left_since(folder, 0).messages)
            seen.append((lines, self.rfile.read(int(self.headers.get("Content-Length") or 0))))
            self.answer(200, b"{}", {})

        do_GET = do_POST = look

    with serving(Looking) as port:
        yield port


def test_a_line_is_there_before_the_first_byte(tmp_path: Path) -> None:
    folder, seen = node_folder(tmp_path), list[tuple[int, bytes]]()
    with listening(seen, folder) as port:
        client = client_of(folder, port)
        client.ask("POST", "/readers", body=b"who", bytes_max=100)
        client.ask("GET", "/entries", query={"from": "7"}, bytes_max=100)
        client.close()
    assert seen == [(1, b"who"), (2, b"")]
    first, second = left_since(folder, 0).messages
    assert (first.line, first.bytes, first.sha256) == ("POST /readers", 3, sha256(b"who"))
    assert (first.kind, first.to) == ("request to read", f"127.0.0.1:{port}")
    assert (second.line, second.bytes) == ("GET /entries?from=7", 0)
    assert (folder / FOLDER / "2026-11.jsonl").stat().st_mode & 0o077 == 0


def test_each_try_has_a_line(tmp_path: Path) -> None:
    folder = node_folder(tmp_path)
    ledger = Ledger(folder, lambda: NOW_S)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    limits = Limits(connect_s=1, tries=3, pause_s=0.001, pause_s_max=0.001)
    url = f"http://127.0.0.1:{port}"
    client = HttpClient(url, tls=None, proxy=None, limits=limits, outlet=ledger)
    with pytest.raises(Unavailable):
        client.ask("GET", "/status", bytes_max=10)
    assert len(left_since(folder, 0).messages) == 3


def test_what_cannot_be_noted_is_not_sent(tmp_path: Path) -> None:
    folder, seen = node_folder(tmp_path), list[tuple[int, bytes]]()
    (folder / FOLDER).write_text("a file where the ledger's folder should be")
    with listening(seen, folder) as port:
        client = client_of(folder, port)
        with pytest.raises(Unavailable, match="nothing was sent"):
            client.ask("POST", "/statements", body=b"secret plans", bytes_max=100)
        client.close()
    assert seen == []


def test_a_torn_line_is_told_and_the_next_one_is_whole(tmp_path: Path) -> None:
    folder = node_folder(tmp_path)
    Ledger(folder, lambda: NOW_S).leaving("a:1", "GET /status", b"")
    path = folder / FOLDER / "2026-11.jsonl"
    path.write_bytes(path.read_bytes() + b'{"time_s":17')
    Ledger(folder, lambda: NOW_S + 1).leaving("a:1", "GET /status", b"")
    report = left_since(folder, 0)
    assert (len(report.messages), report.unreadable) == (2, 1)
    assert [each.time_s for each in left_since(folder, NOW_S + 1).messages] == [NOW_S + 1]
    assert b"\n\n" not in path.read_bytes()


def test_months_have_files_of_their_own(tmp_path: Path) -> None:
    folder, clock = node_folder(tmp_path), [NOW_S]
    ledger = Ledger(folder, lambda: clock[0])
    for _ in range(3):
        ledger.leaving("a:1", "GET /status", b"")
        clock[0] += 20 * 86_400
    assert len(list((folder / FOLDER).iterdir())) == 2
    assert len(left_since(folder, NOW_S).messages) == 3


@given(st.binary(max_size=300))
def test_any_bytes_in_the_ledger_are_read_or_counted(
    tmp_path_factory: pytest.TempPathFactory, written: bytes
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / FOLDER).mkdir()
    (folder / FOLDER / "2026-11.jsonl").write_bytes(written)
    assert left_since(folder, 0).messages == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23", 1_795_392_000),
        ("2026-11-23T08:00", 1_795_420_800),
        ("24h", NOW_S - 86_400),
        ("7d", NOW_S - 7 * 86_400),
        ("30m", NOW_S - 1_800),
    ],
)
def test_times_people_write(text: str, expected: int) -> None:
    assert since_of(text, NOW_S) == expected


@pytest.mark.parametrize("text", ["", "h", "yesterday", "-1d", "٣d", "2026-13-01", "1y"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(Misconfigured):
        since_of(text, NOW_S)


def test_nothing_leaves_while_the_site_is_stopped_and_then_it_does(tmp_path: Path) -> None:
    folder, seen = node_folder(tmp_path), list[tuple[int, bytes]]()
    stop = begin_stop(folder, now_s=NOW_S, for_s=60, reason="a look")
    assert "a look" in stop.words
    with listening(seen, folder) as port:
        client = client_of(folder, port)
        with pytest.raises(Halted):
            client.ask("GET", "/status", bytes_max=100, tries=5)
        assert seen == [] and left_since(folder, 0).messages == ()
        assert stop_of(folder, NOW_S + 59) == stop
        assert stop_of(folder, NOW_S + 60) is None, "every stop ends by itself"
        end_stop(folder)
        client.ask("GET", "/status", bytes_max=100)
        client.close()
    assert len(seen) == 1


def test_a_stop_that_cannot_be_read_holds(tmp_path: Path) -> None:
    folder = node_folder(tmp_path)
    for written in (b"", b"{}", b'{"type":"stop","since_s":1,"until_s":-1}', b"\xff"):
        (folder / FILE).write_bytes(written)
        with pytest.raises(Halted, match="stop --end"):
            stop_of(folder, NOW_S)
    for for_s in (0, 31 * 86_400):
        with pytest.raises(Misconfigured):
            begin_stop(folder, now_s=NOW_S, for_s=for_s)
    with pytest.raises(Misconfigured, match="no node's folder"):
        begin_stop(tmp_path, now_s=NOW_S, for_s=60)


def test_a_stop_ends_a_body_in_its_middle(tmp_path: Path) -> None:
    """The receiver reads nothing for a while; at the stop, the rest of the body never comes."""
    folder = node_folder(tmp_path)
    ledger = Ledger(folder, lambda: NOW_S)
    body = bytes(64 * 2**20)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = HttpClient(url, tls=None, proxy=None, limits=ONCE, outlet=ledger)
        ended: list[Exception] = []

        def send() -> None:
            try:
                client.ask("POST", "/statements", body=body, bytes_max=10)
            except Unavailable as error:
                ended.append(error)

        sender = threading.Thread(target=send)
        sender.start()
        line, _ = listener.accept()
        with line:
            come = len(line.recv(65_536))
            begin_stop(folder, now_s=NOW_S, for_s=60)
            ledger.cut()
            sender.join(30)
            assert not sender.is_alive() and ended
            with suppress(ConnectionError):  # the system threw the rest away, as meant
                while piece := line.recv(2**20):
                    come += len(piece)
        assert come < len(body) // 2


def test_study_processes_end_with_a_stop_and_none_begins() -> None:
    children = Children()
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    later = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        children.begun(child)
        assert children.kill_all() == 1
        assert child.wait(20) == -9
        with pytest.raises(Halted):
            children.begun(later)
        children.allow()
        children.begun(later)
        children.ended(later)
        assert children.kill_all() == 0 and later.poll() is None
    finally:
        for each in (child, later):
            if each.poll() is None:
                each.kill()
            each.wait(20)


def test_a_stop_is_seen_that_comes_while_the_folder_is_opened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    charter = charter_of(3)
    (tmp_path / "charter.json").write_bytes(charter_bytes(charter))
    member = charter.founders[1].id
    settings = NodeSettings(member=member, host_url="https://host.example:8440")
    write_node_settings(tmp_path / "node.toml", settings)
    shown: list[Station] = []

    def own_keys() -> OwnKeys:
        begin_stop(tmp_path, now_s=system_clock(), for_s=60)
        return OwnKeys(make_keys(), None)

    running = Running(tmp_path, own_keys, ready=shown.append)
    thread = threading.Thread(target=running.run)
    with caplog.at_level("WARNING"):
        thread.start()
        while thread.is_alive() and not shown and "stopped why" not in caplog.text:
            time.sleep(0.01)
    running.end()
    thread.join(30)
    assert not thread.is_alive() and not shown
    assert "stopped why" in caplog.text


def test_the_mirror_s_answers_are_in_the_ledger_to_the_byte(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        desk, other = world.desk("m1"), world.desk("m2")
        since = len(left_since(desk.place.folder, 0).messages)
        with mirrored(desk) as url, tapped(int(url.rsplit(":", 1)[1])) as tap:
            reader = Remote(
                tap.url,
                MemberId("m2"),
                statement_key=other.place.keys.statement,
                commons=world.state.commons,
                clock=world.clock,
                limits=ONCE,
            )
            reader.status()
            reader.entries(0)
            plan = world.study.register.plan
            size = desk.station.blobs.path(plan.code).stat().st_size  # type: ignore[arg-type]
            reader.small_blob(plan.code, size)  # type: ignore[arg-type]  # a blob's name
            with pytest.raises((Refused, Unavailable)):
                reader.small_blob("ab" * 32, 5)  # type: ignore[arg-type]  # a blob's name
            reader.close()
            bodiless = [[m.line.startswith("HEAD") for m in messages(up)] for up in tap.up()]
            down = zip(tap.down(), bodiless, strict=True)
            seen = Counter(
                (len(each.body), sha256(each.body))
                for stream, silent in down
                for each in messages(stream, bodiless=silent)
            )
        noted = left_since(desk.place.folder, 0).messages[since:]
        answers = [left for left in noted if left.answer]
        assert Counter((left.bytes, left.sha256) for left in answers) == seen
        assert len(answers) >= 4


def test_a_stopped_mirror_hangs_up_without_a_word(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        desk = world.desk("m1")
        with mirrored(desk) as url, tapped(int(url.rsplit(":", 1)[1])) as tap:
            begin_stop(desk.place.folder, now_s=world.clock(), for_s=60)
            with socket.create_connection(("127.0.0.1", tap.port), timeout=20) as line:
                line.sendall(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
                with suppress(ConnectionError):
                    assert line.recv(100) == b""
            assert b"".join(tap.down()) == b""


def test_every_client_of_the_house_has_an_outlet() -> None:
    """Who makes a connection names the site's outlet, or says that there is no site."""
    makers = {"HttpClient": "outlet", "Remote": "connect"}
    found: list[str] = []
    texts = {path: path.read_text() for path in sorted(SOURCE.rglob("*.py"))}
    for path, text in texts.items():
        if not any(f"{maker}(" in text for maker in makers):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                needed = makers.get(node.func.id)
                if needed and needed not in {each.arg for each in node.keywords}:
                    found.append(f"{path.name}:{node.lineno}")
    assert found == []


def test_nothing_in_the_house_opens_sockets_beside_the_outlet() -> None:
    # A doctor's bare look, the node's own Unix socket, ports that listen, a demo's free port.
    allowed = {"reaching.py", "control.py", "server.py", "parties.py"}
    found = {
        path.name
        for path in SOURCE.rglob("*.py")
        if "create_connection" in path.read_text() or "socket.socket(" in path.read_text()
    }
    assert found <= allowed, found - allowed


def test_the_ledger_is_json_that_other_tools_read(tmp_path: Path) -> None:
    folder = node_folder(tmp_path)
    began_s = int(time.time())
    Ledger(folder).leaving("host.example:443", "PUT /vectors/ab?opened=cd", b"xyz")
    (line,) = next((folder / FOLDER).iterdir()).read_text().splitlines()
    said = json.loads(line)
    assert said["time_s"] >= began_s and said["about"] == [{"kind": "blob"}]
    assert set(said) == {"time_s", "to", "line", "bytes", "sha256", "about"}
