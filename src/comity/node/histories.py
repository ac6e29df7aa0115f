"""Another history of the same log, tried in memory before anything of this copy is given up.

Decided here: when this copy drops entries. Never anything at or below its newest final head; above
it only for a history whose own entries make its signer host in a later epoch (rule 8), which no
host can forge: it takes approvals of more than half of the members. What is dropped is kept as
evidence first. Source: log-and-provenance.md 7.4; architecture.md 1.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from comity.commons.fold import admit, apply
from comity.commons.state import State
from comity.errors import ComityError, Forged, HostFault, HostFaultKind
from comity.log.heads import SignedHead, parse_signed_head, verify_host
from comity.log.merkle import HASH_BYTES, Tree, leaf_hash
from comity.node.replica import Applied as Applied
from comity.node.replica import Replica


@final
@dataclass(frozen=True, slots=True)
class History:
    """What the log would mean with these entries. keep: entries it shares with this copy."""

    keep: int
    applied: tuple[Applied, ...]
    state: State
    tree: Tree

    @property
    def size(self) -> int:
        """Entries in it."""
        return self.tree.size

    @property
    def leaves(self) -> list[bytes]:
        """Those that this copy does not have."""
        return [entry.leaf for entry, _ in self.applied]

    def follows(self, replica: Replica) -> bool:
        """Whether it holds every entry of this copy, in order."""
        return self.keep >= replica.state.size

    def signed_by_its_host(self, signed: SignedHead) -> bool:
        """Whether the head covers exactly this history and is signed by its host (rule 8)."""
        head, host_keys = signed.head, self.state.keys.get(self.state.host)
        if (head.size, head.root) != (self.size, self.tree.root()) or host_keys is None:
            return False
        try:
            verify_host(signed, host_keys.keys.host)
        except ComityError:
            return False
        return True


@final
class Reading:
    """A history that is replayed as it comes, entry by entry; nothing is kept.

    Args:
        start: at most the size of this copy; what lies below is this copy's own.
    """

    def __init__(self, replica: Replica, start: int) -> None:
        self._replica, self._keep = replica, start
        self._left: tuple[State, Tree] | None = None
        self._applied: list[Applied] = []

    @property
    def size(self) -> int:
        """Entries in it so far."""
        return self._keep + len(self._applied)

    @property
    def state(self) -> State:
        """What it means so far; while it says what this copy says, what that means in all."""
        return self._left[0] if self._left else self._replica.state

    def add(self, leaves: Sequence[bytes]) -> None:
        """The next entries.

        Raises:
            HostFault(INADMISSIBLE): an entry must not be in a log.
            HostFault(SPLIT_VIEW): it leaves this copy below the newest final head.
        """
        shared = 0
        if self._left is None:
            replica = self._replica
            own = replica.entries(self._keep, min(self._keep + len(leaves), replica.state.size))
            while shared < len(own) and own[shared] == leaves[shared]:
                shared += 1
            self._keep += shared
        if shared == len(leaves):
            return
        state, tree = self._left or self._leave()
        for leaf in leaves[shared:]:
            try:
                entry = admit(state, tree, leaf)
            except ComityError as error:
                raise HostFault(
                    HostFaultKind.INADMISSIBLE,
                    f"entry {state.size} must not be in the log: {error}",
                ) from error
            state, outcome = apply(state, entry)
            tree.append(leaf_hash(leaf))
            self._applied.append((entry, outcome))
        self._left = state, tree

    def history(self) -> History:
        """All of it, as far as it has come."""
        state, tree = self._left or self._at(self._keep)
        return History(self._keep, tuple(self._applied), state, tree)

    def _leave(self) -> tuple[State, Tree]:
        if self._keep < self._replica.final_size:
            raise HostFault(
                HostFaultKind.SPLIT_VIEW,
                f"it leaves this log at entry {self._keep}, and {self._replica.final_size} entries"
                " are final here",
            )
        return self._at(self._keep)

    def _at(self, size: int) -> tuple[State, Tree]:
        replica = self._replica
        state = replica.state if size == replica.state.size else replica.state_before(size)
        hashes = replica.view.tree.hashes(0, 0, size)
        return state, Tree(hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES))


def try_history(replica: Replica, start: int, leaves: Sequence[bytes]) -> History:
    """A history of which entries `start`, `start` + 1, ... are given, replayed. Raises: `add`."""
    reading = Reading(replica, start)
    reading.add(leaves)
    return reading.history()


def newest_epoch(replica: Replica, bound: bool) -> int:
    """The number above which a history's epoch must be to take the place of this copy's tail.

    Args:
        bound: whether this member has approved an epoch of that history. Then what the old host
            put in force instead, above the newest final head, does not count.
    """
    state = replica.state
    return (state.epoch_at(replica.final_size) if bound else state.epoch).number


def check_successor(
    replica: Replica,
    history: History,
    note: bytes,
    held: Sequence[tuple[int, bytes]] = (),
    *,
    bound: bool = False,
) -> None:
    """Check that a history may take the place of what this copy holds above the final head.

    Args:
        note: its newest head. held: (size, root) of what it must hold, since this member approved
            the epoch only after it had cosigned that head, and on that copy.
        bound: as `newest_epoch`.
    Raises:
        Forged: its head is not signed by its own host, or it is of no later epoch.
        HostFault(SPLIT_VIEW): its host's key has signed what it lacks (a host never goes on with
            the key of a log that it leaves); it undoes what is final here, or lacks what was
            held.
    """
    signed = parse_signed_head(note)
    if not history.signed_by_its_host(signed):
        raise Forged("the head is not signed by whoever is host after its entries (rule 8)")
    if history.state.epoch.number <= newest_epoch(replica, bound):
        raise Forged("no newer epoch is in force in this history, so nothing is dropped for it")
    host = history.state.keys[history.state.host].keys.host
    if history.keep < replica.state.size and host in _host_keys_above(replica.state, history.keep):
        raise HostFault(
            HostFaultKind.SPLIT_VIEW,
            f"{history.state.host} has signed entries above {history.keep} with the same host key"
            " as the history that lacks them: it shows two histories",
            note,
        )
    final = replica.view.final
    if history.size < final.size or history.tree.root(final.size) != final.root:
        raise HostFault(
            HostFaultKind.SPLIT_VIEW,
            f"two histories: the head of size {final.size} is final here and not in the other; no"
            " software picks one. Ask the members which of the two they hold, by telephone",
            note,
        )
    for size, root in held:
        if history.size < size or history.tree.root(size) != root:
            raise HostFault(
                HostFaultKind.SPLIT_VIEW,
                f"the new host's log lacks entries below size {size} that this member had cosigned"
                " or seen there when it approved: it was not built as proposed. Ask the other"
                " approvers what they hold; `comity log compare` shows a host that signed both",
                note,
            )


def _host_keys_above(state: State, size: int) -> set[bytes]:
    """*host* keys that may have signed heads of more than `size` entries of this log."""
    found: set[bytes] = set()
    for epoch in (state.epoch, *reversed(state.past)):
        if epoch.host in epoch.keys:
            found.add(epoch.keys[epoch.host].keys.host)
        if epoch.size <= size:
            break
    return found
