"""Reviews and pauses as a person asks for them: of these very bytes, with what changed in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from comity.commons.owed import AskReview
from comity.errors import Misconfigured, Refused, Rule
from comity.node import wishes
from comity.node.asks import asked
from comity.node.planning import PlanTerms
from comity.node.reviewing import (
    POINTS,
    give_review,
    hash_of,
    pause_study,
    resume_study,
    review_file,
    review_report,
)
from tests.e2e.prepared import Make
from tests.e2e.preparing import PHASE_S, TRAIN_S

ALL = tuple(POINTS)


def test_a_reviewer_reads_the_registered_bytes_and_what_changed(
    commons: Make, tmp_path: Path
) -> None:
    prepared = commons(3)
    with prepared.world(tmp_path) as world:
        author, reader = world.desk("m2").station, world.desk("m1").station
        first = world.study
        shown = review_file(reader, first.id)
        assert (shown.text, shown.before, shown.diff) == (prepared.text, "", "")
        other = tmp_path / "other.py"
        other.write_text(prepared.text + "\n")
        with pytest.raises(Refused) as refused:
            give_review(reader, first.id, holds=ALL, code=hash_of(other))
        assert refused.value.rule is Rule.NO_SUCH_THING and "one byte" in str(refused.value)
        with pytest.raises(Misconfigured, match="columns, output"):
            give_review(reader, first.id, holds=("reads well",))
        with pytest.raises(Refused) as refused:
            give_review(reader, first.id, holds=ALL[1:])
        assert refused.value.rule is Rule.NO_REASON
        with pytest.raises(Refused) as refused:
            give_review(author, first.id, holds=ALL)
        assert refused.value.rule is Rule.WRONG_PARTY
        give_review(reader, first.id, holds=ALL, code=shown.code)
        world.settle(lambda: bool(world.state.reviews))
        (told,) = review_report(author).studies
        assert told.reviewed and [line.counts for line in told.reviews] == [True]
        changed = prepared.text.replace("/ 10", "/ 11")
        other.write_text(changed)
        terms = PlanTerms(phase_s=PHASE_S, train_s=TRAIN_S)
        wishes.register_study(author, other, terms=terms, name=first.register.name)
        world.settle(lambda: len(world.state.studies) == 2)
        second = next(each for each in world.state.studies.values() if each.id != first.id)
        world.settle()
        diff = review_file(reader, second.id)
        assert diff.before == shown.code and diff.text == changed
        lines = diff.diff.splitlines()
        assert [each[0] for each in lines if each[0] in "+-"] == ["-", "+", "-", "+"]
        question = asked(world.state, AskReview(second))
        assert question is not None and question.answer.startswith("comity review show")


def test_any_member_pauses_and_the_status_says_who_and_why(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        station = world.desk("m1").station
        pause_study(station, world.study_id, reason="a column is in months")
        station.deliver()
        world.settle()
        (told,) = review_report(world.desk("m0").station).studies
        assert [(each.member, each.reason) for each in told.pauses] == [
            ("m1", "a column is in months")
        ]
        status = wishes.status(world.desk("m0").station)
        assert "m1 paused it: a column is in months" in status.studies[0].why
        with pytest.raises(Refused) as refused:
            resume_study(world.desk("m0").station, world.study_id)
        assert refused.value.rule is Rule.WRONG_PARTY
        resume_study(station, world.study_id)
        world.run(world.results(1))
