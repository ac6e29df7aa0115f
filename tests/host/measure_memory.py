"""Print a host's memory: idle, and at its peak while members send 40 MB vectors over HTTP.

`python -m tests.host.measure_memory FOLDER MEMBERS [WORDS]`: the host is a child process; five
members send at once. Bytes of resident memory, as Linux counts it. Also prints, to stderr, how long
sending and adding took.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np

from comity.aggregation.ring import VectorRoot, chunk_count
from comity.commons.attempts import Masking
from comity.node.remote import Remote
from comity.statements.entries import Body
from comity.statements.rounds import RoundCommit
from comity.values import CHUNK_WORDS, ROW_BYTES, SEALED_BYTES, BlobName, MemberId, sha256
from tests.commons.rounds_world import Rounds
from tests.host.hosting import QUICK
from tests.storage.crashes import ROOT
from tests.worlds import keys_of

SERVE = """
import sys
from pathlib import Path
from comity.host.serve import run_host
from tests.worlds import charter_of, keys_of
charter = charter_of(int(sys.argv[2]))
host_key = keys_of(charter.host).host
run_host(Path(sys.argv[1]), charter, host_key=host_key, clock=lambda: 1_800_000_000)
"""


def resident(process: subprocess.Popen[str], what: str) -> int:
    """Bytes, from the line of /proc that has this name."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {what} in /proc")


def remote_of(url: str, rounds: Rounds, member: MemberId) -> Remote:
    """A connection in the name of a member."""
    return Remote(
        url,
        member,
        statement_key=keys_of(member).statement,
        commons=rounds.world.state.commons,
        clock=lambda: rounds.world.now_s,
        limits=QUICK,
    )


def measure(folder: Path, members: int, words: int) -> tuple[int, int]:
    """(idle, peak) of a host whose members all commit a vector of so many words."""
    rounds = Rounds.of(members, words=words)
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder / "host"), str(members)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        remotes = {member: remote_of(url, rounds, member) for member in rounds.members}
        first = remotes[rounds.host]

        def say(member: MemberId, body: Body) -> None:
            envelope = rounds.world.envelope(member, body)
            (posted,) = first.post_statements([envelope])
            assert posted.index == rounds.world.tree.size and posted.rule is None, posted
            rounds.world.append(envelope)

        first.post_statements(rounds.world.log[:members])
        for content in (b"code", b"layout", b"model 0"):
            first.put_blob(BlobName(sha256(content)), content)
        first.post_statements(rounds.world.log)
        say(rounds.host, rounds.open())
        for member in rounds.members:
            blob = member.encode().ljust(SEALED_BYTES * (members - 1) + ROW_BYTES * members)
            first.put_blob(BlobName(sha256(blob)), blob)
            join = msgspec.structs.replace(rounds.join(member), blob=sha256(blob))
            say(member, join)
        for member in rounds.members:
            say(member, rounds.ready(member))
        say(rounds.host, rounds.start())
        idle = resident(process, "VmRSS")
        commits = [commit(folder, rounds, member) for member in rounds.members]

        def send(member: MemberId, body: RoundCommit) -> None:
            source = folder / member
            remotes[member].put_blob(BlobName(body.vector), source, vector_of=rounds.opened.id)

        started = time.monotonic()
        with ThreadPoolExecutor(5) as threads:
            list(threads.map(send, rounds.members, commits))
        sent = time.monotonic()
        for member, body in zip(rounds.members, commits, strict=True):
            say(member, body)
        first.sum_root(rounds.opened.id)
        added = time.monotonic()
        print(
            f"sent {members} vectors of {4 * words} bytes in {sent - started:.2f} s,"
            f" added and hashed in {added - sent:.2f} s more",
            file=sys.stderr,
        )
        return idle, resident(process, "VmHWM")
    finally:
        process.terminate()
        process.wait(20)


def commit(folder: Path, rounds: Rounds, member: MemberId) -> RoundCommit:
    """Write the member's vector to a file and say its root."""
    attempt = rounds.attempt
    assert isinstance(attempt, Masking)
    seat, words = rounds.seat(member), rounds.opened.words
    vector = np.random.default_rng(seat).integers(0, 2**32, words, dtype=np.uint32)
    (folder / member).write_bytes(vector.tobytes())
    root = VectorRoot(attempt.started.binding, seat)
    for k in range(chunk_count(words)):
        root.update(vector[k * CHUNK_WORDS : (k + 1) * CHUNK_WORDS])
    return RoundCommit(
        binding=attempt.started.binding, opened=rounds.opened.id, vector=root.digest()
    )


if __name__ == "__main__":
    print(*measure(Path(sys.argv[1]), int(sys.argv[2]), int([*sys.argv, "10000000"][3])))
