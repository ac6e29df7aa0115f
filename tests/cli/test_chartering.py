"""A charter is written from a preset, weighed, read in plain words, and compared."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from comity.cli import plain
from comity.commons.charter import Charter, charter_from_toml
from comity.commons.rulebook import Rulebook, RuleText
from comity.node import chartering, founding
from comity.node.charter_text import toml_of
from comity.node.chartering import PRESETS
from comity.node.keyfile import Unencrypted
from tests.cli.commands import Terminal


def id_files(folder: Path, count: int) -> list[Path]:
    made = []
    for at in range(count):
        home = folder / f"m{at}"
        new = founding.new_identity(
            home,
            f"m{at}",
            passphrase=Unencrypted.ON_PURPOSE,
            name=f"Member {at}",
            country=f"Country {at % 4}",
        )
        made.append(Path(new.id_file))
    return made


@pytest.mark.parametrize(("preset", "count"), list(zip(PRESETS, (2, 4, 6, 5), strict=True)))
def test_every_preset_can_be_founded_and_is_explained(
    tmp_path: Path, comity: Terminal, preset: str, count: int
) -> None:
    ids = [str(path) for path in id_files(tmp_path, count)]
    out = tmp_path / "charter.toml"
    ran = comity(
        "charter", "new", *ids, "--name", "C", "--host", "m0", "--out", str(out), "--preset", preset
    )
    assert ran.code == 0, ran.err
    checked = comity("charter", "check", str(out))
    assert checked.code == 0 and "carry it against all others" in checked.out
    if preset == "network":
        assert "country:Country 0 1/4" in checked.out or "country:Country 0" in checked.out
    shown = comity("charter", "show", str(out), "--plain")
    assert shown.code == 0 and "The commons is called C." in shown.out
    assert "{" not in shown.out


def test_two_thirds_of_four_are_three_and_two_block(tmp_path: Path) -> None:
    charter = chartering.new_charter(
        tmp_path / "c.toml", name="C", host="m0", ids=id_files(tmp_path, 4), preset="small"
    )
    acts = {act.act: act for act in chartering.check_charter(charter).acts}
    admit = acts["admit"]
    assert (admit.yes_needed, admit.blocks, admit.deadlocks) == (3, 2, 2)


def test_an_unknown_preset_or_a_missing_name_is_a_usage_error(
    tmp_path: Path, comity: Terminal
) -> None:
    ids = [str(path) for path in id_files(tmp_path, 3)]
    ran = comity("charter", "new", *ids, "--name", "C", "--host", "m0", "--preset", "huge")
    assert ran.code == 2 and "pair, small, network, regulated" in ran.err
    ran = comity("charter", "new", *ids, "--host", "m0")
    assert ran.code == 2 and "--name is missing" in ran.err


def test_a_difference_is_said_in_sentences(tmp_path: Path, comity: Terminal) -> None:
    ids = id_files(tmp_path, 4)
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    chartering.new_charter(first, name="C", host="m0", ids=ids, preset="small")
    second.write_text(first.read_text().replace('window = "72h"', 'window = "24h"'))
    ran = comity("charter", "diff", str(first), str(second))
    assert "rulebook.rules.swift.window_s" in ran.out
    assert "the vote is open for 3 days" in ran.out and "open for 1 day" in ran.out
    assert comity("charter", "diff", str(first), str(first)).out.strip() == "the same charter"


@pytest.mark.parametrize(("preset", "count"), list(zip(PRESETS, (2, 4, 6, 5), strict=True)))
def test_the_text_of_a_charter_reads_as_the_same_charter(
    tmp_path: Path, preset: chartering.Preset, count: int
) -> None:
    charter = chartering.new_charter(
        tmp_path / "c.toml", name="C", host="m0", ids=id_files(tmp_path, count), preset=preset
    )
    assert charter_from_toml(toml_of(charter)) == charter
    plain_one = msgspec.structs.replace(
        charter, rulebook=None, release="simple-majority", criteria=("contact",)
    )
    assert charter_from_toml(toml_of(plain_one)) == plain_one
    assert any("contact" in each.path for each in plain.sentences(plain_one))


def test_acts_without_a_rule_are_told(tmp_path: Path) -> None:
    charter = chartering.new_charter(
        tmp_path / "c.toml", name="C", host="m0", ids=id_files(tmp_path, 2), preset="pair"
    )
    told = " ".join(chartering.check_charter(charter).warnings)
    assert "nobody can exclude" in told and "nobody can suspend" in told


def test_every_key_has_a_sentence_in_every_language() -> None:
    for language in plain.LANGUAGES:
        catalogue = plain._catalogue(language)
        flat = {f.encode_name for f in msgspec.structs.fields(Charter)} - {"rulebook"}
        assert flat <= set(catalogue), language
        book = catalogue["rulebook"]
        assert {f.encode_name for f in msgspec.structs.fields(Rulebook)} == set(book)
        rules = {f.encode_name for f in msgspec.structs.fields(RuleText)}
        assert rules == set(book["rules"]["*"]), language
