"""Entries on their way into the log, and rule 8: who may sign a head over them.

A head of size s counts only with the *host* key of whoever is host after s entries. So a host signs
nothing beyond the entry that makes another member host, and a candidate's entries stay a proposal,
in memory and without a head, until their own meaning is that it is host. Crash or not, what was
never signed never happened: members hand it in again. Source: log-and-provenance.md 7.4.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from comity.commons.state import Outcome, State, Void
from comity.errors import ComityError, Refused, Rule, Unavailable
from comity.log.merkle import leaf_hash
from comity.statements.entries import Entry, Statement
from comity.statements.governing import CommonsFound
from comity.storage.ports import Row
from comity.values import MemberId, StatementId


@final
@dataclass(frozen=True, slots=True)
class Logged:
    """The statement is entry `index`; rule: by which it is void, None when it took effect."""

    index: int
    rule: Rule | None


Verdict = Logged | ComityError
"""What became of one statement: in the log, or why not."""


@final
@dataclass(slots=True)
class Draft:
    """Entries that no head covers yet, and what the log would mean with them."""

    state: State
    rows: list[Row] = field(default_factory=list)
    indexes: dict[StatementId, int] = field(default_factory=dict)
    voids: dict[int, Rule] = field(default_factory=dict)

    def add(self, entry: Entry, after: State, outcome: Outcome) -> Logged:
        """One entry more, and the state after it."""
        said = entry.statement
        self.state = after
        self.rows.append(
            Row(entry.leaf, leaf_hash(entry.leaf), said.id, said.author, said.seq),
        )
        self.indexes[said.id] = entry.index
        if not isinstance(outcome, Void):
            return Logged(entry.index, None)
        self.voids[entry.index] = outcome.rule
        return Logged(entry.index, outcome.rule)


def may_sign(state: State, host_public: bytes) -> bool:
    """Whether the holder of this *host* key is host after these entries.

    Before the first host has entered nobody's key is known: whoever began the log goes on.
    """
    host_keys = state.keys.get(state.host)
    return host_keys is None or host_keys.keys.host == host_public


def only_proposed(verdict: Verdict, size: int) -> Verdict:
    """What is told of an entry beyond `size`, which no head covers: keep it, and send it again."""
    if isinstance(verdict, Logged) and verdict.index >= size:
        return Unavailable(
            f"proposed as entry {verdict.index}; it counts once the members have made this member"
            " host: send it again"
        )
    return verdict


def require_own_key(said: Statement, host: MemberId, host_public: bytes) -> None:
    """Raise Refused(WRONG_PARTY) when the first host would enter with another key than this."""
    body = said.body
    if (
        isinstance(body, CommonsFound)
        and said.author == host
        and body.key_set.keys.host != host_public
    ):
        raise Refused(
            Rule.WRONG_PARTY,
            f"{said.author} brings another host key than this process signs with;"
            " start the host with that member's key file",
        )
