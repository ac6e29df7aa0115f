"""One work, one set (R6): what a node once helped to sum, it never helps to sum over other members.

A real node folder remembers an attempt in each of its ends; then the same work is opened again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from comity.commons.attempts import Opened
from comity.commons.charter import charter_bytes
from comity.errors import Refused, Rule
from comity.node.keyfile import MemberKeys
from comity.node.opening import open_station
from comity.node.settings import NodeSettings, write_node_settings
from comity.node.station import Station
from comity.node.works import check_work, only_set, work_record
from comity.storage.ports import Attempt, Ending
from comity.values import DatasetId, MemberId
from tests.commons.rounds_world import Rounds
from tests.worlds import FIRST_S, digest, keys_of

ROWS, VERSION = DatasetId("data-of-member-b"), digest("1")


@pytest.fixture(scope="module")
def opened() -> Opened:
    """An attempt of four members."""
    r = Rounds.of(4)
    r.done(r.host, r.open())
    return r.opened


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    """The open folder of member-b; its host is never asked."""
    member, charter = MemberId("member-b"), Rounds.of(4).world.charter
    keys = keys_of(member)
    (tmp_path / "charter.json").write_bytes(charter_bytes(charter))
    settings = NodeSettings(member=member, host_url="http://127.0.0.1:9")
    write_node_settings(tmp_path / "node.toml", settings)
    mine = MemberKeys(keys.statement, keys.head, keys.host, keys.model)
    station = open_station(tmp_path, mine, clock=lambda: FIRST_S)
    yield station
    station.close()


def remember(
    station: Station, opened: Opened, ending: Ending, *, whole: bool = True, committed: bool = True
) -> None:
    """An earlier attempt with this work; whole: its set is known, that of the whole roster."""
    scope = Attempt(opened.study, opened.round_no, opened.attempt)
    record = work_record(
        opened,
        scope,
        ROWS,
        VERSION,
        committed=committed,
        survivors=frozenset(opened.roster) if whole else None,
        ending=ending,
    )
    station.journal.record_work(record)


def refusal(station: Station, opened: Opened) -> Rule | None:
    try:
        check_work(station, opened, ROWS, VERSION)
    except Refused as refused:
        return refused.rule
    return None


def without(opened: Opened, count: int = 1) -> Opened:
    """The same work, opened without the last members."""
    return replace(opened, attempt=opened.attempt + 1, roster=opened.roster[:-count])


@pytest.mark.parametrize("ending", [Ending.ACCEPTED, Ending.BURNED])
def test_attack_45_what_was_summed_is_not_summed_without_somebody(
    station: Station, opened: Opened, ending: Ending
) -> None:
    assert refusal(station, without(opened)) is None
    remember(station, opened, ending)
    assert refusal(station, without(opened)) is Rule.WORK_SUMMED_BEFORE
    # The same members may repeat it, and it is confirmed over that very set only.
    assert refusal(station, replace(opened, attempt=opened.attempt + 1)) is None
    assert only_set(station, opened, ROWS, VERSION) == frozenset(opened.roster)


def test_attack_45_an_attempt_that_may_still_end_somehow_blocks_its_work(
    station: Station, opened: Opened
) -> None:
    remember(station, opened, Ending.OPEN, whole=False)
    for again in (without(opened), replace(opened, attempt=opened.attempt + 1)):
        assert refusal(station, again) is Rule.WORK_SUMMED_BEFORE


def test_a_burned_attempt_whose_set_nobody_named_blocks_its_work(
    station: Station, opened: Opened
) -> None:
    remember(station, opened, Ending.BURNED, whole=False)
    assert refusal(station, opened) is Rule.WORK_SUMMED_BEFORE


def test_an_attempt_that_a_later_history_never_started_blocks_what_was_committed_in_it(
    station: Station, opened: Opened
) -> None:
    remember(station, opened, Ending.UNSTARTED, whole=False)
    assert refusal(station, without(opened)) is Rule.WORK_SUMMED_BEFORE


def test_what_can_never_be_revealed_blocks_nothing(station: Station, opened: Opened) -> None:
    remember(station, opened, Ending.SEALED, whole=False)
    assert refusal(station, without(opened)) is None
    assert only_set(station, opened, ROWS, VERSION) is None


def test_other_work_other_data_and_bystanders_are_free(station: Station, opened: Opened) -> None:
    remember(station, opened, Ending.ACCEPTED)
    other = replace(without(opened), work=digest("other work"))
    assert refusal(station, other) is None
    check_work(station, without(opened), ROWS, digest("2"))


def test_who_only_stood_by_is_free(station: Station, opened: Opened) -> None:
    remember(station, opened, Ending.ACCEPTED, committed=False)
    assert refusal(station, without(opened)) is None
