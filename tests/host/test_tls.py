"""HTTPS with a certificate of one's own, and through a proxy that must be named."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from comity.commons.charter import commons_id
from comity.errors import Unavailable
from comity.host.serve import HostServer
from comity.node.http_client import Limits
from comity.node.remote import Remote
from tests.worlds import World, keys_of

ONCE = Limits(tries=1)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "host")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    chain, private = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return chain, private


@contextmanager
def hosting(folder: Path, tls: tuple[Path, Path]) -> Iterator[tuple[str, World]]:
    world = World.of(3)
    server = HostServer(
        folder / "host",
        world.charter,
        host_key=keys_of(world.charter.host).host,
        listen="127.0.0.1:0",
        clock=lambda: world.now_s,
        tls=tls,
    )
    thread = threading.Thread(target=server.run, args=(lambda _: None,), daemon=True)
    thread.start()
    try:
        yield server.url, world
    finally:
        server.stop()
        thread.join(timeout=20)


def remote(url: str, world: World, *, ca: Path | None, proxy: str | None = None) -> Remote:
    member = world.members[0]
    key: Ed25519PrivateKey = keys_of(member).statement
    return Remote(
        url,
        member,
        statement_key=key,
        commons=commons_id(world.charter),
        clock=lambda: world.now_s,
        tls=ssl.create_default_context(cafile=ca) if ca else None,
        proxy=proxy,
        limits=ONCE,
    )


def test_a_host_with_its_own_certificate_is_reached_by_who_trusts_it_only(tmp_path: Path) -> None:
    tls = certificate(tmp_path)
    with hosting(tmp_path, tls) as (url, world):
        assert url.startswith("https://")
        assert remote(url, world, ca=tls[0]).status().host == world.charter.host
        with pytest.raises(Unavailable):
            remote(url, world, ca=None).status()


@contextmanager
def proxy_here() -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that tunnels CONNECT; remembers what it was asked."""
    asked: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket) -> None:
        while piece := source.recv(65_536):
            target.sendall(piece)

    def serve() -> None:
        try:
            while True:
                peer, _ = listening.accept()
                line = peer.recv(4_096).split(b"\r\n")[0]
                asked.append(line)
                address, _, port = line.split()[1].decode().partition(":")
                onward = socket.create_connection((address, int(port)))
                peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                for pair in ((peer, onward), (onward, peer)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()
        except OSError:
            pass  # closed by the test

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
    finally:
        listening.close()


def test_a_named_proxy_carries_everything(tmp_path: Path) -> None:
    tls = certificate(tmp_path)
    with hosting(tmp_path, tls) as (url, world), proxy_here() as (proxy, asked):
        far = remote(url, world, ca=tls[0], proxy=proxy)
        assert far.status().host == world.charter.host
        far.close()
        assert asked and asked[0].startswith(b"CONNECT 127.0.0.1:")
