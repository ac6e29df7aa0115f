"""Hostile charters: names that look alike, marks that are not seen; the line, and what to write.

Attacks: a founder that looks like another, a text that reads otherwise than it is written, an
applicant that takes a member's name, one group under two spellings.
"""

from __future__ import annotations

import pytest

from comity.commons.charter import charter_from_toml, names_fault
from comity.commons.lookalike import name_fault, same_look
from comity.errors import Misconfigured, Refused, Rule
from comity.values import MemberId
from tests.commons.changes import apply_body
from tests.worlds import World, charter_of, digest


def toml(*founders: tuple[str, str], name: str = "A commons", country: str = "") -> str:
    """A charter of founders (id, name)."""
    parts = [f'name = "{name}"', f'host = "{founders[0][0]}"']
    for at, (who, said) in enumerate(founders):
        parts += ["[[founders]]", f'id = "{who}"', f'keys = "{digest(str(at))}"']
        parts += [f'name = "{said}"'] if said else []
        parts += [f'country = "{country if at else "Northland"}"'] if country else []
    return "\n".join(parts) + "\n"


THREE = (("hospital-a", "Alpha"), ("hospital-b", "Beta"), ("hospital-c", "Gamma"))


def test_plain_names_of_any_script_are_fine() -> None:
    names = ("Больница", "医院", "مستشفى", "Hôpital d'Été", "Νοσοκομείο 2")
    for name in names:
        assert name_fault(name) is None, name
    assert names_fault(charter_from_toml(toml(*THREE))) is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Alpha\\u202egnirps", "RIGHT-TO-LEFT OVERRIDE"),
        ("Al\\u200bpha", "ZERO WIDTH SPACE"),
        ("Alpha\\u200f", "RIGHT-TO-LEFT MARK"),
        ("Alpha\\u2066", "LEFT-TO-RIGHT ISOLATE"),
        ("A\\u0301lpha", "composed form"),
        ("Alpha\\u00a0", "NO-BREAK SPACE"),
        (" Alpha", "without spaces at its ends"),
    ],
)
def test_what_is_not_seen_is_refused_with_its_name_and_the_line(name: str, says: str) -> None:
    text = toml(THREE[0], ("hospital-b", name), THREE[2])
    with pytest.raises(Misconfigured) as refused:
        charter_from_toml(text)
    assert says in str(refused.value) and "hospital-b" in str(refused.value)
    assert "(line 8)" in str(refused.value)
    with pytest.raises(Misconfigured) as refused:
        charter_from_toml(toml(*THREE, name=name))
    assert says in str(refused.value) and "(line 1)" in str(refused.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alpha", "\u0410lpha"),  # Cyrillic
        ("Alpha", "\u0391lpha"),  # Greek
        ("Alpha", "\uff21\uff4c\uff50\uff48\uff41"),  # full width
        ("Alpha", "ALPHA"),
        ("Hall 1", "Hall l"),
        ("North  Hall", "North Hall"),
    ],
)
def test_names_that_look_alike_are_refused(one: str, other: str) -> None:
    with pytest.raises(Misconfigured, match=r"look alike; give each its own name \(line 10\)$"):
        charter_from_toml(toml(("hospital-a", one), ("hospital-b", other), THREE[2]))


def test_ids_that_look_alike_are_refused_for_founders_and_for_applicants() -> None:
    with pytest.raises(Misconfigured, match=r"look alike; give each its own id \(line 4\)$"):
        charter_from_toml(toml(THREE[0], ("hospita1-a", ""), THREE[2]))
    world = World.of(26)  # there is a member-l and a member-o
    for twin in ("member-1", "member-0"):
        with pytest.raises(Refused) as refused:
            world.say(MemberId(twin), apply_body(MemberId(twin)))
        assert refused.value.rule is Rule.ID_TAKEN
    other = MemberId("member-2")
    world.say(other, apply_body(other))
    assert other in world.state.changes.applications


def test_one_country_under_two_spellings_makes_no_two_groups() -> None:
    with pytest.raises(Misconfigured, match=r"country: .* look alike; write one of them"):
        charter_from_toml(toml(*THREE, country="N\u043erthland"))


def test_ordinary_member_ids_do_not_look_alike() -> None:
    for count in (5, 26, 200):
        assert same_look(founder.id for founder in charter_of(count).founders) is None
