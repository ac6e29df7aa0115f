"""Epochs: how many must approve, what two conflicting ones prove, and any history of changes."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.commons import fold
from comity.commons.charter import default_quorum
from comity.commons.epochs import (
    approved,
    document_digest,
    document_of,
    founding_epoch,
    quorum_of,
)
from comity.commons.members import public_keys_of
from comity.commons.state import Done, Epoch, Void
from comity.errors import Refused, Rule
from comity.statements.entries import Body
from comity.statements.governing import (
    AdmitMotion,
    HostMotion,
    Seen,
    VoteCast,
    proposal_of,
)
from comity.statements.keysets import key_set_digest
from comity.statements.membership import EpochApprove, HostHandover, HostOffer, MemberLeave
from comity.values import MemberId
from tests.commons.changes import (
    apply_body,
    approve,
    pending,
    revoke_body,
    rotate_body,
    take_over_body,
)
from tests.worlds import World, charter_of, keys_of


def epoch_of(names: str) -> Epoch:
    """An epoch of members with these one-letter names."""
    return replace(founding_epoch(charter_of(2)), members=tuple(MemberId(n) for n in names))


@pytest.mark.parametrize(
    ("before", "after", "approvers", "enough"),
    [
        ("ab", "a", "a", False),
        ("ab", "a", "ab", True),
        ("abc", "ab", "ab", True),
        ("abc", "ab", "ac", False),
        ("abc", "abc", "ab", False),
        ("abcd", "abc", "abc", True),
        ("abcd", "abc", "abd", False),
        ("abcd", "abcd", "bcd", True),
        ("abcdef", "abc", "abc", False),
        ("abcdef", "abcd", "abc", False),
        ("abcdef", "abcd", "abcd", True),
        ("abc", "abcx", "abx", False),
    ],
)
def test_so_many_must_approve(before: str, after: str, approvers: str, *, enough: bool) -> None:
    names = {MemberId(name) for name in approvers}
    assert approved(epoch_of(before), epoch_of(after), names) is enough


@pytest.mark.parametrize("count", range(2, 8))
def test_two_epochs_after_one_share_an_approver(count: int) -> None:
    """Any two documents, any two sets of approvers that suffice: somebody is in both."""
    names = "abcdefg"[:count]
    afters = [
        epoch_of("".join(stay)) for k in range(1, count + 1) for stay in combinations(names, k)
    ]
    subsets = [
        {MemberId(name) for name in some}
        for k in range(1, count + 1)
        for some in combinations(names, k)
    ]
    before = epoch_of(names)
    winning = [some for some in subsets if any(approved(before, after, some) for after in afters)]
    assert winning
    for one, other in combinations(winning, 2):
        assert one & other


def two_statements(one: World, other: World) -> set[MemberId]:
    """Who signed two statements with one number: what the two logs prove together (attack 11)."""
    said = {(e.statement.author, e.statement.seq): e.statement.id for e in one.entries}
    return {
        e.statement.author
        for e in other.entries
        if said.get((e.statement.author, e.statement.seq), e.statement.id) != e.statement.id
    }


def test_members_that_remove_each_other_in_two_logs_are_named() -> None:
    """a, b, c take out d in one log; a, c, d take out b in the other: a and c did both."""
    one = World.of(4)
    a, b, c, d = one.members
    other = copy.deepcopy(one)
    one.done(a, revoke_body(one, d))
    approve(one, (a, b, c))
    other.done(d, revoke_body(other, b))
    approve(other, (a, c, d))
    assert one.members == (a, b, c) and other.members == (a, c, d)
    assert two_statements(one, other) == {a, c}


def test_three_members_that_approve_two_hosts_are_named() -> None:
    """With three, all must approve a take-over; who approved two is caught by its numbers."""
    one = World.of(3)
    a, b, c = one.members
    for member in (b, c):
        one.done(member, HostOffer(address=f"https://{member}.example"))
    other = copy.deepcopy(one)
    one.done(b, take_over_body(one))
    approve(one, (a, b, c))
    other.done(c, take_over_body(other))
    approve(other, (a, b, c))
    assert (one.state.host, other.state.host) == (b, c)
    assert two_statements(one, other) == {a, b, c}


def test_below_four_members_nobody_is_taken_out() -> None:
    world = World.of(3)
    a, b, _ = world.members
    assert world.say(a, revoke_body(world, b)) == Void(Rule.TOO_FEW)
    assert world.say(b, revoke_body(world, b)) == Done()


def test_the_quorum_follows_the_members_or_the_charter() -> None:
    usual = charter_of(4)
    assert [quorum_of(usual, n) for n in range(1, 8)] == [default_quorum(n) for n in range(1, 8)]
    chosen = charter_of(5, quorum=3)
    assert [quorum_of(chosen, n) for n in (1, 2, 3, 4, 5, 6, 9)] == [1, 2, 3, 3, 3, 4, 5]


def test_an_approval_counts_for_its_document_only() -> None:
    world = World.of(4)
    a, b, c, d = world.members
    world.done(d, MemberLeave())
    settled = pending(world)
    approve(world, (a, b), settled)
    world.done(c, MemberLeave())
    assert pending(world) != settled
    assert world.say(c, EpochApprove(document=settled, epoch=1)) == Void(Rule.NOT_AS_DERIVED)
    approve(world, (a, b))
    assert world.state.epoch.number == 0  # two of two stay, but that is not more than half of four
    world.done(d, EpochApprove(document=pending(world), epoch=1))
    assert world.members == (a, b)


def test_nobodys_single_word_holds_up_what_is_settled() -> None:
    """A member claims again and again; the leave of another is approved all the same."""
    world = World.of(5)
    a, b, c, d, e = world.members
    world.done(e, MemberLeave())
    settled = pending(world)
    for serial in (1, 1, 1, 1):
        world.say(d, rotate_body(d, serial))
        world.say(d, revoke_body(world, a))
    approve(world, (a, b, c), settled)
    assert world.members == (a, b, c, d)
    # What d asked for may still be approved, on top of the new epoch.
    assert [p.claim and p.claim.author for p in world.state.changes.pending] == [d]


_ACTS = st.lists(st.tuples(st.integers(0, 14), st.integers(0, 5), st.integers(0, 5)), max_size=60)
_STRANGERS = tuple(MemberId(f"new-{name}") for name in "abc")


def body_of(world: World, kind: int, who: MemberId, other: MemberId) -> Body:
    """Something about belonging; often void."""
    state = world.state
    serial = state.keys[who].serial + 1 if who in state.keys else 1
    waiting = state.changes.pending
    document = waiting[kind % len(waiting)].epoch.digest if waiting else state.epoch.digest
    proposal = state.voting[-1] if state.voting else world.last_id
    keys = key_set_digest(keys_of(_STRANGERS[0]).key_set)
    chosen: dict[int, Body] = {
        0: MemberLeave(),
        1: rotate_body(who, serial),
        2: revoke_body(world, other) if other in state.keys else Seen(),
        3: HostOffer(address=f"https://{who}.example"),
        4: HostHandover(member=other),
        5: take_over_body(world),
        6: proposal_of(HostMotion(member=other)),
        7: proposal_of(AdmitMotion(keys=keys, member=_STRANGERS[0])),
    }
    if kind in (8, 9):
        return VoteCast(choice="yes", proposal=proposal)
    return chosen.get(kind, EpochApprove(document=document, epoch=state.epoch.number + 1))


def lawful(world: World) -> None:
    """What holds of every epoch in any history."""
    state = world.state
    epochs = (*state.past, state.epoch)
    assert [epoch.number for epoch in epochs] == list(range(len(epochs)))
    for before, epoch in pairwise(epochs):
        assert epoch.prev == before.digest and epoch.size > before.size
    for epoch in epochs:
        assert epoch.host in epoch.members == tuple(sorted(epoch.keys))
        assert len(epoch.members) < 2 * epoch.quorum <= 2 * len(epoch.members)
        assert epoch.digest == document_digest(document_of(state, epoch))
    shown: dict[bytes, MemberId] = {}
    for epoch in epochs:
        for member, key_set in epoch.keys.items():
            for public in public_keys_of(key_set):
                assert shown.setdefault(public, member) == member and public in state.public_keys


@settings(max_examples=40, deadline=None)
@given(_ACTS)
def test_any_history_of_changes_is_lawful_and_replays_to_the_same(
    acts: list[tuple[int, int, int]],
) -> None:
    world = World.of(4)
    for stranger in _STRANGERS[:2]:
        world.say(stranger, apply_body(stranger))
    for kind, turn, target in acts:
        world.now_s += 600
        everybody = sorted({*world.state.authors, *_STRANGERS[:1]})
        who, other = everybody[turn % len(everybody)], everybody[target % len(everybody)]
        if who not in world.state.keys:
            with pytest.raises(Refused) as refused:
                world.say(who, Seen())
            assert refused.value.rule is Rule.UNKNOWN_AUTHOR
            continue
        body = body_of(world, kind, who, other)
        number, before_s = world.state.epoch.number, world.state.commons_time_s
        head = world.tree.size, world.tree.root()
        expected = fold.check(world.state, who, body, world.now_s, head)
        assert world.say(who, body) == (Done() if expected is None else Void(expected))
        assert world.state.epoch.number - number in (0, 1)
        assert world.state.commons_time_s >= before_s
        lawful(world)
    assert world.replayed() == world.state
