"""Making a folder: only what was decided, signed by a quorum and covered by a final head."""

from __future__ import annotations

import pytest

from comity.errors import Forged, Malformed, Refused, Rule
from comity.log.heads import SignedHead, cosign
from comity.log.notes import SignatureLine
from comity.log.proofs import parse_tlog_proof
from comity.log.tiles import TilePlace, decode_bundle
from comity.release.bundle import (
    content_files,
    digests_of,
    final_note,
    manifest_text,
    proof_files,
    release_files,
)
from comity.release.form import ALWAYS, INCLUSION, LOG, MODEL, SIGNS, check_paths, check_whole
from comity.values import BlobName, StatementId, sha256
from tests.release.world import MODEL_DIGEST, cosigned, must_say, released, sign_body
from tests.worlds import digest, keys_of


def test_the_folder_is_whole_and_the_model_is_the_accepted_blob() -> None:
    made = released(4)
    whole = release_files(made.content, made.manifest, made.proof())
    assert whole[f"content/{MODEL}"] == BlobName(MODEL_DIGEST) and made.result.model == MODEL_DIGEST
    sizes = {path: len(file) for path, file in made.files().items()}
    check_paths(sizes)
    check_whole(sizes)
    assert whole.keys() > ALWAYS


def test_the_same_log_gives_the_same_folder() -> None:
    assert released(4).files() == released(4).files()


def test_the_whole_log_is_in_it_as_tiles() -> None:
    made = released(4)
    proof = made.proof()
    size = made.world.tree.size
    bundle = proof[LOG + TilePlace(-1, 0, size).path()]
    assert list(decode_bundle(bundle, size)) == made.world.log
    assert proof[f"{LOG}checkpoint"] == parse_tlog_proof(proof[INCLUSION]).signed.note()


def test_only_what_the_head_covers_is_in_it() -> None:
    made = released(4)
    last = made.world.tree.size - 1
    proof = made.proof(size=last)
    assert proof[SIGNS].splitlines() == made.world.log[last - 3 : last]
    assert made.proof()[SIGNS].splitlines() == made.world.log[last - 3 :]


def test_fewer_than_a_quorum_of_signatures_make_no_release() -> None:
    made = released(4, signers=2)
    with pytest.raises(Refused) as refused:
        made.proof()
    assert refused.value.rule is Rule.TOO_FEW
    third = made.world.members[2]
    must_say(made.world, third, sign_body(made.world, made.proposal))
    made.proof()
    with pytest.raises(Refused) as refused:
        made.proof(size=made.world.tree.size - 1)
    assert refused.value.rule is Rule.TOO_FEW


def test_a_head_that_is_not_final_makes_no_release() -> None:
    made = released(4)
    made.proof(cosigners=made.world.members[:3])
    with pytest.raises(Refused) as refused:
        made.proof(cosigners=made.world.members[:2])
    assert refused.value.rule is Rule.TOO_FEW


def test_attack_18_a_cosignature_that_does_not_fit_refuses_the_head() -> None:
    made = released(4)
    head = made.head().head
    a, b, c, d = made.world.members
    wrong = cosign(made.head(3).head, d, keys_of(d).head, 1_800_000_000)
    with pytest.raises(Forged):
        final_note(made.world.state, made.head(), [*cosigned(made.world, head, (a, b, c)), wrong])


def test_unknown_lines_are_left_out() -> None:
    made = released(4)
    head = made.head()
    grease = SignatureLine("grease.example", b"\x00\x01\x02\x03", b"\xff" * 72)
    lines = cosigned(made.world, head.head, made.world.members)
    bent = SignedHead(head.head, (grease, *head.lines, grease))
    clean = final_note(made.world.state, bent, reversed(lines))
    assert clean == final_note(made.world.state, head, lines)
    assert [line.name for line in clean.lines] == [head.head.origin, *made.world.members]


def test_a_proposal_that_nobody_made_and_entries_of_another_log_make_no_release() -> None:
    made = released(4)
    world, head = made.world, made.head()
    lines = cosigned(world, head.head, world.members)
    with pytest.raises(Refused) as refused:
        proof_files(world.state, world.log, head, lines, StatementId(digest("nothing")))
    assert refused.value.rule is Rule.NO_SUCH_THING
    with pytest.raises(Forged, match="root"):
        proof_files(world.state, [b"", *world.log[1:]], head, lines, made.proposal)
    with pytest.raises(Forged, match="root"):
        proof_files(world.state, world.log[:-1], head, lines, made.proposal)


def test_the_manifest_must_be_the_one_of_the_content() -> None:
    made = released(4)
    other = content_files(model=BlobName(digest("other")), card=b"", config=b"{}")
    with pytest.raises(Forged):
        release_files(other, made.manifest, made.proof())
    whole = release_files(other, manifest_text(digests_of(other)), {})
    assert whole["content/MANIFEST.sha256"] == manifest_text(digests_of(other))


def test_digests_are_those_of_the_bytes_or_the_blobs_own() -> None:
    assert digests_of({"model/LICENSE": b"x", MODEL: BlobName(MODEL_DIGEST)}) == {
        "model/LICENSE": sha256(b"x"),
        MODEL: MODEL_DIGEST,
    }


def test_attack_40_a_report_with_an_odd_name_is_our_own_bug() -> None:
    with pytest.raises(AssertionError):
        content_files(model=BlobName(MODEL_DIGEST), card=b"", config=b"", reports={"../x": b""})
    with pytest.raises(Malformed):
        check_paths({"content/reports/../x.json": 1})
