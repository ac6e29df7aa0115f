"""Evidence in the log: whether it proves what it says, against keys the log itself has shown.

One place decides: `check_evidence`. What a node does about proof is its own affair.
Source: log-and-provenance.md 7.3, 7.4.
"""

from __future__ import annotations

from comity.commons.state import State
from comity.errors import Forged, Malformed, Rule
from comity.log.evidence import check_host_fork
from comity.log.heads import origin_of
from comity.values import MemberId


def check_evidence(state: State, subject: MemberId, evidence: str) -> Rule | None:
    """Why the evidence proves nothing against the subject; None when it does.

    Args:
        evidence: canonical JSON of `log/evidence.py`; keys that have been retired still accuse.
    """
    origin = origin_of(state.commons, state.charter.origin_prefix)
    blob = evidence.encode()
    for host_public in _host_keys(state, subject):
        try:
            first, _ = check_host_fork(blob, host_public)
        except (Malformed, Forged):
            continue
        if first.origin == origin:
            return None
    return Rule.NOT_PROVEN


def _host_keys(state: State, subject: MemberId) -> list[bytes]:
    """Every *host* key of the member that was ever in force, the newest first."""
    sets = [epoch.keys.get(subject) for epoch in (state.epoch, *reversed(state.past))]
    return list(dict.fromkeys(key_set.keys.host for key_set in sets if key_set is not None))
