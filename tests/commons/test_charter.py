"""Charters: one canonical form, and no charter that contradicts itself is founded.

Attack: an outsider, or a careless founder, offers a charter that gives somebody power by its
numbers (a quorum of half, two founders with one key set). It is refused with the setting's name.
"""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.commons.charter import (
    Charter,
    StudyBounds,
    charter_bytes,
    charter_fault,
    charter_from_toml,
    commons_id,
    default_quorum,
    parse_charter,
)
from comity.errors import Malformed, Misconfigured
from comity.values import CommonsId, MemberId, sha256
from tests.worlds import charter_of, digest

TOML = f"""
name = "A commons"
host = "member-b"
[[founders]]
id = "member-b"
keys = "{digest("b")}"
[[founders]]
id = "member-a"
keys = "{digest("a")}"
country = "Northland"
[[founders]]
id = "member-c"
keys = "{digest("c")}"
"""


def bounds(**changes: int) -> StudyBounds:
    return msgspec.structs.replace(charter_of(3).studies, **changes)


def test_parsing_gives_back_what_was_written() -> None:
    charter = charter_of(5)
    assert parse_charter(charter_bytes(charter)) == charter
    assert commons_id(charter) == CommonsId(sha256(charter_bytes(charter)))


@pytest.mark.parametrize(
    ("count", "quorum"), [(2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (10, 7), (200, 134)]
)
def test_default_quorum(count: int, quorum: int) -> None:
    assert default_quorum(count) == quorum


@pytest.mark.parametrize("count", [2, 3, 4, 5, 20, 200])
def test_ordinary_charters_have_no_fault(count: int) -> None:
    assert charter_fault(charter_of(count)) is None


def test_every_quorum_above_half_is_allowed_and_no_other() -> None:
    for count in range(2, 9):
        for quorum in range(1, count + 3):
            fault = charter_fault(charter_of(count, quorum=quorum))
            assert (fault is None) == (count / 2 < quorum <= count)


@pytest.mark.parametrize(
    ("charter", "names"),
    [
        (charter_of(3, host=MemberId("member-z")), "host"),
        (charter_of(3, founders=charter_of(3).founders[::-1]), "founders: in the order"),
        (charter_of(3, founders=charter_of(3).founders[:2] * 2), "founders: each id"),
        (
            charter_of(
                2,
                founders=tuple(
                    msgspec.structs.replace(founder, keys=digest("one key set"))
                    for founder in charter_of(2).founders
                ),
            ),
            "founders: each has its own key set",
        ),
        (charter_of(3, quorum=1), "quorum"),
        (charter_of(3, void_entries_per_day_max=0), "void_entries_per_day_max"),
        (charter_of(5, studies=bounds(survivors_min=3, colluders_min=2)), "survivors_min"),
        (charter_of(3, studies=bounds(survivors_min=4)), "survivors_min: at most 3"),
    ],
)
def test_a_charter_that_contradicts_itself_is_refused(charter: Charter, names: str) -> None:
    fault = charter_fault(charter)
    assert fault is not None and names in fault
    with pytest.raises(Malformed, match="cannot be founded"):
        parse_charter(charter_bytes(charter))


def test_two_members_may_found() -> None:
    assert charter_fault(charter_of(2, studies=bounds(survivors_min=3))) is None


def test_toml_has_defaults_and_founders_in_any_order() -> None:
    charter = charter_from_toml(TOML)
    assert [founder.id for founder in charter.founders] == ["member-a", "member-b", "member-c"]
    assert charter.founders[0].country == "Northland"
    assert (charter.quorum, charter.host, charter.origin_prefix) == (3, "member-b", "comity")
    assert charter.studies.survivors_min == 3
    assert parse_charter(charter_bytes(charter)) == charter


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (TOML.replace("host", "hots"), "hots"),
        (TOML.replace("name =", "nam ="), "nam"),
        ("quorum = 0\n" + TOML, "quorum"),
        ("quorum = 1\n" + TOML, "quorum: from 2 to 3"),
        ("protocol = 2\n" + TOML, "protocol"),
        ("vote_open_s = '7 days'\n" + TOML, "vote_open_s"),
        (TOML + "[studies]\nrounds_max = 0\n", "studies.rounds_max"),
        (TOML + "[studies]\ncolluders = 1\n", "colluders"),
        (TOML.replace("member-c", "Member C"), "founders"),
        ("studies = 3\n" + TOML, "studies"),
        ("host = ", "not TOML"),
        ("founders = " + "[" * 5_000, "not TOML"),
        ("", "founders"),
    ],
)
def test_toml_names_the_setting_that_is_wrong(text: str, names: str) -> None:
    with pytest.raises(Misconfigured, match=names):
        charter_from_toml(text)


@given(st.data())
def test_bytes_of_others_are_malformed_or_the_same_charter(data: st.DataObject) -> None:
    blob = bytearray(charter_bytes(charter_of(3)))
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] = data.draw(st.integers(0, 255))
    try:
        charter = parse_charter(bytes(blob))
    except Malformed:
        return
    assert charter_bytes(charter) == bytes(blob)


@given(st.text(max_size=200))
def test_toml_of_others_is_refused_as_misconfigured(text: str) -> None:
    with pytest.raises(Misconfigured):
        charter_from_toml(text)
