"""New keys, and keys in wrong hands: what signs, from which entry on, and what is said again.

Attacks 14 to 16 of the log: a stolen, retired or revoked key signs nothing that counts.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from comity.errors import Forged, Misconfigured, Refused, Rule
from comity.node import governing, rotating, wishes
from comity.node.founding import KEYS, key_set_of, possession_of
from comity.node.keyfile import Unencrypted, load_keys, write_keys
from comity.node.loop import Loop
from comity.node.opening import open_own
from comity.node.rotating import KEYS_NEXT, OwnKeys, load_own_keys, make_coming_keys
from comity.statements.governing import Seen
from comity.statements.membership import EpochApprove
from comity.statements.wire import Draft, read, sign
from comity.values import StatementId
from tests.commons.changes import rotate_body
from tests.e2e.steps import Desk
from tests.node.test_succession import Commons, founded

PLAIN = Unencrypted.ON_PURPOSE


def with_files(commons: Commons, number: int) -> OwnKeys:
    """A member with its key file on disk, and new keys beside it."""
    desk = commons.desk(number)
    desk.place.folder.chmod(0o700)
    write_keys(desk.place.folder / KEYS, desk.place.keys, passphrase=PLAIN)
    return make_coming_keys(desk.place.folder, passphrase=PLAIN)


def claim(commons: Commons, number: int, own: OwnKeys) -> StatementId:
    """The member says its new keys; logged, and heard by all."""
    desk = commons.desk(number)
    assert own.coming is not None
    key_set = key_set_of(desk.member, own.coming, 1)
    said = rotating.rotate(desk.station, key_set, possession_of(key_set, own.coming)).statement
    again = rotating.rotate(desk.station, key_set, possession_of(key_set, own.coming)).statement
    assert again == said, "said once, however often it is asked for"
    heard(commons, desk)
    return said


def heard(commons: Commons, desk: Desk) -> None:
    desk.station.deliver()
    for each in commons.world.desks:
        each.sync()


def open_both(desk: Desk, own: OwnKeys) -> None:
    """Start the node as `comity node run` does, with both key files."""
    desk.station = open_own(desk.place.folder, own, clock=desk.clock)
    desk.loop, desk.closed = Loop(desk.station), False


def approve(commons: Commons, *numbers: int) -> None:
    """These approve the newest pending epoch; the last one puts it in force for all."""
    for number in numbers:
        desk = commons.desk(number)
        epoch = desk.state.changes.pending[-1].epoch
        desk.station.say(EpochApprove(document=epoch.digest, epoch=epoch.number))
        heard(commons, desk)


def final(commons: Commons, *numbers: int) -> None:
    """These cosign until the newest head is final for them."""
    desks = [commons.desk(number) for number in numbers]
    size = desks[0].state.size
    for _ in range(40):
        for desk in desks:
            desk.step()
        if all(desk.station.replica.final_size >= size for desk in desks):
            return
    raise AssertionError([desk.station.faults for desk in desks])


def test_retired_keys_sign_nothing_and_what_waited_is_signed_again(tmp_path: Path) -> None:
    with founded(tmp_path) as commons:
        own, desk = with_files(commons, 3), commons.desk(3)
        claim(commons, 3, own)
        waits = wishes.declare_dataset(desk.station, "rows-3", desk.place.table).statement
        approve(commons, 0, 1, 2)
        assert rotating.has_other_keys(desk.station)
        before = desk.station.journal.last_cosigned()
        with pytest.raises(Refused) as refused:
            desk.station.say(Seen())
        assert refused.value.rule is Rule.KEYS_NOT_IN_FORCE
        commons.world.clock.now_s += 60
        desk.loop._cosigner.cosign()
        assert desk.station.journal.last_cosigned() == before, "its old head key is retired"
        desk.close()
        station = open_own(desk.place.folder, own, clock=commons.world.clock)
        assert own.coming is not None
        assert station.keys.public_statement == own.coming.public_statement
        assert (desk.place.folder / KEYS_NEXT).exists(), "not final yet: both files stay"
        station.deliver()
        commons.desk(0).sync()
        assert "rows-3" in commons.desk(0).state.datasets
        assert commons.desk(0).state.authors[desk.member].last == waits, "the same statement"
        station.close()
        final(commons, 0, 1, 2)
        open_both(desk, own)
        desk.sync()
        assert load_own_keys(desk.place.folder, passphrase=PLAIN).coming is None, "adopted"
        adopted = load_keys(desk.place.folder / KEYS, passphrase=PLAIN)
        assert adopted.public_head == own.coming.public_head
        commons.world.clock.now_s += 60
        desk.step()
        last = desk.station.journal.last_cosigned()
        assert last is not None and before is not None and last[0] > before[0]


def test_who_was_away_when_its_new_keys_came_into_force_reads_with_them(tmp_path: Path) -> None:
    """It knows of no new epoch yet, and the host knows its old key no more."""
    with founded(tmp_path) as commons:
        own, desk = with_files(commons, 3), commons.desk(3)
        claim(commons, 3, own)
        desk.close()
        others = commons.world.desks
        commons.world.desks = [each for each in others if each is not desk]
        approve(commons, 0, 1, 2)
        desk.open()
        with pytest.raises(Forged) as unread:
            desk.sync()
        desk.loop._unread(unread.value)
        assert desk.loop.keys_changed, "there are keys in the folder that it has not opened"
        desk.close()
        open_both(desk, own)
        desk.sync()
        assert rotating.has_other_keys(desk.station), "and it goes on with them"
        commons.world.desks = others


def test_new_keys_are_taken_into_use_by_a_node_that_was_rebuilt_meanwhile(tmp_path: Path) -> None:
    with founded(tmp_path) as commons:
        own, desk = with_files(commons, 3), commons.desk(3)
        claim(commons, 3, own)
        desk.close()
        open_both(desk, own)
        desk.station.journal.put("keys/both", b"")  # a new journal does not have it
        approve(commons, 0, 1, 2)
        assert rotating.has_other_keys(desk.station), "they lie beside those in use"
        desk.close()
        open_both(desk, own)
        assert desk.station.keys is own.coming and not rotating.has_other_keys(desk.station)


def test_a_node_whose_new_key_file_is_gone_says_so_and_does_not_start(tmp_path: Path) -> None:
    with founded(tmp_path) as commons:
        own, desk = with_files(commons, 3), commons.desk(3)
        claim(commons, 3, own)
        approve(commons, 0, 1, 2)
        desk.close()
        with pytest.raises(Misconfigured, match=KEYS_NEXT):
            open_own(desk.place.folder, OwnKeys(own.now), clock=commons.world.clock)


def test_who_hosts_hands_over_before_it_rotates(tmp_path: Path) -> None:
    with founded(tmp_path) as commons:
        own = with_files(commons, 0)
        with pytest.raises(Refused) as refused:
            claim(commons, 0, own)
        assert refused.value.rule is Rule.WRONG_PARTY
        assert make_coming_keys(commons.desk(0).place.folder, passphrase=PLAIN).coming is not None


def test_new_keys_of_who_hosts_are_not_approved(tmp_path: Path) -> None:
    """The attack: a host asks for new keys; the approval that puts them in force is never logged,
    and its author is mute from there on."""
    with founded(tmp_path) as commons:
        host = commons.desk(0)
        host.station.say(rotate_body(host.member))
        heard(commons, host)
        for number in (1, 2, 3):
            station = commons.desk(number).station
            (pending,) = station.replica.state.changes.pending
            with pytest.raises(Refused) as refused:
                governing.approve(station, pending.epoch.digest[:12])
            assert refused.value.rule is Rule.WRONG_PARTY


def test_log_attack_15_revoked_keys_sign_nothing_more(tmp_path: Path) -> None:
    with founded(tmp_path) as commons:
        desk = commons.desk(3)
        said = rotating.revoke(commons.desk(1).station, desk.member, "its key file was copied")
        heard(commons, commons.desk(1))
        own = rotating.approve_own(commons.desk(1).station, said.statement)
        assert own.about == commons.desk(1).state.changes.pending[-1].epoch.digest
        heard(commons, commons.desk(1))
        assert rotating.approve_own(commons.desk(1).station, said.statement).about == own.about
        with pytest.raises(Refused) as refused:
            rotating.approve_own(commons.desk(2).station, StatementId("0" * 64))
        assert refused.value.rule is Rule.NO_SUCH_THING
        approve(commons, 0, 2)
        assert desk.member not in desk.state.keys
        with pytest.raises(Refused) as refused:
            desk.station.say(Seen())
        assert refused.value.rule is Rule.UNKNOWN_AUTHOR
        commons.world.clock.now_s += 60
        before = desk.station.journal.last_cosigned()
        desk.loop._cosigner.cosign()
        assert desk.station.journal.last_cosigned() == before
        author, view = desk.state.authors[desk.member], desk.station.replica.view.final
        draft = Draft(
            author=desk.member,
            commons=desk.state.commons,
            seq=author.seq + 1,
            prev=author.last,
            head_size=view.size,
            head_root=view.root,
            time_s=commons.world.clock.now_s,
            body=Seen(),
        )
        stolen = sign(draft, desk.place.keys.statement)
        posted = commons.desk(1).station.remote.post_statements([stolen])[0]
        assert isinstance(posted.error, Refused)
        assert posted.error.rule is Rule.UNKNOWN_AUTHOR
        with pytest.raises(Refused) as refused:
            rotating.revoke(commons.desk(1).station, desk.member, "again")
        assert refused.value.rule is Rule.NO_SUCH_THING


def test_signing_again_keeps_the_statement(tmp_path: Path) -> None:
    with founded(tmp_path, 3) as commons:
        desk = commons.desk(2)
        wishes.declare_dataset(desk.station, "rows-2", desk.place.table)
        (envelope,) = desk.station.journal.unlogged_waiting()
        other = commons.desk(1).place.keys
        rotating.sign_unlogged_again(desk.station.journal, desk.state, desk.member, other)
        (again,) = desk.station.journal.unlogged_waiting()
        assert read(again).statement == read(envelope).statement
        assert read(again).keyid != read(envelope).keyid
