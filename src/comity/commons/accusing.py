"""Evidence in the log: whether it proves what it says, against keys the log itself has shown.

One place decides: `check_evidence`. What a node does about proof is its own affair.
Source: log-and-provenance.md 7.3, 7.4.
"""

from __future__ import annotations

from comity.commons.state import State
from comity.errors import Forged, Malformed, Rule
from comity.log import evidence as proof
from comity.log.evidence_forms import KnownKeys
from comity.log.heads import origin_of
from comity.statements.governing import PublicKeys
from comity.values import MemberId


def check_evidence(state: State, subject: MemberId, evidence: str) -> Rule | None:
    """Why the evidence proves nothing against the subject; None when it does.

    What only a replay of the log could show (`judge`) is not asked here: a fold has no entries.

    Args:
        evidence: canonical JSON of `log/evidence.py`; keys that have been retired still accuse.
    """
    origin = origin_of(state.commons, state.charter.origin_prefix)
    try:
        found = proof.check_evidence(evidence.encode(), KnownKeys(_keys_shown(state), origin))
    except (Malformed, Forged):
        return Rule.NOT_PROVEN
    return None if found.proven and found.accused == subject else Rule.NOT_PROVEN


def _keys_shown(state: State) -> dict[MemberId, list[PublicKeys]]:
    """Every key set of every member that was ever in force, the newest first."""
    shown: dict[MemberId, list[PublicKeys]] = {}
    for epoch in (state.epoch, *reversed(state.past)):
        for member, key_set in epoch.keys.items():
            sets = shown.setdefault(member, [])
            if key_set.keys not in sets:
                sets.append(key_set.keys)
    return shown
