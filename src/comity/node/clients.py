"""What a node needs of a connection to a peer: the place for another one (`machine.py`)."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final, Protocol

from comity.errors import Unavailable
from comity.node.http_client import Answer, HttpClient, Limits
from comity.node.outlet import NoSite, Outlet
from comity.values import PlainHttp


class Client(Protocol):
    """Asks one peer over HTTP; `HttpClient` says what each method promises."""

    @property
    def url(self) -> object:
        """Of the peer, to be shown."""
        ...

    def close(self) -> None:
        """Close all connections and end every pause."""
        ...

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
        """One request and its whole answer."""
        ...

    def stream(
        self, path: str, *, query: Mapping[str, str], count: int, token: str
    ) -> Iterator[bytes]:
        """The answer's bytes as they come."""
        ...

    def pause_or_raise(self, tried: int, error: Unavailable, tries: int | None = None) -> None:
        """Wait before the next try, or raise the error."""
        ...


class Connect(Protocol):
    """Makes a `Client` of a URL; as `HttpClient` with the outlet of a site."""

    def __call__(
        self, url: str, *, tls: ssl.SSLContext | PlainHttp | None, proxy: str | None, limits: Limits
    ) -> Client:
        """Raises Misconfigured: no such URL."""
        ...


class ConnectFrom(Protocol):
    """As `Connect`, out of the site behind this outlet; as `HttpClient`."""

    def __call__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | PlainHttp | None,
        proxy: str | None,
        limits: Limits,
        outlet: Outlet,
    ) -> Client:
        """Raises Misconfigured: no such URL."""
        ...


FROM_NO_SITE: Final[Connect] = partial(HttpClient, outlet=NoSite())
"""Connects for who only looks, and has no site."""
