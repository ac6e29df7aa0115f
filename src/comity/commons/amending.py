"""Amendments: what of a charter may change, and what two amendments make of it together.

Founders, first host, name, origin, protocol and quorum say which commons this is and let outsiders
check its epochs; no vote changes them. Everything else is a *term*. An amendment holds all terms
as they shall be, and the digest of the charter it was written against. If others came into force
meanwhile it is put on top of them as long as no key was changed by both; else it is stale.
Source: governance-benefit-safety-ui.md A4.1 (13, 14), A5 (F13).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias, final

import msgspec
from msgspec import Struct

from comity.commons.charter import Charter, StudyBounds, charter_bytes, charter_fault
from comity.commons.floor import floor_fault
from comity.commons.rulebook import Rulebook, rules_of
from comity.errors import Malformed, Rule
from comity.statements.fields import Count, Duration
from comity.statements.governing import AmendMotion, Criterion
from comity.statements.wire import canonical, read_canonical
from comity.values import JSON_STRING_BYTES_MAX, Digest, MemberId, sha256


@final
class Terms(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The keys of a charter that an amendment may change, as they stand there."""

    release: Literal["rules", "simple-majority"]
    studies: StudyBounds
    void_entries_per_day_max: Count
    vote_open_s: Duration
    rulebook: Rulebook | None = None
    criteria: tuple[Criterion, ...] = ()


TERMS: Final = Terms.__struct_fields__
"""Their names, in the charter too."""
_Leaves: TypeAlias = dict[tuple[str, ...], Any]
_ABSENT: Final = object()


def terms_of(charter: Charter) -> Terms:
    """What of this charter may be amended."""
    return Terms(**{key: getattr(charter, key) for key in TERMS})


def with_terms(charter: Charter, terms: Terms) -> Charter:
    """The same commons under these terms."""
    return msgspec.structs.replace(charter, **{key: getattr(terms, key) for key in TERMS})


def charter_digest(charter: Charter) -> Digest:
    """SHA-256 of the canonical form: what an amendment names as its base."""
    return sha256(charter_bytes(charter))


def amendment(before: Charter, after: Charter) -> AmendMotion:
    """The motion that lets `after` follow `before`; they differ in terms alone."""
    terms = canonical(terms_of(after)).decode()
    return AmendMotion(base=charter_digest(before), terms=terms)


def amended(
    charter: Charter, motion: AmendMotion, voters: Mapping[MemberId, str]
) -> Charter | Rule:
    """The charter that the motion asks for, or why it may not be voted on. The floor comes first.

    Args:
        charter: in force. voters: who votes now, and the group of each.
    """
    try:
        terms = read_canonical(motion.terms.encode(), Terms, JSON_STRING_BYTES_MAX)
    except Malformed:
        return Rule.CHARTER_UNFIT
    wanted = with_terms(charter, terms)
    fault = _fault(wanted, voters)
    if fault is not None:
        return fault
    if motion.base != charter_digest(charter):
        return Rule.BASE_CHANGED
    return wanted if wanted != charter else Rule.SAID_BEFORE


def enacted(
    base: Charter, wanted: Charter, now: Charter, voters: Mapping[MemberId, str]
) -> Charter | None:
    """The charter in force once `wanted`, written against `base`, takes effect; None: stale.

    Args:
        now: the charter in force before it. voters: who votes now, and the group of each.
    """
    if now != base:
        old, mine, theirs = (_leaves(terms_of(each)) for each in (base, wanted, now))
        changed = _changed(old, mine)
        if not changed.isdisjoint(_changed(old, theirs)):
            return None
        merged = {path: value for path, value in theirs.items() if path not in changed}
        merged |= {path: mine[path] for path in changed if path in mine}
        try:
            together = with_terms(now, msgspec.convert(_tree(merged), Terms))
        except (msgspec.ValidationError, TypeError):
            return None
        # Another amendment rule than now must be the one that this vote judged against that of now.
        judged = not changes_amending(base, now) and not changes_amending(wanted, together)
        if changes_amending(now, together) and not judged:
            return None
        wanted = together
    return wanted if _fault(wanted, voters) is None else None


def changes_amending(before: Charter, after: Charter) -> bool:
    """Whether the rule by which charters are amended changes: both must be met (A4.1, 14)."""
    return _amending(before) != _amending(after)


def _amending(charter: Charter) -> object:
    book = charter.rulebook
    if book is None:
        return None
    rules = [book.rules[name] for name in rules_of(book, "amend")]
    return book.decisions.get("amend"), rules, book.groups


def _fault(charter: Charter, voters: Mapping[MemberId, str]) -> Rule | None:
    book = charter.rulebook
    if book is not None and set(book.decisions.values()) <= book.rules.keys():
        below = floor_fault(book, charter.studies.survivors_min)
        if below is not None:
            return below.rule
    return None if charter_fault(charter, voters) is None else Rule.CHARTER_UNFIT


def _changed(before: _Leaves, after: _Leaves) -> set[tuple[str, ...]]:
    paths = before.keys() | after.keys()
    return {path for path in paths if before.get(path, _ABSENT) != after.get(path, _ABSENT)}


def _leaves(terms: Terms) -> _Leaves:
    found: _Leaves = {}

    def walk(value: Any, path: tuple[str, ...]) -> None:
        if isinstance(value, dict):
            for key, inside in value.items():
                walk(inside, (*path, key))
        else:
            found[path] = value

    walk(msgspec.to_builtins(terms), ())
    return found


def _tree(leaves: _Leaves) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        place = tree
        for step in path[:-1]:
            place = place.setdefault(step, {})
        place[path[-1]] = value
    return tree
