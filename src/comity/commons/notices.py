"""Notice, reasons and an answer, before anybody votes on excluding or suspending a member (F5).

A notice serves one motion, within `NOTICE_OPEN_S`; its member may answer as long as it stands.
Source: governance-benefit-safety-ui.md A3, A5.
"""

from __future__ import annotations

from dataclasses import replace

from comity.commons.proposals import Notice
from comity.commons.state import State
from comity.errors import Rule
from comity.statements.entries import Entry
from comity.statements.governing import NoticeGive, NoticeReply
from comity.values import NOTICE_OPEN_S, NOTICES_OPEN_PER_MEMBER_MAX, MemberId, StatementId


def give(state: State, entry: Entry, body: NoticeGive) -> State | Rule:
    """notice.give: a member is told why; nothing is decided yet."""
    author = entry.statement.author
    if body.member not in state.present:
        return Rule.NO_SUCH_THING
    if body.member == author:
        return Rule.WRONG_PARTY
    if not body.reason.strip():
        return Rule.NO_REASON
    since_s = state.commons_time_s - NOTICE_OPEN_S
    standing = {each: n for each, n in state.notices.items() if n.time_s > since_s}
    mine = sum(notice.author == author for notice in standing.values())
    if mine >= NOTICES_OPEN_PER_MEMBER_MAX:
        return Rule.TOO_MANY
    notice = Notice(
        id=entry.statement.id,
        author=author,
        member=body.member,
        time_s=state.commons_time_s,
        reply=None,
        used=False,
    )
    return replace(state, notices={**standing, notice.id: notice})


def reply(state: State, entry: Entry, body: NoticeReply) -> State | Rule:
    """notice.reply: what its member says to a notice; the newest counts."""
    notice = state.notices.get(body.notice)
    if notice is None:
        return Rule.NO_SUCH_THING
    if notice.member != entry.statement.author:
        return Rule.WRONG_PARTY
    if not body.reason.strip():
        return Rule.NO_REASON
    return with_notice(state, replace(notice, reply=entry.statement.id))


def notice_rule(state: State, named: StatementId, member: MemberId, notice_s: int) -> Rule | None:
    """Why a motion about this member may not rest on that notice; None when it may.

    Args:
        notice_s: how old the notice must be, in seconds of commons time.
    """
    notice = state.notices.get(named)
    if notice is None or notice.member != member:
        return Rule.F5_NO_NOTICE
    age_s = state.commons_time_s - notice.time_s
    if notice.used or age_s >= NOTICE_OPEN_S:
        return Rule.F5_NO_NOTICE
    return Rule.F5_NOTICE_TOO_YOUNG if age_s < notice_s else None


def with_notice(state: State, notice: Notice) -> State:
    """The state in which this notice stands as it is here."""
    return replace(state, notices={**state.notices, notice.id: notice})
