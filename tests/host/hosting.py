"""A real host on a free port of this machine, and a world whose log it holds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comity.commons import fold
from comity.commons.state import Void
from comity.errors import ComityError, Refused, Rule
from comity.host.drafts import Logged
from comity.host.serve import HostServer
from comity.host.service import Host
from comity.log.heads import TreeHead, cosign, parse_signed_head
from comity.node.http_client import Limits
from comity.node.remote import Posted, Remote
from comity.statements.entries import Body
from comity.statements.studies import DatasetDeclare
from comity.statements.wire import Draft, read, sign
from comity.storage.database import pass_by
from comity.storage.ports import Hook
from comity.values import BlobName, DatasetId, MemberId, sha256
from comity.web.bodies import Times
from tests.worlds import World, charter_of, digest, found_body, keys_of

QUICK = Limits(connect_s=5, silence_s=5, answer_s=10, tries=3, pause_s=0.01, pause_s_max=0.05)
"""A client's limits that let a test end soon."""


@dataclass
class Clock:
    """The host's clock: the world's, `ahead_s` seconds ahead."""

    world: World
    ahead_s: int = 0

    def __call__(self) -> int:
        return self.world.now_s + self.ahead_s


@dataclass
class Hosting:
    """A running host, and the world that says what its log should be.

    Members' clocks are the world's.
    """

    folder: Path
    world: World
    server: HostServer
    clock: Clock
    remotes: list[Remote] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def remote(self, member: MemberId, limits: Limits = QUICK) -> Remote:
        """A connection in the name of a member."""
        made = Remote(
            self.url,
            member,
            statement_key=keys_of(member).statement,
            commons=self.world.state.commons,
            clock=lambda: self.world.now_s,
            limits=limits,
        )
        self.remotes.append(made)
        return made

    def token(self, member: MemberId) -> str:
        """A token to read with."""
        return self.remote(member)._tokens.now()

    def say(self, member: MemberId, body: Body) -> Posted:
        """Say it in the world and to the host: both must come to the same."""
        envelope = self.world.envelope(member, body)
        (verdict,) = self.server.host.submit([envelope]).result()
        index = self.world.tree.size
        outcome = self.world.append(envelope)
        rule = outcome.rule if isinstance(outcome, Void) else None
        assert verdict == Logged(index, rule), verdict
        return Posted(index, rule, None)

    def found(self) -> None:
        """Everybody enters."""
        for member in self.world.members:
            self.say(member, found_body(member))

    def cosign(self, member: MemberId, remote: Remote) -> None:
        """Cosign the newest head."""
        head = parse_signed_head(remote.entries(0).heads[-1].note).head
        remote.post_cosignature(head.size, self.line(member, head))

    def line(self, member: MemberId, head: TreeHead) -> bytes:
        """The member's cosignature line of that head."""
        return cosign(head, member, keys_of(member).head, self.world.now_s).line()


def give_blob(host: Host, content: bytes) -> BlobName:
    """Store a blob at the host, sent by its own member, without asking over HTTP."""
    name = BlobName(sha256(content))
    upload = host.bulk.blob(host.published.state.host, name, len(content))
    host.bulk.uploads.write(upload, 0, memoryview(content))
    host.bulk.uploads.finish(upload)
    return name


def logged(host: Host, *envelopes: bytes) -> list[int]:
    """Submit statements that must be logged; their indexes."""
    verdicts = host.submit(envelopes).result(20)
    assert all(isinstance(verdict, Logged) for verdict in verdicts), verdicts
    return [verdict.index for verdict in verdicts if isinstance(verdict, Logged)]


def refusal(host: Host, envelope: bytes) -> ComityError:
    """Why the host does not log it."""
    (verdict,) = host.submit([envelope]).result(20)
    assert isinstance(verdict, ComityError), verdict
    return verdict


def refused_by(host: Host, envelope: bytes) -> Rule:
    """By which rule the host does not log it."""
    error = refusal(host, envelope)
    assert isinstance(error, Refused), error
    return error.rule


@contextmanager
def open_host(folder: Path, world: World, *, hook: Hook = pass_by) -> Iterator[Host]:
    """The world's host without a port."""
    host = Host(
        folder,
        charter=world.charter,
        host_key=keys_of(world.state.host).host,
        now=lambda: world.now_s,
        hook=hook,
    )
    try:
        yield host
    finally:
        host.close()


@contextmanager
def hosting(
    folder: Path,
    world: World | None = None,
    *,
    times: Times | None = None,
    host_key: Ed25519PrivateKey | None = None,
    founded: bool = True,
) -> Iterator[Hosting]:
    """Host a world (of three members) on a free port, in a thread, until the block ends."""
    mirrored = world or World.empty(charter_of(3))
    clock = Clock(mirrored)
    server = HostServer(
        folder,
        mirrored.charter,
        host_key=host_key or keys_of(mirrored.state.host).host,
        listen="127.0.0.1:0",
        clock=clock,
        times=times,
    )
    ready = threading.Event()
    thread = threading.Thread(target=server.run, args=(_setter(ready),), daemon=True)
    thread.start()
    assert ready.wait(10)
    hosted = Hosting(folder, mirrored, server, clock)
    try:
        if founded and not mirrored.tree.size:
            hosted.found()
        yield hosted
    finally:
        for remote in hosted.remotes:
            remote.close()
        server.stop()
        thread.join(20)
        assert not thread.is_alive()


def _setter(event: threading.Event) -> Callable[[str], None]:
    def told(_: str) -> None:
        event.set()

    return told


def declare(name: str) -> DatasetDeclare:
    """A data set of that name."""
    return DatasetDeclare(dataset=DatasetId(name), unit="record", version=digest(name))


def chain(world: World, member: MemberId, *bodies: Body) -> list[bytes]:
    """Statements of one member, one after the other, that the world's log does not hold yet."""
    seq, prev = fold.next_link(world.state, member)
    envelopes = []
    for body in bodies:
        draft = Draft(
            author=member,
            commons=world.state.commons,
            seq=seq,
            prev=prev,
            head_size=world.tree.size,
            head_root=world.tree.root(),
            time_s=world.now_s,
            body=body,
        )
        envelopes.append(sign(draft, keys_of(member).statement))
        seq, prev = seq + 1, read(envelopes[-1]).statement.id
    return envelopes
