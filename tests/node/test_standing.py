"""What a node does by itself outside rounds: consent by site policy, enrolling, founding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from comity.commons.duties import AskConsent
from comity.errors import Refused, Rule
from comity.node.founding import key_set_of
from comity.node.site_file import SITE_FILE
from comity.node.standing import consent
from comity.statements.keysets import key_set_digest
from comity.statements.studies import StudyEnrol
from comity.statements.wire import read
from comity.values import sha256
from tests.e2e.prepared import Make
from tests.e2e.steps import Desk


def with_site(node: Desk, text: str) -> None:
    """Give the node another policy."""
    (node.station.folder / SITE_FILE).write_text(text)


@pytest.mark.parametrize(
    ("site", "words", "rule"),
    [
        ('studies = "ask"\n', "waits for a person", Rule.WAITS_FOR_PERSON),
        ('studies = "first-time"\n', "no person has let code", Rule.WAITS_FOR_PERSON),
        ('studies = "auto"\n', "is not in code of site.toml", Rule.WAITS_FOR_PERSON),
        (
            f'studies = "auto"\ncode = ["{"ab" * 32}"]\n',
            "not in the list of site.toml",
            Rule.CODE_NOT_ALLOWED,
        ),
    ],
)
def test_a_site_that_does_not_say_auto_for_this_code_asks_a_person(
    commons: Make, tmp_path: Path, site: str, words: str, rule: Rule
) -> None:
    with commons(3).world(tmp_path) as world:
        node = world.desk("m1")
        with_site(node, site)
        said = node.station.journal.last_said()
        with pytest.raises(Refused, match=words) as caught:
            consent(node.station, AskConsent(world.study))
        assert caught.value.rule is rule
        assert node.station.journal.last_said() == said


def test_without_exactly_one_data_set_a_person_chooses(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        node = world.desk("m1")
        state = node.state
        mine = next(iter(d for d in state.datasets.values() if d.owner == "m1"))
        others = {name: d for name, d in state.datasets.items() if d is not mine}
        node.station.replica.state = replace(state, datasets=others)
        with pytest.raises(Refused, match="0 data sets"):
            consent(node.station, AskConsent(world.study))
        node.station.replica.state = state


def test_a_sealing_key_is_kept_before_its_public_half_is_said(
    commons: Make, tmp_path: Path
) -> None:
    """And it is another one at every enrolment."""
    with commons(3).world(tmp_path) as world:
        bodies = [said.body for said in world.said("study.enrol")]
        publics = {body.sealing_key for body in bodies if isinstance(body, StudyEnrol)}
        assert len(publics) == 3
        for desk in world.desks:
            enrolment = desk.state.studies[world.study_id].enrolled[desk.member]
            assert enrolment.sealing_key is not None
            assert desk.station.journal.sealing(sha256(enrolment.sealing_key)) is not None
            other = world.desks[0] if desk is not world.desks[0] else world.desks[1]
            assert other.station.journal.sealing(sha256(enrolment.sealing_key)) is None


def test_the_key_set_is_the_one_the_charter_pins(commons: Make, tmp_path: Path) -> None:
    with commons(3).world(tmp_path) as world:
        pinned = {founder.id: founder.keys for founder in world.places.charter.founders}
        for desk in world.desks:
            assert key_set_digest(key_set_of(desk.member, desk.station.keys)) == pinned[desk.member]
        first = read(world.leaves()[0]).statement
        assert first.body.tag == "commons.found"
