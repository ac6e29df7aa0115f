"""From a request's method and address to its endpoint, and nothing in between.

A round asks a host a few dozen small questions a member, so what stands between the server and an
endpoint is most of their cost. Decided here: which addresses there are. Every error is made an
answer before it comes here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, NamedTuple, final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]

NAME: Final = "name"
"""The path parameter in which an endpoint finds the name that was asked for."""


class Address(NamedTuple):
    """`/first`, or `/first/<name>` when named."""

    first: str
    named: bool


@final
@dataclass(frozen=True, slots=True)
class Application:
    """An ASGI application of few addresses.

    table: the endpoint by method, of each address. nothing: answers everything else.
    lifespan: entered before the first request, left after the last.
    """

    table: Mapping[Address, Mapping[str, Endpoint]]
    nothing: Endpoint
    lifespan: Callable[[], AbstractAsyncContextManager[None]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope, as ASGI says."""
        if scope["type"] == "lifespan":
            await receive()
            async with self.lifespan():
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        assert scope["type"] == "http", "the server takes nothing else"
        first, slash, name = scope["path"].removeprefix("/").partition("/")
        there = self.table.get(Address(first, bool(slash)), {})
        scope["path_params"] = {NAME: name}
        request = Request(scope, receive, send)
        response = await there.get(scope["method"], self.nothing)(request)
        await response(scope, receive, send)
