"""`site.toml` as an owner writes it: safe defaults, and a line for whatever cannot be meant."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.commons.site import DatasetPolicy, SitePolicy, parse_site, terms_of
from comity.commons.use import MODIFIERS, PERMISSIONS, Fit, match_terms
from comity.errors import Misconfigured
from comity.node.founding import SITE
from comity.statements.studies import UseTerms
from comity.values import DISEASES_MAX, SITE_BYTES_MAX, WALLS, DatasetId
from tests.worlds import FIRST_S, digest

PAGE = Path(__file__).resolve().parents[2] / "docs/site-policy.md"
HEART = DatasetId("heart-a")


def site(**changes: object) -> SitePolicy:
    return msgspec.structs.replace(SitePolicy(), **changes)


def test_what_is_left_out_has_the_strictest_default() -> None:
    assert parse_site("") == SitePolicy()
    default = SitePolicy()
    assert (default.studies, default.sandbox, default.exposed) == ("ask", "require", False)
    assert default.walls == frozenset(WALLS)
    text = f'format = "comity-site/1"\nstudies = "auto"\ncode = ["{digest("code")}"]\n'
    assert parse_site(text) == site(studies="auto", code=(digest("code"),))


def test_the_policy_of_a_new_node_is_the_default_one_and_its_comments_are_true() -> None:
    written = SITE.format(studies="ask", sandbox="require")
    assert parse_site(written) == SitePolicy()
    uncommented = re.sub(r"^# (?=(hours|\[dataset|use|modifiers|until)\b)", "", written, flags=re.M)
    uncommented = uncommented.replace("# [dataset", "[dataset")
    policy = parse_site(uncommented)
    assert policy.hours == "20:00-06:00 UTC" and policy.dataset[HEART].until == "2027-12-31"


def test_the_example_of_the_page_is_a_policy_that_means_what_the_page_says() -> None:
    page = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 1
    policy = parse_site(blocks[0])
    assert (policy.studies, policy.survivors_min) == ("first-time", 4)
    terms = terms_of(policy, HEART)
    assert terms is not None and PERMISSIONS[terms.permission][0] == "DS"
    end = datetime.datetime(2027, 12, 31, tzinfo=datetime.UTC)
    assert terms.until_s == int(end.timestamp())
    study = UseTerms(
        purpose="disease",
        diseases=("MONDO:0004995",),
        commercial=False,
        ethics=digest("approval"),
    )
    assert {each.fit for each in match_terms(terms, study, FIRST_S)} == {Fit.MATCH}
    for term, (name, _) in {**PERMISSIONS, **MODIFIERS}.items():
        number = int(term.removeprefix("DUO:"))
        assert any(text in page for text in (f"{term} {name}", f" {number},", f" {number} |"))


def test_the_terms_of_the_table_of_the_page_are_all_terms_there_are() -> None:
    assert len(PERMISSIONS) + len(MODIFIERS) == 23


LONG = ", ".join(f'"MONDO:{number}"' for number in range(DISEASES_MAX + 1))
NAMED = 'use = "DUO:0000006"\n'


@pytest.mark.parametrize(
    ("text", "says", "line"),
    [
        ('sandbox = "off"', "sandbox", 1),
        ("\n\nsandboxed = true", "did you mean sandbox", 3),
        ('studies = "auto"\nstudeis = "ask"', "did you mean studies", 2),
        ('[run]\nmode = "ask"', "write its keys at the top", 1),
        ('mode = "ask"', 'write studies = "ask"', 1),
        ('only_code = "reviewed"', "code = [", 1),
        ('network = "none"', "no study has network", 1),
        ("gpu = true", "no graphics processor", 1),
        ("survivors_min = 2", "survivors_min", 1),
        ('rounds_max = "many"', "rounds_max", 1),
        ("rounds_per_day_max = 0", "rounds_per_day_max", 1),
        ("parameters_max = 1e9", "parameters_max", 1),
        ("memory_mb_max = 99999999999999999999", "memory_mb_max", 1),
        ('code = ["abc"]', "code", 1),
        (f'code = ["{digest("a")}", "{digest("a")}"]', "twice", 1),
        ("exposed = 1", "exposed", 1),
        ('format = "comity-site/2"', "format", 1),
        ('hours = "20-6"', "hours", 1),
        ('hours = "25:00-06:00 UTC"', "two different times", 1),
        ('hours = "06:00-06:00 UTC"', "leave it out for always", 1),
        ('sandbox = ["network", "moat"]', "sandbox", 1),
        ('sandbox = ["network", "network"]', "twice", 1),
        ("sandbox = []", 'write "warn"', 1),
        ("dataset = 3", "dataset", 1),
        ('[dataset."Heart A"]', "dataset", 1),
        ('[dataset.heart-a]\nuse = "HMB"', "DUO:0000006 (HMB)", 2),
        ('[dataset.heart-a]\nuse = "DUO:0000099"', "DUO:0000099", 2),
        (f'[dataset.heart-a]\n{NAMED}modifiers = ["DUO:0000001"]', "no DUO modifier", 3),
        (f'[dataset.heart-a]\n{NAMED}modifiers = ["DUO:0000046", "DUO:0000046"]', "once", 3),
        ('[dataset.heart-a]\nmodifiers = ["DUO:0000046"]', "permission first", 1),
        ('\n[dataset.heart-a]\nuse = "DUO:0000007"', "diseases", 2),
        (f'[dataset.heart-a]\n{NAMED}diseases = ["MONDO:1"]', "diseases", 3),
        (f'[dataset.heart-a]\nuse = "DUO:0000007"\ndiseases = [{LONG}]', "diseases", 3),
        (f'[dataset.heart-a]\n{NAMED}until = "2027-02-29"', "until", 3),
        (f"[dataset.heart-a]\n{NAMED}until = 2027-02-28", "until", 3),
        (f'[dataset.heart-a]\n{NAMED}until = "1970-01-01"', "until", 3),
        (f'[dataset.heart-a]\n{NAMED}modifiers = ["DUO:0000025"]', "say when use ends", 1),
        (
            '[dataset.heart-a]\nuse = "DUO:0000011"\nmodifiers = ["DUO:0000044"]',
            "forbids all",
            3,
        ),
        ('[dataset."a.b"]\nversion = "abc"', "version", 2),
        ("[dataset.heart-a]\nrecord_min = 3", "did you mean records_min", 2),
        ("[dataset.heart-a.budget]\nepsilon = 4.0", "privacy budgets are not in this version", 1),
    ],
)
def test_the_owner_gets_the_line_and_what_to_write_instead(text: str, says: str, line: int) -> None:
    with pytest.raises(Misconfigured) as caught:
        parse_site(text)
    message = str(caught.value)
    assert says in message and message.startswith("site.toml: ")
    assert message.endswith(f"(line {line})"), message


@pytest.mark.parametrize(
    "text",
    [
        "studies = ",
        "code = " + "[" * 5_000,
        "x = " + "9" * 10_000,
        'studies = "ask"\nstudies = "auto"',
        "a." * 5_000 + "b = 1",
        "\0",
    ],
)
def test_what_is_no_toml_is_refused_as_misconfigured(text: str) -> None:
    with pytest.raises(Misconfigured):
        parse_site(text)


def test_a_huge_policy_is_refused_before_it_is_parsed() -> None:
    assert parse_site("#" * SITE_BYTES_MAX) == SitePolicy()
    with pytest.raises(Misconfigured, match=f"at most {SITE_BYTES_MAX}"):
        parse_site("#" * (SITE_BYTES_MAX + 1))


KEYS = st.sampled_from((*SitePolicy.__struct_fields__, *DatasetPolicy.__struct_fields__, "run"))
VALUES = st.recursive(
    st.sampled_from(("1", "-1", "true", '""', '"ask"', '"DUO:0000007"', "2027-01-01", "nan")),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda each: f"[{', '.join(each)}]")
        | st.tuples(KEYS, inner).map(lambda pair: f"{{ {pair[0]} = {pair[1]} }}")
    ),
    max_leaves=4,
)
LINES = st.tuples(KEYS, VALUES).map(" = ".join) | st.sampled_from(("[dataset.a]", "[dataset]"))


@given(st.lists(LINES, max_size=5).map("\n".join) | st.text(max_size=60))
def test_any_text_is_a_policy_or_misconfigured(text: str) -> None:
    try:
        policy = parse_site(text)
    except Misconfigured:
        return
    assert isinstance(policy, SitePolicy) and policy.walls <= frozenset(WALLS)


@given(st.dates(min_value=datetime.date(1970, 1, 2)))
def test_days_begin_when_the_calendar_says(day: datetime.date) -> None:
    text = f'[dataset.heart-a]\nuse = "DUO:0000042"\nuntil = "{day.isoformat()}"'
    terms = terms_of(parse_site(text), HEART)
    midnight = datetime.datetime.combine(day, datetime.time(), tzinfo=datetime.UTC)
    assert terms is not None and terms.until_s == int(midnight.timestamp())
