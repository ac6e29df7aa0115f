"""What must hold through every change of host: written again from log-and-provenance.md 7.4.

Whoever approves another host must be shown all that it holds itself, and from then on gives the old
one no cosignature. A host signs nothing on top of the entries that make another member host. Whom a
node has seen at a lie, it tells nothing more. A round has one result, in whatever log it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from comity.commons.state import State
from comity.errors import ComityError
from comity.log.heads import parse_signed_head, verify_host
from comity.statements.entries import Statement
from comity.statements.membership import EpochApprove
from comity.values import Digest, MemberId, StatementId
from tests.sim.judging import Violation
from tests.sim.network import Asked
from tests.sim.watching import statement_of

if TYPE_CHECKING:
    from tests.sim.hosts import SimHost
    from tests.sim.nodes import SimNode
    from tests.sim.world import World


@dataclass
class Offices:
    """documents: (number, host) of every epoch that was proposed. promised: what each member has
    approved last that makes another member host. liars: hosts that showed a node something that
    does not go with its copy, by the node's wire. results: (model, survivors) of each round."""

    world: World
    documents: dict[Digest, tuple[int, MemberId]] = field(default_factory=dict)
    promised: dict[MemberId, tuple[int, MemberId]] = field(default_factory=dict)
    liars: set[tuple[MemberId, str]] = field(default_factory=set)
    results: dict[tuple[StatementId, int], tuple[Digest, frozenset[MemberId]]] = field(
        default_factory=dict
    )
    looked: dict[str, object] = field(default_factory=dict)
    heard: set[StatementId] = field(default_factory=set)

    # -- what leaves a node -------------------------------------------------------------------

    def hear(self, wire: MemberId, asked: Asked, host: SimHost) -> None:
        """A request is on its way to a host."""
        node = next((each for each in self.world.nodes if each.wire == wire), None)
        if node is None or node.member in self.world.corrupt:
            return
        spoken = asked.path == "/cosignatures" or asked.path == "/statements"
        if spoken and (wire, host.name) in self.liars:
            raise Violation("caught", f"{wire} speaks to host {host.name}, which it has seen lie")
        if asked.path == "/cosignatures" and node.member not in self.world.restored:
            self._no_line_for_the_left(node, host)
        elif asked.path == "/statements":
            for envelope in asked.body.split(b"\n"):
                self._approves(node, envelope, host)

    def answered(self, wire: MemberId, asked: Asked, host: SimHost) -> None:
        """An answer has reached a node: it has seen what the host shows."""
        if not self.world.host_lies or asked.path != "/entries" or "proposed" in asked.query:
            return
        node = next(each for each in self.world.nodes if each.wire == wire)
        told, mine = host.service.published.state, node.state
        size = min(told.size, mine.size)
        tree = node.station.replica.view.tree
        if told.epoch.number == mine.epoch.number and host.service._tree.root(size) != tree.root(
            size
        ):
            self.liars.add((wire, host.name))

    def _no_line_for_the_left(self, node: SimNode, host: SimHost) -> None:
        number, promised = self.promised.get(node.member, (0, host.owner))
        if node.state.epoch.number < number and host.owner != promised:
            raise Violation(
                "left host", f"{node.member} cosigns for {host.name}, having approved {promised}"
            )

    def _approves(self, node: SimNode, envelope: bytes, host: SimHost) -> None:
        try:
            said = statement_of(envelope)
        except ComityError:
            return
        if not isinstance(said.body, EpochApprove) or said.id in self.heard:
            return
        self.heard.add(said.id)
        self._learn_documents()
        number, member = self.documents.get(said.body.document, (0, node.state.host))
        if number != said.body.epoch or member == node.state.host:
            return
        self.promised[node.member] = (number, member)
        if host.owner == member and not host.service.in_office and not self.world.host_lies:
            self._holds_all(node, said, host)

    def _holds_all(self, node: SimNode, said: Statement, host: SimHost) -> None:
        start, size = node.station.replica.final_size, node.state.size
        shown = [*host.service.entries(start), *host.service.published.proposed]
        if node.station.replica.entries(start, size) != shown[: size - start]:
            raise Violation(
                "approved tail", f"{node.member} approves a log that lacks what it holds"
            )

    def _learn_documents(self) -> None:
        for host in self.world.all_hosts:
            draft = host.service._draft
            for state in (host.service.published.state, *([draft.state] if draft else [])):
                for pending in state.changes.pending:
                    epoch = pending.epoch
                    self.documents[epoch.digest] = (epoch.number, epoch.host)

    # -- what hosts and nodes hold ------------------------------------------------------------

    def look(self) -> None:
        """Judge what is new. Raises Violation."""
        for host in self.world.all_hosts:
            told = host.service.published
            if host.dead or self.looked.get(host.name) is told:
                continue
            self.looked[host.name] = told
            if told.head is not None and told.state.epoch.number:
                self._in_office(host, told.state, told.head.note)
        for who, state in self._states():
            if self.looked.get(who) is not state:
                self.looked[who] = state
                self._one_result(who, state)

    def _states(self) -> Iterator[tuple[str, State]]:
        for host in self.world.all_hosts:
            if not host.dead and not self.world.host_lies:
                yield f"host {host.name}", host.service.published.state
        for node in self.world.nodes:
            if not node.dead and node.member not in self.world.corrupt:
                yield node.wire, node.state

    def _in_office(self, host: SimHost, state: State, note: bytes) -> None:
        if state.host == host.owner or host.owner in self.world.corrupt:
            return
        try:
            verify_host(parse_signed_head(note), host.service._host_public)
        except ComityError:
            return
        raise Violation("out of office", f"{host.name} signs {state.size} entries of {state.host}")

    def _one_result(self, who: str, state: State) -> None:
        for study in state.studies.values():
            for result in study.results[-2:]:
                made = (result.model, result.survivors)
                if self.results.setdefault((study.id, result.round_no), made) != made:
                    raise Violation("one result", f"{who} has another of round {result.round_no}")
