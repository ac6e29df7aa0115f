"""Rules of decision in a charter: read strictly, each contradiction named with its line.

Attacks: rules that nobody can meet, a `like` that leads in a circle, shares above 1, floats, and
numbers too big to be meant.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.commons.charter import (
    Charter,
    charter_bytes,
    charter_fault,
    charter_from_toml,
    group_of,
    parse_charter,
)
from comity.commons.rulebook import decision_rule, duration_s
from comity.errors import Misconfigured
from tests.worlds import charter_of, digest

FOUNDERS = "".join(
    f'[[founders]]\nid = "member-{name}"\nkeys = "{digest(name)}"\ncountry = "{country}"\n'
    for name, country in zip("abcd", ("Northland", "Northland", "Southland", ""), strict=True)
)
RULES = """
[groups]
by = "country"
cap = "1/3"
[rules.ordinary]
method = "consensus"
quorum = "1/2"
min_yes = 2
window = "14d"
mediation = "10d"
fallback = "weighty"
[rules.weighty]
method = "threshold"
quorum = "2/3"
yes = "2/3"
group_cap = true
min_yes = 3
window = "21d"
effect = "72h"
[rules.swift]
like = "weighty"
window = "30m"
[decisions]
admit = "weighty"
host = "swift"
release = "ordinary"
"""
TOML = f'name = "A commons"\nhost = "member-b"\n{FOUNDERS}{RULES}'


def test_a_rulebook_is_read_and_keeps_its_canonical_form() -> None:
    charter = charter_from_toml(TOML)
    assert charter.release == "rules" and charter.rulebook is not None
    assert parse_charter(charter_bytes(charter)) == charter
    ordinary, swift = (charter.rulebook.rules[name] for name in ("ordinary", "swift"))
    assert (ordinary.window_s, ordinary.mediation_s) == (14 * 86_400, 10 * 86_400)
    assert (swift.window_s, swift.effect_s, swift.yes) == (1_800, 72 * 3_600, "2/3")
    rule = decision_rule(charter.rulebook.rules["weighty"], charter.rulebook)
    assert (rule.yes, rule.group_cap, rule.min_yes) == (Fraction(2, 3), Fraction(1, 3), 3)


def test_a_charter_without_rules_keeps_its_old_bytes() -> None:
    assert b"rulebook" not in charter_bytes(charter_of(3))


def test_members_without_the_attribute_are_groups_of_their_own() -> None:
    charter = charter_from_toml(TOML)
    groups = [group_of(charter, founder) for founder in charter.founders]
    assert groups[:2] == ["country:Northland"] * 2
    assert groups[2:] == ["country:Southland", "member:member-d"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('yes = "2/3"', 'yes = "5/3"', "rules.weighty.yes: a share above 1/2"),
        ('yes = "2/3"', 'yes = "1/2"', "rules.weighty.yes: a share above 1/2"),
        ('yes = "2/3"', "yes = 0.66", "yes"),
        ('yes = "2/3"', 'yes = "99999/100000"', "yes"),
        ('quorum = "2/3"', 'quorum = "4/6"', "rules.weighty.quorum: in lowest terms, 2/3"),
        ('quorum = "2/3"', 'quorum = "3/2"', "rules.weighty.quorum: a share of at most 1"),
        ("min_yes = 3", "min_yes = 5", "rules.weighty.min_yes: at most 4"),
        ("min_yes = 3", f"min_yes = {10**30}", "min_yes"),
        ('window = "21d"', "window = 21", "rules.weighty.window: a whole number with a unit"),
        ('window = "21d"', 'window = "99999999d"', "window_s"),
        ('window = "21d"', 'windo = "21d"', "unknown field `windo`"),
        (
            'method = "threshold"',
            'method = "threshold"\nmediation = "1d"',
            "belong to method = con",
        ),
        ('fallback = "weighty"', 'fallback = "ordinary"', "rules.ordinary.fallback: the name of"),
        ('fallback = "weighty"', "", "rules.ordinary.fallback: the name of a rule"),
        ('mediation = "10d"\n', "", "rules.ordinary.mediation: say how long"),
        ('like = "weighty"', 'like = "swift"', "swift -> swift is a circle"),
        ('like = "weighty"', 'like = "nothing"', "no [rules.nothing] is there"),
        ('like = "weighty"', "like = 3", "rules.swift.like: the name of a rule"),
        ('host = "swift"', 'host = "weighty"', "rules.swift: no decision follows it"),
        ('host = "swift"', 'host = "other"', "decisions.host: no [rules.other]"),
        ('host = "swift"\n', "", "decisions.host: name the rule"),
        ('host = "swift"', 'host = "swift"\nexile = "swift"', "exile"),
        ('cap = "1/3"', 'cap = "1/0"', "cap"),
        ('cap = "1/3"', 'cap = "2/6"', "groups.cap: at most 1, in lowest terms: 1/3"),
        ('cap = "1/3"', 'cap = "1/3\\n"', "cap"),
        ('window = "30m"', 'window = "30m"\nwindow_s = 5', "rules.swift.window_s: write window"),
        ('effect = "72h"', 'effect = "99999999d"', "effect_s"),
        ('mediation = "10d"', 'mediation = "99999999d"', "mediation_s"),
        ('name = "A commons"', f'name = "A commons"\nquorum = {"9" * 5_000}', "not TOML"),
        ('by = "country"', 'by = "language"', "language"),
        ("group_cap = true", "group_cap = false", "groups: no rule says group_cap"),
        ('[groups]\nby = "country"\ncap = "1/3"\n', "", "needs a [groups] table"),
        ('host = "member-b"', 'host = "member-b"\nvote_open_s = 60', "vote_open_s: with [rules]"),
        ('host = "member-b"', 'host = "member-b"\nrelease = "rules"', "release: with [rules]"),
        ('host = "member-b"', 'host = "member-b"\nrulebook = {}', "rulebook: write [groups]"),
    ],
)
def test_what_contradicts_itself_is_refused(old: str, new: str, says: str) -> None:
    assert old in TOML
    with pytest.raises(Misconfigured) as refused:
        charter_from_toml(TOML.replace(old, new, 1))
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('yes = "2/3"', 'yes = "5/3"'),
        ('window = "21d"', "window = 21"),
        ('window = "21d"', 'windo = "21d"'),
        ('cap = "1/3"', "cap = 0.3"),
        ('host = "member-b"', 'host = "member-x"'),
        ('host = "member-b"', 'host = "member-b"\ncriteria = ["country"]'),
        ('admit = "weighty"', 'admit = "weighty"\nexile = "weighty"'),
    ],
)
def test_the_line_is_named(old: str, new: str) -> None:
    text = TOML.replace(old, new, 1)
    line = 1 + text[: text.index(new) + len(new)].count("\n")
    with pytest.raises(Misconfigured, match=rf"\(line {line}\)$"):
        charter_from_toml(text)


def test_a_release_by_rules_needs_a_rulebook() -> None:
    bare: Charter = charter_of(3, release="rules")
    assert (charter_fault(bare) or "").startswith("release:")


@given(st.text(max_size=12))
def test_a_duration_is_seconds_or_refused(said: str) -> None:
    try:
        assert duration_s(said, "here") >= 1
    except Misconfigured:
        return
    assert said[-1] in "smhd" and said[:-1].isdigit()


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda t: st.dictionaries(
            st.sampled_from(["like", "window", "method", "yes", "weighty", "x"]), t, max_size=4
        ),
    )
)
def test_whatever_stands_in_rules_is_read_or_refused(rules: object) -> None:
    text = TOML[: TOML.index("[groups]")].replace(
        'host = "member-b"', f'host = "member-b"\nrules = {_inline(rules)}'
    )
    with pytest.raises(Misconfigured):
        charter_from_toml(text)


def _inline(value: object) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{key} = {_inline(each)}" for key, each in value.items()) + "}"
        case str():
            return '"' + "".join(f"\\u{ord(c):04x}" for c in value if ord(c) < 0xD800) + '"'
        case None:
            return "false"
        case _:
            return str(value)
