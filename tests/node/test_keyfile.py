"""The key file by itself: what it holds, who can open it, and that other tools can."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
)

from comity.errors import Misconfigured
from comity.node import keyfile
from comity.node.keyfile import (
    ROLES,
    MemberKeys,
    Unencrypted,
    encrypt_pkcs8,
    load_host_key,
    load_keys,
    make_keys,
    write_keys,
)

PASSPHRASE = "ein langer Satz, übrigens".encode()
OPEN = Unencrypted.ON_PURPOSE


@pytest.fixture(scope="module")
def keys() -> MemberKeys:
    return make_keys()


@pytest.fixture(scope="module")
def sealed(keys: MemberKeys, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of one encrypted file, written once: scrypt is slow on purpose."""
    path = tmp_path_factory.mktemp("keys") / "commons" / "keys.pem"
    write_keys(path, keys, passphrase=PASSPHRASE)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [found.name for found in path.parent.iterdir()] == ["keys.pem"]
    return path.read_bytes()


def put(folder: Path, content: bytes) -> Path:
    folder.chmod(0o700)
    path = folder / "keys.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def public(keys: MemberKeys) -> tuple[bytes, ...]:
    return (
        keys.public_statement,
        keys.public_head,
        keys.public_host,
        keys.public_model,
        keys.public_model_spki,
    )


def blocks(content: bytes) -> list[bytes]:
    return [b"-----BEGIN" + part for part in content.split(b"-----BEGIN")[1:]]


def test_all_four_keys_come_back(tmp_path: Path, sealed: bytes, keys: MemberKeys) -> None:
    loaded = load_keys(put(tmp_path, sealed), passphrase=PASSPHRASE)
    assert public(loaded) == public(keys)
    assert [len(part) for part in public(keys)] == [32, 32, 32, 65, 91]
    assert len(set(public(keys))) == 5
    spki = load_der_public_key(keys.public_model_spki)
    point = spki.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert point == keys.public_model
    assert sealed.splitlines()[0] == b"# comity statement key"
    assert [line for line in sealed.splitlines() if line.startswith(b"#")] == [
        f"# comity {role} key".encode() for role in ROLES
    ]


def test_printing_keys_shows_no_key(keys: MemberKeys) -> None:
    assert repr(keys) == str(keys) == f"{keys}" == "MemberKeys"


def test_no_private_byte_lies_open_in_the_file(sealed: bytes, keys: MemberKeys) -> None:
    assert sealed.count(b"BEGIN ENCRYPTED PRIVATE KEY") == 4
    assert b"BEGIN PRIVATE KEY" not in sealed
    for held in (keys.statement, keys.head, keys.host):
        assert held.private_bytes_raw() not in sealed


def test_the_host_key_opens_without_the_others(
    tmp_path: Path, sealed: bytes, keys: MemberKeys
) -> None:
    """The other three blocks are noise here, so reading the host key cannot have needed them."""
    wrong = bytearray(sealed)
    for role in ("statement", "head", "model"):
        start = wrong.index(f"# comity {role} key".encode())
        body = wrong.index(b"-----\n", start + 10) + 6
        wrong[body : body + 64] = b"A" * 64
    path = put(tmp_path, bytes(wrong))
    host = load_host_key(path, passphrase=PASSPHRASE)
    assert host.public_key().public_bytes_raw() == keys.public_host
    with pytest.raises(Misconfigured):
        load_keys(path, passphrase=PASSPHRASE)


@pytest.mark.parametrize("wrong", [b"another", PASSPHRASE + b" ", b""])
def test_a_wrong_passphrase_is_told_plainly(tmp_path: Path, sealed: bytes, wrong: bytes) -> None:
    path = put(tmp_path, sealed)
    with pytest.raises(Misconfigured, match="passphrase does not open") as told:
        load_host_key(path, passphrase=wrong)
    assert wrong == b"" or wrong.decode() not in str(told.value)


def test_unencrypted_only_on_purpose_and_never_by_surprise(
    tmp_path: Path, sealed: bytes, keys: MemberKeys
) -> None:
    path = tmp_path / "open" / "keys.pem"
    write_keys(path, keys, passphrase=OPEN)
    assert path.stat().st_mode & 0o777 == 0o600
    assert public(load_keys(path, passphrase=OPEN)) == public(keys)
    with pytest.raises(Misconfigured, match="was it replaced"):
        load_keys(path, passphrase=PASSPHRASE)
    with pytest.raises(Misconfigured, match="give its passphrase"):
        load_host_key(put(tmp_path, sealed), passphrase=OPEN)
    with pytest.raises(Misconfigured, match="not empty"):
        write_keys(tmp_path / "new.pem", keys, passphrase=b"")
    assert not (tmp_path / "new.pem").exists()


def test_an_existing_file_is_never_replaced(
    tmp_path: Path, sealed: bytes, keys: MemberKeys
) -> None:
    path = put(tmp_path, sealed)
    with pytest.raises(Misconfigured, match="exists"):
        write_keys(path, keys, passphrase=OPEN)
    assert path.read_bytes() == sealed
    assert [found.name for found in tmp_path.iterdir()] == ["keys.pem"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_file_open_to_others_is_refused(tmp_path: Path, sealed: bytes, mode: int) -> None:
    path = put(tmp_path, sealed)
    path.chmod(mode)
    with pytest.raises(Misconfigured, match="chmod 600"):
        load_host_key(path, passphrase=PASSPHRASE)


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o770])
def test_a_folder_open_to_others_is_refused(
    tmp_path: Path, sealed: bytes, keys: MemberKeys, mode: int
) -> None:
    path = put(tmp_path, sealed)
    tmp_path.chmod(mode)
    with pytest.raises(Misconfigured, match="chmod 700"):
        load_host_key(path, passphrase=PASSPHRASE)
    with pytest.raises(Misconfigured, match="chmod 700"):
        write_keys(tmp_path / "new.pem", keys, passphrase=OPEN)
    assert [found.name for found in tmp_path.iterdir()] == ["keys.pem"]


def test_missing_linked_and_odd_files_are_refused(tmp_path: Path, sealed: bytes) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(Misconfigured, match="comity id new"):
        load_keys(tmp_path / "keys.pem", passphrase=PASSPHRASE)
    (tmp_path / "folder").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(put(tmp_path, sealed))
    for odd in ("folder", "link"):
        with pytest.raises(Misconfigured, match="no regular file"):
            load_keys(tmp_path / odd, passphrase=PASSPHRASE)


def test_a_file_with_its_blocks_swapped_or_cut_is_refused(tmp_path: Path, keys: MemberKeys) -> None:
    write_keys(tmp_path / "whole" / "keys.pem", keys, passphrase=OPEN)
    whole = (tmp_path / "whole" / "keys.pem").read_bytes()
    statement, head, host, model = blocks(whole)
    title = whole.splitlines(keepends=True)[0]
    ed25519 = statement.partition(b"#")[0]
    for wrong in (
        b"",
        b"\xff" * 100,
        whole[: len(whole) // 2],
        title + head + host + model + statement,
        title + statement + head + host + ed25519,
        whole.replace(b"# comity host key", b"# comity hosts key"),
        whole.replace(blocks(whole)[3], b"-----BEGIN PRIVATE KEY-----\nAAAA\n"),
        whole + b"#" * 20_000,
    ):
        with pytest.raises(Misconfigured):
            load_keys(put(tmp_path, wrong), passphrase=OPEN)


def test_cryptography_reads_what_we_write() -> None:
    signing_key = Ed25519PrivateKey.generate()
    plain = signing_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    loaded = load_der_private_key(encrypt_pkcs8(plain, b"p"), b"p")
    assert isinstance(loaded, Ed25519PrivateKey)
    assert loaded.private_bytes_raw() == signing_key.private_bytes_raw()


def test_cryptography_reads_each_block(sealed: bytes, keys: MemberKeys) -> None:
    for block, role in zip(blocks(sealed), ROLES, strict=True):
        loaded = load_pem_private_key(block, PASSPHRASE)
        held = getattr(keys, role)
        assert loaded.public_key() == held.public_key()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_reads_each_block(tmp_path: Path, sealed: bytes, keys: MemberKeys) -> None:
    for number, (block, role) in enumerate(zip(blocks(sealed), ROLES, strict=True)):
        path = tmp_path / f"{number}.pem"
        path.write_bytes(block)
        (tmp_path / "passphrase").write_bytes(PASSPHRASE + b"\n")
        words = f"openssl pkey -in {path} -passin file:{tmp_path}/passphrase -pubout -outform DER"
        told = subprocess.run(words.split(), capture_output=True, check=False)
        assert told.returncode == 0, told.stderr
        held = getattr(keys, role)
        spki = held.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert told.stdout == spki


def test_guessing_a_passphrase_costs_scrypt(tmp_path: Path, sealed: bytes) -> None:
    """The parameters in the file are those of the design; one guess is not free."""
    assert (keyfile.SCRYPT_N, keyfile.SCRYPT_R, keyfile.SCRYPT_P) == (2**14, 8, 5)
    path = put(tmp_path, sealed)
    started = time.process_time()
    with pytest.raises(Misconfigured):
        load_host_key(path, passphrase=b"guess")
    assert time.process_time() - started > 0.03
