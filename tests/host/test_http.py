"""The routes over real sockets: what honest members get, and what others do not."""

from __future__ import annotations

import gzip
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from comity.errors import Misconfigured, Refused, Rule, Unavailable
from comity.host.bodies import Times
from comity.host.http import PIECE_BYTES_MAX, POST_BYTES_MAX, WAIT_S_MAX
from comity.host.serve import HostServer
from comity.node.remote import Posted, Remote
from comity.statements.governing import Seen
from comity.statements.readers import ask_to_read
from comity.values import BlobName, MemberId, sha256
from tests.host.hosting import QUICK, Hosting, hosting
from tests.host.test_service import chain, declare
from tests.storage.crashes import ROOT
from tests.worlds import World, keys_of

A, B, C = MemberId("member-a"), MemberId("member-b"), MemberId("member-c")
SHORT = Times(silence_s=0.3, body_s=0.3, head_s=0.3)


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[Hosting]:
    with hosting(tmp_path) as made:
        yield made


def send(hosted: Hosting, request: bytes, *, then_close: bool = False) -> tuple[int, bytes]:
    """Bytes on a socket; status and body of the answer (0: the connection was closed)."""
    with socket.create_connection(("127.0.0.1", hosted.port), timeout=10) as line:
        line.sendall(request)
        if then_close:
            line.shutdown(socket.SHUT_WR)
        return read_answer(line)


def read_answer(line: socket.socket) -> tuple[int, bytes]:
    come = b""
    while b"\r\n\r\n" not in come:
        try:
            more = line.recv(65_536)
        except ConnectionResetError:
            more = b""
        if not more:
            return 0, come
        come += more
    head, _, body = come.partition(b"\r\n\r\n")
    lengths = [x for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")]
    length = int(lengths[0].split(b":")[1]) if lengths else 0
    while len(body) < length:
        body += line.recv(65_536)
    return int(head.split(b" ")[1]), body


def ask(
    hosted: Hosting, method: str, path: str, body: bytes = b"", token: str = "", **headers: str
) -> tuple[int, dict[str, object]]:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    status, answer = send(hosted, "\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    return status, json.loads(answer) if answer.startswith(b"{") and b"\n" not in answer else {}


# honest members


def test_a_long_poll_wakes_with_the_append(hosted: Hosting) -> None:
    remote = hosted.remote(B)
    before = remote.entries(0)
    woken: list[float] = []

    def wait() -> None:
        batch = remote.entries(3, before.version, 20)
        woken.append(time.monotonic())
        assert len(batch.entries) == 1

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    said = time.monotonic()
    hosted.say(A, declare("a"))
    thread.join(10)
    # A few milliseconds when the machine is quiet; the limit only tells waking from polling.
    assert woken and woken[0] - said < 1.0


def test_a_long_poll_wakes_with_a_cosignature_and_ends_in_time(hosted: Hosting) -> None:
    remote = hosted.remote(B)
    before = remote.entries(3)
    started = time.monotonic()
    again = remote.entries(3, before.version, 1)
    assert 0.9 < time.monotonic() - started < 5 and again.version == before.version
    timer = threading.Timer(0.2, lambda: hosted.cosign(A, hosted.remote(A)))
    timer.start()
    after = remote.entries(3, before.version, 20)
    assert after.version > before.version and len(after.heads[-1].cosignatures) == 1
    timer.join()


def test_posting_again_answers_the_same(hosted: Hosting) -> None:
    remote = hosted.remote(A)
    sent = chain(hosted.world, A, declare("a"), Seen(), declare("b"))
    answers = [Posted(3, None, None), Posted(4, Rule.TOO_SOON, None), Posted(5, None, None)]
    assert remote.post_statements(sent) == answers
    assert remote.post_statements(sent) == answers
    assert remote.status().size == 6


def test_founding_needs_no_token(tmp_path: Path) -> None:
    with hosting(tmp_path, founded=False) as hosted:
        remote = hosted.remote(A)
        with pytest.raises(Refused) as refused:
            remote.entries(0)
        assert refused.value.rule is Rule.UNKNOWN_AUTHOR
        assert not remote.status().founded
        hosted.found()
        assert remote.status().founded
        assert len(remote.entries(0).entries) == 3


def test_attack_02_a_reader_with_more_entries_alarms(
    hosted: Hosting, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Refused) as refused:
        hosted.remote(B).entries(4)
    assert refused.value.rule is Rule.HEAD_UNKNOWN
    assert "alarm=head-beyond-log by=member-b names=4 here=3" in caplog.text


# strangers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/entries?from=0"),
        ("POST", "/cosignatures"),
        ("GET", f"/blobs/{sha256(b'')}"),
        ("PUT", f"/blobs/{sha256(b'')}?offset=0&size=1"),
        ("PUT", f"/vectors/{sha256(b'')}?opened={sha256(b'')}&offset=0&size=1"),
        ("GET", f"/sums/{sha256(b'')}"),
    ],
)
def test_a_stranger_reads_and_writes_nothing(hosted: Hosting, method: str, path: str) -> None:
    for token in ("", "0" * 64, "x", "é"):
        status, said = ask(hosted, method, path, b"x" if method == "PUT" else b"", token)
        assert status == 401 and said["error"] == "Unavailable"
    status, _ = ask(hosted, method, path, token=hosted.token(A))
    assert status != 401


def test_a_token_is_given_only_for_the_members_key(hosted: Hosting) -> None:
    commons, now_s = hosted.world.state.commons, hosted.world.now_s

    def request(member: MemberId, key_of: MemberId, at_s: int = now_s) -> tuple[int, object]:
        key = keys_of(key_of).statement
        body = ask_to_read(commons, member, time_s=at_s, statement_key=key)
        status, said = ask(hosted, "POST", "/readers", body)
        return status, said.get("rule", said.get("error"))

    assert request(A, A)[0] == 200
    assert request(A, B) == (403, "Forged")
    assert request(MemberId("stranger"), A) == (403, "unknown-author")
    assert request(A, A, now_s + 300)[0] == 200
    assert request(A, A, now_s + 301) == (403, "clock-apart")
    good = ask_to_read(commons, A, time_s=now_s, statement_key=keys_of(A).statement)
    for bad in (b"", b"{}", good + b" ", good[:-1], b"[" * 2_000):
        assert ask(hosted, "POST", "/readers", bad)[0] in (400, 403)


def test_a_host_whose_clock_is_an_hour_off_says_so(hosted: Hosting) -> None:
    hosted.clock.ahead_s = -3_600
    with pytest.raises(Refused, match="3600 seconds ahead of the host's") as refused:
        hosted.remote(A).entries(0)
    assert refused.value.rule is Rule.CLOCK_APART
    (posted,) = hosted.remote(A).post_statements(chain(hosted.world, A, declare("a")))
    assert posted.index == 3, "statements bear their authors' time, not the host's"


def test_a_token_ends_after_an_hour_and_a_remote_gets_a_new_one(hosted: Hosting) -> None:
    remote = hosted.remote(A)
    token = remote._reader_token()
    hosted.world.now_s += 3_599
    assert ask(hosted, "GET", "/entries?from=0", token=token)[0] == 200
    hosted.world.now_s += 1
    assert ask(hosted, "GET", "/entries?from=0", token=token)[0] == 401
    assert len(remote.entries(0).entries) == 3


def test_only_so_many_tokens_are_kept_for_a_member(hosted: Hosting) -> None:
    tokens = [hosted.token(A) for _ in range(17)]
    statuses = [ask(hosted, "GET", "/entries?from=0", token=token)[0] for token in tokens]
    assert statuses == [401] + [200] * 16


# hostile requests


@pytest.mark.parametrize(
    "path",
    ["/", "/nothing", "/status/", "/blobs", "/blobs/", "/sums/x", "//status", "/STATUS", "/docs"],
)
def test_unknown_paths_are_404(hosted: Hosting, path: str) -> None:
    assert ask(hosted, "GET", path, token=hosted.token(A))[0] == 404


def test_unknown_methods_are_404(hosted: Hosting) -> None:
    for method in ("DELETE", "PATCH", "OPTIONS", "PUT"):
        assert ask(hosted, method, "/status")[0] == 404


NAME = sha256(b"x")


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "../host.sqlite",
        "..%2fhost.sqlite",
        "%2e%2e/host.sqlite",
        "....//host.sqlite",
        "..\\host.sqlite",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        NAME.upper(),
        NAME[:-1],
        NAME + "0",
        NAME + ".part",
        NAME + "%00",
        NAME + "%0a",
        "%30" + NAME[1:],
        f"{NAME}/..",
        "~",
        "C:\\x",
        "％",
    ],
)
def test_attack_40_path_tricks_reach_no_file(hosted: Hosting, name: str) -> None:
    token = hosted.token(A)
    for method, query in (("GET", ""), ("PUT", "?offset=0&size=1")):
        path = f"/blobs/{name}{query}".encode()
        head = b"%b %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n"
        request = head % (method.encode(), path, token.encode())
        body = b"x" if method == "PUT" else b""
        status, _ = send(hosted, request + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        assert status in (400, 404)
    here = {path.name for path in hosted.folder.rglob("*")}
    assert here <= {"blobs", "rounds", "sums"} | {x for x in here if x.startswith("host.sqlite")}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "from=-1",
        "from=1.0",
        "from=0&from=1",
        "from=0&x=1",
        "from=99999999999999999999",
        "from=%d9%a1",
        f"from=0&wait_s={WAIT_S_MAX + 1}",
        "from=0&wait_s=",
        "from=0&" + "x" * 600,
    ],
)
def test_queries_have_a_form_and_a_limit(hosted: Hosting, query: str) -> None:
    status, said = ask(hosted, "GET", f"/entries?{query}", token=hosted.token(A))
    assert status in (400, 413) and said["error"] == "Malformed"


def test_bodies_have_a_limit(hosted: Hosting) -> None:
    token = hosted.token(A)
    too_long = b"x" * (POST_BYTES_MAX + 1)
    assert ask(hosted, "POST", "/statements", too_long)[0] == 413
    assert ask(hosted, "POST", "/statements", b"\n" * 1_000)[0] == 413
    chunked = b"POST /statements HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    assert send(hosted, chunked + piece * 5)[0] == 413
    assert ask(hosted, "POST", "/readers", b"x" * 3_000)[0] == 413
    assert ask(hosted, "POST", "/cosignatures", too_long, token)[0] == 413
    for body in (b"", b"{}", b'{"size":-1,"line":"x"}', b'{"size":1e9,"line":"x"}', b"[" * 5_000):
        assert ask(hosted, "POST", "/cosignatures", body, token)[0] == 400
    status, _ = ask(
        hosted, "PUT", f"/blobs/{NAME}?offset=0&size=99999999", b"x" * (PIECE_BYTES_MAX + 1), token
    )
    assert status == 413
    assert hosted.remote(A).status().size == 3


def test_attack_34_compressed_bodies_are_refused(hosted: Hosting) -> None:
    bomb = gzip.compress(bytes(100_000))
    token = hosted.token(A)
    for method, path in (("POST", "/statements"), ("PUT", f"/blobs/{NAME}?offset=0&size=100000")):
        assert ask(hosted, method, path, bomb, token, Content_Encoding="gzip")[0] == 415
    assert hosted.remote(A).stored(BlobName(NAME)) == (0, False)


def test_a_cut_upload_keeps_what_came_and_goes_on(hosted: Hosting) -> None:
    content = bytes(range(256)) * 8
    name, token = BlobName(sha256(content)), hosted.token(A)
    path = f"/blobs/{name}?offset=0&size={len(content)}"
    head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    cut = head.encode() + b"Content-Length: 2048\r\n\r\n" + content[:700]
    send(hosted, cut, then_close=True)
    remote = hosted.remote(A)
    for _ in range(100):
        if remote.stored(name)[0] == 700:
            break
        time.sleep(0.02)
    assert remote.stored(name) == (700, False)
    status, said = ask(hosted, "PUT", path, content, token)
    assert (status, said["stored"]) == (409, 700)
    remote.put_blob(name, content)
    assert remote.stored(name) == (2048, True)
    status, said = ask(hosted, "PUT", path, content, token)
    assert (status, said) == (200, {"stored": 2048, "finished": True})


def test_wrong_lengths_are_refused(hosted: Hosting) -> None:
    token = hosted.token(A)
    head = f"PUT /blobs/{NAME}?offset=0&size=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}"
    for lengths in (
        b"",
        b"\r\nContent-Length: -1",
        b"\r\nContent-Length: x",
        b"\r\nContent-Length: 1\r\nContent-Length: 2",
        b"\r\nTransfer-Encoding: chunked",
        b"\r\nContent-Length: 9",
    ):
        status, _ = send(hosted, head.encode() + lengths + b"\r\n\r\n1\r\ny\r\n0\r\n\r\n")
        assert status in (0, 400), lengths
    # More bytes than announced are the next request, and no request at all.
    status, _ = ask(hosted, "PUT", f"/blobs/{NAME}?offset=0&size=2", b"xy", token)
    assert status == 403, "the bytes do not fit the name"
    for query in ("offset=1&size=1", "offset=0&size=0", "size=1", f"offset=0&size={2**40}"):
        status, _ = ask(hosted, "PUT", f"/blobs/{NAME}?{query}", b"zz", token)
        assert status in (400, 409)
    hosted.remote(A).put_blob(BlobName(NAME), b"x")


def test_slow_clients_are_cut_and_lose_nothing(tmp_path: Path) -> None:
    with hosting(tmp_path, times=SHORT) as hosted:
        token = hosted.token(A)
        auth = f"Host: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 9\r\n\r\n"
        for request, expected in (
            (b"", {0}),
            (b"GET /sta", {0}),
            (b"GET /status HTTP/1.1\r\nHo", {0}),
            (b"POST /statements HTTP/1.1\r\n" + auth.encode() + b"x", {503}),
            (f"PUT /blobs/{NAME}?offset=0&size=9 HTTP/1.1\r\n{auth}y".encode(), {503}),
        ):
            started = time.monotonic()
            status, _ = send(hosted, request)
            assert status in expected and time.monotonic() - started < 5
        assert hosted.remote(A).stored(BlobName(NAME)) == (1, False)


def test_endless_heads_are_cut(hosted: Hosting) -> None:
    assert send(hosted, b"GET /" + b"x" * 200_000)[0] in (0, 400)
    endless = b"".join(b"x%d: y\r\n" % i for i in range(20_000))
    assert send(hosted, b"GET /status HTTP/1.1\r\n" + endless)[0] in (0, 400)
    assert send(hosted, b"\x16\x03\x01" + bytes(100))[0] == 400
    assert hosted.remote(A).status().size == 3


def test_a_slow_reader_is_cut(tmp_path: Path) -> None:
    with hosting(tmp_path, times=SHORT) as hosted:
        content = bytes(20_000_000)
        name, remote = BlobName(sha256(content)), hosted.remote(A)
        remote.put_blob(name, content)
        request = f"GET /blobs/{name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
        with socket.create_connection(("127.0.0.1", hosted.port)) as line:
            line.sendall(request.encode() + hosted.token(A).encode() + b"\r\n\r\n")
            time.sleep(1.5)
            line.settimeout(10)
            come = 0
            try:
                while piece := line.recv(1_000_000):
                    come += len(piece)
            except ConnectionResetError:
                pass
        assert come < len(content)


def test_ranges_of_a_blob(hosted: Hosting) -> None:
    content = bytes(range(256)) * 10_000
    name, token = BlobName(sha256(content)), hosted.token(B)
    hosted.remote(A).put_blob(name, content)
    path = f"/blobs/{name}"

    def get(query: str) -> tuple[int, bytes]:
        head = f"GET {path}{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        return send(hosted, head.encode())

    assert get("") == (200, content)
    assert get("?start=5&stop=1500000") == (200, content[5:1_500_000])
    assert get("?start=2560000") == (200, b"")
    for query in ("?start=2&stop=1", "?stop=2560001", "?start=-1", "?x=1"):
        assert get(query)[0] == 400
    assert ask(hosted, "GET", f"/blobs/{NAME}", token=token)[0] == 404


def test_attack_49_what_a_stranger_sends_is_not_put_into_the_log(
    hosted: Hosting, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    send(hosted, b"GET /x%0aalarm=forged HTTP/1.1\r\nHost: x\r\n\r\n")
    ask(hosted, "POST", "/statements", b"alarm=forged\r\nERROR alarm=forged")
    assert "alarm=forged" not in caplog.text


def test_answers_name_no_file_and_no_stack(hosted: Hosting) -> None:
    for path in ("/nothing", "/entries?from=x", "/blobs/x", f"/sums/{NAME}"):
        _, said = ask(hosted, "GET", path, token=hosted.token(A))
        assert set(said) <= {"error", "rule", "message"}
        assert str(hosted.folder) not in str(said) and "Traceback" not in str(said)


# the process


def test_a_busy_port_is_told_in_one_sentence(hosted: Hosting, tmp_path: Path) -> None:
    def start(listen: str) -> None:
        HostServer(
            tmp_path / "other",
            hosted.world.charter,
            host_key=keys_of(A).host,
            listen=listen,
            clock=lambda: 1,
        )

    with pytest.raises(Unavailable, match=f"port {hosted.port} .* is in use"):
        start(f"127.0.0.1:{hosted.port}")
    for listen in ("", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", ":80", "1.2.3.4:0"):
        with pytest.raises(Misconfigured):
            start(listen)
    assert not (tmp_path / "other").exists()


RUN = """
import logging, sys
from pathlib import Path
from comity.host.serve import run_host
from tests.worlds import charter_of, keys_of
charter = charter_of(3)
host_key = keys_of(charter.host).host
run_host(Path(sys.argv[1]), charter, host_key=host_key, clock=lambda: 1_800_000_000)
"""


def start_process(folder: Path) -> tuple[subprocess.Popen[str], str]:
    running = subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    said = running.stdout.readline()
    assert said.startswith("hosting at http://127.0.0.1:")
    return running, said.split()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_when_told_while_members_wait(
    tmp_path: Path, number: signal.Signals
) -> None:
    world = World.of(3)
    running, url = start_process(tmp_path)
    try:
        remote = remote_to(url, world)
        remote.post_statements(world.log)
        batch = remote.entries(0)
        waiting = threading.Thread(target=remote.entries, args=(3, batch.version, 20))
        waiting.start()
        time.sleep(0.2)
        running.send_signal(number)
        assert running.wait(10) == 0
        waiting.join(10)
        assert not waiting.is_alive()
    finally:
        running.kill()


def test_attack_51_killed_while_blobs_and_statements_come_it_forgets_nothing(
    tmp_path: Path,
) -> None:
    world = World.of(3)
    running, url = start_process(tmp_path)
    content = bytes(30_000_000)
    name = BlobName(sha256(content))
    try:
        remote = remote_to(url, world)
        remote.post_statements(world.log)

        def put_all() -> None:
            with suppress(Unavailable):
                for envelope in chain(world, A, *(declare(f"a{i}") for i in range(200))):
                    remote.post_statements([envelope])
                    remote.put_blob(name, content)

        sender = threading.Thread(target=put_all)
        sender.start()
        time.sleep(0.4)
        before = remote_to(url, world).entries(0)
        running.kill()
        running.wait(10)
        sender.join(20)
        running, url = start_process(tmp_path)
        again = remote_to(url, world)
        after = again.entries(0)
        assert after.entries[: len(before.entries)] == before.entries
        sent = chain(world, A, *(declare(f"a{i}") for i in range(200)))
        assert [posted.index for posted in again.post_statements(sent)] == list(range(3, 203))
        again.put_blob(name, content)
        assert again.stored(name) == (len(content), True)
    finally:
        running.kill()
        running.wait(10)


def remote_to(url: str, world: World) -> Remote:
    return Remote(
        url,
        A,
        statement_key=keys_of(A).statement,
        commons=world.state.commons,
        clock=lambda: world.now_s,
        limits=QUICK,
    )
