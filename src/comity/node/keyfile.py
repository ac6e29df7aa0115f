"""The keys of one member in one commons, in one encrypted file: made, written, read.

Decided here: the form of `keys.pem` (four PKCS#8 PEM blocks, each under a line with its name; PBES2
with scrypt and AES-256-CBC, which `openssl pkey` and `cryptography` read), and that nobody but its
owner may read it. Where the passphrase comes from is the command line's business; what the keys
sign, `statements` and `log` decide. Sources: architecture.md 1.5; log-and-provenance.md 3.2.

scrypt runs with N = 2**14, r = 8, p = 5: OpenSSL 3 reads no file that asks for more than 32 MiB,
and `cryptography` by itself would write PBKDF2 with 2,048 rounds.
"""

from __future__ import annotations

import os
import secrets
import stat
from base64 import encodebytes
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, final

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from comity.errors import Misconfigured, Unavailable
from comity.storage.disk import sync_folder

SCRYPT_N: Final = 2**14
SCRYPT_R: Final = 8
SCRYPT_P: Final = 5
ROLES: Final = ("statement", "head", "host", "model")
"""Names of the keys, in the order of the file."""

_FILE_BYTES_MAX: Final = 16_384
_TITLE: Final = "# comity {} key"
_BEGIN_SEALED: Final = "-----BEGIN ENCRYPTED PRIVATE KEY-----"
_BEGIN_OPEN: Final = "-----BEGIN PRIVATE KEY-----"


class Unencrypted(Enum):
    """Given in place of a passphrase by who wants a key file that anybody with a copy can use."""

    ON_PURPOSE = "unencrypted-on-purpose"


@final
@dataclass(frozen=True, slots=True, repr=False)
class MemberKeys:
    """The four private keys of a member in one commons. Printing it shows no key."""

    statement: Ed25519PrivateKey
    head: Ed25519PrivateKey
    host: Ed25519PrivateKey
    model: EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return "MemberKeys"

    @property
    def public_statement(self) -> bytes:
        """32 bytes."""
        return self.statement.public_key().public_bytes_raw()

    @property
    def public_head(self) -> bytes:
        """32 bytes."""
        return self.head.public_key().public_bytes_raw()

    @property
    def public_host(self) -> bytes:
        """32 bytes."""
        return self.host.public_key().public_bytes_raw()

    @property
    def public_model(self) -> bytes:
        """The uncompressed point, 65 bytes."""
        return self.model.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    @property
    def public_model_spki(self) -> bytes:
        """The model key as SubjectPublicKeyInfo, DER, 91 bytes."""
        return self.model.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def make_keys() -> MemberKeys:
    """Four new keys, from the system's randomness."""
    return MemberKeys(
        statement=Ed25519PrivateKey.generate(),
        head=Ed25519PrivateKey.generate(),
        host=Ed25519PrivateKey.generate(),
        model=generate_private_key(SECP256R1()),
    )


def write_keys(path: Path, keys: MemberKeys, *, passphrase: bytes | Unencrypted) -> None:
    """Write a new key file, mode 0600, durable on return. Takes about a second.

    Args:
        path: must not exist; its folder is made with mode 0700 when absent.
    Raises:
        Misconfigured: the file exists, the folder is open to others, or the passphrase is empty.
        Unavailable: the disk fails; no file is left.
    """
    text = "".join(
        f"{_TITLE.format(role)}\n{_block(_private(keys, role), passphrase)}" for role in ROLES
    )
    # Beside, then linked: a crash leaves no half of a file, and an existing one is never replaced.
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_folder(path.parent)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
            os.link(beside, path)
        finally:
            beside.unlink()
        sync_folder(path.parent)
    except FileExistsError as error:
        raise Misconfigured(f"{path} exists; keys are never replaced, name another file") from error
    except OSError as error:
        raise Unavailable(f"cannot write {path} ({error.strerror}); check the disk") from error


def load_keys(path: Path, *, passphrase: bytes | Unencrypted) -> MemberKeys:
    """Read all four keys; about a quarter of a second each.

    Raises:
        Misconfigured: open to others, not a key file, wrong passphrase, or encrypted when it should
            not be and the reverse.
        Unavailable: it cannot be read.
    """
    blocks = _read(path)
    statement, head, host = (
        _load_ed25519(path, blocks[role], passphrase) for role in ("statement", "head", "host")
    )
    return MemberKeys(statement, head, host, _load_p256(path, blocks["model"], passphrase))


def load_host_key(path: Path, *, passphrase: bytes | Unencrypted) -> Ed25519PrivateKey:
    """Read the host key and decrypt no other: all a host process may hold. Errors: `load_keys`."""
    return _load_ed25519(path, _read(path)["host"], passphrase)


def check_key_file(path: Path) -> bool:
    """Check rights and form of a key file without opening a key; whether it is encrypted.

    Raises:
        Misconfigured, Unavailable: as `load_keys`.
    """
    return all(block.startswith(_BEGIN_SEALED) for block in _read(path).values())


def encrypt_pkcs8(plain: bytes, passphrase: bytes) -> bytes:
    """DER of an EncryptedPrivateKeyInfo: PBES2, scrypt, AES-256-CBC (RFC 8018, RFC 7914).

    Args:
        plain: DER of a PrivateKeyInfo.
        passphrase: at least one byte.
    """
    salt, iv = secrets.token_bytes(16), secrets.token_bytes(16)
    stretched = Scrypt(salt=salt, length=32, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P).derive(passphrase)
    padder = PKCS7(128).padder()
    padded = padder.update(plain) + padder.finalize()
    encryptor = Cipher(AES(stretched), CBC(iv)).encryptor()
    sealed = encryptor.update(padded) + encryptor.finalize()
    cost = _integer(SCRYPT_N) + _integer(SCRYPT_R) + _integer(SCRYPT_P)
    kdf = _sequence(_oid("2b06010401da47040b"), _sequence(_octets(salt), cost, _integer(32)))
    cipher = _sequence(_oid("60864801650304012a"), _octets(iv))
    algorithm = _sequence(_oid("2a864886f70d01050d"), _sequence(kdf, cipher))
    return _sequence(algorithm, _octets(sealed))


def _tlv(tag: int, content: bytes) -> bytes:
    """One DER element; its length takes one byte below 128, else a count and that many bytes."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(digits)]) + digits + content


def _sequence(*parts: bytes) -> bytes:
    return _tlv(0x30, b"".join(parts))


def _octets(content: bytes) -> bytes:
    return _tlv(0x04, content)


def _oid(encoded: str) -> bytes:
    return _tlv(0x06, bytes.fromhex(encoded))


def _integer(number: int) -> bytes:
    """A non-negative integer, with room for the sign bit."""
    return _tlv(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _private(keys: MemberKeys, role: str) -> bytes:
    found: Ed25519PrivateKey | EllipticCurvePrivateKey = getattr(keys, role)
    return found.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _block(plain: bytes, passphrase: bytes | Unencrypted) -> str:
    if isinstance(passphrase, Unencrypted):
        begin, der = _BEGIN_OPEN, plain
    elif not passphrase:
        raise Misconfigured("the passphrase of a key file is not empty; choose one")
    else:
        begin, der = _BEGIN_SEALED, encrypt_pkcs8(plain, passphrase)
    body = encodebytes(der).decode("ascii").replace("\n", "")
    lines = [body[place : place + 64] for place in range(0, len(body), 64)]
    return "\n".join([begin, *lines, begin.replace("BEGIN", "END"), ""])


def _check_folder(folder: Path) -> None:
    found = folder.stat()
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise Misconfigured(f"{folder} is open to others; run: chmod 700 {folder}")


def _read(path: Path) -> dict[str, str]:
    """The four PEM blocks by role, from a file that only its owner can reach."""
    try:
        _check_folder(path.parent)
        if not stat.S_ISREG(path.lstat().st_mode):
            raise Misconfigured(f"{path} is no regular file; name the key file itself")
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            # Judge the file that is open, not the one that has the name a moment later.
            found = os.fstat(file.fileno())
            if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
                raise Misconfigured(f"{path} is open to others; run: chmod 600 {path}")
            text = file.read(_FILE_BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise Misconfigured(f"{path} is missing; make keys with: comity id new") from error
    except OSError as error:
        raise Unavailable(f"cannot read {path} ({error.strerror}); check the disk") from error
    return _parse(path, text)


def _parse(path: Path, text: bytes) -> dict[str, str]:
    if len(text) > _FILE_BYTES_MAX or not text.isascii():
        raise Misconfigured(f"{path} is not a key file of Comity; restore it from its backup")
    rest = text.decode("ascii")
    titles = [_TITLE.format(role) + "\n" for role in ROLES]
    blocks: dict[str, str] = {}
    for role, title, following in zip(ROLES, titles, [*titles[1:], None], strict=True):
        block, _, after = rest.partition(following) if following else (rest, "", "")
        if not block.startswith(title if role == ROLES[0] else "-----BEGIN"):
            raise Misconfigured(f"{path} holds no {role} key in its place; restore its backup")
        blocks[role] = block.removeprefix(title)
        rest = after
    return blocks


def _load(path: Path, block: str, passphrase: bytes | Unencrypted) -> object:
    wanted = _BEGIN_OPEN if isinstance(passphrase, Unencrypted) else _BEGIN_SEALED
    if not block.startswith(wanted):
        raise Misconfigured(
            f"{path} is not encrypted although a passphrase was given: was it replaced?"
            if wanted == _BEGIN_SEALED
            else f"{path} is encrypted; give its passphrase"
        )
    secret = None if isinstance(passphrase, Unencrypted) else passphrase
    try:
        return load_pem_private_key(block.encode("ascii"), secret)
    except (ValueError, TypeError) as error:
        raise Misconfigured(
            f"the passphrase does not open {path}; give the one it was made with"
            if secret is not None
            else f"{path} is damaged; restore it from its backup"
        ) from error


def _load_ed25519(path: Path, block: str, passphrase: bytes | Unencrypted) -> Ed25519PrivateKey:
    loaded = _load(path, block, passphrase)
    if not isinstance(loaded, Ed25519PrivateKey):
        raise Misconfigured(f"{path} holds a key that is not Ed25519; restore it from its backup")
    return loaded


def _load_p256(path: Path, block: str, passphrase: bytes | Unencrypted) -> EllipticCurvePrivateKey:
    loaded = _load(path, block, passphrase)
    if not isinstance(loaded, EllipticCurvePrivateKey) or not isinstance(loaded.curve, SECP256R1):
        raise Misconfigured(f"{path} holds a model key that is not P-256; restore its backup")
    return loaded
