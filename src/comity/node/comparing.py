"""Comparing what the host shows this node with what it shows others, and proving where they part.

Heads of others are compared and never taken: an entry comes from the host alone, by replay. A head
that this copy reaches is compared with its own root. A longer one needs the entries between; if
they do not lead from this copy's root to it, all its leaves are fetched, and one consistency proof
shows the fork. Source: log-and-provenance.md 7.1 to 7.3; attacks 1, 2, 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, final

from comity.commons.state import State
from comity.errors import ComityError, Forged, HostFault, Malformed, Unavailable
from comity.log.evidence import cosigner_fork, host_fork
from comity.log.evidence_forms import KnownKeys, cosigners
from comity.log.heads import (
    SignedHead,
    cosignatures_in,
    full_note,
    is_final,
    parse_cosignature,
    parse_signed_head,
    verify_cosignature,
    verify_host,
)
from comity.log.merkle import Tree, leaf_hash
from comity.node.remote import PublishedHead, Remote
from comity.node.replica import Replica, epoch_of, host_key
from comity.storage.log_store import SqliteLogStore
from comity.storage.ports import StoredHead
from comity.values import LOG_SIZE_MAX

LONGER_MAX: Final = 1_000_000
"""How many entries another history may be ahead and still be fetched for a proof."""


@final
@dataclass(frozen=True, slots=True)
class Compared:
    """What a peer's mirror showed, all of it signed by the host.

    size: its newest head; final_size: its newest head with the good cosignatures of a quorum.
    evidence: of a fork; the host's first. notes: the heads that do not fit this node's log.
    """

    url: str
    size: int
    final_size: int
    evidence: tuple[bytes, ...] = ()
    notes: tuple[bytes, ...] = ()


@final
@dataclass(slots=True)
class Comparer:
    """This node's stored log, followed from another thread than the loop's.

    Args:
        store: of the node's replica. origin: of the log.
    """

    store: SqliteLogStore
    origin: str
    _tree: Tree = field(default_factory=Tree)

    def compare(self, url: str, remote: Remote, known: KnownKeys, state: State) -> Compared | None:
        """Ask a peer's mirror for its heads, and compare; None while this node has no head.

        Args:
            state: what this node's log means; says whose keys count for a head of which size.
        Raises:
            Unavailable: the peer is not reached, or does not give what it names.
            Forged, Malformed: what it shows is of another log, or not signed by whoever hosts then.
        """
        mine = self._follow()
        if not mine:
            return None
        newest = mine[-1]
        batch = remote.entries(newest.head.size)
        theirs = [with_lines(shown) for shown in batch.heads]
        for signed in theirs:
            if signed.head.origin != self.origin:
                raise Forged("the peer shows a head of another log")
            host_public = host_key(state, signed.head.size)
            if host_public is None:
                return None
            verify_host(signed, host_public)
        size = max((signed.head.size for signed in theirs), default=0)
        final = [s.head.size for s in theirs if final_by_lines(state, s)]
        apart: list[bytes] = []
        evidence: list[bytes] = []
        for signed in theirs:
            other = self._other_tree(signed, newest, batch.entries, remote)
            found = forks(mine, self._tree, signed, other, known)
            if found:
                evidence += found
                apart.append(signed.note())
        ordered = tuple(dict.fromkeys(sorted(evidence, key=_host_first)))
        return Compared(url, size, max(final, default=0), ordered, tuple(apart))

    def _follow(self) -> list[SignedHead]:
        """This node's stored heads with their cosignatures: the final one, then the newest."""
        head = self.store.head()
        if head is None or head.size == 0:
            return []
        self._extend(head.size)
        if self._tree.root() != head.root:
            # Entries above a final head may have been dropped when the host changed.
            self._tree = Tree()
            self._extend(head.size)
        final = self.store.head_at(self.store.final())
        shown = [final, head] if final is not None and final.size != head.size else [head]
        return [self._stored(each) for each in shown]

    def _extend(self, size: int) -> None:
        if self._tree.size > size:
            self._tree = Tree()
        self._tree.extend(islice(self.store.leaf_hashes(self._tree.size), size - self._tree.size))

    def _stored(self, head: StoredHead) -> SignedHead:
        lines = [parse_cosignature(line) for _, line in self.store.cosignatures(head.size)]
        return parse_signed_head(full_note(parse_signed_head(head.note), lines))

    def _other_tree(
        self, signed: SignedHead, mine: SignedHead, entries: Sequence[bytes], remote: Remote
    ) -> Tree | None:
        """The tree of a longer head that does not continue this log; None for any other head."""
        ahead = signed.head.size - mine.head.size
        if ahead <= 0:
            return None
        more = list(entries)
        while len(more) < min(ahead, LONGER_MAX):
            come = remote.entries(mine.head.size + len(more)).entries
            if not come:
                raise Unavailable("the peer names a head and does not give its entries")
            more += come
        hashes = [leaf_hash(entry) for entry in more[:ahead]]
        if len(hashes) == ahead and self._tree.extended_root(hashes) == signed.head.root:
            return None
        tree = Tree(leaf_hashes_of(remote, signed.head.size, self._tree.size + LONGER_MAX))
        if tree.root() != signed.head.root:
            raise Forged("the peer's entries do not give the head it shows")
        return tree


def forks(
    mine: Sequence[SignedHead],
    tree: Tree,
    other: SignedHead,
    other_tree: Tree | None,
    known: KnownKeys,
) -> list[bytes]:
    """Evidence from each of my heads that the other head does not agree with.

    Args:
        mine: heads of my log. tree: mine. other: a head of the same origin, signed by the host.
        other_tree: of the other head, when it is longer than mine and does not continue it.
    """
    found: list[bytes] = []
    for head in mine:
        small, large, of_large = (
            (other, head, tree) if other.head.size <= head.head.size else (head, other, other_tree)
        )
        if of_large is None or of_large.root(small.head.size) == small.head.root:
            continue
        if of_large.root(large.head.size) != large.head.root:
            continue
        if not _of_one_host(head, other, known):
            continue
        found.append(host_fork(small, large, of_large))
        for member in sorted(cosigners(small, known) & cosigners(large, known)):
            found.append(cosigner_fork(member, small, large, of_large))
    return found


def prove_longer(replica: Replica, remote: Remote, signed: SignedHead) -> None:
    """The host shows a longer head that does not continue this copy: fetch its leaves, and prove.

    Raises:
        HostFault(SPLIT_VIEW): with evidence. ComityError: it could not be shown, and why.
    """
    host_public = replica.host_public
    if host_public is None:
        return
    verify_host(signed, host_public)
    hashes = leaf_hashes_of(remote, signed.head.size, replica.state.size + LONGER_MAX)
    replica.view.check_history(signed, hashes, host_public)


def leaf_hashes_of(remote: Remote, size: int, size_max: int = LOG_SIZE_MAX) -> list[bytes]:
    """The first `size` leaf hashes of the log that a host or a mirror shows, from its entries.

    Raises:
        Malformed: it claims more entries than `size_max`. Unavailable: it does not give them all.
    """
    if size > size_max:
        raise Malformed(f"a log of {size} entries is not fetched to prove anything")
    hashes: list[bytes] = []
    while len(hashes) < size:
        batch = remote.entries(len(hashes))
        if not batch.entries:
            raise Unavailable("the entries of a head that was shown are not given")
        hashes += [leaf_hash(entry) for entry in batch.entries]
    return hashes[:size]


def investigate(replica: Replica, remote: Remote, note: bytes, error: ComityError) -> ComityError:
    """The error about a head that was not taken; a proven fork in its place where there is one."""
    try:
        prove_longer(replica, remote, parse_signed_head(note))
    except HostFault as proven:
        return proven
    except ComityError:
        return error
    return error


def with_lines(shown: PublishedHead) -> SignedHead:
    """A head as it is shown, with its cosignatures as lines of one note. Raises Malformed."""
    signed = parse_signed_head(shown.note)
    lines = [parse_cosignature(line) for line in shown.cosignatures]
    return parse_signed_head(full_note(signed, lines))


def final_by_lines(state: State, signed: SignedHead) -> bool:
    """Whether the good cosignatures in a note are a quorum of the members of that time."""
    epoch = epoch_of(state, signed.head.size)
    keys = {member: key_set.keys.head for member, key_set in epoch.keys.items()}
    lines = []
    for line in cosignatures_in(signed, keys):
        try:
            verify_cosignature(signed.head, line, keys[line.member])
        except Forged:
            continue
        lines.append(line)
    return is_final(signed.head, lines, keys, epoch.quorum)


def _of_one_host(one: SignedHead, other: SignedHead, known: KnownKeys) -> bool:
    # After a change of host what was not final may be dropped: such heads convict nobody.
    try:
        known.host_of(one, other)
    except Forged:
        return False
    return True


def _host_first(evidence: bytes) -> bool:
    return b'"kind":"host"' not in evidence
