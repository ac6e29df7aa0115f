"""Vectors and sums on disk: against the arithmetic and roots of `aggregation.ring`, and in a round.

The round is that of `rounds_world`, its vectors are real files and its host is a real one.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.aggregation.ring import SumRoot, VectorRoot, add_into, chunk_count, chunk_words
from comity.commons import rounds
from comity.commons.attempts import Closing, Masking, started_of
from comity.errors import Forged, Malformed, Refused, Rule, Unavailable
from comity.host.drafts import Logged
from comity.host.service import Host
from comity.host.sums import VectorHash, add_vectors, vector_check
from comity.statements.rounds import RoundCommit
from comity.values import (
    CHUNK_WORDS,
    ROW_BYTES,
    SEALED_BYTES,
    BlobName,
    Digest,
    MemberId,
    Seat,
    sha256,
)
from tests.commons.rounds_world import Rounds
from tests.host.hosting import give_blob, hosting, logged, open_host, refusal
from tests.storage.crashes import ROOT

BINDING = sha256(b"binding")
TWO_CHUNKS = CHUNK_WORDS + 40


def random_words(seed: int, words: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.random.default_rng(seed).integers(0, 2**32, words, dtype=np.uint32)


def sum_of(vectors: list[np.ndarray[tuple[int], np.dtype[np.uint32]]]) -> tuple[bytes, Digest]:
    """The sum's blob and root, from whole vectors in memory."""
    words = vectors[0].size
    root, blob = SumRoot(BINDING), b""
    lo, hi = np.zeros(words, dtype=np.uint32), np.zeros(words, dtype=np.uint8)
    for vector in vectors:
        add_into(lo, hi, vector)
    for k in range(chunk_count(words)):
        part = slice(k * CHUNK_WORDS, k * CHUNK_WORDS + chunk_words(words, k))
        root.update(lo[part], hi[part])
        blob += lo[part].tobytes() + hi[part].tobytes()
    return blob, root.digest()


@pytest.mark.parametrize("words", [8, CHUNK_WORDS, TWO_CHUNKS])
@pytest.mark.parametrize("split", [0, 1, 3])
def test_vectors_added_in_any_parts_give_the_sum_and_its_root(
    tmp_path: Path, words: int, split: int
) -> None:
    vectors = [random_words(seed, words) for seed in range(3)]
    paths = [tmp_path / f"{seed}" for seed in range(3)]
    for path, vector in zip(paths, vectors, strict=True):
        path.write_bytes(vector.tobytes())
    total, root = tmp_path / "sum", SumRoot(BINDING)
    total.write_bytes(b"left over from before a crash")
    add_vectors(total, words, paths[:split], fresh=True, root=None)
    add_vectors(total, words, paths[split:], fresh=False, root=root)
    blob, expected = sum_of(vectors)
    assert total.read_bytes() == blob
    assert root.digest() == expected


def test_a_sum_or_vector_that_is_too_short_is_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "y").write_bytes(bytes(31))
    with pytest.raises(Unavailable):
        add_vectors(tmp_path / "sum", 8, [tmp_path / "y"], fresh=True, root=None)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 4 * TWO_CHUNKS), max_size=6), seat=st.integers(1, 200))
def test_a_vector_hashed_in_any_pieces_has_its_root(cuts: list[int], seat: int) -> None:
    content = memoryview(random_words(7, TWO_CHUNKS).tobytes())
    running = VectorHash(BINDING, Seat(seat), TWO_CHUNKS)
    start = 0
    for cut in sorted({*cuts, len(content)}):
        running.take(content[start:cut])
        start = cut
    assert running.count == len(content)
    assert running.name() == root_of(random_words(7, TWO_CHUNKS), BINDING, Seat(seat))


def root_of(
    vector: np.ndarray[tuple[int], np.dtype[np.uint32]], binding: Digest, seat: Seat
) -> Digest:
    root = VectorRoot(binding, seat)
    for k in range(chunk_count(vector.size)):
        root.update(vector[k * CHUNK_WORDS : (k + 1) * CHUNK_WORDS])
    return root.digest()


def test_a_vectors_file_is_checked_with_binding_and_seat(tmp_path: Path) -> None:
    vector = random_words(1, TWO_CHUNKS)
    (tmp_path / "y").write_bytes(vector.tobytes())
    root = BlobName(root_of(vector, BINDING, Seat(2)))
    vector_check(BINDING, Seat(2), TWO_CHUNKS, root)(tmp_path / "y")
    for binding, seat, words in (
        (sha256(b"other"), 2, TWO_CHUNKS),
        (BINDING, 3, TWO_CHUNKS),
        (BINDING, 2, TWO_CHUNKS - 4),
    ):
        with pytest.raises(Forged):
            vector_check(binding, Seat(seat), words, root)(tmp_path / "y")


# a round at a host


@dataclass
class Round:
    """A round whose attempt is being committed to, at a host that holds its log so far."""

    rounds: Rounds
    host: Host

    @classmethod
    def masking(cls, host: Host, of: Rounds) -> Round:
        for content in (b"code", b"layout", b"model 0"):
            give_blob(host, content)
        logged(host, *of.world.log)
        made = cls(of, host)
        made.say(of.host, of.open())
        for member in of.members:
            n = of.opened.count
            blob = give_blob(host, member.encode().ljust(SEALED_BYTES * (n - 1) + ROW_BYTES * n))
            made.say(member, msgspec.structs.replace(of.join(member), blob=blob))
        for member in of.members:
            made.say(member, of.ready(member))
        made.say(of.host, of.start())
        assert isinstance(of.attempt, Masking)
        return made

    @property
    def binding(self) -> Digest:
        started = started_of(self.rounds.last)
        assert started is not None
        return started.binding

    def say(self, member: MemberId, body: object) -> None:
        """Say it to the host and in the world; it must take effect."""
        envelope = self.rounds.world.envelope(member, body)  # type: ignore[arg-type]  # any body
        (verdict,) = self.host.submit([envelope]).result(20)
        assert verdict == Logged(self.rounds.world.tree.size, None), verdict
        self.rounds.world.append(envelope)

    def vector(self, member: MemberId) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
        return random_words(self.rounds.seat(member), self.rounds.opened.words)

    def commit(self, member: MemberId) -> RoundCommit:
        root = root_of(self.vector(member), self.binding, self.rounds.seat(member))
        return RoundCommit(binding=self.binding, opened=self.rounds.opened.id, vector=root)

    def give_vector(self, member: MemberId) -> None:
        """Store the member's vector, in two pieces."""
        state, root = self.host.published.state, BlobName(self.commit(member).vector)
        upload = self.host.bulk.vector(state, member, self.rounds.opened.id, root)
        content = memoryview(self.vector(member).tobytes())
        self.host.bulk.uploads.write(upload, 0, content[:20])
        self.host.bulk.uploads.write(upload, 20, content[20:])
        self.host.bulk.uploads.finish(upload)

    def sum_root(self) -> Digest:
        future = self.host.bulk.finished_sum(self.host.published.state, self.rounds.opened.id)
        return future.result(20).root

    def expected(self) -> tuple[bytes, Digest]:
        words = self.rounds.opened.words
        lo, hi = np.zeros(words, dtype=np.uint32), np.zeros(words, dtype=np.uint8)
        for member in self.rounds.members:
            add_into(lo, hi, self.vector(member))
        root, blob = SumRoot(self.binding), b""
        for k in range(chunk_count(words)):
            part = slice(k * CHUNK_WORDS, k * CHUNK_WORDS + chunk_words(words, k))
            root.update(lo[part], hi[part])
            blob += lo[part].tobytes() + hi[part].tobytes()
        return blob, root.digest()

    def close(self, root: Digest) -> object:
        assert isinstance(self.rounds.attempt, Closing)
        return rounds.expected_close(self.rounds.attempt, root)


def test_a_commit_is_logged_only_with_its_vector_and_a_close_only_with_its_sum(
    tmp_path: Path,
) -> None:
    of = Rounds.of(3, words=TWO_CHUNKS)
    with open_host(tmp_path, of.world) as host:
        at = Round.masking(host, of)
        first, *others = of.members
        with pytest.raises(Refused) as refused:
            at.sum_root()
        assert refused.value.rule is Rule.PHASE_NOT_OPEN
        assert isinstance(refusal(host, of.world.envelope(first, at.commit(first))), Unavailable), (
            "no vector"
        )
        for member in of.members:
            at.give_vector(member)
        # Attack: another member's stored vector under my name.
        stolen = of.world.envelope(first, at.commit(others[0]))
        assert isinstance(refusal(host, stolen), Unavailable)
        for member in of.members:
            at.say(member, at.commit(member))
        blob, root = at.expected()
        wrong = of.world.envelope(of.host, at.close(sha256(b"wrong")))  # type: ignore[arg-type]
        assert isinstance(refusal(host, wrong), Unavailable), "no such sum"
        assert at.sum_root() == root
        at.say(of.host, at.close(root))
        path = host.bulk.find(host.published.state, BlobName(root))
        assert path is not None and path.read_bytes() == blob
        assert at.sum_root() == root, "still told when the round is closed"


def test_a_blob_that_pretends_to_a_vectors_name_is_no_vector(tmp_path: Path) -> None:
    of = Rounds.of(3, words=16)
    with open_host(tmp_path, of.world) as host:
        at = Round.masking(host, of)
        first = of.members[0]
        name = give_blob(host, b"preimage")
        envelope = of.world.envelope(
            first, msgspec.structs.replace(at.commit(first), vector=Digest(name))
        )
        assert isinstance(refusal(host, envelope), Unavailable)


def test_a_join_needs_sealed_shares_of_the_right_size(tmp_path: Path) -> None:
    of = Rounds.of(3, words=16)
    with open_host(tmp_path, of.world) as host:
        for content in (b"code", b"layout", b"model 0"):
            give_blob(host, content)
        logged(host, *of.world.log)
        logged(host, of.world.envelope(of.host, of.open()))
        of.world.append(of.world.envelope(of.host, of.open()))
        member = of.members[1]
        missing = of.world.envelope(member, of.join(member))
        assert isinstance(refusal(host, missing), Unavailable)
        short = msgspec.structs.replace(of.join(member), blob=give_blob(host, b"short"))
        assert isinstance(refusal(host, of.world.envelope(member, short)), Malformed)


@pytest.mark.parametrize("committed", [1, 2, 3])
def test_a_restarted_host_makes_the_sum_again(tmp_path: Path, committed: int) -> None:
    of = Rounds.of(3, words=TWO_CHUNKS)
    with open_host(tmp_path, of.world) as host:
        at = Round.masking(host, of)
        for member in of.members:
            at.give_vector(member)
        for member in of.members[:committed]:
            at.say(member, at.commit(member))
    sums = list((tmp_path / "rounds").glob("*/sum"))
    for half_written in sums:
        half_written.write_bytes(b"torn by a crash")
    with open_host(tmp_path, of.world) as host:
        at.host = host
        for member in of.members[committed:]:
            at.say(member, at.commit(member))
        assert at.sum_root() == at.expected()[1]


def test_vectors_go_when_their_attempt_is_over_and_the_sum_stays(tmp_path: Path) -> None:
    of = Rounds.of(3, words=16)
    with open_host(tmp_path, of.world) as host:
        at = Round.masking(host, of)
        for member in of.members:
            at.give_vector(member)
            at.say(member, at.commit(member))
        root = at.sum_root()
        at.say(of.host, at.close(root))
        vector = BlobName(at.commit(of.members[0]).vector)
        assert host.bulk.find(host.published.state, vector) is not None, "for disputes"
        for member in of.members:
            at.say(member, of.confirm(member))
        for member in of.members:
            at.say(member, of.reveal(member))
        for member in of.members:
            at.say(member, of.accept())
    with open_host(tmp_path, of.world) as host:
        assert host.bulk.find(host.published.state, vector) is None
        assert host.bulk.find(host.published.state, BlobName(root)) is not None
    assert list((tmp_path / "rounds").iterdir()) == []


def test_a_member_stores_one_vector_an_attempt_and_only_as_a_participant(tmp_path: Path) -> None:
    of = Rounds.of(3, strangers=1, words=16)
    with open_host(tmp_path, of.world) as host:
        at = Round.masking(host, of)
        state, member = host.published.state, of.members[0]
        at.give_vector(member)
        second = host.bulk.vector(state, member, of.opened.id, BlobName(sha256(b"second")))
        with pytest.raises(Unavailable):
            host.bulk.uploads.write(second, 0, memoryview(bytes(64)))
        with pytest.raises(Refused) as refused:
            host.bulk.vector(state, of.world.members[3], of.opened.id, second.name)
        assert refused.value.rule is Rule.WRONG_PARTY
        with pytest.raises(Refused) as refused:
            host.bulk.vector(state, member, of.world.last_id, second.name)
        assert refused.value.rule is Rule.PHASE_NOT_OPEN


def test_a_round_over_http(tmp_path: Path) -> None:
    of = Rounds.of(3, words=TWO_CHUNKS)
    with hosting(tmp_path, of.world) as hosted:
        at = Round.masking(hosted.server.host, of)
        opened = of.opened.id
        for member in of.members:
            source = tmp_path / member
            source.write_bytes(at.vector(member).tobytes())
            name = BlobName(at.commit(member).vector)
            hosted.remote(member).put_blob(name, source, vector_of=opened)
            at.say(member, at.commit(member))
        blob, root = at.expected()
        remote = hosted.remote(of.members[1])
        told = remote.sum_root(opened)
        assert (told.root, told.size_bytes) == (root, len(blob))
        words = of.opened.words
        sizes = [5 * chunk_words(words, k) for k in range(chunk_count(words))]
        pieces = [bytes(piece) for piece in remote.read_chunks(BlobName(root), sizes)]
        assert b"".join(pieces) == blob and [len(piece) for piece in pieces] == sizes


@pytest.mark.slow
@pytest.mark.parametrize("members", [5, 20])
def test_memory_stays_below_one_and_a_half_vectors_above_idle(tmp_path: Path, members: int) -> None:
    """Vectors of 40 MB over HTTP, five senders at once; the host is a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.host.measure_memory", str(tmp_path), str(members)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    idle, peak = map(int, ended.stdout.split())
    assert peak - idle <= 60_000_000, (idle, peak)
