"""Founding, being seen, and commons time; what changes who is a member is in `belonging`.

Commons time is the lower median of the largest `time` that each member present has signed, so that
no clock, host or minority moves it (architecture.md 1.6).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from comity.commons.attempts import opened_of
from comity.commons.charter import Charter, charter_fault, commons_id
from comity.commons.copies import Layered, changed
from comity.commons.epochs import founding_epoch, founding_epoch_with
from comity.commons.state import Author, Changes, KeysSeen, State
from comity.errors import Rule
from comity.log.merkle import EMPTY_ROOT
from comity.statements.entries import Entry
from comity.statements.governing import CommonsFound, KeySet
from comity.statements.keysets import key_set_digest
from comity.statements.studies import Deadlines
from comity.values import NOTHING, SEEN_INTERVAL_S, MemberId, StatementId

_SILENT: Final = Author(
    seq=-1, last=StatementId(NOTHING), head_size=0, time_s=0, void_day=0, void_count=0
)


def found(charter: Charter) -> State:
    """The state of the empty log.

    Args:
        charter: as `parse_charter` gave it, so that it is known to be without fault.
    """
    fault = charter_fault(charter)
    assert fault is None, fault
    return State(
        founding=charter,
        charter=charter,
        amendments=(),
        commons=commons_id(charter),
        size=0,
        founded_size=0,
        head=(0, EMPTY_ROOT),
        epoch=founding_epoch(charter),
        past=(),
        changes=Changes(
            applications={},
            admitted=(),
            leaving=frozenset(),
            excluded=frozenset(),
            handover=None,
            offers={},
            claims=(),
            pending=(),
            approvals={},
        ),
        authors={founder.id: _SILENT for founder in charter.founders},
        commons_time_s=0,
        datasets={},
        studies={},
        proposals=Layered(),
        passed=Layered(),
        voting=(),
        notices={},
        suspended={},
        accusations=(),
        countries={},
        sealing_keys=KeysSeen(),
        public_keys=KeysSeen(),
    )


def lower_median(times: Iterable[int]) -> int:
    """The largest time that more than half have reached (the middle one, or the lower of two)."""
    ordered = sorted(times)
    return ordered[(len(ordered) - 1) // 2]


def with_clock(state: State, entry: Entry) -> State:
    """The state in which the entry's author has said one thing more, at its `time`.

    Moves the author's chain and clock and commons time, which never go back. Commons time can
    only move when the author's clock passes it, so the median is taken only then.
    """
    said = entry.statement
    before = state.authors[said.author]
    author = changed(
        before,
        seq=said.seq,
        last=said.id,
        head_size=said.head_size,
        time_s=max(before.time_s, said.time_s),
    )
    authors = {**state.authors, said.author: author}
    now_s = state.commons_time_s
    if before.time_s <= now_s < author.time_s:
        now_s = later_time_s(state, authors)
    return changed(
        state,
        size=entry.index + 1,
        head=(said.head_size, said.head_root),
        authors=authors,
        commons_time_s=now_s,
    )


def later_time_s(state: State, authors: Mapping[MemberId, Author]) -> int:
    """Commons time by the clocks of these authors that are present; it never goes back."""
    times = [authors[member].time_s for member in state.present]
    return max(state.commons_time_s, lower_median(times) if times else 0)


def founder_fault(state: State, author: MemberId, key_set: KeySet) -> Rule | None:
    """Why this key set cannot enter for this founder; None when it can, or has already.

    It must be the one whose digest the charter lists for this author, and none of its keys may be
    another member's: a key stands in one role of one member.
    """
    listed = next((f.keys for f in state.founding.founders if f.id == author), None)
    if listed != key_set_digest(key_set) or key_set.member != author:
        return Rule.KEYS_NOT_IN_CHARTER
    mine = set(public_keys_of(key_set))
    for member, other in state.keys.items():
        if member != author and not mine.isdisjoint(public_keys_of(other)):
            return Rule.KEY_USED
    return None


def entered(state: State, author: MemberId, key_set: KeySet) -> State:
    """The state with the key set of one founder more; it is one without `founder_fault`."""
    return replace(
        state,
        epoch=founding_epoch_with(state, author, key_set),
        public_keys=state.public_keys.adding(*public_keys_of(key_set)),
    )


def enter(state: State, entry: Entry, body: CommonsFound) -> State | Rule:
    """commons.found: a founder enters; with the last one the commons is founded."""
    author = entry.statement.author
    fault = founder_fault(state, author, body.key_set)
    if fault is not None:
        return fault
    if author in state.keys:
        return Rule.SAID_BEFORE
    state = entered(state, author, body.key_set)
    whole = len(state.keys) == len(state.members)
    return replace(state, founded_size=entry.index + 1 if whole else 0)


def seen(before: State, author: MemberId, time_s: int) -> Rule | None:
    """Whether `seen` says something: an hour has passed, or a deadline that something waits for.

    Args:
        before: the state before the statement moved any clock.
    """
    last_s = before.authors[author].time_s
    if time_s - last_s >= SEEN_INTERVAL_S:
        return None
    if any(last_s < deadline_s <= time_s for deadline_s in _deadlines(before, author)):
        return None
    return Rule.TOO_SOON


def _deadlines(state: State, author: MemberId) -> Iterable[int]:
    """When open votes close, pauses end, and phases of live attempts with the author in them."""
    for proposal in state.voting:
        yield state.proposals[proposal].closes_s
    for study in state.studies.values():
        yield from (pause.until_s for pause in study.pauses.values())
        if study.current is None:
            continue
        opened = opened_of(study.current)
        if author in opened.roster:
            for seconds in all_deadlines(opened.deadlines):
                yield opened.time_s + seconds


def all_deadlines(deadlines: Deadlines) -> tuple[int, ...]:
    """The eight, in the order of the phases; seconds after the `time` of round.open."""
    return (
        deadlines.join_by_s,
        deadlines.ready_by_s,
        deadlines.resolve_by_s,
        deadlines.start_by_s,
        deadlines.commit_by_s,
        deadlines.confirm_by_s,
        deadlines.reveal_by_s,
        deadlines.end_by_s,
    )


def public_keys_of(key_set: KeySet) -> tuple[bytes, ...]:
    """All four, in the order of their names."""
    keys = key_set.keys
    return keys.head, keys.host, keys.model, keys.statement
