"""The routes over real sockets: what honest members get, and what others do not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from comity.errors import Refused, Rule
from comity.node.remote import Posted
from comity.statements.governing import Seen
from comity.statements.readers import ask_to_read
from comity.values import MemberId, sha256
from comity.web.bodies import Times
from tests.host.asking import ask
from tests.host.hosting import Hosting, chain, declare, hosting
from tests.worlds import keys_of

A, B, C = MemberId("member-a"), MemberId("member-b"), MemberId("member-c")
SHORT = Times(silence_s=0.3, body_s=0.3, head_s=0.3)


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[Hosting]:
    with hosting(tmp_path) as made:
        yield made


# honest members


def test_a_long_poll_wakes_with_the_append(hosted: Hosting) -> None:
    remote = hosted.remote(B)
    before = remote.entries(0)
    woken: list[float] = []

    def wait() -> None:
        batch = remote.entries(3, before.version, 20)
        woken.append(time.monotonic())
        assert len(batch.entries) == 1

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    said = time.monotonic()
    hosted.say(A, declare("a"))
    thread.join(10)
    # A few milliseconds when the machine is quiet; the limit only tells waking from polling.
    assert woken and woken[0] - said < 1.0


def test_a_long_poll_wakes_with_a_cosignature_and_ends_in_time(hosted: Hosting) -> None:
    remote = hosted.remote(B)
    before = remote.entries(3)
    started = time.monotonic()
    again = remote.entries(3, before.version, 1)
    assert 0.9 < time.monotonic() - started < 5 and again.version == before.version
    timer = threading.Timer(0.2, lambda: hosted.cosign(A, hosted.remote(A)))
    timer.start()
    after = remote.entries(3, before.version, 20)
    assert after.version > before.version and len(after.heads[-1].cosignatures) == 1
    timer.join()


def test_posting_again_answers_the_same(hosted: Hosting) -> None:
    remote = hosted.remote(A)
    sent = chain(hosted.world, A, declare("a"), Seen(), declare("b"))
    answers = [Posted(3, None, None), Posted(4, Rule.TOO_SOON, None), Posted(5, None, None)]
    assert remote.post_statements(sent) == answers
    assert remote.post_statements(sent) == answers
    assert remote.status().size == 6


def test_founding_needs_no_token(tmp_path: Path) -> None:
    with hosting(tmp_path, founded=False) as hosted:
        remote = hosted.remote(A)
        with pytest.raises(Refused) as refused:
            remote.entries(0)
        assert refused.value.rule is Rule.UNKNOWN_AUTHOR
        assert not remote.status().founded
        hosted.found()
        assert remote.status().founded
        assert len(remote.entries(0).entries) == 3


def test_attack_02_a_reader_with_more_entries_alarms(
    hosted: Hosting, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Refused) as refused:
        hosted.remote(B).entries(4)
    assert refused.value.rule is Rule.HEAD_UNKNOWN
    assert "alarm=head-beyond-log by=member-b names=4 here=3" in caplog.text


# strangers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/entries?from=0"),
        ("POST", "/cosignatures"),
        ("GET", f"/blobs/{sha256(b'')}"),
        ("PUT", f"/blobs/{sha256(b'')}?offset=0&size=1"),
        ("PUT", f"/vectors/{sha256(b'')}?opened={sha256(b'')}&offset=0&size=1"),
        ("GET", f"/sums/{sha256(b'')}"),
    ],
)
def test_a_stranger_reads_and_writes_nothing(hosted: Hosting, method: str, path: str) -> None:
    for token in ("", "0" * 64, "x", "é"):
        status, said = ask(hosted, method, path, b"x" if method == "PUT" else b"", token)
        assert status == 401 and said["error"] == "Unavailable"
    status, _ = ask(hosted, method, path, token=hosted.token(A))
    assert status != 401


def test_a_token_is_given_only_for_the_members_key(hosted: Hosting) -> None:
    commons, now_s = hosted.world.state.commons, hosted.world.now_s

    def request(member: MemberId, key_of: MemberId, at_s: int = now_s) -> tuple[int, object]:
        key = keys_of(key_of).statement
        body = ask_to_read(commons, member, time_s=at_s, statement_key=key)
        status, said = ask(hosted, "POST", "/readers", body)
        return status, said.get("rule", said.get("error"))

    assert request(A, A)[0] == 200
    assert request(A, B) == (403, "Forged")
    assert request(MemberId("stranger"), A) == (403, "unknown-author")
    assert request(A, A, now_s + 300)[0] == 200
    assert request(A, A, now_s + 301) == (403, "clock-apart")
    good = ask_to_read(commons, A, time_s=now_s, statement_key=keys_of(A).statement)
    for bad in (b"", b"{}", good + b" ", good[:-1], b"[" * 2_000):
        assert ask(hosted, "POST", "/readers", bad)[0] in (400, 403)


def test_a_host_whose_clock_is_an_hour_off_says_so(hosted: Hosting) -> None:
    hosted.clock.ahead_s = -3_600
    with pytest.raises(Refused, match="3600 seconds ahead of the host's") as refused:
        hosted.remote(A).entries(0)
    assert refused.value.rule is Rule.CLOCK_APART
    (posted,) = hosted.remote(A).post_statements(chain(hosted.world, A, declare("a")))
    assert posted.index == 3, "statements bear their authors' time, not the host's"


def test_a_token_ends_after_an_hour_and_a_remote_gets_a_new_one(hosted: Hosting) -> None:
    remote = hosted.remote(A)
    token = remote._tokens.now()
    hosted.world.now_s += 3_599
    assert ask(hosted, "GET", "/entries?from=0", token=token)[0] == 200
    hosted.world.now_s += 1
    assert ask(hosted, "GET", "/entries?from=0", token=token)[0] == 401
    assert len(remote.entries(0).entries) == 3


def test_only_so_many_tokens_are_kept_for_a_member(hosted: Hosting) -> None:
    tokens = [hosted.token(A) for _ in range(17)]
    statuses = [ask(hosted, "GET", "/entries?from=0", token=token)[0] for token in tokens]
    assert statuses == [401] + [200] * 16
