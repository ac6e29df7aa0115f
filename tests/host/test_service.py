"""The single writer, with real SQLite and real signatures; no port."""

from __future__ import annotations

import random
import sqlite3
import threading
from concurrent.futures import wait
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comity.commons import fold
from comity.errors import Forged, Malformed, Misconfigured, Refused, Rule, Unavailable
from comity.host.service import Host, Logged
from comity.log.heads import TreeHead, cosign, parse_signed_head, sign_head, verify_host
from comity.statements.entries import Body
from comity.statements.governing import Seen
from comity.statements.studies import DatasetDeclare, StudyRegister
from comity.statements.wire import Draft, read, sign
from comity.values import NOTHING, BlobName, DatasetId, MemberId, StatementId, sha256
from tests.host.hosting import give_blob, logged, open_host, refusal, refused_by
from tests.storage.crashes import run_script
from tests.worlds import World, charter_of, digest, found_body, keys_of, plan_of

A, B, C = MemberId("member-a"), MemberId("member-b"), MemberId("member-c")


def declare(name: str) -> DatasetDeclare:
    return DatasetDeclare(dataset=DatasetId(name), unit="record", version=digest(name))


def chain(world: World, member: MemberId, *bodies: Body) -> list[bytes]:
    """Statements of one member, one after the other, that the world's log does not hold yet."""
    seq, prev = fold.next_link(world.state, member)
    envelopes = []
    for body in bodies:
        draft = Draft(
            author=member,
            commons=world.state.commons,
            seq=seq,
            prev=prev,
            head_size=world.tree.size,
            head_root=world.tree.root(),
            time_s=world.now_s,
            body=body,
        )
        envelopes.append(sign(draft, keys_of(member).statement))
        seq, prev = seq + 1, read(envelopes[-1]).statement.id
    return envelopes


def test_the_host_comes_to_the_state_and_head_of_the_log(tmp_path: Path) -> None:
    world = World.of(3)
    with open_host(tmp_path, world) as host:
        assert host.published.head is None
        assert logged(host, *world.log) == [0, 1, 2]
        head = host.published.head
        assert head is not None and (head.size, head.root) == (3, world.tree.root())
        verify_host(parse_signed_head(head.note), keys_of(A).host.public_key().public_bytes_raw())
        assert host.published.state.founded_size == 3
    with open_host(tmp_path, world) as again:
        assert again.published.head == head
        assert again.entries(1) == world.log[1:]
        assert logged(again, *world.log) == [0, 1, 2], "what is logged answers its index again"


def test_statements_that_wait_go_into_one_commit(tmp_path: Path) -> None:
    world = World.of(3)
    enter, leave = threading.Event(), threading.Event()
    commits: list[str] = []

    def hook(point: str) -> None:
        if point == "committing":
            commits.append(point)
            if len(commits) == 2:
                enter.set()
                assert leave.wait(20)

    with open_host(tmp_path, world, hook=hook) as host:
        logged(host, *world.log)
        sent = chain(world, A, *(declare(f"a{i}") for i in range(20)))
        futures = [host.submit([sent[0]])]
        assert enter.wait(20)
        futures += [host.submit([envelope]) for envelope in sent[1:]]
        leave.set()
        wait(futures, 20)
        assert [future.result() for future in futures] == [[Logged(3 + i, None)] for i in range(20)]
    assert len(commits) == 3, "founding, the first statement, and the other nineteen together"


def test_void_statements_are_logged_with_their_rule(tmp_path: Path) -> None:
    world = World.of(3)
    with open_host(tmp_path, world) as host:
        logged(host, *world.log)
        envelope = world.envelope(A, Seen())
        for _ in range(2):
            (verdict,) = host.submit([envelope]).result()
            assert verdict == Logged(3, Rule.TOO_SOON)
    with open_host(tmp_path, world) as host:
        (verdict,) = host.submit([envelope]).result()
        assert verdict == Logged(3, Rule.TOO_SOON), "after a restart too"


def test_attack_07_a_replayed_statement_gets_no_second_entry(tmp_path: Path) -> None:
    world = World.of(3)
    with open_host(tmp_path, world) as host:
        logged(host, *world.log)
        (first,) = chain(world, B, declare("b"))
        assert logged(host, first, first) == [3, 3]
        assert host.published.state.size == 4
        other_text = first.replace(b'"sig":"', b'"sig":" ')
        assert isinstance(refusal(host, other_text), Malformed)


def test_attack_11_the_second_of_two_statements_with_one_seq_is_refused(tmp_path: Path) -> None:
    world = World.of(3)
    with open_host(tmp_path, world) as host:
        logged(host, *world.log)
        logged(host, *chain(world, B, declare("one")))
        assert refused_by(host, *chain(world, B, declare("two"))) is Rule.CHAIN_BROKEN


def test_attack_13_statements_out_of_order_are_refused(tmp_path: Path) -> None:
    world = World.of(3)
    with open_host(tmp_path, world) as host:
        logged(host, *world.log)
        first, second = chain(world, B, declare("one"), declare("two"))
        early, late = host.submit([second, first]).result()
        assert isinstance(early, Refused) and early.rule is Rule.CHAIN_BROKEN
        assert late == Logged(3, None)
        assert logged(host, second) == [4]


def test_a_refused_statement_stops_its_author_and_nobody_else(tmp_path: Path) -> None:
    world = World.of(3)
    with open_host(tmp_path, world) as host:
        logged(host, *world.log)
        mine = chain(world, B, StudyRegister(name="s", plan=plan_of(3)), declare("b"))
        verdicts = host.submit([*mine, *chain(world, C, declare("c"))]).result()
        assert isinstance(verdicts[0], Unavailable)
        assert isinstance(verdicts[1], Refused) and verdicts[1].rule is Rule.CHAIN_BROKEN
        assert verdicts[2] == Logged(3, None)


def test_strangers_and_forgers_leave_no_entry(tmp_path: Path) -> None:
    world = World.of(3)
    with open_host(tmp_path, world) as host:
        assert refused_by(host, world.envelope(A, Seen())) is Rule.UNKNOWN_AUTHOR
        logged(host, *world.log)
        other = World.of(4)
        assert refused_by(host, other.envelope(A, Seen())) is Rule.WRONG_COMMONS
        good = world.envelope(A, Seen())
        at = good.index(b'"sig":"') + 10
        flipped = good[:at] + (b"A" if good[at : at + 1] != b"A" else b"B") + good[at + 1 :]
        assert isinstance(refusal(host, flipped), Forged)
        for bad in (b"", b"{}", good[:-1], b"\xff" * 100, good + b" ", b"[" * 60_000):
            assert isinstance(refusal(host, bad), Malformed)
        assert host.published.state.size == 3


def test_attack_48_an_author_over_its_void_quota_is_held_back(tmp_path: Path) -> None:
    world = World.empty(charter_of(3, void_entries_per_day_max=2))
    for member in world.members:
        world.say(member, found_body(member))
    with open_host(tmp_path, world) as host:
        logged(host, *world.log, *chain(world, B, Seen(), Seen(), Seen()))
        for envelope in world.log[3:]:
            world.append(envelope)
        late = chain(world, B, Seen(), Seen(), Seen(), declare("b"))[-1]
        assert refused_by(host, late) is Rule.HELD_BACK
        assert logged(host, *chain(world, C, declare("c"))) == [6]


def test_attack_46_a_statement_waits_for_its_blobs(tmp_path: Path) -> None:
    world = World.of(3)
    with open_host(tmp_path, world) as host:
        logged(host, *world.log)
        (register,) = chain(world, A, StudyRegister(name="s", plan=plan_of(3)))
        for content in (b"code", b"layout", b"model 0"):
            error = refusal(host, register)
            assert isinstance(error, Unavailable) and sha256(content) in str(error)
            give_blob(host, content)
        assert logged(host, register) == [3]


def test_attack_46_bytes_that_do_not_fit_their_name_are_not_kept(tmp_path: Path) -> None:
    with open_host(tmp_path, World.of(3)) as host:
        upload = host.bulk.blob(BlobName(sha256(b"code")), 4)
        host.bulk.uploads.write(upload, 0, memoryview(b"c0de"))
        with pytest.raises(Forged):
            host.bulk.uploads.finish(upload)
        assert upload.store.stored(upload.name) == 0
        give_blob(host, b"code")
        assert host.bulk.stored(host.published.state, upload.name) == (4, True)


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
    with pytest.raises(Misconfigured, match="not signed with this host key"):
        start(host_key=keys_of(B).host)
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


# cosignatures


def test_a_quorum_of_cosignatures_makes_a_head_final(tmp_path: Path) -> None:
    world = World.of(4)  # a quorum is three
    with open_host(tmp_path, world) as host:
        logged(host, *world.log)
        head = parse_signed_head(host.shown_heads()[-1].head.note).head
        before = host.published.version
        lines = {m: cosign(head, m, keys_of(m).head, world.now_s).line() for m in world.members}
        for member in world.members[:2]:
            host.cosign(4, lines[member], None).result()
            host.cosign(4, lines[member], None).result()
        assert host.published.version == before + 2, "the same line again is no news"
        logged(host, *chain(world, A, declare("a")))
        assert [shown.head.size for shown in host.shown_heads()] == [5]
        host.cosign(4, lines[world.members[2]], None).result()
        final, newest = host.shown_heads()
        assert (final.head.size, newest.head.size) == (4, 5)
        assert set(final.lines) == {lines[m] for m in world.members[:3]}


def test_attack_17_18_bad_cosignatures_are_not_kept(tmp_path: Path) -> None:
    world = World.of(3)
    with open_host(tmp_path, world) as host:
        logged(host, *world.log)
        head = parse_signed_head(host.shown_heads()[-1].head.note).head
        as_b_by_c = cosign(head, B, keys_of(C).head, world.now_s).line()
        other_root = TreeHead(head.origin, 3, bytes(32))
        of_other = cosign(other_root, B, keys_of(B).head, world.now_s).line()
        stranger = MemberId("stranger")
        unknown = cosign(head, stranger, keys_of(stranger).head, world.now_s).line()
        for line in (as_b_by_c, of_other):
            with pytest.raises(Forged):
                host.cosign(3, line, None).result()
        for size, line in ((3, unknown), (2, as_b_by_c), (0, as_b_by_c)):
            with pytest.raises(Refused):
                host.cosign(size, line, None).result()
        with pytest.raises(Malformed):
            host.cosign(3, b"no line", None).result()
        assert host.shown_heads()[-1].lines == ()


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
            upload = host.bulk.blob(name, len(content))
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
from tests.host.test_service import chain, declare
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
