"""The journal by itself: every promise in every order, kills at every commit point, erasure."""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from comity.errors import HeadMoved, Refused, Rule
from comity.storage.journal import SqliteJournal
from comity.storage.ports import Attempt, Ending, SaidBefore, WorkRecord
from comity.storage.promises import NOT_AFTER_ABANDON
from comity.values import DatasetId, Digest, MemberId, StatementId
from tests.storage.crashes import run_script
from tests.storage.journals import refused, say
from tests.storage.samples import HERE, NEXT, SECRET, an_id


def test_what_was_said_is_there_after_opening_again(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path)
    assert journal.last_said() is None
    said = [say(journal, "seen", scope=None), say(journal, "round.join")]
    journal.close()
    journal = SqliteJournal(tmp_path)
    assert journal.waiting() == said
    assert journal.last_said() == (1, an_id(1))
    assert journal.promised(HERE) == {"round.join": an_id(1)}
    assert journal.promised(NEXT) == {}
    assert journal.said(an_id(1)) == said[1]
    assert journal.holds(an_id(0))
    assert not journal.holds(an_id(9))
    assert journal.said(an_id(9)) is None


def test_the_outbox_empties_only_below_a_final_head(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path)
    first, second, third = (say(journal, "seen", scope=None) for _ in range(3))
    journal.logged(an_id(0), 4)
    journal.logged(an_id(1), 7)
    assert journal.waiting() == [first, second, third]
    journal.settled(7)
    assert journal.waiting() == [second, third]
    journal.settled(8)
    assert journal.waiting() == [third]
    assert journal.holds(an_id(0))
    assert journal.said(an_id(0)) is None


def test_attack_11_no_two_statements_of_one_seq(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path)
    say(journal, "seen", scope=None)
    for seq in (0, 2):
        with pytest.raises(HeadMoved, match="has seq 1"):
            journal.say(b"other", statement_id=an_id(9), seq=seq, tag="seen")
    assert journal.waiting() == [b"0 seen"]


@pytest.mark.parametrize("tag", sorted(NOT_AFTER_ABANDON - {"round.recover"}))
def test_r1_each_statement_once_per_attempt(tmp_path: Path, tag: str) -> None:
    journal = SqliteJournal(tmp_path)
    first = say(journal, tag)
    with pytest.raises(SaidBefore) as before:
        say(journal, tag)
    assert before.value.rule is Rule.SAID_BEFORE
    assert before.value.statement_id == an_id(0)
    assert journal.waiting() == [first]
    assert journal.last_said() == (0, an_id(0))
    say(journal, tag, scope=NEXT)


@pytest.mark.parametrize("tag", sorted(NOT_AFTER_ABANDON))
def test_r3_nothing_after_abandon(tmp_path: Path, tag: str) -> None:
    journal = SqliteJournal(tmp_path)
    say(journal, "round.abandon", released=False)
    refused(journal, Rule.AFTER_ABANDON, tag)
    say(journal, "round.reveal", scope=NEXT)


@pytest.mark.parametrize("revealed", [True, False])
def test_r3_abandon_is_truthful(tmp_path: Path, revealed: bool) -> None:
    journal = SqliteJournal(tmp_path)
    if revealed:
        say(journal, "round.reveal")
    refused(journal, Rule.NOT_TRUTHFUL, "round.abandon", released=not revealed)
    say(journal, "round.abandon", released=revealed)


def test_r2_recover_comes_after_ones_own_reveal(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path)
    refused(journal, Rule.PHASE_NOT_OPEN, "round.recover")
    say(journal, "round.reveal")
    say(journal, "round.recover")


def test_r8_a_restored_node_stays_out_of_marked_attempts(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path)
    journal.mark_amnesia([HERE, HERE])
    assert journal.has_amnesia(HERE)
    assert not journal.has_amnesia(NEXT)
    refused(journal, Rule.AMNESIA, "round.confirm")
    say(journal, "round.confirm", scope=NEXT)


def test_attack_4_a_restored_journal_notices_and_takes_its_chain_up(tmp_path: Path) -> None:
    """A backup is put back; the log then shows a statement that the backup does not hold."""
    old, live = tmp_path / "old", tmp_path / "live"
    live.mkdir()
    journal = SqliteJournal(live)
    say(journal, "seen", scope=None)
    journal.close()
    shutil.copytree(live, old)
    journal = SqliteJournal(live)
    say(journal, "round.confirm")
    journal.close()
    journal = SqliteJournal(old)
    with pytest.raises(Refused) as refusal:
        journal.logged(an_id(1), 12)
    assert refusal.value.rule is Rule.AMNESIA
    with pytest.raises(HeadMoved):
        journal.recall(an_id(2), seq=2, tag="seen", scope=None, index=13)
    for _ in range(2):
        journal.recall(an_id(1), seq=1, tag="round.confirm", scope=HERE, index=12)
    journal.recall(an_id(2), seq=2, tag="round.confirm", scope=HERE, index=13)
    assert journal.last_said() == (2, an_id(2))
    refused(journal, Rule.SAID_BEFORE, "round.confirm")


def test_a_scope_is_for_rounds_and_only_for_them(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path)
    for tag, scope, released in (
        ("round.confirm", None, None),
        ("seen", HERE, None),
        ("round.abandon", HERE, None),
        ("round.reveal", HERE, True),
    ):
        with pytest.raises(AssertionError):
            say(journal, tag, scope=scope, released=released)
    assert journal.last_said() is None


def test_statement_stage_and_work_are_written_together(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path)
    work = a_work(committed=True)
    journal.say(
        b"commit",
        statement_id=an_id(0),
        seq=0,
        tag="round.commit",
        scope=HERE,
        stage=SECRET,
        works=[work],
    )
    assert journal.stage(HERE) == SECRET
    assert journal.works(work.dataset, work.version, work.work) == [work]
    with pytest.raises(SaidBefore):
        journal.say(
            b"another",
            statement_id=an_id(1),
            seq=1,
            tag="round.commit",
            scope=HERE,
            stage=b"new secrets",
            works=[a_work(confirmed=True)],
        )
    assert journal.stage(HERE) == SECRET
    assert journal.works(work.dataset, work.version, work.work) == [work]


def a_work(
    *,
    committed: bool = False,
    confirmed: bool = False,
    survivors: frozenset[MemberId] | None = None,
    ending: Ending = Ending.OPEN,
) -> WorkRecord:
    return WorkRecord(
        DatasetId("scans"),
        Digest("11" * 32),
        Digest("22" * 32),
        HERE,
        Digest("33" * 32),
        3,
        committed=committed,
        confirmed=confirmed,
        survivors=survivors,
        ending=ending,
    )


def test_a_recorded_step_is_never_unrecorded(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path)
    three = frozenset(MemberId(name) for name in ("a", "b", "c"))
    journal.record_work(a_work(committed=True))
    journal.record_work(a_work(confirmed=True, survivors=three))
    journal.record_work(a_work(ending=Ending.BURNED), a_work()._replace(attempt=NEXT))
    found = journal.works(DatasetId("scans"), Digest("11" * 32), Digest("22" * 32))
    whole = a_work(committed=True, confirmed=True, survivors=three, ending=Ending.BURNED)
    assert sorted(found) == sorted([whole, a_work()._replace(attempt=NEXT)])
    assert journal.works(DatasetId("scans"), Digest("11" * 32), Digest("00" * 32)) == []


def test_cosigned_is_compared_and_set(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path)
    five, six = (5, b"a" * 32), (6, b"b" * 32)
    assert journal.last_cosigned() is None
    with pytest.raises(HeadMoved):
        journal.cosigned(five, six)
    journal.cosigned(None, five)
    with pytest.raises(HeadMoved):
        journal.cosigned(None, five)
    journal.cosigned(five, six)
    for back in (five, (6, b"c" * 32)):
        with pytest.raises(AssertionError):
            journal.cosigned(six, back)
    journal.close()
    assert SqliteJournal(tmp_path).last_cosigned() == six


def test_of_many_threads_one_cosigns_and_one_says(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path)
    outcomes: list[str] = []

    def race(number: int) -> None:
        try:
            journal.cosigned(None, (1, bytes([number]) * 32))
            outcomes.append("cosigned")
        except HeadMoved:
            outcomes.append("moved")
        try:
            mine = StatementId(f"{number:064x}")
            journal.say(b"x", statement_id=mine, seq=0, tag="round.confirm", scope=HERE)
            outcomes.append("said")
        except SaidBefore:
            outcomes.append("refused")

    racers = [threading.Thread(target=race, args=(number,)) for number in range(6)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sorted(outcomes) == ["cosigned"] + ["moved"] * 5 + ["refused"] * 5 + ["said"]


COSIGNER = """
import sys
from pathlib import Path
from comity.errors import HeadMoved
from comity.storage.journal import SqliteJournal
journal = SqliteJournal(Path(sys.argv[1]))
(Path(sys.argv[1]) / "node.sqlite.lock").unlink()
try:
    journal.cosigned(None, (1, sys.argv[2].encode() * 32))
    print("cosigned")
except HeadMoved:
    print("moved")
"""


def test_two_processes_on_one_journal_never_cosign_two_heads(tmp_path: Path) -> None:
    """The lock file was deleted, so both have it open; the compare-and-set still holds."""
    journal = SqliteJournal(tmp_path)
    (tmp_path / "node.sqlite.lock").unlink()
    told = run_script(COSIGNER, str(tmp_path), "a")
    assert told.stdout == "cosigned\n", told.stderr
    with pytest.raises(HeadMoved):
        journal.cosigned(None, (1, b"b" * 32))


def test_settings_are_remembered(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path)
    assert journal.get("anchor") is None
    journal.put("anchor", b"1")
    journal.put("anchor", b"2")
    assert journal.get("anchor") == b"2"


TAGS = ["round.join", "round.confirm", "round.reveal", "round.recover", "round.abandon"]


class Promises(RuleBasedStateMachine):
    """Any order of statements, secrets and restarts keeps R1 to R3 and loses nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.journal = SqliteJournal(self.folder)
        self.said: dict[Attempt, list[str]] = {HERE: [], NEXT: []}
        self.sent: list[bytes] = []
        self.stages: dict[Attempt, bytes] = {}

    @rule(tag=st.sampled_from(TAGS), scope=st.sampled_from([HERE, NEXT]), released=st.booleans())
    def say(self, tag: str, scope: Attempt, released: bool) -> None:
        before = self.said[scope]
        allowed = (
            tag not in before
            and "round.abandon" not in before
            and (tag != "round.recover" or "round.reveal" in before)
            and (tag != "round.abandon" or released == ("round.reveal" in before))
        )
        told = released if tag == "round.abandon" else None
        if allowed:
            self.sent.append(say(self.journal, tag, scope=scope, released=told))
            before.append(tag)
        else:
            with pytest.raises(Refused):
                say(self.journal, tag, scope=scope, released=told)

    @rule(scope=st.sampled_from([HERE, NEXT]), stage=st.binary(max_size=40))
    def keep(self, scope: Attempt, stage: bytes) -> None:
        self.journal.keep(scope, stage)
        self.stages[scope] = stage

    @rule(scope=st.sampled_from([HERE, NEXT]))
    def erase(self, scope: Attempt) -> None:
        self.journal.erase(scope)
        self.stages.pop(scope, None)

    @rule()
    def restart(self) -> None:
        self.journal.close()
        self.journal = SqliteJournal(self.folder)

    @invariant()
    def remembers_all(self) -> None:
        assert self.journal.waiting() == self.sent
        for scope, tags in self.said.items():
            assert set(self.journal.promised(scope)) == set(tags)
            assert self.journal.stage(scope) == self.stages.get(scope)
        assert len(list((self.folder / "round-keys").iterdir())) == len(self.stages)

    def teardown(self) -> None:
        self.journal.close()
        shutil.rmtree(self.folder)


Promises.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestPromises = Promises.TestCase
