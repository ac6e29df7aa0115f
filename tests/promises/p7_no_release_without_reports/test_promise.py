"""P7. No release without both reports: what each member gains, and what it costs in safety.

In this version a release carries the reports that exist and says in its card which do not; that
both must exist before a vote is another issue. Held already: a vote, a quorum that replayed, and
that no report can be taken out or exchanged afterwards.
"""

from __future__ import annotations

import pytest

from comity.commons.state import Void
from comity.errors import ExitCode, Refused, Rule
from comity.release.card import model_card
from comity.release.form import CONTENT, MANIFEST
from comity.release.verify import verify
from tests.release.world import (
    MemoryFolder,
    accepted_study,
    content_of,
    propose,
    released,
    sign_body,
)
from tests.worlds import World


def test_a_release_takes_a_vote_and_a_quorum_of_members_that_replayed() -> None:
    made = released(4, signers=2)
    assert len(made.world.state.proposals[made.proposal].signed) < made.world.state.quorum
    with pytest.raises(Refused) as refused:
        made.files()
    assert refused.value.rule is Rule.TOO_FEW
    assert verify(MemoryFolder(released(4).files()), released(4).anchor()).code is ExitCode.DONE


def test_signing_before_the_decision_counts_for_nothing() -> None:
    world = World.of(4)
    study = accepted_study(world)
    proposal = propose(world, study, b"".join(sorted(map(str.encode, content_of(world, study)))))
    outcome = world.say(world.members[0], sign_body(world, proposal))
    assert outcome == Void(Rule.NOT_DECIDED)


@pytest.mark.parametrize("report", ["development", "safety"])
def test_no_report_is_taken_out_or_exchanged_after_the_vote(report: str) -> None:
    made = released(4)
    path, files = f"{CONTENT}reports/{report}.json", made.files()
    assert path.removeprefix(CONTENT).encode() in files[CONTENT + MANIFEST]
    without = {name: file for name, file in files.items() if name != path}
    for bent in (without, {**files, path: b'{"auc":1.0}\n'}):
        verdict = verify(MemoryFolder(bent), made.anchor())
        assert verdict.code is ExitCode.NOT_VERIFIED
        assert path in verdict.sentence


def test_the_card_does_not_claim_reports_that_are_not_there() -> None:
    made = released(4)
    card = model_card(
        made.world.state, made.study, made.result, purpose="x", licence="CC0-1.0", reports=()
    )
    assert b"reports/safety.json" not in card
