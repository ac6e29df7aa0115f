"""New keys for this member: made, written, said, taken into use, and the old ones destroyed.

Two files: `keys.pem`, and beside it `keys.next.pem` from before the new keys are said until the
epoch with them is final. So at every moment the keys that the log needs are on disk, and which of
the two a node uses follows from the log: those of the epoch in force. Once that epoch is final the
new file takes the place of the old one, whose bytes are overwritten (log-and-provenance.md 3.3).
What was said and is not logged when keys change is signed again: the same statement, by id.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import msgspec

from comity.commons.state import State
from comity.errors import Refused, Rule
from comity.node.founding import KEYS, public_keys_of
from comity.node.keyfile import MemberKeys, Unencrypted, load_keys, make_keys, write_keys
from comity.node.station import Station
from comity.node.wishes import Said, say_once
from comity.statements.governing import KeySet, Possession
from comity.statements.keysets import key_set_digest
from comity.statements.membership import EpochApprove, KeysRevoke, KeysRotate
from comity.statements.wire import keyid_of, read, sign_again
from comity.storage.disk import DiskFaults, sync_folder
from comity.storage.journal import SqliteJournal
from comity.values import Digest, MemberId, StatementId

KEYS_NEXT: Final = "keys.next.pem"
_BOTH: Final = "keys/both"
"""Setting of the journal: digests of the key sets, old and new, between which this node changes."""

LOG = logging.getLogger(__name__)


@final
@dataclass(frozen=True, slots=True)
class OwnKeys:
    """The keys of a folder. coming: those of `keys.next.pem`; None when there is none."""

    now: MemberKeys
    coming: MemberKeys | None = None

    @property
    def newest_first(self) -> tuple[MemberKeys, ...]:
        """Both, or the one there is."""
        return (self.now,) if self.coming is None else (self.coming, self.now)


def load_own_keys(folder: Path, *, passphrase: bytes | Unencrypted) -> OwnKeys:
    """The keys of a folder; one passphrase opens both files. Raises as `load_keys`."""
    now = load_keys(folder / KEYS, passphrase=passphrase)
    coming = folder / KEYS_NEXT
    return OwnKeys(now, load_keys(coming, passphrase=passphrase) if coming.exists() else None)


def make_coming_keys(folder: Path, *, passphrase: bytes | Unencrypted) -> OwnKeys:
    """The keys of a folder, with new ones beside them on disk, which nobody has heard of yet.

    Those that an earlier command left there are taken. Raises as `load_keys` and `write_keys`.
    """
    own = load_own_keys(folder, passphrase=passphrase)
    if own.coming is not None:
        return own
    made = make_keys()
    write_keys(folder / KEYS_NEXT, made, passphrase=passphrase)
    return OwnKeys(own.now, made)


# -- a node --------------------------------------------------------------------------------------


def keys_in_force(state: State, member: MemberId, own: OwnKeys) -> MemberKeys:
    """Which of a folder's keys the epoch in force has; the older ones when it has neither."""
    held = state.keys.get(member)
    if own.coming is not None and held is not None and held.keys == public_keys_of(own.coming):
        return own.coming
    return own.now


def has_other_keys(station: Station) -> bool:
    """Whether the log has put the other of this folder's keys in force: open the folder again."""
    epoch = station.replica.state.epoch
    if station.keys_fit is epoch:
        return False
    held = epoch.keys.get(station.member)
    if held is None or held.keys == public_keys_of(station.keys):
        station.keys_fit = epoch
        return False
    # The journal of a node that was rebuilt does not know between which keys it changes.
    beside = station.coming is not None and held.keys == public_keys_of(station.coming)
    return beside or key_set_digest(held) in _changing_between(station.journal)


def has_unread_keys(station: Station) -> bool:
    """Whether new keys lie in the folder that this station does not know: open it again."""
    return station.coming is None and (station.folder / KEYS_NEXT).exists()


def sign_unlogged_again(
    journal: SqliteJournal, state: State, member: MemberId, keys: MemberKeys
) -> None:
    """Sign with the keys in force what was said with others and is in no log: the same statements.

    The copy of this state has these keys in force, so it holds all that was logged with others.
    """
    keyid, author = keyid_of(keys.public_statement), state.authors.get(member)
    for envelope in journal.unlogged_waiting():
        unverified = read(envelope)
        logged = author is not None and unverified.statement.seq <= author.seq
        if not logged and unverified.keyid != keyid:
            again = sign_again(envelope, keys.statement)
            journal.signed_again(unverified.statement.id, again)


def adopt_if_final(station: Station) -> None:
    """Once the epoch with the new keys is final, put them in the place of the old ones for good.

    Raises: Unavailable: the disk; both files stay, and it is tried again.
    """
    if station.coming is None or station.keys is not station.coming:
        return
    replica = station.replica
    held = replica.state.epoch_at(replica.final_size).keys.get(station.member)
    if held is None or held.keys != public_keys_of(station.keys):
        return
    coming, place = station.folder / KEYS_NEXT, station.folder / KEYS
    with DiskFaults(place), place.open("r+b") as left:
        size = os.fstat(left.fileno()).st_size
        # Die here, or on the next line: the node starts with the one file that has the keys.
        os.replace(coming, place)
        sync_folder(station.folder)
        left.write(b"\0" * size)
        left.flush()
        os.fsync(left.fileno())
    station.coming = None
    LOG.warning("new keys are final; the old ones are destroyed")


# -- saying --------------------------------------------------------------------------------------


def rotate(station: Station, key_set: KeySet, possession: Possession) -> Said:
    """Say keys.rotate; again changes nothing while that claim stands.

    Raises:
        Refused: WRONG_PARTY, this member hosts; SERIAL_NOT_NEXT, KEY_USED, POSSESSION_NOT_SHOWN.
    """
    state = station.replica.state
    for claim in state.changes.claims:
        if claim.author == station.member and claim.body == KeysRotate(key_set, possession):
            return Said(claim.id, _about(key_set), claim.index)
    if state.host == station.member:
        raise Refused(
            Rule.WRONG_PARTY,
            "this member hosts, and its host process holds the old host key alone: hand over first"
            " (`comity host handover`), then rotate",
        )
    held = state.keys.get(station.member)
    digests = (key_set_digest(held) if held else "", key_set_digest(key_set))
    # Die here: the node knows between which keys it changes, and has said nothing of them.
    station.journal.put(_BOTH, msgspec.json.encode(digests))
    return say_once(station, KeysRotate(key_set, possession), _about(key_set))


def revoke(station: Station, member: str, reason: str) -> Said:
    """Say that the keys of a member are in wrong hands. Raises Refused: NO_SUCH_THING, TOO_FEW."""
    held = station.replica.state.keys.get(MemberId(member))
    if held is None:
        raise Refused(Rule.NO_SUCH_THING, f"{member[:64]} is no member: `comity member list`")
    body = KeysRevoke(keys=key_set_digest(held), member=MemberId(member), reason=reason)
    return say_once(station, body, f"that the keys of {member} are in wrong hands")


def approve_own(station: Station, claimed: StatementId) -> Said:
    """Approve the epoch that rests on this member's own claim; again changes nothing.

    Returns:
        about: the digest of the epoch's document.
    Raises:
        Refused(NO_SUCH_THING): nothing pending rests on it.
    """
    changes = station.replica.state.changes
    for pending in changes.pending:
        claim = pending.claim
        if claim is not None and claim.id == claimed:
            if station.member in changes.approvals.get(pending.epoch.digest, ()):
                return Said(claimed, pending.epoch.digest, claim.index)
            body = EpochApprove(document=pending.epoch.digest, epoch=pending.epoch.number)
            return say_once(station, body, pending.epoch.digest)
    raise Refused(Rule.NO_SUCH_THING, "no pending epoch rests on it: it is in force, or void")


def _about(key_set: KeySet) -> str:
    return f"new keys {key_set_digest(key_set)[:16]}"


def _changing_between(journal: SqliteJournal) -> tuple[Digest, ...]:
    kept = journal.get(_BOTH)
    return msgspec.json.decode(kept, type=tuple[Digest, ...]) if kept else ()
