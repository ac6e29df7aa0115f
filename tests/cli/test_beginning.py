"""Applying, joining, rebuilding and new keys as commands: what they write and refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from comity.commons.charter import charter_bytes, commons_id
from comity.errors import ExitCode
from comity.node.applying import read_application
from comity.node.keyfile import Unencrypted
from comity.node.rotating import KEYS_NEXT, load_own_keys, make_coming_keys
from comity.release.anchor import Anchor
from tests.cli.commands import Terminal
from tests.e2e.places import Places, found_places

PLAIN = "--unencrypted-on-purpose"
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return found_places(tmp_path / "commons", ["a", "b", "c"], table=b"x\n1\n")


@pytest.fixture
def charter(places: Places, tmp_path: Path) -> Path:
    path = tmp_path / "charter.json"
    path.write_bytes(charter_bytes(places.charter))
    return path


@pytest.fixture
def stranger(comity: Terminal, tmp_path: Path) -> tuple[object, ...]:
    """The options that name its folder and open its keys."""
    options = ("--folder", tmp_path / "node-f", PLAIN)
    named = ("--name", "Hospital F", "--country", "Fenland")
    assert comity("id", "new", "hospital-f", *named, *options).code == ExitCode.DONE
    return options


def test_an_application_is_a_file_that_says_who_asks(
    comity: Terminal, charter: Path, stranger: tuple[object, ...], tmp_path: Path
) -> None:
    made = comity("member", "apply", charter, *stranger, "--json").json()
    assert (made["member"], made["name"], made["country"]) == (
        "hospital-f",
        "Hospital F",
        "Fenland",
    )
    assert made["digest"] == comity("id", "show", *stranger[:2], "--json").json()["digest"]
    file = tmp_path / "node-f" / "hospital-f.apply.json"
    before = file.read_bytes()
    said = comity("member", "apply", charter, *stranger)
    assert str(file) in said.out and "commons join" in said.out
    assert file.read_bytes() == before, "an institution applies once"
    _, statement, _ = read_application(file)
    assert (statement.seq, statement.head_size) == (0, 0)


def test_joining_names_what_is_missing(
    comity: Terminal, charter: Path, places: Places, stranger: tuple[object, ...], tmp_path: Path
) -> None:
    join = ("commons", "join", charter, "--host-url", NOWHERE, *stranger)
    assert "send your id file" in comity(*join).err, "no founder, and no anchor"
    anchor = tmp_path / "anchor.txt"
    assert comity(*join, "--anchor", anchor).code == ExitCode.USAGE
    anchor.write_text("no anchor\n")
    assert "is no anchor" in comity(*join, "--anchor", anchor).err
    origin = f"comity/{commons_id(places.charter)}"
    anchor.write_bytes(Anchor(origin, 3, b"r" * 32).text())
    told = comity(*join, "--anchor", anchor, "--commons", "0" * 16)
    assert told.code == ExitCode.USAGE and "the anchor is of" in told.err
    told = comity(*join, "--anchor", anchor)
    assert told.code == ExitCode.FAILED and "cannot reach" in told.err
    assert not (tmp_path / "node-f" / "node.toml").exists(), "nothing is written before the checks"
    rebuild = ("node", "rebuild", "--anchor", anchor, "--charter", charter, *stranger)
    assert "--host-url" in comity(*rebuild).err
    assert comity(*rebuild, "--host-url", "nonsense").code == ExitCode.USAGE


def test_new_keys_are_made_once_and_beside_the_old(
    comity: Terminal, stranger: tuple[object, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "node-f"
    made = make_coming_keys(folder, passphrase=Unencrypted.ON_PURPOSE)
    again = make_coming_keys(folder, passphrase=Unencrypted.ON_PURPOSE)
    assert made.coming is not None and again.coming is not None
    assert made.coming.public_statement == again.coming.public_statement
    assert (folder / KEYS_NEXT).stat().st_mode & 0o777 == 0o600
    own = load_own_keys(folder, passphrase=Unencrypted.ON_PURPOSE)
    assert own.newest_first == (own.coming, own.now)
    told = comity("keys", "rotate", *stranger)
    assert told.code == ExitCode.USAGE and "node.toml" in told.err


def test_taking_a_member_out_is_said_on_purpose(
    comity: Terminal, stranger: tuple[object, ...]
) -> None:
    told = comity("keys", "revoke", "hospital-b", "--reason", "copied", *stranger)
    assert told.code == ExitCode.USAGE and "--yes" in told.err
