"""What may be moved, and what a yes does: one case for each motion.

Decided here: the floor under exclusion and suspension, before any rule of the charter; who is out
of a vote because it is about them; and what the state is once a decision is in effect. Admission
and a change of host take effect with the next epoch (`epochs`), an exclusion too, but its member is
off every later roster at once. Source: governance-benefit-safety-ui.md A4.1, A5, log 3.4.
"""

from __future__ import annotations

from dataclasses import replace

from comity.commons import studies
from comity.commons.amending import amended, changes_amending, charter_digest, enacted
from comity.commons.ballots import rule_text, voting_rule
from comity.commons.charter import Charter, electorate_of, newcomer
from comity.commons.epochs import key_set_name, with_pending
from comity.commons.notices import notice_rule, with_notice
from comity.commons.proposals import Amendment, Proposal, Suspension
from comity.commons.state import State
from comity.errors import Rule
from comity.statements.governing import (
    AdmitMotion,
    AmendMotion,
    ExcludeMotion,
    HostMotion,
    Motion,
    ReleaseMotion,
    SuspendMotion,
)
from comity.values import (
    APPLICATION_OPEN_S,
    MEMBERS_MAX,
    NOTICE_S_MIN,
    SUSPENSION_APART_S,
    UNNOTICED_S_MAX,
    MemberId,
)

REMOVABLE_MIN = 4
"""Members a commons must have before others may take one out (README.md 4.11)."""


def groups_of(state: State, charter: Charter | None = None) -> dict[MemberId, str]:
    """Who votes now, and the group of each as this charter, by default that in force, has it."""
    charter = charter or state.charter
    founders = {founder.id: founder for founder in state.founding.founders}
    present = (
        founders.get(member) or newcomer(member, state.countries.get(member, ""))
        for member in state.present
    )
    return electorate_of(charter, present)


def accused(motion: Motion) -> MemberId | None:
    """Whom a motion is directed against, who has no vote on it (F5)."""
    return motion.member if isinstance(motion, ExcludeMotion | SuspendMotion) else None


def motion_fault(state: State, motion: Motion, rule: str, reason: str) -> Rule | None:
    """Why this may not be put to the vote now; None when it may.

    Args:
        rule: that the charter names for it.
    """
    match motion:
        case ReleaseMotion():
            if motion.study not in state.studies:
                return Rule.NO_SUCH_THING
            return None if _on_newest_result(state, motion) else Rule.BASE_CHANGED
        case AdmitMotion():
            return _admission_fault(state, motion)
        case HostMotion():
            if motion.member == state.host:
                return Rule.SAID_BEFORE
            return None if motion.member in state.changes.offers else Rule.NO_SUCH_THING
        case AmendMotion():
            wanted = amended(state.charter, motion, groups_of(state))
            return wanted if isinstance(wanted, Rule) else None
        case ExcludeMotion():
            notice_s = max(rule_text(state.charter, rule).notice_s, NOTICE_S_MIN)
            return _removal_fault(state, motion.member) or notice_rule(
                state, motion.notice, motion.member, notice_s
            )
        case SuspendMotion():
            return _suspension_fault(state, motion, rule, reason)


def charter_moved(state: State, motion: Motion) -> Charter | None:
    """The charter that an amendment without fault asks for; None of any other motion."""
    if not isinstance(motion, AmendMotion):
        return None
    wanted = amended(state.charter, motion, groups_of(state))
    assert not isinstance(wanted, Rule), "asked after motion_fault"
    return wanted


def new_rule(before: Charter, becomes: Charter | None) -> str:
    """The rule of an amended charter that must be met too, as its amendment rule changes; else "".

    Source: governance-benefit-safety-ui.md A4.1, step 14.
    """
    if becomes is None or not changes_amending(before, becomes):
        return ""
    return voting_rule(becomes, "amend") or ""


def opened(state: State, proposal: Proposal) -> State:
    """The state once this was put to the vote: a notice it rests on serves nothing else."""
    return _with_notice_used(state, proposal.motion, used=True)


def unopened(state: State, proposal: Proposal) -> State:
    """The state once this was taken back before anybody else voted: its notice may serve again.

    Else the accused, or a friend, could use up each notice in the moment it is old enough.
    """
    return _with_notice_used(state, proposal.motion, used=False)


def effect(state: State, proposal: Proposal, index: int) -> State | None:
    """The state with a decision in effect; None when what it would change is no longer there."""
    motion = proposal.motion
    match motion:
        case AdmitMotion():
            admitted = (*state.changes.admitted, motion.member)
            return with_pending(replace(state, changes=replace(state.changes, admitted=admitted)))
        case AmendMotion():
            return _amended(state, proposal, index)
        case ExcludeMotion():
            if _removal_fault(state, motion.member) is not None:
                return None
            return _excluded(state, motion.member, index)
        case SuspendMotion():
            if _removal_fault(state, motion.member) or _apart_fault(state, motion):
                return None
            until_s = state.commons_time_s + motion.seconds
            suspension = Suspension(until_s=until_s, noticed=motion.notice is not None)
            return replace(state, suspended={**state.suspended, motion.member: suspension})
        case _:
            return state


def _with_notice_used(state: State, motion: Motion, *, used: bool) -> State:
    named = motion.notice if isinstance(motion, ExcludeMotion | SuspendMotion) else None
    notice = None if named is None else state.notices.get(named)
    return state if notice is None else with_notice(state, replace(notice, used=used))


def _on_newest_result(state: State, motion: ReleaseMotion) -> bool:
    results = state.studies[motion.study].results
    if not results:
        return False
    return (results[-1].round_no, results[-1].model) == (motion.round_no, motion.model)


def _admission_fault(state: State, motion: AdmitMotion) -> Rule | None:
    application = state.changes.applications.get(motion.member)
    if application is None or key_set_name(application.key_set) != motion.keys:
        return Rule.NO_SUCH_THING
    if motion.member in state.changes.admitted or motion.member in state.authors:
        return Rule.SAID_BEFORE
    if application.time_s <= state.commons_time_s - APPLICATION_OPEN_S:
        return Rule.VOTE_CLOSED
    full = len(state.members) + len(state.changes.admitted) >= MEMBERS_MAX
    return Rule.TOO_MANY if full else None


def _removal_fault(state: State, member: MemberId) -> Rule | None:
    if member not in state.present:
        return Rule.NO_SUCH_THING
    return Rule.TOO_FEW if len(state.present) < REMOVABLE_MIN else None


def _suspension_fault(state: State, motion: SuspendMotion, rule: str, reason: str) -> Rule | None:
    fault = _removal_fault(state, motion.member)
    if fault is not None:
        return fault
    text = rule_text(state.charter, rule)
    if motion.seconds > text.expires_s:
        return Rule.F14_NO_END
    if motion.notice is None:
        if motion.seconds > UNNOTICED_S_MAX:
            return Rule.F5_NO_NOTICE
        if not reason.strip():
            return Rule.NO_REASON
    else:
        notice_s = max(text.notice_s, NOTICE_S_MIN)
        unfit = notice_rule(state, motion.notice, motion.member, notice_s)
        if unfit is not None:
            return unfit
    return _apart_fault(state, motion)


def _apart_fault(state: State, motion: SuspendMotion) -> Rule | None:
    # Short ones may not be strung together to a long one, nor long ones to one without an end.
    if state.is_suspended(motion.member):
        return Rule.SAID_BEFORE
    last = state.suspended.get(motion.member)
    if last is None or (motion.notice is not None and not last.noticed):
        return None
    apart = state.commons_time_s >= last.until_s + SUSPENSION_APART_S
    return None if apart else Rule.TOO_SOON


def _amended(state: State, proposal: Proposal, index: int) -> State | None:
    assert proposal.becomes is not None
    charter = enacted(proposal.charter, proposal.becomes, state.charter, groups_of(state))
    if charter is None:
        return None
    amendment = Amendment(proposal=proposal.id, index=index, charter=charter_digest(charter))
    return replace(state, charter=charter, amendments=(*state.amendments, amendment))


def _excluded(state: State, member: MemberId, index: int) -> State:
    changes = state.changes
    changes = replace(
        changes,
        excluded=changes.excluded | {member},
        handover=None if changes.handover == member else changes.handover,
        offers={who: where for who, where in changes.offers.items() if who != member},
    )
    # Its seat and ballots in open votes stay (A4.1, step 2): nobody wins by taking it out.
    return with_pending(studies.removed(replace(state, changes=changes), member, index))
