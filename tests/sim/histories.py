"""Histories from seeds: what goes wrong in each world, how it heals, how it is made shorter.

`history(seed)` says everything: the same seed is the same world. What keeps a world from going on
(a host that lies, a fork) ends in no demand but safety; every other one must, once healed, give a
result within bounded turns.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from comity.commons.opening import Waiting, expected_open
from comity.commons.state import State, Study
from comity.errors import Rule
from tests.sim.disk import POINTS
from tests.sim.judging import Violation
from tests.sim.lies import HOST_LIES, MEMBER_LIES
from tests.sim.network import FAULTS
from tests.sim.operations import Op, perform
from tests.sim.world import PHASE_S, Setup, World

HEALED_TURNS_MAX = 160


@dataclass(frozen=True)
class History:
    """A world and all that happens in it. live: a result is due once it is healed."""

    seed: int
    setup: Setup
    ops: tuple[Op, ...]
    live: bool


def history(seed: int) -> History:
    """The history of a seed."""
    dice = random.Random(seed)
    theme = THEMES[seed % len(THEMES)]
    return theme(seed, dice)


def play(story: History) -> World | None:
    """Run a history to its end. Raises Violation, with the seed and the operations in its text."""
    with World.of(story.setup, story.seed) as world:
        for op in story.ops:
            perform(world, op)
        if story.live:
            heal(world)
            go_on(world)
        return world


def heal(world: World) -> None:
    """Everything works again; nothing that was lost comes back."""
    world.network.apart.clear()
    world.network.faults.clear()
    world.network.late.clear()
    world.clock.skew_s.clear()
    for host in world.hosts:
        host.disk.calm()
        if host.dead:
            host.start()
    for node in world.nodes:
        node.disk.calm()
        node.away = False
        if node.dead:
            node.restart()


def go_on(world: World) -> None:
    """Liveness: with everybody able to talk, the next result comes within bounded turns.

    But for a study that waits by 5.10 and names whom for: nobody in it accepts to be exposed.
    """
    due = [len(study.results) + 1 for study in world.state.studies.values()]
    for turn in range(HEALED_TURNS_MAX):
        studies = world.state.studies.values()
        if any(len(study.results) >= count for study, count in zip(studies, due, strict=True)):
            return
        if not world.setup.exposed and all(_waits(world.state, study) for study in studies):
            return
        for node in world.nodes:
            if node.dead:
                node.restart()
        if not world.turn():
            world.clock.now_s += PHASE_S + 1 if turn % 2 else 1
    raise Violation("liveness", f"no result in {HEALED_TURNS_MAX} turns: {world.describe()}")


def _waits(state: State, study: Study) -> bool:
    if study.current is not None:
        return False
    expected = expected_open(state, study.id)
    return isinstance(expected, Waiting) and expected.rule is Rule.SET_NEARLY_EQUAL


# -- what goes wrong -------------------------------------------------------------------------------


def weather(seed: int, dice: random.Random) -> History:
    """Network, crashes, disks, clocks; nobody lies."""
    members = dice.choice((4, 4, 5))
    fewest = dice.choice((None, 3)) if members == 5 else None
    setup = Setup(members=members, survivors_min=fewest, exposed=dice.random() < 0.7)
    ops = _mixed(dice, setup, dice.randint(20, 60), _trouble)
    return History(seed, setup, ops, live=True)


def restored(seed: int, dice: random.Random) -> History:
    """Nodes come back from old backups, which the log shows them."""
    setup = Setup(members=dice.choice((4, 5)))

    def trouble(dice: random.Random, count: int) -> list[Op]:
        who = dice.randrange(count)
        choice = dice.random()
        if choice < 0.35:
            return [Op("backup", who)]
        if choice < 0.7:
            return [Op("restore", who)]
        return _trouble(dice, count)

    return History(seed, setup, _mixed(dice, setup, dice.randint(20, 60), trouble), live=True)


def liar(seed: int, dice: random.Random) -> History:
    """One member lies, and things go wrong besides."""
    setup = Setup(members=dice.choice((4, 5)))
    lie = dice.choice(sorted(MEMBER_LIES))
    who = dice.randrange(setup.members)
    first = _mixed(dice, setup, dice.randint(0, 8), _trouble)
    rest = _mixed(dice, setup, dice.randint(20, 50), _trouble)
    return History(seed, setup, (*first, Op("lie", who, text=lie), *rest), live=False)


def false_host(seed: int, dice: random.Random) -> History:
    """The host lies in its answers."""
    setup = Setup(members=4)
    lie = dice.choice(sorted(HOST_LIES))
    first = _mixed(dice, setup, dice.randint(0, 5), _trouble)
    rest: list[Op] = []
    for _ in range(dice.randint(2, 6)):
        rest += _mixed(dice, setup, dice.randint(0, 4), _trouble)
        rest += _turns(dice, 4, 4)
    return History(seed, setup, (*first, Op("host lie", text=lie), *rest), live=False)


def rolled_back(seed: int, dice: random.Random) -> History:
    """The host comes back from an old backup."""
    setup = Setup(members=4)
    first = _mixed(dice, setup, dice.randint(0, 15), _trouble)
    then = _mixed(dice, setup, dice.randint(1, 15), _trouble)
    rest = _mixed(dice, setup, dice.randint(5, 15), _trouble)
    ops = (*first, Op("host backup"), *then, Op("host restore"), *rest)
    return History(seed, setup, ops, live=False)


def twins(seed: int, dice: random.Random) -> History:
    """Two studies of the very same plan, one after the other, and members that come and go."""
    members = dice.choice((4, 5))
    setup = Setup(members=members, studies=2)
    ops = [Op("hold", number=1)]
    for part in range(dice.randint(2, 5)):
        who = dice.randrange(1, members)
        ops += _turns(dice, members, dice.randint(1, 6))
        ops += [Op("away", who), *_turns(dice, members, dice.randint(1, 3))]
        ops += [Op("pass", number=2 * PHASE_S + 1), *_turns(dice, members, dice.randint(1, 4))]
        ops += [Op("back", who)]
        if part and dice.random() < 0.6:
            ops.append(Op("open"))
    ops += [Op("open"), *_turns(dice, members, 8)]
    return History(seed, setup, tuple(ops), live=False)


def _turns(dice: random.Random, members: int, count: int) -> list[Op]:
    return [Op("turn", number=dice.randrange(members)) for _ in range(count)]


def two_histories(seed: int, dice: random.Random) -> History:
    """The host shows two histories, and puts what was said in one into the other."""
    members = dice.choice((4, 4, 5, 6))
    setup = Setup(members=members, survivors_min=3 if members > 4 else None)
    first = _turns(dice, members, dice.randint(1, 7))
    first += [Op("step", dice.randrange(members)) for _ in range(dice.randint(0, members))]
    first[dice.randrange(len(first)) :] = [
        *(op for who in range(1, members) for op in [Op("backup", who)] if dice.random() < 0.3),
        *first[-3:],
    ]
    side = dice.randrange(2, 2**members - 2)
    kept = [_few(dice, members), _few(dice, members)]
    ops = [*first, Op("fork", number=side)]
    for _ in range(dice.randint(25, 50)):
        choice = dice.random()
        if choice < 0.45:
            ops.append(Op("turn", number=dice.randrange(members)))
        elif choice < 0.75:
            way = dice.randrange(2)
            ops.append(Op("relay", way, kept[way]))
        elif choice < 0.9:
            ops.append(Op("pass", number=PHASE_S + 1))
        elif choice < 0.94:
            kept[dice.randrange(2)] = _few(dice, members)
        elif choice < 0.96:
            who = dice.randrange(1, members)
            ops += [Op("restore", who), Op("move", who)][: dice.randint(1, 2)]
        else:
            who = dice.randrange(1, members)
            ops += [Op("die", who), Op("move", who), Op("up", who)]
    return History(seed, setup, tuple(ops), live=False)


def split_close(seed: int, dice: random.Random) -> History:
    """The host closes over all members in one history, and without one of them in the other."""
    victim, withheld = 1, 1 << 1

    def talk(count: int) -> list[Op]:
        relays = [Op("relay", 0, withheld), Op("relay", 1)]
        return [op for _ in range(count) for op in (*_turns(dice, 4, 1), *relays)]

    ops = [Op("until", text="Readying"), Op("backup", victim), Op("until", text="Masking")]
    ops += [Op("fork", number=0b1100), *talk(dice.randint(1, 3))]
    ops += [Op("pass", number=6 * PHASE_S - dice.randrange(60)), *talk(dice.randint(2, 4))]
    choice = dice.random()
    if choice < 0.4:
        ops += [Op("move", victim), Op("restore", victim)]
    elif choice < 0.6:
        ops += [Op("die", victim), Op("move", victim), Op("up", victim)]
    for _ in range(dice.randint(3, 8)):
        ops += [*talk(dice.randint(1, 3)), Op("pass", number=PHASE_S + 1)]
    return History(seed, Setup(members=4), tuple(ops), live=False)


def small_set(seed: int, dice: random.Random) -> History:
    """Half of the members are in the sum; a liar and the other half abandon it unrevealed."""
    ops = [Op("away", 4), Op("away", 5), Op("until", text="Joining"), *_turns(dice, 6, 3)]
    ops += [Op("pass", number=PHASE_S + 1), *_turns(dice, 6, 2), Op("until", text="Starting")]
    ops += [Op("away", 3), Op("back", 4), Op("back", 5), *_turns(dice, 6, 3)]
    ops += [Op("pass", number=5 * PHASE_S)]
    ops += [Op("lie", 0, text="abandon for reveal"), Op("until", text="Confirming")]
    ops += [op for who in (4, 5) for op in (Op("step", who), Op("away", who))]
    ops += [*_turns(dice, 6, dice.randint(3, 5)), Op("host lie", text="other bytes")]
    ops += [Op("back", who) for who in (3, 4, 5)]
    ops += [*_turns(dice, 6, 1), Op("pass", number=20 * PHASE_S), *_turns(dice, 6, 4)]
    ops += [Op("host lie", text="none"), *_turns(dice, 6, 12)]
    ops = [op for op in ops if dice.random() < 0.98]
    return History(seed, Setup(members=6, survivors_min=3), tuple(ops), live=False)


def absent(seed: int, dice: random.Random) -> History:
    """Members that fall asleep in the middle of attempts, deadlines that pass, and nothing else."""
    members = dice.choice((4, 5))
    fewest = 3 if members == 5 else None
    setup = Setup(members=members, survivors_min=fewest, exposed=dice.random() < 0.6)
    ops: list[Op] = []
    for _ in range(dice.randint(4, 10)):
        ops += _turns(dice, members, dice.randint(0, 4))
        for _ in range(dice.randint(0, 3)):
            ops += _absence(dice, members)
            ops += [Op("step", dice.randrange(members))] * dice.randrange(2)
        if dice.random() < 0.6:
            ops += [Op("pass", number=dice.choice((1, 2, 4)) * PHASE_S + 1)]
    return History(seed, setup, tuple(ops), live=True)


THEMES: tuple[Callable[[int, random.Random], History], ...] = (
    weather,
    split_close,
    restored,
    liar,
    two_histories,
    twins,
    absent,
    false_host,
    small_set,
    rolled_back,
)


def _few(dice: random.Random, members: int) -> int:
    """Bits of up to two members."""
    return sum({1 << dice.randrange(1, members) for _ in range(dice.randint(0, 2))})


Trouble = Callable[[random.Random, int], list[Op]]


def _mixed(dice: random.Random, setup: Setup, count: int, trouble: Trouble) -> tuple[Op, ...]:
    ops: list[Op] = []
    for _ in range(count):
        choice = dice.random()
        if choice < 0.35:
            ops.append(Op("turn", number=dice.randrange(setup.members)))
        elif choice < 0.6:
            ops.append(Op("step", dice.randrange(setup.members)))
        elif choice < 0.68:
            ops.append(Op("pass", number=dice.choice((1, 10, PHASE_S + 1))))
        else:
            ops += trouble(dice, setup.members)
    return tuple(ops)


def _absence(dice: random.Random, count: int) -> list[Op]:
    return [Op(dice.choice(("away", "back", "back")), dice.randrange(count))]


def _trouble(dice: random.Random, count: int) -> list[Op]:
    who = dice.randrange(count)
    choice = dice.random()
    if choice < 0.3:
        return [Op("fault", who, text=dice.choice(FAULTS))]
    if choice < 0.38:
        return [Op("late")]
    if choice < 0.52:
        what = dice.choice(("die", "fail"))
        return [Op("disk", who, dice.randrange(4), f"{what} {dice.choice(POINTS)}")]
    if choice < 0.60:
        return [Op(dice.choice(("die", "power")), who)]
    if choice < 0.72:
        return [Op("up", who)]
    if choice < 0.80:
        return [Op(dice.choice(("apart", "together", "together")), who)]
    if choice < 0.86:
        return _absence(dice, count)
    if choice < 0.89:
        return [Op("skew", who, dice.choice((-200, -30, 0, 30, 200, 1_000)))]
    if choice < 0.92:
        return [Op("clock", who)]
    if choice < 0.96:
        what = dice.choice(("die", "fail"))
        return [Op("host disk", -1, dice.randrange(4), f"{what} {dice.choice(POINTS)}")]
    return [Op(dice.choice(("host die", "host up", "host up")))]


# -- shorter ---------------------------------------------------------------------------------------


def fails(story: History) -> Violation | None:
    """The violation of a history, if there is one."""
    try:
        play(story)
    except Violation as violation:
        return violation
    return None


def shorter(story: History, name: str, tries_max: int = 400) -> History:
    """Delete operations, many at a time and then few, as long as the same invariant breaks."""
    ops, tries, size = list(story.ops), 0, max(1, len(story.ops) // 2)
    while size:
        at = 0
        while at < len(ops) and tries < tries_max:
            fewer = ops[:at] + ops[at + size :]
            tries += 1
            found = fails(_with(story, fewer))
            if found is not None and found.name == name:
                ops = fewer
            else:
                at += size
        size //= 2
    return _with(story, ops)


def _with(story: History, ops: Sequence[Op]) -> History:
    return History(story.seed, story.setup, tuple(ops), story.live)
