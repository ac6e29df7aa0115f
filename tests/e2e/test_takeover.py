"""P5 with real processes: the host dies in a round, or hands over, and nothing is lost.

The model after the disturbed rounds is, bit for bit, that of the undisturbed ones.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from comity.node.wish_wire import ApproveEpoch
from comity.node.wishes import Said
from tests.e2e.institutions import Institution, Institutions
from tests.e2e.small_study import study_text
from tests.e2e.test_rounds import Plain

ROUNDS = 3


def has_results(each: Institution, count: int) -> bool:
    return each.study().results_count >= count


def plain_model(text: str, count: int) -> str:
    """The model of the same rounds, computed in the clear."""
    plain = Plain(text)
    for number in range(1, ROUNDS + 1):
        plain.round(number, count, tuple(range(count)))
    return plain.digests()[0]


@pytest.mark.parametrize("phase", ["confirming"])
def test_the_host_is_killed_in_a_round_and_another_member_takes_over(
    tmp_path: Path, phase: str
) -> None:
    text = study_text(rounds=ROUNDS)
    with Institutions.made(tmp_path, 5) as members:
        members.start()
        old, new, *others = members.all
        members.register(text)
        members.until(lambda: has_results(new, 1), "round 1")
        old_host = old.host
        assert old_host is not None
        old_host.kill()
        lost = [each.study().results_count for each in members.all]
        new.take_over()
        members.until(lambda: bool(new.hosts().approved), "the candidate's own approval")
        for each in others:
            each.ask(ApproveEpoch(new.member, new.url), Said)
        members.until(lambda: all(e.hosts().host == new.member for e in members.all), "moved")
        members.until(lambda: all(has_results(e, ROUNDS) for e in members.all), "all rounds")
        assert min(lost) >= 1
        assert {each.study().model for each in members.all} == {plain_model(text, 5)}
