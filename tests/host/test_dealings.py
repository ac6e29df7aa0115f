"""All join blobs of an attempt in one answer: by seat, to members, once joining is over."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from comity.errors import Refused, Rule, Unavailable
from comity.values import ROW_BYTES, SEALED_BYTES, BlobName, sha256
from tests.commons.rounds_world import Rounds
from tests.host.asking import ask
from tests.host.hosting import Hosting, give_blob, hosting, logged

SIZE = 2 * SEALED_BYTES + 3 * ROW_BYTES


def blob_of(member: str) -> bytes:
    return member.encode().ljust(SIZE)


def join_all(hosted: Hosting, of: Rounds) -> None:
    """Everybody joins, each blob coming from its member, or from another one."""
    for place, member in enumerate(of.members):
        sender = of.members[0] if place == 1 else member
        remote = hosted.remote(sender)
        remote.put_blob(BlobName(sha256(blob_of(member))), blob_of(member))
        join = msgspec.structs.replace(of.join(member), blob=sha256(blob_of(member)))
        hosted.say(member, join)


def opened(hosted: Hosting, of: Rounds) -> None:
    for content in (b"code", b"layout", b"model 0"):
        give_blob(hosted.server.host, content)
    logged(hosted.server.host, *of.world.log)
    hosted.say(of.host, of.open())


def test_all_join_blobs_come_by_seat_once_joining_is_over(tmp_path: Path) -> None:
    of = Rounds.of(3, words=16)
    with hosting(tmp_path, of.world) as hosted:
        opened(hosted, of)
        remote = hosted.remote(of.members[2])
        with pytest.raises(Refused) as refused:
            list(remote.dealings(of.opened.id, 3, SIZE))
        assert refused.value.rule is Rule.PHASE_NOT_OPEN
        join_all(hosted, of)
        by_seat = sorted(of.members, key=of.seat)
        for _ in range(2):
            found = list(remote.dealings(of.opened.id, 3, SIZE))
            assert found == [blob_of(member) for member in by_seat]
        with pytest.raises(Refused) as refused:
            list(remote.dealings(of.world.last_id, 3, SIZE))
        assert refused.value.rule is Rule.NO_SUCH_THING


def test_strangers_and_other_addresses_get_none(tmp_path: Path) -> None:
    of = Rounds.of(3, words=16)
    with hosting(tmp_path, of.world) as hosted:
        opened(hosted, of)
        join_all(hosted, of)
        path, token = f"/dealings/{of.opened.id}", hosted.token(of.members[0])
        assert ask(hosted, "GET", path)[0] == 401
        assert ask(hosted, "GET", path, token=token)[0] == 200
        assert ask(hosted, "GET", f"{path}?start=1", token=token)[0] == 400
        for other in ("/dealings/", "/dealings/x", f"/dealings//{of.opened.id}", f"{path}/"):
            assert ask(hosted, "GET", other, token=token)[0] == 404
        assert ask(hosted, "PUT", path, token=token)[0] == 404


def test_a_blob_cut_short_on_the_disk_is_not_filled_up(tmp_path: Path) -> None:
    of = Rounds.of(3, words=16)
    with hosting(tmp_path, of.world) as hosted:
        opened(hosted, of)
        join_all(hosted, of)
        paths, size = hosted.server.host.bulk.dealt(of.world.state, of.opened.id)
        assert size == SIZE and len(paths) == 3
        paths[1].chmod(0o600)
        paths[1].write_bytes(blob_of("x")[:-1])
        with pytest.raises(Unavailable):
            list(hosted.remote(of.members[2]).dealings(of.opened.id, 3, SIZE))
