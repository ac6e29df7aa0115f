"""The network between nodes and hosts: every request is a call, and every call may go wrong.

A node's own `Remote` asks through a `Wire`, which the network may cut, lose, repeat, hold back or
hand over too late; what arrives is answered by `SimHost.answer` with the real services of a host,
and comes back as the bytes and errors that HTTP would carry.
"""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from comity.errors import ComityError, Unavailable
from comity.node.http_client import Answer, TokenUnknown, WrongOffset, error_named
from comity.storage.blobs import WrongOffset as OffsetThere
from comity.values import MemberId
from comity.web.answering import error_said
from comity.web.bodies import TokenMissing

if TYPE_CHECKING:
    from tests.sim.hosts import SimHost

SIMULATED = "http://simulated"
"""Where every member finds the host that began: in `node.toml`."""

FAULTS = ("lose", "mute", "twice", "late", "cut")
"""Of one request: it never comes; its answer never comes; it comes twice; it comes only after the
sender gave up; it is cut in the middle of its bytes."""


@dataclass(frozen=True)
class Asked:
    """One request as it left a node."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    token: str


@dataclass
class Network:
    """Who reaches whom, and what goes wrong next.

    hosts: the host each member reaches at `SIMULATED`, by its name. others: hosts at addresses of
    their own. apart: members that reach nobody. faults: of each member's next requests. late:
    requests that will arrive after their sender gave up.
    """

    dice: random.Random
    hosts: dict[MemberId, SimHost] = field(default_factory=dict)
    others: dict[str, SimHost] = field(default_factory=dict)
    apart: set[MemberId] = field(default_factory=set)
    faults: dict[MemberId, deque[str]] = field(default_factory=dict)
    late: list[Callable[[], object]] = field(default_factory=list)
    heard: Callable[[MemberId, Asked, SimHost], None] = lambda member, asked, host: None
    answered: Callable[[MemberId, Asked, SimHost], None] = lambda member, asked, host: None

    def deliver_late(self) -> None:
        """One request that was held back arrives now, any of them; its answer goes nowhere."""
        if self.late:
            arrive = self.late.pop(self.dice.randrange(len(self.late)))
            with contextlib.suppress(ComityError):
                arrive()

    def host_at(self, member: MemberId, url: str) -> SimHost | None:
        """Whom a member reaches at an address."""
        return self.hosts[member] if url == SIMULATED else self.others.get(url)

    def ask(self, member: MemberId, url: str, asked: Asked) -> Answer:
        """Carry one request and its answer. Raises as a client would."""
        host = self.host_at(member, url)
        if host is None:
            raise Unavailable(f"simulated: nobody is at {url}")
        self.heard(member, asked, host)
        queue = self.faults.get(member)
        fault = queue.popleft() if queue else ""
        if member in self.apart or host.dead or fault == "lose":
            raise Unavailable("simulated: nobody answers")
        if fault == "late":
            self.late.append(lambda: host.answer(asked))
            raise Unavailable("simulated: no answer in time")
        if fault == "cut":
            if asked.method == "PUT" and len(asked.body) > 1:
                half = asked.body[: self.dice.randrange(1, len(asked.body))]
                host.answer(Asked("PUT", asked.path, asked.query, half, asked.token))
            raise Unavailable("simulated: cut in the middle")
        if fault == "twice":
            with contextlib.suppress(ComityError):
                host.answer(asked)
        try:
            answer = host.answer(asked)
        except ComityError as error:
            raise _as_named(error) from None
        if fault == "mute":
            raise Unavailable("simulated: the answer is lost")
        self.answered(member, asked, host)
        return answer


def _as_named(error: ComityError) -> ComityError:
    """What a client makes of the answer that a host makes of an error."""
    if isinstance(error, TokenMissing):
        return TokenUnknown("the host does not know this reader's token")
    if isinstance(error, OffsetThere):
        return WrongOffset(error.stored)
    said = error_said(error)
    rule = said.get("rule")
    return error_named(
        str(said["error"]), None if rule is None else str(rule), str(said["message"])
    )


class Wire:
    """One node's connection, as `HttpClient`: one try more, and no pause, for it has no time."""

    def __init__(self, network: Network, member: MemberId, url: str) -> None:
        self._network, self._member = network, member
        self.url = url

    def close(self) -> None:
        """Nothing is open."""

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
        asked = Asked(method, path, query or {}, bytes(body), token)
        return self._network.ask(self._member, self.url, asked)

    def stream(
        self, path: str, *, query: Mapping[str, str], count: int, token: str
    ) -> Iterator[bytes]:
        """The answer's bytes, in two pieces; a cut comes after the first."""
        queue = self._network.faults.get(self._member)
        cut = bool(queue) and queue is not None and queue[0] == "cut"
        if cut and queue is not None:
            queue.popleft()
        asked = Asked("GET", path, query, b"", token)
        whole = self._network.ask(self._member, self.url, asked).body
        if len(whole) < count:
            raise Unavailable(f"the host sent {len(whole)} of {count} bytes; try again")
        half = len(whole) // 2
        if cut:
            yield whole[:half]
            raise Unavailable("simulated: cut in the middle")
        yield whole

    def pause_or_raise(self, tried: int, error: Unavailable, tries: int | None = None) -> None:
        """Twice at most."""
        if tried >= 2:
            raise error
