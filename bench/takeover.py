"""A forced take-over with real processes, and how long a newcomer needs for a long log.

    python -m bench.takeover takeover FOLDER
    python -m bench.takeover join FOLDER COUNT

The first measures from the decision (the command is given) to the next accepted round, with five
members, the host killed in a round, and everybody approving at once. The second: a member with an
empty disk reads a log from its host over HTTP, checks and folds every entry, to a final head.
"""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Thread
from time import perf_counter, sleep

from tests.e2e.institutions import Institutions
from tests.e2e.small_study import study_text
from tests.e2e.test_takeover import has_results, plain_model
from tests.worlds import World, keys_of

from bench.machine import report
from comity.commons.charter import charter_bytes
from comity.host.serve import HostServer
from comity.log.heads import TreeHead, cosign, origin_of, sign_head
from comity.log.merkle import leaf_hash
from comity.node.governing_wire import ApproveEpoch, OfferToHost
from comity.node.keyfile import MemberKeys
from comity.node.loop import Loop
from comity.node.opening import open_station
from comity.node.settings import NodeSettings, write_node_settings
from comity.node.wishes import Said
from comity.statements.governing import Seen
from comity.statements.wire import read
from comity.storage.log_store import SqliteLogStore
from comity.storage.ports import Row, StoredHead

MEMBERS = 5
TURN_S = 3_600
_PAUSE_S = 0.01


def takeover_bench(folder: Path) -> tuple[float, bool]:
    """Seconds from the decision to the next accepted round; whether the model is bit-identical."""
    text = study_text(rounds=3, twist="import time; time.sleep(0.3)")
    with Institutions.made(folder, MEMBERS) as members:
        members.start()
        old, new, *others = members.all
        new.ask(OfferToHost(new.url), Said)
        members.register(text)
        members.until(lambda: has_results(new, 1) and new.study().phase == "masking", "round 2")
        assert old.host is not None
        old.host.kill()
        before = new.study().results_count
        began = perf_counter()
        new.take_over()
        members.until(lambda: bool(new.hosts().approved), "the candidate")
        for each in others:
            each.ask(ApproveEpoch(new.member, new.url), Said)
        members.until(lambda: has_results(new, before + 1), "the next accepted round")
        seconds = perf_counter() - began
        members.until(lambda: all(has_results(e, 3) for e in members.all), "all rounds")
        models = {each.study().model for each in members.all}
        return seconds, models == {plain_model(text, MEMBERS)}


def join_bench(folder: Path, count: int) -> float:
    """Seconds from an empty folder to a verified state of `count` entries under a final head."""
    world = World.of(10)
    while len(world.log) < count:
        world.now_s += TURN_S
        for member in world.members[:-1]:
            world.say(member, Seen())
    host = keys_of(world.state.host)
    _store(folder / "host", world)
    server = HostServer(
        folder / "host",
        world.charter,
        host_key=host.host,
        listen="127.0.0.1:0",
        clock=lambda: world.now_s,
    )
    Thread(target=server.run, args=(lambda _: None,), daemon=True).start()
    newcomer = world.members[-1]
    place = folder / "node"
    place.mkdir()
    (place / "charter.json").write_bytes(charter_bytes(world.charter))
    write_node_settings(
        place / "node.toml", NodeSettings(member=newcomer, host_url=server.url, poll_s=1)
    )
    keys = keys_of(newcomer)
    own = MemberKeys(keys.statement, keys.head, keys.host, keys.model)
    began = perf_counter()
    station = open_station(place, own, clock=lambda: world.now_s)
    loop = Loop(station)
    thread = Thread(target=loop.run, daemon=True)
    thread.start()
    while station.replica.final_size < len(world.log):
        sleep(_PAUSE_S)
    seconds = perf_counter() - began
    loop.stop()
    thread.join(30)
    station.close()
    server.stop()
    return seconds


def _store(folder: Path, world: World) -> None:
    """A host's folder that holds the world's log under a final head."""
    folder.mkdir(parents=True)
    store = SqliteLogStore(folder / "host.sqlite")
    rows = []
    for leaf in world.log:
        said = read(leaf).statement
        rows.append(Row(leaf, leaf_hash(leaf), said.id, said.author, said.seq))
    origin = origin_of(world.state.commons, world.charter.origin_prefix)
    head = TreeHead(origin, world.tree.size, world.tree.root())
    note = sign_head(head, keys_of(world.state.host).host).note()
    store.append(rows, None, StoredHead(head.size, head.root, note))
    lines = [
        (member, cosign(head, member, keys_of(member).head, world.now_s).line())
        for member in world.members[: world.state.quorum]
    ]
    store.cosign(head.size, lines)
    store.set_final(head.size)
    store.close()


if __name__ == "__main__":
    if sys.argv[1] == "takeover":
        seconds, same = takeover_bench(Path(sys.argv[2]))
        report("takeover", text=f"{seconds:.3f} {same}")
    else:
        report("join", text=f"{join_bench(Path(sys.argv[2]), int(sys.argv[3])):.3f}")
