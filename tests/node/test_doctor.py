"""`comity doctor`: each fault is a real one, and its line says what came and what to do."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

import pytest

from comity.commons.charter import charter_bytes, commons_id
from comity.node import doctor
from comity.node.doctor import Examination, examine, judge_libraries
from comity.node.findings import Finding
from comity.node.keyfile import Unencrypted, make_keys, write_keys
from comity.node.settings import NodeSettings, write_node_settings
from comity.values import CLOCK_APART_S, MemberId
from tests.certificates import DAY, Issued, issue
from tests.host.hosting import Hosting, hosting
from tests.web import passing_on, saying, serving
from tests.worlds import FIRST_S, charter_of

MEMBER = MemberId("member-b")
CHARTER = charter_of(3)


def node_folder(root: Path, host_url: str, ca_file: str = "", proxy: str = "") -> Path:
    """A node's folder as `comity charter sign` leaves it."""
    folder = root / "node"
    folder.mkdir(mode=0o700)
    (folder / "charter.json").write_bytes(charter_bytes(CHARTER))
    (folder / "site.toml").write_text('sandbox = "warn"\n')
    settings = NodeSettings(member=MEMBER, host_url=host_url, ca_file=ca_file, proxy=proxy)
    write_node_settings(folder / "node.toml", settings)
    write_keys(folder / "keys.pem", make_keys(), passphrase=Unencrypted.ON_PURPOSE)
    return folder


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[Hosting]:
    with hosting(tmp_path / "host") as made:
        yield made


def examined(folder: Path, ahead_s: int = 0) -> Examination:
    return examine(folder, clock=lambda: FIRST_S + ahead_s)


def finding(made: Examination, tested: str) -> Finding:
    (found,) = (each for each in made.findings if each.tested == tested)
    return found


def failed(made: Examination) -> dict[str, str]:
    """What failed, with both halves of its line."""
    assert made.passed is not any(each.result == "fail" for each in made.findings)
    assert all(each.advice for each in made.findings if each.result == "fail")
    return {e.tested: f"{e.found} -> {e.advice}" for e in made.findings if e.result == "fail"}


def test_a_node_with_all_it_needs_passes_and_nothing_is_left_behind(
    hosted: Hosting, tmp_path: Path
) -> None:
    folder = node_folder(tmp_path, hosted.url)
    before = sorted(path.name for path in folder.iterdir())
    made = examined(folder)
    assert failed(made) == {}
    assert "member-a hosts" in finding(made, "host").found
    assert "agree" in finding(made, "clock").found
    assert finding(made, "SQLite").result == "ok"
    assert sorted(path.name for path in folder.iterdir()) == sorted(["left", *before])


def test_a_closed_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    said = failed(examined(node_folder(tmp_path, f"http://127.0.0.1:{port}")))
    assert list(said) == ["port"]
    assert f"127.0.0.1 port {port} was refused" in said["port"] and "allow TCP" in said["port"]


def test_a_firewall_that_drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listening socket whose queue is full answers nobody, as a firewall that drops."""
    monkeypatch.setattr("comity.node.reaching.CONNECT_S", 0.3)
    monkeypatch.setenv("https_proxy", "http://user:secret@proxy.example")
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    address = full.getsockname()
    waiting = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(address)
        waiting.append(one)
    made = examined(node_folder(tmp_path, f"http://127.0.0.1:{address[1]}"))
    for one in [*waiting, full]:
        one.close()
    assert "was not answered -> a firewall on the way drops it" in failed(made)["port"]
    assert "environment names a proxy" in failed(made)["port"]
    assert "secret" not in repr(made)


def test_a_name_that_is_none(tmp_path: Path) -> None:
    said = failed(examined(node_folder(tmp_path, "https://host.invalid:8440")))
    assert list(said) == ["name"] and "host.invalid has no address here" in said["name"]


def test_an_address_that_is_no_url(tmp_path: Path) -> None:
    folder = node_folder(tmp_path, "https://a:hidden@host.invalid")
    made = examined(folder)
    assert "holds a user or a path" in failed(made)["name"] and "hidden" not in repr(made)


def test_plain_http_to_another_machine(tmp_path: Path) -> None:
    with serving(saying(b"")) as port:
        # 0.0.0.0 is answered by this machine, and is none of its loopback addresses.
        made = examined(node_folder(tmp_path, f"http://0.0.0.0:{port}"))
    assert "plain HTTP to another machine" in failed(made)["TLS"]


@pytest.fixture
def authority(tmp_path: Path) -> Issued:
    return issue(tmp_path, "authority", authority=True)


@contextmanager
def behind(hosted: Hosting, front: Issued) -> Iterator[int]:
    with serving(passing_on(hosted.port), front.server()) as port:
        yield port


def test_a_certificate_that_is_good_and_one_that_ends_soon(
    hosted: Hosting, tmp_path: Path, authority: Issued
) -> None:
    for days, result in ((30, "ok"), (9, "note")):
        front = issue(tmp_path, f"front-{days}", by=authority, ends=days * DAY)
        with behind(hosted, front) as port:
            folder = node_folder(
                tmp_path, f"https://127.0.0.1:{port}", ca_file=str(authority.chain)
            )
            tls = finding(examine(folder), "TLS")
        assert (tls.result, f"holds for {days - 1} days" in tls.found) == (result, True), tls
        shutil.rmtree(folder)


def test_a_certificate_for_another_name_or_of_nobody(
    hosted: Hosting, tmp_path: Path, authority: Issued
) -> None:
    other = issue(tmp_path, "other", by=authority, names=("other.example",))
    with behind(hosted, other) as port:
        folder = node_folder(tmp_path, f"https://127.0.0.1:{port}", ca_file=str(authority.chain))
        said = failed(examine(folder))
        assert list(said) == ["TLS"]
        assert "is for another address -> host_url in node.toml must hold" in said["TLS"]
        shutil.rmtree(folder)
        assert "-> " in failed(examine(node_folder(tmp_path, f"https://127.0.0.1:{port}")))["TLS"]
    (tmp_path / "node" / "node.toml").write_text(
        f'member = "{MEMBER}"\nhost_url = "https://127.0.0.1:{port}"\nca_file = "/no/such.pem"\n'
    )
    with behind(hosted, other) as port:
        write_node_settings(
            tmp_path / "node" / "node.toml",
            NodeSettings(
                member=MEMBER, host_url=f"https://127.0.0.1:{port}", ca_file="/no/such.pem"
            ),
        )
        assert "cannot use ca_file /no/such.pem" in failed(examine(tmp_path / "node"))["TLS"]


@pytest.mark.parametrize("ahead_s", [3_600, -3_600])
def test_a_clock_that_is_off_by_an_hour(hosted: Hosting, tmp_path: Path, ahead_s: int) -> None:
    folder = node_folder(tmp_path, hosted.url)
    said = failed(examined(folder, ahead_s))
    side = "ahead of" if ahead_s > 0 else "behind"
    assert list(said) == ["clock"]
    assert f"this machine is 3600 s {side} the host" in said["clock"] and "NTP" in said["clock"]
    assert failed(examined(folder, ahead_s // 12)) == {}, f"{CLOCK_APART_S} s are allowed"
    assert list(failed(examined(folder, CLOCK_APART_S + 1))) == ["clock"]


def test_a_server_that_is_no_host_or_tells_no_time(tmp_path: Path) -> None:
    status = {"founded": True, "host": "member-a", "in_office": True, "size": 3}
    for commons, headers, told in (
        (commons_id(CHARTER), {}, {}),
        ("ab" * 32, {"Date": formatdate(FIRST_S, usegmt=True)}, {"host": "compare the commons id"}),
        ("x", {"Date": "yesterday"}, {"host": "no host of a commons"}),
    ):
        body = json.dumps({"commons": commons, **status}).encode()
        with serving(saying(body, headers)) as port:
            folder = node_folder(tmp_path, f"http://127.0.0.1:{port}")
            made = examined(folder)
        assert failed(made).keys() == told.keys()
        assert all(words in failed(made)[tested] for tested, words in told.items())
        if "GMT" not in headers.get("Date", ""):
            assert finding(made, "clock").result == "note"
        shutil.rmtree(folder)


def test_a_proxy_that_makes_no_way(tmp_path: Path) -> None:
    with serving(saying(b"no", status=403)) as port:
        proxy = f"http://me:hidden@127.0.0.1:{port}"
        made = examined(node_folder(tmp_path, "https://host.invalid:8440", proxy=proxy))
    assert f"proxy 127.0.0.1 port {port} answers" in finding(made, "port").found
    assert "allow CONNECT to host.invalid port 8440" in failed(made)["host"]
    assert "hidden" not in repr(made)


@pytest.mark.parametrize(("path", "mode"), [("keys.pem", 0o640), (".", 0o755)])
def test_keys_that_others_can_reach(tmp_path: Path, path: str, mode: int) -> None:
    folder = node_folder(tmp_path, "https://host.invalid")
    (folder / path).chmod(mode)
    said = failed(examined(folder))["key file"]
    assert "is open to others -> run: chmod" in said


def test_keys_that_are_missing_or_cut_off(tmp_path: Path) -> None:
    folder = node_folder(tmp_path, "https://host.invalid")
    (folder / "keys.pem").write_text("# comity statement key\n")
    (folder / "keys.pem").chmod(0o600)
    assert "key file" in failed(examined(folder))
    (folder / "keys.pem").unlink()
    assert "is missing -> make keys" in failed(examined(folder))["key file"]


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Give up root's rights for a while: they reach into every folder."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.iterdir()):
        os.chown(path, 65_534, 65_534)
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_cannot_be_written() -> None:
    root = Path(tempfile.mkdtemp(prefix="comity-doctor-test-", dir="/tmp"))
    try:
        root.chmod(0o755)
        folder = node_folder(root, "https://host.invalid")
        folder.chmod(0o500)
        with as_nobody(folder):
            made = examined(folder)
        assert f"cannot write in {folder} (Permission denied)" in failed(made)["disk"]
        assert finding(made, "SQLite").result == "skipped"
    finally:
        (root / "node").chmod(0o700)
        shutil.rmtree(root)


def test_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    folder = node_folder(tmp_path, "https://host.invalid")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_024, before[1]))
    try:
        made = examined(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "File too large" in failed(made)["disk"]
    huge = examine(folder, clock=lambda: FIRST_S, space_bytes_min=2**60)
    assert "free at least" in failed(huge)["disk"]


def test_settings_charter_and_policy_that_are_wrong(tmp_path: Path) -> None:
    folder = node_folder(tmp_path, "https://host.invalid")
    (folder / "site.toml").write_text("studies = 1\n")
    (folder / "charter.json").write_text("{}")
    assert {"site policy", "charter", "name"} <= failed(examined(folder)).keys()
    (folder / "node.toml").write_text('passphrase = "hidden"\n')
    made = examined(folder)
    assert "settings" in failed(made) and "hidden" not in repr(made)
    assert finding(made, "network").result == "skipped"
    (folder / "charter.json").write_bytes(charter_bytes(CHARTER))
    stranger = NodeSettings(member=MemberId("stranger"), host_url="https://host.invalid")
    write_node_settings(folder / "node.toml", stranger)
    assert "which the charter does not list" in failed(examined(folder))["member"]


def test_a_sandbox_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = node_folder(tmp_path, "https://host.invalid")
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    (folder / "site.toml").write_text('sandbox = "require"\n')
    said = failed(examined(folder))["sandbox"]
    assert "does not start" in said and "Landlock" in said


def test_libraries_that_are_old_or_missing() -> None:
    good = judge_libraries(["msgspec>=0.1", 'scikit-learn>=9; extra == "demo"'])
    assert good.result == "ok" and good.found.startswith("msgspec ")
    bad = judge_libraries(["msgspec>=99.1", "no-such-library>=1"])
    assert bad.result == "fail" and "no-such-library is missing" in bad.found


def test_an_old_sqlite_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SQLITE_MIN", (9, 0, 0))
    made = examined(node_folder(tmp_path, "https://host.invalid"))
    assert "install a Python with SQLite 9.0.0" in failed(made)["SQLite"]
