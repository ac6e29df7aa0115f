"""Which sets may be summed beside those that were: one set per work, and none nearly equal.

After a burned attempt, its work may be summed again over the very same set only (R6). And without
noise, two sums whose sets differ by 1 to c+1 members give away those members
(aggregation.md 5.10). Such a set is refused, and the study waits, unless each of them consented to
being exposed or left by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from comity.commons.attempts import End, Ended
from comity.commons.state import State, Study
from comity.values import MemberId


def exposed_by(study: Study, state: State, members: frozenset[MemberId]) -> frozenset[MemberId]:
    """Whom a sum over `members` would expose beside what the study's line has summed; empty: none.

    Compared with the set of every earlier accepted or burned attempt of the study, and of the
    studies whose result it starts from. An evaluation: of all evaluations of the same model, and of
    models of the same studies.
    """
    near = study.register.plan.colluders + 1
    exposed: set[MemberId] = set()
    for past in _line(study, state):
        summed = {
            earlier
            for attempt in past.ended
            if attempt.end in (End.ACCEPTED, End.BURNED)
            for earlier in attempt.sets
        }
        for earlier in summed:
            apart = members ^ earlier
            if 1 <= len(apart) <= near:
                exposed.update(m for m in apart if not _accepts(study, past, m, members))
    return frozenset(exposed)


def left_out(study: Study) -> dict[MemberId, int]:
    """Members of a result's roster that are not in its sum, and in how many results that is so."""
    found: dict[MemberId, int] = {}
    survivors = {result.opened: result.survivors for result in study.results}
    for ended in study.ended:
        for member in ended.opened.roster:
            if ended.opened.id in survivors and member not in survivors[ended.opened.id]:
                found[member] = found.get(member, 0) + 1
    return found


def attempts_of_round(study: Study) -> tuple[Ended, ...]:
    """The ended attempts of the round that is due, oldest first."""
    number = study.round_no
    start = len(study.ended)
    while start and study.ended[start - 1].opened.round_no == number:
        start -= 1
    return study.ended[start:]


def burned_set(study: Study) -> frozenset[MemberId] | None:
    """The only set that the round that is due may still be summed over; None: any.

    It is the U of a burned attempt of this round that is not sealed (R6). Members outside it do
    not commit; they join only when the others are too few for an attempt.
    """
    for attempt in reversed(attempts_of_round(study)):
        if attempt.end is End.BURNED and attempt.sets:
            return next(iter(attempt.sets))
    return None


def _accepts(study: Study, past: Study, member: MemberId, members: frozenset[MemberId]) -> bool:
    consent = study.consents.get(member)
    if consent is not None and consent.exposed:
        return True
    return member not in members and member in study.left | past.left


def _line(study: Study, state: State) -> Iterator[Study]:
    if study.register.plan.evaluates is not None:
        yield from _evaluations(study, state)
        return
    # The study, then each study that has a result with the model an earlier one starts from.
    waiting, known = [study], {study.id}
    while waiting:
        current = waiting.pop()
        yield current
        first = current.register.plan.model
        for other in state.studies.values():
            if other.id not in known and any(result.model == first for result in other.results):
                known.add(other.id)
                waiting.append(other)


def _evaluations(study: Study, state: State) -> Iterator[Study]:
    # Models of one study are nearly equal after its later rounds, and so are their metrics.
    given = study.register.plan.evaluates
    models = {given}
    for other in state.studies.values():
        made = {result.model for result in other.results} | {other.register.plan.model}
        if given in made:
            models |= made
    yield study
    for other in state.studies.values():
        if other.id != study.id and other.register.plan.evaluates in models:
            yield other
