"""Themes of a change of host and of members: forced, planned, after a lie; people come and go."""

from __future__ import annotations

import random

from tests.sim.operations import Op
from tests.sim.themes import History, few, mixed, trouble_of, turns
from tests.sim.world import PHASE_S, Setup


def forced(seed: int, dice: random.Random) -> History:
    """The host is gone, or seems so, and another member takes over; the old one may come back."""
    setup = Setup(members=dice.choice((4, 4, 5)))
    new = dice.randrange(1, setup.members)
    ops = turns(dice, setup.members, 1)  # nobody speaks before it has read the log
    ops += [Op("offer", new)] if dice.random() < 0.7 else []
    ops += mixed(dice, setup, dice.randint(3, 25), trouble_of)
    if dice.random() < 0.4:
        # The candidate has not seen the end of the log, which others hold.
        ops += [Op("away", new), *turns(dice, setup.members, dice.randint(1, 3)), Op("host die")]
        ops += [Op("back", new), Op("stand", new)]
    elif dice.random() < 0.7:
        ops.append(Op("host die"))
    ops += _between(dice, setup, 4)
    ops.append(Op("take over", new))
    ops += _approvals(dice, setup, new)
    if dice.random() < 0.6:
        ops.append(Op("host up"))
    ops += _between(dice, setup, 15)
    return History(seed, setup, tuple(ops), live=True)


def planned(seed: int, dice: random.Random) -> History:
    """The host hands over, after a vote, while rounds go on."""
    setup = Setup(members=dice.choice((4, 5)))
    new = dice.randrange(1, setup.members)
    ops = [*turns(dice, setup.members, 1), Op("offer", new), *turns(dice, setup.members, 1)]
    ops += [Op("hand over", new)]
    ops += turns(dice, setup.members, 2)
    ops += [Op("vote", who) for who in range(setup.members)]
    ops += [*_between(dice, setup, 6), *turns(dice, setup.members, 2), Op("hand over", new)]
    for _ in range(dice.randint(1, 4)):
        ops += [*_between(dice, setup, 6), Op("hand over", new), Op("take over", new)]
        # Time passes, so that the hand-over is cosigned: what is approved must be final.
        ops += [*turns(dice, setup.members, 1), Op("pass", number=61)]
        ops += turns(dice, setup.members, dice.randint(0, 3))
    ops += _approvals(dice, setup, new) if dice.random() < 0.3 else []
    return History(seed, setup, (*ops, *_between(dice, setup, 10)), live=True)


def members_change(seed: int, dice: random.Random) -> History:
    """Somebody leaves, a stranger is admitted, and perhaps another member hosts after that."""
    setup = Setup(members=5)
    ops: list[Op] = [*turns(dice, 5, dice.randint(1, 4))]
    parts = [[Op("leave", dice.randrange(1, 5))], [Op("apply")]]
    dice.shuffle(parts)
    for part in parts:
        ops += [*part, *_between(dice, setup, 8)]
    ops += [*turns(dice, 5, 1), Op("admit", dice.randrange(5)), *turns(dice, 5, 1)]
    for who in dice.sample(range(5), 5):
        ops += [Op("vote", who), *_between(dice, setup, 2)]
    # Who leaves in the middle of an attempt may take along what the old host alone had: no demand.
    live = dice.random() < 0.5
    if not live:
        new = dice.randrange(1, 5)
        ops += [Op("offer", new), *turns(dice, 5, 1), Op("host die"), Op("take over", new)]
        ops += [*_approvals(dice, setup, new), Op("host up")]
    return History(seed, setup, (*ops, *_between(dice, setup, 10)), live=live)


def caught(seed: int, dice: random.Random) -> History:
    """The host shows two histories, is caught by some, and an honest member takes over."""
    members = dice.choice((4, 5))
    setup = Setup(members=members)
    new = dice.randrange(1, members)
    ops = [*turns(dice, members, 1), Op("offer", new), *turns(dice, members, dice.randint(1, 8))]
    ops.append(Op("fork", number=dice.randrange(2, 2**members - 2)))
    for _ in range(dice.randint(4, 12)):
        choice = dice.random()
        if choice < 0.5:
            ops.append(Op("turn", number=dice.randrange(members)))
        elif choice < 0.8:
            ops.append(Op("relay", dice.randrange(2), few(dice, members)))
        else:
            ops.append(Op("move", dice.randrange(1, members)))
    ops += [*turns(dice, members, 1), Op("take over", new), *_approvals(dice, setup, new)]
    for _ in range(dice.randint(5, 15)):
        ops += [Op("turn", number=dice.randrange(members)), Op("clock", dice.randrange(members))]
        ops += [Op("pass", number=PHASE_S + 1)] if dice.random() < 0.3 else []
    return History(seed, setup, tuple(ops), live=False)


def _approvals(dice: random.Random, setup: Setup, new: int) -> list[Op]:
    """Everybody is asked to approve, in any order, some twice; the candidate claims in between."""
    ops: list[Op] = []
    for who in dice.sample(range(setup.members), setup.members):
        ops += _between(dice, setup, 3)
        if dice.random() < 0.3:
            ops.append(Op("take over", new))
        if dice.random() < 0.9:
            ops.append(Op("approve", who, new))
    return ops


def _between(dice: random.Random, setup: Setup, most: int) -> list[Op]:
    """A few turns and troubles, and looks at the clock, in which left hosts are told."""
    ops = list(mixed(dice, setup, dice.randint(0, most), trouble_of))
    return [*ops, *(Op("clock", who) for who in range(setup.members) if dice.random() < 0.2)]
