"""The host behind a reverse proxy that has the certificate; and what it does not do without."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from comity.errors import Misconfigured
from comity.host.serve import HostServer
from comity.node.remote import Remote
from comity.node.settings import NodeSettings, authorities
from comity.statements.governing import Seen
from comity.values import SEEN_INTERVAL_S, BlobName, PlainHttp, sha256
from tests.certificates import DAY, Issued, issue
from tests.host.hosting import QUICK, Hosting, hosting
from tests.web import passing_on, serving
from tests.worlds import World, charter_of, keys_of


def works_through(hosted: Hosting, url: str, ca: Path) -> None:
    """Whatever a node does: say, read, wait for news, cosign, send and fetch blobs."""
    world = hosted.world
    member = world.members[1]
    settings = NodeSettings(member=member, host_url=url, ca_file=str(ca))
    remote = Remote(
        url,
        member,
        statement_key=keys_of(member).statement,
        commons=world.state.commons,
        clock=lambda: world.now_s,
        tls=authorities(settings),
        limits=QUICK,
    )
    try:
        assert remote.status().host == world.charter.host
        world.now_s += SEEN_INTERVAL_S
        envelope = world.envelope(member, Seen())
        (posted,) = remote.post_statements([envelope])
        world.append(envelope)
        assert posted.index == world.tree.size - 1
        batch = remote.entries(0)
        assert list(batch.entries) == world.log
        waited = remote.entries(world.tree.size, version=batch.version, wait_s=1)
        assert not waited.entries
        hosted.cosign(member, remote)
        content = os.urandom(3_000_000)
        name = BlobName(sha256(content))
        remote.put_blob(name, content)
        fetched = ca.with_name("fetched")
        remote.get_blob(name, fetched)
        assert fetched.read_bytes() == content
    finally:
        remote.close()


@pytest.fixture
def authority(tmp_path: Path) -> Issued:
    return issue(tmp_path, "authority", authority=True)


def test_a_node_works_through_a_reverse_proxy(tmp_path: Path, authority: Issued) -> None:
    front = issue(tmp_path, "front", by=authority, names=("localhost",))
    with (
        hosting(tmp_path / "host") as hosted,
        serving(passing_on(hosted.port), front.server()) as port,
    ):
        works_through(hosted, f"https://localhost:{port}", authority.chain)


def test_a_node_works_through_nginx(tmp_path: Path, authority: Issued) -> None:
    """As in docs/operating.md; skipped where there is no nginx (or COMITY_NGINX names it)."""
    front = issue(tmp_path, "front", by=authority, names=("localhost",))
    with (
        hosting(tmp_path / "host") as hosted,
        nginx(tmp_path, hosted.port, front) as port,
    ):
        works_through(hosted, f"https://localhost:{port}", authority.chain)


@contextmanager
def nginx(folder: Path, behind: int, front: Issued) -> Iterator[int]:
    """nginx with the settings that docs/operating.md gives, on a free port."""
    program = os.environ.get("COMITY_NGINX") or shutil.which("nginx")
    if not program:
        pytest.skip("no nginx here: install it, or name it in COMITY_NGINX")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    chain, private = front.files
    settings = folder / "nginx.conf"
    settings.write_text(
        f"""
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {chain}; ssl_certificate_key {private};
    ssl_protocols TLSv1.3;
    client_max_body_size 16m;
    location / {{
      proxy_pass http://127.0.0.1:{behind};
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_read_timeout 60s;
    }}
  }}
}}
"""
    )
    running = subprocess.Popen([program, "-c", str(settings), "-p", str(folder)])
    try:
        _wait_for_port(port, running)
        yield port
    finally:
        running.terminate()
        running.wait(20)


def _wait_for_port(port: int, running: subprocess.Popen[bytes]) -> None:
    for _ in range(500):
        assert running.poll() is None, "nginx did not start"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.1).close()
            return
        except OSError:
            with pytest.raises(subprocess.TimeoutExpired):
                running.wait(0.02)
    raise AssertionError("nginx does not answer")


def serve_on(
    folder: Path, listen: str, plain: tuple[Path, Path] | PlainHttp | None = None
) -> HostServer:
    world = World.empty(charter_of(3))
    return HostServer(
        folder,
        world.charter,
        host_key=keys_of(world.charter.host).host,
        listen=listen,
        clock=lambda: world.now_s,
        tls=plain,
    )


def test_plain_http_is_for_this_machine_unless_on_purpose(tmp_path: Path) -> None:
    for listen in ("0.0.0.0:0", "[::]:0"):
        with pytest.raises(Misconfigured, match=r"--tls-chain .* --plain-http-on-purpose"):
            serve_on(tmp_path / "open", listen)
    assert not (tmp_path / "open").exists()
    server = serve_on(tmp_path / "meant", "0.0.0.0:0", PlainHttp.ON_PURPOSE)
    assert server.url.startswith("http://0.0.0.0:")
    server.stop()
    server.run(lambda _: None)


def test_a_host_does_not_start_with_a_certificate_that_every_node_refuses(
    tmp_path: Path, authority: Issued
) -> None:
    old = issue(tmp_path, "old", by=authority, begins=-9 * DAY, ends=-DAY)
    early = issue(tmp_path, "early", by=authority, begins=DAY)
    good = issue(tmp_path, "good", by=authority)
    for files, told in (
        (old.files, "every node would refuse it: renew it"),
        (early.files, "every node would refuse it"),
        ((good.chain, old.private), "cannot use the TLS files"),
        ((good.private, good.chain), "cannot use the TLS files"),
    ):
        with pytest.raises(Misconfigured, match=told):
            serve_on(tmp_path / "host", "127.0.0.1:0", files)
    assert not (tmp_path / "host").exists()


def test_the_host_itself_speaks_no_tls_1_2(tmp_path: Path, authority: Issued) -> None:
    good = issue(tmp_path, "host", by=authority)
    world = World.empty(charter_of(3))
    server = HostServer(
        tmp_path / "host",
        world.charter,
        host_key=keys_of(world.charter.host).host,
        listen="127.0.0.1:0",
        clock=lambda: world.now_s,
        tls=good.files,
    )
    thread = threading.Thread(target=server.run, args=(lambda _: None,), daemon=True)
    thread.start()
    try:
        port = int(server.url.rpartition(":")[2])
        old = ssl.create_default_context(cafile=str(authority.chain))
        for newest, taken in ((ssl.TLSVersion.TLSv1_2, False), (ssl.TLSVersion.TLSv1_3, True)):
            old.maximum_version = newest
            with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
                if taken:
                    assert old.wrap_socket(plain, server_hostname="127.0.0.1").version()
                else:
                    with pytest.raises(ssl.SSLError):
                        old.wrap_socket(plain, server_hostname="127.0.0.1")
    finally:
        server.stop()
        thread.join(20)
