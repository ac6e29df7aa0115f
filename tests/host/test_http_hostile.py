"""What attackers send to the routes: refused, nothing lost, nothing leaked."""

from __future__ import annotations

import gzip
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from comity.errors import Unavailable
from comity.host.http import PIECE_BYTES_MAX, POST_BYTES_MAX, WAIT_S_MAX
from comity.values import BlobName, MemberId, sha256
from comity.web.bodies import Times
from tests.host.asking import ask, send
from tests.host.hosting import Hosting, hosting

A, B, C = MemberId("member-a"), MemberId("member-b"), MemberId("member-c")
SHORT = Times(silence_s=0.3, body_s=0.3, head_s=0.3)


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[Hosting]:
    with hosting(tmp_path) as made:
        yield made


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
    known = {"blobs", "rounds", "sums", *hosted.world.members}
    assert here <= known | {x for x in here if x.startswith("host.sqlite")}


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


def test_no_member_spoils_or_ends_what_another_one_sends(hosted: Hosting) -> None:
    """Attack 46: a name can be known before its bytes are here, say of a recipe's code."""
    content = bytes(range(256)) * 8
    name = sha256(content)
    mine, theirs = hosted.token(A), hosted.token(B)
    path = f"/blobs/{name}?offset="
    assert ask(hosted, "PUT", f"{path}0&size=2048", content[:700], mine)[0] == 200
    # Garbage in front, behind, and a lie about the size, so that the whole would be thrown away.
    assert ask(hosted, "PUT", f"{path}0&size=2048", bytes(700), theirs)[0] == 200
    assert ask(hosted, "PUT", f"{path}700&size=701", b"x", theirs)[0] == 403
    assert ask(hosted, "PUT", f"{path}700&size=2048", content[700:], mine)[0] == 200
    assert hosted.remote(B).stored(BlobName(name)) == (2048, True)
    status, said = ask(hosted, "PUT", f"{path}0&size=1", b"x", theirs)
    assert (status, said["finished"]) == (200, True), "what is finished nobody changes"


def test_no_member_fills_the_space_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = type(shutil.disk_usage(tmp_path))(12_000, 0, 12_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk)
    with hosting(tmp_path) as hosted:
        hosted.remote(A).put_blob(BlobName(sha256(bytes(1_500))), bytes(1_500))
        with pytest.raises(Unavailable, match="may hold 2000 bytes"):
            hosted.remote(A).put_blob(BlobName(sha256(bytes(501))), bytes(501))
        hosted.remote(B).put_blob(BlobName(sha256(bytes(2_000))), bytes(2_000))


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
