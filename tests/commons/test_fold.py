"""What may enter the log, and the laws of the fold over random histories.

The attacks on form (numbers of log-and-provenance.md 8) are refused before they reach the log, and
refusing changes nothing. Histories mix honest rounds, votes, consents and arbitrary statements:
the fold never raises, replays to the same state, and a void entry means nothing.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.commons import fold
from comity.commons.state import Done, State, Void
from comity.errors import Forged, Malformed, Refused, Rule
from comity.statements.entries import Body, Entry
from comity.statements.governing import ProposalOpen, ReleaseMotion, ReleaseSign, Seen, VoteCast
from comity.statements.studies import (
    ConsentGive,
    ConsentRefuse,
    ConsentWithdraw,
    DatasetDeclare,
    StudyLeave,
    StudyRegister,
)
from comity.statements.wire import BODIES, sign
from comity.values import NOTHING, DatasetId, MemberId, StatementId
from tests.commons.rounds_world import Rounds
from tests.statements.samples import BODY_OF, any_body
from tests.worlds import World, charter_of, digest, found_body, keys_of, plan_of

NO_SUCH = StatementId(digest("no such thing"))


def refused(world: World, envelope: bytes) -> Rule:
    """By which rule it is not admitted; neither state nor tree may change."""
    state, root = world.state, world.tree.root()
    with pytest.raises(Refused) as refusal:
        world.append(envelope)
    assert world.state is state and world.tree.root() == root
    return refusal.value.rule


@pytest.fixture
def world() -> World:
    return World.of(3)


# form


def test_an_honest_statement_is_admitted_at_the_end(world: World) -> None:
    envelope = world.envelope(world.members[0], Seen())
    entry = fold.admit(world.state, world.tree, envelope)
    assert (entry.index, entry.leaf) == (3, envelope)
    assert entry.statement.author == world.members[0]


def test_attack_7_and_13_replayed_or_reordered_statements_break_the_chain(world: World) -> None:
    me = world.members[0]
    first = world.envelope(me, Seen())
    world.append(first)
    assert refused(world, first) is Rule.CHAIN_BROKEN
    seq, _ = fold.next_link(world.state, me)
    later = world.envelope(me, Seen(), seq=seq + 1, prev=world.last_id)
    assert refused(world, later) is Rule.CHAIN_BROKEN
    other_past = world.envelope(me, Seen(), prev=NOTHING)
    assert refused(world, other_past) is Rule.CHAIN_BROKEN


def test_attack_9_a_statement_of_another_commons_is_refused(world: World) -> None:
    other = World.empty(charter_of(3, name="Another commons"))
    envelope = other.envelope(world.members[0], found_body(world.members[0]))
    assert refused(world, envelope) is Rule.WRONG_COMMONS


def test_attack_10_a_statement_moved_to_a_fork_is_refused(world: World) -> None:
    # Two members are shown two histories; what one says above its own does not fit the other.
    left, right = World.of(3), World.of(3)
    a, b, c = world.members
    left.say(a, Seen())
    right.say(b, Seen())
    said_on_the_left = left.envelope(c, Seen())
    assert refused(right, said_on_the_left) is Rule.HEAD_UNKNOWN
    left.append(said_on_the_left)


def test_a_head_beyond_the_log_or_behind_the_authors_last_is_refused(world: World) -> None:
    me = world.members[0]
    beyond = world.envelope(me, Seen(), head_size=4)
    assert refused(world, beyond) is Rule.HEAD_UNKNOWN
    world.say(me, Seen())
    backwards = world.envelope(me, Seen(), head_size=2, head_root=world.tree.root(2))
    assert refused(world, backwards) is Rule.HEAD_UNKNOWN
    other_root = world.envelope(me, Seen(), head_root=world.tree.root(2))
    assert refused(world, other_root) is Rule.HEAD_UNKNOWN
    same_again = world.envelope(me, Seen(), head_size=3, head_root=world.tree.root(3))
    world.append(same_again)


def test_attack_11_the_second_statement_with_one_seq_is_refused(world: World) -> None:
    me = world.members[0]
    one, two = world.envelope(me, Seen()), world.envelope(me, ConsentRefuse(study=NO_SUCH))
    world.append(one)
    assert refused(world, two) is Rule.CHAIN_BROKEN


def test_strangers_and_founders_that_have_not_entered_are_unknown(world: World) -> None:
    stranger = MemberId("stranger")
    draft = replace(world.draft(world.members[0], Seen()), author=stranger)
    assert refused(world, sign(draft, keys_of(stranger).statement)) is Rule.UNKNOWN_AUTHOR
    young = World.empty(charter_of(3))
    assert refused(young, young.envelope(young.members[0], Seen())) is Rule.UNKNOWN_AUTHOR


def test_only_the_authors_own_statement_key_signs(world: World) -> None:
    me, other = world.members[:2]
    draft = world.draft(me, Seen())
    wrong = (keys_of(other).statement, keys_of(me).head, keys_of(me).host)
    for signing_key in wrong:
        with pytest.raises(Forged):
            world.append(sign(draft, signing_key))
    world.append(sign(draft, keys_of(me).statement))


def test_attack_24_another_payload_or_predicate_type_is_malformed(world: World) -> None:
    envelope = world.envelope(world.members[0], Seen())
    for ours, theirs in ((b"in-toto", b"in-tota"), (b"payloadType", b"payloadTipe")):
        with pytest.raises(Malformed):
            world.append(envelope.replace(ours, theirs))


@given(st.data())
def test_bytes_of_others_are_malformed_forged_or_refused(data: st.DataObject) -> None:
    world = World.of(2)
    envelope = bytearray(world.envelope(world.members[0], Seen()))
    at = data.draw(st.integers(0, len(envelope) - 1))
    change = data.draw(st.integers(1, 255))
    envelope[at] ^= change
    with pytest.raises((Malformed, Forged, Refused)):
        world.append(bytes(envelope))


# meaning


def test_a_void_entry_moves_chain_clock_and_count_and_nothing_else(world: World) -> None:
    me = world.members[0]
    before = world.state
    outcome = world.say(me, VoteCast(choice="yes", proposal=NO_SUCH), world.now_s + 1)
    assert outcome == Void(Rule.NO_SUCH_THING)
    after = world.state
    author = after.authors[me]
    assert (author.seq, author.last) == (1, world.last_id)
    assert (author.time_s, author.void_count) == (world.now_s + 1, 1)
    assert replace(after, size=before.size, head=before.head, authors=before.authors) == before


def test_check_tells_what_the_fold_will_say_and_changes_nothing(world: World) -> None:
    me = world.members[0]
    bodies: list[Body] = [
        Seen(),
        found_body(me),
        VoteCast(choice="yes", proposal=NO_SUCH),
        StudyRegister(name="study", plan=plan_of(3)),
        DatasetDeclare(dataset=DatasetId("rows"), unit="record", version=digest("1")),
    ]
    for body in bodies:
        state = world.state
        rule = fold.check(state, me, body, world.now_s)
        assert world.state is state
        assert world.say(me, body) == (Done() if rule is None else Void(rule))


def test_checking_an_enrolment_does_not_use_up_its_key(world: World) -> None:
    me = world.members[0]
    study = world.register(me)
    world.consent(me, study)
    body = world.enrol_body(me, study)
    for _ in range(2):
        assert fold.check(world.state, me, body, world.now_s) is None
    discarded, _ = fold.apply(world.state, _entry(world, me, body))
    assert body.sealing_key in discarded.sealing_keys
    world.done(world.members[1], StudyRegister(name="meanwhile", plan=plan_of(3)))
    assert world.say(me, body) == Done()


# histories

Step = tuple[int, int, int, int]
"""(whose turn, what kind, which of several, seconds that pass)"""

_KINDS_OF_DUTY = 8
"""Kinds of step below this perform a duty, if there is one; the others are wishes."""
_KINDS = _KINDS_OF_DUTY + 8

_STEPS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, _KINDS - 1),
        st.integers(0, 5),
        st.sampled_from((0, 0, 0, 0, 0, 0, 1, 1_800, 3_600, 90_000)),
    ),
    max_size=40,
)
_ANYTHING = st.one_of([any_body(kind) for kind in BODIES.values()])


def _entry(world: World, member: MemberId, body: Body) -> Entry:
    return fold.admit(world.state, world.tree, world.envelope(member, body))


def _body(played: Rounds, step: Step, anything: Body) -> Body:
    """What the member of this step says: a duty, a wish of its own, or anything in form."""
    world = played.world
    turn, kind, which, _ = step
    member, study = world.members[turn], played.study_id
    dataset = DatasetId(f"data-of-{world.members[which % 4]}")
    owed = [played.body_of(member, duty) for duty in played.owed_by(member)]
    bodies = [body for body in owed if body is not None]
    if kind < _KINDS_OF_DUTY and bodies:
        return bodies[which % len(bodies)]
    proposals = [*world.state.proposals, NO_SUCH]
    proposal = proposals[which % len(proposals)]
    model, round_no = world.study(study).model[0], max(1, len(world.study(study).results))
    motion = ReleaseMotion(manifest=digest("m"), model=model, round_no=round_no, study=study)
    wishes: tuple[Body, ...] = (
        ConsentGive(dataset=dataset, exposed=True, study=study, version=digest("1")),
        world.enrol_body(member, study),
        ConsentWithdraw(study=study),
        StudyLeave(study=study),
        DatasetDeclare(dataset=dataset, unit="record", version=digest(str(which % 2))),
        VoteCast(choice="yes", proposal=proposal),
        ReleaseSign(manifest=digest("m"), model=model, proposal=proposal),
        ProposalOpen(motion="release", release=motion),
    )
    return wishes[kind - _KINDS_OF_DUTY] if kind >= _KINDS_OF_DUTY else anything


def _meaningless(state: State, entry: Entry) -> State:
    """The state if the same author had said, at the same time, something void for sure."""
    nothing = VoteCast(choice="yes", proposal=NO_SUCH)
    said = replace(entry.statement, body=nothing)
    after, outcome = fold.apply(state, Entry(entry.index, entry.leaf, said))
    assert isinstance(outcome, Void)
    return after


def _play(steps: list[Step], anything: list[Body]) -> Rounds:
    """Say all of it, and check the laws at every entry and at the end."""
    played = Rounds.of(3, strangers=1)
    world = played.world
    states, start = [world.state], len(world.entries)
    for place, step in enumerate(steps):
        world.now_s += step[3]
        member = world.members[step[0]]
        body = _body(played, step, anything[place % len(anything)])
        rule = fold.check(world.state, member, body, world.now_s)
        try:
            outcome = world.say(member, body)
        except (Forged, Refused):  # with keys of somebody else it never enters the log
            continue
        assert outcome == (Done() if rule is None else Void(rule))
        if isinstance(outcome, Void):
            assert world.state == _meaningless(states[-1], world.entries[-1])
        states.append(world.state)
    assert world.replayed() == world.state
    # No later entry changed an earlier state: each continues to the next one still.
    for place, entry in enumerate(world.entries[start:]):
        assert fold.apply(states[place], entry)[0] == states[place + 1]
    return played


@settings(max_examples=40, deadline=None)
@given(_STEPS, st.lists(_ANYTHING, min_size=1, max_size=8))
def test_any_history_folds_and_folds_again_to_the_same(
    steps: list[Step], anything: list[Body]
) -> None:
    _play(steps, anything)


@pytest.mark.parametrize("seed", range(10))
def test_histories_with_whole_rounds_fold_again_to_the_same(seed: int) -> None:
    # Nearly all turns perform a duty, so that most histories get to an accepted round.
    chance = Random(seed)
    steps = [
        (
            chance.randrange(4),
            0 if chance.random() < 0.94 else chance.randrange(_KINDS),
            chance.randrange(6),
            chance.choice((0, 0, 0, 0, 0, 0, 0, 60, 3_600)),
        )
        for _ in range(200)
    ]
    _play(steps, list(BODY_OF.values()))
