"""DUO terms against what a study declares: every pair of the table, and what must hold of all."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.commons.use import (
    MODIFIERS,
    PERMISSIONS,
    DatasetTerms,
    Fit,
    fit_of,
    match_terms,
)
from comity.statements.studies import UseTerms, use_fault
from tests.worlds import FIRST_S, digest

NRES, GRU, HMB, DS, POA = "0000004", "0000042", "0000006", "0000007", "0000011"
HEART, LUNG = "MONDO:0005267", "MONDO:0005275"
YES, NO, ASK = Fit.MATCH, Fit.MISMATCH, Fit.ASK


def use(purpose: str | None, **said: object) -> UseTerms | None:
    if purpose is None:
        return None
    diseases = (HEART,) if purpose == "disease" else ()
    fields = {"purpose": purpose, "diseases": diseases, **said}
    return UseTerms(**fields)  # type: ignore[arg-type]  # any terms in form


def fit(permission: str, study: UseTerms | None, *modifiers: str, until_s: int = 0) -> Fit:
    diseases = frozenset((HEART,)) if permission == DS else frozenset[str]()
    terms = DatasetTerms(
        f"DUO:{permission}", tuple(f"DUO:{each}" for each in modifiers), diseases, until_s
    )
    return fit_of(match_terms(terms, study, FIRST_S))


PURPOSES = ("general", "health", "disease", "ancestry", None)
TABLE = {
    NRES: (YES, YES, YES, YES, YES),
    GRU: (YES, YES, YES, YES, ASK),
    HMB: (NO, YES, YES, NO, ASK),
    DS: (NO, NO, YES, NO, ASK),
    POA: (NO, NO, NO, YES, ASK),
}


def test_every_permission_against_every_purpose() -> None:
    assert {f"DUO:{each}" for each in TABLE} == set(PERMISSIONS)
    for permission, row in TABLE.items():
        assert tuple(fit(permission, use(purpose)) for purpose in PURPOSES) == row, permission


@pytest.mark.parametrize(
    ("listed", "declared", "expected"),
    [
        ({HEART}, (HEART,), YES),
        ({HEART, LUNG}, (HEART,), YES),
        ({HEART, LUNG}, (HEART, LUNG), YES),
        ({HEART}, (HEART, LUNG), ASK),
        ({HEART}, (LUNG,), ASK),
    ],
)
def test_a_disease_that_is_not_listed_may_be_a_narrower_one_so_a_person_is_asked(
    listed: set[str], declared: tuple[str, ...], expected: Fit
) -> None:
    terms = DatasetTerms(f"DUO:{DS}", (), frozenset(listed))
    study = UseTerms(purpose="disease", diseases=declared)
    assert fit_of(match_terms(terms, study, FIRST_S)) is expected


@pytest.mark.parametrize(
    ("modifier", "study", "expected"),
    [
        ("0000021", use("general", ethics=digest("approval")), YES),
        ("0000021", use("general"), ASK),
        ("0000046", use("general", commercial=False), YES),
        ("0000046", use("general", commercial=True), NO),
        ("0000046", use("general"), ASK),
        ("0000045", use("general", non_profit=True), YES),
        ("0000045", use("general", non_profit=False), NO),
        ("0000045", use("general"), ASK),
        ("0000018", use("general", commercial=False, non_profit=True), YES),
        ("0000018", use("general", commercial=True, non_profit=True), NO),
        ("0000018", use("general", commercial=True), NO),
        ("0000018", use("general", non_profit=False), NO),
        ("0000018", use("general", commercial=False), ASK),
        ("0000018", use("general"), ASK),
        ("0000015", use("general", methods=False), YES),
        ("0000015", use("general", methods=True), NO),
        ("0000015", use("general"), ASK),
        ("0000044", use("general", ancestry=False), YES),
        ("0000044", use("general", ancestry=True), NO),
        ("0000044", use("ancestry"), NO),
        ("0000044", use("general"), ASK),
    ],
)
def test_the_modifiers_that_have_a_rule(
    modifier: str, study: UseTerms | None, expected: Fit
) -> None:
    assert fit(GRU, study) is YES
    assert fit(GRU, study, modifier) is expected
    assert fit(NRES, None, modifier) is ASK, "nothing said is never a match"


def test_every_other_modifier_is_asked_about_whatever_is_said() -> None:
    ruled = {"IRB", "NCU", "NPU", "NPUNCU", "NMDS", "NPOA", "TS"}
    others = [term for term, (name, _) in MODIFIERS.items() if name not in ruled]
    assert len(MODIFIERS) == 18 and len(others) == 11
    everything = use(
        "health",
        commercial=False,
        non_profit=True,
        methods=False,
        ancestry=False,
        ethics=digest("approval"),
    )
    for term in others:
        assert fit(GRU, everything, term.removeprefix("DUO:")) is ASK, term


@pytest.mark.parametrize(("left_s", "expected"), [(1, YES), (0, NO), (-1, NO)])
def test_use_ends_with_the_time_limit(left_s: int, expected: Fit) -> None:
    study = use("general")
    assert fit(GRU, study, until_s=FIRST_S + left_s) is expected
    assert fit(GRU, study, "0000025", until_s=FIRST_S + left_s) is expected


@pytest.mark.parametrize("permission", [HMB, DS])
def test_research_on_origins_beside_another_purpose_is_seen(permission: str) -> None:
    assert fit(permission, use("disease")) is YES
    assert fit(permission, use("disease", ancestry=True)) is NO
    assert fit(GRU, use("disease", ancestry=True)) is YES


@pytest.mark.parametrize(
    ("study", "names"),
    [
        (UseTerms(purpose="disease"), "diseases"),
        (UseTerms(purpose="health", diseases=(HEART,)), "diseases"),
        (UseTerms(purpose="disease", diseases=(LUNG, HEART)), "alphabetical"),
        (UseTerms(purpose="disease", diseases=(HEART, HEART)), "each once"),
        (UseTerms(purpose="ancestry", ancestry=False), "ancestry"),
    ],
)
def test_terms_that_contradict_themselves_are_refused(study: UseTerms, names: str) -> None:
    fault = use_fault(study)
    assert fault is not None and names in fault
    assert use_fault(UseTerms(purpose="disease", diseases=(HEART, LUNG))) is None


# -- laws ------------------------------------------------------------------------------------------

SAID = st.sampled_from((None, True, False))
STUDIES = st.none() | st.builds(
    UseTerms,
    purpose=st.sampled_from(("general", "health", "disease", "ancestry")),
    ancestry=SAID,
    commercial=SAID,
    methods=SAID,
    non_profit=SAID,
    ethics=st.sampled_from((None, digest("approval"))),
    diseases=st.sampled_from(((), (HEART,), (LUNG,), (HEART, LUNG))),
)
DATASETS = st.builds(
    DatasetTerms,
    permission=st.sampled_from(sorted(PERMISSIONS)),
    modifiers=st.lists(st.sampled_from(sorted(MODIFIERS)), unique=True, max_size=6).map(tuple),
    diseases=st.sampled_from((frozenset((HEART,)), frozenset((HEART, LUNG)))),
    until_s=st.sampled_from((0, FIRST_S, FIRST_S + 1)),
)
STRICTER = {NRES: (GRU, HMB, DS, POA), GRU: (HMB, DS, POA), HMB: (DS,), DS: (), POA: ()}


def whole(terms: DatasetTerms, study: UseTerms | None) -> Fit:
    return fit_of(match_terms(terms, study, FIRST_S))


@given(DATASETS, STUDIES, st.sampled_from(sorted(MODIFIERS)))
def test_another_modifier_never_fits_more(
    terms: DatasetTerms, study: UseTerms | None, modifier: str
) -> None:
    more = (*(each for each in terms.modifiers if each != modifier), modifier)
    narrow = DatasetTerms(terms.permission, more, terms.diseases, terms.until_s)
    assert whole(narrow, study) <= whole(terms, study)


@given(DATASETS, STUDIES)
def test_a_stricter_permission_or_an_earlier_end_or_fewer_diseases_never_fit_more(
    terms: DatasetTerms, study: UseTerms | None
) -> None:
    for below in STRICTER[terms.permission.removeprefix("DUO:")]:
        narrow = DatasetTerms(f"DUO:{below}", terms.modifiers, terms.diseases, terms.until_s)
        assert whole(narrow, study) <= whole(terms, study)
    ended = DatasetTerms(terms.permission, terms.modifiers, terms.diseases, FIRST_S)
    assert whole(ended, study) is Fit.MISMATCH
    fewer = DatasetTerms(terms.permission, terms.modifiers, frozenset((LUNG,)), terms.until_s)
    both = DatasetTerms(terms.permission, terms.modifiers, frozenset((HEART, LUNG)), terms.until_s)
    assert whole(fewer, study) <= whole(both, study)


@given(DATASETS, STUDIES)
def test_saying_less_never_turns_a_mismatch_or_a_question_into_a_match(
    terms: DatasetTerms, study: UseTerms | None
) -> None:
    """Silence is asked about; it may hide a mismatch from the rules, never make a match."""
    silent = whole(terms, None)
    assert silent is not Fit.MATCH or whole(terms, study) is not Fit.ASK
    if silent is Fit.MATCH:
        assert terms.permission == f"DUO:{NRES}"


def test_the_answer_does_not_hang_on_the_order_of_modifiers() -> None:
    named = ("DUO:0000046", "DUO:0000021", "DUO:0000044")
    study = use("health", commercial=False, ancestry=False)
    fits = {
        whole(DatasetTerms(f"DUO:{HMB}", order), study)
        for order in product(named, repeat=3)
        if len(set(order)) == 3
    }
    assert fits == {Fit.ASK}
