"""A newcomer checks everything before it says anything; each lie of a host has its refusal.

Attacks 5, 6 and 8 of the log, and a host of another commons. After every refusal the newcomer's
folder holds what it held before: no log, no journal, and nothing was signed but wishes to read.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comity.commons.charter import charter_bytes
from comity.errors import (
    ComityError,
    Forged,
    HostFault,
    HostFaultKind,
    Malformed,
    Misconfigured,
    Refused,
    Rule,
    Unavailable,
)
from comity.log.heads import TreeHead, sign_head
from comity.log.merkle import Tree, leaf_hash
from comity.node.answers import Batch, PublishedHead
from comity.node.applying import check_application, make_application, read_application
from comity.node.beginning import join
from comity.node.founding import make_ready, own_identity
from comity.node.keyfile import MemberKeys, make_keys
from comity.node.leaving import FOLDER as LEDGER
from comity.node.remote import Remote
from comity.node.settings import NodeSettings
from comity.release.anchor import Anchor
from comity.storage.journal import SqliteJournal
from tests.e2e.places import Place, found_places
from tests.node.newcomers import NEW, Newcomer, admit, anchor_now, applying
from tests.node.test_succession import founded

Lie = Callable[[Batch], Batch]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Newcomer, Batch]]:
    """A commons of four that has admitted a fifth, and the log as its host showed it before."""
    with founded(tmp_path_factory.mktemp("admitted")) as commons:
        new = applying(commons)
        before = commons.desk(1).station.remote.entries(0)
        admit(commons)
        yield new, before


@pytest.fixture
def new(told: tuple[Newcomer, Batch]) -> Newcomer:
    return told[0]


def refused(
    new: Newcomer,
    monkeypatch: pytest.MonkeyPatch,
    lie: Lie,
    *,
    late_s: int = 0,
    anchor: Anchor | None = None,
) -> ComityError:
    """What the newcomer says to this lie, having said and kept nothing."""
    true_entries = Remote.entries

    def entries(remote: Remote, *words: int, **named: bool) -> Batch:
        return lie(true_entries(remote, *words, **named))

    def speaks(*_: object, **__: object) -> object:
        raise AssertionError("a newcomer says nothing before it has checked everything")

    with monkeypatch.context() as bent:
        bent.setattr(Remote, "entries", entries)
        bent.setattr(Remote, "post_statements", speaks)
        bent.setattr(Remote, "post_cosignature", speaks)
        with pytest.raises(ComityError) as caught:
            new.join(late_s=late_s, anchor=anchor)
    assert new.left() <= {LEDGER}  # that it asked stays noted
    return caught.value


def kind_of(error: ComityError) -> HostFaultKind:
    assert isinstance(error, HostFault), error
    return error.kind


def rule_of(error: ComityError) -> Rule:
    assert isinstance(error, Refused), error
    return error.rule


def from_start(batch: Batch, leaves: tuple[bytes, ...], *heads: PublishedHead) -> Batch:
    """These entries from the one asked for, under these heads."""
    return replace(batch, entries=leaves[batch.start :], heads=heads or batch.heads)


def test_a_log_cut_off_below_the_anchor_is_refused(
    told: tuple[Newcomer, Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    new, before = told
    anchor = anchor_now(new.commons)
    error = refused(
        new, monkeypatch, lambda b: from_start(b, before.entries, *before.heads), anchor=anchor
    )
    assert kind_of(error) is HostFaultKind.ROLLBACK


def test_a_log_of_before_the_admission_makes_nobody_a_member(
    told: tuple[Newcomer, Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    new, before = told
    error = refused(new, monkeypatch, lambda b: from_start(b, before.entries, *before.heads))
    assert rule_of(error) is Rule.UNKNOWN_AUTHOR


def test_attack_8_another_history_than_the_anchors_is_refused(
    new: Newcomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swapped(batch: Batch) -> Batch:
        first, second, *rest = batch.entries
        return replace(batch, entries=(second, first, *rest))

    assert kind_of(refused(new, monkeypatch, swapped)) is HostFaultKind.SPLIT_VIEW


def test_a_forged_entry_above_the_anchor_is_refused(
    new: Newcomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(batch: Batch) -> Batch:
        return replace(batch, entries=(*batch.entries[:-1], batch.entries[-1] + b" "))

    assert isinstance(refused(new, monkeypatch, changed), Forged)


def test_an_entry_that_must_not_be_there_is_refused_although_the_host_signed_it(
    new: Newcomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    host_key = new.commons.places.host.keys.host

    def twice(batch: Batch) -> Batch:
        leaves = (*batch.entries, batch.entries[-1])
        tree = Tree(leaf_hash(leaf) for leaf in leaves)
        origin = new.anchor.origin
        note = sign_head(TreeHead(origin, tree.size, tree.root()), host_key).note()
        return from_start(batch, leaves, PublishedHead(note, ()))

    assert kind_of(refused(new, monkeypatch, twice)) is HostFaultKind.INADMISSIBLE


def test_attack_5_a_head_without_its_entries_is_refused(
    new: Newcomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refused(new, monkeypatch, lambda b: replace(b, entries=b.entries[:-1][: 8 - b.start]))
    assert kind_of(error) is HostFaultKind.WITHHELD


def test_entries_without_end_are_not_read_to_the_end(
    new: Newcomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    host_key = new.commons.places.host.keys.host
    note = sign_head(TreeHead(new.anchor.origin, 10**9, bytes(32)), host_key).note()

    asked: list[int] = []

    def endless(batch: Batch) -> Batch:
        asked.append(batch.start)
        fat = (b"x" * 60_000,) * 20 if len(asked) > 1 else ()
        return replace(batch, entries=fat, heads=(PublishedHead(note, ()),))

    monkeypatch.setattr("comity.node.bootstrap.BYTES_MAX", 2**20)
    error = refused(new, monkeypatch, endless)
    assert isinstance(error, Malformed) and "ask another member" in str(error)


def test_a_head_that_nobody_stands_for_is_waited_for(
    new: Newcomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alone(batch: Batch) -> Batch:
        return replace(batch, heads=tuple(replace(h, cosignatures=()) for h in batch.heads))

    assert isinstance(refused(new, monkeypatch, alone), Unavailable)


def test_attack_6_an_old_head_is_refused(new: Newcomer, monkeypatch: pytest.MonkeyPatch) -> None:
    late_s = NodeSettings(member=NEW, host_url=new.commons.world.server.url).head_age_s_max + 240
    monkeypatch.setattr("comity.web.readers.CLOCKS_APART_S_MAX", late_s + 600)
    assert rule_of(refused(new, monkeypatch, lambda b: b, late_s=late_s)) is Rule.HEAD_STALE


def test_the_anchor_and_the_charter_are_of_one_commons(new: Newcomer, tmp_path: Path) -> None:
    other = found_places(tmp_path / "other", ["x", "y", "z"], table=b"x\n1\n").charter
    settings = NodeSettings(member=NEW, host_url=new.commons.world.server.url)
    with pytest.raises(Refused) as caught:
        join(new.folder, other, new.anchor, settings, new.keys)
    assert caught.value.rule is Rule.WRONG_COMMONS and new.left() <= {LEDGER}


def test_a_host_of_another_commons_is_refused(new: Newcomer, tmp_path: Path) -> None:
    with founded(tmp_path / "other", 3) as other, pytest.raises(Refused) as caught:
        new.join(url=other.world.server.url)
    assert caught.value.rule is Rule.WRONG_COMMONS and new.left() <= {LEDGER}


def test_who_is_admitted_with_other_keys_is_refused(
    new: Newcomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wish to read is signed with the admitted key; the folder holds others beside it."""
    mine = new.keys
    mixed = MemberKeys(mine.statement, make_keys().head, mine.host, mine.model)
    other = replace(new, keys=mixed)
    assert rule_of(refused(other, monkeypatch, lambda b: b)) is Rule.KEYS_NOT_IN_FORCE


def copied(new: Newcomer, folder: Path) -> Newcomer:
    """The same newcomer, about to begin somewhere else."""
    return replace(new, folder=Path(shutil.copytree(new.folder, folder / NEW)))


def test_with_everything_checked_the_node_starts_where_the_others_are(
    told: tuple[Newcomer, Batch], tmp_path: Path
) -> None:
    new = copied(told[0], tmp_path)
    begun = new.join()
    state = new.commons.desk(1).state
    assert (begun.epoch, begun.count, begun.said) == (1, 5, 1)
    assert begun.final_size >= state.epoch.size
    place = Place(NEW, new.folder, new.keys, new.folder / "none.csv")
    station = place.open(new.commons.world.server.url)
    try:
        assert station.replica.state.keys == state.keys
        assert station.journal.last_said() == (0, state.changes.applications[NEW].id)
    finally:
        station.close()
    with pytest.raises(Refused) as caught:
        new.join()
    assert caught.value.rule is Rule.SAID_BEFORE, "a node begins once"


def test_half_a_copy_never_becomes_the_log(
    told: tuple[Newcomer, Batch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another program reads it, SQLite leaves what was written last beside the file."""
    new = copied(told[0], tmp_path)
    readers: list[sqlite3.Connection] = []

    def make_ready_while_read(folder: Path, *words: object, **named: object) -> object:
        (path,) = folder.glob(".reading-*/log.sqlite")
        readers.append(sqlite3.connect(path))
        readers[0].execute("BEGIN")
        readers[0].execute("SELECT count(*) FROM entry").fetchone()
        return make_ready(folder, *words, **named)  # type: ignore[arg-type]  # passed on

    with monkeypatch.context() as bent:
        bent.setattr("comity.node.beginning.make_ready", make_ready_while_read)
        with pytest.raises(Unavailable, match="another program"):
            new.join()
    readers[0].close()
    assert not (new.folder / "log.sqlite").exists()
    assert new.join().count == 5, "and again, once nobody reads there"


def test_a_node_without_a_checked_log_does_not_start(new: Newcomer, tmp_path: Path) -> None:
    folder = tmp_path / NEW
    folder.mkdir()
    (folder / "charter.json").write_bytes(charter_bytes(new.commons.places.charter))
    place = Place(NEW, folder, new.keys, folder / "none.csv")
    with pytest.raises(Misconfigured, match="commons join"):
        place.open(new.commons.world.server.url)
    SqliteJournal(folder).close()  # nothing holds its files


# -- applications --------------------------------------------------------------------------------


def test_an_application_is_signed_once(new: Newcomer) -> None:
    public, charter = own_identity(new.folder), new.commons.places.charter
    first = make_application(new.folder, charter, public, new.keys, clock=lambda: 1)
    again = make_application(new.folder, charter, public, new.keys, clock=lambda: 2, name="Other")
    assert first == again


def test_a_founder_and_another_commons_have_no_application(new: Newcomer, tmp_path: Path) -> None:
    public = own_identity(new.folder)
    other = found_places(tmp_path / "other", [NEW, "y", "z"], table=b"x\n1\n").charter
    third = found_places(tmp_path / "third", ["x", "y", "z"], table=b"x\n1\n").charter
    for charter, why in ((other, "is a founder"), (third, "another commons")):
        with pytest.raises(Misconfigured, match=why):
            make_application(new.folder, charter, public, new.keys)
    with pytest.raises(Misconfigured, match="other keys"):
        make_application(new.folder, third, public, make_keys())


def test_what_is_no_application_is_refused(new: Newcomer, told: tuple[Newcomer, Batch]) -> None:
    envelope, said, key_set = read_application(new.folder / f"{NEW}.apply.json")
    assert (said.author, key_set.member) == (NEW, NEW)
    with pytest.raises(Malformed):
        check_application(envelope + b" ")
    with pytest.raises(Malformed, match=r"member\.apply"):
        check_application(told[1].entries[0])
    at = envelope.index(b'"sig":"') + 9
    flipped = envelope[:at] + (b"A" if envelope[at : at + 1] != b"A" else b"B") + envelope[at + 1 :]
    with pytest.raises(Forged):
        check_application(flipped)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    at=st.integers(min_value=0, max_value=3_000), put=st.binary(max_size=4), cut=st.integers(0, 4)
)
def test_any_changed_application_is_malformed_or_forged(
    new: Newcomer, at: int, put: bytes, cut: int
) -> None:
    envelope, _, _ = read_application(new.folder / f"{NEW}.apply.json")
    changed = envelope[:at] + put + envelope[at + cut :]
    if changed != envelope:
        with pytest.raises((Malformed, Forged)):
            check_application(changed)
