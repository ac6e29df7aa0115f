"""P6. While a step of the gate refuses, no process of a study starts here, and no Join goes out.

A node with a real log, a round that was opened for it, and its consent in force. Each thing that
the owner may decide, or that may be wrong here, is made to fail alone; then it is mended, and the
same node joins with the same study.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from comity.errors import Refused, Rule
from comity.node import wishes
from comity.node.consenting import consents
from comity.node.isolation import Limits
from comity.node.machine import StudyProcess
from comity.node.sandbox import Sandbox
from comity.node.site_file import SITE_FILE
from comity.values import DAY_S, SITE_BYTES_MAX, SandboxPolicy, sha256
from tests.e2e.places import SITE
from tests.e2e.prepared import Make
from tests.e2e.steps import Desk, World
from tests.e2e.test_lying_members import until_asleep

DATASET = "[dataset.rows-m1]\n"


def other_hours(now_s: int) -> str:
    """Two hours of the day that do not hold this moment."""
    hour = now_s % DAY_S // 3_600
    return f'hours = "{(hour + 2) % 24:02}:00-{(hour + 4) % 24:02}:00 UTC"\n'


def site_of(world: World, node: Desk) -> dict[str, tuple[str, str]]:
    """What the owner may write into `site.toml`: by name, the text and how the refusal begins."""
    auto, listed = SITE, (node.station.folder / SITE_FILE).read_text()
    use = f'{DATASET}use = "DUO:0000042"\nuntil = "2001-01-01"\n'
    return {
        "its terms are over": (listed + use, "stops at use"),
        "other code": (auto + f'code = ["{"0" * 64}"]\n', "stops at code"),
        "another version": (listed + f'{DATASET}version = "{"0" * 64}"\n', "stops at version"),
        "larger sums only": (listed + "survivors_min = 4\n", "stops at participants"),
        "fewer rounds": (listed + "rounds_max = 1\n", "stops at sizes"),
        "smaller models": (listed + "parameters_max = 8\n", "stops at sizes"),
        "more rows": (listed + f"{DATASET}records_min = 1000\n", "stops at records"),
        "other hours": (listed + other_hours(world.clock()), "stops at hours"),
        "a stronger machine": (listed.replace('"warn"', '["limits"]'), "stops at sandbox"),
        "a person": (listed.replace('"auto"', '"ask"'), "stops at people"),
        "a person, for what is not said": (
            listed + f'{DATASET}use = "DUO:0000042"\n',
            "stops at people",
        ),
        "no code by itself": (auto, "stops at people"),
        "a typing error": (listed + 'studeis = "ask"\n', "did you mean studies?"),
        "no text": (listed + "#" * SITE_BYTES_MAX, "more than"),
    }


def test_nothing_starts_while_one_step_refuses_and_all_goes_on_when_it_is_mended(
    commons: Make, tmp_path: Path
) -> None:
    started: list[Path] = []

    def start(
        study_path: Path,
        data_path: Path | None,
        work_dir: Path,
        *,
        policy: SandboxPolicy = "require",
        limits: Limits | None = None,
    ) -> StudyProcess:
        started.append(study_path)
        return Sandbox.start(study_path, data_path, work_dir, policy=policy, limits=limits)

    with commons(3).world(tmp_path) as world:
        node = world.desk("m1")
        until_asleep(world, "m1", "round.join")
        node.station.machine = replace(node.station.machine, start_study=start)
        practice = node.loop._rounds._practice
        practice.close()
        practice._walls = frozenset()  # a machine that can keep up no wall; "warn" lets it
        file = node.station.folder / SITE_FILE
        good = file.read_text()
        for name, (text, words) in site_of(world, node).items():
            file.write_text(text)
            assert words in refused(node), name
        file.write_text(good)
        table = node.place.table
        before = table.read_bytes()
        table.write_bytes(before + b"9\n")
        assert "stops at version" in refused(node)
        table.write_bytes(before)
        assert not started and not world.said("round.join", "m1")
        node.wake()
        world.round(1)
        assert started and world.said("round.join", "m1")


def refused(node: Desk) -> str:
    """What stands in the way of the Join, once the node has tried."""
    node.station.faults.clear()
    node.loop._work()
    return node.station.faults["SayJoin"]


@pytest.mark.parametrize(
    ("mend", "by"),
    [
        (lambda node, study: wishes.give_consent(node.station, study), "person"),
        (None, "policy"),
    ],
)
def test_a_yes_that_the_policy_gave_counts_no_more_once_people_are_to_be_asked(
    commons: Make, tmp_path: Path, mend: Callable[[Desk, str], object] | None, by: str
) -> None:
    with commons(3).world(tmp_path) as world:
        node = world.desk("m1")
        until_asleep(world, "m1", "round.join")
        (listed,) = consents(node.station).studies
        assert (listed.answer, listed.by, listed.waits) == ("given", "policy", False)
        file = node.station.folder / SITE_FILE
        file.write_text(file.read_text().replace('"auto"', '"ask"'))
        assert Rule.WAITS_FOR_PERSON.value in refused(node)
        (listed,) = consents(node.station).studies
        assert listed.waits and listed.stops is not None and listed.stops.step == "people"
        if mend is not None:
            with pytest.raises(Refused, match="is remembered now"):
                mend(node, world.study_id)
            node.wake()
            world.round(1)
            assert world.said("round.join", "m1")
        (listed,) = consents(node.station).studies
        assert listed.by == by


def test_the_same_file_and_data_wait_for_a_person_the_first_time_only(
    commons: Make, tmp_path: Path
) -> None:
    """`first-time`: another registration of the same file is consented to by itself afterwards."""
    with commons(3).world(tmp_path) as world:
        node = world.desk("m1")
        node.sleep_before("round.open", "round.join")
        file = node.station.folder / SITE_FILE
        file.write_text(file.read_text().replace('"auto"', '"first-time"'))
        twin = tmp_path / "twin.py"
        twin.write_text(commons(3).text)
        assert sha256(twin.read_bytes()) == world.study.register.plan.code
        author = world.desk("m2")
        said = wishes.register_study(author.station, twin, name="twin")
        author.station.deliver()
        node.sync()
        assert said.statement in node.state.studies
        listed = {each.name: each for each in consents(node.station).studies}
        assert listed["twin"].waits and listed["twin"].answer == "asked"
        with pytest.raises(Refused):
            wishes.give_consent(node.station, world.study_id)
        listed = {each.name: each for each in consents(node.station).studies}
        assert listed["twin"].decision == "by-itself"
        wishes.refuse_consent(node.station, "twin")
        listed = {each.name: each for each in consents(node.station).studies}
        assert listed["twin"].waits, "who says no once is asked again"
