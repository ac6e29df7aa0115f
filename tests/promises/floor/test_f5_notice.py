"""F5: notice, reasons and an answer before exclusion or a long suspension; no vote of the accused
is needed, and none is taken of it; what it has stays with it.

Attacks: a vote without notice, on a young one, on another's; a charter without notice.
"""

from __future__ import annotations

import msgspec
import pytest

from comity.commons.amending import amendment
from comity.commons.charter import charter_fault
from comity.commons.rulebook import RuleText
from comity.commons.state import Done, Void
from comity.errors import Rule
from comity.statements.governing import (
    ExcludeMotion,
    NoticeReply,
    ReleaseSign,
    SuspendMotion,
    VoteCast,
)
from comity.values import DAY_S, NOTICE_OPEN_S, NOTICE_S_MIN, UNNOTICED_S_MAX, StatementId
from tests.commons.governed import governed, held, move, moved, notice, vote, with_book, with_rule
from tests.worlds import digest

NO_SUCH = StatementId(digest("no notice"))


def test_nobody_is_excluded_without_notice() -> None:
    world = governed()
    a, b, *_, e = world.members
    assert moved(world, a, ExcludeMotion(member=e, notice=NO_SUCH)) == Void(Rule.F5_NO_NOTICE)
    given = notice(world, a, b, age_s=NOTICE_S_MIN)
    of_another = ExcludeMotion(member=e, notice=given)
    assert moved(world, a, of_another) == Void(Rule.F5_NO_NOTICE)


def test_nobody_is_excluded_before_it_could_answer() -> None:
    world = governed()
    a, *_, e = world.members
    given = notice(world, a, e, age_s=NOTICE_S_MIN - 3_600)
    motion = ExcludeMotion(member=e, notice=given)
    assert moved(world, a, motion) == Void(Rule.F5_NOTICE_TOO_YOUNG)
    world.done(e, NoticeReply(notice=given, reason="a disk had failed"))
    world.pass_time(3_600)
    assert moved(world, a, motion) == Done()


def test_a_notice_does_not_hang_over_a_member_for_ever() -> None:
    world = governed()
    a, *_, e = world.members
    given = notice(world, a, e, age_s=NOTICE_OPEN_S)
    assert moved(world, a, ExcludeMotion(member=e, notice=given)) == Void(Rule.F5_NO_NOTICE)


def test_a_long_suspension_needs_a_notice_too() -> None:
    world = governed()
    a, *_, e = world.members
    long = SuspendMotion(member=e, seconds=UNNOTICED_S_MAX + 1)
    assert moved(world, a, long, "a reason") == Void(Rule.F5_NO_NOTICE)


@pytest.mark.parametrize("notice_s", [0, NOTICE_S_MIN - 1])
def test_no_charter_excludes_without_time_to_answer(notice_s: int) -> None:
    world = governed()
    after = with_rule(world.state.charter, "exclude", notice_s=notice_s)
    assert "[f5-notice-too-short]" in (charter_fault(after) or "")
    motion = amendment(world.state.charter, after)
    assert moved(world, world.members[0], motion) == Void(Rule.F5_NOTICE_TOO_SHORT)


def test_the_accused_is_no_judge_and_cannot_block() -> None:
    world = governed(4)
    a, *_, d = world.members
    given = notice(world, a, d, age_s=NOTICE_S_MIN)
    proposal = move(world, a, ExcludeMotion(member=d, notice=given))
    assert world.say(d, VoteCast(choice="no", proposal=proposal)) == Void(Rule.WRONG_PARTY)
    vote(world, proposal, "yes")
    assert held(world, proposal).ending == "passed"


def test_what_the_excluded_has_taken_part_in_stays() -> None:
    world = governed()
    a, *_, e = world.members
    study = world.register(a)
    world.enrol(e, study)
    world.accept(study, "model 1")
    release = world.propose(a, study)
    vote(world, release, "yes")
    given = notice(world, a, e, age_s=NOTICE_S_MIN)
    vote(world, move(world, a, ExcludeMotion(member=e, notice=given)), "yes")
    assert held(world, release).decided and held(world, release).votes[e] == "yes"
    assert e in world.study(study).results[0].survivors
    motion = held(world, release).release
    assert motion is not None
    sign = ReleaseSign(manifest=motion.manifest, model=motion.model, proposal=release)
    assert world.say(a, sign) == Done()


def test_a_weaker_rule_by_another_name_is_seen() -> None:
    """A new rule for exclusions, carried by everybody, is below the floor all the same."""
    world = governed()
    book = world.state.charter.rulebook
    assert book is not None

    swift = RuleText(method="majority", window_s=DAY_S)
    rules = {name: rule for name, rule in book.rules.items() if name != "exclude"}
    after = msgspec.structs.replace(
        book, rules={**rules, "out": swift}, decisions={**book.decisions, "exclude": "out"}
    )
    motion = amendment(world.state.charter, with_book(world.state.charter, after))
    assert moved(world, world.members[0], motion) == Void(Rule.F5_NOTICE_TOO_SHORT)
