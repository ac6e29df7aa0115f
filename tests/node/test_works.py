"""R6: what a node took part in, and what it may therefore still join."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from comity.commons.attempts import AbandonFact, End, Opened, opened_of
from comity.errors import Refused, Rule
from comity.node import works
from comity.node.works import check_work, only_set, work_record
from comity.storage.ports import Attempt, Ending
from comity.values import DatasetId, Digest, MemberId, Seat
from tests.e2e.prepared import Make
from tests.e2e.steps import World

DATA, VERSION = DatasetId("rows"), Digest("5e" * 32)
ALL = frozenset(map(MemberId, ("m0", "m1", "m2")))


def opened(world: World) -> Opened:
    """An attempt under way."""
    world.run(lambda: world.study.current is not None)
    return opened_of(world.attempt)


@pytest.mark.parametrize(
    ("ending", "survivors", "roster", "allowed"),
    [
        (Ending.OPEN, None, "same", False),
        (Ending.SEALED, None, "other", True),
        (Ending.UNSTARTED, None, "other", False),
        (Ending.BURNED, ALL, "same", True),
        (Ending.BURNED, ALL, "other", False),
        (Ending.BURNED, None, "same", False),
        (Ending.ACCEPTED, ALL, "same", True),
        (Ending.ACCEPTED, ALL, "other", False),
    ],
)
def test_one_work_is_summed_over_one_set_only(
    commons: Make,
    tmp_path: Path,
    ending: Ending,
    survivors: frozenset[MemberId] | None,
    roster: str,
    allowed: bool,
) -> None:
    """Attacks 10, 33 as far as R6, 45."""
    with commons(3).world(tmp_path) as world:
        now = opened(world)
        station = world.desk("m1").station
        past = now if roster == "same" else replace(now, roster=(*now.roster[:2], MemberId("m9")))
        scope = Attempt(now.study, 1, 1)
        record = work_record(
            past, scope, DATA, VERSION, committed=True, survivors=survivors, ending=ending
        )
        station.journal.record_work(record)
        if allowed:
            check_work(station, now, DATA, VERSION)
        else:
            with pytest.raises(Refused) as caught:
                check_work(station, now, DATA, VERSION)
            assert caught.value.rule is Rule.WORK_SUMMED_BEFORE
        bound = ending in (Ending.BURNED, Ending.ACCEPTED)
        assert only_set(station, now, DATA, VERSION) == (survivors if bound else None)
        check_work(station, now, DATA, Digest("6f" * 32))
        check_work(station, replace(now, work=Digest("7a" * 32)), DATA, VERSION)


def test_an_accepted_round_is_remembered_with_its_set(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        now = opened(world)
        world.round(1)
        world.settle(world.results(2))
        for desk in world.desks:
            consent = world.study.consents[desk.member]
            (work, *_) = desk.station.journal.works(consent.dataset, consent.version, now.work)
            assert work.ending is Ending.ACCEPTED
            assert work.survivors == ALL
            assert (work.committed, work.confirmed, work.revealed) == (True, True, True)


def test_attack_51_after_my_reveal_it_takes_more_than_the_colluders_to_seal_an_attempt(
    commons: Make, tmp_path: Path
) -> None:
    """R5: who revealed may start anew only if c + 1 survivors abandoned without revealing."""
    with commons(3).world(tmp_path) as world:
        opened(world)
        world.round(1)
        world.settle(world.results(2))
        accepted = world.study.ended[-1]
    assert accepted.closed is not None and len(accepted.closed.survivors) == 3
    assert accepted.opened.colluders == 1

    def ending(abandoned: dict[int, bool], *said: str) -> Ending:
        facts = {Seat(s): AbandonFact(released, None) for s, released in abandoned.items()}
        return works._ending(
            replace(accepted, end=End.SEALED, abandons=facts), frozenset(("round.commit", *said))
        )

    said = ("round.abandon", "round.reveal")
    assert ending({1: True, 2: False, 3: False}, *said) is Ending.SEALED
    assert ending({1: True, 2: False}, *said) is Ending.OPEN
    assert ending({1: True, 2: False, 3: True}, *said) is Ending.OPEN
    assert ending({1: True, 2: False, 9: False}, *said) is Ending.OPEN  # 9 is no survivor
    assert ending({1: False, 2: False}, "round.abandon") is Ending.SEALED
    assert ending({2: False, 3: False}, "round.reveal") is Ending.OPEN  # nothing abandoned by me
