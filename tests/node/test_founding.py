"""Identities, charters and entering, with real keys in real folders."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from comity.commons.charter import Charter, charter_bytes, commons_id, parse_charter
from comity.commons.site import SitePolicy, parse_site
from comity.errors import Forged, Malformed, Misconfigured, Refused, Rule
from comity.node import chartering, founding
from comity.node.keyfile import Unencrypted, load_keys
from comity.node.settings import read_node_settings
from tests.worlds import charter_of

OPEN = Unencrypted.ON_PURPOSE
URL = "http://127.0.0.1:8440"


@pytest.fixture(scope="module")
def ids(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The id files of three institutions, in their own folders."""
    root = tmp_path_factory.mktemp("ids")
    made = [
        founding.new_identity(
            root / name, name, passphrase=OPEN, name=f'Institute "{name}" é', country="Ruritania"
        )
        for name in ("c", "a", "b")
    ]
    return [Path(identity.id_file) for identity in made]


def _charter(ids: list[Path], folder: Path) -> Charter:
    return chartering.new_charter(folder / "charter.toml", name='The "first" é', host="a", ids=ids)


def test_a_charter_lists_the_founders_of_the_id_files(ids: list[Path], tmp_path: Path) -> None:
    charter = _charter(ids, tmp_path)
    assert [founder.id for founder in charter.founders] == ["a", "b", "c"]
    assert charter.founders[0].name == 'Institute "a" é'
    assert founding.read_charter(tmp_path / "charter.toml") == charter
    whole = tmp_path / "charter.json"
    whole.write_bytes(charter_bytes(charter))
    assert founding.read_charter(whole) == charter
    with pytest.raises(Misconfigured, match="exists"):
        _charter(ids, tmp_path)


@pytest.mark.parametrize(
    ("count", "quorum", "words"),
    [
        (2, 2, "no secrecy between you"),
        (3, 3, "3 of 3: all must be online"),
        (4, 3, "1 of 4 may be away"),
        (7, 4, "below 5, two thirds"),
    ],
)
def test_a_check_says_what_the_quorum_means(count: int, quorum: int, words: str) -> None:
    charter = charter_of(count, quorum=quorum)
    summary = chartering.check_charter(charter)
    assert summary.commons == commons_id(charter)
    assert words in "; ".join((*summary.meaning, *summary.warnings))


def test_entering_makes_a_folder_that_a_node_can_open(ids: list[Path], tmp_path: Path) -> None:
    charter = _charter(ids, tmp_path)
    folder = ids[0].parent
    keys = load_keys(folder / founding.KEYS, passphrase=OPEN)
    commons = commons_id(charter)
    entered = founding.enter_commons(
        folder, charter, keys=keys, host_url=URL, expected=commons[:16]
    )
    assert (entered.member, entered.commons) == ("c", commons)
    assert parse_charter((folder / "charter.json").read_bytes()) == charter
    assert read_node_settings(folder / "node.toml").host_url == URL
    assert parse_site((folder / "site.toml").read_text()) == SitePolicy()
    # Again, with another address: the owner's policy stays.
    (folder / "site.toml").write_text('studies = "auto"\n')
    founding.enter_commons(folder, charter, keys=keys, host_url="https://other.example")
    assert read_node_settings(folder / "node.toml").host_url == "https://other.example"
    assert (folder / "site.toml").read_text() == 'studies = "auto"\n'
    other = msgspec.structs.replace(charter, name="Another")
    with pytest.raises(Misconfigured, match="another commons"):
        founding.enter_commons(folder, other, keys=keys, host_url=URL)


def test_a_commons_other_than_the_expected_is_not_entered(ids: list[Path], tmp_path: Path) -> None:
    charter = _charter(ids, tmp_path)
    keys = load_keys(ids[1].parent / founding.KEYS, passphrase=OPEN)
    commons = commons_id(charter)
    for expected in ("0" * 64, commons[:15], ""):
        with pytest.raises(Misconfigured, match="expected"):
            founding.enter_commons(tmp_path, charter, keys=keys, host_url=URL, expected=expected)
    assert not (tmp_path / "charter.json").exists()


def test_a_charter_without_my_keys_is_not_signed(ids: list[Path], tmp_path: Path) -> None:
    """The attack: a charter that lists my id with somebody else's keys."""
    charter = _charter(ids, tmp_path)
    founding.new_identity(tmp_path / "fake", "a", passphrase=OPEN)
    keys = load_keys(tmp_path / "fake" / founding.KEYS, passphrase=OPEN)
    with pytest.raises(Refused) as caught:
        founding.enter_commons(tmp_path / "fake", charter, keys=keys, host_url=URL)
    assert caught.value.rule is Rule.KEYS_NOT_IN_CHARTER


def test_an_id_file_with_somebody_elses_keys_is_forged(ids: list[Path], tmp_path: Path) -> None:
    """The attack: the host takes a's place by putting a's name on its own keys, or one key."""
    a, c = (founding.read_identity(path) for path in (ids[1], ids[0]))
    renamed = msgspec.structs.replace(
        a, key_set=msgspec.structs.replace(a.key_set, member=c.key_set.member)
    )
    swapped_keys = msgspec.structs.replace(a.key_set.keys, host=c.key_set.keys.host)
    swapped = msgspec.structs.replace(
        a, key_set=msgspec.structs.replace(a.key_set, keys=swapped_keys)
    )
    for forged in (renamed, swapped):
        path = tmp_path / "x.id.json"
        path.write_bytes(msgspec.json.encode(forged, order="sorted"))
        with pytest.raises(Forged):
            founding.read_identity(path)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 70_000, b'{"format":"x"}'])
def test_what_is_no_id_file_is_malformed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.id.json"
    path.write_bytes(content)
    with pytest.raises((Malformed, Misconfigured)):
        founding.read_identity(path)


def test_keys_are_never_replaced(ids: list[Path]) -> None:
    folder = ids[0].parent
    before = (folder / founding.KEYS).read_bytes()
    with pytest.raises(Misconfigured, match="never replaced"):
        founding.new_identity(folder, "c", passphrase=OPEN)
    assert (folder / founding.KEYS).read_bytes() == before


@pytest.mark.parametrize("name", ["two\nlines", "esc\x1b[2J", "\udc80"])
def test_names_are_printable(tmp_path: Path, name: str) -> None:
    with pytest.raises(Misconfigured):
        founding.new_identity(tmp_path / "n", "a", passphrase=OPEN, name=name)
    assert not (tmp_path / "n").exists()
