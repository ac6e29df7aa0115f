"""Certificates and versions of TLS that a node refuses, each with one sentence that helps."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from comity.errors import Misconfigured
from comity.node.http_client import HttpClient, Limits
from comity.node.outlet import NoSite
from comity.node.settings import NodeSettings, authorities
from comity.node.tls import Untrusted, client_tls, require_loopback
from comity.values import MemberId, PlainHttp
from tests.certificates import DAY, Issued, issue
from tests.web import saying, serving

PATIENT = Limits(connect_s=5, silence_s=5, answer_s=10, tries=50, pause_s=30)
"""Trying again would take minutes, so a test that ends has not tried again."""


@pytest.fixture
def authority(tmp_path: Path) -> Issued:
    return issue(tmp_path, "authority", authority=True)


def asked(server: ssl.SSLContext | None, ca: Path, name: str = "127.0.0.1") -> bytes:
    """Ask a server of that TLS, trusting that authority, under that name."""
    with serving(saying(b"hello"), server) as port:
        settings = NodeSettings(
            member=MemberId("a"), host_url=f"https://{name}:{port}", ca_file=str(ca)
        )
        client = HttpClient(
            settings.host_url,
            tls=authorities(settings),
            proxy=None,
            limits=PATIENT,
            outlet=NoSite(),
        )
        try:
            return client.ask("GET", "/", bytes_max=100).body
        finally:
            client.close()


def refused(server: ssl.SSLContext | None, ca: Path, name: str = "127.0.0.1") -> str:
    with pytest.raises(Untrusted) as told:
        asked(server, ca, name)
    said = str(told.value)
    assert "\n" not in said
    return said


def test_a_private_authority_in_the_settings_is_enough(tmp_path: Path, authority: Issued) -> None:
    good = issue(tmp_path, "host", by=authority)
    assert asked(good.server(), authority.chain) == b"hello"
    named = issue(tmp_path, "named", by=authority, names=("localhost",))
    assert asked(named.server(), authority.chain, "localhost") == b"hello"


def test_an_expired_certificate(tmp_path: Path, authority: Issued) -> None:
    old = issue(tmp_path, "old", by=authority, begins=-9 * DAY, ends=-DAY)
    said = refused(old.server(), authority.chain)
    assert "certificate has expired: its operator renews it" in said and "clock" in said


def test_a_certificate_that_is_not_valid_yet(tmp_path: Path, authority: Issued) -> None:
    early = issue(tmp_path, "early", by=authority, begins=DAY)
    said = refused(early.server(), authority.chain)
    assert "is not valid yet" in said and "clock" in said


def test_a_certificate_for_another_name(tmp_path: Path, authority: Issued) -> None:
    other = issue(tmp_path, "other", by=authority, names=("other.example",))
    assert "is for another address: host_url" in refused(other.server(), authority.chain)
    assert "is for another name: host_url" in refused(other.server(), authority.chain, "localhost")


def test_a_certificate_that_signed_itself(tmp_path: Path, authority: Issued) -> None:
    alone = issue(tmp_path, "alone")
    said = refused(alone.server(), authority.chain)
    assert "is signed by itself, and nothing here vouches for it" in said and "ca_file" in said


def test_an_authority_that_nobody_here_knows(tmp_path: Path, authority: Issued) -> None:
    stranger = issue(tmp_path, "stranger", authority=True)
    theirs = issue(tmp_path, "theirs", by=stranger)
    said = refused(theirs.server(), authority.chain)
    assert "comes from an authority that is not known here" in said and "ca_file" in said
    theirs.chain.write_bytes(
        theirs.chain.read_bytes().split(b"-----END")[0] + b"-----END CERTIFICATE-----\n"
    )
    assert "not known here" in refused(theirs.server(), authority.chain), "without its root too"


def test_the_authorities_of_the_system_do_not_vouch_for_a_private_one(
    tmp_path: Path, authority: Issued
) -> None:
    good = issue(tmp_path, "host", by=authority)
    with serving(saying(b"hello"), good.server()) as port:
        client = HttpClient(
            f"https://127.0.0.1:{port}", tls=None, proxy=None, limits=PATIENT, outlet=NoSite()
        )
        with pytest.raises(Untrusted, match="authority"):
            client.ask("GET", "/", bytes_max=100)
        client.close()


def test_tls_1_2_is_not_spoken(tmp_path: Path, authority: Issued) -> None:
    good = issue(tmp_path, "host", by=authority)
    old = good.server(ssl.TLSVersion.TLSv1_2)
    assert "the host offers no TLS 1.3" in refused(old, authority.chain)


def test_a_port_without_tls_is_told(authority: Issued) -> None:
    assert "does not speak TLS at this port" in refused(None, authority.chain)


def test_plain_http_goes_to_this_machine_only() -> None:
    for here in ("localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"):
        require_loopback(here)
    for there in ("host.example", "10.0.0.1", "0.0.0.0", "localhost.example", "::", "127.1"):
        with pytest.raises(Misconfigured, match=r'https address, or set plain_http = "on-purpose"'):
            require_loopback(there)
    with pytest.raises(Misconfigured, match="plain HTTP to another machine"):
        HttpClient("http://host.example:80", tls=None, proxy=None, limits=PATIENT, outlet=NoSite())
    settings = NodeSettings(
        member=MemberId("a"), host_url="http://host.example:80", plain_http="on-purpose"
    )
    assert authorities(settings) is PlainHttp.ON_PURPOSE
    assert isinstance(authorities(settings, "https://other.example"), ssl.SSLContext)
    HttpClient(
        settings.host_url, tls=authorities(settings), proxy=None, limits=PATIENT, outlet=NoSite()
    ).close()


def test_a_file_of_authorities_that_is_none_is_told(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("hello")
    for path in (empty, tmp_path / "missing.pem"):
        with pytest.raises(Misconfigured, match=r"cannot use ca_file .*PEM"):
            client_tls(str(path))
