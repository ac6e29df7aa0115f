"""A remote against servers that answer anything: typed errors, bounded time and memory."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from comity.errors import ComityError, Forged, Malformed, Misconfigured, Refused, Unavailable
from comity.node.answers import HostStatus as Status
from comity.node.http_client import Limits
from comity.node.remote import Remote
from comity.values import BlobName, CommonsId, MemberId, StatementId, sha256
from tests.host.hosting import QUICK
from tests.worlds import keys_of

A, B = MemberId("member-a"), MemberId("member-b")
COMMONS = CommonsId(sha256(b"commons"))
BIG = bytes(range(256)) * 40_000  # more than two pieces
TOKEN = json.dumps({"token": "0" * 64, "expires_s": 3600}).encode()


@contextmanager
def serving(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """A server that reads a request's head and sends what `answer` makes of it, and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                line, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer_one, args=(line,), daemon=True).start()

    def answer_one(line: socket.socket) -> None:
        with line:
            head = b""
            line.settimeout(5)
            try:
                while b"\r\n\r\n" not in head:
                    if not (more := line.recv(65_536)):
                        return
                    head += more
                line.sendall(answer(head))
                line.shutdown(socket.SHUT_WR)
                while line.recv(65_536):
                    pass
            except OSError:
                pass

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        listener.close()


def http(
    body: bytes, status: str = "200 OK", headers: str = "", length: int | None = None
) -> bytes:
    size = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{headers}\r\n"
    return head.encode() + body


def asking(url: str, limits: Limits = QUICK) -> Remote:
    return Remote(url, A, statement_key=keys_of(A).statement, commons=COMMONS, limits=limits)


def expect(body: bytes | Callable[[bytes], bytes], error: type[ComityError], call: str) -> None:
    """The call against a server that gives tokens and answers everything else with `body`."""

    def answer(head: bytes) -> bytes:
        if head.startswith(b"POST /readers"):
            return http(TOKEN)
        return body(head) if callable(body) else body

    with serving(answer) as url:
        remote = asking(url)
        started = time.monotonic()
        with pytest.raises(error) as raised:
            match call:
                case "status":
                    remote.status()
                case "entries":
                    remote.entries(0)
                case "post":
                    remote.post_statements([b"{}"])
                case "stored":
                    remote.stored(BlobName(COMMONS))
                case "sum":
                    remote.sum_root(StatementId(COMMONS))
                case "put":
                    remote.put_blob(BlobName(COMMONS), b"x")
                case "get":
                    list(remote.read_chunks(BlobName(COMMONS), [100]))
        assert type(raised.value) is error or error is Unavailable
        assert time.monotonic() - started < 20
        remote.close()


@pytest.mark.parametrize("call", ["status", "entries", "post", "sum", "put"])
@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{", b"[" * 100_000, b"\xff\xfe", b'{"commons":1}', b"<html></html>"],
)
def test_wrong_json_is_malformed(call: str, body: bytes) -> None:
    expect(http(body), Malformed, call)


@pytest.mark.parametrize("call", ["status", "entries", "post", "sum", "put"])
def test_attack_34_what_is_too_long_or_compressed_is_malformed(call: str) -> None:
    expect(http(b" " * 17_000_000), Malformed, call)
    bomb = gzip.compress(bytes(1_000_000))
    expect(http(bomb, headers="Content-Encoding: gzip\r\n"), Malformed, call)


@pytest.mark.parametrize("call", ["status", "entries", "stored", "put", "get"])
def test_what_is_cut_or_no_http_is_unavailable(call: str) -> None:
    cut = b"HTTP/1.1 2" if call in ("stored", "put", "get") else http(b"{}", length=500)
    expect(cut, Unavailable, call)
    expect(b"", Unavailable, call)
    expect(b"\x00" * 1_000, Unavailable, call)
    expect(http(b"", "503 Service Unavailable"), Unavailable, call)


def test_other_statuses_and_faults_are_typed() -> None:
    expect(http(b"", "302 Found", "Location: http://127.0.0.1:1/\r\n"), Malformed, "status")
    expect(http(b"", "400 Bad Request"), Malformed, "status")
    expect(http(b"<html>Blocked</html>", "403 Forbidden"), Unavailable, "status")
    expect(http(b"<html>Who are you?</html>", "407 x"), Unavailable, "status")
    expect(http(b'{"error":"Forged"}', "403 Forbidden"), Forged, "status")
    expect(http(b'{"error":"Refused","rule":"x"}', "403 Forbidden"), Malformed, "status")
    expect(http(b'{"error":"Refused","rule":"too-soon"}', "403 x"), Refused, "status")
    expect(http(b'{"error":"SystemExit"}', "403 Forbidden"), Malformed, "status")
    expect(http(b"", "401 Unauthorized"), Unavailable, "entries")
    expect(http(b"", "404 Not Found"), Unavailable, "stored")


def test_a_hosts_words_cannot_play_tricks_with_a_terminal() -> None:
    words = json.dumps({"error": "Forged", "message": "\x1b[2Jall is well\n" + "x" * 9_000})
    with (
        serving(lambda _: http(words.encode(), "403 Forbidden")) as url,
        pytest.raises(Forged) as raised,
    ):
        asking(url).status()
    assert str(raised.value).isprintable() and len(str(raised.value)) < 2_100


@pytest.mark.parametrize(
    "headers",
    [
        "",
        "X-Comity-Stored: 5\r\n",
        "X-Comity-Stored: -1\r\nX-Comity-Finished: true\r\n",
        "X-Comity-Stored: 99999999999999\r\nX-Comity-Finished: true\r\n",
        "X-Comity-Stored: x\r\nX-Comity-Finished: true\r\n",
        "X-Comity-Stored: 5\r\nX-Comity-Finished: 1\r\n",
    ],
)
def test_wrong_headers_are_malformed(headers: str) -> None:
    expect(http(b"", headers=headers), Malformed, "stored")


def test_a_download_is_never_longer_than_asked_for() -> None:
    stored = "X-Comity-Stored: 100\r\nX-Comity-Finished: true\r\n"

    def longer(head: bytes) -> bytes:
        return http(b"", headers=stored) if head.startswith(b"HEAD") else http(b"x" * 200)

    def unannounced(head: bytes) -> bytes:
        if head.startswith(b"HEAD"):
            return http(b"", headers=stored)
        return b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 200

    expect(longer, Malformed, "get")
    expect(unannounced, Malformed, "get")


def test_a_host_that_claims_more_than_it_was_sent_is_malformed() -> None:
    expect(http(b'{"stored":2,"finished":false}'), Malformed, "put")
    wrong_offset = b'{"error":"Unavailable","stored":7}'
    expect(http(wrong_offset, "409 Conflict"), Malformed, "put")


def test_a_silent_host_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        limits = Limits(silence_s=0.2, tries=2, pause_s=0.01)
        remote = asking(f"http://127.0.0.1:{listener.getsockname()[1]}", limits)
        with pytest.raises(Unavailable):
            remote.status()
    with pytest.raises(Unavailable):
        remote.status()


def test_a_dripping_host_is_given_up() -> None:
    """It sends a byte often enough for every single read, but never ends."""
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        line, _ = listener.accept()
        with line:
            line.recv(65_536)
            try:
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while True:
                    line.sendall(b" ")
                    time.sleep(0.02)
            except OSError:
                pass

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    limits = Limits(silence_s=5, answer_s=0.5, tries=1)
    remote = asking(f"http://127.0.0.1:{listener.getsockname()[1]}", limits)
    started = time.monotonic()
    with pytest.raises(Unavailable, match="too slowly"):
        remote.status()
    assert time.monotonic() - started < 4
    listener.close()
    thread.join(5)


def test_it_tries_again_but_not_for_ever() -> None:
    asked: list[bytes] = []

    def answer(head: bytes) -> bytes:
        asked.append(head)
        status = {"commons": COMMONS, "founded": False, "host": "a", "in_office": True, "size": 0}
        return http(json.dumps(status).encode()) if len(asked) == 3 else b""

    with serving(answer) as url:
        assert asking(url).status() == Status(COMMONS, False, MemberId("a"), True, 0)
        with pytest.raises(Unavailable):
            asking(url).status()
    assert len(asked) == 6


def test_closing_ends_the_pauses() -> None:
    with serving(lambda _: b"") as url:
        remote = asking(url, Limits(tries=1_000, pause_s=60, pause_s_max=60))
        timer = threading.Timer(0.2, remote.close)
        timer.start()
        started = time.monotonic()
        with pytest.raises(Unavailable):
            remote.status()
        assert time.monotonic() - started < 10
        timer.join()


@pytest.mark.parametrize(
    "url", ["", "host", "ftp://host", "http://", "http://host/path", "http://u:p@host"]
)
def test_a_url_is_scheme_and_host(url: str) -> None:
    with pytest.raises(Misconfigured):
        asking(url)
