"""What a node has caught: files in `evidence/` of its folder, which nothing here ever deletes.

    <kind>-<16 hex digits>.json    evidence, exactly as `comity evidence check` takes it
    alarm-<16 hex digits>.json     what was seen, when, and the raw heads: no proof for others

The digits begin the SHA-256 of the bytes, so the same thing is kept once. A file appears whole and
durable, or not at all. Source: log-and-provenance.md 7.2 to 7.4.

Whoever floods a node fills its own room only: alarms are counted by whom they are about, proofs by
kind and by the key that they convict, and what nobody here can check has a room of its own. So no
alarm keeps a proof out, nor does one member's wrong keep out another's (ADR 48).
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, final

import msgspec
from msgspec import Struct

from comity.errors import Malformed, Unavailable
from comity.log.evidence_forms import EVIDENCE_BYTES_MAX, Finding, parse_evidence
from comity.values import NOTE_BYTES_MAX, sha256

FOLDER: Final = "evidence"
ALARM: Final = "alarm"
ALARMS_EACH_MAX: Final = 64
"""Alarms about one member; what comes after them is said, and not kept."""

PROOFS_EACH_MAX: Final = 8
"""Proofs of one kind against one key: the first convicts as well as any later one."""

UNPROVEN_MAX: Final = 64
"""Files in the form of evidence that nobody here can check yet."""

Check = Callable[[bytes], Finding | None]
"""What evidence shows by the keys and the log at hand; None: it cannot be checked here."""

_Room = tuple[str, str, bytes] | None


@final
class Alarm(Struct, frozen=True, forbid_unknown_fields=True):
    """What a node saw. kind: of the fault. notes: base64 of the heads as they came.

    evidence: names of the files of evidence kept with it. about: the member that it is about; "":
    none, or it is not known.
    """

    kind: str
    message: str
    time_s: int
    notes: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    about: str = ""


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

    def keep(self, evidence: bytes, check: Check) -> str:
        """Keep evidence, while there is room for more against the same key; its name.

        Raises Malformed: it is none. Unavailable: the disk.
        """
        kind = str(type(parse_evidence(evidence)).__struct_config__.tag)
        name = _name_of(kind, evidence)
        if name not in self.names():
            room = _room_of(check(evidence))
            filled = sum(_room_of(check(other)) == room for _, other in self.evidence())
            if filled < (PROOFS_EACH_MAX if room else UNPROVEN_MAX):
                self._write(name, evidence)
        return name

    def raise_alarm(
        self,
        kind: str,
        message: str,
        now_s: int,
        *,
        notes: Sequence[bytes] = (),
        evidence: Sequence[str] = (),
        about: str = "",
    ) -> str:
        """Keep what was seen, while there is room; once for the same kind, words, heads. Its name.

        Args:
            about: the member whose room it takes.
        """
        raw = tuple(base64.b64encode(note[:NOTE_BYTES_MAX]).decode() for note in notes)
        filled = 0
        for name, seen in self._alarms():
            if (seen.kind, seen.message, seen.notes) == (kind, message, raw):
                return name
            filled += seen.about == about
        alarm = Alarm(kind, message, now_s, raw, tuple(evidence), about)
        content = msgspec.json.encode(alarm, order="sorted")
        name = _name_of(ALARM, content)
        if filled < ALARMS_EACH_MAX:
            self._write(name, content)
        return name

    def _alarms(self) -> list[tuple[str, Alarm]]:
        """Every alarm, with its name; a damaged file is none."""
        found = []
        for name in self.names():
            if name.startswith(f"{ALARM}-"):
                with contextlib.suppress(Malformed):
                    found.append((name, read_alarm(self.read(name))))
        return found

    def _write(self, name: str, content: bytes) -> None:
        path = self._folder / name
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
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


def read_alarm(content: bytes) -> Alarm:
    """An alarm's file. Raises Malformed."""
    try:
        return msgspec.json.decode(content, type=Alarm)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Malformed("this alarm is damaged: keep the file, and look at its text") from error


def _name_of(kind: str, content: bytes) -> str:
    return f"{kind}-{sha256(content)[:16]}.json"


def _room_of(found: Finding | None) -> _Room:
    """What shares one bound; None: all that proves nothing here."""
    return (found.kind, found.accused, found.public) if found and found.proven else None
