"""Certificates made on the spot: an authority, and what it signs, right or wrong."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key, in PEM files: chain first, as servers want them."""

    chain: Path
    private: Path
    certificate: x509.Certificate
    secret: ec.EllipticCurvePrivateKey

    @property
    def files(self) -> tuple[Path, Path]:
        """What `--tls-chain` and `--tls-key` take."""
        return self.chain, self.private

    def server(self, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        """What a server of this certificate offers, up to that version of TLS."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(*self.files)
        made.maximum_version = newest
        return made


def issue(
    folder: Path,
    name: str,
    *,
    by: Issued | None = None,
    names: tuple[str, ...] = ("127.0.0.1",),
    begins: datetime.timedelta = -DAY,
    ends: datetime.timedelta = 30 * DAY,
    authority: bool = False,
) -> Issued:
    """Make a certificate.

    Args:
        by: who signs it; itself when None.
        names: DNS names and addresses it is for.
        begins, ends: its validity, from now.
        authority: whether it may sign others.
    """
    secret = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer, signer = (by.certificate.subject, by.secret) if by else (subject, secret)
    now = datetime.datetime.now(datetime.UTC)
    signing = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(signing, critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(secret.public_key()), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if not authority:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general(each) for each in names]), critical=False
        )
    made = builder.sign(signer, SHA256())
    chain, private = folder / f"{name}.pem", folder / f"{name}.key.pem"
    above = by.certificate.public_bytes(Encoding.PEM) if by else b""
    chain.write_bytes(made.public_bytes(Encoding.PEM) + above)
    private.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return Issued(chain, private, made, secret)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
