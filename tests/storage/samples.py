"""Small valid things for the stores; light to import, for the processes that are killed."""

from __future__ import annotations

import base64
import hashlib

from comity.storage.database import Schema
from comity.storage.ports import Attempt, Row, StoredHead
from comity.values import BlobName, MemberId, StatementId

NUMBERS = Schema(0x54455354, 1, "CREATE TABLE number (n INTEGER PRIMARY KEY, b BLOB) STRICT")
BYTES = b"a masked vector" * 100
HERE = Attempt("aa" * 32, 3, 1)
NEXT = Attempt("aa" * 32, 3, 2)
SECRET = b"beta, sigma, mu: " + bytes(range(64))


def row(number: int, *, author: str = "uni-a", text: bytes = b"leaf") -> Row:
    leaf = text + str(number).encode()
    leaf_hash = hashlib.sha256(b"\x00" + leaf).digest()
    return Row(leaf, leaf_hash, hashlib.sha256(leaf).hexdigest(), author, number)


def head(size: int, note: bytes = b"note") -> StoredHead:
    return StoredHead(size, hashlib.sha256(size.to_bytes(8, "big")).digest(), note)


def line(member: str, time_s: int) -> tuple[MemberId, bytes]:
    signed = b"keyi" + time_s.to_bytes(8, "big") + bytes(64)
    return MemberId(member), f"— {member} ".encode() + base64.b64encode(signed) + b"\n"


def named(content: bytes) -> BlobName:
    return BlobName(hashlib.sha256(content).hexdigest())


NAME = named(BYTES)


def an_id(seq: int) -> StatementId:
    return StatementId(hashlib.sha256(b"%d" % seq).hexdigest())
