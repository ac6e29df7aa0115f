"""The form of a release folder: which paths it has, how long each file may be, how it is read.

Decided here and nowhere else. A path that is fine here is fine on every system: lower-case ASCII
components, no reserved names, no two that differ by case only (log-and-provenance.md 4, attacks 40
to 42). Content is a closed list, so that no pickle and no script can hide in it (attack 44).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Final, Protocol

from comity.errors import Forged, Malformed
from comity.log.tiles import ENTRY_BUNDLE_BYTES_MAX
from comity.values import BLOB_BYTES_MAX, BLOB_CHUNK_BYTES, Digest, is_digest

BUNDLE_VERSION: Final = 1
"""Of the whole form; a change of any rule here is a new version."""

FILES_MAX: Final = 10_000
FOLDERS_DEEP_MAX: Final = 5
"""A file lies in at most so many folders, one within the other, below the release folder."""
RELEASE_BYTES_MAX: Final = 64 * 2**30
PROOF_BYTES_MAX: Final = ENTRY_BUNDLE_BYTES_MAX
"""Of one file outside content/: the largest is an entry bundle of the log."""
LOG_ENTRIES_MAX: Final = 256_000
"""A longer log is left out of the folder: its tiles would lie too deep."""

CONTENT: Final = "content/"
LOG: Final = "proof/log/"
MANIFEST: Final = "MANIFEST.sha256"
MODEL: Final = "model/model.safetensors"
CARD: Final = "model/README.md"
CONFIG: Final = "model/config.json"
LICENCE: Final = "model/LICENSE"
CHARTER: Final = "proof/charter.json"
EPOCH: Final = "proof/epochs/0000.json"
FOUNDERS: Final = "proof/epochs/0000.statements.jsonl"
EPOCHS_MAX: Final = 2_000
"""After epoch 0: a folder holds two files for each."""
POLICY: Final = "proof/policy.txt"
SIGNS: Final = "proof/release.jsonl"
INCLUSION: Final = "proof/release.tlog-proof"
VERIFY: Final = "VERIFY.md"
ALWAYS: Final = frozenset(
    (
        *(CONTENT + name for name in (MANIFEST, MODEL, CARD, CONFIG)),
        *(CHARTER, EPOCH, FOUNDERS, POLICY, SIGNS, INCLUSION, VERIFY),
    )
)
"""Files that every release has."""

_COMPONENT = re.compile(r"\A[a-z0-9][a-z0-9._-]{0,63}\Z")
_UPPER_CASE: Final = frozenset(("README.md", "LICENSE", "NOTICE", MANIFEST, VERIFY))
_RESERVED: Final = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)))
)
_PATH_CHARS_MAX: Final = 400
_REPORT = re.compile(r"\Areports/[a-z0-9][a-z0-9-]{0,58}\.json\Z")
_EPOCH = re.compile(r"\Aproof/epochs/([0-9]{4})\.(json|statements\.jsonl)\Z")
_LINE = re.compile(r"\A([0-9a-f]{64})  ([^\n]+)\Z")
_SLUG = re.compile(r"\A[a-z0-9][a-z0-9.-]{0,63}\Z")


class FolderReader(Protocol):
    """A release folder, read only. Implementations never follow a link out of the folder."""

    def names(self) -> Mapping[str, int]:
        """Every file, by its path with `/`, and its size in bytes.

        Raises:
            Malformed: an entry that is no regular file or folder, or a limit is crossed.
            Unavailable: the disk does not answer.
        """
        ...

    def chunks(self, path: str) -> Iterator[bytes]:
        """The bytes of one of `names`, from its first, in pieces of up to 1 MiB.

        Raises:
            Malformed: it is not the file any more that `names` saw. Unavailable.
        """
        ...


def path_fault(path: str) -> str | None:
    """Why a release has no file of this path, in words; None when it may."""
    parts = path.split("/")
    if len(path) > _PATH_CHARS_MAX or len(parts) > FOLDERS_DEEP_MAX + 1:
        return f"lies in at most {FOLDERS_DEEP_MAX} folders"
    for part in parts:
        if part in _UPPER_CASE:
            continue
        if not _COMPONENT.match(part) or part.endswith("."):
            return "each name is of lower-case letters, digits and . _ - and starts with no sign"
        if part.split(".")[0] in _RESERVED:
            return "some systems reserve that name"
    return None


def check_paths(sizes: Mapping[str, int]) -> None:
    """Check paths, number and sizes of files together. Raises Malformed, naming the file."""
    if len(sizes) > FILES_MAX:
        raise Malformed(f"a release has at most {FILES_MAX} files, this {len(sizes)}")
    seen: dict[str, str] = {}
    for path in sorted(sizes):
        fault = path_fault(path)
        if fault is not None:
            raise Malformed(f"{shown(path)}: a file of a release {fault}")
        other = seen.setdefault(path.casefold(), path)
        if other != path:
            raise Malformed(f"{shown(path)} and {shown(other)} differ by case only")
        bytes_max = BLOB_BYTES_MAX if path.startswith(CONTENT) else PROOF_BYTES_MAX
        if not 0 <= sizes[path] <= bytes_max:
            raise Malformed(f"{path} has {sizes[path]} bytes, at most {bytes_max} are read")
    folders = {path[:at] for path in seen for at, sign in enumerate(path) if sign == "/"}
    for path in sorted(folders & seen.keys()):
        raise Malformed(f"{shown(path)} is a file and a folder")
    if sum(sizes.values()) > RELEASE_BYTES_MAX:
        raise Malformed(f"a release has at most {RELEASE_BYTES_MAX} bytes")


def check_whole(sizes: Mapping[str, int]) -> None:
    """Check that every needed file is there and no other outside content/ and the log.

    Raises:
        Malformed: names the first file that is missing or too many.
    """
    for path in sorted(ALWAYS - sizes.keys()):
        raise Malformed(f"{path} is missing")
    for path in sorted(sizes):
        inside = path.startswith(CONTENT) and is_content(path.removeprefix(CONTENT))
        known = path in ALWAYS or path.startswith(LOG) or _EPOCH.match(path) is not None
        if not known and not inside:
            raise Malformed(f"{path} is too many: no release has such a file")
    epochs_count(sizes)


def epoch_path(number: int) -> str:
    """Where the document of an epoch is; its number from 0."""
    return f"proof/epochs/{number:04}.json"


def approvals_path(number: int) -> str:
    """Where the approvals of an epoch are; its number from 1."""
    return f"proof/epochs/{number:04}.statements.jsonl"


def epochs_count(sizes: Mapping[str, int]) -> int:
    """How many epochs follow epoch 0 in a folder.

    Raises:
        Malformed: more than EPOCHS_MAX, or one of them lacks a file.
    """
    numbers = {int(match[1]) for path in sizes if (match := _EPOCH.match(path))}
    last = max(numbers, default=0)
    if last > EPOCHS_MAX:
        raise Malformed(f"a release has at most {EPOCHS_MAX} epochs after the first, not {last}")
    for number in range(1, last + 1):
        for path in (epoch_path(number), approvals_path(number)):
            if path not in sizes:
                raise Malformed(f"{path} is missing: the chain of epochs has no gaps")
    return last


def is_content(path: str) -> bool:
    """Whether content/ may hold this path, relative to it."""
    fixed = (MANIFEST, MODEL, CARD, CONFIG, LICENCE)
    return path in fixed or _REPORT.match(path) is not None


def folder_name(name: str, version: str) -> str:
    """`<name>-<version>`, what a release folder is called.

    Raises:
        Malformed: one of them has other signs than lower-case letters, digits, dots and hyphens.
    """
    if not _SLUG.match(name) or not _SLUG.match(version):
        raise Malformed("name and version of a release: lower-case letters, digits, . and - only")
    return f"{name}-{version}"


def manifest_text(digests: Mapping[str, Digest]) -> bytes:
    """The manifest, in the form of `sha256sum`, sorted.

    Args:
        digests: every other file of content/, by path relative to it.
    """
    assert all(is_content(path) and path != MANIFEST for path in digests)
    lines = [f"{digests[path]}  {path}\n" for path in sorted(digests)]
    return "".join(lines).encode("ascii")


def parse_manifest(raw: bytes) -> dict[str, Digest]:
    """Read a manifest; it must be what `manifest_text` writes.

    Raises:
        Malformed: not in form or not sorted, a path twice, or one that content/ does not hold.
    """
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        raise Malformed(f"{MANIFEST} is not ASCII") from None
    digests: dict[str, Digest] = {}
    for line in text.removesuffix("\n").split("\n"):
        match = _LINE.match(line)
        if match is None or not is_digest(match[1]) or match[2] == MANIFEST:
            raise Malformed(f"{MANIFEST} has a line that sha256sum would not write")
        if not is_content(match[2]):
            raise Malformed(f"{MANIFEST} names {shown(match[2])}, which no release has")
        digests[match[2]] = Digest(match[1])
    if manifest_text(digests) != raw:
        raise Malformed(f"{MANIFEST} is not sorted, names a file twice, or does not end in newline")
    return digests


def read_file(folder: FolderReader, path: str, bytes_max: int = PROOF_BYTES_MAX) -> bytes:
    """A small file as a whole. Raises Malformed when it is longer, and what `chunks` raises."""
    found = bytearray()
    for chunk in folder.chunks(path):
        found += chunk
        if len(found) > bytes_max:
            raise Malformed(f"{path} has more than {bytes_max} bytes")
    return bytes(found)


def read_checked(folder: FolderReader, path: str, digest: Digest) -> Iterator[bytes]:
    """The bytes of a file, in chunks, for use after `verify` (attack 43).

    Use nothing of it before the last chunk is out: only then is the hash known.
    Raises:
        Forged: the file is not the one any more that was hashed.
    """
    hashed = sha256()
    for chunk in folder.chunks(path):
        hashed.update(chunk)
        yield chunk
    if hashed.hexdigest() != digest:
        raise Forged(f"{path} has changed since it was checked: start again")


def hash_file(folder: FolderReader, path: str, keep_bytes: int = 0) -> tuple[Digest, bytes, int]:
    """(SHA-256, first bytes, size) of a file, in one pass over one opening of it."""
    hashed, kept, size = sha256(), bytearray(), 0
    for chunk in folder.chunks(path):
        hashed.update(chunk)
        kept += chunk[: max(0, keep_bytes - len(kept))]
        size += len(chunk)
    return Digest(hashed.hexdigest()), bytes(kept), size


def pieces(raw: bytes) -> Iterator[bytes]:
    """Bytes in chunks, as `FolderReader.chunks` gives them."""
    for at in range(0, len(raw), BLOB_CHUNK_BYTES):
        yield raw[at : at + BLOB_CHUNK_BYTES]


def shown(path: str) -> str:
    """A path of unknown origin, safe to print: nothing but printable ASCII."""
    return ascii(path)[1:-1]


def lines_of(raw: bytes, path: str, lines_max: int) -> list[bytes]:
    """The lines of a file, each of which ends in newline. Raises Malformed, naming the file."""
    if not raw.endswith(b"\n"):
        raise Malformed(f"{path} does not end in newline")
    lines = raw[:-1].split(b"\n")
    if len(lines) > lines_max:
        raise Malformed(f"{path} has more than {lines_max} lines")
    return lines


def jsonl(envelopes: Iterable[bytes]) -> bytes:
    """Envelopes, one per line."""
    return b"".join(envelope + b"\n" for envelope in envelopes)
