"""How long a member needs to replay a log from its first entry: read, check, append, apply.

    python -m bench.replay 70000

Checking signatures is most of it. Votes and `seen` only; each names the head of all before
it, the dearest case, because its root is computed anew.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from time import perf_counter
from typing import Literal, final

from tests.worlds import World

from bench.machine import report
from comity.commons import fold
from comity.commons.state import State
from comity.log.merkle import Tree, leaf_hash
from comity.statements.governing import Seen, VoteCast
from comity.values import DAY_S

Choice = Literal["yes", "no"]
MEMBERS = 10
VOTERS = 4
"""They change between yes and no, and are too few to decide."""
TURN_S = 3_600
MORE = 1_000
"""Entries that come after the replay, to see that only they are paid for."""


@final
@dataclass(frozen=True, slots=True)
class Replayed:
    """Seconds for the whole log, and for the `MORE` entries that come afterwards."""

    whole_s: float
    more_s: float


def replay_bench(count: int) -> Replayed:
    """Replay `count` signed statements of ten members, then `MORE` others."""
    world = World.of(MEMBERS, vote_open_s=366 * DAY_S)
    study = world.register(world.members[0])
    world.accept(study, "model 1")
    proposal = world.propose(world.members[0], study)
    choices: tuple[Choice, Choice] = ("yes", "no")
    start, leaves = world.state, list(world.log)
    while len(world.log) < len(leaves) + count + MORE:
        world.now_s += TURN_S
        choices = (choices[1], choices[0])
        for voter in world.members[:VOTERS]:
            world.say(voter, VoteCast(choice=choices[0], proposal=proposal))
        for member in world.members[VOTERS:]:
            world.say(member, Seen())
    log = world.log[len(leaves) :]
    tree = Tree(map(leaf_hash, leaves))
    began = perf_counter()
    state = replay(log[:count], start, tree)
    whole = perf_counter()
    replay(log[count : count + MORE], state, tree)
    return Replayed(whole - began, perf_counter() - whole)


def replay(log: list[bytes], state: State, tree: Tree) -> State:
    """What a member does with statements of others: admit, append, apply."""
    for envelope in log:
        entry = fold.admit(state, tree, envelope)
        tree.append(leaf_hash(envelope))
        state, _ = fold.apply(state, entry)
    return state


if __name__ == "__main__":
    measured = replay_bench(int(sys.argv[1]))
    report("whole", text=f"{measured.whole_s:.6f}")
    report("more", text=f"{measured.more_s:.6f}")
