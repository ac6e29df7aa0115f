"""What goes wrong in a world, by theme: each makes the operations of one seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.sim.disk import POINTS
from tests.sim.lies import HOST_LIES, MEMBER_LIES
from tests.sim.network import FAULTS
from tests.sim.operations import Op
from tests.sim.world import PHASE_S, Setup


@dataclass(frozen=True)
class History:
    """A world and all that happens in it. live: a result is due once it is healed."""

    seed: int
    setup: Setup
    ops: tuple[Op, ...]
    live: bool


def weather(seed: int, dice: random.Random) -> History:
    """Network, crashes, disks, clocks; nobody lies."""
    members = dice.choice((4, 4, 5))
    fewest = dice.choice((None, 3)) if members == 5 else None
    setup = Setup(members=members, survivors_min=fewest, exposed=dice.random() < 0.7)
    ops = mixed(dice, setup, dice.randint(20, 60), trouble_of)
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
        return trouble_of(dice, count)

    return History(seed, setup, mixed(dice, setup, dice.randint(20, 60), trouble), live=True)


def liar(seed: int, dice: random.Random) -> History:
    """One member lies, and things go wrong besides."""
    setup = Setup(members=dice.choice((4, 5)))
    lie = dice.choice(sorted(MEMBER_LIES))
    who = dice.randrange(setup.members)
    first = mixed(dice, setup, dice.randint(0, 8), trouble_of)
    rest = mixed(dice, setup, dice.randint(20, 50), trouble_of)
    return History(seed, setup, (*first, Op("lie", who, text=lie), *rest), live=False)


def false_host(seed: int, dice: random.Random) -> History:
    """The host lies in its answers."""
    setup = Setup(members=4)
    lie = dice.choice(sorted(HOST_LIES))
    first = mixed(dice, setup, dice.randint(0, 5), trouble_of)
    rest: list[Op] = []
    for _ in range(dice.randint(2, 6)):
        rest += mixed(dice, setup, dice.randint(0, 4), trouble_of)
        rest += turns(dice, 4, 4)
    return History(seed, setup, (*first, Op("host lie", text=lie), *rest), live=False)


def rolled_back(seed: int, dice: random.Random) -> History:
    """The host comes back from an old backup."""
    setup = Setup(members=4)
    first = mixed(dice, setup, dice.randint(0, 15), trouble_of)
    then = mixed(dice, setup, dice.randint(1, 15), trouble_of)
    rest = mixed(dice, setup, dice.randint(5, 15), trouble_of)
    ops = (*first, Op("host backup"), *then, Op("host restore"), *rest)
    return History(seed, setup, ops, live=False)


def twins(seed: int, dice: random.Random) -> History:
    """Two studies of the very same plan, one after the other, and members that come and go."""
    members = dice.choice((4, 5))
    setup = Setup(members=members, studies=2)
    ops = [Op("hold", number=1)]
    for part in range(dice.randint(2, 5)):
        who = dice.randrange(1, members)
        ops += turns(dice, members, dice.randint(1, 6))
        ops += [Op("away", who), *turns(dice, members, dice.randint(1, 3))]
        ops += [Op("pass", number=2 * PHASE_S + 1), *turns(dice, members, dice.randint(1, 4))]
        ops += [Op("back", who)]
        if part and dice.random() < 0.6:
            ops.append(Op("open"))
    ops += [Op("open"), *turns(dice, members, 8)]
    return History(seed, setup, tuple(ops), live=False)


def turns(dice: random.Random, members: int, count: int) -> list[Op]:
    return [Op("turn", number=dice.randrange(members)) for _ in range(count)]


def two_histories(seed: int, dice: random.Random) -> History:
    """The host shows two histories, and puts what was said in one into the other."""
    members = dice.choice((4, 4, 5, 6))
    setup = Setup(members=members, survivors_min=3 if members > 4 else None)
    first = turns(dice, members, dice.randint(1, 7))
    first += [Op("step", dice.randrange(members)) for _ in range(dice.randint(0, members))]
    first[dice.randrange(len(first)) :] = [
        *(op for who in range(1, members) for op in [Op("backup", who)] if dice.random() < 0.3),
        *first[-3:],
    ]
    side = dice.randrange(2, 2**members - 2)
    kept = [few(dice, members), few(dice, members)]
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
            kept[dice.randrange(2)] = few(dice, members)
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
        return [op for _ in range(count) for op in (*turns(dice, 4, 1), *relays)]

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
    ops = [Op("away", 4), Op("away", 5), Op("until", text="Joining"), *turns(dice, 6, 3)]
    ops += [Op("pass", number=PHASE_S + 1), *turns(dice, 6, 2), Op("until", text="Starting")]
    ops += [Op("away", 3), Op("back", 4), Op("back", 5), *turns(dice, 6, 3)]
    ops += [Op("pass", number=5 * PHASE_S)]
    ops += [Op("lie", 0, text="abandon for reveal"), Op("until", text="Confirming")]
    ops += [op for who in (4, 5) for op in (Op("step", who), Op("away", who))]
    ops += [*turns(dice, 6, dice.randint(3, 5)), Op("host lie", text="other bytes")]
    ops += [Op("back", who) for who in (3, 4, 5)]
    ops += [*turns(dice, 6, 1), Op("pass", number=20 * PHASE_S), *turns(dice, 6, 4)]
    ops += [Op("host lie", text="none"), *turns(dice, 6, 12)]
    ops = [op for op in ops if dice.random() < 0.98]
    return History(seed, Setup(members=6, survivors_min=3), tuple(ops), live=False)


def absent(seed: int, dice: random.Random) -> History:
    """Members that fall asleep in the middle of attempts, deadlines that pass, and nothing else."""
    members = dice.choice((4, 5))
    fewest = 3 if members == 5 else None
    setup = Setup(members=members, survivors_min=fewest, exposed=dice.random() < 0.6)
    ops: list[Op] = []
    for _ in range(dice.randint(4, 10)):
        ops += turns(dice, members, dice.randint(0, 4))
        for _ in range(dice.randint(0, 3)):
            ops += _absence(dice, members)
            ops += [Op("step", dice.randrange(members))] * dice.randrange(2)
        if dice.random() < 0.6:
            ops += [Op("pass", number=dice.choice((1, 2, 4)) * PHASE_S + 1)]
    return History(seed, setup, tuple(ops), live=True)


def few(dice: random.Random, members: int) -> int:
    """Bits of up to two members."""
    return sum({1 << dice.randrange(1, members) for _ in range(dice.randint(0, 2))})


Trouble = Callable[[random.Random, int], list[Op]]


def mixed(dice: random.Random, setup: Setup, count: int, trouble: Trouble) -> tuple[Op, ...]:
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


def trouble_of(dice: random.Random, count: int) -> list[Op]:
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
