"""Find what a person names: by id, by the beginning of an id, or by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from comity.commons.state import Dataset, Proposal, State, Study
from comity.errors import Refused, Rule
from comity.values import DatasetId, MemberId

PREFIX_MIN: Final = 4
"""Hex digits that at least must be typed of an id."""


def find_study(state: State, text: str) -> Study:
    """The one study with this id, name, or beginning of an id.

    Raises:
        Refused(NO_SUCH_THING): none, or several; the message names what there is.
    """
    studies = state.studies.values()
    found = [s for s in studies if s.id == text] or [s for s in studies if s.register.name == text]
    found = found or [s for s in studies if _begins(s.id, text)]
    if len(found) == 1:
        return found[0]
    names = (f"{study.register.name} ({study.id[:8]})" for study in studies)
    raise _no_such("study", text, len(found), names)


def find_proposal(state: State, text: str) -> Proposal:
    """The one proposal with this id or beginning of an id.

    Raises:
        Refused(NO_SUCH_THING): none, or several; the message names what there is.
    """
    found = [p for p in state.proposals.values() if _begins(p.id, text)]
    if len(found) == 1:
        return found[0]
    raise _no_such("proposal", text, len(found), (key[:8] for key in state.proposals))


def own_dataset(state: State, me: MemberId, dataset: str | None) -> Dataset:
    """A declared data set of this site; it may be left unnamed where there is one only.

    Raises:
        Refused(NO_SUCH_THING): none, or one must be named.
    """
    mine = {known.id: known for known in state.datasets.values() if known.owner == me}
    if dataset is None and len(mine) == 1:
        return next(iter(mine.values()))
    if dataset is None:
        raise Refused(
            Rule.NO_SUCH_THING,
            f"this site has {len(mine)} declared data sets, so say which one with --dataset"
            if mine
            else "this site has declared no data set: run `comity data add` first",
        )
    if dataset not in mine:
        raise Refused(
            Rule.NO_SUCH_THING,
            f"this site has declared no data set {dataset[:64]!r}: run `comity data add` first",
        )
    return mine[DatasetId(dataset)]


def _begins(whole: str, text: str) -> bool:
    return len(text) >= PREFIX_MIN and whole.startswith(text)


def _no_such(what: str, text: str, count: int, names: Iterable[str]) -> Refused:
    came = f"{count} of them have" if count else "there is none of"
    there = ", ".join(names) or "none yet"
    return Refused(
        Rule.NO_SUCH_THING,
        f"expected the name or id of one {what}; {came} {text[:64]!r}; this commons has: {there}",
    )
