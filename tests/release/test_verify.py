"""Verdicts: what honest folders get, with and without anchor, log, and a limit of age."""

from __future__ import annotations

import pytest

from comity.errors import ExitCode
from comity.log.heads import TreeHead
from comity.release.anchor import Anchor, anchor_of
from comity.release.form import LOG, read_checked
from comity.release.verify import NAMES, Verdict, verify
from comity.values import DAY_S
from tests.release.world import (
    MODEL,
    MODEL_DIGEST,
    MemoryFolder,
    Released,
    cosigned,
    must_say,
    released,
    sign_body,
)
from tests.worlds import FIRST_S, digest

MADE = released(4)


def without_log(made: Released) -> MemoryFolder:
    """The folder of somebody who left the log out."""
    return MemoryFolder({p: f for p, f in made.files().items() if not p.startswith(LOG)})


def said(verdict: Verdict) -> str:
    """Every word of a verdict."""
    return " ".join((verdict.sentence, *(check.detail for check in verdict.checks)))


@pytest.mark.parametrize("count", [3, 4, 7])
def test_an_honest_folder_is_verified(count: int) -> None:
    made = released(count)
    verdict = verify(made.folder(), made.anchor())
    assert verdict.code is ExitCode.DONE, verdict
    assert [check.name for check in verdict.checks] == list(NAMES)
    assert [check.number for check in verdict.checks] == list(range(1, len(NAMES) + 1))
    assert all(check.passed and check.detail.isprintable() for check in verdict.checks)
    assert verdict.sentence.startswith("verified")


def test_what_it_claims_comes_from_the_log_and_not_from_the_card() -> None:
    claims = verify(MADE.folder(), MADE.anchor()).claims
    assert claims is not None
    assert claims.commons == MADE.world.charter.name
    assert claims.members == claims.signers == MADE.world.members
    assert claims.study == MADE.study_id and claims.round_no == 1
    assert claims.took_part == frozenset(MADE.world.members)
    assert claims.model == MODEL_DIGEST
    assert claims.head_size == len(MADE.world.log)


def test_any_earlier_head_of_the_log_is_an_anchor() -> None:
    folder = MADE.folder()
    for size in (1, 4, 7, 8, len(MADE.world.log) - 1, len(MADE.world.log)):
        assert verify(folder, MADE.anchor(size)).code is ExitCode.DONE


def test_a_folder_made_later_by_another_member_is_verified_too() -> None:
    made = released(4, signers=3)
    early = made.anchor()
    assert verify(made.folder(), early).code is ExitCode.DONE
    must_say(made.world, made.world.members[3], sign_body(made.world, made.proposal))
    verdict = verify(made.folder(), early)
    assert verdict.code is ExitCode.DONE
    assert verdict.claims is not None and len(verdict.claims.signers) == 4


def test_attack_37_without_an_anchor_nothing_is_vouched_for() -> None:
    verdict = verify(MADE.folder(), None)
    assert verdict.code is ExitCode.NO_ANCHOR
    assert "verified" not in said(verdict)
    assert "no anchor was given" in verdict.sentence
    assert MADE.anchor().origin in verdict.sentence, "it says who it claims to be"
    aged = verify(MADE.folder(), None, max_age_s=1, now_s=FIRST_S + DAY_S)
    assert aged.code is ExitCode.NO_ANCHOR
    assert "verified" not in said(aged) and "old" in aged.sentence


def test_without_the_log_it_rests_on_the_signatures_and_says_so() -> None:
    verdict = verify(without_log(MADE), MADE.anchor())
    assert verdict.code is ExitCode.DONE
    assert "by the signatures of 4 members" in verdict.sentence
    assert "not replayed" in verdict.sentence
    assert "not in the folder" in verdict.checks[7].detail
    assert verdict.claims is not None and verdict.claims.study is None
    small = verify(without_log(MADE), MADE.anchor(5))
    assert small.code is ExitCode.NOT_VERIFIED, "the log could be left out to hide a fork"
    assert "ask for the whole folder" in small.checks[8].detail
    nobody = verify(without_log(MADE), None)
    assert nobody.code is ExitCode.NO_ANCHOR and "verified" not in said(nobody)


def test_attack_6_a_head_older_than_asked_for_is_told() -> None:
    # Four cosigned one second apart; the third newest counts, since three make a quorum.
    cosigned_s = MADE.world.now_s + 1
    fresh = verify(MADE.folder(), MADE.anchor(), max_age_s=DAY_S, now_s=cosigned_s + DAY_S)
    assert fresh.code is ExitCode.DONE
    stale = verify(MADE.folder(), MADE.anchor(), max_age_s=DAY_S, now_s=cosigned_s + DAY_S + 1)
    assert stale.code is ExitCode.TOO_OLD
    assert not stale.checks[12].passed
    assert "older than asked for" in stale.sentence
    assert stale.claims is not None and stale.claims.head_time_s == cosigned_s


def test_a_clock_behind_the_head_is_no_fault() -> None:
    verdict = verify(MADE.folder(), MADE.anchor(), max_age_s=0, now_s=FIRST_S - DAY_S)
    assert verdict.code is ExitCode.DONE


@pytest.mark.parametrize("with_log", [True, False])
def test_an_anchor_newer_than_the_folder_is_told(with_log: bool) -> None:
    newer = Anchor(MADE.anchor().origin, len(MADE.world.log) + 1, bytes(32))
    folder = MADE.folder() if with_log else without_log(MADE)
    verdict = verify(folder, newer)
    assert verdict.code is ExitCode.TOO_OLD
    assert "newer copy" in verdict.sentence
    assert len(verdict.checks) == len(NAMES), "everything else is checked all the same"
    folder.files["content/model/LICENSE"] += b"!"
    assert verify(folder, newer).code is ExitCode.NOT_VERIFIED


@pytest.mark.parametrize("with_log", [True, False])
def test_attack_8_another_history_of_the_same_charter_is_refused(with_log: bool) -> None:
    """Members with enough old keys may sign a second history; the anchor's root tells it."""
    size = len(MADE.world.log)
    folder = MADE.folder() if with_log else without_log(MADE)
    assert verify(folder, MADE.anchor(size)).code is ExitCode.DONE
    other = anchor_of(TreeHead(MADE.anchor().origin, size, bytes.fromhex(digest("other root"))))
    verdict = verify(folder, other)
    assert verdict.code is ExitCode.NOT_VERIFIED
    assert verdict.checks[-1].name == "anchor" and "two histories" in verdict.sentence


def test_attack_43_what_was_checked_can_be_read_again_with_its_hash() -> None:
    folder = MADE.folder()
    claims = verify(folder, MADE.anchor()).claims
    assert claims is not None
    path = "content/model/model.safetensors"
    assert b"".join(read_checked(folder, path, claims.files[path])) == MODEL
    assert set(claims.files) | {"content/MANIFEST.sha256"} == {
        path for path in folder.files if path.startswith("content/")
    }


def test_the_quorum_of_cosigners_is_enough() -> None:
    a, b, c, _ = MADE.world.members
    files = MADE.files() | MADE.proof(cosigners=(a, b, c))
    assert verify(MemoryFolder(files), MADE.anchor()).code is ExitCode.DONE
    assert len(cosigned(MADE.world, MADE.head().head, (a, b, c))) == MADE.world.state.quorum
