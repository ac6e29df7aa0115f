"""The founding kit: it follows what is set, and promises nothing that the software does not do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comity.cli.kit import documents
from comity.commons.charter import charter_bytes
from comity.commons.site import SitePolicy
from comity.errors import ExitCode
from comity.node.bootstrap import LOG_FILE
from comity.node.replica import Replica
from comity.node.settings import NodeSettings, write_node_settings
from comity.values import EXIT_S_MIN, MemberId
from tests.cli.commands import Terminal
from tests.commons.governed import governed, move_charter, vote
from tests.node.test_replica_epochs import note
from tests.worlds import charter_of, keys_of

ROOT = Path(__file__).resolve().parents[2]
CHARTER = charter_of(4)
SETTINGS = NodeSettings(member=CHARTER.founders[1].id, host_url="https://host.example:8440")
OTHER: dict[str, object] = {
    "member": CHARTER.founders[2].id,
    "host_url": "https://elsewhere.example:1234",
    "hosts": ("https://third.example",),
    "proxy": "http://proxy.example:3128",
    "ca_file": "/etc/authorities.pem",
    "plain_http": "on-purpose",
    "poll_s": 7,
    "mirror": "127.0.0.1:8450",
    "mirror_chain": "/etc/chain.pem",
    "mirror_key": "/etc/key.pem",
    "peers": ("https://mirror.example:8450",),
    "code": ("ab" * 32,),
    "exposed": True,
    "dataset": {"rows.v1": {"use": "DUO:0000042", "records_min": 7}},
    "hours": "20:00-06:00 UTC",
    "parameters_max": 1_000,
    "round_s_max": 1_800,
    "rounds_per_day_max": 50,
    "sandbox": ("network", "files"),
    "studies": "auto",
    "tell_failures": "line",
}
"""Another value of each setting that is no number."""


def other(name: str, value: object) -> object:
    return OTHER[name] if name in OTHER else int(str(value)) + 1


def changed(base: Any, name: str) -> Any:  # Any: either settings
    value = other(name, getattr(base, name))
    return msgspec.convert({**msgspec.to_builtins(base), name: value}, type(base))


@pytest.mark.parametrize("name", [each for each in NodeSettings.__struct_fields__])
def test_every_setting_of_the_node_is_told(name: str) -> None:
    before = documents(CHARTER, SETTINGS, SitePolicy())
    assert documents(CHARTER, changed(SETTINGS, name), SitePolicy()) != before


@pytest.mark.parametrize("name", [n for n in SitePolicy.__struct_fields__ if n != "format"])
def test_every_setting_of_the_site_is_told_to_the_data_protection_officer(name: str) -> None:
    before = documents(CHARTER, SETTINGS, SitePolicy())["data-protection.md"]
    after = documents(CHARTER, SETTINGS, changed(SitePolicy(), name))["data-protection.md"]
    assert after != before


@pytest.mark.parametrize("name", sorted(CHARTER.studies.__struct_fields__))
def test_every_bound_of_the_charter_is_told(name: str) -> None:
    bounds = msgspec.structs.replace(CHARTER.studies, **{name: getattr(CHARTER.studies, name) + 1})
    after = msgspec.structs.replace(CHARTER, studies=bounds)
    page = "data-protection.md"
    before = documents(CHARTER, SETTINGS, SitePolicy())[page]
    assert documents(after, SETTINGS, SitePolicy())[page] != before


def test_the_residual_risks_are_the_words_of_the_threat_model() -> None:
    def sentences(text: str) -> set[str]:
        quoted = [line[1:].strip() for line in text.splitlines() if line.startswith(">")]
        return set(re.split(r"(?<=[.;])\s", " ".join(quoted).replace("*", "")))

    law = sentences((ROOT / "docs/threat-model.md").read_text())
    law = {each for each in law if "[waits for" not in each and "agreed to be exposed" not in each}
    kit = sentences(documents(CHARTER, SETTINGS, SitePolicy())["data-protection.md"])
    assert len(law) > 10
    assert law - kit == set()


def test_no_document_says_that_a_law_is_met() -> None:
    for exposed in (False, True):
        for settings in (SETTINGS, changed(SETTINGS, "mirror")):
            site = msgspec.structs.replace(SitePolicy(), exposed=exposed)
            text = " ".join(documents(CHARTER, settings, site).values()).lower()
            assert not re.search(r"complian|conform|certif(y|ied)|lawful|gdpr|hipaa", text)
            assert "{" not in text and "}" not in text


def test_names_with_braces_come_through_as_they_are() -> None:
    odd = msgspec.structs.replace(CHARTER, name="The {count} {hospitals}")
    assert "The {count} {hospitals}" in documents(odd, SETTINGS, SitePolicy())["summary.md"]


def test_the_command_writes_three_documents_from_a_folder(comity: Terminal, tmp_path: Path) -> None:
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / "charter.json").write_bytes(charter_bytes(CHARTER))
    write_node_settings(folder / "node.toml", SETTINGS)
    (folder / "site.toml").write_text("memory_mb_max = 777\n")
    ran = comity("kit", tmp_path / "kit", "--folder", folder, "--json")
    assert ran.code == ExitCode.DONE, ran.err
    assert ran.json()["files"] == ["summary.md", "it.md", "data-protection.md"]
    page = (tmp_path / "kit" / "it.md").read_text()
    assert "| this node | host.example | 8440 |" in page and "777 MiB" in page
    again = comity("kit", tmp_path / "kit", "--folder", folder)
    assert again.code == ExitCode.USAGE
    assert MemberId(SETTINGS.member) in (tmp_path / "kit" / "summary.md").read_text()


def test_the_kit_of_a_running_commons_tells_the_charter_in_force(
    comity: Terminal, tmp_path: Path
) -> None:
    world = governed(4)
    bounds = msgspec.structs.replace(world.charter.studies, end_by_s_max=123_456)
    proposal = move_charter(
        world, world.members[0], msgspec.structs.replace(world.charter, studies=bounds)
    )
    vote(world, proposal, "yes")
    world.pass_time(EXIT_S_MIN)
    assert world.state.charter.studies == bounds
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / "charter.json").write_bytes(charter_bytes(world.charter))
    member = world.members[1]
    settings = msgspec.structs.replace(SETTINGS, member=member)
    write_node_settings(folder / "node.toml", settings)
    copy = Replica(folder / LOG_FILE, world.charter)
    copy.take(note(world, len(world.log), keys_of(world.state.host)), world.log)
    copy.close()
    ran = comity("kit", tmp_path / "kit", "--folder", folder)
    assert ran.code == ExitCode.DONE, ran.err
    assert "123456" in (tmp_path / "kit" / "data-protection.md").read_text()
