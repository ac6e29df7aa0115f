"""What a node does about a host, or a member, that it has caught (log-and-provenance.md 7.4).

A host that broke the protocol is spoken to no more: nothing is submitted, cosigned or revealed, and
nothing is taken from it. The mirror goes on, read-only. While the host of evidence is still host,
the node stays so after a restart, because it reads its own evidence when it opens; what is no proof
(an older head, bytes that do not fit) stops it until a person restarts it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from comity.errors import ComityError, Forged, HostFault, Malformed, Unavailable
from comity.log.evidence import check_evidence
from comity.log.evidence_forms import Finding, KnownKeys
from comity.log.heads import newest_quorum_time, parse_signed_head
from comity.node.comparing import Compared, final_by_lines
from comity.node.replica import Replica
from comity.node.station import Station, describe
from comity.statements.entries import Statement

LOG = logging.getLogger(__name__)

FAULT = "host-fault"
"""What stands in the way at a node that has caught its host."""

TRUNCATED = "truncated"
"""What stands in the way while the host names more entries than it gives."""

_WHAT_NOW = (
    "; this node says, cosigns and reveals nothing more to this host, and takes nothing from it."
    " Its mirror goes on. Keep the folder as it is; `comity evidence list` shows what was kept."
    " Compare heads with the other members (`comity log compare`), and decide who hosts"
)


def caught(station: Station, error: ComityError, notes: Sequence[bytes] = ()) -> None:
    """Stop speaking to the host, and keep what shows why. notes: heads as they came."""
    kind = error.kind.value if isinstance(error, HostFault) else type(error).__name__.lower()
    proof = error.evidence if isinstance(error, HostFault) else b""
    halt(station, describe(error))
    try:
        station.flush()  # what evidence is judged by after a restart
    except Unavailable as away:
        station.faults["evidence-disk"] = describe(away)
    host = station.replica.state.host
    keep(station, kind, describe(error), [proof] if proof else [], notes, about=host)


def halt(station: Station, why: str) -> None:
    """Speak no more to the host, for as long as this process runs."""
    if not station.halted:
        LOG.critical("stopped speaking to the host why=%s", why)
    station.halted = why
    station.faults[FAULT] = f"{why}{_WHAT_NOW}"


def resume(station: Station) -> None:
    """Speak again: another host is in office, unless the evidence kept here is about that one."""
    station.halted = ""
    station.faults.pop(FAULT, None)
    why = proven_against_host(station)
    if why is not None:
        halt(station, why)


def keep(
    station: Station,
    kind: str,
    message: str,
    evidence: Iterable[bytes],
    notes: Sequence[bytes],
    *,
    about: str = "",
) -> None:
    """Keep evidence and an alarm about it; a full disk is said, and stops nothing else.

    Args:
        about: the member that is to blame, or that says so falsely: it fills its own room only.
    """
    replica = station.replica

    def check(each: bytes) -> Finding | None:
        try:
            return check_evidence(each, replica.known_keys, replica.judge)
        except (Malformed, Forged):
            return None

    try:
        names = [station.alarms.keep(each, check) for each in evidence]
        station.alarms.raise_alarm(
            kind, message, station.clock(), notes=notes, evidence=names, about=about
        )
        station.faults.pop("evidence-disk", None)
    except (Unavailable, Malformed) as error:
        station.faults["evidence-disk"] = describe(error)


def caught_by_peer(station: Station, compared: Compared) -> None:
    """A peer was shown another history by the host: keep the evidence, and stop."""
    replica, accused, sizes = station.replica, [], []
    for evidence in compared.evidence:
        found = check_evidence(evidence, replica.known_keys)
        if found.kind == "host":
            sizes.append(found.sizes[0])
        else:
            accused.append(str(found.accused))
    why = f"the host shows {compared.url} another history than this node"
    if accused:
        why += f"; both sides are cosigned by {', '.join(sorted(set(accused)))}"
    if any(_final_too(replica, note, sizes) for note in compared.notes):
        why += (
            "; TWO FINAL HEADS do not agree, and no software picks a winner: found the commons anew"
            " from the last final head that all have"
        )
    halt(station, why)
    host = replica.state.host
    keep(station, "split-view", why, compared.evidence, compared.notes, about=host)


def proven_against_host(station: Station) -> str | None:
    """What the kept evidence proves against the host that is in office now; None: nothing."""
    replica = station.replica
    host = replica.state.keys.get(replica.state.host)
    if host is None:
        return None
    # The host's keys in force now: what an earlier key of it did is no fault of this one.
    keys = {**replica.known_keys.keys, replica.state.host: [host.keys]}
    for name, evidence in station.alarms.evidence():
        try:
            found = check_evidence(evidence, KnownKeys(keys, replica.origin), replica.judge)
        except (Malformed, Forged):
            continue
        against_host = found.kind in ("host", "inadmissible")
        if found.proven and against_host and found.accused == replica.state.host:
            return f"{found.sentence} ({name})"
    return None


def names_other_head(station: Station, said: Statement, envelope: bytes) -> None:
    """A member's statement, handed in by others, rests on a head that this log does not have."""
    why = (
        f"statement {said.seq} of {said.author} names another head of size {said.head_size} than"
        " this log has: the host shows it another history, or it says so falsely; compare heads"
        f" with {said.author}"
    )
    station.faults["heads"] = why
    keep(station, "other-head", why, [], [envelope], about=said.author)


def note_truncated(station: Station, named: int, given: int) -> None:
    """Say when the host names a head of more entries than it gives (attack 5 of the log)."""
    size = station.replica.state.size
    if given or named <= size:
        station.faults.pop(TRUNCATED, None)
        return
    station.faults[TRUNCATED] = (
        f"the host names a head of {named} entries and gives none after {size}; if this stays, ask"
        " the other members for theirs"
    )


def stale(station: Station) -> str:
    """Why the newest final head is too old to go by; "" when it is not, or there is none.

    Its age is that of the q-th newest cosignature (attack 6 of the log).
    """
    replica = station.replica
    final = replica.final_head()
    if final is None:
        return ""
    signed, lines = final
    epoch = replica.state.epoch_at(signed.head.size)
    keys = {member: key_set.keys.head for member, key_set in epoch.keys.items()}
    at_s = newest_quorum_time(signed.head, lines, keys, epoch.quorum)
    age_s, most_s = station.clock() - (at_s or 0), station.settings.head_age_s_max
    if at_s is None or age_s <= most_s:
        return ""
    return (
        f"the newest final head was cosigned by enough members {age_s} seconds ago, more than"
        f" {most_s}: the host may keep newer ones back; ask the other members for theirs"
    )


def _final_too(replica: Replica, note: bytes, sizes: Sequence[int]) -> bool:
    """Whether a head that does not fit is final by its lines, and not below one of ours."""
    signed = parse_signed_head(note)
    final_size = replica.final_size
    if not final_size or not final_by_lines(replica.state, signed):
        return False
    return signed.head.size <= final_size or final_size in sizes
