"""A host that lies: through the real interfaces, towards real nodes (aggregation.md 11.3).

The lies are small functions put in place of one of the host's own; everything else of it is true.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from comity.aggregation.ring import SumRoot
from comity.commons.attempts import Closing, Confirming, Masking, Revealing
from comity.commons.revealing import expected_close
from comity.errors import HostFault, HostFaultKind, Unavailable
from comity.host import sums
from comity.host.drafts import Verdict
from comity.log.evidence import check_evidence
from comity.log.evidence_forms import KnownKeys
from comity.node import wishes
from comity.node.reacting import proven_against_host
from comity.node.vectors import WORD_BYTES
from comity.statements.governing import Seen
from comity.statements.rounds import RoundReveal
from comity.statements.wire import read
from comity.values import BlobName
from tests.e2e.prepared import Make
from tests.e2e.preparing import serve
from tests.e2e.steps import Desk, World


def false_sums(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """Let the host add something to every sum, and name the sum by the root of what it serves."""

    def add(path: Path, words: int, vectors: list[Path], *, fresh: bool, root: object) -> None:
        true_sum(path, words, vectors, fresh=fresh, root=None)
        if root is None:
            return
        assert isinstance(root, SumRoot)
        content = bytearray(path.read_bytes())
        lo = np.frombuffer(content, np.uint32, words)
        hi = np.frombuffer(content, np.uint8, words, WORD_BYTES * words)
        match change:
            case "carry":
                hi[7] += 1
            case "minus one":
                lo[7] -= 1
            case "dense":
                lo += np.random.default_rng(1).integers(0, 2**32, words, np.uint32)
            case power:
                lo[7] += np.uint32(int(power))
        path.write_bytes(content)
        root.update(lo, hi)

    true_sum = sums.add_vectors
    monkeypatch.setattr(sums, "add_vectors", add)


@pytest.mark.parametrize(
    "change",
    [
        "1",
        "carry",
        *(
            pytest.param(change, marks=pytest.mark.slow)
            for change in (str(2**16), str(2**31), "minus one", "dense")
        ),
    ],
)
def test_a_wrong_sum_is_found_before_anything_is_revealed(
    commons: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Attack 15: the host blames itself; every member stops, and no secret leaves."""
    with commons(4).world(tmp_path) as world:
        false_sums(monkeypatch, change)
        world.settle()
        assert isinstance(world.attempt, Revealing), world.describe()
        assert not world.said("round.reveal")
        assert not world.said("round.dispute"), "no member is to be blamed"
        for desk in world.desks:
            assert isinstance(desk.stopped, HostFault)
            assert desk.stopped.kind is HostFaultKind.WRONG_SUM
        size = world.state.size
        world.clock.now_s += 10_000
        world.settle()
        assert world.state.size == size, "a node that caught its host says nothing more to it"


@pytest.mark.parametrize(
    "damage",
    ["a bit", "cut", *(pytest.param(d, marks=pytest.mark.slow) for d in ("longer", "other order"))],
)
def test_a_sum_other_than_the_closed_one_is_not_taken(
    commons: Make, tmp_path: Path, damage: str
) -> None:
    """Attack 28: nobody reveals; once the host serves the true bytes, the round goes on."""
    with commons(4).world(tmp_path) as world:
        world.run(lambda: isinstance(world.study.current, Confirming))
        attempt = world.attempt
        assert isinstance(attempt, Confirming)
        path = world.server.host.bulk.find(world.state, BlobName(attempt.closed.sum))
        assert path is not None
        true = path.read_bytes()
        false = {
            "a bit": true[:9] + bytes([true[9] ^ 1]) + true[10:],
            "cut": true[:-1],
            "longer": true + b"\0",
            "other order": true[4:8] + true[:4] + true[8:],
        }[damage]
        path.chmod(0o600)
        path.write_bytes(false)
        for _ in range(12):
            world.turn()
        assert not world.said("round.reveal")
        path.write_bytes(true)
        world.round(1)


def withhold(world: World, member: str, tag: str) -> list[bytes]:
    """Let the host refuse to log one kind of statement of one member; returns what it kept."""
    submit, kept = world.server.host.submit, list[bytes]()

    def lying(envelopes: Sequence[bytes]) -> Future[list[Verdict]]:
        for envelope in envelopes:
            said = read(envelope).statement
            if said.author == member and said.body.tag == tag:
                kept.append(envelope)
                refused: Future[list[Verdict]] = Future()
                refused.set_result([Unavailable("not now") for _ in envelopes])
                return refused
        return submit(envelopes)

    world.server.host.submit = lying  # type: ignore[method-assign]  # bent
    return kept


def test_a_member_whose_commit_is_withheld_never_reveals_its_own_mask(
    commons: Make, tmp_path: Path
) -> None:
    """Attacks 3 and 4: the host has y of m2, calls it dropped, then asks again with it in U."""
    with commons(4).world(tmp_path) as world:
        kept = withhold(world, "m2", "round.commit")
        host, victim = world.desk("m0"), world.desk("m2")
        host.sleep_before("round.close")
        world.let_time_pass(lambda: host.asleep)
        assert kept
        assert "delivery" in victim.station.faults, "attack 12 of the log: the member sees it"
        assert any(o.subject == "delivery" for o in wishes.status(victim.station).obstacles)
        host.wake()
        world.run(lambda: isinstance(world.study.current, Confirming))
        closing = world.attempt
        assert isinstance(closing, Confirming)
        seat = world.seat("m2")
        assert closing.closed.dropped == {seat}
        # The second Close: with m2 in U. The first one counts.
        derived = Closing(closing.closed.started, closing.closed.commits, {})
        asked_again = expected_close(derived, closing.closed.sum)
        void = host.lie(asked_again, tag="round.close#again")
        world.let_time_pass(world.results(1))
        assert world.outcome(void) is not None, "the second Close is void"
        reveals = world.said("round.reveal")
        assert all(isinstance(said.body, RoundReveal) for said in reveals)
        for said in reveals:
            assert isinstance(said.body, RoundReveal)
            assert [gone.seat for gone in said.body.dropped] == [seat]
            assert (said.body.beta is None) == (said.author == "m2")
        assert not world.said("round.recover"), "no share of its self-mask leaves either"


def test_a_close_over_another_set_or_before_its_time_is_void(commons: Make, tmp_path: Path) -> None:
    """Attack 27: U is derived; nobody confirms what the host chose, and the true Close follows."""
    with commons(4).world(tmp_path) as world:
        host = world.desk("m0")
        host.sleep_before("round.close")
        world.desk("m2").sleep_before("round.commit")
        world.settle()
        masking = world.attempt
        assert isinstance(masking, Masking)
        assert len(masking.commits) == 3
        early = Closing(masking.started, masking.commits, {})
        first = host.lie(expected_close(early, masking.started.binding), tag="round.close#early")
        host.asleep = False
        world.let_time_pass(lambda: host.asleep, limit_s=500)
        closing = world.attempt
        assert isinstance(closing, Closing)
        fewer = dict(list(closing.commits.items())[:2])
        other = Closing(closing.started, fewer, {})
        root = host.station.remote.sum_root(closing.started.opened.id).root
        second = host.lie(expected_close(other, root), tag="round.close#fewer")
        world.settle()
        assert world.outcome(first) is not None
        assert world.outcome(second) is not None
        assert not world.said("round.confirm")
        host.wake()
        world.let_time_pass(world.results(1))
        assert world.results(1)()


def forked(world: World, folder: Path) -> World:
    """A second host with the same key on an older copy of the log, and m0 speaking to it."""
    places = world.places
    places = type(places)(places.charter, places.all, folder / "host")
    server, thread = serve(places, world.clock)
    return World(places, world.clock, server, thread, [], world.study_id)


@pytest.mark.parametrize("longer", [0, 2])
def test_a_host_that_shows_another_history_is_caught(
    commons: Make, tmp_path: Path, longer: int
) -> None:
    """Attack 1 of the log: two histories of one host. The node stops; it sends no more.

    Where the other history is the longer one, its entries are fetched for the proof.
    """
    with commons(4).world(tmp_path / "a") as world:
        base = world.state.size
        shutil.copytree(tmp_path / "a" / "host", tmp_path / "b" / "host")
        shutil.copytree(tmp_path / "a" / "m0", tmp_path / "b" / "m0")
        world.desk("m0").sleep_before("round.join")
        world.run(lambda: world.state.size > base + 2)
        victim = world.desk("m2")
        victim.sync()
        assert victim.state.size > base
        other = forked(world, tmp_path / "b")
        try:
            accomplice = world.desk("m0").place
            there = type(accomplice)(
                accomplice.member, tmp_path / "b" / "m0", accomplice.keys, accomplice.table
            )
            liar = Desk(there, other.server.url, world.clock)
            try:
                liar.station.deliver()
                while other.state.size < victim.state.size + longer:
                    liar.sync()
                    liar.lie(Seen())
                victim.station.remote.close()
                victim.station.remote = Desk.remote_to(victim, other.server.url)
                before = other.state.size
                victim.step()
                assert isinstance(victim.stopped, HostFault), world.describe()
                assert victim.stopped.kind is HostFaultKind.SPLIT_VIEW
                victim.step()
                convicted(victim, "m0")
                assert other.state.size == before
                assert not [s for s in other.log()[base:] if s.author == "m2"]
            finally:
                liar.close()
        finally:
            other.server.stop()
            other.thread.join(20)


def convicted(victim: Desk, host: str) -> None:
    """Evidence lies in the folder, survives a restart, and stops the node there too."""
    (name, evidence), *_ = victim.station.alarms.evidence()
    stranger = KnownKeys(victim.station.replica.known_keys.keys)
    found = check_evidence(evidence, stranger)
    assert (found.kind, found.accused, found.proven) == ("host", host, True)
    assert [n for n in victim.station.alarms.names() if n.startswith("alarm-")]
    assert any(o.subject == "host-fault" for o in wishes.status(victim.station).obstacles)
    with pytest.raises(HostFault, match="nothing is said"):
        victim.station.say(Seen())
    victim.die()
    victim.restart()
    why = proven_against_host(victim.station)
    assert why is not None and name in why


def test_a_host_that_shows_an_older_head_is_caught(commons: Make, tmp_path: Path) -> None:
    """Attack 2 of the log: no entry is taken back; the node stops, and cosigns nothing."""
    with commons(4).world(tmp_path) as world:
        victim = world.desk("m2")
        victim.sync()
        older = victim.station.remote.entries(victim.state.size)
        world.desk("m1").sync()
        world.desk("m1").lie(Seen())
        victim.sync()
        victim.station.remote.entries = lambda *_, **__: older  # type: ignore[method-assign]
        victim.step()
        assert isinstance(victim.stopped, HostFault)
        assert victim.stopped.kind is HostFaultKind.ROLLBACK
