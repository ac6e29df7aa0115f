"""Round statements in any order, by anybody, true or bent: the fold never raises, its laws hold.

How: Hypothesis draws who says which of the thirteen statements, sometimes changed in a field, with
time passing between; after every entry the laws are looked at.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as bend

from comity.commons import fold, rounds
from comity.commons.attempts import End, Ended, closed_of, opened_of, started_of
from comity.commons.state import Done
from comity.statements.entries import Body
from comity.statements.governing import Seen
from comity.statements.rounds import (
    RoundAbandon,
    RoundClose,
    RoundCommit,
    RoundConfirm,
    RoundOpen,
    RoundReady,
    RoundReveal,
    RoundStart,
)
from comity.values import Seat
from tests.commons.rounds_world import Rounds
from tests.worlds import digest

STATEMENTS = (
    *("open", "join", "ready", "resolve", "start", "commit", "close", "confirm"),
    *("dispute", "reveal", "recover", "accept", "abandon", "duty", "duty", "duty", "time"),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(STATEMENTS), st.integers(0, 4), st.integers(0, 4), st.integers(0, 9)),
    max_size=60,
)


def body_of(r: Rounds, name: str, who: int, about: int) -> Body | None:
    member, other = r.members[who % len(r.members)], r.members[about % len(r.members)]
    if name == "open":
        expected = rounds.expected_open(r.world.state, r.study_id)
        return expected if isinstance(expected, RoundOpen) else None
    if r.study.current is None and not r.study.ended:
        return None
    match name:
        case "start" | "close":
            return r.start() if name == "start" else r.close()
        case "resolve":
            return r.resolve(member, other)
        case "dispute":
            return r.dispute(other)
        case "recover":
            return r.recover(r.seat(other))
        case "accept":
            return r.accept(str(about % 2))
        case "join":
            return r.join(member)
        case "ready":
            return r.ready(member)
        case "commit":
            return r.commit(member)
        case "confirm":
            return r.confirm(member)
        case "reveal":
            return r.reveal(member)
        case _:
            return r.abandon(member)


def bent(body: Body, how: int) -> Body:
    """The same body with one field changed."""
    match body:
        case RoundOpen():
            return bend(body, attempt=body.attempt + how)
        case RoundReady():
            return bend(body, complaints=(Seat(how % 5 + 1),))
        case RoundStart() | RoundClose():
            return bend(body, **{body.__struct_fields__[-1]: bytes([how])})
        case RoundCommit():
            return bend(body, binding=digest(str(how)))
        case RoundConfirm():
            return bend(body, check_value=bytes([how]) * 16 if how % 2 else None)
        case RoundReveal():
            return bend(body, dropped=(), beta=None)
        case RoundAbandon():
            return bend(body, released=not body.released)
        case _:
            return body


def laws(r: Rounds) -> None:
    """What holds after every entry."""
    for attempt in (*r.study.ended, *([r.study.current] if r.study.current else [])):
        opened, started, closed = opened_of(attempt), started_of(attempt), closed_of(attempt)
        if started is not None:
            assert len(started.participants) >= max(opened.quorum, opened.survivors_min)
            assert started.participants <= started.joins.keys()
        if started is not None and closed is not None:
            assert len(closed.survivors) >= opened.survivors_min
            assert not closed.survivors & closed.dropped
            assert closed.survivors | closed.dropped == started.participants
        if isinstance(attempt, Ended) and attempt.end is End.SEALED:
            kept = sum(not fact.released for fact in attempt.abandons.values())
            assert kept >= opened.quorum
    numbers = [ended.opened.attempt for ended in r.study.ended]
    assert numbers == sorted(set(numbers))
    accepted = [ended for ended in r.study.ended if ended.end is End.ACCEPTED]
    assert len(accepted) == len(r.study.results)


@settings(max_examples=150, deadline=None)
@given(count=st.integers(3, 5), steps=STEPS)
def test_any_order_of_statements_keeps_the_laws(
    count: int, steps: list[tuple[str, int, int, int]]
) -> None:
    r = Rounds.of(count, attempts_max=10)
    for name, who, about, how in steps:
        member = r.members[who % count]
        if name == "duty":
            r.perform(member)
        elif name == "time":
            r.world.now_s += how * 1_200
            r.say(member, Seen())
        else:
            body = body_of(r, name, who, about)
            if body is None:
                continue
            author = r.host if name in ("open", "start", "close") and how < 8 else member
            body = body if how < 7 else bent(body, how)
            expected = fold.check(r.world.state, author, body, r.world.now_s)
            assert (r.say(author, body) == Done()) == (expected is None)
        laws(r)
    assert r.world.replayed() == r.world.state
