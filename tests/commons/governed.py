"""A commons with rules for everything that can be moved, for tests: votes that pass, notices."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from comity.commons.amending import amendment, terms_of, with_terms
from comity.commons.charter import Charter
from comity.commons.proposals import Proposal
from comity.commons.rulebook import Rulebook, RuleText
from comity.commons.state import Outcome
from comity.statements.governing import (
    Choice,
    ExcludeMotion,
    Motion,
    NoticeGive,
    SuspendMotion,
    VoteCast,
    proposal_of,
)
from comity.values import DAY_S, EXIT_S_MIN, NOTICE_S_MIN, MemberId, StatementId
from tests.worlds import World, digest

WINDOW_S = 10 * DAY_S
EXPIRES_S = 20 * DAY_S
RULES = {
    "amend": RuleText(
        method="threshold", window_s=WINDOW_S, yes="2/3", of="electorate", effect_s=EXIT_S_MIN
    ),
    "exclude": RuleText(
        method="threshold", window_s=WINDOW_S, yes="3/4", of="electorate", notice_s=NOTICE_S_MIN
    ),
    "urgent": RuleText(method="majority", window_s=3 * 3_600, expires_s=EXPIRES_S),
    "swift": RuleText(method="majority", window_s=3_600),
}
BOOK = Rulebook(
    rules=RULES,
    decisions={
        "admit": "swift",
        "amend": "amend",
        "exclude": "exclude",
        "host": "swift",
        "release": "swift",
        "suspend": "urgent",
    },
)


def governed(count: int = 5, book: Rulebook = BOOK, **changes: object) -> World:
    """A founded commons under these rules."""
    return World.of(count, release="rules", rulebook=book, **changes)


def held(world: World, proposal: StatementId) -> Proposal:
    """What the state holds of it."""
    return world.state.proposals[proposal]


def with_rule(charter: Charter, name: str, **changes: object) -> Charter:
    """The charter in which this rule says otherwise."""
    book = charter.rulebook
    assert book is not None
    rules = {**book.rules, name: msgspec.structs.replace(book.rules[name], **changes)}
    return with_book(charter, msgspec.structs.replace(book, rules=rules))


def with_book(charter: Charter, book: Rulebook | None) -> Charter:
    """The charter with this rulebook."""
    terms = msgspec.structs.replace(terms_of(charter), rulebook=book)
    return with_terms(charter, terms)


def move(world: World, author: MemberId, motion: Motion, reason: str = "") -> StatementId:
    """Put a motion to the vote, which takes effect; answers the proposal."""
    world.done(author, proposal_of(motion, reason))
    return world.last_id


def moved(world: World, author: MemberId, motion: Motion, reason: str = "") -> Outcome:
    """What comes of putting a motion to the vote."""
    return world.say(author, proposal_of(motion, reason))


def move_charter(world: World, author: MemberId, after: Charter) -> StatementId:
    """Put an amendment of the charter in force to the vote."""
    return move(world, author, amendment(world.state.charter, after))


def vote(
    world: World, proposal: StatementId, choice: Choice, voters: Iterable[MemberId] | None = None
) -> None:
    """All who may vote, or these, say the same, in effect."""
    electorate = sorted(held(world, proposal).electorate)
    for voter in electorate if voters is None else voters:
        reason = "it names no end" if choice == "object" else ""
        world.done(voter, VoteCast(choice=choice, proposal=proposal, reason=reason))


def notice(world: World, author: MemberId, member: MemberId, *, age_s: int = 0) -> StatementId:
    """A notice to a member; then so much time passes."""
    evidence = (digest("evidence"),)
    world.done(author, NoticeGive(evidence=evidence, member=member, reason="false check values"))
    given = world.last_id
    if age_s:
        world.pass_time(age_s)
    return given


def exclude(world: World, author: MemberId, member: MemberId) -> StatementId:
    """Notice, and when it is old enough, the vote on excluding the member."""
    given = notice(world, author, member, age_s=NOTICE_S_MIN)
    return move(world, author, ExcludeMotion(member=member, notice=given))


def suspend(world: World, author: MemberId, member: MemberId, seconds: int = DAY_S) -> StatementId:
    """A vote on a short suspension."""
    return move(world, author, SuspendMotion(member=member, seconds=seconds), "a stolen laptop")
