"""Starting again: restored backups, damaged logs, kills and full disks (attacks 3, 51)."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comity.commons import fold
from comity.errors import Forged, Misconfigured, Refused, Rule, Unavailable
from comity.host.service import Host
from comity.log.heads import TreeHead, cosign, sign_head
from comity.statements.studies import StudyRegister
from comity.values import NOTHING, BlobName, MemberId, StatementId, sha256
from tests.host.hosting import chain, declare, logged, open_host, refused_by
from tests.storage.crashes import run_script
from tests.worlds import World, charter_of, found_body, keys_of, plan_of

A, B, C = MemberId("member-a"), MemberId("member-b"), MemberId("member-c")


# attack 3: a host restored from a backup


def test_attack_03_a_statement_that_names_a_later_head_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World.of(3)
    with open_host(tmp_path, world) as host:
        logged(host, *world.log)
        (seen_by_c,) = chain(world, C, declare("c"))
        world.append(seen_by_c)  # the backup does not hold this entry
        names_it = world.envelope(B, declare("b"))
        assert refused_by(host, names_it) is Rule.HEAD_UNKNOWN
        assert "alarm=head-beyond-log by=member-b names=4 here=3" in caplog.text
        logged(host, seen_by_c, names_it)


def test_attack_03_a_head_it_signed_and_forgot_stops_the_host_for_good(tmp_path: Path) -> None:
    world = World.of(3)
    with open_host(tmp_path, world) as host:
        logged(host, *world.log)
        line, note = later_head(host, world, host_key=keys_of(A).host)
        with pytest.raises(Refused) as refused:
            host.cosign(4, line, None).result()
        assert refused.value.rule is Rule.HEAD_UNKNOWN
        logged(host, *chain(world, B, declare("b")))  # one member's word stops nobody
    with open_host(tmp_path, world) as host:
        with pytest.raises(Unavailable):
            host.cosign(4, line, note).result()
        with pytest.raises(Unavailable, match="appends nothing more"):
            host.submit([world.envelope(C, declare("c"))]).result()
    with (
        pytest.raises(Misconfigured, match="signed more than is stored"),
        open_host(tmp_path, world),
    ):
        pass


def test_attack_03_somebody_elses_head_stops_nobody(tmp_path: Path) -> None:
    world = World.of(3)
    with open_host(tmp_path, world) as host:
        logged(host, *world.log)
        line, note = later_head(host, world, host_key=keys_of(B).host)
        with pytest.raises(Forged):
            host.cosign(4, line, note).result()
        logged(host, *chain(world, B, declare("b")))


def later_head(host: Host, world: World, *, host_key: Ed25519PrivateKey) -> tuple[bytes, bytes]:
    head = TreeHead(host.origin, 4, bytes(32))
    line = cosign(head, B, keys_of(B).head, world.now_s).line()
    return line, sign_head(head, host_key).note()


def test_a_host_does_not_start_on_what_is_not_its_own(tmp_path: Path) -> None:
    world = World.of(3)
    with open_host(tmp_path, world) as host:
        logged(host, *world.log)

    def start(**changes: object) -> None:
        arguments = {"charter": world.charter, "host_key": keys_of(A).host, **changes}
        Host(tmp_path, now=lambda: 1, **arguments).close()  # type: ignore[arg-type]  # by name

    start()
    with pytest.raises(Misconfigured, match=r"entry 0 .* does not replay"):
        start(charter=charter_of(4))
    with sqlite3.connect(tmp_path / "host.sqlite") as database:
        database.execute(
            "UPDATE entry SET leaf = CAST(replace(leaf, 'a', 'b') AS BLOB) WHERE idx = 1"
        )
    with pytest.raises(Misconfigured, match=r"entry 1 .* does not replay"):
        start()


def test_a_host_does_not_start_on_a_log_cut_short(tmp_path: Path) -> None:
    world = World.of(3)
    with open_host(tmp_path, world) as host:
        logged(host, *world.log)
    with sqlite3.connect(tmp_path / "host.sqlite") as database:
        database.execute("DELETE FROM entry WHERE idx = 2")
    with (
        pytest.raises(Misconfigured, match="do not give the stored head"),
        open_host(tmp_path, world),
    ):
        pass


def test_one_process_owns_the_folder(tmp_path: Path) -> None:
    world = World.of(3)
    with (
        open_host(tmp_path, world),
        pytest.raises(Unavailable, match="another process"),
        open_host(tmp_path, world),
    ):
        pass


def test_the_host_members_founding_must_bring_the_key_that_signs(tmp_path: Path) -> None:
    world = World.empty(charter_of(3))
    host = Host(tmp_path, charter=world.charter, host_key=keys_of(B).host, now=lambda: world.now_s)
    try:
        assert logged(host, world.envelope(B, found_body(B))) == [0]
        world.say(B, found_body(B))
        assert refused_by(host, world.envelope(A, found_body(A))) is Rule.WRONG_PARTY
    finally:
        host.close()


# attack 51: dying and failing between any two steps


@pytest.mark.parametrize("point", ["begun", "committing", "committed"])
def test_a_failed_commit_is_asked_about_and_never_guessed(tmp_path: Path, point: str) -> None:
    world = World.of(3)
    fail: list[str] = []

    def hook(reached: str) -> None:
        if reached in fail:
            fail.clear()
            raise OSError(28, "No space left on device")

    with open_host(tmp_path, world, hook=hook) as host:
        logged(host, *world.log)
        first, second = chain(world, A, declare("one"), declare("two"))
        fail.append(point)
        with pytest.raises(Unavailable):
            host.submit([first]).result()
        assert host.published.state.size == 3
        assert logged(host, second if point == "committed" else first) == [
            4 if point == "committed" else 3
        ]
        assert logged(host, first, second) == [3, 4]
        head = host.published.head
    with open_host(tmp_path, world) as host:
        assert host.published.head == head


KILLED = """
import sys
from pathlib import Path
from tests.host.hosting import give_blob, open_host
from tests.storage.crashes import kill_at
from tests.worlds import World, StudyRegister, plan_of
world, founded = World.of(3), []
def hook(point):
    if founded:
        kill_at(sys.argv[2])(point)
with open_host(Path(sys.argv[1]), world, hook=hook) as host:
    host.submit(world.log).result()
    founded.append(True)
    for content in (b"code", b"layout", b"model 0"):
        give_blob(host, content)
    body = StudyRegister(name="s", plan=plan_of(3))
    host.submit([world.envelope(world.members[0], body)]).result()
raise SystemExit("was not killed")
"""


@pytest.mark.parametrize(
    ("point", "sizes"),
    [
        ("written", {3}),
        ("checked", {3}),
        ("renamed", {3}),
        ("begun", {3}),
        ("committing", {3}),
        ("committed", {4}),
    ],
)
def test_attack_51_killed_anywhere_it_comes_back_with_the_same_or_the_earlier_head(
    tmp_path: Path, point: str, sizes: set[int]
) -> None:
    assert run_script(KILLED, str(tmp_path), point).returncode == -9
    world = World.of(3)
    register = world.envelope(A, StudyRegister(name="s", plan=plan_of(3)))
    with open_host(tmp_path, world) as host:
        head = host.published.head
        assert head is not None and head.size in sizes
        if head.size == 4:
            world.append(register)
        assert head.root == world.tree.root(), "the one history there was"
        for content in (b"code", b"layout", b"model 0"):
            name = BlobName(sha256(content))
            upload = host.bulk.blob(A, name, len(content))
            if not upload.store.finished(name):
                at = upload.store.stored(name)
                if at < len(content):
                    host.bulk.uploads.write(upload, at, memoryview(content)[at:])
                host.bulk.uploads.finish(upload)
        assert logged(host, register) == [3]


FULL = """
import resource, signal, sys
from pathlib import Path
from comity.errors import Unavailable
from tests.host.hosting import give_blob, logged, open_host
from tests.host.hosting import chain, declare
from tests.worlds import World
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
world = World.of(3)
with open_host(Path(sys.argv[1]), world) as host:
    logged(host, *world.log)
    sent = chain(world, world.members[0], *(declare(f"a{i}") for i in range(300)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
    done = 0
    try:
        for envelope in sent:
            logged(host, envelope)
            done += 1
        raise SystemExit("the disk was not full")
    except Unavailable:
        pass
    try:
        give_blob(host, bytes(200_000))
        raise SystemExit("the disk was not full")
    except Unavailable:
        pass
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    give_blob(host, bytes(200_000))
    assert logged(host, *sent) == list(range(3, 303)), "nothing was lost, nothing came twice"
    print(done)
"""


def test_a_full_disk_loses_nothing_and_the_host_goes_on_when_there_is_space(
    tmp_path: Path,
) -> None:
    ended = run_script(FULL, str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    world = World.of(3)
    with open_host(tmp_path, world) as host:
        assert host.published.state.size == 303
        assert int(ended.stdout) > 0


def test_any_mixture_of_good_and_bad_gives_the_log_of_the_good(tmp_path: Path) -> None:
    """Seed 20261122: batches cut anywhere, with repeats and rubbish between."""
    chance = random.Random(20261122)
    world = World.of(3)
    with open_host(tmp_path, world) as host:
        logged(host, *world.log)
        good = [e for m in (A, B, C) for e in chain(world, m, *map(declare, ("x" + m, "y" + m)))]
        sent = [*good[:1], b"rubbish", *good[:4], b"", *good]
        for envelope in good:
            world.append(envelope)
        while sent:
            count = chance.randint(1, 4)
            host.submit(sent[:count]).result()
            sent = sent[count:]
        head = host.published.head
        assert head is not None and head.root == world.tree.root()
        assert fold.next_link(host.published.state, A)[1] != StatementId(NOTHING)
