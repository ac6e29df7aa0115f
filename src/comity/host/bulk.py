"""The host's bulk bytes, and which of them a statement needs before it may enter the log.

Three places: `blobs/` (named by SHA-256, by who sent them), `rounds/` (masked vectors, by attempt
and seat) and `sums/` (named by their roots). They are apart so that nothing uploaded as a blob can
stand for a vector or a sum; and each member's blobs are apart so that none can fill the disk, or
spoil what another one sends. Source: architecture.md 1.4, "the entry is the receipt".
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Final, final

from comity.commons.attempts import (
    Closing,
    Confirming,
    Joining,
    Live,
    Masking,
    Opened,
    Revealing,
    joins_of,
    opened_of,
)
from comity.commons.state import State
from comity.errors import Malformed, Refused, Rule, Unavailable
from comity.host.sums import FinishedSum, Sums, one_thread
from comity.host.uploads import Upload, Uploads, blob_upload, vector_upload
from comity.statements.entries import Statement
from comity.statements.governing import ProposalOpen, ReleaseMotion
from comity.statements.rounds import RoundClose, RoundCommit, RoundJoin
from comity.statements.studies import StudyRegister
from comity.storage.blobs import FileBlobStore
from comity.storage.database import pass_by
from comity.storage.disk import DiskFaults
from comity.storage.ports import Hook
from comity.values import (
    BLOB_BYTES_MAX,
    ROW_BYTES,
    SEALED_BYTES,
    BlobName,
    MemberId,
    StatementId,
)

UPLOAD_BYTES_MAX: Final = BLOB_BYTES_MAX
_FOUND_MAX: Final = 4_096
"""Blobs of which it is remembered whose they are, so that not every member's folder is searched."""


@final
class Bulk:
    """Everything big that the host keeps; used from any thread."""

    def __init__(
        self,
        folder: Path,
        members: Collection[MemberId],
        *,
        hook: Hook = pass_by,
        worker: Callable[[str], Executor] = one_thread,
    ) -> None:
        self.uploads = Uploads()
        # The other half of the disk is for the log, and for rounds, whose sizes plans say.
        self._share = shutil.disk_usage(folder).total // 2 // len(members)
        self._folder, self._hook = folder / "blobs", hook
        with DiskFaults(folder):
            self._folder.mkdir(mode=0o700, exist_ok=True)
        self._blobs = {member: self._store_of(member) for member in members}
        self._found: dict[BlobName, FileBlobStore] = {}
        self._finished = FileBlobStore(folder / "sums")
        self._sums = Sums(folder / "rounds", self._finished, worker("sums"))

    def close(self) -> None:
        """End the adding."""
        self._sums.close()

    def follow(self, state: State) -> None:
        """Do what the newest state asks for: add, close, drop; and make room for new members."""
        new = [member for member in state.members if member not in self._blobs]
        if new:  # another thread may be looking through the ones that are known
            self._blobs = {**self._blobs, **{member: self._store_of(member) for member in new}}
        self._sums.follow(state)

    def finished_sum(self, state: State, opened: StatementId) -> Future[FinishedSum]:
        """As `Sums.finished_sum`."""
        return self._sums.finished_sum(state, opened)

    def blob(self, member: MemberId, name: BlobName, size: int) -> Upload:
        """A blob that a member sends. Raises Malformed: beyond the limit."""
        if not 0 < size <= UPLOAD_BYTES_MAX:
            raise Malformed(f"a blob has 1 to {UPLOAD_BYTES_MAX} bytes, not {size}")
        return blob_upload(name, size, self._holding(name) or self._blobs[member], member)

    def vector(self, state: State, member: MemberId, opened: StatementId, root: BlobName) -> Upload:
        """The masked vector of a member in an attempt that is being committed to.

        Raises:
            Refused: PHASE_NOT_OPEN, or WRONG_PARTY when the member takes no part.
        """
        attempt = _live(state, opened)
        if not isinstance(attempt, Masking | Closing | Confirming | Revealing):
            raise Refused(Rule.PHASE_NOT_OPEN, "vectors are taken between start and commit_by")
        if isinstance(attempt, Masking | Closing):
            started, commits = attempt.started, attempt.commits
        else:
            started, commits = attempt.closed.started, attempt.closed.commits
        seat = started.opened.seat(member)
        if seat is None or seat not in started.participants:
            raise Refused(Rule.WRONG_PARTY, f"{member} is no participant of this attempt")
        # Once committing is over only what is committed is taken: another host had it, and is gone.
        fact = commits.get(seat)
        if not isinstance(attempt, Masking) and (fact is None or fact.vector != str(root)):
            raise Refused(Rule.PHASE_NOT_OPEN, "vectors are taken between start and commit_by")
        return vector_upload(
            root,
            self._sums.vectors(started.opened, seat),
            binding=started.binding,
            seat=seat,
            words=started.opened.words,
        )

    def find(self, state: State, name: BlobName) -> Path | None:
        """The file of a finished blob, sum or logged vector; None when it is not here."""
        # What has a root for its name goes first: a blob may pretend to such a name.
        vector = self._sums.find_vector(state, name)
        if vector is not None:
            return vector
        store = self._finished if self._finished.finished(name) else self._holding(name)
        return store.path(name) if store is not None else None

    def stored(self, state: State, member: MemberId, name: BlobName) -> tuple[int, bool]:
        """Bytes of a blob, sum or logged vector here, and whether it is complete and checked.

        Args:
            member: who asks; of a blob that is not complete, only its own bytes are told.
        """
        path = self.find(state, name)
        if path is None:
            self._sums.add_again(state, name)
            return self._blobs[member].stored(name), False
        return path.stat().st_size, True

    def dealt(self, state: State, opened: StatementId) -> tuple[list[Path], int]:
        """The files of an attempt's join blobs, by seat, once joining is closed; bytes of each.

        Raises:
            Refused: NO_SUCH_THING, or PHASE_NOT_OPEN while members join. Unavailable: one is gone.
        """
        for study in state.studies.values():
            for attempt in (study.current, *study.ended):
                if attempt is None or opened_of(attempt).id != opened:
                    continue
                if isinstance(attempt, Joining):
                    raise Refused(Rule.PHASE_NOT_OPEN, "members still join; ask when that is over")
                joins = joins_of(attempt)
                names = [BlobName(joins[seat].blob) for seat in sorted(joins)]
                return [self._blob_path(name) for name in names], _dealt_bytes(opened_of(attempt))
        raise Refused(Rule.NO_SUCH_THING, "no attempt with this round.open is in the log")

    def require(self, state: State, said: Statement) -> None:
        """Raise Unavailable unless the bulk bytes this statement needs are here, whole.

        A statement about an attempt that is not in the phase for it will be void, and needs none.
        """
        match said.body:
            case RoundJoin() as join:
                attempt = _live(state, join.opened)
                if isinstance(attempt, Joining):
                    whole = _dealt_bytes(attempt.opened)
                    self._require_blob("sealed shares", BlobName(join.blob), whole)
            case RoundCommit() as commit:
                attempt = _live(state, commit.opened)
                if isinstance(attempt, Masking):
                    opened = attempt.started.opened
                    seat = opened.seat(said.author)
                    if seat is not None and not self._sums.holds_vector(
                        opened, seat, commit.vector
                    ):
                        raise _missing("masked vector", commit.vector)
            case RoundClose() as close:
                attempt = _live(state, close.opened)
                if isinstance(attempt, Closing) and not self._sums.holds_sum(
                    attempt.started.opened, close.sum
                ):
                    raise _missing("sum", close.sum)
            case StudyRegister(plan=plan):
                self._require_blob("study file", BlobName(plan.code))
                self._require_blob("layout", BlobName(plan.layout))
                self._require_blob("first model", BlobName(plan.model))
                if plan.moments is not None:
                    self._require_blob("first moments", BlobName(plan.moments))
                if plan.evaluates is not None:
                    self._require_blob("model to evaluate", BlobName(plan.evaluates))
            case ProposalOpen(release=ReleaseMotion() as release):
                self._require_blob("manifest", BlobName(release.manifest))
            case _:
                pass

    def _store_of(self, member: MemberId) -> FileBlobStore:
        return FileBlobStore(self._folder / member, quota_bytes=self._share, hook=self._hook)

    def _holding(self, name: BlobName) -> FileBlobStore | None:
        """Where the finished blob is, whoever sent it."""
        known = self._found.get(name)
        if known is not None and known.finished(name):
            return known
        found = next((store for store in self._blobs.values() if store.finished(name)), None)
        if found is not None:
            if len(self._found) >= _FOUND_MAX:
                self._found.clear()
            self._found[name] = found
        return found

    def _blob_path(self, name: BlobName) -> Path:
        store = self._holding(name)
        if store is None:
            raise _missing("sealed shares", name)
        return store.path(name)

    def _require_blob(self, what: str, name: BlobName, whole: int | None = None) -> None:
        store = self._holding(name)
        if store is None:
            raise _missing(what, name)
        stored = store.stored(name)
        if whole is not None and stored != whole:
            raise Malformed(f"the {what} of this attempt have {whole} bytes, these {stored}")


def _dealt_bytes(opened: Opened) -> int:
    return SEALED_BYTES * (opened.count - 1) + ROW_BYTES * opened.count


def _missing(what: str, name: str) -> Unavailable:
    return Unavailable(f"the {what} {name} must be here first: send the bytes, then say it again")


def _live(state: State, opened: StatementId) -> Live | None:
    """The attempt under way with this round.open, if it is under way."""
    for study in state.studies.values():
        if study.current is not None and opened_of(study.current).id == opened:
            return study.current
    return None
