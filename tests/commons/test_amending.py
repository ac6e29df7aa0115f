"""Amendments: voted on under the rules of opening, in force after a pause, stale or put on top.

Attacks: a charter that takes a right, terms that are no terms, a base that was replaced, an easier
amendment rule carried by itself, rules that change under an open vote.
"""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.commons.amending import (
    Terms,
    amended,
    amendment,
    charter_digest,
    enacted,
    terms_of,
    with_terms,
)
from comity.commons.ballots import ALL_AGREE
from comity.commons.charter import Charter
from comity.commons.motions import groups_of
from comity.commons.rulebook import RuleText
from comity.commons.state import Done, Void
from comity.errors import Rule
from comity.statements.governing import (
    AmendMotion,
    HostMotion,
    ObjectionAnswer,
    VoteCast,
    proposal_of,
)
from comity.statements.membership import HostOffer, MemberLeave
from comity.statements.wire import canonical
from comity.values import DAY_S, EXIT_S_MIN, JSON_STRING_BYTES_MAX
from tests.commons.governed import (
    BOOK,
    WINDOW_S,
    governed,
    held,
    move,
    move_charter,
    moved,
    vote,
    with_book,
    with_rule,
)
from tests.worlds import World, charter_of


def longer(charter: Charter) -> Charter:
    return with_rule(charter, "swift", window_s=7_200)


def test_an_amendment_is_in_force_after_its_pause_and_not_before() -> None:
    world = governed()
    a, *_ = world.members
    before = world.state.charter
    proposal = move_charter(world, a, longer(before))
    vote(world, proposal, "yes")
    assert held(world, proposal).stage == "waiting" and world.state.charter == before
    world.pass_time(EXIT_S_MIN - 1)
    assert world.state.charter == before
    world.pass_time(3_600)
    assert world.state.charter == longer(before) and world.state.founding == before
    (made,) = world.state.amendments
    assert (made.proposal, made.charter) == (proposal, charter_digest(world.state.charter))
    assert world.state.commons == world.replayed().commons and world.replayed() == world.state


def test_in_the_pause_a_member_leaves_on_the_old_terms() -> None:
    world = governed()
    a, b, *_ = world.members
    proposal = move_charter(world, a, longer(world.state.charter))
    vote(world, proposal, "yes")
    world.done(b, MemberLeave())
    assert b in world.state.changes.leaving and world.state.charter == world.state.founding


def test_an_open_vote_keeps_the_rules_it_was_opened_under() -> None:
    world = governed()
    a, b, *_ = world.members
    amending = move_charter(world, a, longer(world.state.charter))
    vote(world, amending, "yes")
    world.pass_time(EXIT_S_MIN - 1_800)
    world.done(b, HostOffer(address="https://b.example"))
    host = move(world, a, HostMotion(member=b))
    world.pass_time(3_600)
    assert world.state.charter != world.state.founding
    assert held(world, host).charter == world.state.founding
    assert held(world, host).closes_s == world.state.commons_time_s + 1_800
    assert held(world, host).extended  # nobody had voted: half as long again, by the old rule


def easier(charter: Charter) -> Charter:
    """An amendment rule that a majority can meet, with one of four abstaining."""
    return with_rule(charter, "amend", yes="3/5", of="cast")


def test_the_amendment_rule_changes_by_the_old_rule_and_the_new() -> None:
    harder = RuleText(method="unanimity", window_s=2 * WINDOW_S, effect_s=2 * EXIT_S_MIN)
    world = governed()
    rules = {**BOOK.rules, "amend": harder}
    after = with_book(world.state.charter, msgspec.structs.replace(BOOK, rules=rules))
    a, b, c, d, e = world.members
    proposal = move_charter(world, a, after)
    assert held(world, proposal).new_rule == "amend"
    assert held(world, proposal).closes_s == world.state.commons_time_s + 2 * WINDOW_S
    vote(world, proposal, "yes", (a, b, c, d))
    vote(world, proposal, "no", (e,))
    assert held(world, proposal).ending == "rejected"  # the old rule alone would have carried it
    again = move_charter(world, a, after)
    vote(world, again, "yes")
    assert held(world, again).stage == "waiting"
    assert held(world, again).closes_s == world.state.commons_time_s + 2 * EXIT_S_MIN


def test_an_easier_amendment_rule_does_not_carry_itself() -> None:
    world = governed()
    proposal = move_charter(world, world.members[0], easier(world.state.charter))
    vote(world, proposal, "yes", world.members[:3])
    vote(world, proposal, "no", world.members[3:])
    assert held(world, proposal).ending == "rejected"


def test_another_grouping_of_the_new_charter_counts_for_its_rule() -> None:
    world = governed()
    plain = move_charter(world, world.members[0], longer(world.state.charter))
    assert (held(world, plain).new_rule, held(world, plain).new_groups) == ("", {})
    changed = move_charter(world, world.members[0], easier(world.state.charter))
    assert set(held(world, changed).new_groups) == set(world.members)


def test_of_two_amendments_of_one_key_the_later_is_stale() -> None:
    world = governed()
    a, b, *_ = world.members
    first = move_charter(world, a, with_rule(world.state.charter, "swift", window_s=7_200))
    second = move_charter(world, b, with_rule(world.state.charter, "swift", window_s=60))
    vote(world, second, "yes")
    vote(world, first, "yes")
    world.pass_time(EXIT_S_MIN)
    # Both end at one entry: the order is that of the proposals.
    assert (held(world, first).ending, held(world, second).ending) == ("passed", "stale")
    assert held(world, second).decided is False and len(world.state.amendments) == 1
    assert world.replayed() == world.state


def test_amendments_of_different_keys_are_put_on_top_of_each_other() -> None:
    world = governed()
    a, b, *_ = world.members
    first = move_charter(world, a, with_rule(world.state.charter, "swift", window_s=7_200))
    bounds = msgspec.structs.replace(world.state.charter.studies, rounds_max=7)
    other = msgspec.structs.replace(world.state.charter, studies=bounds)
    second = move_charter(world, b, other)
    vote(world, first, "yes")
    vote(world, second, "yes")
    world.pass_time(EXIT_S_MIN)
    assert {held(world, each).ending for each in (first, second)} == {"passed"}
    book = world.state.charter.rulebook
    assert book is not None and book.rules["swift"].window_s == 7_200
    assert world.state.charter.studies.rounds_max == 7


def test_two_amendments_that_contradict_each_other_together_do_not_both_pass() -> None:
    # One takes the only other use of a rule away, the other lets an act follow it.
    base = governed().state.charter
    book = base.rulebook
    assert book is not None
    decisions = {**book.decisions, "release": "amend"}
    mine = with_book(base, msgspec.structs.replace(book, decisions=decisions))
    rules = {**book.rules, "own": RuleText(method="majority", window_s=60)}
    host = msgspec.structs.replace(
        book, rules=rules, decisions={**book.decisions, "host": "own", "admit": "own"}
    )
    voters = groups_of(governed().state)
    assert enacted(base, mine, base, voters) == mine
    assert enacted(base, mine, with_book(base, host), voters) is None


def test_two_amendments_together_make_no_amendment_rule_that_no_vote_saw() -> None:
    """Attack: one lets amendments follow a rule that only all can meet, the other, which changes no
    amendment rule and so needs no vote by the new one, makes that rule easy."""
    calm = RuleText(method="unanimity", window_s=WINDOW_S, effect_s=EXIT_S_MIN)
    decisions = {**BOOK.decisions, "admit": "calm", "host": "amend"}
    book = msgspec.structs.replace(BOOK, rules={**BOOK.rules, "calm": calm}, decisions=decisions)
    world = governed(5, book)
    a, b, *_ = world.members
    base = world.state.charter
    harder = with_book(
        base, msgspec.structs.replace(book, decisions={**decisions, "amend": "calm"})
    )
    first = move_charter(world, a, harder)
    second = move_charter(world, b, with_rule(base, "calm", method="majority"))
    assert (held(world, first).new_rule, held(world, second).new_rule) == ("calm", "")
    vote(world, first, "yes")
    vote(world, second, "yes", world.members[:4])
    world.pass_time(WINDOW_S)
    world.pass_time(EXIT_S_MIN)
    assert (held(world, first).ending, held(world, second).ending) == ("passed", "stale")
    assert world.state.charter == harder


def test_an_amendment_rule_as_it_was_voted_on_is_put_on_top_of_other_keys() -> None:
    base, voters = governed().state.charter, groups_of(governed().state)
    wanted, now = easier(base), longer(base)
    assert enacted(base, wanted, now, voters) == easier(longer(base))
    assert enacted(base, longer(base), easier(base), voters) == easier(longer(base))
    both = with_rule(base, "amend", min_yes=2)
    assert enacted(base, both, easier(base), voters) is None


def test_what_was_voted_on_meanwhile_must_still_be_a_charter() -> None:
    world = governed()
    proposal = move_charter(
        world, world.members[0], with_rule(world.state.charter, "swift", min_yes=5)
    )
    vote(world, proposal, "yes")
    world.done(world.members[4], MemberLeave())  # now nobody could ever meet it
    world.pass_time(EXIT_S_MIN)
    assert held(world, proposal).ending == "stale"


def test_terms_that_are_none_are_void() -> None:
    world = governed()
    a = world.members[0]
    base = charter_digest(world.state.charter)
    for terms in ("x", "{}", "null", '{"leave":"forbidden"}', "[" * 10_000):
        motion = AmendMotion(base=base, terms=terms)
        assert moved(world, a, motion) == Void(Rule.CHARTER_UNFIT), terms
    spaced = canonical(terms_of(longer(world.state.charter))).decode().replace(",", ", ")
    assert moved(world, a, AmendMotion(base=base, terms=spaced)) == Void(Rule.CHARTER_UNFIT)
    unmet = with_rule(world.state.charter, "swift", min_yes=6)
    motion = amendment(world.state.charter, unmet)
    assert moved(world, a, motion) == Void(Rule.CHARTER_UNFIT)


def test_another_base_the_same_charter_and_the_same_motion_are_void() -> None:
    world = governed()
    a, b, *_ = world.members
    now = world.state.charter
    stale = amendment(charter_of(3), longer(now))
    assert moved(world, a, stale) == Void(Rule.BASE_CHANGED)
    assert moved(world, a, amendment(now, now)) == Void(Rule.SAID_BEFORE)
    move_charter(world, a, longer(now))
    assert moved(world, b, amendment(now, longer(now))) == Void(Rule.SAID_BEFORE)


def test_a_charter_that_names_no_rule_is_amended_by_all_together() -> None:
    world = World.of(3)
    a, b, c = world.members
    after = with_terms(
        world.state.charter,
        Terms(
            release="rules",
            studies=world.state.charter.studies,
            void_entries_per_day_max=1_000,
            vote_open_s=7 * DAY_S,
            rulebook=BOOK,
        ),
    )
    proposal = move_charter(world, a, after)
    assert held(world, proposal).rule == ALL_AGREE and held(world, proposal).new_rule == "amend"
    vote(world, proposal, "yes", (a, b))
    world.pass_time(30 * DAY_S)
    assert held(world, proposal).decided is None  # c is silent: once more half as long
    world.pass_time(15 * DAY_S)
    assert held(world, proposal).decided is False
    again = move_charter(world, a, after)
    vote(world, again, "yes")
    world.pass_time(EXIT_S_MIN)
    assert world.state.charter == after
    assert world.say(c, proposal_of(HostMotion(member=b))) == Void(Rule.NO_SUCH_THING)


def test_objections_to_an_amendment_are_answered_under_both_rules() -> None:
    agree = RuleText(
        method="consensus",
        window_s=WINDOW_S,
        min_yes=2,
        mediation_s=DAY_S,
        fallback="most",
        effect_s=EXIT_S_MIN,
    )
    most = RuleText(method="majority", window_s=WINDOW_S, effect_s=EXIT_S_MIN)
    rules = {**BOOK.rules, "amend": agree, "most": most}
    world = governed(5, msgspec.structs.replace(BOOK, rules=rules))
    after = with_rule(world.state.charter, "amend", window_s=2 * WINDOW_S)
    proposal = move_charter(world, world.members[0], after)
    vote(world, proposal, "yes", world.members[:4])
    vote(world, proposal, "object", world.members[4:])
    world.pass_time(2 * WINDOW_S)
    assert held(world, proposal).stage == "answering"
    world.done(world.members[0], ObjectionAnswer(proposal=proposal, reason="it has an end"))
    assert (held(world, proposal).rule, held(world, proposal).new_rule) == ("most", "most")
    vote(world, proposal, "yes")
    world.pass_time(EXIT_S_MIN)
    assert world.state.charter == after


@given(
    st.text(max_size=200) | st.recursive(st.none() | st.integers() | st.text(max_size=4), st.lists)
)
def test_terms_of_others_are_read_or_void(terms: object) -> None:
    charter = charter_of(5)
    text = terms if isinstance(terms, str) and terms else repr(terms)
    motion = AmendMotion(base=charter_digest(charter), terms=text)
    found = amended(charter, motion, {})
    assert found is Rule.CHARTER_UNFIT


def test_terms_are_bounded_in_bytes() -> None:
    with pytest.raises(ValueError, match="at most"):
        AmendMotion(base=charter_digest(charter_of(3)), terms="«" * JSON_STRING_BYTES_MAX)
    world = governed()
    fits = AmendMotion(base=charter_digest(charter_of(3)), terms="a" * JSON_STRING_BYTES_MAX)
    assert moved(world, world.members[0], fits) == Void(Rule.CHARTER_UNFIT)


def test_a_ballot_on_an_amendment_is_one_like_any_other() -> None:
    world = governed()
    proposal = move_charter(world, world.members[0], longer(world.state.charter))
    assert world.say(world.members[1], VoteCast(choice="yes", proposal=proposal)) == Done()
