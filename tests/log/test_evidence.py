"""Evidence of a host's fork: every fork of small logs gives it, and nothing else passes as one."""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from comity.errors import Forged, Malformed
from comity.log.evidence import check_evidence, check_host_fork, fork_from_entries, host_fork
from comity.log.heads import origin_of, sign_head
from comity.log.merkle import leaf_hash
from comity.values import CommonsId, sha256
from tests.log.world import (
    HOST,
    KNOWN,
    entries_of,
    head_of,
    key_of,
    public_of,
    signed_of,
    tree_of,
)

SMALL_MAX, LARGE_MAX = 20, 24
"""Every fork with m < 20 and n < 24, at each fork point (log-and-provenance.md 7.3)."""
VECTORS = Path(__file__).parents[1] / "vectors" / "log" / "forks.json"
FORK = host_fork(signed_of(entries_of(3, "x")), signed_of(entries_of(6)), tree_of(entries_of(6)))


def canonical(fields: dict[str, object]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_attack_1_every_fork_of_small_logs_is_proved() -> None:
    # First head of size m, second of size n; they part at entry `common`, below m.
    tried = 0
    for n in range(1, LARGE_MAX):
        main = entries_of(n)
        tree, second = tree_of(main), signed_of(main)
        for m in range(1, min(n + 1, SMALL_MAX)):
            for common in range(m):
                fork = [*main[:common], *entries_of(m, "other")[common:]]
                first = signed_of(fork)
                evidence = host_fork(first, second, tree)
                small, large = check_host_fork(evidence, HOST)
                assert (small, large) == (first.head, second.head)
                found = check_evidence(evidence, KNOWN)
                assert (found.kind, found.accused, found.sizes) == ("host", "hospital-a", (m, n))
                tried += 1
    assert tried == 2_090
    with pytest.raises(Forged):
        check_host_fork(FORK, public_of(key_of(8)))


def test_one_history_gives_no_evidence() -> None:
    log = entries_of(9)
    hashes = [leaf_hash(entry) for entry in log]
    for size in range(1, 10):
        assert fork_from_entries(signed_of(log[:size]), signed_of(log), hashes) is None
        with pytest.raises(AssertionError):
            host_fork(signed_of(log[:size]), signed_of(log), tree_of(log))
        # Made by hand, it does not accuse an honest host either.
        fields: dict[str, object] = {
            "a": signed_of(log[:size]).note().decode(),
            "b": signed_of(log).note().decode(),
            "kind": "host",
        }
        fields["other_root"] = b64(tree_of(log).root(size))
        fields["proof"] = [b64(node) for node in tree_of(log).consistency(size, 9)]
        with pytest.raises(Forged, match="one history"):
            check_host_fork(canonical(fields), HOST)
        fields["other_root"] = b64(bytes(32))
        with pytest.raises(Forged):
            check_host_fork(canonical(fields), HOST)


def test_evidence_needs_the_leaves_of_the_larger_head() -> None:
    with pytest.raises(Forged):
        fork_from_entries(signed_of(entries_of(3)), signed_of(entries_of(6)), [])


def test_evidence_is_canonical_json_of_two_heads_of_one_log() -> None:
    assert canonical(json.loads(FORK)) == FORK
    check_host_fork(FORK, HOST)
    other = origin_of(CommonsId(sha256(b"another charter")))
    changes: tuple[dict[str, object], ...] = (
        {"kind": "cosigner"},
        {"more": 1},
        {"proof": ["AAAA"] * 100},
        {"proof": []},
        {"other_root": "AAAA"},
        {"a": signed_of(entries_of(3), other).note().decode()},
        {"a": json.loads(FORK)["b"], "b": json.loads(FORK)["a"]},
    )
    for change in changes:
        with pytest.raises(Malformed):
            check_host_fork(canonical(json.loads(FORK) | change), HOST)
    surrogate = canonical(json.loads(FORK) | {"a": "?"}).replace(b"?", b"\\ud800")
    escaped = FORK.replace("—".encode(), b"\\u2014")
    outside = (b"", b"{}", FORK + b" ", FORK + b"x", b" " + FORK, b"[" * 100_000, b"\xff")
    for raw in (*outside, surrogate, escaped):
        with pytest.raises(Malformed):
            check_host_fork(raw, HOST)
    with pytest.raises(Malformed, match="too long"):
        check_host_fork(bytes(4 * 2**20), HOST)


def test_evidence_with_a_head_of_another_signer_is_forged() -> None:
    a = sign_head(head_of(entries_of(3, "x")), key_of(8))
    fields = json.loads(FORK) | {"a": a.note().decode()}
    with pytest.raises(Forged):
        check_host_fork(canonical(fields), HOST)


@given(st.binary(max_size=100) | st.integers(0, len(FORK) - 1).map(lambda at: FORK[:at]))
@example(b'{"a":"\\ud800","b":"","kind":"host","other_root":"","proof":[]}')
def test_reading_evidence_raises_malformed_or_forged_only(raw: bytes) -> None:
    with contextlib.suppress(Malformed, Forged):
        check_host_fork(raw, HOST)


@given(st.integers(0, len(FORK) - 1), st.integers(0, 255))
def test_a_changed_byte_is_no_evidence(at: int, byte: int) -> None:
    raw = FORK[:at] + bytes([byte]) + FORK[at + 1 :]
    if raw != FORK:
        with pytest.raises((Malformed, Forged)):
            check_host_fork(raw, HOST)


def test_golden_vectors() -> None:
    golden = json.loads(VECTORS.read_text())
    host = public_of(key_of(golden["host_seed"]))
    for fork in golden["forks"]:
        main = [bytes.fromhex(entry) for entry in fork["main"]]
        other = [bytes.fromhex(entry) for entry in fork["other"]]
        first = sign_head(head_of(other), key_of(golden["host_seed"]))
        second = sign_head(head_of(main), key_of(golden["host_seed"]))
        evidence = fork["evidence"].encode()
        assert host_fork(first, second, tree_of(main)) == evidence
        assert check_host_fork(evidence, host) == (first.head, second.head)


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()
