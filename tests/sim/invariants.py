"""What must hold after every step of every world, whatever went wrong and whoever lied.

Judged from what has left the nodes (`watching.py`) and from what they hold; written again from
aggregation.md 5.9, 7 and log-and-provenance.md 2, 5, not from the product's own checks. A member
that lies, or whose rollback nobody could notice, is corrupt: nothing is asked of what it says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from comity.commons.attempts import Opened, opened_of
from comity.commons.charter import default_quorum
from comity.commons.state import State
from comity.statements.entries import Statement
from comity.statements.rounds import (
    RoundAbandon,
    RoundClose,
    RoundCommit,
    RoundConfirm,
    RoundOpen,
    RoundRecover,
    RoundReveal,
    RoundStart,
)
from comity.storage.ports import Attempt
from comity.values import Digest, MemberId, StatementId, unpack_bits
from tests.sim.judging import Violation, alike, names_of, short, sum_root, true_quorum
from tests.sim.network import Asked
from tests.sim.offices import Offices
from tests.sim.watching import Watch

if TYPE_CHECKING:
    from tests.sim.hosts import SimHost
    from tests.sim.nodes import SimNode
    from tests.sim.world import World

ONCE = frozenset(
    f"round.{verb}"
    for verb in ("join", "ready", "commit", "confirm", "dispute", "reveal", "accept", "abandon")
)
"""What a member says at most once in an attempt (R1)."""


@dataclass
class Judge:
    """Looks at a world after every step. seen: what was found to hold so far."""

    world: World
    watch: Watch = field(default_factory=Watch)
    opened: dict[StatementId, Opened] = field(default_factory=dict)
    finals: dict[int, bytes] = field(default_factory=dict)
    states: dict[bytes, State] = field(default_factory=dict)
    shown: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    sums: dict[tuple[str, frozenset[MemberId]], StatementId] = field(default_factory=dict)
    judged: dict[tuple[str, str], object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.offices = Offices(self.world)
        self.broken: Violation | None = None

    def hear(self, wire: MemberId, asked: Asked, host: SimHost) -> None:
        """A request has left a node. What is wrong with it is raised by the next `look`."""
        self.watch.hear(asked)
        try:
            self.offices.hear(wire, asked, host)
        except Violation as violation:  # here, the product's outermost loop would swallow it
            self.broken = self.broken or violation

    def look(self) -> None:
        """Judge everything that is new. Raises Violation."""
        if self.broken is not None:
            raise self.broken
        fresh, self.watch.fresh = self.watch.fresh, []
        if fresh:
            self._learn_opens()
        for said in fresh:
            if said.author not in self.world.corrupt:
                self._judge(said)
        if any(isinstance(said.body, RoundReveal | RoundRecover) for said in fresh):
            for opened_id in {getattr(said.body, "opened", None) for said in fresh}:
                if opened_id in self.opened:
                    self._secrets_apart(self.opened[opened_id])
                    self._one_set(self.opened[opened_id])
        self._heads()
        self._same_states()
        self._host_keeps()
        self._nobody_accused()
        self.offices.look()

    # -- what a member said -------------------------------------------------------------------

    def _learn_opens(self) -> None:
        missing = self.watch.opens.keys() - self.opened.keys()
        if not missing:
            return
        states = [host.service.published.state for host in self.world.all_hosts]
        states += [node.state for node in self.world.nodes]
        for state in states:
            for study in state.studies.values():
                for attempt in (study.current, *study.ended[-2:]):
                    if attempt is not None and opened_of(attempt).id in missing:
                        opened = opened_of(attempt)
                        self.opened[opened.id] = opened

    def _judge(self, said: Statement) -> None:
        place = self.watch.place_of(said)
        if place is None:
            return
        body, author, scope = said.body, said.author, place.scope
        alike = self.watch.said[author, body.tag, scope]
        if body.tag in ONCE and alike[0].id != said.id:
            raise Violation("R1 once", f"{author} said {body.tag} twice in {short(scope)}")
        abandoned = [a for a in self._abandons(author, scope) if a.id != said.id]
        if body.tag in ONCE and abandoned and abandoned[0].seq < said.seq:
            raise Violation("R3 last word", f"{author} said {body.tag} after its Abandon")
        match body:
            case RoundAbandon(released=released):
                if released != bool(self.watch.said[author, "round.reveal", scope]):
                    raise Violation("R3 truth", f"{author} abandons with a false word")
            case RoundStart():
                self._enough_participants(author, body)
            case RoundConfirm() | RoundReveal():
                self._one_work(author, scope, body.closed, body.opened)
                if isinstance(body, RoundReveal):
                    self._after_quorum(author, body)
                    self._true_sum(author, body.closed)
            case _:
                pass

    def _abandons(self, author: MemberId, scope: Attempt) -> list[Statement]:
        return self.watch.said[author, "round.abandon", scope]

    def _enough_participants(self, author: MemberId, body: RoundStart) -> None:
        """4, attack 49: nobody starts with fewer than max(u_min, t), who could never end it."""
        opened = self.opened.get(body.opened)
        if opened is None:
            return
        seats = unpack_bits(body.participants, opened.count) or frozenset()
        if len(seats) < max(opened.survivors_min, true_quorum(opened)):
            raise Violation("enough to end", f"{author} starts with {len(seats)} of {opened.count}")

    def _after_quorum(self, author: MemberId, body: RoundReveal) -> None:
        """5.8: nothing is revealed before t members have confirmed this very Close."""
        opened = self.opened.get(body.opened)
        confirmed = self.watch.confirmed[body.closed]
        if opened is not None and len(confirmed) < true_quorum(opened):
            raise Violation("confirm gate", f"{author} reveals after {len(confirmed)} Confirms")

    def _true_sum(self, author: MemberId, closed: StatementId) -> None:
        """P2: nobody reveals for a sum that is not that of the committed vectors."""
        body = self.watch.closes.get(closed)
        opened = self.opened.get(body.opened) if body is not None else None
        if body is None or opened is None or ("sum", closed) in self.judged:
            return
        self.judged["sum", closed] = True
        root = self._summed(opened, body)
        if root is not None and root != body.sum:
            raise Violation("true sum", f"{author} reveals for a sum that is not the vectors'")

    def _summed(self, opened: Opened, body: RoundClose) -> Digest | None:
        vectors: list[bytes] = []
        for seat in sorted(unpack_bits(body.survivors, opened.count) or ()):
            scope = Attempt(opened.study, opened.round_no, opened.attempt)
            said = self.watch.said[opened.roster[seat - 1], "round.commit", scope]
            found = [s.body for s in said if isinstance(s.body, RoundCommit)]
            found = [commit for commit in found if commit.binding == body.binding]
            vector = self.watch.bulk.get(found[0].vector) if found else None
            if vector is None or len(vector) != 4 * opened.words:
                return None
            vectors.append(bytes(vector))
        return sum_root(vectors, opened.words, body.binding)

    # -- secrets and sums ---------------------------------------------------------------------

    def _one_work(
        self, author: MemberId, scope: Attempt, closed: StatementId, opened_id: StatementId
    ) -> None:
        """R5, R6: a member goes with a second set of a work only if nothing of the first can come.

        That is the ground of T3: whatever the others do later, at most one set of a work is summed.
        """
        mine = self._members(closed)
        opening = self.watch.opens[opened_id].body
        assert isinstance(opening, RoundOpen)
        if mine is None:
            return
        for other_id, other in list(self.watch.opens.items()):
            about = other.body
            assert isinstance(about, RoundOpen)
            past = Attempt(about.study, about.round_no, about.attempt)
            if about.work != opening.work or past == scope or other_id not in self.opened:
                continue
            went = self._went_with(author, past)
            if went is None or went == {mine} or self._sealed_for(author, past, other_id, went):
                continue
            raise Violation(
                "one work, one set",
                f"{author} goes with {names_of(mine)} in {short(scope)},"
                f" and {short(past)} is not sealed for it",
            )

    def _went_with(self, author: MemberId, scope: Attempt) -> set[frozenset[MemberId]] | None:
        """The sets a member's update may be summed in, in an attempt; None: in none."""
        said = self.watch.said
        named = [*said[author, "round.confirm", scope], *said[author, "round.reveal", scope]]
        sets = {
            members
            for statement in named
            if isinstance(statement.body, RoundConfirm | RoundReveal)
            and (members := self._members(statement.body.closed)) is not None
        }
        if sets:
            return sets
        if not said[author, "round.commit", scope]:
            return None
        closes = [
            c
            for (_, tag, at), cs in said.items()
            if (tag, at) == ("round.close", scope)
            for c in cs
        ]
        return {members for c in closes if (members := self._members(c.id)) is not None}

    def _sealed_for(
        self,
        author: MemberId,
        scope: Attempt,
        opened_id: StatementId,
        went: set[frozenset[MemberId]],
    ) -> bool:
        opened = self.opened[opened_id]
        if not self._abandons(author, scope):
            return False
        kept = {
            member
            for member in opened.roster
            for a in self._abandons(member, scope)
            if isinstance(a.body, RoundAbandon) and not a.body.released
        }
        if len(kept) < true_quorum(opened):
            return False
        if not self.watch.said[author, "round.reveal", scope]:
            return True
        return all(len(kept & members) > opened.colluders for members in went)

    def _members(self, closed: StatementId) -> frozenset[MemberId] | None:
        """U of a Close, as members."""
        body = self.watch.closes.get(closed)
        opened = self.opened.get(body.opened) if body is not None else None
        if body is None or opened is None:
            return None
        seats = unpack_bits(body.survivors, opened.count) or frozenset()
        return frozenset(opened.roster[seat - 1] for seat in seats)

    def _known(self, opened: Opened) -> tuple[set[MemberId], set[MemberId]]:
        """Whose self mask (beta), and whose pair masks (sigma), the adversary can compute."""
        corrupt = self.world.corrupt & set(opened.roster)
        beta_shares: dict[int, set[MemberId]] = {}
        sigma_shares: dict[int, set[MemberId]] = {}
        betas = set(corrupt)
        for author, said in self.watch.reveals[opened.id].items():
            if said.beta is not None:
                betas.add(author)
            for dropped in said.dropped:
                sigma_shares.setdefault(dropped.seat, set()).add(author)
        for author, recovered in self.watch.recovers[opened.id]:
            for silent in recovered.silent:
                beta_shares.setdefault(silent.seat, set()).add(author)

        def rebuilt(shares: dict[int, set[MemberId]]) -> set[MemberId]:
            return {
                opened.roster[seat - 1]
                for seat, holders in shares.items()
                if len(holders | corrupt) >= opened.quorum
            }

        return betas | rebuilt(beta_shares), corrupt | rebuilt(sigma_shares)

    def _secrets_apart(self, opened: Opened) -> None:
        """T1: never both secrets of one honest member of one attempt."""
        betas, sigmas = self._known(opened)
        both = (betas & sigmas) - self.world.corrupt
        if both:
            raise Violation("both secrets", f"of {names_of(frozenset(both))} in one attempt")

    def _one_set(self, opened: Opened) -> None:
        """P1: all revealed sums of one work that hold an honest input are over one set."""
        betas, sigmas = self._known(opened)
        for closed, body in self.watch.closes.items():
            if body.opened != opened.id or (members := self._members(closed)) is None:
                continue
            if not members <= betas or members <= self.world.corrupt:
                continue
            gone: set[MemberId] = set()
            for start in self.watch.starts[opened.id]:
                seats = unpack_bits(start.participants, opened.count) or frozenset()
                gone |= {opened.roster[seat - 1] for seat in seats} - members
            if not gone <= sigmas:
                continue
            self.sums[opened.work, members] = closed
            self._not_near(opened, members)
            for work, others in self.sums:
                shared = (others & members) - self.world.corrupt
                if work == opened.work and others != members and shared:
                    raise Violation(
                        "one set per work",
                        f"both {names_of(members)} and {names_of(others)} are summed",
                    )

    def _not_near(self, opened: Opened, members: frozenset[MemberId]) -> None:
        """5.10: who has not consented to being exposed is not shown by two nearly equal sets."""
        if self.world.setup.exposed:
            return
        for _, others in self.sums:
            if 1 <= len(others ^ members) <= opened.colluders + 1:
                text = f"{names_of(members)} and {names_of(others)} are summed"
                raise Violation("nearly equal sets", text)

    # -- logs and states ----------------------------------------------------------------------

    def _honest(self) -> list[SimNode]:
        return [node for node in self.world.nodes if node.member not in self.world.corrupt]

    def _heads(self) -> None:
        """P3: no two final heads conflict.

        Whoever came back on a backup has forgotten what it cosigned, so it counts with the liars;
        2q - n - 1 of them are too few for two quorums.
        """
        charter = self.world.charter
        enough = 2 * default_quorum(len(charter.founders)) - len(charter.founders)
        if len(self.world.corrupt | self.world.restored) >= enough:
            return
        for node in self._honest():
            final = node.station.replica.view.final
            if self.judged.get(("final", node.member)) == (final.size, final.root):
                continue
            self.judged["final", node.member] = (final.size, final.root)
            if self.finals.setdefault(final.size, final.root) != final.root:
                raise Violation("final heads", f"two final heads of size {final.size}")
            tree = node.station.replica.view.tree
            for size, root in self.finals.items():
                if size <= final.size and tree.root(size) != root:
                    raise Violation("final heads", f"{node.member} holds another head of {size}")

    def _same_states(self) -> None:
        """Every honest node's state, and the host's, is the same over the same log."""
        for host in self.world.all_hosts:
            told = host.service.published
            if not host.dead and told.head is not None:
                self._same_state(host.name, told.head.root, told.state)
        for node in self._honest():
            newest = node.station.replica.newest()
            if newest is not None and newest.size == node.state.size:
                self._same_state(node.member, newest.root, node.state)

    def _same_state(self, who: str, root: bytes, state: State) -> None:
        if self.judged.get(("state", who)) is state:
            return
        self.judged["state", who] = state
        if not alike(self.states.setdefault(root, state), state):
            raise Violation("same state", f"{who} understands the log of {state.size} otherwise")

    def _host_keeps(self) -> None:
        """What an honest host has shown stays in its log; with it, every accepted round.

        But for what was above the last final head when another member became host.
        """
        for host in self.world.all_hosts:
            if host.dead or self.world.host_lies:
                continue
            head = host.service.published.head
            if head is None or self.shown.get(host.name) == (head.size, head.root):
                continue
            size, root = self.shown.get(host.name, (0, b""))
            if not host.service.in_office and host.service.published.final is not None:
                final = host.service.published.final.head
                size, root = min((size, root), (final.size, final.root))
            if size > head.size or (size and host.service._tree.root(size) != root):
                raise Violation("nothing lost", f"the host forgot entries below {size}")
            self.shown[host.name] = (head.size, head.root)

    def _nobody_accused(self) -> None:
        """No fault is found where there is none."""
        if self.world.host_lies:
            return
        for node in self._honest():
            if node.stopped is not None:
                raise Violation("no false alarm", f"{node.member} stopped: {node.stopped}")
