"""One peer over HTTP: against a real host, and against servers that answer anything."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from comity.errors import Forged, Malformed, Refused, Rule, Unavailable
from comity.log.heads import TreeHead, parse_signed_head
from comity.node.answers import Batch
from comity.node.remote import Remote
from comity.node.sources import POST_BYTES_MAX
from comity.values import BlobName, CommonsId, MemberId, StatementId, sha256
from tests.host.hosting import QUICK, Hosting, chain, declare, hosting
from tests.worlds import keys_of

A, B = MemberId("member-a"), MemberId("member-b")
COMMONS = CommonsId(sha256(b"commons"))
BIG = bytes(range(256)) * 40_000  # more than two pieces
TOKEN = json.dumps({"token": "0" * 64, "expires_s": 3600}).encode()


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[Hosting]:
    with hosting(tmp_path / "host") as made:
        yield made


# a real host


def test_many_statements_go_in_several_requests(hosted: Hosting) -> None:
    sent = chain(hosted.world, A, *(declare(f"a{i}") for i in range(300)))
    assert sum(map(len, sent)) > POST_BYTES_MAX
    assert [p.index for p in hosted.remote(A).post_statements(sent)] == list(range(3, 303))
    batch = hosted.remote(B).entries(0)
    assert len(batch.entries) == 303 and batch.entries[3:] == tuple(sent)
    assert hosted.remote(A).post_statements([]) == []


def test_a_question_without_a_body_in_its_answer_is_refused_with_its_rule(hosted: Hosting) -> None:
    """After a cut a node asks how much of its vector is there; by then the attempt may be over."""
    with pytest.raises(Refused) as refused:
        hosted.remote(A).stored(BlobName(sha256(b"y")), StatementId(sha256(b"over")))
    assert refused.value.rule is Rule.PHASE_NOT_OPEN


def test_refusals_come_back_as_they_are(hosted: Hosting) -> None:
    first, second = chain(hosted.world, A, declare("a"), declare("b"))
    remote = hosted.remote(A)
    bad, late, good = remote.post_statements([b"rubbish", second, first])
    assert bad.index is None and isinstance(bad.error, Malformed)
    assert isinstance(late.error, Refused) and late.error.rule is Rule.CHAIN_BROKEN
    assert str(late.error).count("[chain-broken]") == 1
    assert good.index == 3 and good.error is None
    with pytest.raises(Refused) as refused:
        remote.post_cosignature(9, hosted.line(A, head_of(remote)))
    assert refused.value.rule is Rule.HEAD_UNKNOWN
    with pytest.raises(Refused) as refused:
        remote.sum_root(StatementId(sha256(b"no attempt")))
    assert refused.value.rule is Rule.NO_SUCH_THING


def head_of(remote: Remote) -> TreeHead:
    return parse_signed_head(remote.entries(0).heads[-1].note).head


def test_one_thread_waits_while_another_sends(hosted: Hosting) -> None:
    remote = hosted.remote(A)
    batch = remote.entries(0)
    got: list[Batch] = []
    waiting = threading.Thread(target=lambda: got.append(remote.entries(3, batch.version, 20)))
    waiting.start()
    remote.put_blob(BlobName(sha256(BIG)), BIG)
    remote.post_statements(chain(hosted.world, A, declare("a")))
    waiting.join(10)
    assert len(got[0].entries) == 1


def test_blobs_go_and_come_whole(hosted: Hosting, tmp_path: Path) -> None:
    name, remote = BlobName(sha256(BIG)), hosted.remote(A)
    source = tmp_path / "source"
    source.write_bytes(BIG)
    remote.put_blob(name, source)
    remote.put_blob(name, source)
    other = hosted.remote(B)
    other.get_blob(name, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == BIG
    assert other.small_blob(name, len(BIG)) == BIG
    with pytest.raises(Forged):
        other.small_blob(name, len(BIG) - 1)
    pieces = [bytes(p) for p in other.read_chunks(name, [1, 5_000_000, len(BIG) - 5_000_001])]
    assert b"".join(pieces) == BIG
    small = BlobName(sha256(b"small"))
    remote.put_blob(small, b"small")
    assert other.stored(small) == (5, True)
    assert other.stored(BlobName(sha256(b"nothing"))) == (0, False)


def test_transfers_go_on_where_they_ended(hosted: Hosting, tmp_path: Path) -> None:
    name, remote = BlobName(sha256(BIG)), hosted.remote(A)
    upload = hosted.server.host.bulk.blob(A, name, len(BIG))
    hosted.server.host.bulk.uploads.write(upload, 0, memoryview(BIG)[:3_000_001])
    remote.put_blob(name, BIG)
    (tmp_path / "copy.part").write_bytes(BIG[:5_000_001])
    remote.get_blob(name, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == BIG and not (tmp_path / "copy.part").exists()
    (tmp_path / "torn.part").write_bytes(bytes(5_000_001))
    remote.get_blob(name, tmp_path / "torn")
    assert (tmp_path / "torn").read_bytes() == BIG


def test_bytes_that_do_not_fit_are_refused_at_both_ends(hosted: Hosting, tmp_path: Path) -> None:
    name, remote = BlobName(sha256(BIG)), hosted.remote(A)
    with pytest.raises(Forged):
        remote.put_blob(name, BIG[::-1])
    remote.put_blob(name, BIG)

    def never(_: Path) -> None:
        raise Forged("another check")

    with pytest.raises(Forged, match="another check"):
        remote.get_blob(name, tmp_path / "copy", never)
    assert list(tmp_path.glob("copy*")) == []
    with pytest.raises(Malformed):
        remote.get_blob(name, tmp_path / "copy", bytes_max=1_000)
    with pytest.raises(Malformed):
        list(remote.read_chunks(name, [5, 6]))
    missing = BlobName(sha256(b"missing"))
    with pytest.raises(Unavailable):
        remote.get_blob(missing, tmp_path / "copy")
    with pytest.raises(Unavailable):
        remote.put_blob(missing, tmp_path / "no such file")


def test_it_goes_on_through_a_proxy_that_cuts_every_connection(
    hosted: Hosting, tmp_path: Path
) -> None:
    """A relay that closes each connection after 1.5 MB in either direction."""
    with relay(hosted.port, 1_500_000) as port:
        remote = Remote(
            f"http://127.0.0.1:{port}",
            A,
            statement_key=keys_of(A).statement,
            commons=hosted.world.state.commons,
            clock=lambda: hosted.world.now_s,
            limits=QUICK,
        )
        name = BlobName(sha256(BIG))
        remote.put_blob(name, BIG)
        remote.get_blob(name, tmp_path / "copy")
        sizes = [2_000_000] * 5 + [len(BIG) - 10_000_000]
        assert b"".join(bytes(p) for p in remote.read_chunks(name, sizes)) == BIG
        remote.close()
    assert (tmp_path / "copy").read_bytes() == BIG


@contextmanager
def relay(port: int, bytes_max: int) -> Iterator[int]:
    """Passes bytes on, and hangs up after so many in one direction."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket) -> None:
        left = bytes_max
        try:
            while left > 0 and (piece := source.recv(min(left, 65_536))):
                target.sendall(piece)
                left -= len(piece)
        except OSError:
            pass
        for line in (source, target):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            onward = socket.create_connection(("127.0.0.1", port))
            for pair in ((line, onward), (onward, line)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
