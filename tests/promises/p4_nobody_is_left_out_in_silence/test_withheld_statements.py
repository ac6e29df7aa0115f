"""P4. What the host withholds is handed in by others, stood up for, and said.

Real nodes, real mirrors, a real host; the lie is one function of the host's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from comity.errors import Refused, Rule, Unavailable
from comity.host.drafts import Verdict
from comity.log.evidence import check_evidence
from comity.node import wishes
from comity.node.answers import Posted
from comity.node.relaying import KEPT_PER_AUTHOR_MAX, bulk_of, must_be_logged
from comity.statements.governing import AdmitMotion, HostMotion, Seen, proposal_of
from comity.statements.wire import Draft, read, sign
from comity.values import DAY_S, Digest, MemberId, StatementId
from tests.e2e.prepared import Make
from tests.e2e.steps import Desk, World


def until(reached: Callable[[], object]) -> None:
    limit = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < limit
        time.sleep(0.02)


@contextmanager
def company(world: World, victim: str, neighbour: str) -> Iterator[tuple[Desk, Desk]]:
    """Two nodes; the first one knows the second one's mirror."""
    one, two = world.desk(victim), world.desk(neighbour)
    for desk in (one, two):
        desk.sync()
        desk.loop._work()
    two.station.settings = msgspec.structs.replace(two.station.settings, mirror="127.0.0.1:0")
    url = two.loop._peers.start()
    one.station.settings = msgspec.structs.replace(one.station.settings, peers=(url,))
    one.loop._peers.start()
    try:
        yield one, two
    finally:
        one.loop._peers.close()
        two.loop._peers.close()


def withhold(world: World, member: str) -> Callable[[], None]:
    """Let the host log nothing of one member, whoever brings it; returns what ends that."""
    host = world.server.host
    submit = host.submit

    def lying(envelopes: Sequence[bytes]) -> Future[list[Verdict]]:
        if any(read(envelope).statement.author == member for envelope in envelopes):
            refused: Future[list[Verdict]] = Future()
            refused.set_result([Unavailable("not now") for _ in envelopes])
            return refused
        return submit(envelopes)

    def honest() -> None:
        host.submit = submit  # type: ignore[method-assign]  # bent

    host.submit = lying  # type: ignore[method-assign]  # bent
    return honest


def deaf_to(desk: Desk) -> None:
    """What this node sends gets an index, and is thrown away."""

    def lose(envelopes: Sequence[bytes]) -> list[Posted]:
        return [Posted(10_000, None, None) for _ in envelopes]

    setattr(desk.station.remote, "post_statements", lose)  # noqa: B010 - a host that lies


def say_seen(world: World, desk: Desk) -> bytes:
    world.clock.now_s += DAY_S
    envelope = desk.station.journal.said(desk.station.say(Seen()))
    assert envelope is not None
    return envelope


def withheld_for(world: World, desk: Desk, seconds: int) -> None:
    desk.loop._look_around()
    world.clock.now_s += seconds
    desk.loop._look_around()


def test_attack_12_what_the_host_drops_comes_in_by_another_member_byte_for_byte(
    commons: Make, tmp_path: Path
) -> None:
    with commons(3).world(tmp_path) as world, company(world, "m1", "m2") as (victim, friend):
        deaf_to(victim)
        envelope = say_seen(world, victim)
        victim.station.deliver()
        size = world.state.size
        withheld_for(world, victim, victim.station.settings.withheld_s - 1)
        assert "withheld" not in victim.station.faults, "it may still be on its way"
        withheld_for(world, victim, 1)
        assert "handed to 1 peers" in victim.station.faults["withheld"]
        until(friend.station.relay.waiting)
        friend.loop._look_around()
        assert world.leaves()[size:] == [envelope]
        friend.sync()
        friend.loop._look_around()
        assert not friend.station.relay.waiting()
        victim.sync()
        victim.loop._look_around()
        assert "withheld" not in victim.station.faults


def test_nobody_who_was_asked_cosigns_without_it(commons: Make, tmp_path: Path) -> None:
    with commons(4).world(tmp_path) as world, company(world, "m1", "m2") as (victim, friend):
        honest = withhold(world, "m1")
        envelope = say_seen(world, victim)
        with pytest.raises(Unavailable):
            victim.station.deliver()
        withheld_for(world, victim, victim.station.settings.withheld_s)
        until(friend.station.relay.waiting)
        friend.loop._look_around()  # the host answers: it does not take it

        def cosigns(desk: Desk) -> bool:
            world.desk("m3").sync()
            world.clock.now_s += 60
            world.desk("m3").lie(Seen())
            before = desk.station.journal.last_cosigned()
            desk.sync()
            desk.loop._work()
            return desk.station.journal.last_cosigned() != before

        assert cosigns(friend), friend.station.faults
        world.clock.now_s += friend.station.settings.refuse_s
        for desk in (friend, victim):
            assert not cosigns(desk)
            shown = {o.subject: o.why for o in wishes.status(desk.station).obstacles}
            assert (
                f"statement {read(envelope).statement.seq} (seen) of m1"
                in shown["withheld-refused"]
            )
        assert cosigns(world.desk("m0")), "who was not asked knows nothing of it"
        honest()
        friend.loop._look_around()
        assert envelope in world.leaves()
        assert cosigns(friend)
        assert "withheld-refused" not in friend.station.faults
        assert cosigns(victim)


def test_nobody_stops_the_others_with_what_a_host_need_not_log(
    commons: Make, tmp_path: Path
) -> None:
    """A gap in a chain, or bulk bytes that the host may lack: kept, and not stood up for."""
    with commons(3).world(tmp_path) as world:
        liar, node = world.desk("m1"), world.desk("m2")
        for desk in (liar, node):
            desk.sync()
        envelope = draft(liar, ahead=2)
        replica, relay = node.station.replica, node.station.relay
        kept = relay.take(node.state, envelope)
        relay.answered(kept, 0)
        assert not must_be_logged(node.state, replica.view.tree, envelope)
        assert relay.missing(replica, 10**9, 1) is None
        for entry in world.leaves():
            said = read(entry).statement
            if said.body.tag == "study.register":
                assert any(bulk_of(said.body))
        for motion in (
            HostMotion(member=MemberId("m1")),
            AdmitMotion(member=MemberId("new-member"), keys=Digest("0" * 64)),
        ):
            assert not any(bulk_of(proposal_of(motion))), "who hosts needs nobody's bytes"
        with pytest.raises(Refused) as refused:
            for ahead in range(3, KEPT_PER_AUTHOR_MAX + 4):
                relay.take(node.state, draft(liar, ahead=ahead))
        assert refused.value.rule is Rule.TOO_MANY


def draft(desk: Desk, *, ahead: int = 1, time_s: int | None = None) -> bytes:
    """A statement of this member, signed and not journalled."""
    author = desk.state.authors[desk.member]
    final = desk.station.replica.view.final
    return sign(
        Draft(
            desk.member,
            desk.state.commons,
            author.seq + ahead,
            author.last if ahead == 1 else StatementId("1" * 64),
            final.size,
            final.root,
            time_s or desk.clock(),
            Seen(),
        ),
        desk.place.keys.statement,
    )


def test_attack_11_two_statements_with_one_number_convict_their_author(
    commons: Make, tmp_path: Path
) -> None:
    """One goes to the host, the other to a peer: the first that is logged counts."""
    with commons(3).world(tmp_path) as world:
        liar, node = world.desk("m1"), world.desk("m2")
        for desk in (liar, node):
            desk.sync()
        node.station.relay.take(node.state, draft(liar, time_s=world.clock.now_s + 5))
        liar.station.remote.post_statements([draft(liar, time_s=world.clock.now_s + 9)])
        node.sync()
        node.loop._look_around()
        assert not node.station.relay.waiting()
        ((name, evidence),) = node.station.alarms.evidence()
        found = check_evidence(evidence, node.station.replica.known_keys)
        assert (found.kind, found.accused, found.proven) == ("author", MemberId("m1"), True)
        assert name.startswith("author-")
        assert not node.station.halted, "the host did nothing wrong"


def test_attack_10_a_statement_from_another_history_raises_an_alarm(
    commons: Make, tmp_path: Path
) -> None:
    """Heads inside statements are compared too: the author was shown another log, or lies."""
    with commons(3).world(tmp_path) as world:
        other, node = world.desk("m1"), world.desk("m2")
        for desk in (other, node):
            desk.sync()
        author = other.state.authors[other.member]
        envelope = sign(
            Draft(other.member, other.state.commons, author.seq + 1, author.last,
                  author.head_size, bytes(32), other.clock(), Seen()),
            other.place.keys.statement,
        )  # fmt: skip
        size = world.state.size
        node.station.relay.take(node.state, envelope)
        node.loop._look_around()
        assert "another head" in node.station.faults["heads"]
        assert [name for name in node.station.alarms.names() if name.startswith("alarm-")]
        assert world.state.size == size, "it fits no log of this host, so it is not delivered"
