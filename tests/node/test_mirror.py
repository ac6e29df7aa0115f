"""A node's read-only mirror: what it shows to whom, and what it takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from comity.commons.attempts import Revealing
from comity.errors import Forged, Malformed, Misconfigured, Refused, Rule, Unavailable
from comity.node.http_client import Limits
from comity.node.keyfile import make_keys
from comity.node.mirror import Mirror, public_blobs
from comity.node.remote import Remote
from comity.statements.governing import Seen
from comity.values import DAY_S, BlobName, CommonsId, MemberId, sha256
from tests.e2e.prepared import Make
from tests.e2e.steps import Desk, World


@contextmanager
def mirrored(desk: Desk, **changes: str) -> Iterator[str]:
    """The desk's mirror on a free port, until the block ends."""
    station = desk.station
    station.settings = msgspec.structs.replace(
        station.settings, **({"mirror": "127.0.0.1:0"} | changes)
    )
    station.flush()
    mirror = Mirror(
        station.settings,
        station.replica,
        station.blobs,
        station.relay,
        outlet=station.outlet,
        clock=desk.clock,
        on_relayed=lambda: None,
    )
    mirror.start()
    try:
        yield mirror.url
    finally:
        mirror.close()


def reader(world: World, member: str, url: str) -> Remote:
    place = world.desk(member).place
    return Remote(
        url,
        MemberId(member),
        statement_key=place.keys.statement,
        commons=world.state.commons,
        clock=world.clock,
        limits=Limits(tries=1),
    )


def test_members_read_heads_and_entries_as_from_the_host(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        desk = world.desk("m1")
        desk.sync()
        with mirrored(desk) as url:
            remote = reader(world, "m2", url)
            batch = remote.entries(0)
            assert list(batch.entries) == world.leaves()[: desk.state.size]
            assert len(batch.heads[0].cosignatures) >= desk.state.quorum
            assert remote.entries(10_000).entries == ()
            assert remote.status().size == desk.state.size
            # What it shows passes every check that the host's answers have to pass.
            other = world.desk("m2")
            other.station.replica.compare([head.note for head in batch.heads])
            remote.close()


def test_strangers_and_other_commons_read_nothing(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world, mirrored(world.desk("m1")) as url:
        for member, commons_id, rule in (
            ("nobody", world.state.commons, Rule.UNKNOWN_AUTHOR),
            ("m2", CommonsId(sha256(b"another")), Rule.WRONG_COMMONS),
        ):
            stranger = Remote(
                url,
                MemberId(member),
                statement_key=make_keys().statement,
                commons=commons_id,
                clock=world.clock,
                limits=Limits(tries=1),
            )
            with pytest.raises(Refused) as refused:
                stranger.entries(0)
            assert refused.value.rule is rule
            stranger.close()
        impostor = Remote(
            url,
            MemberId("m2"),
            statement_key=make_keys().statement,
            commons=world.state.commons,
            clock=world.clock,
            limits=Limits(tries=1),
        )
        with pytest.raises(Forged):
            impostor.entries(0)
        impostor.close()


def test_only_blobs_that_the_log_names_for_all_are_shown(commons: Make, tmp_path: Path) -> None:
    """Nobody reads a masked vector or sealed shares at another member's mirror."""
    with commons(3).world(tmp_path) as world:
        world.run(lambda: isinstance(world.study.current, Revealing))
        desk = world.desk("m1")
        desk.sync()
        with mirrored(desk) as url:
            remote = reader(world, "m2", url)
            assert world.study.register.plan.code in public_blobs(desk.state)
            held = [n for n in public_blobs(desk.state) if desk.station.blobs.finished(BlobName(n))]
            out = tmp_path / "fetched"
            remote.get_blob(BlobName(held[0]), out)
            assert sha256(out.read_bytes()) == held[0]
            attempt = world.attempt
            assert isinstance(attempt, Revealing)
            mine = BlobName(attempt.closed.commits[world.seat("m1")].vector)
            assert desk.station.blobs.finished(mine)
            assert remote.stored(mine) == (0, False)
            with pytest.raises(Unavailable):
                remote.get_blob(mine, tmp_path / "vector")
            remote.close()


def test_what_is_no_statement_of_a_member_is_not_kept(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        desk, victim = world.desk("m1"), world.desk("m2")
        desk.sync()
        victim.sync()
        world.clock.now_s += DAY_S
        said = victim.station.say(Seen())
        envelope = victim.station.journal.said(said)
        assert envelope is not None
        with mirrored(desk) as url:
            remote = reader(world, "m2", url)
            old = world.leaves()[0]
            answers = remote.post_statements([b"{}", envelope[:-9] + b'AAAA=="}]', old, envelope])
            kinds = [type(answer.error) for answer in answers]
            assert kinds[0] is Malformed and kinds[1] in (Malformed, Forged)
            assert kinds[2:] == [Refused, Unavailable]
            assert [kept.envelope for kept in desk.station.relay.waiting()] == [envelope]
            with pytest.raises(Unavailable, match="nothing at this address"):
                remote.put_blob(BlobName(sha256(b"x")), b"x")
            remote.close()
        # It survives a restart, byte for byte.
        desk.die()
        desk.restart()
        assert [kept.envelope for kept in desk.station.relay.waiting()] == [envelope]


def test_plain_http_stays_on_this_machine(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        desk = world.desk("m1")
        for changes in (
            {"mirror": "0.0.0.0:0"},
            {"mirror": "nonsense"},
            {"mirror_chain": "chain.pem"},
            {"mirror_chain": "no.pem", "mirror_key": "no.pem"},
        ):
            with pytest.raises(Misconfigured), mirrored(desk, **changes):
                pass
