"""How fast the fold is: governance statements of many members, without signature checks.

    python -m bench.govern 100000

What is measured is `fold.apply` alone, over entries that are in memory: motions of four kinds,
votes of all members on them, notices, offers, `seen`. Most take effect, some are void.
The state after it must be the same on every replay.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from time import process_time
from typing import Final, final

import msgspec
from tests.commons.governed import BOOK
from tests.worlds import FIRST_S, World, charter_of, digest

from bench.machine import report
from bench.sizes import DEARER_MAX, GOVERNED_PER_S_MIN, Sizes
from bench.table import Row
from comity.commons import fold
from comity.commons.amending import amendment
from comity.commons.charter import Charter
from comity.commons.rulebook import Groups, Rulebook
from comity.commons.state import State, Void
from comity.statements.entries import Body, Entry, Statement
from comity.statements.governing import (
    Choice,
    ExcludeMotion,
    HostMotion,
    Motion,
    NoticeGive,
    Seen,
    SuspendMotion,
    VoteCast,
    proposal_of,
)
from comity.statements.membership import HostOffer
from comity.values import MemberId, StatementId, sha256

STEP_S: Final = 240
"""What the clocks move from one statement to the next of the same turn."""
COUNTRIES: Final = 6
AHEAD: Final = 40
"""Turns from a notice to the vote on it, more than 14 days."""


@final
@dataclass(frozen=True, slots=True)
class Govern:
    """per_s: statements a second of one core. late, early: microseconds a statement costs in the
    last and in the first tenth. same: whether two replays gave the same state."""

    per_s: float
    early_us: float
    late_us: float
    voided: int
    proposals: int
    same: bool


def commons(members: int) -> World:
    """A founded commons of six countries, with rules and a cap on groups."""
    rules = {
        name: msgspec.structs.replace(rule, group_cap=name in ("amend", "exclude"))
        for name, rule in BOOK.rules.items()
    }
    groups = Groups(by="country", cap="1/3")
    book: Rulebook = msgspec.structs.replace(BOOK, rules=rules, groups=groups)
    founders = tuple(
        msgspec.structs.replace(founder, country=f"Country {at % COUNTRIES}")
        for at, founder in enumerate(charter_of(members).founders)
    )
    return World.of(members, release="rules", rulebook=book, founders=founders)


def statements(world: World, count: int) -> Iterator[tuple[MemberId, Body, int]]:
    """Who says what when: turn after turn of all members, one proposal in each."""
    members, charter = world.members, world.state.charter
    said, turn = 0, 0
    while said < count:
        now_s = FIRST_S + turn * STEP_S * len(members)
        author = members[turn % len(members)]
        for body in _opening(turn, members, charter):
            said += 1
            yield author, body, now_s
        choices: tuple[Choice, ...] = ("yes", "no", "yes", "abstain", "yes")
        if turn % 4 == 3:
            choices = ("no", "yes", "abstain")  # nobody is excluded
        for at, member in enumerate(members):
            said += 1
            body_of: Body = Seen()
            if at % 20:
                choice = choices[(at + turn) % len(choices)]
                body_of = VoteCast(choice=choice, proposal=StatementId(digest(f"turn {turn}")))
            yield member, body_of, now_s + STEP_S * at // 4
        turn += 1


def _opening(turn: int, members: tuple[MemberId, ...], charter: Charter) -> Iterator[Body]:
    other = _accused(turn + AHEAD, members)
    yield HostOffer(address=f"https://{turn}.example")
    if turn % 4 == 3:
        yield NoticeGive(evidence=(digest("e"),), member=other, reason=f"for turn {turn + AHEAD}")
    yield proposal_of(_motion(turn, members, charter), "in turn")


def _motion(turn: int, members: tuple[MemberId, ...], charter: Charter) -> Motion:
    member = members[(turn * 3 + 2) % len(members)]
    match turn % 4:
        case 0:
            return SuspendMotion(member=member, seconds=3_600 + turn)
        case 1:
            bounds = msgspec.structs.replace(charter.studies, rounds_max=1 + turn)
            return amendment(charter, msgspec.structs.replace(charter, studies=bounds))
        case 2:
            return HostMotion(member=members[(turn - 2) % len(members)])
        case _:
            member = _accused(turn, members)
            return ExcludeMotion(member=member, notice=StatementId(digest(f"notice {turn}")))


def _accused(turn: int, members: tuple[MemberId, ...]) -> MemberId:
    return members[(turn * 7 + 1) % len(members)]


def entries_of(world: World, count: int) -> list[Entry]:
    """As many entries above the founding, as if read from a log; their signatures are left out."""
    chain = {m: (a.seq, a.last, a.time_s) for m, a in world.state.authors.items()}
    made: list[Entry] = []
    opened = 0
    for member, body, time_s in statements(world, count):
        seq, prev, last_s = chain[member]
        said = StatementId(sha256(b"%d" % len(made)))
        if body.tag == "proposal.open":
            said = StatementId(digest(f"turn {opened}"))
            opened += 1
        if isinstance(body, NoticeGive):
            said = StatementId(digest(f"notice {opened + AHEAD}"))
        chain[member] = (seq + 1, said, max(last_s, time_s))
        statement = Statement(
            said,
            member,
            world.state.commons,
            seq + 1,
            prev,
            world.state.head[0],
            world.state.head[1],
            time_s,
            body,
        )
        made.append(Entry(world.state.size + len(made), b"", statement))
    return made[:count]


def replay(state: State, entries: list[Entry]) -> tuple[State, Counter[str]]:
    """The state after these entries, and how many were void by which rule."""
    voids: Counter[str] = Counter()
    for entry in entries:
        state, outcome = fold.apply(state, entry)
        if isinstance(outcome, Void):
            voids[outcome.rule.value] += 1
    return state, voids


def measure_govern(count: int, members: int) -> Govern:
    """Fold so many statements twice, and time the first and the last tenth apart."""
    world = commons(members)
    entries = entries_of(world, count)
    tenth = max(1, count // 10)
    began = process_time()
    state, _ = replay(world.state, entries[:tenth])
    first = process_time()
    state, _ = replay(state, entries[tenth:-tenth])
    before = process_time()
    state, _ = replay(state, entries[-tenth:])
    end = process_time()
    again, voids = replay(world.state, entries)
    return Govern(
        per_s=count / (end - began),
        early_us=1e6 * (first - began) / tenth,
        late_us=1e6 * (end - before) / tenth,
        voided=voids.total(),
        proposals=len(state.proposals),
        same=state == again,
    )


def govern_rows(sizes: Sizes, notes: list[str]) -> list[Row]:
    """The rows of the table; what lies behind them goes to the notes."""
    count, members = sizes.governed, sizes.governors
    found = measure_govern(count, members)
    growth = found.late_us / found.early_us
    notes.append(
        f"govern: {found.proposals} proposals, {found.voided} void statements;"
        f" {found.early_us:.1f} µs a statement in the first tenth, {found.late_us:.1f} in the last"
    )
    fast, flat = found.per_s >= GOVERNED_PER_S_MIN, growth <= DEARER_MAX
    return [
        Row(
            f"fold of {count:,} governance statements, {members} members, no signatures",
            f"{found.per_s:,.0f} a second of one core",
            "",
            "",
            f"at least {GOVERNED_PER_S_MIN:,.0f} a second",
            fast,
        ),
        Row(
            "its state on a second replay; the last tenth beside the first",
            f"{'the same' if found.same else 'ANOTHER'}; {growth:.2f} as dear",
            "",
            "",
            f"the same; at most {DEARER_MAX}",
            found.same and flat,
        ),
    ]


if __name__ == "__main__":
    found = measure_govern(int(sys.argv[1]), 200)
    report("govern", text=msgspec.json.encode(found).decode())
