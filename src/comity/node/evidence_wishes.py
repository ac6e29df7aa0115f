"""What a person may ask a node about evidence and heads: list, show, check, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Final, final

from msgspec import Struct

from comity.errors import Forged, HostFault, Malformed, Misconfigured, Unavailable
from comity.log.evidence import check_evidence
from comity.log.evidence_forms import EVIDENCE_BYTES_MAX, Finding, KnownKeys
from comity.log.heads import full_note, parse_cosignature, parse_signed_head, verify_host
from comity.node.alarms import ALARM, read_alarm
from comity.node.reacting import caught
from comity.node.replica import host_key
from comity.node.station import Station, describe
from comity.values import NOTE_BYTES_MAX, MemberId

LIST_MAX: Final = 200


@final
class EvidenceLine(Struct, frozen=True):
    """A file in `evidence/`. time_s: of an alarm, 0 for evidence. proven: to anyone."""

    name: str
    kind: str
    accused: str
    time_s: int
    proven: bool
    sentence: str


@final
class EvidenceList(Struct, frozen=True, tag="evidence-list"):
    """What this node has caught. halted: why it speaks no more to its host, or ""."""

    halted: str
    lines: tuple[EvidenceLine, ...]


@final
class EvidenceShown(Struct, frozen=True, tag="evidence-shown"):
    """One file, as it is."""

    name: str
    text: str


@final
class EvidenceChecked(Struct, frozen=True, tag="evidence-checked"):
    """What a check found; the fields of `Finding`."""

    kind: str
    accused: MemberId
    sizes: tuple[int, ...]
    proven: bool
    sentence: str


@final
class HeadShown(Struct, frozen=True, tag="head-shown"):
    """The newest head this node has stored, with the cosignatures it keeps: a signed note."""

    size: int
    text: str


@final
class HeadCompared(Struct, frozen=True, tag="head-compared"):
    """A head of somebody else beside this node's log. verdict: "same" or "longer"."""

    size: int
    here: int
    verdict: str


def list_evidence(station: Station) -> EvidenceList:
    """Every file of evidence and every alarm, newest names last."""
    lines = []
    for name in station.alarms.names()[-LIST_MAX:]:
        content = station.alarms.read(name)
        try:
            if name.startswith(f"{ALARM}-"):
                alarm = read_alarm(content)
                lines.append(EvidenceLine(name, alarm.kind, "", alarm.time_s, False, alarm.message))
                continue
            found = _checked(station, content)
            lines.append(
                EvidenceLine(name, found.kind, found.accused, 0, found.proven, found.sentence)
            )
        except (Malformed, Forged) as error:
            lines.append(EvidenceLine(name, "unreadable", "", 0, False, describe(error)))
    return EvidenceList(station.halted, tuple(lines))


def show_evidence(station: Station, name: str) -> EvidenceShown:
    """One file by its name. Raises Unavailable: no such file."""
    return EvidenceShown(name, station.alarms.read(name).decode("utf-8", "replace"))


def check_file(station: Station, path: Path) -> EvidenceChecked:
    """Check a file of evidence against this node's log. Raises Malformed, Forged, Misconfigured."""
    return checked(_checked(station, read_evidence_file(path)))


def check_with_keys(path: Path, known: KnownKeys) -> EvidenceChecked:
    """As `check_file`, with keys from id files and no log."""
    return checked(check_evidence(read_evidence_file(path), known))


def read_evidence_file(path: Path) -> bytes:
    """The bytes of a file that may be evidence. Raises Misconfigured: it cannot be read."""
    return _read(path, EVIDENCE_BYTES_MAX)


def show_head(station: Station) -> HeadShown:
    """The head to give to other members. Raises Unavailable: none is stored yet."""
    store = station.replica.store
    station.flush()
    head = store.head()
    if head is None:
        raise Unavailable("this node has no head yet: run it until it has read the log")
    lines = [parse_cosignature(line) for _, line in store.cosignatures(head.size)]
    return HeadShown(head.size, full_note(parse_signed_head(head.note), lines).decode())


def compare_head(station: Station, path: Path) -> HeadCompared:
    """Compare a head that another member gave with this node's log.

    Raises:
        HostFault(SPLIT_VIEW): the host signed both and they do not agree; the evidence is kept, and
            the node speaks no more to this host. Malformed, Forged: no head of this log.
    """
    note = _read(path, NOTE_BYTES_MAX)
    signed = parse_signed_head(note)
    replica = station.replica
    if signed.head.origin != replica.origin:
        raise Forged(f"this is a head of another log; expected origin {replica.origin}")
    host_public = host_key(replica.state, signed.head.size)
    if host_public is None:
        raise Unavailable("this node does not know the host's key yet: run it until it has")
    verify_host(signed, host_public)
    try:
        reached = replica.check_prefix(signed)
    except HostFault as error:
        caught(station, error, [note])
        raise
    return HeadCompared(signed.head.size, replica.state.size, "same" if reached else "longer")


def checked(found: Finding) -> EvidenceChecked:
    """A finding, to be shown."""
    return EvidenceChecked(found.kind, found.accused, found.sizes, found.proven, found.sentence)


def _checked(station: Station, evidence: bytes) -> Finding:
    return check_evidence(evidence, station.replica.known_keys, station.replica.judge)


def _read(path: Path, bytes_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from error
    if len(content) > bytes_max:
        raise Malformed(f"{path} is longer than {bytes_max} bytes")
    return content
