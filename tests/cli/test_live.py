"""Commands against a real host and real nodes, each a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from comity.errors import ExitCode
from comity.node import chartering, founding
from comity.node.keyfile import Unencrypted, load_keys
from comity.release.anchor import parse_anchor
from tests.cli.commands import Terminal, start

PLAIN = "--unencrypted-on-purpose"
MEMBERS = ("a", "b", "c")


@dataclass(frozen=True)
class Live:
    """A founded commons: one folder for each member, and a host that answers."""

    root: Path
    commons: str
    host: subprocess.Popen[str]

    def folder(self, member: str) -> tuple[str, Path]:
        """The option that names a member's folder."""
        return ("--folder", self.root / member)


def _first_line(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    value = json.loads(line)
    assert isinstance(value, dict)
    return value


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    root = tmp_path_factory.mktemp("live")
    ids = [
        Path(founding.new_identity(root / name, name, passphrase=Unencrypted.ON_PURPOSE).id_file)
        for name in MEMBERS
    ]
    charter = chartering.new_charter(root / "charter.toml", name="Live", host="a", ids=ids)
    for name in MEMBERS:
        keys = load_keys(root / name / founding.KEYS, passphrase=Unencrypted.ON_PURPOSE)
        founding.enter_commons(
            root / name, charter, keys=keys, host_url="http://127.0.0.1:9", sandbox="warn"
        )
    serve = ("host", "serve", "--listen", "127.0.0.1:0", "--folder", root / "a", "--json", PLAIN)
    host = start(*serve, "--tiles", root / "tiles")
    url = str(_first_line(host)["url"])
    for name in MEMBERS:
        settings = root / name / "node.toml"
        settings.write_text(settings.read_text().replace("http://127.0.0.1:9", url))
    found = [
        start("commons", "found", "--within-s", 60, "--folder", root / name, "--json", PLAIN)
        for name in MEMBERS
    ]
    ended = [process.communicate(timeout=90) for process in found]
    assert [process.returncode for process in found] == [0, 0, 0], ended
    statuses = [json.loads(out) for out, _ in ended]
    assert all(status["founded"] for status in statuses)
    yield Live(root, str(statuses[0]["commons"]), host)
    host.send_signal(signal.SIGTERM)
    host.communicate(timeout=30)
    assert host.returncode == 0


def test_founding_ends_with_a_final_head_for_everybody(live: Live, comity: Terminal) -> None:
    anchors = set()
    for name in MEMBERS:
        status = comity("status", *live.folder(name), "--json").json()
        assert status["founded"] and status["commons"] == live.commons
        anchors.add(comity("anchor", "show", *live.folder(name)).out)
    parsed = [parse_anchor(text.encode()) for text in anchors]
    assert all(anchor.commons == live.commons and anchor.size >= 3 for anchor in parsed)
    told = comity("host", "status", *live.folder("b"), "--json").json()
    assert (told["commons"], told["founded"], told["host"]) == (live.commons, True, "a")


def test_the_host_and_every_node_export_the_same_log(
    live: Live, comity: Terminal, tmp_path: Path
) -> None:
    anchor = tmp_path / "anchor.txt"
    anchor.write_text(comity("anchor", "show", *live.folder("b")).out)
    check = ("log", "check", live.root / "tiles", "--anchor", anchor)
    checked = comity(*check)
    for _ in range(100):
        if "cut off, or an old copy" not in checked.out:
            break  # else the host is about to write what this node knows to be final already
        time.sleep(0.05)
        checked = comity(*check)
    assert checked.code == ExitCode.DONE, checked.out
    node = start("node", "run", *live.folder("b"), "--json", PLAIN)
    try:
        _first_line(node)
        done = comity("log", "export", tmp_path / "of-b", *live.folder("b"), "--json")
        assert done.code == ExitCode.DONE, done.err
        size = done.json()["size"]
        assert comity("log", "check", tmp_path / "of-b", "--anchor", anchor).code == ExitCode.DONE
        assert isinstance(size, int) and size >= 3
    finally:
        node.send_signal(signal.SIGTERM)
        node.communicate(timeout=30)
    entries = next((tmp_path / "of-b").glob("tile/entries/000.p/*")).read_bytes()
    of_host = max((live.root / "tiles").glob("tile/entries/000.p/*"), key=lambda p: int(p.name))
    shorter, longer = sorted((entries, of_host.read_bytes()), key=len)
    assert longer.startswith(shorter)
    ran = comity("doctor", *live.folder("b"), "--json").json()
    told = {each["tested"]: each["result"] for each in ran["findings"]}  # type: ignore[attr-defined]
    assert {told[step] for step in ("name", "port", "TLS", "host", "clock")} == {"ok"}


def test_a_command_without_a_node_opens_the_folder_and_waits_for_the_log(
    live: Live, comity: Terminal, tmp_path: Path
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("x\n1\n")
    add = ("data", "add", "data-c", table, *live.folder("c"), PLAIN)
    first = comity(*add, "--json")
    assert first.code == ExitCode.DONE, first.err
    assert first.err == "", "with --json nothing is told on the way"
    shown = comity("log", "show", first.json()["index"], *live.folder("c"))
    assert "dataset.declare by c" in shown.out and "in effect" in shown.out
    again = comity(*add)
    assert again.code == ExitCode.AGAINST_RULES and "[said-before]" in again.err
    unknown = comity("consent", "withdraw", "no-such-study", *live.folder("c"), PLAIN)
    assert unknown.code == ExitCode.AGAINST_RULES and "[no-such-thing]" in unknown.err
    proof = comity("log", "prove", 0, *live.folder("c"))
    assert proof.out.startswith("c2sp.org/tlog-proof@v1\n")
    listed = comity("log", "list", "--from", 0, "--count", 2, *live.folder("c"))
    assert listed.out.count("commons.found") == 2


def test_a_running_node_grants_the_wish_and_needs_no_passphrase(
    live: Live, comity: Terminal, tmp_path: Path
) -> None:
    folder = live.folder("b")
    node = start("node", "run", *folder, "--json", PLAIN)
    try:
        assert _first_line(node)["member"] == "b"
        file = tmp_path / "study.py"
        comity("study", "new", file)
        registered = comity("study", "register", file, *folder, "--json")
        assert registered.code == ExitCode.DONE, registered.err
        status = comity("status", *folder)
        assert "ASKS YOU: consent on my-study: comity consent give" in status.out
        without = comity("study", "evaluate", "my-study", *folder)
        assert without.code == ExitCode.AGAINST_RULES and "[too-soon]" in without.err
        none = comity("consent", "withdraw", "my-study", *folder)
        assert none.code == ExitCode.CONSENT_MISSING and "[no-consent]" in none.err
        bold = comity("study", "register", file, "--colluders", 2, *folder)
        assert bold.code == ExitCode.AGAINST_RULES and "[study-out-of-bounds]" in bold.err
        watched = comity("study", "watch", "my-study", *folder, "--json").json()
        assert (watched["phase"], watched["results_count"]) == ("waiting", 0)
        failed = comity("study", "failures", "my-study", *folder)
        assert failed.code == ExitCode.DONE and "0 failures here" in failed.out, failed.err
        made = comity("data", "twin", file, "--rows", 20, "--out", tmp_path / "twin.csv")
        assert made.code == ExitCode.DONE, made.err
        fits = comity("data", "check", "my-study", "--data", tmp_path / "twin.csv", *folder)
        assert fits.code == ExitCode.DONE and "20 rows, fits" in fits.out, fits.err
        unnamed = comity("data", "check", "my-study", *folder)
        assert unnamed.code == ExitCode.USAGE and "0 data sets" in unnamed.err
        # The folder is the running node's: nobody else opens it.
        second = comity("node", "run", *folder, PLAIN)
        assert second.code == ExitCode.FAILED and "Traceback" not in second.err
    finally:
        node.send_signal(signal.SIGTERM)
        _, err = node.communicate(timeout=30)
    assert node.returncode == 0, err
    assert not (live.root / "b" / "node.sock").exists()


def test_a_wrong_passphrase_opens_nothing(live: Live, comity: Terminal, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"wrong\n")
    os.close(writing)
    try:
        ran = comity("vote", "ffff", "yes", *live.folder("c"), "--passphrase-fd", reading)
    finally:
        os.close(reading)
    assert ran.code == ExitCode.USAGE and "passphrase" in ran.err and "wrong" not in ran.err


def test_a_changed_log_is_noticed_when_it_is_read(
    live: Live, comity: Terminal, tmp_path: Path
) -> None:
    """The attack: one byte of the stored log is changed while no node runs."""
    folder = tmp_path / "copy"
    shutil.copytree(live.root / "a", folder, ignore=shutil.ignore_patterns("host", "*.lock"))
    log = folder / "log.sqlite"
    raw = log.read_bytes()
    place = raw.index(b'"payloadType"') - 40
    log.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
    ran = comity("status", "--folder", folder)
    assert ran.code != ExitCode.DONE and "Traceback" not in ran.err and ran.out == ""


def test_nobody_hosts_but_whom_the_charter_names(live: Live, comity: Terminal) -> None:
    ran = comity("host", "serve", "--listen", "127.0.0.1:0", *live.folder("b"), PLAIN)
    assert ran.code == ExitCode.USAGE
    assert "the charter names a as host" in ran.err
    assert not (live.root / "b" / "host").exists()
