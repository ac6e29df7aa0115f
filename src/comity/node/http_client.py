"""One HTTP connection pool to one peer: limits on everything that comes back, pauses, typed errors.

httpcore, the engine below httpx, on purpose: no cookies, no redirects, no decompression, no
environment, and a third of the time that httpx spends on a small request. An
answer with a `Content-Encoding` is Malformed, so nothing a host sends can grow in our memory.
Knows no route and no statement.
"""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, final
from urllib.parse import urlencode

import httpcore
import httpx
import msgspec
from msgspec import Struct

from comity.errors import ComityError, Forged, Malformed, Misconfigured, Refused, Rule, Unavailable
from comity.node.outlet import Outlet
from comity.node.stopping import Halted
from comity.node.tls import Untrusted, client_tls, require_loopback, tls_refusal
from comity.values import TEXT_BYTES_MAX, PlainHttp

PORTS: Final = {"http": 80, "https": 443}
_ERROR_BYTES_MAX: Final = 16_384
_SLOWEST_BYTES_PER_S: Final = 16_384
_RULES: Final = {rule.value: rule for rule in Rule}
_TRANSPORT_FAULTS: Final = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    OSError,
)


class TokenUnknown(Unavailable):
    """The peer does not know our token (any more): ask for a new one."""


class WrongOffset(Unavailable):
    """The piece does not start where the peer's bytes end. stored: where to go on."""

    def __init__(self, stored: int) -> None:
        super().__init__(f"the host has {stored} bytes of the blob; go on there")
        self.stored = stored


@final
@dataclass(frozen=True, slots=True)
class Limits:
    """How long to wait and how often to try.

    connect_s: for a connection. silence_s: without a byte coming or going. answer_s: for a whole
    small answer. tries: in all. pause_s, pause_s_max: before the second try, doubling from there.
    """

    connect_s: float = 10.0
    silence_s: float = 30.0
    answer_s: float = 60.0
    tries: int = 6
    pause_s: float = 0.1
    pause_s_max: float = 5.0


@final
@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer with status 200. headers: names in lower case."""

    headers: Mapping[str, str]
    body: bytes


@final
class _Fault(Struct, frozen=True):
    error: str
    message: str = ""
    rule: str | None = None
    stored: int | None = None


@final
class HttpClient:
    """Asks one peer; used by several threads at once.

    Args:
        tls: for https; None takes the system's authorities. On purpose: http to other machines.
        outlet: is told of every request before it goes, tried again or not.
    Raises:
        Misconfigured: the URL is not http(s)://name[:port], or plain HTTP to another machine.
    """

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | PlainHttp | None,
        proxy: str | None,
        limits: Limits,
        outlet: Outlet,
    ) -> None:
        self._outlet = outlet
        try:
            self._url = httpx.URL(url)
            if (
                self._url.scheme not in ("http", "https")
                or not self._url.host
                or self._url.path not in ("", "/")
                or self._url.query
                or self._url.userinfo
            ):
                raise httpx.InvalidURL(url)
            if self.url.scheme == "http" and not isinstance(tls, PlainHttp):
                require_loopback(self.url.host)
            context = tls if isinstance(tls, ssl.SSLContext) else client_tls()
            self._pool = httpcore.ConnectionPool(
                ssl_context=context,
                proxy=httpcore.Proxy(proxy) if proxy else None,
                max_connections=8,
                keepalive_expiry=60.0,
                network_backend=outlet.backend,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise Misconfigured(
                f"the host's url must look like https://host.example:8440, not {url!r}"
            ) from error
        self._scheme, self._host = self._url.scheme.encode(), self._url.raw_host
        self._authority = self._url.netloc
        self._limits = limits
        self._closed = threading.Event()

    @property
    def url(self) -> httpx.URL:
        """Of the peer."""
        return self._url

    def close(self) -> None:
        """Close all connections and end every pause."""
        self._closed.set()
        self._pool.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        bytes_max: int,
        query: Mapping[str, str] | None = None,
        body: bytes | memoryview = b"",
        token: str = "",
        extra_s: float = 0.0,
        tries: int | None = None,
    ) -> Answer:
        """One request and its whole answer, at most `bytes_max` bytes; tried again on Unavailable.

        Args:
            extra_s: how much longer than usual the peer may think before it answers.
            tries: instead of the number in the limits.
        Raises:
            Malformed, Forged, Refused, Unavailable, Untrusted, TokenUnknown, WrongOffset.
        """
        tried = 0
        while True:
            try:
                return self._ask_once(method, path, query, body, token, bytes_max, extra_s)
            except (TokenUnknown, WrongOffset, Untrusted, Halted):
                raise
            except Unavailable as error:
                tried += 1
                self.pause_or_raise(tried, error, tries)

    def stream(
        self, path: str, *, query: Mapping[str, str], count: int, token: str
    ) -> Iterator[bytes]:
        """The answer's `count` bytes as they come, never more. Not tried again.

        Raises:
            Malformed: more or fewer bytes are announced or come. Others as `ask`.
        """
        with self._exchange("GET", path, query, b"", token, 0.0) as (response, deadline):
            announced = _header(response, b"content-length")
            if announced is not None and announced != str(count):
                raise Malformed(f"asked for {count} bytes of a blob, {announced[:20]} announced")
            deadline += count / _SLOWEST_BYTES_PER_S
            come = 0
            for piece in _pieces(response):
                come += len(piece)
                if come > count:
                    raise Malformed(f"asked for {count} bytes of a blob, more came")
                if time.monotonic() > deadline:
                    raise Unavailable("the host sends too slowly; try again later")
                yield piece
            if come != count:
                raise Unavailable(f"the host sent {come} of {count} bytes; try again")

    def pause_or_raise(self, tried: int, error: Unavailable, tries: int | None = None) -> None:
        """Wait before try number tried + 1, or raise the error when there is none."""
        if tried >= (self._limits.tries if tries is None else tries) or self._closed.is_set():
            raise error
        pause_s = min(self._limits.pause_s * 2 ** (tried - 1), self._limits.pause_s_max)
        # Jitter only keeps many nodes from coming back in step; nothing secret hangs on it.
        self._closed.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  # no secret

    def _ask_once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: bytes | memoryview,
        token: str,
        bytes_max: int,
        extra_s: float,
    ) -> Answer:
        exchange = self._exchange(method, path, query, body, token, extra_s)
        with exchange as (response, deadline):
            taken = _read_all(response, bytes_max, deadline)
            headers = {
                name.decode("latin-1").lower(): value.decode("latin-1")
                for name, value in response.headers
            }
            return Answer(headers, taken)

    def _exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: bytes | memoryview,
        token: str,
        extra_s: float,
    ) -> _Exchange:
        if self._closed.is_set():
            raise Unavailable("this connection was closed")
        limits = self._limits
        content = bytes(body) if isinstance(body, memoryview) else body
        headers = [(b"Host", self._authority), (b"Accept-Encoding", b"identity")]
        if token:
            headers.append((b"Authorization", b"Bearer " + token.encode()))
        if method not in ("GET", "HEAD"):
            headers.append((b"Content-Length", str(len(content)).encode()))
        passing_s = len(content) / _SLOWEST_BYTES_PER_S
        target = f"{path}?{urlencode(query)}" if query else path
        request = httpcore.Request(
            method.encode(),
            httpcore.URL(
                scheme=self._scheme,
                host=self._host,
                port=self._url.port,
                target=target.encode(),
            ),
            headers=headers,
            content=content,
            extensions={
                "timeout": {
                    "connect": limits.connect_s,
                    # Proxies and kernels take a body long before it has passed a slow line.
                    "read": limits.silence_s + extra_s + passing_s,
                    "write": limits.silence_s,
                    "pool": limits.silence_s + extra_s,
                }
            },
        )
        # From here on it may be on its way: what is not noted before must not leave.
        place = f"{self._url.host}:{self._url.port or PORTS[self._url.scheme]}"
        self._outlet.leaving(place, f"{method} {target}", content)
        deadline = time.monotonic() + limits.answer_s + extra_s + passing_s
        return _Exchange(self._pool, request, deadline)


@final
class _Exchange:
    """A request under way: its answer with status 200, or the error that the peer named."""

    def __init__(
        self, pool: httpcore.ConnectionPool, request: httpcore.Request, deadline: float
    ) -> None:
        self._pool, self._request, self._deadline = pool, request, deadline
        self._response: httpcore.Response | None = None

    def __enter__(self) -> tuple[httpcore.Response, float]:
        try:
            response = self._pool.handle_request(self._request)
        except (*_TRANSPORT_FAULTS, RuntimeError) as error:
            raise _unavailable(error) from error
        self._response = response
        try:
            if _header(response, b"content-encoding") not in (None, "identity"):
                raise Malformed("the host compressed its answer, which nobody asked for")
            if response.status != 200:
                raise _fault(response, self._deadline, self._request.method == b"HEAD")
        except BaseException:
            response.close()
            raise
        return response, self._deadline

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        assert self._response is not None
        self._response.close()
        if isinstance(error, _TRANSPORT_FAULTS):
            raise _unavailable(error) from error


def _header(response: httpcore.Response, wanted: bytes) -> str | None:
    for name, value in response.headers:
        if name.lower() == wanted:
            return value.decode("latin-1")
    return None


def _pieces(response: httpcore.Response) -> Iterator[bytes]:
    return response.iter_stream()


def _read_all(response: httpcore.Response, bytes_max: int, deadline: float) -> bytes:
    taken = bytearray()
    for piece in _pieces(response):
        taken += piece
        if len(taken) > bytes_max:
            raise Malformed(f"the host's answer is longer than {bytes_max} bytes")
        if time.monotonic() > deadline:
            raise Unavailable("the host answers too slowly; try again later")
    return bytes(taken)


def _fault(response: httpcore.Response, deadline: float, no_body: bool) -> ComityError:
    """The error an answer names; the status decides when the body says nothing."""
    status = response.status
    try:
        body = b"" if no_body else _read_all(response, _ERROR_BYTES_MAX, deadline)
    except _TRANSPORT_FAULTS as error:
        return _unavailable(error)
    try:
        said = msgspec.json.decode(body, type=_Fault)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        said = _Fault("")
        if status in (403, 407) and not no_body:
            return Unavailable(
                f"something on the way to the host answers with status {status}, not the host:"
                " let the proxy or firewall pass it, or set proxy in node.toml"
            )
    if status == 401:
        return TokenUnknown("the host does not know this reader's token")
    if status == 409 and said.stored is not None and said.stored >= 0:
        return WrongOffset(said.stored)
    if said.error:
        return error_named(said.error, said.rule, said.message)
    rule = _header(response, b"x-comity-rule")
    if no_body and status == 403 and rule in _RULES:
        return Refused(_RULES[rule], "the host refuses this")
    if status == 404:
        return Unavailable("the host does not have this")
    if status in (408, 429) or status >= 500:
        return Unavailable(f"the host answered with status {status}; try again later")
    return Malformed(f"the host answered with status {status} and did not say why")


def error_named(error: str, rule: str | None, message: str) -> ComityError:
    """The error of that class name, as a host reports it. Its words are cut and made printable."""
    words = "".join(c if c.isprintable() else "?" for c in message[:TEXT_BYTES_MAX])
    if error == "Refused" and rule in _RULES:
        return Refused(_RULES[rule], words)
    kinds = {"Malformed": Malformed, "Forged": Forged, "Unavailable": Unavailable}
    if error in kinds:
        return kinds[error](f"the host says: {words}")
    return Malformed("the host named an error or a rule that does not exist")


def _unavailable(error: Exception) -> Unavailable:
    return tls_refusal(error) or Unavailable(
        f"cannot reach the host ({type(error).__name__}); try again later"
    )
