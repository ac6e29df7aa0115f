"""Statements that the host does not log: kept for their authors, delivered, and stood up for.

A member whose statement is missing hands the envelope to its peers. A peer checks form, commons and
signature, keeps the bytes as they are in `relayed/`, delivers them to the host, and when the host
has answered and `refuse_s` later they are still not in the log, it cosigns no head that lacks them.

Only what the host must log counts for that: admissible in this node's own log, by an author that is
not held back, and without bulk bytes, of which nobody else can tell whether the host has them.
Source: log-and-provenance.md 7.4; promise P4, attack 12 of the log.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from comity.commons.fold import admit, held_back
from comity.commons.state import State
from comity.errors import ComityError, Refused, Rule, Unavailable
from comity.log.inadmissible import author_fork
from comity.log.merkle import Tree
from comity.node.replica import Replica
from comity.statements.entries import Body, Statement
from comity.statements.governing import ProposalOpen
from comity.statements.keysets import check
from comity.statements.rounds import RoundClose, RoundCommit, RoundJoin
from comity.statements.studies import StudyRegister
from comity.statements.wire import read
from comity.values import BlobName, StatementId, is_digest

LOG = logging.getLogger(__name__)

FOLDER: Final = "relayed"
KEPT_PER_AUTHOR_MAX: Final = 64


@final
@dataclass(frozen=True, slots=True)
class Kept:
    """A statement that waits for the host. envelope: its exact bytes."""

    said: Statement
    envelope: bytes


@final
class Relay:
    """The statements that this node relays; used by the mirror's threads and the loop.

    Args:
        node_folder: in which they survive a restart.
    """

    def __init__(self, node_folder: Path) -> None:
        self._folder = node_folder / FOLDER
        self._turn = threading.Lock()
        self._answered_at_s: dict[StatementId, int] = {}
        self._kept: dict[StatementId, Kept] = {}
        for path in sorted(self._folder.glob("*")) if self._folder.is_dir() else ():
            if is_digest(path.name):
                envelope = path.read_bytes()
                self._kept[StatementId(path.name)] = Kept(read(envelope).statement, envelope)

    def take(self, state: State, envelope: bytes) -> StatementId:
        """Keep a member's statement; durable on return; again changes nothing.

        Raises:
            Malformed, Forged. Refused: WRONG_COMMONS, UNKNOWN_AUTHOR, SAID_BEFORE (its number is
            in the log), TOO_MANY. Unavailable: the disk.
        """
        unverified = read(envelope)
        said = unverified.statement
        if said.commons != state.commons:
            raise Refused(Rule.WRONG_COMMONS, "this mirror serves another commons")
        key_set = state.keys.get(said.author)
        if key_set is None:
            raise Refused(Rule.UNKNOWN_AUTHOR, "no member of this name is in the log")
        check(unverified, key_set.keys.statement)
        if said.seq <= state.authors[said.author].seq:
            raise Refused(Rule.SAID_BEFORE, f"statement {said.seq} of {said.author} is in the log")
        with self._turn:
            if said.id in self._kept:
                return said.id
            mine = [kept for kept in self._kept.values() if kept.said.author == said.author]
            if len(mine) >= KEPT_PER_AUTHOR_MAX:
                raise Refused(Rule.TOO_MANY, f"{len(mine)} statements of {said.author} wait here")
            self._store(said.id, envelope)
            self._kept[said.id] = Kept(said, envelope)
        LOG.info("relaying id=%s by=%s seq=%d", said.id, said.author, said.seq)
        return said.id

    def waiting(self) -> list[Kept]:
        """What is not known to be logged, by author and number."""
        with self._turn:
            return sorted(self._kept.values(), key=lambda k: (k.said.author, k.said.seq))

    def settle(self, replica: Replica) -> list[bytes]:
        """Drop what is in the log now.

        Returns:
            Evidence against authors of which another statement with the same number is there.
        """
        found = []
        for kept in self.waiting():
            said = kept.said
            author = replica.state.authors.get(said.author)
            if author is None or said.seq > author.seq:
                continue
            replica.flush()
            logged = replica.store.said(said.author, said.seq)
            if logged is not None and read(logged).statement.id != said.id:
                found.append(author_fork(logged, kept.envelope))
            self._drop(said.id)
        return found

    def answered(self, statement_id: StatementId, now_s: int) -> None:
        """The host has answered to it, whatever it said; the first time counts."""
        self._answered_at_s.setdefault(statement_id, now_s)

    def missing(self, replica: Replica, now_s: int, refuse_s: int) -> Statement | None:
        """A statement that the host must log, and has not for `refuse_s` since it answered."""
        for kept in self.waiting():
            since_s = self._answered_at_s.get(kept.said.id)
            if since_s is None or now_s - since_s < refuse_s:
                continue
            if must_be_logged(replica.state, replica.view.tree, kept.envelope):
                return kept.said
        return None

    def _store(self, statement_id: StatementId, envelope: bytes) -> None:
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            part = self._folder / f"{statement_id}.part"
            with part.open("wb") as file:
                file.write(envelope)
                file.flush()
                os.fsync(file.fileno())
            part.rename(self._folder / statement_id)
        except OSError as error:
            raise Unavailable(f"cannot keep the statement ({error.strerror})") from error

    def _drop(self, statement_id: StatementId) -> None:
        with self._turn:
            self._kept.pop(statement_id, None)
            self._answered_at_s.pop(statement_id, None)
            (self._folder / statement_id).unlink(missing_ok=True)


def must_be_logged(state: State, tree: Tree, envelope: bytes) -> bool:
    """Whether a host that has these bytes must append them to the log this state is of."""
    try:
        entry = admit(state, tree, envelope)
    except ComityError:
        return False
    said = entry.statement
    # A close needs the sum (protocol 4.3).
    needs_bytes = isinstance(said.body, RoundClose) or any(bulk_of(said.body))
    return not needs_bytes and not held_back(state, said.author)


def other_head(replica: Replica, said: Statement) -> bool:
    """Whether a statement names a head that this copy's log does not have at that size."""
    size = said.head_size
    return size <= replica.state.size and not replica.view.final_root_known(size, said.head_root)


def bulk_of(body: Body) -> Iterable[tuple[BlobName, StatementId | None]]:
    """The blobs the host must hold before it logs the statement; with the attempt of a vector."""
    match body:
        case RoundJoin():
            return [(BlobName(body.blob), None)]
        case RoundCommit():
            return [(BlobName(body.vector), body.opened)]
        case StudyRegister():
            return [(BlobName(name), None) for name in body.plan.blobs]
        case ProposalOpen():
            return [(BlobName(body.release.manifest), None)] if body.release else []
        case _:
            return []
