"""Where hosts answer: as a person said, as members offered in the log, as node.toml says."""

from __future__ import annotations

from typing import Final

import msgspec

from comity.commons.state import State
from comity.node.settings import NodeSettings
from comity.statements.membership import HostTakeover
from comity.storage.journal import SqliteJournal
from comity.values import MemberId

FOLLOWED: Final = "host/followed"
"""Setting of the journal: (member, URL) of the host that this node follows, as JSON."""


def address_of(state: State, member: MemberId) -> str | None:
    """Where a member would host, by its newest take-over or offer."""
    for claim in reversed(state.changes.claims):
        if claim.author == member and isinstance(claim.body, HostTakeover):
            return claim.body.address
    return state.changes.offers.get(member)


def known_urls(state: State, me: MemberId, settings: NodeSettings) -> tuple[str, ...]:
    """Every address at which a host may answer: of offers and take-overs, then of node.toml."""
    offered = [address_of(state, member) for member in state.members if member != me]
    urls = [url for url in (*offered, *settings.hosts, settings.host_url) if url]
    return tuple(dict.fromkeys(urls))


def followed_url(state: State, journal: SqliteJournal, settings: NodeSettings) -> str:
    """Where the host of this copy of the log answers: as followed, as it said, or as set."""
    kept = journal.get(FOLLOWED)
    if kept:
        member, url = msgspec.json.decode(kept, type=tuple[MemberId, str])
        if member == state.host:
            return url
    if state.epoch.host_size:
        return state.changes.offers.get(state.host, settings.host_url)
    return settings.host_url
