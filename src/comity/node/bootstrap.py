"""A verified copy of the log from nothing but keys, charter and anchor: a newcomer, a lost disk.

Decided here: what is checked before a node that begins (or begins again) says anything. The charter
is the one the anchor names; every entry is hashed, admitted and folded from the first; the root at
the anchor's size is the anchor's; the newest head is signed by whoever hosts after its entries and
cosigned, not long ago, by the members of the epoch in force; that epoch has this member with these
keys. Only then does anything appear in the node's folder. Nothing but wishes to read is signed.
Source: log-and-provenance.md 3.4, attacks 5, 6 and 8.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from comity.commons.charter import Charter, commons_id
from comity.commons.state import State
from comity.errors import HostFault, HostFaultKind, Malformed, Refused, Rule, Unavailable
from comity.log.heads import final_members, origin_of, parse_cosignature, parse_signed_head
from comity.log.merkle import Tree, leaf_hash
from comity.node.answers import PublishedHead
from comity.node.remote import Remote
from comity.node.replica import Replica
from comity.release.anchor import Anchor
from comity.statements.governing import PublicKeys
from comity.storage.disk import DiskFaults, sync_folder
from comity.values import MemberId

LOG_FILE: Final = "log.sqlite"
ENTRIES_MAX: Final = 1_000_000
"""Entries that are read, all held in memory until they are checked."""

BYTES_MAX: Final = 2 * 2**30
"""Bytes of them."""

_BESIDE: Final = ".reading-"


@contextmanager
def verified_log(
    folder: Path,
    charter: Charter,
    anchor: Anchor,
    sources: Sequence[Remote],
    *,
    member: MemberId,
    keys: PublicKeys,
    now_s: int,
    age_s_max: int,
) -> Iterator[Replica]:
    """Read the log, check all of it, and give the copy to the block, which may still refuse it.

    When the block ends well the copy becomes the log of the folder, durable on return; else
    nothing is left of it. About 0.3 ms an entry.

    Args:
        folder: the node's, without a log. sources: host or mirrors; all must show one history.
        keys: the public keys of this folder, which must be those in force.
        now_s: by this machine's clock. age_s_max: how old the newest cosigned head may be.
    Raises:
        Refused: WRONG_COMMONS, the anchor is of another charter; NOT_FOUNDED; UNKNOWN_AUTHOR, this
            member is not in the epoch in force; KEYS_NOT_IN_FORCE; HEAD_STALE.
        HostFault: ROLLBACK, the log is shorter than the anchor; SPLIT_VIEW, it is another one, or
            two sources show two; WITHHELD, a head without its entries; INADMISSIBLE.
        Forged, Malformed: a signature, a root or an answer that does not fit.
        Unavailable: nobody answers, or too few members have cosigned yet.
    """
    if (commons_id(charter), origin_of(commons_id(charter), charter.origin_prefix)) != (
        anchor.commons,
        anchor.origin,
    ):
        raise Refused(
            Rule.WRONG_COMMONS,
            f"the anchor is of commons {anchor.commons[:16]}, the charter is that of"
            f" {commons_id(charter)[:16]}: get both from members of one commons",
        )
    with DiskFaults(folder):
        for left in folder.glob(f"{_BESIDE}*"):
            shutil.rmtree(left)  # of a command that was killed
        beside = Path(tempfile.mkdtemp(prefix=_BESIDE, dir=folder))
    try:
        replica = Replica(beside / LOG_FILE, charter)
        try:
            shown: list[PublishedHead] = []
            for remote in sources:
                shown += _read(replica, remote, anchor)
            _check_membership(replica.state, member, keys)
            _check_cosigned(replica, shown, member, now_s=now_s, age_s_max=age_s_max)
            yield replica
        finally:
            replica.close()
        if replica.path.with_name(f"{LOG_FILE}-wal").exists():
            raise Unavailable(
                f"{beside} could not be put together: another program reads in {folder}, or its"
                " disk is full; put that right, and try again"
            )
        with DiskFaults(folder):
            # Die here: the folder has no log, so its node does not start; it is read again.
            os.replace(replica.path, folder / LOG_FILE)
            sync_folder(folder)
    finally:
        shutil.rmtree(beside)


def _read(replica: Replica, remote: Remote, anchor: Anchor) -> Sequence[PublishedHead]:
    """Take all that a source shows beyond the copy; the heads it shows."""
    start, first = replica.state.size, remote.entries(0)
    leaves = [] if start else list(first.entries)
    heads, bytes_read = first.heads, sum(map(len, leaves))
    while True:
        newest = max(heads, key=_size, default=None)
        missing = (_size(newest) if newest else 0) - start - len(leaves)
        if missing <= 0:
            break
        batch = remote.entries(start + len(leaves))
        leaves += batch.entries
        heads, bytes_read = batch.heads, bytes_read + sum(map(len, batch.entries))
        if not batch.entries:
            raise HostFault(
                HostFaultKind.WITHHELD,
                f"{remote.url} names {missing} entries more than it gives: ask another member",
            )
        if len(leaves) > ENTRIES_MAX or bytes_read > BYTES_MAX:
            raise Malformed(
                f"{remote.url} shows more than {ENTRIES_MAX} entries or {BYTES_MAX} bytes: it is no"
                " log that this version can check; ask another member"
            )
    if not start:
        _check_anchor(anchor, leaves[: _size(newest) if newest else 0], remote.url)
    if newest is not None and _size(newest) > start:
        replica.take(newest.note, leaves[: _size(newest) - start])
    for head in heads:
        replica.check_prefix(parse_signed_head(head.note))
        replica.take_cosignatures(head.note, head.cosignatures)
    return heads


def _size(head: PublishedHead) -> int:
    return parse_signed_head(head.note).head.size


def _check_anchor(anchor: Anchor, leaves: Sequence[bytes], url: str) -> None:
    if len(leaves) < anchor.size:
        raise HostFault(
            HostFaultKind.ROLLBACK,
            f"{url} shows a log of {len(leaves)} entries, the anchor is of {anchor.size}: it is an"
            " old copy, or cut off; ask another member",
        )
    if Tree(leaf_hash(leaf) for leaf in leaves).root(anchor.size) != anchor.root:
        raise HostFault(
            HostFaultKind.SPLIT_VIEW,
            f"{url} shows another log than the anchor's, within its first {anchor.size} entries:"
            " tell the members who gave you the anchor, by telephone",
        )


def _check_membership(state: State, member: MemberId, keys: PublicKeys) -> None:
    if not state.founded_size:
        raise Refused(Rule.NOT_FOUNDED, "not all founders have entered this commons yet")
    held = state.keys.get(member)
    if held is None:
        raise Refused(
            Rule.UNKNOWN_AUTHOR,
            f"{member} is no member in the log of {state.size} entries: it is admitted by a vote,"
            " and belongs once the members have approved the epoch",
        )
    if held.keys != keys:
        raise Refused(
            Rule.KEYS_NOT_IN_FORCE,
            f"{member} is a member with other keys than those of this folder: take the newest"
            " keys.pem; if nobody has it, the others revoke the keys and admit you anew",
        )


def _check_cosigned(
    replica: Replica,
    shown: Sequence[PublishedHead],
    member: MemberId,
    *,
    now_s: int,
    age_s_max: int,
) -> None:
    """The newest head of the epoch in force that enough others stand for, and when they did.

    Enough is the quorum, or all others where it takes everybody: this member has cosigned nothing.
    """
    epoch = replica.state.epoch
    keys = {each: key_set.keys.head for each, key_set in epoch.keys.items()}
    needed = min(epoch.quorum, len(keys) - 1)
    stood: list[int] = []
    for head in shown:
        signed = parse_signed_head(head.note)
        if signed.head.size < epoch.size:
            continue
        replica.check_prefix(signed)
        lines = [parse_cosignature(line) for line in head.cosignatures]
        good = final_members(signed.head, lines, keys) - {member}
        times = sorted((c.time_s for c in lines if c.member in good), reverse=True)
        if len(good) >= needed:
            stood.append(times[needed - 1])
    if not stood:
        raise Unavailable(
            f"fewer than {needed} members have cosigned a head of epoch {epoch.number}, which"
            f" begins with entry {epoch.size}: wait until they have, and try again"
        )
    age_s = now_s - max(stood)
    if age_s > age_s_max:
        raise Refused(
            Rule.HEAD_STALE,
            f"the newest head was cosigned by enough members {age_s} seconds ago, more than"
            f" {age_s_max}: it is an old copy, or newer heads are kept back; ask another member",
        )
