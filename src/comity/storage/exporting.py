"""The exported log on disk: static files that follow a log, in an order that no crash can spoil.

Entry bundles, then tiles from level 0 upward, then what lies beside, `checkpoint` last; each file
is written under another name, synced, renamed, and its folder synced. So whoever dies anywhere
leaves a folder that is whole at the head it shows. Only final heads are shown: an outsider never
sees one that `policy.txt` would not take. A partial tile stays until the full one is there.
Source: log-and-provenance.md 2.3, 5; attacks 3, 51; form: `release/exported.py`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from comity.commons.charter import Charter, commons_id
from comity.commons.fold import apply, found
from comity.commons.state import State
from comity.errors import ComityError, Forged, Misconfigured, Unavailable
from comity.log.heads import (
    SignedHead,
    cosignatures_in,
    full_note,
    is_final,
    origin_of,
    parse_cosignature,
    parse_signed_head,
)
from comity.log.merkle import Tree, leaf_hash
from comity.log.tiles import TILE_WIDTH, EntryReader, places_between, tile_files
from comity.release.epochs import head_keys
from comity.release.exported import CHECKPOINT, COMITY, POLICY, TILES, WRITING, files_beside
from comity.statements.entries import Entry
from comity.statements.wire import read as read_statement
from comity.storage.database import pass_by
from comity.storage.disk import DiskFaults, sync_folder
from comity.storage.ports import Hook
from comity.values import NOTE_BYTES_MAX

_ENTRIES_PER_READ: Final = TILE_WIDTH
# Non-blocking, so that a pipe put in the head's place cannot hold the host up.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TOP: Final = {CHECKPOINT, WRITING, POLICY, TILES[:-1], COMITY[:-1]}
"""What may lie directly in the folder."""


class ExportAhead(Misconfigured):
    """The folder shows a head that this log does not hold: the log is an older copy, or another.

    note: the head as it was exported.
    """

    def __init__(self, message: str, note: bytes) -> None:
        super().__init__(message)
        self.note = note


@final
@dataclass(frozen=True, slots=True)
class Exported:
    """What a folder shows now. written: files that were written for it."""

    size: int
    root: bytes
    written: int


@final
class ExportFolder:
    """The exported log in one folder, which this process alone may write.

    Args:
        root: made when absent; what it lies in exists.
        charter: of the commons.
        read: entries of the log, by first index and count; whoever gives them has verified them.
        hook: called at "<what> written", "<what> renamed" and "<what> synced" of each file, with
            "entries", "tile", "beside" or "checkpoint"; and at "partial removed".
    Raises:
        Misconfigured: there is something else in the folder.
        Unavailable: another process exports into it, or the disk.
    """

    def __init__(
        self, root: Path, charter: Charter, read: EntryReader, *, hook: Hook = pass_by
    ) -> None:
        self._root = root
        self._read = read
        self._hook = hook
        self._origin = origin_of(commons_id(charter), charter.origin_prefix)
        self._state: State = found(charter)
        self._tree = Tree()
        self._swept = False
        with DiskFaults(root):
            if not root.is_dir():
                root.mkdir()
                sync_folder(root.parent)
            self._lock = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._own()
            self._shown = self._read_checkpoint()
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Give the folder up for other processes."""
        os.close(self._lock)

    @property
    def shown(self) -> SignedHead | None:
        """The head that the folder shows; None when nothing was exported yet."""
        return parse_signed_head(self._shown) if self._shown else None

    def compare(self, size: int) -> None:
        """Compare the head shown with a log of `size` entries, before anything is built on it.

        Raises:
            ExportAhead: the folder shows what this log does not hold (attack 3).
        """
        signed = self.shown
        if signed is None:
            return
        head = signed.head
        if head.size <= size:
            self._follow(head.size)
            if self._tree.root(head.size) == head.root:
                return
        raise ExportAhead(
            f"{self._root} shows a head of {head.size} entries that this log of {size} does"
            " not hold: the log was restored from an older copy, or is another one; follow the"
            " members' log first, or name a new folder",
            self._shown,
        )

    def export(self, note: bytes, lines: Iterable[bytes]) -> Exported:
        """Write what is missing up to a final head, and show it.

        Args:
            note: the head as its host signed it; lines it holds that nobody knows are kept.
            lines: cosignatures of it; with those in the note at least a quorum.
        Raises:
            ExportAhead: as `compare`; also for a head older than the one shown.
            Forged: the entries do not give the head's root, or the head is not final.
            Unavailable: the disk.
        """
        whole = parse_signed_head(
            full_note(parse_signed_head(note), [parse_cosignature(line) for line in lines])
        )
        size = whole.head.size
        self.compare(size)
        self._follow(size)
        self._check(whole)
        before = self.shown
        old, written = before.head.size if before else 0, 0
        with DiskFaults(self._root):
            for path, content in tile_files(self._tree, self._read, old, size):
                what = "entries" if path.startswith(f"{TILES}entries/") else "tile"
                self._put(what, path, content)
                written += 1
            for path, content in files_beside(self._state).items():
                written += self._put_if_other("beside", path, content)
            # Die before the next line: the old head is shown, and every file of it is there.
            written += self._put_if_other("checkpoint", CHECKPOINT, whole.note())
            self._shown = whole.note()
            self._remove_partials(old, size)
        return Exported(size, whole.head.root, written)

    def _own(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Unavailable(
                f"another process exports into {self._root}; name another folder, or end it"
            ) from error
        strange = {found.name for found in self._root.iterdir()} - _TOP
        if strange:
            raise Misconfigured(
                f"{self._root} holds {min(strange)!r}, which no exported log has: name a new folder"
            )

    def _read_checkpoint(self) -> bytes:
        """The signed head in the folder, b"" when there is none."""
        path = self._root / CHECKPOINT
        try:
            with open(os.open(path, _READ), "rb") as file:
                note = file.read(NOTE_BYTES_MAX + 1)
            found_head = parse_signed_head(note).head
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise Unavailable(f"cannot read {path} ({error.strerror}); check the disk") from error
        except ComityError as error:
            raise Misconfigured(f"{path} is no head ({error}): name a new folder") from error
        if found_head.origin != self._origin:
            raise Misconfigured(f"{path} is of {found_head.origin}: name a new folder")
        return note

    def _follow(self, size: int) -> None:
        """Fold the entries up to `size`; they were verified by whoever stored them."""
        while self._tree.size < size:
            first = self._tree.size
            leaves = self._read(first, min(_ENTRIES_PER_READ, size - first))
            if not leaves:
                raise Unavailable(f"the log ends at {first} of {size} entries; try again later")
            for place, leaf in enumerate(leaves):
                entry = Entry(first + place, leaf, read_statement(leaf).statement)
                self._state, _ = apply(self._state, entry)
                self._tree.append(leaf_hash(leaf))

    def _check(self, signed: SignedHead) -> None:
        head = signed.head
        if head.origin != self._origin or self._tree.root(head.size) != head.root:
            raise Forged(f"the entries do not give the root of the head of size {head.size}")
        keys = head_keys(self._state) if self._state.founded_size else {}
        if not keys or not is_final(head, cosignatures_in(signed, keys), keys, self._state.quorum):
            raise Forged(f"the head of size {head.size} is not final: only final heads are shown")

    def _put_if_other(self, what: str, path: str, content: bytes) -> int:
        """Write a file unless it is there with these bytes; how many were written."""
        place = self._root / path
        if place.is_file() and not place.is_symlink() and place.read_bytes() == content:
            return 0
        self._put(what, path, content)
        return 1

    def _put(self, what: str, path: str, content: bytes) -> None:
        """One file: durable under its name on return, or not there at all."""
        place, writing = self._root / path, self._root / WRITING
        self._make_folder(place.parent)
        # Never what lies there already: it may be a link, put there to have another file spoilt.
        writing.unlink(missing_ok=True)
        with writing.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._hook(f"{what} written")
        writing.rename(place)
        self._hook(f"{what} renamed")
        sync_folder(place.parent)
        self._hook(f"{what} synced")

    def _make_folder(self, folder: Path) -> None:
        """A folder and those it lies in, below the root, durable; none of them a link."""
        if folder == self._root:
            return
        self._make_folder(folder.parent)
        if folder.is_symlink():
            raise Misconfigured(f"{folder} is a link, out of the folder perhaps: remove it")
        if folder.is_dir():
            return
        folder.mkdir()
        sync_folder(folder.parent)

    def _remove_partials(self, old: int, new: int) -> None:
        """Remove partial tiles whose full tile is there; the first time those of earlier lives."""
        if self._swept:
            places = [p for p in places_between(old, new) if p.width == TILE_WIDTH]
            found = [self._root / f"{place.path()}.p" for place in places]
        else:
            found = list(_partials(self._root / TILES))
            self._swept = True
        for folder in found:
            if folder.is_dir() and not folder.is_symlink() and folder.with_suffix("").is_file():
                shutil.rmtree(folder)
                sync_folder(folder.parent)
                self._hook("partial removed")


def _partials(folder: Path) -> Iterator[Path]:
    """Every folder of partial tiles below a folder."""
    for parent, folders, _ in os.walk(folder):
        yield from (Path(parent) / name for name in folders if name.endswith(".p"))
