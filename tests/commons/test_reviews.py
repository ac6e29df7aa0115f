"""Reviews of study files and pauses: what is done, each way it is void, and what waits for them.

The attacks: a study runs with code that nobody outside its author's house has read, or with one
byte changed after the review; one member keeps a study from running for ever.
"""

from __future__ import annotations

import msgspec
import pytest

from comity.commons.attempts import Joining, Masking
from comity.commons.charter import Charter, charter_fault
from comity.commons.duties import AskReview, SayAbandon, SaySeen, duties
from comity.commons.gate import check_run
from comity.commons.gate_steps import LocalFacts
from comity.commons.opening import Waiting, expected_open
from comity.commons.reviews import (
    PAUSE_AGAIN_S,
    PAUSE_S,
    approving,
    is_reviewed,
    organisation,
    pauses,
    reviews_missing,
)
from comity.commons.site import SitePolicy
from comity.commons.state import Void
from comity.commons.waiting import waiting_for
from comity.errors import Refused, Rule
from comity.statements.governing import Seen
from comity.statements.rounds import RoundOpen
from comity.statements.studies import Checklist, CodeReview, StudyPause, StudyResume
from comity.values import WALLS, DatasetId, MemberId, StatementId
from tests.commons.rounds_world import Rounds
from tests.worlds import World, charter_of, digest, found_body

ALL = Checklist(clipping=True, columns=True, isolation=True, output=True, seed=True)
SOME = msgspec.structs.replace(ALL, isolation=False)
NO_STUDY = StatementId(digest("no such study"))


def reviewed_charter(count: int, *, reviewers: int, orgs: int, houses: str = "") -> Charter:
    """houses: a letter for each founder; the same letter is the same organisation."""
    charter = charter_of(count)
    founders = tuple(
        msgspec.structs.replace(each, affiliation=house.strip())
        for each, house in zip(charter.founders, houses or " " * count, strict=True)
    )
    bounds = msgspec.structs.replace(charter.studies, reviewers=reviewers, review_orgs=orgs)
    return msgspec.structs.replace(charter, founders=founders, studies=bounds)


def world_of(count: int, *, reviewers: int, orgs: int, houses: str = "") -> World:
    world = World.empty(reviewed_charter(count, reviewers=reviewers, orgs=orgs, houses=houses))
    for member in world.members:
        world.done(member, found_body(member))
    return world


def approve(code: str = "code") -> CodeReview:
    return CodeReview(checklist=ALL, code=digest(code))


def reject(reason: str = "opens a socket") -> CodeReview:
    return CodeReview(checklist=SOME, code=digest("code"), reason=reason)


def test_two_reviewers_of_two_organisations_neither_the_authors() -> None:
    world = world_of(5, reviewers=2, orgs=2, houses="XXYYZ")
    a, a_house, b, b_house, c = world.members
    study_id = world.register(a)
    for member in world.members:
        world.enrol(member, study_id)
    asked = {m for m in world.members if AskReview(world.study(study_id)) in owed(world, m)}
    assert asked == {b, b_house, c}
    for own in (a, a_house):
        assert world.say(own, approve()) == Void(Rule.WRONG_PARTY)
    world.done(b, approve())
    world.done(b_house, approve())
    assert reviews_missing(world.state, world.study(study_id)) == (0, 1)
    held = expected_open(world.state, study_id)
    assert isinstance(held, Waiting) and held.rule is Rule.NOT_REVIEWED and held.members == (c,)
    assert gate(world, study_id, b) is Rule.NOT_REVIEWED
    world.done(c, approve())
    assert is_reviewed(world.state, world.study(study_id))
    assert approving(world.state, world.study(study_id)) == (b, b_house, c)
    assert isinstance(expected_open(world.state, study_id), RoundOpen)
    assert gate(world, study_id, b) is None
    assert not any(isinstance(d, AskReview) for d in owed(world, c))
    assert world.replayed() == world.state


def test_a_round_of_a_study_that_is_not_reviewed_is_void() -> None:
    """The attack: a host opens it all the same, with what it would be once reviewed."""
    world = world_of(4, reviewers=2, orgs=2)
    a, b, c, _ = world.members
    study_id = world.register(a)
    for member in world.members:
        world.enrol(member, study_id)
    honest = world_of(4, reviewers=0, orgs=0)
    before = honest.register(a)
    for member in honest.members:
        honest.enrol(member, before)
    opening = expected_open(honest.state, before)
    assert isinstance(opening, RoundOpen)
    forced = msgspec.structs.replace(opening, study=study_id)
    assert world.say(world.state.host, forced) == Void(Rule.NOT_REVIEWED)
    world.done(b, approve())
    world.done(c, approve())
    opening = expected_open(world.state, study_id)
    assert isinstance(opening, RoundOpen)
    world.done(world.state.host, opening)


def test_one_byte_more_is_another_file() -> None:
    world = world_of(3, reviewers=2, orgs=2)
    a, b, c = world.members
    first = world.register(a)
    for member in (b, c):
        world.done(member, approve())
    same = world.register(a, "again")
    other = world.register(a, "changed", code=digest("code with one byte more"))
    assert is_reviewed(world.state, world.study(first))
    assert is_reviewed(world.state, world.study(same)), "the very same bytes"
    assert not is_reviewed(world.state, world.study(other))


def test_a_review_names_a_registered_file_and_says_what_does_not_hold() -> None:
    world = world_of(3, reviewers=2, orgs=2)
    a, b, c = world.members
    assert world.say(b, approve()) == Void(Rule.NO_SUCH_THING)
    study_id = world.register(a)
    assert world.say(b, reject(" ")) == Void(Rule.NO_REASON)
    world.done(b, approve())
    assert world.say(b, approve()) == Void(Rule.SAID_BEFORE)
    world.done(c, approve())
    assert is_reviewed(world.state, world.study(study_id))
    world.done(c, reject())
    assert reviews_missing(world.state, world.study(study_id)) == (1, 1)
    world.done(c, approve())
    assert is_reviewed(world.state, world.study(study_id))


def test_a_charter_that_asks_for_none_opens_as_before() -> None:
    world = World.of(4)
    study_id = world.register(world.members[0])
    assert is_reviewed(world.state, world.study(study_id))
    assert organisation(world.charter, world.members[1]) == f"member:{world.members[1]}"


@pytest.mark.parametrize(
    ("reviewers", "orgs", "houses", "named"),
    [
        (3, 2, "XYZ", "studies.reviewers: at most 2"),
        (2, 2, "XXY", "studies.reviewers: at most 1"),
        (1, 2, "XYZ", "studies.review_orgs: at most reviewers"),
        (2, 2, "XXYY", "studies.review_orgs: at most 1"),
    ],
)
def test_reviews_that_nobody_could_give_are_refused(
    reviewers: int, orgs: int, houses: str, named: str
) -> None:
    charter = reviewed_charter(len(houses), reviewers=reviewers, orgs=orgs, houses=houses)
    assert named in (charter_fault(charter) or "")
    assert charter_fault(reviewed_charter(4, reviewers=2, orgs=2, houses="XYZW")) is None


# -- pauses --------------------------------------------------------------------------------------


def paused(study: StatementId, reason: str = "a column is wrong") -> StudyPause:
    return StudyPause(reason=reason, study=study)


def test_any_member_pauses_for_72_hours_and_no_longer() -> None:
    world = World.of(4)
    a, b, c, _ = world.members
    study_id = world.register(a)
    for member in world.members:
        world.enrol(member, study_id)
    world.done(b, paused(study_id))
    held = expected_open(world.state, study_id)
    assert isinstance(held, Waiting) and held.rule is Rule.STUDY_PAUSED and b in held.reason
    assert gate(world, study_id, c) is Rule.STUDY_PAUSED
    world.pass_time(PAUSE_S - 10)
    assert set(pauses(world.state, world.study(study_id))) == {b}
    world.pass_time(11)
    assert not pauses(world.state, world.study(study_id))
    assert isinstance(expected_open(world.state, study_id), RoundOpen)
    assert gate(world, study_id, c) is None


def test_the_end_of_a_pause_moves_the_time_by_which_it_ends() -> None:
    """Commons time is what members say: at the end of a pause each owes a `seen`, once."""
    world = World.of(4)
    study_id = world.register(world.members[0])
    world.done(world.members[1], paused(study_id))
    world.now_s += PAUSE_S - 10
    for member in world.members:
        world.done(member, Seen())
    world.now_s += 11
    for member in world.members:
        assert SaySeen() in owed(world, member)
        world.done(member, Seen())
        assert SaySeen() not in owed(world, member)
    assert not pauses(world.state, world.study(study_id))


def test_one_member_cannot_pause_again_and_again() -> None:
    world = World.of(4)
    a, b, c, _ = world.members
    study_id = world.register(a)
    assert world.say(b, paused(NO_STUDY)) == Void(Rule.NO_SUCH_THING)
    assert world.say(b, paused(study_id, "  ")) == Void(Rule.NO_REASON)
    assert world.say(b, StudyResume(study=study_id)) == Void(Rule.WRONG_PARTY)
    world.done(b, paused(study_id))
    assert world.say(b, paused(study_id)) == Void(Rule.TOO_SOON)
    assert world.say(c, StudyResume(study=study_id)) == Void(Rule.WRONG_PARTY)
    world.done(b, StudyResume(study=study_id))
    assert not pauses(world.state, world.study(study_id))
    assert world.say(b, paused(study_id)) == Void(Rule.TOO_SOON), "ending it buys no other"
    world.done(c, paused(study_id))
    world.pass_time(PAUSE_AGAIN_S)
    world.done(b, paused(study_id))
    assert world.say(b, StudyResume(study=NO_STUDY)) == Void(Rule.NO_SUCH_THING)


def test_a_pause_ends_the_attempt_of_who_has_not_committed() -> None:
    rounds = Rounds.of(4)
    until(rounds, Masking)
    world = rounds.world
    world.done(rounds.members[1], paused(rounds.study_id))
    for member in rounds.members:
        owed_now = [d for d in owed(world, member) if isinstance(d, SayAbandon)]
        assert owed_now and "paused" in owed_now[0].reason
    assert waiting_for(world.state, rounds.study) is not None


def test_nobody_joins_a_paused_study() -> None:
    rounds = Rounds.of(4)
    until(rounds, Joining)
    rounds.world.done(rounds.members[1], paused(rounds.study_id))
    names = {type(d).__name__ for d in owed(rounds.world, rounds.members[2])}
    assert "SayJoin" not in names


def until(rounds: Rounds, phase: type[Joining] | type[Masking]) -> None:
    """Let members say what they owe, one at a time, until the attempt is so far."""
    for _ in range(100):
        for member in rounds.members:
            if isinstance(rounds.study.current, phase):
                return
            rounds.perform(member)
    raise AssertionError("never so far")


def owed(world: World, member: MemberId) -> tuple[object, ...]:
    return duties(world.state, member, world.state.size, world.now_s)


def gate(world: World, study: StatementId, member: MemberId) -> Rule | None:
    facts = LocalFacts(
        code=digest("code"),
        versions={DatasetId(f"data-of-{member}"): digest("1")},
        walls=frozenset(WALLS),
        now_s=world.now_s,
        final_size=world.state.size,
        yes="study",
    )
    try:
        check_run(world.state, member, study, SitePolicy(), facts)
    except Refused as refused:
        return refused.rule
    return None
