"""P3. A host that shows two members two histories is convicted once they reach one another.

Real processes: the lying host is two servers with one key, each on a history of its own; each
member sees one of them, and the other member's mirror.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from comity.commons.charter import commons_id
from comity.node.founding import PublicId
from comity.node.http_client import Limits
from comity.node.keyfile import Unencrypted, write_keys
from comity.node.remote import Remote
from comity.node.settings import NodeSettings, write_node_settings
from comity.statements.governing import Seen
from comity.statements.keysets import make_possession
from comity.statements.wire import canonical
from tests.e2e.host_process import start_host
from tests.e2e.node_process import start_node
from tests.e2e.places import Place, Places, free_port, key_set_of
from tests.e2e.prepared import Make
from tests.e2e.steps import Clock, Desk

IN_S = 90.0


def until(reached: Callable[[], object], why: str) -> None:
    limit = time.monotonic() + IN_S
    while not reached():
        assert time.monotonic() < limit, why
        time.sleep(0.05)


def id_file(place: Place, folder: Path) -> Path:
    """The public id file of a member, as it was sent around at founding."""
    keys, mine = place.keys, key_set_of(place.member, place.keys)
    possession = make_possession(
        mine, statement=keys.statement, head=keys.head, host=keys.host, model=keys.model
    )
    path = folder / f"{place.member}.id.json"
    path.write_bytes(canonical(PublicId("comity-id/1", mine, possession)))
    return path


def comity(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "comity", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def accomplice_says(places: Places, url: str, clock: Clock, count: int) -> None:
    """The hosting member speaks on one of the histories."""
    desk = Desk(places.all[0], url, clock)
    try:
        for _ in range(count):
            desk.sync()
            desk.lie(Seen())
    finally:
        desk.close()


@pytest.mark.parametrize("longer", [0, 2])
def test_attack_01_two_members_shown_two_histories_find_out(
    commons: Make, tmp_path: Path, longer: int
) -> None:
    prepared = commons(4)
    places = prepared.copy(tmp_path / "a")
    shutil.copytree(tmp_path / "a" / "host", tmp_path / "b" / "host")
    shutil.copytree(tmp_path / "a" / "m0", tmp_path / "b" / "m0")
    first = places.all[0]
    there = Places(
        places.charter,
        [Place(first.member, tmp_path / "b" / "m0", first.keys, first.table), *places.all[1:]],
        tmp_path / "b" / "host",
    )
    keys = tmp_path / "keys.pem"
    tmp_path.chmod(0o700)
    write_keys(keys, first.keys, passphrase=Unencrypted.ON_PURPOSE)
    charter = first.folder / "charter.json"
    now_s = prepared.now_s
    running: list[subprocess.Popen[str] | subprocess.Popen[bytes]] = []
    try:
        urls = []
        for side, clock_s, count in ((places, now_s, 2), (there, now_s + 1, 2 + longer)):
            port = free_port()
            urls.append(f"http://127.0.0.1:{port}")
            running.append(start_host(side.host_folder, charter, keys, port, now_s))
            accomplice_says(side, urls[-1], Clock(clock_s), count)
        ports = (free_port(), free_port())
        members = places.all[1:3]
        for at, place in enumerate(members):
            write_keys(place.folder / "keys.pem", place.keys, passphrase=Unencrypted.ON_PURPOSE)
            settings = NodeSettings(
                member=place.member,
                host_url=urls[at],
                cosign_every_s=1,
                mirror=f"127.0.0.1:{ports[at]}",
                peers=(f"http://127.0.0.1:{ports[1 - at]}",),
                compare_every_s=1,
            )
            write_node_settings(place.folder / "node.toml", settings)
            running.append(start_node(place.folder, now_s, "never"))
        for place in members:
            folder = place.folder / "evidence"
            until(
                lambda folder=folder: list(folder.glob("host-*")) and list(folder.glob("alarm-*")),  # type: ignore[misc]
                f"{place.member} never finds out",
            )
        convict(places, members, tmp_path)
        mirrors_go_on(places, members, ports, now_s)
    finally:
        for process in running:
            process.kill()
            process.wait(20)


def convict(places: Places, members: list[Place], folder: Path) -> None:
    """Anybody with the host's id file checks the evidence, offline; a live node says what to do."""
    host_id, other_id = id_file(places.all[0], folder), id_file(places.all[3], folder)
    for place in members:
        (evidence, *_) = (place.folder / "evidence").glob("host-*")
        checked = comity("evidence", "check", evidence, "--key", host_id)
        assert checked.returncode == 0, checked.stderr
        assert "m0 signed as host two histories" in checked.stdout
        assert comity("evidence", "check", evidence, "--key", other_id).returncode == 4
        assert comity("evidence", "check", evidence).returncode == 6
        listed = comity("evidence", "list", "--folder", place.folder)
        assert "STOPPED speaking to the host" in listed.stdout, listed.stderr
        status = comity("status", "--folder", place.folder)
        assert "IN THE WAY: host-fault" in status.stdout
        assert "another history than this node" in status.stdout


def mirrors_go_on(places: Places, members: list[Place], ports: tuple[int, int], now_s: int) -> None:
    """A node that has caught its host serves its copy, read-only."""
    for at, port in enumerate(ports):
        reader = members[1 - at]
        remote = Remote(
            f"http://127.0.0.1:{port}",
            reader.member,
            statement_key=reader.keys.statement,
            commons=commons_id(places.charter),
            clock=lambda: now_s,
            limits=Limits(tries=2),
        )
        assert remote.entries(0).entries
        remote.close()
