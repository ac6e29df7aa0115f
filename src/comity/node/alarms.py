"""What a node has caught: files in `evidence/` of its folder, which nothing here ever deletes.

    <kind>-<16 hex digits>.json    evidence, exactly as `comity evidence check` takes it
    alarm-<16 hex digits>.json     what was seen, when, and the raw heads: no proof for others

The digits begin the SHA-256 of the bytes, so the same thing is kept once. A file appears whole and
durable, or not at all. Source: log-and-provenance.md 7.2 to 7.4.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

import msgspec
from msgspec import Struct

from comity.errors import Malformed, Unavailable
from comity.log.evidence_forms import EVIDENCE_BYTES_MAX, parse_evidence
from comity.values import NOTE_BYTES_MAX, sha256

FOLDER: Final = "evidence"
ALARM: Final = "alarm"
KEPT_MAX: Final = 1_000
"""Files of one folder; what comes after them is said, and not kept."""


@final
class Alarm(Struct, frozen=True, forbid_unknown_fields=True):
    """What a node saw. kind: of the fault. notes: base64 of the heads as they came.

    evidence: names of the files of evidence kept with it.
    """

    kind: str
    message: str
    time_s: int
    notes: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()


@final
class Alarms:
    """The folder of one node; used from one thread."""

    def __init__(self, node_folder: Path) -> None:
        self._folder = node_folder / FOLDER

    def names(self) -> list[str]:
        """Every file, evidence and alarms, by name."""
        if not self._folder.is_dir():
            return []
        return sorted(path.name for path in self._folder.glob("*-*.json"))

    def read(self, name: str) -> bytes:
        """One of them. Raises Unavailable: no such file, or the disk."""
        if name not in self.names():
            raise Unavailable(f"no evidence has the name {name[:80]!a} here")
        try:
            with (self._folder / name).open("rb") as file:
                return file.read(EVIDENCE_BYTES_MAX + 1)
        except OSError as error:
            raise Unavailable(f"cannot read {name} ({error.strerror})") from error

    def evidence(self) -> list[tuple[str, bytes]]:
        """Every file of evidence, with its name; what is not in form is left out."""
        found = []
        for name in self.names():
            if name.startswith(f"{ALARM}-"):
                continue
            content = self.read(name)
            try:
                parse_evidence(content)
            except Malformed:
                continue
            found.append((name, content))
        return found

    def keep(self, evidence: bytes) -> str:
        """Keep evidence; its name. Raises Malformed: it is none. Unavailable: the disk."""
        return self._keep(str(type(parse_evidence(evidence)).__struct_config__.tag), evidence)

    def raise_alarm(
        self,
        kind: str,
        message: str,
        now_s: int,
        *,
        notes: Sequence[bytes] = (),
        evidence: Sequence[str] = (),
    ) -> str:
        """Keep what was seen; once for the same kind, words and heads. Its name."""
        raw = tuple(base64.b64encode(note[:NOTE_BYTES_MAX]).decode() for note in notes)
        for name in self.names():
            if name.startswith(f"{ALARM}-"):
                seen = read_alarm(self.read(name))
                if (seen.kind, seen.message, seen.notes) == (kind, message, raw):
                    return name
        alarm = Alarm(kind, message, now_s, raw, tuple(evidence))
        return self._keep(ALARM, msgspec.json.encode(alarm, order="sorted"))

    def _keep(self, kind: str, content: bytes) -> str:
        name = f"{kind}-{sha256(content)[:16]}.json"
        path = self._folder / name
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            if path.exists() or len(self.names()) >= KEPT_MAX:
                return name
            part = self._folder / f".{name}.part"
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            # Die here: the part is written over when the same thing is seen again.
            part.rename(path)
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise Unavailable(f"cannot keep {name} ({error.strerror}); free space") from error
        return name


def read_alarm(content: bytes) -> Alarm:
    """An alarm's file. Raises Malformed."""
    try:
        return msgspec.json.decode(content, type=Alarm)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Malformed("this alarm is damaged: keep the file, and look at its text") from error
