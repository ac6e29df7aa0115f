"""What may happen to a world: a list of small operations, so that a failure can be made shorter.

An operation that makes no sense where it stands does nothing, so any of them may be deleted. To add
one: a function of a world and the operation here, its name in `_DEEDS`, a chance in `histories.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from comity.commons.duties import SayOpen
from comity.errors import ComityError
from comity.statements.rounds import RoundCommit, RoundJoin
from comity.values import BlobName, MemberId
from tests.sim import belonging
from tests.sim.disk import copy_folder
from tests.sim.hosts import SimHost
from tests.sim.lies import HOST_LIES, MEMBER_LIES
from tests.sim.nodes import SimNode
from tests.sim.watching import statement_of
from tests.sim.world import World, member_keys


class Op(NamedTuple):
    """One operation. who: a node by its place, or -1. number, text: as the operation takes them."""

    name: str
    who: int = -1
    number: int = 0
    text: str = ""

    def __repr__(self) -> str:
        shown = [repr(self.name), str(self.who), str(self.number), repr(self.text)]
        while shown and shown[-1] in ("0", "''", "-1") and len(shown) > 1:
            shown.pop()
        return f"Op({', '.join(shown)})"


def perform(world: World, op: Op) -> None:
    """Let it happen, then look at every invariant. Raises Violation."""
    _DEEDS[op.name](world, op)
    world.judge.look()


def _node(world: World, op: Op) -> SimNode:
    return world.nodes[op.who % len(world.nodes)]


def _other(world: World, op: Op) -> SimNode:
    return world.nodes[op.number % len(world.nodes)]


def _step(world: World, op: Op) -> None:
    _node(world, op).step()


def _turn(world: World, op: Op) -> None:
    """Everybody moves once, from a different one on each time."""
    for place in range(len(world.nodes)):
        world.nodes[(place + op.number) % len(world.nodes)].step()
        world.judge.look()


def _until(world: World, op: Op) -> None:
    """Everybody moves until the first study's attempt has come to the phase in `text`."""
    for number in range(10):
        attempt = None if world.host.dead else world.attempt
        if type(attempt).__name__ == op.text:
            return
        _turn(world, Op("turn", number=number))


def _clock(world: World, op: Op) -> None:
    _node(world, op).step(clock=True)


def _pass(world: World, op: Op) -> None:
    world.clock.now_s += op.number


def _away(world: World, op: Op) -> None:
    _node(world, op).away = True


def _back(world: World, op: Op) -> None:
    _node(world, op).away = False


def _apart(world: World, op: Op) -> None:
    world.network.apart.add(_node(world, op).wire)


def _together(world: World, op: Op) -> None:
    world.network.apart.discard(_node(world, op).wire)


def _fault(world: World, op: Op) -> None:
    world.network.faults.setdefault(_node(world, op).wire, deque()).append(op.text)


def _late(world: World, op: Op) -> None:
    world.network.deliver_late()


def _skew(world: World, op: Op) -> None:
    world.clock.skew_s[_node(world, op).member] = op.number


def _die(world: World, op: Op) -> None:
    _node(world, op).die()


def _power(world: World, op: Op) -> None:
    _node(world, op).lose_power()


def _disk(world: World, op: Op) -> None:
    """text: "die" or "fail", and the commit point."""
    what, _, point = op.text.partition(" ")
    _node(world, op).disk.arm(what, point, op.number)


def _up(world: World, op: Op) -> None:
    node = _node(world, op)
    if node.dead:
        node.restart()


def _host_disk(world: World, op: Op) -> None:
    what, _, point = op.text.partition(" ")
    world.host.disk.arm(what, point, op.number)


def _host_die(world: World, op: Op) -> None:
    if not world.host.dead:
        world.host.die()


def _host_up(world: World, op: Op) -> None:
    for host in world.all_hosts:
        if host.dead:
            belonging.restart(host)


def _backup(world: World, op: Op) -> None:
    node = _node(world, op)
    node.backup_seq = node.last_seq
    node.keep_backup()


def _restore(world: World, op: Op) -> None:
    """Come back on the backup: corrupt if the log it will read cannot tell it what it lost.

    No more members than an attempt can do without: who has lost its memory signs nothing (R8).
    """
    node, setup = _node(world, op), world.setup
    spare = setup.members - (setup.members + setup.colluders) // 2 - 1
    if len(world.restored | {node.member}) > spare:
        return
    if node.backup is None or node.backup_seq is None:
        return
    lost = node.last_seq > node.backup_seq
    if lost and not _may_forget(world, node, node.backup_seq, world.network.hosts[node.wire]):
        return
    world.restored.add(node.member)
    node.restore()


def _may_forget(world: World, node: SimNode, seq: int, host: SimHost) -> bool:
    """Whether a node may come before this host with its memory up to `seq` only.

    Yes when the log shows it that it said more; else it is one more corrupt member, if c allows it.
    """
    author = host.service.published.state.authors.get(node.member)
    if (author is not None and author.seq > seq) or node.member in world.corrupt:
        return True
    if len(world.corrupt) >= world.setup.colluders:
        return False
    world.corrupt.add(node.member)
    return True


def _lie(world: World, op: Op) -> None:
    """A member begins to lie: text says how; at most c members do."""
    node = _node(world, op)
    if node.member in world.corrupt or len(world.corrupt) < world.setup.colluders:
        world.corrupt.add(node.member)
        node.lie = MEMBER_LIES[op.text]


def _hold(world: World, op: Op) -> None:
    """The hosting member, who is honest but slow, does not open this study until `open`."""
    study = world.studies[op.number % len(world.studies)]
    if world.nodes[0].member not in world.corrupt:
        world.nodes[0].lie = lambda node, duty: (
            isinstance(duty, SayOpen) and duty.body.study == study
        )


def _open(world: World, op: Op) -> None:
    if world.nodes[0].member not in world.corrupt:
        world.nodes[0].lie = MEMBER_LIES["honest"]


def _host_lie(world: World, op: Op) -> None:
    """The host and the hosting member begin to lie."""
    if _take_host(world):
        world.host.bend = HOST_LIES[op.text]


def _take_host(world: World) -> bool:
    hosting = world.nodes[0].member
    if hosting not in world.corrupt and len(world.corrupt) >= world.setup.colluders:
        return False
    world.corrupt.add(hosting)
    world.host_lies = True
    world.host.lying = True
    return True


def _host_backup(world: World, op: Op) -> None:
    copy_folder(world.host.folder, world.folder / "host.backup")


def _host_restore(world: World, op: Op) -> None:
    """The host is restored from its backup: to everybody else that is a lie."""
    backup = world.folder / "host.backup"
    if backup.exists() and len(world.hosts) == 1:
        world.host_lies = True
        _host_die(world, op)
        copy_folder(backup, world.host.folder)
        _host_up(world, op)


def _fork(world: World, op: Op) -> None:
    """The host begins a second history, and shows it to the members in the bits of `number`.

    The hosting member lies too: it runs one node for each history.
    """
    if len(world.hosts) > 1 or world.host.dead or world.nodes[0].dead or not _take_host(world):
        return
    hosting = world.nodes[0]
    copy_folder(world.host.folder, world.folder / "host-b")
    other = SimHost(
        "b",
        world.folder / "host-b",
        world.charter,
        member_keys(hosting.member).host,
        world.host.clock,
        owner=hosting.member,
    )
    other.lying = True
    world.hosts.append(other)
    world.forked_at = world.host.service.published.state.size
    hosting.copy_to(world.folder / "second")
    wire = MemberId(f"{hosting.member}.second")
    world.network.hosts[wire] = other
    second = SimNode(
        hosting.member,
        hosting.keys,
        world.folder / "second",
        world.network,
        hosting.clock,
        op.number,
        wire=wire,
    )
    world.nodes.append(second)
    for place, node in enumerate(world.nodes[1:-1], start=1):
        if op.number >> place & 1:
            world.network.hosts[node.wire] = other


def _move(world: World, op: Op) -> None:
    """A member is shown the other history from now on."""
    node = _node(world, op)
    if len(world.hosts) < 2 or node.member in world.corrupt:
        return
    here = world.network.hosts[node.wire]
    there = next(host for host in world.hosts if host is not here)
    heard = max((s.seq for s in world.judge.watch.by_author(node.member)), default=-1)
    forgot = node.member in world.restored and node.last_seq < heard
    if not forgot or _may_forget(world, node, node.last_seq, there):
        world.network.hosts[node.wire] = there


def _relay(world: World, op: Op) -> None:
    """What is in one history is put into the other, but for the members in the bits of `number`.

    who: 0 from the first to the second, else back.
    """
    if len(world.hosts) < 2:
        return
    source, target = world.hosts if op.who == 0 else reversed(world.hosts)
    if source.dead or target.dead:
        return
    withheld = {node.member for place, node in enumerate(world.nodes) if op.number >> place & 1}
    for leaf in source.service.entries(world.forked_at):
        said = statement_of(leaf)
        state = target.service.published.state
        due = state.authors[said.author].seq + 1
        if said.author in world.corrupt | withheld or said.seq != due:
            continue
        try:
            _carry_bulk(world, target, leaf)
            target.submit([leaf])
        except ComityError:
            continue


def _carry_bulk(world: World, target: SimHost, leaf: bytes) -> None:
    said, bulk = statement_of(leaf), target.service.bulk
    match said.body:
        case RoundJoin(blob=name):
            content = bytes(world.judge.watch.bulk[name])
            upload = bulk.blob(said.author, BlobName(name), len(content))
        case RoundCommit(vector=name, opened=opened):
            content = bytes(world.judge.watch.bulk[name])
            state = target.service.published.state
            upload = bulk.vector(state, said.author, opened, BlobName(name))
        case _:
            return
    if not upload.store.finished(upload.name):
        bulk.uploads.write(upload, upload.store.stored(upload.name), content)
        bulk.uploads.finish(upload)


_DEEDS: dict[str, Callable[[World, Op], None]] = {
    "step": _step,
    "turn": _turn,
    "until": _until,
    "clock": _clock,
    "pass": _pass,
    "away": _away,
    "back": _back,
    "apart": _apart,
    "together": _together,
    "fault": _fault,
    "late": _late,
    "skew": _skew,
    "die": _die,
    "power": _power,
    "disk": _disk,
    "up": _up,
    "host disk": _host_disk,
    "host die": _host_die,
    "host up": _host_up,
    "backup": _backup,
    "restore": _restore,
    "lie": _lie,
    "hold": _hold,
    "open": _open,
    "host lie": _host_lie,
    "host backup": _host_backup,
    "host restore": _host_restore,
    "fork": _fork,
    "move": _move,
    "relay": _relay,
    "stand": lambda world, op: belonging.stand(world, _node(world, op)),
    "offer": lambda world, op: belonging.offer(world, _node(world, op)),
    "hand over": lambda world, op: belonging.hand_over(world, _node(world, op)),
    "vote": lambda world, op: belonging.vote(world, _node(world, op)),
    "take over": lambda world, op: belonging.take_over(world, _node(world, op)),
    "approve": lambda world, op: belonging.approve(world, _node(world, op), _other(world, op)),
    "follow": lambda world, op: belonging.follow(world, _node(world, op), _other(world, op)),
    "leave": lambda world, op: belonging.leave(world, _node(world, op)),
    "apply": lambda world, op: belonging.apply(world, _node(world, op)),
    "admit": lambda world, op: belonging.admit(world, _node(world, op)),
}

__all__ = ["Op", "perform"]
