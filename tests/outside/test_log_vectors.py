"""The log's formats against vectors of other implementations (data outside the repository)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from comity.errors import Forged, Malformed
from comity.log.heads import (
    cosignatures_in,
    final_members,
    newest_quorum_time,
    origin_of,
    parse_signed_head,
    parse_tree_head,
    verify_host,
)
from comity.log.merkle import (
    EMPTY_ROOT,
    Tree,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from comity.log.notes import (
    ED25519_COSIGNATURE,
    ED25519_NOTE,
    note_key_id,
    parse_note,
    parse_verifier_key,
    verify_ed25519,
)
from comity.log.proofs import parse_tlog_proof, policy_text
from comity.log.tiles import check_hash_tile, decode_bundle, parse_tile_path, tile_files
from comity.log.view import View
from comity.values import CommonsId, MemberId
from tests.outside.shared import vectors

# Roots of these two are not 32 bytes ("don't care"): refused for that reason only.
SHORT_ROOTS = {"sizes are equal (one) and proof is empty"}


def jsonl(path: Path) -> list[dict[str, Any]]:  # vectors are read as found
    return [json.loads(line) for line in path.read_text().splitlines()]


def b64(text: str) -> bytes:
    return base64.b64decode(text)


def test_merkle_hash_constants() -> None:
    constants = json.loads(vectors("merkle", "rfc6962_hashes.json").read_text())
    assert EMPTY_ROOT.hex() == constants["empty_root"]
    assert leaf_hash(b"").hex() == constants["leaf_of_empty"]
    assert leaf_hash(b"L123456").hex() == constants["leaf_of_L123456"]
    assert node_hash(b"N123", b"N456").hex() == constants["node_of_N123_N456"]


def test_merkle_inclusion_proofs() -> None:
    cases = jsonl(vectors("merkle", "inclusion.jsonl"))
    for case in cases:
        path = [b64(node) for node in case["proof"] or []]
        leaf, root = b64(case["leafHash"]), b64(case["root"])
        if case["wantErr"]:
            with pytest.raises((Malformed, Forged)):
                verify_inclusion(leaf, case["leafIdx"], case["treeSize"], path, root)
        else:
            verify_inclusion(leaf, case["leafIdx"], case["treeSize"], path, root)
    assert len(cases) == 98
    assert any(not case["wantErr"] for case in cases)


def test_merkle_consistency_proofs() -> None:
    cases = jsonl(vectors("merkle", "consistency.jsonl"))
    for case in cases:
        path = [b64(node) for node in case["proof"] or []]
        arguments = case["size1"], b64(case["root1"]), case["size2"], b64(case["root2"]), path
        if case["desc"] in SHORT_ROOTS:
            with pytest.raises(Malformed, match="32 bytes"):
                verify_consistency(*arguments)
        elif case["wantErr"]:
            with pytest.raises((Malformed, Forged)):
                verify_consistency(*arguments)
        else:
            verify_consistency(*arguments)
    assert len(cases) == 98
    assert any(not case["wantErr"] for case in cases)


def test_a_log_written_by_go_tessera() -> None:
    folder = vectors("tlog-tiles")
    key = parse_verifier_key((folder / "log.vkey").read_text().strip())
    entries: tuple[bytes, ...] = ()
    for width in range(1, 16):
        place = parse_tile_path(f"tile/entries/000.p/{width}")
        entries = decode_bundle((folder / "log" / place.path()).read_bytes(), width)
        tree = Tree(leaf_hash(entry) for entry in entries)
        hashes = parse_tile_path(f"tile/0/000.p/{width}")
        check_hash_tile(tree, hashes, (folder / "log" / hashes.path()).read_bytes())
    assert len(entries) == 15

    view = View(key.name)
    for size in range(16):
        raw = (folder / "log" / f"checkpoint.{size}").read_bytes()
        signed = parse_signed_head(raw)
        assert signed.note() == raw
        assert signed.head.size == size
        view.advance(signed, entries[view.tree.size : size], key.public)
    assert (folder / "log" / "checkpoint").read_bytes() == raw

    for size in range(1, 16):
        files = dict(tile_files(view.tree, lambda at, n: entries[at : at + n], size - 1, size))
        assert {(folder / "log" / path).read_bytes() for path in files} == set(files.values())
        assert len(files) == 2


def test_signed_notes_of_c2sp_and_go() -> None:
    notes = json.loads(vectors("signed-note", "notes.json").read_text())
    for name in ("c2sp_spec_example", "go_two_signers"):
        raw = notes[name]["note"].encode()
        note = parse_note(raw)
        assert note.note() == raw
        keys = [parse_verifier_key(text) for text in notes[name]["vkeys"]]
        assert [line.name for line in note.lines] == notes[name]["expect_verified"]
        for key, line in zip(keys, note.lines, strict=True):
            assert (line.name, line.key_id) == (key.name, key.key_id)
            verify_ed25519(key.public, line.signature, note.text, name)
            with pytest.raises(Forged):
                verify_ed25519(key.public, line.signature, note.text + b"\n", name)
    for bad in notes["bad_vkeys"]:
        with pytest.raises((Malformed, Forged)):
            parse_verifier_key(bad)


def test_cosigner_keys_and_the_wrong_id() -> None:
    given = json.loads(vectors("cosignature", "cosignature.json").read_text())
    types = [parse_verifier_key(text).key_type for text in given["vkeys_ok"]]
    assert types == [ED25519_NOTE, ED25519_COSIGNATURE]
    with pytest.raises(Forged):
        parse_verifier_key(given["vkey_wrong_id"])
    name, _, value = given["vkey_wrong_id"].split("+", 2)
    key = b64(value)
    right = f"{name}+{note_key_id(name, key[0], key[1:]).hex()}+{value}"
    assert right.startswith("test+31236897+")
    assert parse_verifier_key(right).text() == right
    stamped = b64(given["timestamp"]["sig"])
    assert int.from_bytes(stamped[4:12], "big") == given["timestamp"]["unix"]


def test_head_bodies_of_others() -> None:
    bodies = json.loads(vectors("cosignature", "checkpoint_bodies.json").read_text())
    for body, *_ in bodies["ok"]:
        with pytest.raises(Malformed, match=r"32 bytes|three lines"):
            parse_tree_head(body.encode())
    for body in bodies["bad"]:
        with pytest.raises(Malformed):
            parse_tree_head(body.encode())


def test_bad_inclusion_texts() -> None:
    for bad in json.loads(vectors("cosignature", "tlog_proof_bad.json").read_text())["bad"]:
        with pytest.raises(Malformed):
            parse_tlog_proof(bad.encode())


def rekor_host(entry: dict[str, Any]) -> bytes | None:
    """The Ed25519 key of the log that is named by the entry, if the case trusts one."""
    for log in entry["tlogs"] or []:
        key = load_der_public_key(b64(log["publicKey"]["rawBytes"]))
        if log["logId"] == entry["logId"] and isinstance(key, Ed25519PublicKey):
            return key.public_bytes_raw()
    return None


def check_rekor(entry: dict[str, Any]) -> int:
    """Head, host signature and inclusion; the size of the tree."""
    shown = entry["inclusionProof"]
    signed = parse_signed_head(shown["checkpoint"]["envelope"].encode())
    host = rekor_host(entry)
    if host is None:
        raise Forged("no trusted key")
    verify_host(signed, host)
    verify_inclusion(
        leaf_hash(b64(entry["canonicalizedBody"])),
        int(shown["logIndex"]),
        signed.head.size,
        [b64(node) for node in shown["hashes"]],
        signed.head.root,
    )
    return signed.head.size


def test_real_rekor_heads_and_proofs() -> None:
    entries = jsonl(vectors("sigstore-checkpoints", "rekor_entries.jsonl"))
    sizes = []
    for entry in entries:
        case = entry["case"]
        if not case.startswith("rekor2") or "inclusionProof" not in entry:
            continue
        if not case.endswith("_fail"):
            sizes.append(check_rekor(entry))
        elif "checkpoint" in case:
            with pytest.raises((Malformed, Forged)):
                check_rekor(entry)
    assert max(sizes) == 4_026_479


def test_broken_heads_of_rekor_1_are_refused() -> None:
    entries = jsonl(vectors("sigstore-checkpoints", "rekor_entries.jsonl"))
    broken = [e for e in entries if e["case"].startswith("checkpoint-")]
    assert broken
    for entry in broken:
        with pytest.raises((Malformed, Forged)):
            check_rekor(entry)


def golden_keys() -> tuple[str, bytes, dict[MemberId, bytes]]:
    texts = vectors("prototype-golden", "vkeys.txt").read_text().split()
    host, *members = [parse_verifier_key(text) for text in texts]
    return host.name, host.public, {MemberId(key.name): key.public for key in members}


def test_golden_log_of_the_prototype() -> None:
    folder = vectors("prototype-golden")
    expected = json.loads((folder / "expected.json").read_text())
    origin, host, keys = golden_keys()
    assert origin == origin_of(CommonsId(expected["commons"]))
    entries = decode_bundle((folder / "log" / "tile" / "entries" / "000.p" / "3").read_bytes(), 3)
    assert [leaf_hash(entry).hex() for entry in entries] == expected["leaf_hashes"]

    raw = (folder / "log" / "checkpoint").read_bytes()
    signed = parse_signed_head(raw)
    assert signed.note() == raw
    view = View(origin)
    view.advance(signed, entries, host)
    assert [view.tree.root(size).hex() for size in range(4)] == expected["roots"]
    cosignatures = cosignatures_in(signed, keys)
    assert final_members(signed.head, cosignatures, keys) == set(keys)
    assert newest_quorum_time(signed.head, cosignatures, keys, 3) == min(
        cosignature.time_s for cosignature in cosignatures
    )
    assert view.take_cosignatures(3, cosignatures, keys, 3)
    assert view.final == signed.head
    files = dict(tile_files(view.tree, lambda at, n: entries[at : at + n], 0, 3))
    for path, content in files.items():
        assert (folder / "log" / path).read_bytes() == content


def test_golden_inclusion_text_and_policy_of_the_prototype() -> None:
    folder = vectors("prototype-golden")
    origin, host, keys = golden_keys()
    raw = (folder / "leaf-1.tlog-proof").read_bytes()
    shown = parse_tlog_proof(raw)
    assert shown.text() == raw
    entry = (folder / "leaf-1.json").read_bytes()
    assert shown.verify(entry, host, keys, 3) == set(keys)
    with pytest.raises(Forged):
        shown.verify(entry + b" ", host, keys, 3)
    assert policy_text(origin, host, keys, 3) == (folder / "policy.txt").read_text()
