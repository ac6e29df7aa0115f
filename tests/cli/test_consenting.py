"""`comity consent list` and `simulate`: against a real node's folder, whose log has one study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from comity.cli.consenting import use_words
from comity.errors import ExitCode
from comity.node.consent_wire import SimulateConsent, about_consent
from comity.node.consenting import Simulated
from comity.node.site_file import SITE_FILE
from comity.statements.studies import UseTerms
from comity.values import sha256
from tests.cli.commands import Terminal
from tests.e2e.prepared import Make
from tests.e2e.prepared import commons as commons
from tests.e2e.small_study import study_text
from tests.worlds import digest

USE = 'STUDY = Study(\n    use=UseTerms(purpose="health", commercial={}),'


def declared(*, commercial: bool) -> str:
    """A study file that says what it is for."""
    text = study_text(rounds=2).replace("Scaffold, Study", "Scaffold, Study, UseTerms")
    return text.replace("STUDY = Study(", USE.format(commercial))


def test_what_waits_and_what_would_happen_is_told_in_plain_words(
    commons: Make, tmp_path: Path, comity: Terminal
) -> None:
    with commons(3).world(tmp_path) as world:
        node = world.desk("m1")
        node.close()
        place = node.place.folder
        folder = ("--folder", place)
        site = place / SITE_FILE
        auto = site.read_text()
        assert "nobody is waited for" in comity("consent", "list", "--waiting", *folder).out
        listed = comity("consent", "list", *folder)
        assert "given by policy" in listed.out and "the policy says yes by itself" in listed.out
        site.write_text(auto.replace('"auto"', '"ask"'))
        waiting = comity("consent", "list", "--waiting", *folder)
        assert "because of people: " in waiting.out and "[waits-for-person]" in waiting.out
        assert "ANSWER: comity consent" in waiting.out
        told = comity("consent", "list", "--waiting", *folder, "--json")
        (row,) = json.loads(told.out)["studies"]
        assert (row["answer"], row["by"]) == ("given", "policy")
        assert row["decision"] == "waits-for-person"
        other = tmp_path / "other.toml"
        other.write_text(auto + '[dataset.rows-m1]\nuse = "DUO:0000006"\n')
        told = comity("consent", "simulate", "small", "--policy", other, *folder)
        assert told.code == ExitCode.DONE, told.err
        assert "ask: HMB (DUO:0000006)" in told.out and "CONSENT: a person is asked" in told.out
        assert "it is for: it does not say" in told.out
        missing = comity("consent", "simulate", tmp_path / "none.py", *folder)
        assert missing.code == ExitCode.USAGE and "cannot read the study file" in missing.err
        other.write_text("studeis = 1\n")
        wrong = comity("consent", "simulate", "small", "--policy", other, *folder)
        assert wrong.code == ExitCode.USAGE and "did you mean studies? (line 1)" in wrong.err


@pytest.mark.parametrize(
    ("commercial", "listed", "decision", "code"),
    [
        (False, True, "by-itself", ""),
        (False, False, "waits-for-person", "waits-for-person"),
        (True, True, "forbidden", "use-mismatch"),
    ],
)
def test_a_study_file_is_tried_before_anybody_registers_it(
    commons: Make, tmp_path: Path, commercial: bool, listed: bool, decision: str, code: str
) -> None:
    """And nothing of it is left: no statement, no study, no consent."""
    text = declared(commercial=commercial)
    file = tmp_path / "new.py"
    file.write_text(text)
    policy = tmp_path / "policy.toml"
    digests = f'"{sha256(text.encode())}"' if listed else ""
    policy.write_text(
        f'studies = "auto"\nsandbox = "warn"\ncode = [{digests}]\n[dataset.rows-m1]\n'
        'use = "DUO:0000042"\nmodifiers = ["DUO:0000046"]\n'
    )
    with commons(3).world(tmp_path) as world:
        station = world.desk("m1").station
        before, said = station.replica.state, station.journal.last_said()
        wish = SimulateConsent(file=str(file), policy=str(policy))
        found = about_consent(wish, station)
        assert isinstance(found, Simulated)
        assert found.decision == decision and found.rounds == 2
        assert found.use == UseTerms(purpose="health", commercial=commercial)
        assert {step.code for step in found.steps} - {""} == ({code} if code else set())
        assert found.runs_now is (decision != "forbidden")
        assert station.replica.state is before and station.journal.last_said() == said


def test_what_a_study_is_for_is_said_in_a_few_words() -> None:
    assert use_words(None) == "it does not say"
    use = UseTerms(
        purpose="disease",
        diseases=("MONDO:0004995",),
        commercial=False,
        non_profit=True,
        ethics=digest("approval"),
    )
    words = use_words(use)
    assert words.startswith("disease, MONDO:0004995, not commercial, among not-for-profit")
    assert digest("approval")[:12] in words
