"""The single writer, with real SQLite and real signatures; no port."""

from __future__ import annotations

import threading
from concurrent.futures import wait
from pathlib import Path

import pytest

from comity.errors import Forged, Malformed, Refused, Rule, Unavailable
from comity.host.drafts import Logged
from comity.log.heads import TreeHead, cosign, parse_signed_head, verify_host
from comity.statements.governing import Seen
from comity.statements.studies import StudyRegister
from comity.values import BlobName, MemberId, sha256
from tests.host.hosting import chain, declare, give_blob, logged, open_host, refusal, refused_by
from tests.worlds import World, charter_of, found_body, keys_of, plan_of

A, B, C = MemberId("member-a"), MemberId("member-b"), MemberId("member-c")


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
        upload = host.bulk.blob(A, BlobName(sha256(b"code")), 4)
        host.bulk.uploads.write(upload, 0, memoryview(b"c0de"))
        with pytest.raises(Forged):
            host.bulk.uploads.finish(upload)
        assert upload.store.stored(upload.name) == 0
        give_blob(host, b"code")
        assert host.bulk.stored(host.published.state, B, upload.name) == (4, True)


def test_what_fails_after_the_commit_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """A listener that is gone, as at the end of an event loop: the next entry fits the last."""
    world = World.of(3)
    with open_host(tmp_path, world) as host:
        logged(host, *world.log)
        gone = [RuntimeError("the loop is closed")]

        def listener() -> None:
            if gone:
                raise gone.pop()

        host.listen(listener)
        first = world.envelope(B, declare("b"))
        with pytest.raises(RuntimeError):
            host.submit([first]).result(10)
        world.append(first)
        second = world.envelope(C, declare("c"))
        world.append(second)
        assert logged(host, first, second) == [3, 4]
        head = host.published.head
        assert head is not None and head.root == world.tree.root()


def test_a_cosignature_after_a_doubtful_commit_shows_nothing_that_is_not_served(
    tmp_path: Path,
) -> None:
    """The transaction is on disk, and the host was told that it failed."""
    world = World.of(3)
    failing: list[str] = []

    def hook(point: str) -> None:
        if point in failing:
            failing.clear()
            raise Unavailable("the disk did not say whether it has it")

    with open_host(tmp_path, world, hook=hook) as host:
        logged(host, *world.log)
        head = parse_signed_head(host.published.shown[-1].head.note).head
        line = cosign(head, B, keys_of(B).head, world.now_s).line()
        first = world.envelope(B, declare("b"))
        failing.append("committed")
        with pytest.raises(Unavailable):
            host.submit([first]).result(10)
        host.cosign(3, line, None).result(10)
        newest = host.published.head
        assert newest is not None and newest.size == host.published.state.size == 4
        world.append(first)
        assert logged(host, first, world.envelope(C, declare("c"))) == [3, 4]


# cosignatures


def test_a_quorum_of_cosignatures_makes_a_head_final(tmp_path: Path) -> None:
    world = World.of(4)  # a quorum is three
    with open_host(tmp_path, world) as host:
        logged(host, *world.log)
        head = parse_signed_head(host.published.shown[-1].head.note).head
        before = host.published.version
        lines = {m: cosign(head, m, keys_of(m).head, world.now_s).line() for m in world.members}
        for member in world.members[:2]:
            host.cosign(4, lines[member], None).result()
            host.cosign(4, lines[member], None).result()
        assert host.published.version == before + 2, "the same line again is no news"
        logged(host, *chain(world, A, declare("a")))
        assert [shown.head.size for shown in host.published.shown] == [5]
        host.cosign(4, lines[world.members[2]], None).result()
        final, newest = host.published.shown
        assert (final.head.size, newest.head.size) == (4, 5)
        assert set(final.lines) == {lines[m] for m in world.members[:3]}


def test_attack_17_18_bad_cosignatures_are_not_kept(tmp_path: Path) -> None:
    world = World.of(3)
    with open_host(tmp_path, world) as host:
        logged(host, *world.log)
        head = parse_signed_head(host.published.shown[-1].head.note).head
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
        assert host.published.shown[-1].lines == ()
