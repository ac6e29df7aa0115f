"""Statements, canonical JSON and signatures against other people's vectors."""

from __future__ import annotations

import gzip
import json
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from comity.errors import Forged, Malformed
from comity.statements.keysets import check_model_signature, check_signature, public_key_fault
from comity.statements.wire import PAYLOAD_TYPE, canonical, keyid_of, pae, read, statement_id
from tests.outside.shared import vectors
from tests.statements.make_vectors import VOTE, wrap

Json = Any  # parsed JSON of other people's files


def _gzipped(*parts: str) -> Json:
    return json.loads(gzip.decompress(vectors(*parts).read_bytes()))


def _fits(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        check_signature(public, signature, message)
    except Forged:
        return False
    return True


def test_one_of_914_edge_case_signatures_counts() -> None:
    """CCTV: libraries differ on 165 of them; under our rule only the clean one is left."""
    rows = _gzipped("ed25519", "cctv_ed25519.json.gz")
    accepted = []
    plain = 0
    for row in rows:
        public, signature = bytes.fromhex(row["key"]), bytes.fromhex(row["sig"])
        message = row["msg"].encode()
        if _fits(public, signature, message):
            accepted.append(row)
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
            plain += 1
        except (InvalidSignature, ValueError):
            pass
    assert len(rows) == 914 and plain > 100, "the library alone accepts many"
    assert len(accepted) == 1 and not accepted[0]["flags"]


def test_wycheproof_ed25519() -> None:
    count = 0
    for group in _gzipped("wycheproof", "ed25519_test.json.gz")["testGroups"]:
        public = bytes.fromhex(group["publicKey"]["pk"])
        assert public_key_fault(public) is None
        der = bytes.fromhex(group["publicKeyDer"])
        assert keyid_of(public) == sha256(der).hexdigest()[:16]
        for case in group["tests"]:
            fits = _fits(public, bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"]))
            assert fits is (case["result"] == "valid"), case["tcId"]
            count += 1
    assert count == 151


def test_wycheproof_p256() -> None:
    count = 0
    for group in _gzipped("wycheproof", "ecdsa_secp256r1_sha256_test.json.gz")["testGroups"]:
        public = bytes.fromhex(group["publicKey"]["uncompressed"])
        for case in group["tests"]:
            signature, message = bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"])
            if case["result"] == "valid":
                check_model_signature(public, signature, message)
            else:
                with pytest.raises(Forged):
                    check_model_signature(public, signature, message)
            count += 1
    assert count == 484


def test_dsse_example() -> None:
    """The example of the protocol document: its encoding, and its signature over that."""
    row = json.loads(vectors("dsse", "dsse.json").read_text())
    payload = row["payload"].encode()
    signed = pae(payload, payload_type=row["payloadType"])
    assert signed == row["pae"].encode()
    numbers = ec.EllipticCurvePublicNumbers(int(row["p256_x"]), int(row["p256_y"]), ec.SECP256R1())
    point = b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    signature = b64decode(row["envelope"]["signatures"][0]["sig"])
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    check_model_signature(point, encode_dss_signature(r, s), signed)
    with pytest.raises(Forged):
        check_model_signature(point, encode_dss_signature(r, s), signed + b"!")


def test_json_test_suite_is_refused_in_every_place() -> None:
    """316 cases: as an envelope, as a payload, and as a value inside a good payload."""
    count = 0
    for line in vectors("json", "parsing.jsonl").read_text().splitlines():
        row = json.loads(line)
        if "b64" not in row:
            continue  # a file above 20 kB, only named; the unit tests nest deeper than it does
        case = b64decode(row["b64"])
        inside = VOTE.encode().replace(b'"seq":0', b'"seq":' + case)
        for attempt in (case, wrap(case) if len(case) < 30_000 else case, wrap(inside)):
            try:
                statement = read(attempt).statement
            except Malformed:
                continue
            # Only a number that is canonical by itself may stand for another.
            assert case == str(statement.seq).encode()
        count += 1
    assert count == 316


@pytest.mark.parametrize("name", ["arrays", "french", "structures", "unicode", "weird"])
def test_our_encoder_writes_rfc_8785(name: str) -> None:
    """Our one encoder sorts and escapes as others do, on the vectors without fractions.

    56.0 is read as 56. `weird` sorts one member beyond the basic plane by UTF-16 units, where our
    profile has ASCII keys only, so there only the members are compared, not their order.
    """
    text = vectors("jcs", "input", f"{name}.json").read_text(encoding="utf-8")
    tree = json.loads(text, parse_float=lambda number: int(float(number)))
    expected = vectors("jcs", "output", f"{name}.json").read_bytes()
    encoded = msgspec.json.Encoder(order="sorted").encode(tree)
    if name == "weird":
        assert json.loads(encoded) == json.loads(expected)
        assert len(encoded) == len(expected)
    else:
        assert encoded == expected
        assert canonical(msgspec.defstruct("Wrapped", [("value", Json)])(tree)) == (
            b'{"value":' + expected + b"}"
        )


def test_ids_and_signatures_are_composed_as_in_the_prototype() -> None:
    """Not independent, and with the older URI, so only the encoding, the id and the signature."""
    expected = json.loads(vectors("prototype-golden", "expected.json").read_text())
    envelope = vectors("prototype-golden", "leaf-1.json").read_bytes()
    assert sha256(b"\0" + envelope).hexdigest() == expected["leaf_hashes"][1]
    tree = json.loads(envelope)
    payload = b64decode(tree["payload"])
    assert tree["payloadType"] == PAYLOAD_TYPE
    assert statement_id(payload) == expected["act_ids"][1]
    author = Ed25519PrivateKey.from_private_bytes(bytes([2]) * 32)
    public = author.public_key().public_bytes_raw()
    signature = tree["signatures"][0]
    assert signature["keyid"] == keyid_of(public)
    check_signature(public, b64decode(signature["sig"]), pae(payload))
    assert signature["sig"] == b64encode(author.sign(pae(payload))).decode()
    with pytest.raises(Malformed, match="unknown predicateType"):
        read(envelope)
