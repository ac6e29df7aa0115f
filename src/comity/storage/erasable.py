"""Bytes that can be erased for good, although a database keeps copies of its old pages.

Each secret is sealed (AES-256-GCM) under its own random key in its own small file; only the sealed
bytes go into the database. Erasing overwrites and unlinks the key file; every copy of the sealed
bytes is noise from then on. A newer version of a secret gets a new key, so that the older version
dies with its own. What a file system or a drive keeps of an overwritten block is beyond us: the
folder belongs on an encrypted disk and outside backups. Source: aggregation.md 12.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from comity.errors import Misconfigured
from comity.storage.disk import sync_folder

_KEY_BYTES = 32
_NONCE_BYTES = 12


class Sealed(NamedTuple):
    """A sealed secret as the database keeps it. lock_id: which key file opens it."""

    lock_id: str
    sealed: bytes


@final
class KeyFolder:
    """The folder of key files; made, with mode 0700, when absent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)

    def seal(self, name: str, plain: bytes, lock_id: str | None = None) -> Sealed:
        """Seal under a key file; under a new one, durable on return, when None is named.

        Args:
            name: bound to it, and told again to open.
            lock_id: of a key file that is here.
        """
        if lock_id is None:
            lock_id, secret = self._new_lock()
        else:
            secret = self._place(lock_id).read_bytes()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return Sealed(lock_id, nonce + AESGCM(secret).encrypt(nonce, plain, name.encode()))

    def _new_lock(self) -> tuple[str, bytes]:
        lock_id = secrets.token_hex(16)
        secret = secrets.token_bytes(_KEY_BYTES)
        descriptor = os.open(
            self._place(lock_id), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(descriptor)
        sync_folder(self._folder)
        return lock_id, secret

    def unseal(self, name: str, kept: Sealed) -> bytes | None:
        """The secret; None when its key was erased. Raises Misconfigured: the bytes are damaged."""
        try:
            secret = self._place(kept.lock_id).read_bytes()
        except FileNotFoundError:
            return None
        nonce, sealed = kept.sealed[:_NONCE_BYTES], kept.sealed[_NONCE_BYTES:]
        try:
            return AESGCM(secret).decrypt(nonce, sealed, name.encode())
        except (InvalidTag, ValueError) as error:
            raise Misconfigured(
                f"{self._folder} does not fit its database; was one of them restored?"
                " Treat this node as restored (docs/operating.md)"
            ) from error

    def erase(self, lock_ids: Collection[str]) -> None:
        """Overwrite, sync, unlink, sync the folder; keys that are gone already change nothing."""
        for lock_id in lock_ids:
            place = self._place(lock_id)
            try:
                descriptor = os.open(place, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                os.pwrite(descriptor, bytes(_KEY_BYTES), 0)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            place.unlink()
        if lock_ids:
            sync_folder(self._folder)

    def lock_ids(self) -> set[str]:
        """Of all key files here."""
        return {place.stem for place in self._folder.glob("*.key")}

    def _place(self, lock_id: str) -> Path:
        return self._folder / f"{lock_id}.key"
