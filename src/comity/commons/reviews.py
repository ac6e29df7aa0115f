"""Reviews of study files, and pauses: what keeps a registered study from running, and for how long.

A review is of the exact bytes of a file, named by their hash: a changed byte is a new file. How
many reviewers, of how many organisations, a study needs is the charter's to say; the author's own
organisation never counts. Functions take the state in which the author's clock has moved, and
return the next state or the rule that makes the statement void. Source: governance A4.2, A7.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from comity.commons.charter import Charter
from comity.commons.holds import Pause, Review
from comity.commons.state import State, Study
from comity.errors import Rule
from comity.statements.entries import Entry
from comity.statements.studies import CodeReview, StudyPause, StudyResume
from comity.values import DAY_S, MemberId

PAUSE_S: Final = 72 * 3_600
PAUSE_AGAIN_S: Final = 30 * DAY_S
"""How long after one pause of a study the same member may pause it again."""


def organisation(charter: Charter, member: MemberId) -> str:
    """Whose institution a member is: its affiliation, or itself when it states none."""
    for founder in charter.founders:
        if founder.id == member and founder.affiliation:
            return f"affiliation:{founder.affiliation}"
    return f"member:{member}"


def approving(state: State, study: Study) -> tuple[MemberId, ...]:
    """Members whose review of the study's file counts: approving, and not of the author's house."""
    home = organisation(state.charter, study.author)
    said = state.reviews.get(study.register.plan.code, {})
    return tuple(
        sorted(
            member
            for member, review in said.items()
            if review.approves and organisation(state.charter, member) != home
        )
    )


def reviews_missing(state: State, study: Study) -> tuple[int, int]:
    """(reviewers, organisations) that the study's file still lacks under the charter."""
    bounds, approved = state.charter.studies, approving(state, study)
    organisations = {organisation(state.charter, member) for member in approved}
    return (
        max(0, bounds.reviewers - len(approved)),
        max(0, bounds.review_orgs - len(organisations)),
    )


def is_reviewed(state: State, study: Study) -> bool:
    """Whether the study's file has the reviews that the charter demands; none by default."""
    return reviews_missing(state, study) == (0, 0)


def may_review(state: State, study: Study, member: MemberId) -> bool:
    """Whether a review by this member would count and has not been given."""
    said = state.reviews.get(study.register.plan.code, {})
    home = organisation(state.charter, study.author)
    return member not in said and organisation(state.charter, member) != home


def pauses(state: State, study: Study) -> dict[MemberId, Pause]:
    """The pauses in force now, by member."""
    return {
        member: pause
        for member, pause in study.pauses.items()
        if state.commons_time_s < pause.until_s
    }


def say(state: State, entry: Entry, body: CodeReview | StudyPause | StudyResume) -> State | Rule:
    """What a statement about a study file, or about a study's pause, changes."""
    match body:
        case CodeReview():
            return review(state, entry, body)
        case StudyPause():
            return pause(state, entry, body)
        case StudyResume():
            return resume(state, entry, body)


def review(state: State, entry: Entry, body: CodeReview) -> State | Rule:
    """code.review: of the file of a registered study; replaces the author's earlier one."""
    member = entry.statement.author
    of_code = [s for s in state.studies.values() if s.register.plan.code == body.code]
    if not of_code:
        return Rule.NO_SUCH_THING
    home = organisation(state.charter, member)
    if all(organisation(state.charter, study.author) == home for study in of_code):
        return Rule.WRONG_PARTY
    if not body.checklist.complete and not body.reason.strip():
        return Rule.NO_REASON
    said = state.reviews.get(body.code, {})
    made = Review(body.checklist.complete, entry.index, body.reason)
    before = said.get(member)
    if before is not None and (before.approves, before.reason) == (made.approves, made.reason):
        return Rule.SAID_BEFORE
    # Studies wait for a final head above what decides whether they may run.
    touched = {
        study.id: replace(study, roster_index=entry.index)
        for study in of_code
        if not study.finished
    }
    return replace(
        state,
        reviews={**state.reviews, body.code: {**said, member: made}},
        studies={**state.studies, **touched},
    )


def pause(state: State, entry: Entry, body: StudyPause) -> State | Rule:
    """study.pause: by any member, once in 30 days of commons time; it ends by itself."""
    member, study = entry.statement.author, state.studies.get(body.study)
    if study is None or study.finished:
        return Rule.NO_SUCH_THING
    if not body.reason.strip():
        return Rule.NO_REASON
    now_s, before = state.commons_time_s, study.pauses.get(member)
    if before is not None and now_s < before.said_s + PAUSE_AGAIN_S:
        return Rule.TOO_SOON
    made = Pause(entry.index, now_s, now_s + PAUSE_S, body.reason)
    return _with(state, replace(study, pauses={**study.pauses, member: made}))


def resume(state: State, entry: Entry, body: StudyResume) -> State | Rule:
    """study.resume: whoever paused ends its pause; it may not pause again sooner for that."""
    member, study = entry.statement.author, state.studies.get(body.study)
    if study is None or study.finished:
        return Rule.NO_SUCH_THING
    mine = pauses(state, study).get(member)
    if mine is None:
        return Rule.WRONG_PARTY
    ended = replace(mine, until_s=state.commons_time_s)
    return _with(state, replace(study, pauses={**study.pauses, member: ended}))


def _with(state: State, study: Study) -> State:
    return replace(state, studies={**state.studies, study.id: study})
