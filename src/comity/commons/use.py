"""Does what a study is for fit what a data set may be used for? Decided here, and nowhere else.

The words are those of the Data Use Ontology (DUO): one permission and any number of modifiers for
each data set, against the terms that a study declares. Three answers: it fits, it does not, or a
person must say. Whatever this page has no rule for is asked; nothing is guessed. A stricter data
set never fits more studies: `tests/commons/test_use.py`. Source: governance-benefit-safety-ui.md
A7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, final

from comity.statements.studies import UseTerms


class Fit(IntEnum):
    """How a study fits; the smallest answer of all terms is that of the data set."""

    MISMATCH = 0
    ASK = 1
    MATCH = 2


PERMISSIONS: Final[Mapping[str, tuple[str, str]]] = {
    "DUO:0000004": ("NRES", "no restriction"),
    "DUO:0000042": ("GRU", "general research"),
    "DUO:0000006": ("HMB", "health, medical or biomedical research"),
    "DUO:0000007": ("DS", "research on the diseases listed"),
    "DUO:0000011": ("POA", "research on population origins or ancestry only"),
}
"""Permissions: identifier -> (short name, meaning)."""

MODIFIERS: Final[Mapping[str, tuple[str, str]]] = {
    "DUO:0000012": ("RS", "research-specific restrictions"),
    "DUO:0000015": ("NMDS", "no development of methods"),
    "DUO:0000016": ("GSO", "genetic studies only"),
    "DUO:0000018": ("NPUNCU", "not-for-profit institutions, non-commercial use"),
    "DUO:0000019": ("PUB", "publication required"),
    "DUO:0000020": ("COL", "collaboration required"),
    "DUO:0000021": ("IRB", "approval of an ethics board required"),
    "DUO:0000022": ("GS", "geographical restriction"),
    "DUO:0000024": ("MOR", "publication not before a date"),
    "DUO:0000025": ("TS", "time limit"),
    "DUO:0000026": ("US", "named persons only"),
    "DUO:0000027": ("PS", "named projects only"),
    "DUO:0000028": ("IS", "named institutions only"),
    "DUO:0000029": ("RTN", "results are returned"),
    "DUO:0000043": ("CC", "clinical care"),
    "DUO:0000044": ("NPOA", "no research on population origins or ancestry"),
    "DUO:0000045": ("NPU", "not-for-profit institutions only"),
    "DUO:0000046": ("NCU", "non-commercial use only"),
}
"""Modifiers: identifier -> (short name, meaning). Those without a rule below are asked about."""


@final
@dataclass(frozen=True, slots=True)
class DatasetTerms:
    """What one data set may be used for.

    permission: of `PERMISSIONS`, by identifier. modifiers: of `MODIFIERS`. diseases: of DS, all
    terms that the owner takes for it, narrower ones too. until_s: POSIX seconds when all use ends;
    0: no end.
    """

    permission: str
    modifiers: tuple[str, ...] = ()
    diseases: frozenset[str] = frozenset()
    until_s: int = 0


@final
@dataclass(frozen=True, slots=True)
class TermFit:
    """How a study fits one term, and why, in plain words."""

    term: str
    fit: Fit
    why: str


def match_terms(terms: DatasetTerms, use: UseTerms | None, now_s: int) -> tuple[TermFit, ...]:
    """How a study fits each term of a data set: the permission first, then modifiers, then time.

    Args:
        use: what the study declares; None when it declares nothing. now_s: for the time limit.
    """
    found = [_permission(terms, use)]
    found += [_modifier(name, use) for name in terms.modifiers if name != TIME_LIMIT]
    if terms.until_s:
        left = now_s < terms.until_s
        why = "the time limit of the data set has " + ("not passed" if left else "passed")
        found.append(TermFit(TIME_LIMIT, Fit.MATCH if left else Fit.MISMATCH, why))
    return tuple(found)


def fit_of(found: tuple[TermFit, ...]) -> Fit:
    """The answer for the whole data set: the smallest of all; a match when no terms are stated."""
    return min((each.fit for each in found), default=Fit.MATCH)


TIME_LIMIT: Final = "DUO:0000025"

# What a study of each purpose is to a permission that is no list of diseases. Broader than what is
# permitted is a mismatch: some of what the study is for is not.
_PURPOSES: Final[Mapping[str, frozenset[str]]] = {
    "GRU": frozenset(("general", "health", "disease", "ancestry")),
    "HMB": frozenset(("health", "disease")),
    "DS": frozenset(("disease",)),
    "POA": frozenset(("ancestry",)),
}


def _permission(terms: DatasetTerms, use: UseTerms | None) -> TermFit:
    name, meaning = PERMISSIONS[terms.permission]
    if name == "NRES":
        return TermFit(terms.permission, Fit.MATCH, "the data set has no restriction")
    if use is None:
        why = f"the data set is for {meaning}, and the study does not say what it is for"
        return TermFit(terms.permission, Fit.ASK, why)
    said = f"the data set is for {meaning}, and the study's purpose is {use.purpose!r}"
    if use.purpose not in _PURPOSES[name]:
        return TermFit(terms.permission, Fit.MISMATCH, said)
    if name in ("HMB", "DS") and use.ancestry:
        why = f"the data set is for {meaning}, and the study is on population origins as well"
        return TermFit(terms.permission, Fit.MISMATCH, why)
    if name == "DS":
        more = sorted(set(use.diseases) - terms.diseases)
        if more:
            why = f"the owner lists other diseases than {', '.join(more)}, and may count them in"
            return TermFit(terms.permission, Fit.ASK, why)
        return TermFit(terms.permission, Fit.MATCH, "all diseases of the study are listed")
    return TermFit(terms.permission, Fit.MATCH, said)


def _modifier(term: str, use: UseTerms | None) -> TermFit:
    name, meaning = MODIFIERS[term]
    match name:
        case "IRB":
            if use is not None and use.ethics is not None:
                why = f"the study names the approval {use.ethics[:12]}"
                return TermFit(term, Fit.MATCH, why)
            return TermFit(term, Fit.ASK, f"{meaning}, and the study names none")
        case "NCU":
            return _flag(term, _not(use and use.commercial), "non-commercial")
        case "NPU":
            return _flag(term, use.non_profit if use else None, "among not-for-profit institutions")
        case "NPUNCU":
            parts = (_not(use and use.commercial), use.non_profit if use else None)
            both = False if False in parts else None if None in parts else True
            return _flag(term, both, "non-commercial among not-for-profit institutions")
        case "NMDS":
            return _flag(term, _not(use and use.methods), "no development of methods")
        case "NPOA":
            origins = True if use and use.purpose == "ancestry" else use and use.ancestry
            return _flag(term, _not(origins), "not on population origins")
        case _:
            return TermFit(term, Fit.ASK, f"{meaning}: only a person can tell")


def _not(said: bool | None) -> bool | None:
    return None if said is None else not said


def _flag(term: str, holds: bool | None, what: str) -> TermFit:
    if holds is None:
        return TermFit(term, Fit.ASK, f"{what} is required, and the study does not say")
    if holds:
        return TermFit(term, Fit.MATCH, f"the study says that it is {what}")
    return TermFit(term, Fit.MISMATCH, f"{what} is required, and the study says that it is not")
