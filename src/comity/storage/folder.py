"""A release folder on disk: read as if an enemy had made it, written so that it is whole or absent.

Reading never follows a link: every entry is looked at before it is opened, every component is
opened with O_NOFOLLOW below a folder that is already open, and a file that is not the one that was
listed is refused (log-and-provenance.md 8, attacks 40 to 43).
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, final

from comity.errors import Malformed, Misconfigured, Unavailable
from comity.release.form import FILES_MAX, FOLDERS_DEEP_MAX, check_paths, pieces, shown
from comity.storage.disk import DiskFaults, sync_folder
from comity.values import BLOB_CHUNK_BYTES

_ENTRIES_MAX: Final = 2 * FILES_MAX
"""Files and folders together."""
_CHANGED: Final = "{} was changed while the folder was read: start again"
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Non-blocking, so that a pipe put in a file's place cannot hold the reader up.
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _Seen(NamedTuple):
    """A file as it was when the folder was listed."""

    device: int
    inode: int
    size: int
    changed_ns: int


@final
class DiskFolder:
    """A `release.form.FolderReader` on a folder of this machine. Listed once, when it is made.

    Args:
        root: the release folder; it may itself be reached through a link.
        hollow: whether it may hold empty folders, as an export that was killed leaves them.
    Raises:
        Misconfigured: no such folder.
    """

    def __init__(self, root: Path, *, hollow: bool = False) -> None:
        self._root = root
        self._hollow = hollow
        self._files: dict[str, _Seen] | None = None
        if not root.is_dir():
            raise Misconfigured(f"{root} is not a folder: name the release folder itself")

    def names(self) -> Mapping[str, int]:
        """Every file by path, with its size. Raises as `FolderReader.names`."""
        if self._files is None:
            files: dict[str, _Seen] = {}
            with DiskFaults(self._root), _opened(self._root) as root:
                _walk(root, "", 0, files, [0], self._hollow)
            self._files = files
        return {path: seen.size for path, seen in self._files.items()}

    def chunks(self, path: str) -> Iterator[bytes]:
        """The bytes of a listed file. Raises as `FolderReader.chunks`."""
        self.names()
        assert self._files is not None
        expected = self._files[path]
        with DiskFaults(self._root / path), _opened(self._root) as root:
            descriptor = _open_below(root, path)
            try:
                if _seen(os.fstat(descriptor), path) != expected:
                    raise Malformed(_CHANGED.format(path))
                yield from _read(descriptor, path, expected.size)
            finally:
                os.close(descriptor)


def write_folder(path: Path, files: Mapping[str, bytes | Path]) -> None:
    """Write a folder as a whole: after a crash it is there complete, or not at all.

    Args:
        path: of the new folder; what it lies in exists.
        files: by path relative to it; bytes, or a file of this machine to copy.
    Raises:
        Misconfigured: something of that name is there already.
        Malformed: a path that no release has.
        Unavailable: the disk does not take it; nothing of that name is left.
    """
    check_paths({name: len(file) if isinstance(file, bytes) else 0 for name, file in files.items()})
    if os.path.lexists(path):
        raise Misconfigured(f"{path} exists already: choose another name, or move it away first")
    with DiskFaults(path):
        # The temporary folder is private; the release inside has the ordinary mode of new folders.
        private = Path(tempfile.mkdtemp(prefix=".release-", dir=path.parent))
        try:
            whole = private / path.name
            whole.mkdir()
            for name, file in sorted(files.items()):
                _write(whole / name, file)
            for folder, _, _ in os.walk(whole, topdown=False):
                sync_folder(Path(folder))
            # Die before the rename: only a hidden folder is left, which nobody takes for a release.
            whole.rename(path)
            sync_folder(path.parent)
        finally:
            shutil.rmtree(private, ignore_errors=True)


def _walk(
    folder: int, prefix: str, depth: int, files: dict[str, _Seen], count: list[int], hollow: bool
) -> None:
    """List a folder that is open. count: entries seen so far, in a list of one."""
    if depth > FOLDERS_DEEP_MAX:
        raise Malformed(f"{shown(prefix)} lies deeper than {FOLDERS_DEEP_MAX} folders")
    before = count[0]
    with os.scandir(folder) as entries:
        for entry in entries:
            count[0] += 1
            if count[0] > _ENTRIES_MAX:
                raise Malformed(f"a release has at most {_ENTRIES_MAX} files and folders")
            path = prefix + entry.name
            found = entry.stat(follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                files[path] = _seen(found, path)
                continue
            inner = os.open(entry.name, _FOLDER_FLAGS, dir_fd=folder)
            try:
                _walk(inner, f"{path}/", depth + 1, files, count, hollow)
            finally:
                os.close(inner)
    if count[0] == before and not hollow:
        raise Malformed(f"{shown(prefix) or 'the folder'} is empty: no release has such a folder")


def _seen(found: os.stat_result, path: str) -> _Seen:
    if not stat.S_ISREG(found.st_mode):
        raise Malformed(f"{shown(path)} is no regular file: a release holds no links or devices")
    if found.st_nlink != 1:
        raise Malformed(
            f"{shown(path)} has a second name (a hard link), by which it can be changed: "
            "copy the folder and check the copy"
        )
    return _Seen(found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns)


@contextmanager
def _opened(root: Path) -> Iterator[int]:
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_below(root: int, path: str) -> int:
    """Open a listed file below an open folder without following any link on the way."""
    *folders, name = path.split("/")
    at = os.dup(root)
    try:
        for folder in folders:
            inner = os.open(folder, _FOLDER_FLAGS, dir_fd=at)
            os.close(at)
            at = inner
        return os.open(name, _FILE_FLAGS, dir_fd=at)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise Malformed(_CHANGED.format(path)) from error
        raise
    finally:
        os.close(at)


def _read(descriptor: int, path: str, size: int) -> Iterator[bytes]:
    left = size
    while chunk := os.read(descriptor, BLOB_CHUNK_BYTES):
        left -= len(chunk)
        if left < 0:
            break
        yield chunk
    if left:
        raise Malformed(_CHANGED.format(path))


def _write(place: Path, file: bytes | Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("xb") as written:
        for chunk in pieces(file) if isinstance(file, bytes) else _copied(file):
            written.write(chunk)
        written.flush()
        os.fsync(written.fileno())


def _copied(source: Path) -> Iterator[bytes]:
    descriptor = os.open(source, _FILE_FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unavailable(f"{source} is no regular file")
        while chunk := os.read(descriptor, BLOB_CHUNK_BYTES):
            yield chunk
    finally:
        os.close(descriptor)
