"""Whether this machine reaches its host: name, port, TLS, the host itself, and its clock.

Each step is tested alone, so that the page names the first one that fails: whoever runs the
firewall, the proxy or the name servers gets a sentence of their own. Nothing is said to the host
but `GET /status`, which needs no key.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final, final
from urllib.parse import SplitResult, urlsplit

from comity.errors import ComityError, Malformed, Misconfigured, Unavailable
from comity.node.answers import HostStatus, parse
from comity.node.findings import Finding, fail, note, ok, skipped
from comity.node.http_client import Answer, HttpClient, Limits
from comity.node.outlet import Outlet
from comity.node.settings import NodeSettings, authorities
from comity.node.tls import Untrusted, tls_refusal
from comity.values import CLOCK_APART_S, CommonsId

NAME, PORT, TLS, HOST, CLOCK = "name", "port", "TLS", "host", "clock"
CONNECT_S: Final = 10.0
RENEW_DAYS: Final = 14
_DAY_S: Final = 86_400
_ANSWER_BYTES_MAX: Final = 65_536
_ONCE: Final = Limits(connect_s=CONNECT_S, silence_s=CONNECT_S, answer_s=20, tries=1)


@final
@dataclass(frozen=True, slots=True)
class _Way:
    """Where the first connection goes: the host, or the institution's proxy before it."""

    url: SplitResult
    name: str
    port: int
    proxied: bool

    @property
    def place(self) -> str:
        """For people."""
        return f"{'proxy ' if self.proxied else ''}{self.name} port {self.port}"


def reach(
    settings: NodeSettings,
    commons: CommonsId | None,
    clock: Callable[[], int],
    outlet: Outlet,
) -> list[Finding]:
    """Test the way to the host, step by step. Takes up to half a minute when something is silent.

    Args:
        commons: that the host should hold; None when the charter could not be read.
        outlet: of the site; a bare connection and a TLS handshake are tried beside it.
    """
    try:
        way = _way(settings)
    except Misconfigured as error:
        return [fail(NAME, str(error), "correct node.toml"), *_skip(PORT, TLS, HOST, CLOCK)]
    name = _name(way)
    if name.result == "fail":
        return [name, *_skip(PORT, TLS, HOST, CLOCK)]
    port = _port(way)
    if port.result == "fail":
        return [name, port, *_skip(TLS, HOST, CLOCK)]
    before_s = clock()
    asked = _ask(settings, outlet)
    between_s = (before_s + clock()) // 2
    tls = _tls(settings, way, asked)
    if tls.result == "fail":
        return [name, port, tls, *_skip(HOST, CLOCK)]
    if not isinstance(asked, Answer):
        return [name, port, tls, _silent(way, asked), *_skip(CLOCK)]
    return [name, port, tls, _host(asked, commons), _clock(asked, between_s)]


def _skip(*tested: str) -> list[Finding]:
    return [skipped(each, "not tested: what is above comes first") for each in tested]


def _way(settings: NodeSettings) -> _Way:
    url = _split(settings.host_url, "host_url")
    first = _split(settings.proxy, "proxy") if settings.proxy else url
    assert first.hostname is not None
    port = first.port or (443 if first.scheme == "https" else 80)
    return _Way(url, first.hostname, port, bool(settings.proxy))


def _split(text: str, setting: str) -> SplitResult:
    """A URL in parts; its text is in no message, as a password could stand in it."""
    try:
        url = urlsplit(text)
        good = url.hostname is not None and (url.port is None or url.port > 0)
    except ValueError:
        good = False
    if not good:
        raise Misconfigured(f"{setting} must look like https://name.example:8440")
    if setting == "host_url" and (url.username is not None or url.path not in ("", "/")):
        raise Misconfigured("host_url holds a user or a path: it is scheme, name and port only")
    return url


def _name(way: _Way) -> Finding:
    try:
        found = socket.getaddrinfo(way.name, way.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no name at all"
        return fail(
            NAME,
            f"{way.name} has no address here ({reason})",
            "ask who runs the name servers of this machine; compare the name with what the host's"
            " operator says",
        )
    addresses = sorted({str(address[0]) for *_, address in found})
    return ok(NAME, f"{way.name} is {', '.join(addresses[:3])}")


def _port(way: _Way) -> Finding:
    try:
        socket.create_connection((way.name, way.port), timeout=CONNECT_S).close()
    except ConnectionRefusedError:
        found, why = "was refused", "nothing listens there, or a firewall says no"
    except TimeoutError:
        found, why = "was not answered", "a firewall on the way drops it"
    except OSError as error:
        found, why = f"failed ({error.strerror})", "there is no way to that address"
    else:
        return ok(PORT, f"{way.place} answers")
    proxies = any(os.environ.get(name) for name in ("https_proxy", "HTTPS_PROXY"))
    hint = (
        "; this machine's environment names a proxy, and a node takes only the one in `proxy` of"
        " node.toml"
        if proxies and not way.proxied
        else ""
    )
    return fail(
        PORT,
        f"a connection to {way.place} {found}",
        f"{why}: allow TCP from this machine to {way.name} port {way.port}, outwards only{hint}",
    )


def _ask(settings: NodeSettings, outlet: Outlet) -> Answer | ComityError:
    try:
        client = HttpClient(
            settings.host_url,
            tls=authorities(settings),
            proxy=settings.proxy or None,
            limits=_ONCE,
            outlet=outlet,
        )
    except Misconfigured as error:
        return error
    try:
        return client.ask("GET", "/status", bytes_max=_ANSWER_BYTES_MAX, tries=1)
    except ComityError as error:
        return error
    finally:
        client.close()


def _tls(settings: NodeSettings, way: _Way, asked: Answer | ComityError) -> Finding:
    if isinstance(asked, Untrusted | Misconfigured):
        found, _, advice = str(asked).partition(": ")
        return fail(TLS, found, advice)
    if way.url.scheme == "http":
        if settings.plain_http == "on-purpose":
            return note(
                TLS,
                "plain HTTP, on purpose",
                "anybody between here and the host can read along and cut single requests out",
            )
        return ok(TLS, "plain HTTP, which does not leave this machine")
    if way.proxied:
        done = isinstance(asked, Answer)
        return (
            ok(TLS, "chain and name are good, through the proxy")
            if done
            else skipped(TLS, "not seen: the proxy made no way to the host")
        )
    return _certificate(settings, way)


def _certificate(settings: NodeSettings, way: _Way) -> Finding:
    """A handshake of our own, to see how long the certificate holds."""
    tls = authorities(settings)
    assert isinstance(tls, ssl.SSLContext)
    try:
        with (
            socket.create_connection((way.name, way.port), timeout=CONNECT_S) as plain,
            tls.wrap_socket(plain, server_hostname=way.name) as wrapped,
        ):
            version, certificate = wrapped.version(), wrapped.getpeercert() or {}
    except OSError as error:
        refusal = tls_refusal(error)
        words = str(refusal or Unavailable("the connection was cut: try again"))
        found, _, advice = words.partition(": ")
        return fail(TLS, found, advice)
    ends_s = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    days = int((ends_s - time.time()) // _DAY_S)
    told = f"{version}, chain and name are good, the certificate holds for {days} days"
    if days < RENEW_DAYS:
        return note(TLS, told, "tell the host's operator to renew it")
    return ok(TLS, told)


def _silent(way: _Way, error: ComityError) -> Finding:
    to = f"{way.url.hostname} port {way.url.port or 443}"
    advice = (
        f"allow CONNECT to {to} at the proxy; a proxy that wants a password is not supported"
        if way.proxied
        else "ask the host's operator whether `comity host serve` runs behind this address"
    )
    return fail(HOST, str(error), advice)


def _host(answer: Answer, commons: CommonsId | None) -> Finding:
    try:
        status = parse(answer.body, HostStatus)
    except Malformed:
        return fail(
            HOST,
            "something answers that is no host of a commons",
            "compare host_url in node.toml with what the host's operator says",
        )
    if commons is not None and status.commons != commons:
        return fail(
            HOST,
            f"it hosts commons {status.commons[:16]}, the charter here is of {commons[:16]}",
            "compare the commons id by telephone, then host_url in node.toml",
        )
    founded = "founded" if status.founded else "not founded yet"
    return ok(HOST, f"{status.host} hosts {status.commons[:16]}: {status.size} entries, {founded}")


def _clock(answer: Answer, now_s: int) -> Finding:
    try:
        there_s = int(parsedate_to_datetime(answer.headers["date"]).timestamp())
    except (KeyError, ValueError, TypeError, OverflowError):
        return note(
            CLOCK,
            "the host, or a proxy before it, does not tell its time",
            "compare this machine's clock with a clock you trust; keep NTP on",
        )
    ahead_s = now_s - there_s
    told = (
        f"this machine is {abs(ahead_s)} s {'ahead of' if ahead_s > 0 else 'behind'} the host"
        if ahead_s
        else "this machine and the host agree"
    )
    if abs(ahead_s) > CLOCK_APART_S:
        return fail(
            CLOCK,
            told,
            f"beyond {CLOCK_APART_S} s the node joins no round: switch NTP on here; if this clock"
            " is right, tell the host's operator",
        )
    return ok(CLOCK, f"{told}; {CLOCK_APART_S} s are allowed")
