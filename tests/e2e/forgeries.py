"""What a host serves in place of the truth: other statements, under heads that it signs itself."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec.structs import replace

from comity.log.heads import TreeHead, parse_signed_head, sign_head
from comity.log.merkle import Tree, leaf_hash
from comity.node.answers import Batch, PublishedHead
from comity.statements.entries import Body, Statement
from comity.statements.rounds import RoundJoin, RoundReady
from comity.statements.wire import Draft, read, sign
from tests.e2e.steps import Desk, World

Forge = Callable[[bytes], bytes]


def other_ephemeral_key(body: Body) -> Body | None:
    """A Join with a key that the host knows the secret of."""
    if not isinstance(body, RoundJoin):
        return None
    key = X25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().public_bytes_raw()
    return replace(body, ephemeral_key=key)


def other_sealing_key(body: Body) -> Body | None:
    """A Ready with a sealing key of another member's choice for the next attempt."""
    if not isinstance(body, RoundReady):
        return None
    return replace(body, sealing_key=bytes(reversed(body.sealing_key)))


def in_the_name_of(world: World, member: str, change: Callable[[Body], Body | None]) -> Forge:
    """Changes that member's statements and signs them with the host's member's key, as it can."""
    key = world.places.host.keys.statement

    def forge(leaf: bytes) -> bytes:
        said: Statement = read(leaf).statement
        changed = change(said.body) if said.author == member else None
        if changed is None:
            return leaf
        draft = Draft(
            author=said.author,
            commons=said.commons,
            seq=said.seq,
            prev=said.prev,
            head_size=said.head_size,
            head_root=said.head_root,
            time_s=said.time_s,
            body=changed,
        )
        return sign(draft, key)

    return forge


def serve_forged(world: World, victim: Desk, forge: Forge, *, signed: bool) -> None:
    """From now on, let the victim be served forged entries.

    Args:
        signed: under a head that the host signs over them, else under the true one.
    """
    true = victim.station.remote.entries

    def entries(start: int, *rest: int, proposed: bool = False) -> Batch:
        batch = true(start, *rest)
        forged = tuple(map(forge, batch.entries))
        if forged == batch.entries or not signed:
            return Batch(batch.version, batch.heads, batch.start, forged)
        leaves = [*world.leaves()[:start], *forged]
        tree = Tree(list(map(leaf_hash, leaves)))
        origin = parse_signed_head(batch.heads[-1].note).head.origin
        head = sign_head(TreeHead(origin, tree.size, tree.root()), world.places.host.keys.host)
        shown = PublishedHead(head.note(), ())
        return Batch(batch.version, (shown,), batch.start, forged)

    victim.station.remote.entries = entries  # type: ignore[method-assign, assignment]  # bent
