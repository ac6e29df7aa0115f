"""Attacks on the files of a folder (numbers of log-and-provenance.md 8): each is found and named.

The honest folder passes in every test, so it is the bending that is refused.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comity.errors import ExitCode
from comity.release.bundle import digests_of, manifest_text
from comity.release.form import (
    CHARTER,
    CONTENT,
    EPOCH,
    FOUNDERS,
    LOG,
    MANIFEST,
    POLICY,
    SIGNS,
    VERIFY,
)
from comity.release.verify import verify
from comity.values import BlobName, sha256
from tests.release.forgery import (
    ANCHOR,
    FILES,
    MADE,
    refused,
)
from tests.release.world import MODEL, MemoryFolder, decide, propose, released, sign_body

A, B, C, D = MADE.world.members
NAME_RULES = "paths and sizes"


@pytest.mark.parametrize("path", sorted(FILES))
def test_one_changed_byte_in_any_file_is_found(path: str) -> None:
    raw = FILES[path]
    step = max(1, len(raw) // 14)
    for at, place in enumerate([*range(0, len(raw), step), len(raw) - 1]):
        for anchor in (ANCHOR, None) if at % 5 == 0 else (ANCHOR,):
            bent = FILES | {path: flipped(raw, place, at % 8)}
            verdict = verify(MemoryFolder(bent), anchor)
            assert verdict.code is ExitCode.NOT_VERIFIED, (path, place, at % 8)
            if path.startswith((CONTENT, "proof/epochs/0000.json", POLICY, VERIFY, CHARTER)):
                assert path in verdict.sentence, verdict.sentence


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_is_done_to_a_file_is_found_and_nothing_is_raised(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(FILES)))
    raw = FILES[path]
    start = data.draw(st.integers(0, len(raw)))
    stop = data.draw(st.integers(start, min(len(raw), start + 80)))
    bent = raw[:start] + data.draw(st.binary(max_size=40)) + raw[stop:]
    verdict = verify(MemoryFolder(FILES | {path: bent}), ANCHOR)
    assert verdict.code is (ExitCode.DONE if bent == raw else ExitCode.NOT_VERIFIED)


@pytest.mark.parametrize("path", sorted(FILES))
def test_a_missing_or_empty_or_renamed_file_is_found(path: str) -> None:
    less = {other: raw for other, raw in FILES.items() if other != path}
    assert path in refused(less, check_of_missing(path)).sentence
    assert verify(MemoryFolder(FILES | {path: b""}), ANCHOR).code is ExitCode.NOT_VERIFIED
    refused(less | {path + "x": FILES[path]}, check_of_renamed(path))


@pytest.mark.parametrize(
    ("path", "check"),
    [
        ("content/reports/more.json", "files"),
        ("content/model/more.safetensors", NAME_RULES),
        ("content/model/model.pkl", NAME_RULES),
        ("proof/keys/member-a.pem", NAME_RULES),
        ("proof/epochs/0001.json", NAME_RULES),
        ("proof/log/tile/0/000.p/5", "log"),
        ("proof/log/more", "log"),
        ("more", NAME_RULES),
        ("../outside", NAME_RULES),
        ("/absolute", NAME_RULES),
        ("content/model/../../outside", NAME_RULES),
        ("content\\model", NAME_RULES),
        ("CONTENT/x", NAME_RULES),
        ("content/model/readme.md", NAME_RULES),
        ("content/model/a\x1b[31m", NAME_RULES),
    ],
)
def test_attack_36_40_a_file_too_many_is_found(path: str, check: str) -> None:
    verdict = refused(FILES | {path: b"{}"}, check)
    assert verdict.sentence.isprintable()


def test_two_files_in_each_others_place_are_found() -> None:
    reports = ("content/reports/development.json", "content/reports/safety.json")
    for one, other in (reports, (EPOCH, CHARTER), (FOUNDERS, SIGNS), (POLICY, VERIFY)):
        swapped = FILES | {one: FILES[other], other: FILES[one]}
        assert verify(MemoryFolder(swapped), ANCHOR).code is ExitCode.NOT_VERIFIED
    refused(FILES | {reports[0]: FILES[reports[1]]}, "files", reports[0])


def test_attack_42_a_huge_file_is_not_read() -> None:
    for path in FILES:
        sizes = MemoryFolder(FILES, {path: 2**40})
        verdict = verify(sizes, ANCHOR)
        assert verdict.code is ExitCode.NOT_VERIFIED
        assert verdict.checks[-1].number == 1 and path in verdict.sentence


def test_the_manifest_of_another_release_is_refused() -> None:
    other = FILES[CONTENT + MANIFEST].splitlines(keepends=True)
    bent = b"".join(line for line in other if b"safety" not in line)
    less = {p: f for p, f in FILES.items() if "safety" not in p}
    refused(less | {CONTENT + MANIFEST: bent}, "manifest", "signed")


def test_a_manifest_with_another_model_than_the_accepted_one_is_refused() -> None:
    """A proposer whom nobody checked: the manifest names its own model, the motion the true one."""
    made = released(3, signers=0)
    world = made.world
    content = made.content | {"model/model.safetensors": BlobName(sha256(b"mine"))}
    manifest = manifest_text(digests_of(content))
    proposal = propose(world, made.study_id, manifest)
    decide(world, proposal)
    for member in world.members:
        world.say(member, sign_body(world, proposal))
    bent = replace(made, content=content, manifest=manifest, proposal=proposal, model=b"mine")
    verdict = verify(bent.folder(), made.anchor())
    assert verdict.checks[-1].name == "manifest" and "another model" in verdict.sentence


def test_attack_44_a_model_file_with_a_bad_header_is_refused() -> None:
    """Even when the members voted for it: the header must be one that every reader reads alike."""
    header = int.from_bytes(MODEL[:8], "little")
    text = MODEL[8 : 8 + header].rstrip(b" ")
    twice = text.replace(b"{", b'{"bias":1,', 1)
    overlap = text.replace(b"[24,32]", b"[16,24]")
    assert overlap != text
    assert verify(released(3).folder(), None).code is ExitCode.NO_ANCHOR
    for bad in (
        b"\x80\x04]q\x00.",
        (2**40).to_bytes(8, "little") + MODEL[8:],
        MODEL + b"\x00",
        MODEL[:-1],
        len(twice).to_bytes(8, "little") + twice + MODEL[8 + header :],
        len(overlap).to_bytes(8, "little") + overlap + MODEL[8 + header :],
    ):
        verdict = verify(released(3, model=bad).folder(), None)
        assert verdict.code is ExitCode.NOT_VERIFIED
        assert verdict.checks[-1].name == "model", verdict.sentence


def flipped(raw: bytes, place: int, bit: int) -> bytes:
    return raw[:place] + bytes([raw[place] ^ 1 << bit]) + raw[place + 1 :]


def check_of_missing(path: str) -> str:
    if path.startswith(LOG):
        return "log"
    return "files" if path.startswith((CONTENT + "reports/", CONTENT + "model/L")) else NAME_RULES


def check_of_renamed(path: str) -> str:
    return "log" if path.startswith(LOG) else NAME_RULES
