"""What people do about who hosts and who belongs, as operations.

Each is what a person asks of a node (`comity.node.governing`), so it may be refused and then
changes nothing. A candidate's host process answers at an address of its own.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from comity.errors import ComityError, Unavailable
from comity.node import governing, wishes
from comity.node.succession import approved
from comity.statements.membership import MemberApply
from comity.statements.wire import Draft, sign
from comity.values import NOTHING, MemberId, StatementId
from tests.sim.disk import Died
from tests.sim.hosts import SimHost
from tests.worlds import keys_of

if TYPE_CHECKING:
    from tests.sim.nodes import SimNode
    from tests.sim.world import World

STRANGER = MemberId("stranger")


def address(member: MemberId) -> str:
    """Where a member would host."""
    return f"http://{member}"


def stand(world: World, node: SimNode) -> None:
    """Set up a host process on this node's copy of the log, or start it again."""
    known = world.candidates.get(node.member)
    if known is None and not node.dead and node.member != world.hosts[0].owner:
        folder = world.folder / f"host-{node.member}"
        seeded: list[bool] = []
        node.wish(lambda station: seeded.append(bool(governing.seed_host(station, folder))))
        if not seeded:
            return
        clock = world.clock.of(f"host-{node.member}")
        key = node.keys.host
        try:
            host = SimHost(node.member, folder, world.charter, key, clock, owner=node.member)
        except (ComityError, Died):
            return
        world.candidates[node.member] = host
        world.network.others[address(node.member)] = host
    elif known is not None and known.dead:
        restart(known)


def restart(host: SimHost) -> None:
    """Start a host's process again; it may die at once."""
    try:
        host.start()
    except (Died, Unavailable):
        host.dead = True


def offer(world: World, node: SimNode) -> None:
    node.wish(lambda station: governing.offer_to_host(station, address(node.member)))


def hand_over(world: World, node: SimNode) -> None:
    """The member in office puts this one to the vote, or hands over to it once that is decided."""
    for each in world.nodes:
        if each.member == world.host.owner:
            each.wish(lambda station: governing.hand_over(station, node.member))


def vote(world: World, node: SimNode) -> None:
    """This member says yes to all that is put to the vote."""
    if not node.dead:
        for proposal in node.state.voting:
            node.wish(partial(wishes.cast_vote, proposal=proposal, choice="yes"))


def take_over(world: World, node: SimNode) -> None:
    """This member's host process answers, and it says that it hosts from now on."""
    stand(world, node)
    node.wish(lambda station: governing.take_over(station, address(node.member)))


def approve(world: World, node: SimNode, other: SimNode) -> None:
    """This member approves another one as host, as that one proposes it."""
    url = address(other.member)
    node.wish(lambda station: governing.approve(station, other.member, url))


def leave(world: World, node: SimNode) -> None:
    """This member leaves, unless few are left or it hosts."""
    state = world.state
    few = len(state.present) <= max(4, world.setup.members - 1)
    if not few and node.member not in {world.host.owner, world.hosts[0].owner}:
        node.wish(governing.leave)


def apply(world: World, node: SimNode) -> None:
    """A stranger applies, at the host in office."""
    host, keys = world.host, keys_of(STRANGER)
    state = host.service.published.state
    if host.dead or STRANGER in state.changes.applications or STRANGER in state.authors:
        return
    draft = Draft(
        author=STRANGER,
        commons=state.commons,
        seq=0,
        prev=StatementId(NOTHING),
        head_size=state.head[0],
        head_root=state.head[1],
        time_s=world.clock.now_s,
        body=MemberApply(key_set=keys.key_set, possession=keys.possession),
    )
    try:
        host.submit([sign(draft, keys.statement)])
    except Died:
        host.die()
    except ComityError:
        return


def admit(world: World, node: SimNode) -> None:
    """This member puts the stranger to the vote."""
    node.wish(lambda station: governing.admit(station, STRANGER))


def follow(world: World, node: SimNode, other: SimNode) -> None:
    """This member is told where the next host is."""
    url = address(other.member)
    node.wish(lambda station: governing.follow(station, url))


def agree(world: World) -> None:
    """What people do once everything works: all follow the one candidate that somebody approved."""
    for member, host in world.candidates.items():
        node = world.node(member)
        begun = any(not each.dead and approved(each.station) is not None for each in world.nodes)
        handed = world.state.changes.handover == member
        if host.service.in_office or not (begun or handed):
            continue
        take_over(world, node)
        for each in world.nodes:
            if each is not node:
                approve(world, each, node)
