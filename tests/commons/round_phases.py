"""The same study of five members (of six), stopped in each phase of an attempt.

c = 1, t = 4, u_min = 4. member-a is host; member-b is about to speak and has not yet said what the
phase is for; member-e never commits, so it is the one dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from comity.commons.attempts import (
    Closing,
    Confirming,
    End,
    Ended,
    Halted,
    Joining,
    Masking,
    Readying,
    Resolving,
    Revealing,
    Starting,
)
from comity.log.merkle import Tree, leaf_hash
from tests.commons.rounds_world import Rounds


def _joining(r: Rounds) -> None:
    r.done(r.host, r.open())
    r.done(r.host, r.join(r.host))
    assert isinstance(r.attempt, Joining)


def _readying(r: Rounds) -> None:
    _joining(r)
    for member in r.members[1:]:
        r.done(member, r.join(member))
    r.done(r.host, r.ready(r.host))
    assert isinstance(r.attempt, Readying)


def _resolving(r: Rounds) -> None:
    _, b, c, _, _ = r.members
    r.accused.add((c, b))
    _readying(r)
    for member in r.members[1:]:
        r.done(member, r.ready(member))
    assert isinstance(r.attempt, Resolving)


def _starting(r: Rounds) -> None:
    _, b, c, _, _ = r.members
    _resolving(r)
    r.done(b, r.resolve(b, c))
    assert isinstance(r.attempt, Starting)


def _masking(r: Rounds) -> None:
    _starting(r)
    r.done(r.host, r.start())
    r.done(r.host, r.commit(r.host))
    assert isinstance(r.attempt, Masking)


def _closing(r: Rounds) -> None:
    _masking(r)
    for member in r.members[1:4]:
        r.done(member, r.commit(member))
    r.pass_deadline()
    assert isinstance(r.attempt, Closing)


def _confirming(r: Rounds) -> None:
    _closing(r)
    r.done(r.host, r.close())
    r.done(r.host, r.confirm(r.host))
    assert isinstance(r.attempt, Confirming)


def _revealing(r: Rounds) -> None:
    _confirming(r)
    for member in r.members[2:]:
        r.done(member, r.confirm(member))
    r.pass_deadline()
    assert isinstance(r.attempt, Revealing)


def _recovering(r: Rounds) -> None:
    a, b, c, _, _ = r.members
    _revealing(r)
    for member in (a, b, c):
        r.done(member, r.reveal(member))
    r.pass_deadline()


def _too_few_commits(r: Rounds) -> None:
    _masking(r)
    for member in r.members[1:3]:
        r.done(member, r.commit(member))
    r.pass_deadline()
    assert isinstance(r.attempt, Halted)


def _too_few_confirms(r: Rounds) -> None:
    _confirming(r)
    for member in r.members[2:4]:
        r.done(member, r.confirm(member))
    r.pass_deadline()
    assert isinstance(r.attempt, Halted)


def _ended(r: Rounds, kind: End) -> None:
    assert isinstance(r.last, Ended)
    assert r.last.end is kind


def _unstarted(r: Rounds) -> None:
    _joining(r)
    for member in r.members[2:4]:
        r.done(member, r.join(member))
    r.pass_deadline()
    _ended(r, End.UNSTARTED)


def _sealed(r: Rounds) -> None:
    a, _, c, d, e = r.members
    _masking(r)
    for member in (a, c, d, e):
        r.done(member, r.abandon(member))
    _ended(r, End.SEALED)


def _burned(r: Rounds) -> None:
    a, _, c, d, e = r.members
    _revealing(r)
    r.done(a, r.reveal(a))
    for member in (a, c, d, e):
        r.done(member, r.abandon(member))
    _ended(r, End.BURNED)


def _accepted(r: Rounds) -> None:
    a, _, c, d, e = r.members
    _revealing(r)
    for member in (a, c, d, e):
        r.done(member, r.accept())
    _ended(r, End.ACCEPTED)


LIVE: dict[str, Callable[[Rounds], None]] = {
    "joining": _joining,
    "readying": _readying,
    "resolving": _resolving,
    "starting": _starting,
    "masking": _masking,
    "closing": _closing,
    "confirming": _confirming,
    "revealing": _revealing,
    "recovering": _recovering,
    "too few commits": _too_few_commits,
    "too few confirms": _too_few_confirms,
}
OVER: dict[str, Callable[[Rounds], None]] = {
    "unstarted": _unstarted,
    "sealed": _sealed,
    "burned": _burned,
    "accepted": _accepted,
}


@cache
def _stopped(phase: str) -> Rounds:
    r = Rounds.of(5, strangers=1)
    {**LIVE, **OVER}[phase](r)
    return r


def stopped_in(phase: str) -> Rounds:
    """A fresh copy of the study in this phase."""
    r = _stopped(phase)
    log = list(r.world.log)
    tree = Tree(map(leaf_hash, log))
    world = replace(r.world, tree=tree, log=log, entries=list(r.world.entries))
    return replace(r, world=world, accused=set(r.accused))
