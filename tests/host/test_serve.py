"""The host as a process: ports, signals, SIGKILL."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from comity.errors import Misconfigured, Unavailable
from comity.host.serve import HostServer
from comity.node.remote import Remote
from comity.values import BlobName, MemberId, sha256
from comity.web.bodies import Times
from tests.host.hosting import QUICK, Hosting, chain, declare, hosting
from tests.storage.crashes import ROOT
from tests.worlds import World, keys_of

A, B, C = MemberId("member-a"), MemberId("member-b"), MemberId("member-c")
SHORT = Times(silence_s=0.3, body_s=0.3, head_s=0.3)


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[Hosting]:
    with hosting(tmp_path) as made:
        yield made


def test_a_busy_port_is_told_in_one_sentence(hosted: Hosting, tmp_path: Path) -> None:
    def start(listen: str) -> None:
        HostServer(
            tmp_path / "other",
            hosted.world.charter,
            host_key=keys_of(A).host,
            listen=listen,
            clock=lambda: 1,
        )

    with pytest.raises(Unavailable, match=f"port {hosted.port} .* is in use"):
        start(f"127.0.0.1:{hosted.port}")
    for listen in ("", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", ":80", "1.2.3.4:0"):
        with pytest.raises(Misconfigured):
            start(listen)
    assert not (tmp_path / "other").exists()


RUN = """
import logging, sys
from pathlib import Path
from comity.host.serve import run_host
from tests.worlds import charter_of, keys_of
charter = charter_of(3)
host_key = keys_of(charter.host).host
run_host(Path(sys.argv[1]), charter, host_key=host_key, clock=lambda: 1_800_000_000)
"""


def start_process(folder: Path) -> tuple[subprocess.Popen[str], str]:
    running = subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    said = running.stdout.readline()
    assert said.startswith("hosting at http://127.0.0.1:")
    return running, said.split()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_when_told_while_members_wait(
    tmp_path: Path, number: signal.Signals
) -> None:
    world = World.of(3)
    running, url = start_process(tmp_path)
    try:
        remote = remote_to(url, world)
        remote.post_statements(world.log)
        batch = remote.entries(0)
        waiting = threading.Thread(target=remote.entries, args=(3, batch.version, 20))
        waiting.start()
        time.sleep(0.2)
        running.send_signal(number)
        assert running.wait(10) == 0
        waiting.join(10)
        assert not waiting.is_alive()
    finally:
        running.kill()


def test_attack_51_killed_while_blobs_and_statements_come_it_forgets_nothing(
    tmp_path: Path,
) -> None:
    world = World.of(3)
    running, url = start_process(tmp_path)
    content = bytes(30_000_000)
    name = BlobName(sha256(content))
    try:
        remote = remote_to(url, world)
        remote.post_statements(world.log)

        def put_all() -> None:
            with suppress(Unavailable):
                for envelope in chain(world, A, *(declare(f"a{i}") for i in range(200))):
                    remote.post_statements([envelope])
                    remote.put_blob(name, content)

        sender = threading.Thread(target=put_all)
        sender.start()
        time.sleep(0.4)
        before = remote_to(url, world).entries(0)
        running.kill()
        running.wait(10)
        sender.join(20)
        running, url = start_process(tmp_path)
        again = remote_to(url, world)
        after = again.entries(0)
        assert after.entries[: len(before.entries)] == before.entries
        sent = chain(world, A, *(declare(f"a{i}") for i in range(200)))
        assert [posted.index for posted in again.post_statements(sent)] == list(range(3, 203))
        again.put_blob(name, content)
        assert again.stored(name) == (len(content), True)
    finally:
        running.kill()
        running.wait(10)


def remote_to(url: str, world: World) -> Remote:
    return Remote(
        url,
        A,
        statement_key=keys_of(A).statement,
        commons=world.state.commons,
        clock=lambda: world.now_s,
        limits=QUICK,
    )
