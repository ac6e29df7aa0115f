"""Models computed again from the log, and what a node does when they are not the accepted ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from comity.errors import Forged
from comity.learning.steps import FedAdam
from comity.node.models import layout_of, model_files, update_rule
from comity.values import BlobName, Digest
from tests.e2e.prepared import Make
from tests.e2e.small_study import layout_of_text
from tests.e2e.test_rounds import Plain


def test_every_result_is_computed_again_where_it_is_missing(commons: Make, tmp_path: Path) -> None:
    prepared = commons(3, rule="FedAdam(server_lr=0.1)", rounds=2)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        world.round(1)
        world.round(2)
        world.settle()
        station = world.desk("m1").station
        for result in world.study.results:
            assert result.moments is not None
            station.blobs.drop(BlobName(result.model))
            station.blobs.drop(BlobName(result.moments))
        files = model_files(station, world.study)
        plain.round(1, 3, (0, 1, 2))
        plain.round(2, 3, (0, 1, 2))
        assert files.moments is not None
        assert (files.model.name, files.moments.name) == plain.digests()


def test_another_result_than_the_members_accepted_is_not_used(
    commons: Make, tmp_path: Path
) -> None:
    """A machine that computes otherwise must not go on, and says so."""
    with commons(3).world(tmp_path) as world:
        world.round(1)
        world.settle(world.results(2))
        station = world.desk("m1").station
        study = world.study
        false = replace(study.results[0], model=Digest("ab" * 32))
        with pytest.raises(Forged, match="computes another model"):
            model_files(station, replace(study, results=(false,)))


def test_layout_and_rule_are_those_of_the_plan(commons: Make, tmp_path: Path) -> None:
    prepared = commons(3, rule="FedAdam(server_lr=0.1)", rounds=2)
    with prepared.world(tmp_path) as world:
        station, study = world.desk("m1").station, world.study
        assert layout_of(station, study) == layout_of_text(prepared.text)
        assert update_rule(study.register.plan.rule) == FedAdam(server_lr=0.1)
        first = model_files(station, study)
        assert first.model.name == study.register.plan.model
