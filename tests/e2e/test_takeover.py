"""P5 with real processes: the host dies in a round, or hands over, and nothing is lost.

The model after the disturbed rounds is, bit for bit, that of the undisturbed ones.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from comity.node.governing_wire import ApproveEpoch, HandOver, OfferToHost
from comity.node.wish_wire import CastVote
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


@pytest.mark.parametrize(
    "phase",
    [
        "masking",
        *(pytest.param(p, marks=pytest.mark.slow) for p in ("joining", "confirming", "revealing")),
    ],
)
def test_the_host_is_killed_in_a_round_and_another_member_takes_over(
    tmp_path: Path, phase: str
) -> None:
    text = study_text(rounds=ROUNDS, twist="import time; time.sleep(0.3)")
    with Institutions.made(tmp_path, 5) as members:
        members.start()
        old, new, *others = members.all
        new.ask(OfferToHost(new.url), Said)
        members.register(text)
        members.until(
            lambda: has_results(new, 1) and new.study().phase == phase, f"{phase} of round 2"
        )
        old_host = old.host
        assert old_host is not None
        old_host.kill()
        before = max(each.study().results_count for each in members.all)
        new.take_over()
        members.until(lambda: bool(new.hosts().approved), "the candidate's own approval")
        for each in others:
            each.ask(ApproveEpoch(new.member, new.url), Said)
        members.until(lambda: all(e.hosts().host == new.member for e in members.all), "moved")
        members.until(lambda: has_results(new, before + 1), "the next accepted round")
        members.until(lambda: all(has_results(e, ROUNDS) for e in members.all), "all rounds")
        assert {each.study().model for each in members.all} == {plain_model(text, 5)}
        old_comes_back(members, old, new)


def old_comes_back(members: Institutions, old: Institution, new: Institution) -> None:
    """The old host starts on its folder: members that moved show it, and it signs nothing more."""
    old.serve()
    members.until(lambda: "took a tail" in host_log(old), "the old host is told")
    old_host = old.host
    assert old_host is not None
    old_host.stop()
    old.serve()
    members.until(lambda: old.host is not None and not old.host.runs, "it does not serve again")
    assert f"{new.member} hosts since entry" in host_log(old)


def votes(each: Institution, proposal: Said) -> bool:
    """Vote yes, once the proposal is in this member's copy."""
    each.ask(CastVote(proposal.statement, "yes"), Said)
    return True


def host_log(each: Institution) -> str:
    return (each.folder / "host.log").read_text()


def test_a_planned_hand_over_loses_nothing(tmp_path: Path) -> None:
    text = study_text(rounds=ROUNDS, twist="import time; time.sleep(0.3)")
    with Institutions.made(tmp_path, 4) as members:
        members.start()
        old, new, *_ = members.all
        new.ask(OfferToHost(new.url), Said)
        members.until(lambda: new.member in old.hosts().offers, "the offer")
        proposal = old.ask(HandOver(new.member), Said)
        for each in members.all[:3]:  # three of four decide; a vote after that is refused
            members.until(lambda each=each: votes(each, proposal), "a vote")  # type: ignore[misc]
        members.register(text)
        members.until(lambda: has_results(new, 1), "round 1")
        members.until(lambda: "hand-over" in old.ask(HandOver(new.member), Said).about, "decided")
        members.until(lambda: bool(new.hosts().pending), "the hand-over is logged")
        assert new.hosts().host == old.member, "nobody leaves a host before the next one answers"
        new.take_over()
        members.until(lambda: all(e.hosts().host == new.member for e in members.all), "moved")
        members.until(lambda: all(has_results(e, ROUNDS) for e in members.all), "all rounds")
        assert {each.study().model for each in members.all} == {plain_model(text, 4)}
        members.until(lambda: "took a tail" in host_log(old), "the old host is told")
