"""Small real servers and a reverse proxy on free ports of this machine, for as long as a block."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_HOP = {"connection", "transfer-encoding", "content-length", "date", "server", "keep-alive"}


@contextmanager
def serving(
    answering: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """Serve; answers the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), answering)
    server.daemon_threads = True
    if tls is not None:
        # The handshake is for the connection's own thread, as refused ones must not end the server.
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


class Quiet(BaseHTTPRequestHandler):
    """An HTTP/1.1 server that prints nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the other side refused us, or has gone
            super().handle()

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        """One whole answer."""
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def passing_on(port: int) -> type[Quiet]:
    """A reverse proxy before the server of that port: whole requests there, whole answers back."""

    class Passing(Quiet):
        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
            headers["X-Forwarded-For"] = self.client_address[0]
            onward = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                onward.request(self.command, self.path, body or None, headers)
                answer = onward.getresponse()
                kept = {k: v for k, v in answer.getheaders() if k.lower() not in _HOP}
                kept["Date"] = self.date_time_string()
                self.answer(answer.status, answer.read(), kept)
            finally:
                onward.close()

        do_GET = do_HEAD = do_POST = do_PUT = pass_on

    return Passing


def saying(body: bytes, headers: dict[str, str] | None = None, status: int = 200) -> type[Quiet]:
    """A server that answers every request the same."""

    class Saying(Quiet):
        def say(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.answer(status, body, headers or {})

        do_GET = do_HEAD = do_POST = do_PUT = say

    return Saying
