"""Masked vectors of the attempts under way, and their integer sums, all on disk.

Decided here: a vector belongs to one attempt and one seat and is stored once per seat; the sum of
the logged Commits grows chunk by chunk in one worker thread, so memory does not grow with the
number of members. A sum that may be half added is thrown away and made again from the vectors.
When committing is closed the sum becomes a blob named by its root. Vectors go when their attempt
is over, but those of a burned attempt stay until the next one of its study ends: disputes need
them. Knows nothing of what is logged when. Source: aggregation.md 5.6, 5.7; architecture.md 1.8.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import threading
from collections.abc import Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, final

import numpy as np

from comity.aggregation.ring import (
    Carries,
    SumRoot,
    VectorRoot,
    add_into,
    chunk_count,
    chunk_words,
    vector_root,
)
from comity.commons.attempts import (
    Closing,
    CommitFact,
    Confirming,
    End,
    Halted,
    Masking,
    Opened,
    Revealing,
    Started,
    closed_of,
    opened_of,
)
from comity.commons.state import State
from comity.errors import Forged, Refused, Rule, Unavailable
from comity.storage.blobs import FileBlobStore
from comity.storage.ports import BlobCheck
from comity.values import (
    CHUNK_WORDS,
    BlobName,
    Digest,
    Seat,
    StatementId,
    hkdf_info,
    raw,
    same_bytes,
    u16,
    u32,
    u64,
)

WORD_BYTES: Final = 4
SUM_BYTES_PER_WORD: Final = 5
_LOG = logging.getLogger(__name__)


class FinishedSum(NamedTuple):
    """A sum that is a blob by now."""

    root: Digest
    size_bytes: int


@final
@dataclass(slots=True)
class _Running:
    """One attempt's sum while it grows. added: seats whose vectors are in the file."""

    started: Started
    commits: Mapping[Seat, CommitFact]
    closing: bool = False
    added: set[Seat] = field(default_factory=set)
    done: Future[FinishedSum] = field(default_factory=Future)


def one_thread(name: str) -> Executor:
    """A thread that runs one call after the other."""
    return ThreadPoolExecutor(1, thread_name_prefix=name)


@final
class Sums:
    """Vectors and sums in `folder`, finished sums in `finished`, added by `worker`; one per host.

    `follow` may be called from one thread at a time, everything else from any.
    """

    def __init__(self, folder: Path, finished: FileBlobStore, worker: Executor) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        self._finished = finished
        self._turn = threading.Lock()
        self._stores: dict[tuple[StatementId, Seat], FileBlobStore] = {}
        self._running: dict[StatementId, _Running] = {}
        self._kept: frozenset[str] | None = None
        self._worker = worker

    def close(self) -> None:
        """End the worker; a sum half added is made again at the next start."""
        self._worker.shutdown(cancel_futures=True)

    def vectors(self, opened: Opened, seat: Seat) -> FileBlobStore:
        """Where the seat's masked vector of this attempt is stored: one vector and no more.

        A finished blob in it was checked with the attempt's binding and this seat.
        """
        with self._turn:
            store = self._stores.get((opened.id, seat))
            if store is None:
                whole = WORD_BYTES * opened.words
                store = FileBlobStore(
                    self._folder / opened.id / str(seat), quota_bytes=whole, blob_bytes_max=whole
                )
                self._stores[opened.id, seat] = store
            return store

    def holds_vector(self, opened: Opened, seat: Seat, root: Digest) -> bool:
        """Whether the whole vector of that seat with that root is stored and checked."""
        return self.vectors(opened, seat).finished(BlobName(root))

    def find_vector(self, state: State, root: BlobName) -> Path | None:
        """The file of a survivor's vector once the attempt is closed, while it is kept."""
        for study in state.studies.values():
            for attempt in (study.current, *study.ended[-1:]):
                closed = closed_of(attempt) if attempt is not None else None
                if closed is None or closed.started.opened.id not in (self._kept or ()):
                    continue
                for fact in closed.commits.values():
                    if fact.vector == str(root):
                        store = self.vectors(closed.started.opened, fact.seat)
                        return store.path(root) if store.finished(root) else None
        return None

    def follow(self, state: State) -> None:
        """Add what has been committed, close what is closing, drop what is over."""
        for study in state.studies.values():
            attempt = study.current
            if isinstance(attempt, Masking | Closing):
                self._schedule(attempt.started, attempt.commits, isinstance(attempt, Closing))
        self._drop_all_but(_kept(state))

    def finished_sum(self, state: State, opened: StatementId) -> Future[FinishedSum]:
        """Root and size of the attempt's sum, when it is added up.

        Raises:
            Refused(NO_SUCH_THING): no such attempt. Refused(PHASE_NOT_OPEN): committing is open.
        """
        for study in state.studies.values():
            for attempt in (study.current, *study.ended):
                if attempt is None or opened_of(attempt).id != opened:
                    continue
                if isinstance(attempt, Closing):
                    return self._schedule(attempt.started, attempt.commits, True)
                closed = closed_of(attempt)
                if closed is not None:
                    done: Future[FinishedSum] = Future()
                    size = SUM_BYTES_PER_WORD * opened_of(attempt).words
                    done.set_result(FinishedSum(closed.sum, size))
                    return done
                raise Refused(Rule.PHASE_NOT_OPEN, "members still commit; ask when that is closed")
        raise Refused(Rule.NO_SUCH_THING, "no attempt with this round.open is in the log")

    def add_again(self, state: State, root: BlobName) -> None:
        """Add up once more a sum that another host closed, when its vectors are here."""
        for study in state.studies.values():
            closed = closed_of(study.current) if study.current is not None else None
            if closed is not None and closed.sum == str(root):
                self._schedule(closed.started, closed.commits, True)

    def holds_sum(self, opened: Opened, root: Digest) -> bool:
        """Whether the sum with that root is stored whole."""
        name = BlobName(root)
        whole = SUM_BYTES_PER_WORD * opened.words
        return self._finished.finished(name) and self._finished.stored(name) == whole

    def _schedule(
        self, started: Started, commits: Mapping[Seat, CommitFact], closing: bool
    ) -> Future[FinishedSum]:
        with self._turn:
            opened = started.opened.id
            running = self._running.get(opened)
            failed = running is not None and running.done.done() and running.done.exception()
            if running is None or failed:
                running = self._running[opened] = _Running(started, commits)
            running.commits, running.closing = commits, closing
            owed = commits.keys() - running.added or closing
            if owed and not running.done.done():
                self._worker.submit(self._advance, running)
            return running.done

    def _advance(self, running: _Running) -> None:
        """Add every committed vector that is not in yet, in one pass; hash in the last pass."""
        if running.done.done():
            return
        opened = running.started.opened
        path = self._folder / opened.id / "sum"
        try:
            with self._turn:
                commits, closing = running.commits, running.closing
            new = sorted(commits.keys() - running.added)
            if not new and not closing:
                return
            missing = [
                seat for seat in new if not self.holds_vector(opened, seat, commits[seat].vector)
            ]
            if missing:
                raise Unavailable(f"the vectors of seats {missing} are not here yet")
            paths = [
                self.vectors(opened, seat).path(BlobName(commits[seat].vector)) for seat in new
            ]
            root = SumRoot(running.started.binding) if closing else None
            add_vectors(path, opened.words, paths, fresh=not running.added, root=root)
            running.added |= set(new)
            if root is not None:
                # The bytes were hashed on their way to the file, so they are not read again.
                self._finished.adopt(path, BlobName(root.digest()), lambda _: None)
                size = SUM_BYTES_PER_WORD * opened.words
                running.done.set_result(FinishedSum(root.digest(), size))
                _LOG.info("summed round_open=%s vectors=%d", opened.id, len(running.added))
        except (Unavailable, OSError) as error:
            # Nobody knows how much of the file was written: start it again when asked.
            running.added.clear()
            _LOG.error("cannot add vectors round_open=%s why=%s", opened.id, error)
            running.done.set_exception(
                Unavailable("the host cannot add the vectors up; its operator must look")
            )

    def _drop_all_but(self, kept: frozenset[str]) -> None:
        if kept == self._kept:
            return
        with self._turn:
            self._kept = kept
            for opened in [opened for opened in self._running if opened not in kept]:
                del self._running[opened]
        self._worker.submit(self._remove_folders)

    def _remove_folders(self) -> None:
        # The lock keeps a store from being made in a folder that is being removed.
        with self._turn:
            kept = self._kept or frozenset()
            for place in [place for place in self._stores if place[0] not in kept]:
                del self._stores[place]
            for entry in list(os.scandir(self._folder)):
                if entry.name not in kept:
                    shutil.rmtree(entry.path, ignore_errors=True)


def add_vectors(
    path: Path, words: int, vectors: list[Path], *, fresh: bool, root: SumRoot | None
) -> None:
    """Add whole vectors to the sum file, chunk k as its low words (LE), then its carry bytes.

    Takes 9 MiB whatever the number of vectors.
    Args:
        path: of the sum; made anew when `fresh`.
        words: L. vectors: files of 4 L bytes. root: fed with every chunk of the result.
    """
    lo_room = np.empty(CHUNK_WORDS, dtype=np.uint32)
    hi_room = np.empty(CHUNK_WORDS, dtype=np.uint8)
    y_room = np.empty(CHUNK_WORDS, dtype=np.uint32)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if fresh else 0)
    with ExitStack() as open_files:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        total = _open(open_files, path, flags)
        sources = [_open(open_files, vector, os.O_RDONLY | os.O_CLOEXEC) for vector in vectors]
        for k in range(chunk_count(words)):
            count, start = chunk_words(words, k), k * CHUNK_WORDS
            lo, hi, y = lo_room[:count], hi_room[:count], y_room[:count]
            at = SUM_BYTES_PER_WORD * start
            if fresh:
                lo.fill(0)
                hi.fill(0)
            else:
                _read(total, lo.view(np.uint8), at)
                _read(total, hi, at + WORD_BYTES * count)
            for source in sources:
                _read(source, y.view(np.uint8), WORD_BYTES * start)
                add_into(lo, hi, y)
            if root is not None:
                root.update(lo, hi)
            if sources or fresh:
                _write(total, lo.view(np.uint8), at)
                _write(total, hi, at + WORD_BYTES * count)


@final
class VectorHash:
    """root(y) of a vector that comes in pieces of any length; keeps no piece.

    count: bytes taken so far.
    """

    def __init__(self, binding: Digest, seat: Seat, words: int) -> None:
        self._parts = raw(binding), u16(seat)
        self._binding, self._seat, self._words = binding, seat, words
        self._leaves: list[bytes] = []
        self._leaf = self._new_leaf()
        self._missing = WORD_BYTES * chunk_words(words, 0)
        self.count = 0

    def take(self, piece: memoryview) -> None:
        """Take the next bytes; never more than the vector has."""
        while piece:
            taken = piece[: self._missing]
            self._leaf.update(taken)
            self.count += len(taken)
            self._missing -= len(taken)
            piece = piece[len(taken) :]
            if not self._missing:
                self._leaves.append(self._leaf.digest())
                if len(self._leaves) < chunk_count(self._words):
                    self._missing = WORD_BYTES * chunk_words(self._words, len(self._leaves))
                    self._leaf = self._new_leaf()

    def name(self) -> Digest:
        """The root, once all bytes were taken."""
        assert self.count == WORD_BYTES * self._words
        return vector_root(self._binding, self._seat, self._leaves)

    def _new_leaf(self) -> hashlib._Hash:
        k = len(self._leaves)
        size = WORD_BYTES * chunk_words(self._words, k)
        return hashlib.sha256(hkdf_info("y", *self._parts, u32(k)) + u64(size))


def vector_check(binding: Digest, seat: Seat, words: int, root: BlobName) -> BlobCheck:
    """Reads a vector's file, a chunk at a time; raises Forged when it has another root."""

    def check(path: Path) -> None:
        computed = VectorRoot(binding, seat)
        room = np.empty(CHUNK_WORDS, dtype=np.uint32)
        with ExitStack() as open_files:
            source = _open(open_files, path, os.O_RDONLY | os.O_CLOEXEC)
            if os.fstat(source).st_size != WORD_BYTES * words:
                raise Forged(f"a vector of this attempt has {WORD_BYTES * words} bytes")
            for k in range(chunk_count(words)):
                y = room[: chunk_words(words, k)]
                _read(source, y.view(np.uint8), WORD_BYTES * k * CHUNK_WORDS)
                computed.update(y)
        require_name(computed.digest(), root)

    return check


def require_name(computed: Digest, name: BlobName) -> None:
    """Raise Forged unless the bytes have the name they were sent under."""
    if not same_bytes(computed.encode(), name.encode()):
        raise Forged(f"the bytes have the name {computed}, not {name}; send them again")


def _kept(state: State) -> frozenset[str]:
    """H_open of every attempt whose vectors may still be needed."""
    kept = set()
    for study in state.studies.values():
        if isinstance(study.current, Masking | Closing | Confirming | Revealing | Halted):
            kept.add(opened_of(study.current).id)
        for ended in study.ended[-1:]:
            if ended.end in (End.BURNED, End.SEALED):
                kept.add(ended.opened.id)
    return frozenset(kept)


def _open(open_files: ExitStack, path: Path, flags: int) -> int:
    descriptor = os.open(path, flags, 0o600)
    open_files.callback(os.close, descriptor)
    return descriptor


def _read(descriptor: int, into: Carries, at: int) -> None:
    rest = into.data
    while rest:
        count = os.preadv(descriptor, [rest], at)
        if count == 0:
            raise Unavailable("a vector or sum on disk is shorter than it should be")
        rest, at = rest[count:], at + count


def _write(descriptor: int, piece: Carries, at: int) -> None:
    rest = piece.data
    while rest:
        count = os.pwrite(descriptor, rest, at)
        rest, at = rest[count:], at + count
