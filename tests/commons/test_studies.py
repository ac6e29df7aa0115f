"""Data sets, studies, consent, enrolment: what is done, and each way it is void.

The attack behind every rule is the same: somebody uses data without their owner's yes (P6), or a
study whose numbers break secure sums (P1). The honest case passes, the attack gets its rule.
"""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.commons.state import Done, KeysSeen, Void
from comity.commons.studies import consent_rule, next_serial, plan_fault
from comity.errors import Rule
from comity.statements.studies import (
    ConsentGive,
    ConsentRefuse,
    ConsentWithdraw,
    DatasetDeclare,
    Deadlines,
    StudyEnrol,
    StudyLeave,
    StudyRegister,
    UpdateRule,
    UseTerms,
)
from comity.values import (
    DATASETS_PER_MEMBER_MAX,
    DAY_S,
    NOTHING,
    STUDIES_OPEN_PER_MEMBER_MAX,
    DatasetId,
    MemberId,
    StatementId,
)
from tests.worlds import World, charter_of, digest, plan_of, sealing_key

NO_STUDY = StatementId(digest("no such study"))


def dataset(
    name: str = "rows", version: str = "1", *, title: str = "", budget: str = ""
) -> DatasetDeclare:
    """budget: the one of its two fields that is not 0."""
    body = DatasetDeclare(
        dataset=DatasetId(name), unit="record", version=digest(version), title=title
    )
    return msgspec.structs.replace(body, **({budget: 1} if budget else {}))


def yes(
    study: StatementId, name: str = "rows", version: str = "1", *, exposed: bool = False
) -> ConsentGive:
    return ConsentGive(
        dataset=DatasetId(name), exposed=exposed, study=study, version=digest(version)
    )


@pytest.fixture
def world() -> World:
    return World.of(5)


@pytest.fixture
def study(world: World) -> StatementId:
    """A study; member-b has data set `rows` in version 1."""
    world.say(world.members[1], dataset())
    return world.register(world.members[0])


# data sets


def test_an_owner_declares_a_data_set_and_new_versions(world: World) -> None:
    owner, other = world.members[:2]
    assert world.say(owner, dataset()) == Done()
    assert world.say(owner, dataset(title="told again")) == Void(Rule.SAID_BEFORE)
    assert world.say(owner, dataset(version="2")) == Done()
    assert world.state.datasets[DatasetId("rows")].version == digest("2")
    assert world.say(other, dataset(version="3")) == Void(Rule.ID_TAKEN)
    assert world.state.datasets[DatasetId("rows")].owner == owner


def test_data_sets_of_a_member_are_limited(world: World) -> None:
    owner, other = world.members[:2]
    world.say(owner, dataset())
    one = world.state.datasets[DatasetId("rows")]
    many = {DatasetId(f"rows-{i}"): one for i in range(DATASETS_PER_MEMBER_MAX)}
    world.bend(datasets=many)
    assert world.say(owner, dataset("one-more")) == Void(Rule.TOO_MANY)
    assert world.say(other, dataset("one-more")) == Done()


# registering


def test_a_plan_within_the_bounds_is_registered(world: World) -> None:
    study = world.register(world.members[0])
    held = world.study(study)
    assert held.round_no == 1 and not held.finished
    assert held.roster_index == held.index == world.state.size - 1


def test_a_use_that_contradicts_itself_is_not_registered(world: World) -> None:
    said = StudyRegister(name="study", plan=plan_of(5), use=UseTerms(purpose="disease"))
    assert world.say(world.members[0], said) == Void(Rule.STUDY_OUT_OF_BOUNDS)
    meant = UseTerms(purpose="disease", diseases=("MONDO:1",))
    assert world.study(world.register(world.members[0], use=meant)).register.use == meant


ADAM = UpdateRule(
    name="fedadam",
    server_lr_millionths=1,
    beta1_millionths=1,
    beta2_millionths=1,
    tau_trillionths=1,
)
NESTEROV = UpdateRule(name="nesterov", server_lr_millionths=700_000, beta1_millionths=900_000)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"colluders": 4, "survivors_min": 6}, "survivors_min"),
        ({"colluders": 2, "survivors_min": 3}, "survivors_min"),
        ({"survivors_min": 2}, "survivors_min"),
        ({"survivors_min": 6}, "survivors_min"),
        ({"attempts_max": 11}, "attempts_max"),
        ({"rounds_max": 101}, "rounds_max"),
        ({"deadlines": Deadlines(1, 2, 3, 4, 6, 5, 7, 8)}, "deadlines"),
        ({"deadlines": Deadlines(1, 2, 3, 4, 5, 6, 7, DAY_S + 1)}, "end_by_s"),
        ({"words": 18}, "words"),
        ({"code": NOTHING}, "code"),
        ({"weight_max": 2}, "weight_max"),
        ({"weights": "declared", "weight_max": 2**31 // 20 // 16 + 1}, "weight_max"),
        ({"moments": digest("moments")}, "moments"),
        ({"rule": ADAM}, "moments"),
        ({"rule": msgspec.structs.replace(ADAM, name="fedavg")}, "fedavg"),
        (
            {
                "rule": msgspec.structs.replace(ADAM, tau_trillionths=0),
                "moments": digest("moments"),
            },
            "tau",
        ),
        (
            {"rule": msgspec.structs.replace(ADAM, name="fedadagrad"), "moments": digest("m")},
            "beta2",
        ),
        ({"rule": NESTEROV}, "moments"),
        (
            {"rule": msgspec.structs.replace(NESTEROV, tau_trillionths=1), "moments": digest("m")},
            "tau",
        ),
    ],
)
def test_a_plan_outside_the_bounds_is_void(
    world: World, changes: dict[str, object], names: str
) -> None:
    plan = plan_of(5, **changes)
    fault = plan_fault(world.charter.studies, plan, 5)
    assert fault is not None and names in fault
    said = world.say(world.members[0], StudyRegister(name="study", plan=plan))
    assert said == Void(Rule.STUDY_OUT_OF_BOUNDS)
    assert world.state.studies == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"colluders": 3, "survivors_min": 5},
        {"deadlines": Deadlines(1, 1, 1, 1, 1, 1, 1, DAY_S)},
        {"weights": "hidden", "weight_max": 2**31 // 20 // 16},
        {"rule": ADAM, "moments": digest("moments")},
        {"rule": NESTEROV, "moments": digest("moments")},
        {"model": NOTHING},
    ],
)
def test_a_plan_at_the_edge_of_the_bounds_is_registered(
    world: World, changes: dict[str, object]
) -> None:
    body = StudyRegister(name="study", plan=plan_of(5, **changes))
    assert world.say(world.members[0], body) == Done()


def test_the_charter_bounds_colluders_from_below() -> None:
    bounds = msgspec.structs.replace(charter_of(5).studies, colluders_min=2, survivors_min=4)
    assert plan_fault(bounds, plan_of(5, survivors_min=4), 5) is not None
    assert plan_fault(bounds, plan_of(5, survivors_min=4, colluders=2), 5) is None


def test_the_confirm_quorum_can_always_be_reached() -> None:
    # t <= n is c <= n - 2, and u_min >= c + 2 already asks for it: no plan passes by one alone.
    for count in range(3, 12):
        for colluders in range(1, count + 1):
            plan = plan_of(count, colluders=colluders, survivors_min=count)
            fits = plan_fault(charter_of(count).studies, plan, count) is None
            assert fits == (colluders <= count - 2)


def test_two_members_register_no_study() -> None:
    world = World.of(2)
    body = StudyRegister(name="study", plan=plan_of(2))
    assert world.say(world.members[0], body) == Void(Rule.STUDY_OUT_OF_BOUNDS)


def test_studies_of_a_member_that_are_not_finished_are_limited(world: World) -> None:
    first = world.register(world.members[0])
    one = world.study(first)
    world.bend(
        studies={StatementId(digest(f"study {i}")): one for i in range(STUDIES_OPEN_PER_MEMBER_MAX)}
    )
    body = StudyRegister(name="one-more", plan=plan_of(5))
    assert world.say(world.members[0], body) == Void(Rule.TOO_MANY)
    assert world.say(world.members[1], body) == Done()


# consent


def test_the_owner_consents_for_the_declared_version(world: World, study: StatementId) -> None:
    owner = world.members[1]
    assert consent_rule(world.state, world.study(study), owner) is Rule.NO_CONSENT
    assert world.say(owner, yes(study)) == Done()
    assert consent_rule(world.state, world.study(study), owner) is None
    assert world.study(study).roster_index == world.state.size - 1
    assert world.say(owner, yes(study)) == Void(Rule.SAID_BEFORE)
    assert world.say(owner, yes(study, exposed=True)) == Done()
    assert world.study(study).consents[owner].exposed


def test_nobody_consents_for_others_or_to_nothing(world: World, study: StatementId) -> None:
    owner, other = world.members[1], world.members[2]
    assert world.say(other, yes(study)) == Void(Rule.WRONG_PARTY)
    assert world.say(owner, yes(NO_STUDY)) == Void(Rule.NO_SUCH_THING)
    assert world.say(owner, yes(study, "no-such-rows")) == Void(Rule.NO_SUCH_THING)
    assert world.say(owner, yes(study, version="2")) == Void(Rule.VERSION_NOT_DECLARED)
    assert world.study(study).consents == {}


def test_a_new_version_ends_the_consent_to_the_old_one(world: World, study: StatementId) -> None:
    owner = world.members[1]
    world.say(owner, yes(study))
    world.say(owner, dataset(version="2"))
    assert consent_rule(world.state, world.study(study), owner) is Rule.VERSION_NOT_DECLARED
    enrol = world.enrol_body(owner, study)
    assert world.say(owner, enrol) == Void(Rule.VERSION_NOT_DECLARED)
    assert world.say(owner, yes(study, version="2")) == Done()
    assert world.say(owner, enrol) == Done()


@pytest.mark.parametrize("budget", ["epsilon_millionths", "delta_trillionths"])
def test_a_data_set_with_a_budget_takes_no_study(
    world: World, study: StatementId, budget: str
) -> None:
    owner = world.members[1]
    world.say(owner, dataset("guarded", budget=budget))
    assert world.say(owner, yes(study, "guarded")) == Void(Rule.BUDGET_WITHOUT_EVENTS)
    # A budget set later stops a consent that stands.
    assert world.say(owner, yes(study)) == Done()
    world.say(owner, dataset(budget=budget))
    assert consent_rule(world.state, world.study(study), owner) is Rule.BUDGET_WITHOUT_EVENTS
    enrol = world.enrol_body(owner, study)
    assert world.say(owner, enrol) == Void(Rule.BUDGET_WITHOUT_EVENTS)


def test_yes_and_no_replace_each_other(world: World, study: StatementId) -> None:
    owner = world.members[1]
    assert world.say(owner, ConsentRefuse(study=study)) == Done()
    assert world.say(owner, ConsentRefuse(study=study)) == Void(Rule.SAID_BEFORE)
    assert world.say(owner, ConsentWithdraw(study=study)) == Void(Rule.NO_CONSENT)
    assert world.study(study).refused == {owner}
    assert world.say(owner, yes(study)) == Done()
    assert world.study(study).refused == frozenset()
    assert world.say(owner, ConsentRefuse(study=study)) == Done()
    assert world.study(study).consents == {}


@pytest.mark.parametrize("no", [ConsentWithdraw, ConsentRefuse])
def test_a_no_ends_enrolment_at_once(
    world: World, study: StatementId, no: type[ConsentWithdraw | ConsentRefuse]
) -> None:
    owner = world.members[1]
    world.say(owner, yes(study))
    world.say(owner, world.enrol_body(owner, study))
    assert owner in world.study(study).enrolled
    assert world.say(owner, no(study=study)) == Done()
    held = world.study(study)
    assert owner not in held.enrolled and owner not in held.consents and owner in held.refused
    assert held.roster_index == world.state.size - 1
    assert world.say(owner, no(study=NO_STUDY)) == Void(Rule.NO_SUCH_THING)


# enrolment


def test_enrolling_needs_consent(world: World, study: StatementId) -> None:
    owner = world.members[1]
    enrol = world.enrol_body(owner, study)
    assert world.say(owner, enrol) == Void(Rule.NO_CONSENT)
    world.say(owner, yes(study))
    assert world.say(owner, enrol) == Done()
    assert world.study(study).enrolled[owner].sealing_key == enrol.sealing_key


def test_serials_go_up_by_one_through_leaving_and_returning(
    world: World, study: StatementId
) -> None:
    owner = world.members[1]
    world.say(owner, yes(study))
    for serial, wrong in ((0, 1), (1, 0), (2, 1)):
        held = world.study(study)
        assert next_serial(held, owner) == serial
        key = sealing_key(100 + serial)
        body = StudyEnrol(sealing_key=key, serial=wrong, study=study)
        assert world.say(owner, body) == Void(Rule.SERIAL_NOT_NEXT)
        assert world.say(owner, msgspec.structs.replace(body, serial=serial)) == Done()
        assert world.study(study).left == frozenset()
        assert world.say(owner, StudyLeave(study=study)) == Done()
        assert world.study(study).left == {owner}
        assert world.study(study).enrolled == {}


def test_a_sealing_key_is_valid_and_new_in_the_commons(world: World, study: StatementId) -> None:
    owner, other = world.members[1], world.members[2]
    world.say(owner, yes(study))
    bad_lattice = b"\xff" * 3 + sealing_key(1)[3:]
    low_order = sealing_key(1)[:-32] + bytes(32)
    for key in (bad_lattice, low_order):
        body = StudyEnrol(sealing_key=key, serial=0, study=study)
        assert world.say(owner, body) == Void(Rule.SEALING_KEY_INVALID)
    second = world.register(world.members[0], "second")
    taken = world.enrol(other, second)
    body = StudyEnrol(sealing_key=taken, serial=0, study=study)
    assert world.say(owner, body) == Void(Rule.SEALING_KEY_USED)
    # What a void statement shows is not used up.
    fresh = msgspec.structs.replace(body, sealing_key=sealing_key(500), serial=1)
    assert world.say(owner, fresh) == Void(Rule.SERIAL_NOT_NEXT)
    assert world.say(owner, msgspec.structs.replace(fresh, serial=0)) == Done()


def test_leaving_is_for_who_was_in(world: World, study: StatementId) -> None:
    owner, other = world.members[1], world.members[2]
    world.say(owner, yes(study))
    world.say(owner, world.enrol_body(owner, study))
    assert world.say(other, StudyLeave(study=study)) == Void(Rule.WRONG_PARTY)
    assert world.say(owner, StudyLeave(study=NO_STUDY)) == Void(Rule.NO_SUCH_THING)
    assert world.say(owner, StudyLeave(study=study)) == Done()
    assert world.say(owner, StudyLeave(study=study)) == Void(Rule.SAID_BEFORE)


def test_an_excluded_member_does_not_enrol_again(world: World, study: StatementId) -> None:
    owner = world.members[1]
    world.say(owner, yes(study))
    world.bend_study(study, excluded=frozenset((owner,)))
    body = world.enrol_body(owner, study)
    assert world.say(owner, body) == Void(Rule.WRONG_PARTY)
    assert world.say(owner, msgspec.structs.replace(body, study=NO_STUDY)) == Void(
        Rule.NO_SUCH_THING
    )


def test_a_finished_study_takes_nothing_more(world: World, study: StatementId) -> None:
    owner = world.members[1]
    world.say(owner, yes(study))
    world.say(owner, world.enrol_body(owner, study))
    for round_no in (1, 2, 3):
        assert not world.study(study).finished
        world.accept(study, f"model {round_no}")
    assert world.study(study).finished
    enrol = world.enrol_body(owner, study)
    bodies = (
        yes(study, exposed=True),
        ConsentRefuse(study=study),
        ConsentWithdraw(study=study),
        enrol,
        StudyLeave(study=study),
    )
    for body in bodies:
        assert world.say(owner, body) == Void(Rule.NO_SUCH_THING)


@given(st.lists(st.binary(min_size=1, max_size=2), max_size=60), st.binary(max_size=2))
def test_keys_seen_is_a_set_and_older_values_stay_as_they_were(
    keys: list[bytes], other: bytes
) -> None:
    seen, history = KeysSeen(), [KeysSeen()]
    for key in keys:
        seen = seen.adding(key)
        history.append(seen)
    for count, then in enumerate(history):
        known = set(keys[:count])
        assert all((key in then) == (key in known) for key in (*keys, other))
    sizes = [len(group) for group in seen.groups]
    assert all(small < large for large, small in pairwise(sizes))
    assert MemberId("text") not in seen
