"""HTTP by hand, so that a test can send what no client would."""

from __future__ import annotations

import json
import socket

from tests.host.hosting import Hosting


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
