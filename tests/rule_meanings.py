"""What each rule means and what to do next: the words of docs/rules.md, one place for all of them.

`make docs` writes the page from here; the house test fails when a rule is missing.
"""

from __future__ import annotations

from typing import Final

from comity.errors import Rule

SECTIONS: Final[tuple[tuple[str, tuple[Rule, ...]], ...]] = (
    (
        "Not admissible: such a statement never enters the log",
        (
            Rule.UNKNOWN_AUTHOR,
            Rule.WRONG_COMMONS,
            Rule.CHAIN_BROKEN,
            Rule.HEAD_UNKNOWN,
            Rule.HELD_BACK,
        ),
    ),
    (
        "Of any statement",
        (
            Rule.NOT_FOUNDED,
            Rule.WRONG_PARTY,
            Rule.NO_SUCH_THING,
            Rule.SAID_BEFORE,
            Rule.TOO_SOON,
            Rule.TOO_MANY,
        ),
    ),
    ("Founding and data sets", (Rule.KEYS_NOT_IN_CHARTER, Rule.KEY_USED, Rule.ID_TAKEN)),
    ("Members, keys and hosts", (Rule.POSSESSION_NOT_SHOWN, Rule.NOT_PROVEN)),
    (
        "Studies and consent",
        (
            Rule.STUDY_OUT_OF_BOUNDS,
            Rule.BUDGET_WITHOUT_EVENTS,
            Rule.VERSION_NOT_DECLARED,
            Rule.NO_CONSENT,
            Rule.SEALING_KEY_INVALID,
            Rule.SEALING_KEY_USED,
            Rule.SERIAL_NOT_NEXT,
            Rule.NOT_REVIEWED,
            Rule.STUDY_PAUSED,
        ),
    ),
    (
        "Votes and releases",
        (
            Rule.BASE_CHANGED,
            Rule.VOTE_CLOSED,
            Rule.NOT_DECIDED,
            Rule.NO_REASON,
            Rule.NO_RULE,
            Rule.CHARTER_UNFIT,
            Rule.SUSPENDED,
        ),
    ),
    (
        "The floor: what no vote and no charter takes",
        (
            Rule.F4_SUM_TOO_SMALL,
            Rule.F5_NO_NOTICE,
            Rule.F5_NOTICE_TOO_YOUNG,
            Rule.F5_NOTICE_TOO_SHORT,
            Rule.F6_NO_CRITERION,
            Rule.F13_EXIT_TOO_SHORT,
            Rule.F14_NO_END,
        ),
    ),
    (
        "Rounds",
        (
            Rule.NOT_AS_DERIVED,
            Rule.ATTEMPT_NOT_ENDED,
            Rule.ROUND_NOT_OPEN,
            Rule.PHASE_CLOSED,
            Rule.PHASE_NOT_OPEN,
            Rule.TOO_FEW,
            Rule.BAD_POINT,
            Rule.SHARE_DOES_NOT_FIT,
            Rule.TOO_MANY_COMPLAINTS,
            Rule.CHECK_VALUE_MISSING,
            Rule.AFTER_ABANDON,
            Rule.BEFORE_QUORUM,
            Rule.NOT_TRUTHFUL,
        ),
    ),
    (
        "Only at a member's own node: it does not say the statement",
        (
            Rule.SITE_FORBIDS,
            Rule.USE_MISMATCH,
            Rule.CODE_NOT_ALLOWED,
            Rule.OUTSIDE_HOURS,
            Rule.WAITS_FOR_PERSON,
            Rule.SET_NEARLY_EQUAL,
            Rule.WORK_SUMMED_BEFORE,
            Rule.AMNESIA,
            Rule.CLOCK_APART,
            Rule.SANDBOX_MISSING,
            Rule.KEYS_NOT_IN_FORCE,
            Rule.HEAD_STALE,
        ),
    ),
)
"""Every rule, in the order of the page."""

MEANINGS: Final[dict[Rule, tuple[str, str]]] = {
    Rule.UNKNOWN_AUTHOR: (
        "Its author has not entered this commons, or is no member any more.",
        "A founder says `commons.found` first, another applies; check the id in `node.toml`.",
    ),
    Rule.WRONG_COMMONS: (
        "It was signed for another commons.",
        "Talk to the host of the commons that the charter names.",
    ),
    Rule.CHAIN_BROKEN: (
        "It does not continue its author's chain: a statement before it is missing, "
        "or it has the number of one that is logged.",
        "The node sends its outbox in order. If the log holds a statement that this node did not "
        "sign, its key is in other hands or it was restored from a backup: stop it, and ask.",
    ),
    Rule.HEAD_UNKNOWN: (
        "The head it names is not one of this log, lies ahead of it, or is older than the one its "
        "author named before.",
        "Sync again. If it stays, two histories exist: keep both heads as evidence.",
    ),
    Rule.HELD_BACK: (
        "More statements of its author were void in this commons day than the charter allows.",
        "Find out why they were void; the next commons day begins anew.",
    ),
    Rule.NOT_FOUNDED: (
        "Not all founders have entered yet.",
        "Wait for the rest; `comity status` names them.",
    ),
    Rule.WRONG_PARTY: (
        "Its author is not the one who may say it: not the owner, not the host, not in the "
        "roster, not enrolled, or excluded from the study.",
        "Nothing: it is not this member's to say.",
    ),
    Rule.NO_SUCH_THING: (
        "The study, data set, proposal, attempt, Close or complaint it names does not exist.",
        "Check the id; `comity log list` shows what exists.",
    ),
    Rule.SAID_BEFORE: (
        "Its author has said this already, where once is meant.",
        "Nothing: the first one counts.",
    ),
    Rule.TOO_SOON: (
        "What must come before has not: an hour between two `seen`, a deadline, or the end of the "
        "phase before.",
        "Wait; the node tries again by itself.",
    ),
    Rule.TOO_MANY: (
        "Its author has reached a limit: data sets, unfinished studies, or open proposals.",
        "Finish some first.",
    ),
    Rule.KEYS_NOT_IN_CHARTER: (
        "The key set is not the one whose digest the charter lists for this founder.",
        "Use the key file made before the charter was signed, or found another commons.",
    ),
    Rule.KEY_USED: (
        "One of its keys was shown in this commons before: a member's, an applicant's, or retired.",
        "Make new keys.",
    ),
    Rule.ID_TAKEN: (
        "The id is another's: of a data set, or of whoever is, was or asked to be a member.",
        "Choose another id.",
    ),
    Rule.POSSESSION_NOT_SHOWN: (
        "A key of the new key set did not sign it.",
        "Make the key set again with the one command; its keys sign it.",
    ),
    Rule.NOT_PROVEN: (
        "The evidence does not prove what it says against this member.",
        "Check the file and whom it is about; keys of another commons accuse nobody here.",
    ),
    Rule.STUDY_OUT_OF_BOUNDS: (
        "The plan is outside the charter's bounds, or outside what a secure sum needs.",
        "Change the plan; the message names the field and the range.",
    ),
    Rule.BUDGET_WITHOUT_EVENTS: (
        "The data set has a privacy budget, and no study of this version adds noise.",
        "Wait for differential privacy, or declare the data set without a budget.",
    ),
    Rule.VERSION_NOT_DECLARED: (
        "It names a version of the data set that is not the declared one.",
        "Declare the new version with `comity data add`, then give consent again.",
    ),
    Rule.NO_CONSENT: (
        "The owner has given no consent to this study, or has taken it back.",
        "The data's owner decides: `comity consent give`.",
    ),
    Rule.SEALING_KEY_INVALID: (
        "The sealing key is not one that everybody can seal to.",
        "A node makes them itself; this one is broken or hostile.",
    ),
    Rule.SEALING_KEY_USED: (
        "This sealing key was shown before in this commons.",
        "A sealing key serves one attempt: bring a new one.",
    ),
    Rule.SERIAL_NOT_NEXT: (
        "The enrolment does not carry the next serial of this member in this study.",
        "Sync, then enrol again.",
    ),
    Rule.NOT_REVIEWED: (
        "The study's file lacks reviews that the charter demands, by members outside its author's"
        " organisation.",
        "Read it with `comity review show`, then `comity review give`.",
    ),
    Rule.STUDY_PAUSED: (
        "A member paused the study; the pause ends by itself after 72 hours of commons time.",
        "Look at the reason with `comity study watch`; speak with who paused it.",
    ),
    Rule.BASE_CHANGED: (
        "The proposal is not about the study's newest accepted result.",
        "Propose the newest one.",
    ),
    Rule.VOTE_CLOSED: (
        "The vote is decided, or is not at the stage for this: ballots while it is open, an answer "
        "while objections wait for one, a withdrawal while nobody else says yes.",
        "Look at `comity status`; if it is decided, open a new proposal.",
    ),
    Rule.NO_REASON: (
        "An objection without a reason, or an answer without text.",
        "Say what is wrong and what would remove the objection.",
    ),
    Rule.NO_RULE: (
        "The charter in force names no rule for this act.",
        "Amend the charter first: `[decisions]` says which rule each act follows.",
    ),
    Rule.CHARTER_UNFIT: (
        "The terms of an amendment are none, contradict each other, or could never be met.",
        "Run `comity charter check` on the file: it names the key.",
    ),
    Rule.SUSPENDED: (
        "A suspended member enrols in no study.",
        "Wait: it ends by itself; `comity proposal list` says when.",
    ),
    Rule.F4_SUM_TOO_SMALL: (
        "A charter that allows sums of fewer than three members.",
        "Write `survivors_min = 3` or more.",
    ),
    Rule.F5_NO_NOTICE: (
        "An exclusion, or a suspension beyond 72 hours, without a notice to this member that stands"
        " and served no other vote.",
        "`comity notice give` first, with reasons and evidence.",
    ),
    Rule.F5_NOTICE_TOO_YOUNG: (
        "The notice is younger than 14 days, or than the charter asks for.",
        "Wait: its member may answer until then.",
    ),
    Rule.F5_NOTICE_TOO_SHORT: (
        "A charter by which a member is excluded less than 14 days after its notice.",
        'Write `notice = "14d"` or more in the rule that decides `exclude`.',
    ),
    Rule.F6_NO_CRITERION: (
        "A no or an objection to an admission that cites no criterion of the charter that was in"
        " force when the applicant applied.",
        "Name one with `--criterion`, or abstain.",
    ),
    Rule.F13_EXIT_TOO_SHORT: (
        "A charter whose amendments bind less than 14 days after the vote.",
        'Write `effect = "14d"` or more in the rule that decides `amend`, and in its fallback.',
    ),
    Rule.F14_NO_END: (
        "A suspension longer than the charter allows, or a charter that allows one without an end"
        " or beyond 90 days.",
        'Ask for less; write `expires = "14d"`, at most 90 days, in the rule that decides'
        " `suspend`.",
    ),
    Rule.NOT_DECIDED: (
        "No decision for this manifest and this model stands.",
        "Wait for the vote; sign only what was decided.",
    ),
    Rule.NOT_AS_DERIVED: (
        "It repeats something that follows from the log, and repeats it differently: a roster, "
        "participants, survivors, a model, a binding.",
        "Nobody follows it. If the host says such things, replace it.",
    ),
    Rule.ATTEMPT_NOT_ENDED: (
        "The attempt before it is still open.",
        "No deadline ends a started attempt: wait for its members, or abandon.",
    ),
    Rule.ROUND_NOT_OPEN: (
        "The attempt is over, the study has all its rounds, or its attempts are used up.",
        "Nothing, or register a new study.",
    ),
    Rule.PHASE_CLOSED: (
        "Its phase is over: all had spoken, or the deadline had passed in round time.",
        "Too late for this attempt; the next one may follow.",
    ),
    Rule.PHASE_NOT_OPEN: ("Its phase has not begun.", "The node waits for the phase before."),
    Rule.TOO_FEW: (
        "Fewer members than secrecy and the quorums need.",
        "Wait for more to enrol, or to commit.",
    ),
    Rule.BAD_POINT: (
        "The ephemeral key is not canonical, of low order, or another member's.",
        "A node makes them itself; this one is broken or hostile.",
    ),
    Rule.SHARE_DOES_NOT_FIT: (
        "A share or secret does not fit what its dealer committed to.",
        "Its author is named by the log; others recover the secret without it.",
    ),
    Rule.TOO_MANY_COMPLAINTS: (
        "More than c members complain of this dealer: it is false and must publish nothing.",
        "The attempt goes on without it.",
    ),
    Rule.CHECK_VALUE_MISSING: (
        "A survivor confirmed without a check value, another with one, or the value is too big.",
        "A node makes them itself; this one is broken or hostile.",
    ),
    Rule.AFTER_ABANDON: (
        "Its author has abandoned the attempt, which is its last word in it.",
        "Take part in the next attempt.",
    ),
    Rule.BEFORE_QUORUM: (
        "Fewer than t members have confirmed this Close, so nothing may be revealed.",
        "Wait. Whoever reveals now is broken or hostile.",
    ),
    Rule.NOT_TRUTHFUL: (
        "An Abandon that denies what its author has confirmed or revealed in the log.",
        "Its author is shown lying by its own statements.",
    ),
    Rule.SITE_FORBIDS: (
        "`site.toml` does not allow it: the size of the sum, of the model or of the data set, the "
        "rounds, exposure.",
        "The site's owner changes the policy, or the study asks for less.",
    ),
    Rule.USE_MISMATCH: (
        "What the study is for is not what `site.toml` says the data set may be used for.",
        "Refuse it; `comity consent simulate` shows each term. The owner may change the terms.",
    ),
    Rule.CODE_NOT_ALLOWED: (
        "The study file is not the registered one, or not in the list `code` of `site.toml`.",
        "Read the file; then the owner lists its digest.",
    ),
    Rule.OUTSIDE_HOURS: (
        "`site.toml` lets no work begin at this time of the day.",
        "Wait; give studies deadlines longer than the pause.",
    ),
    Rule.WAITS_FOR_PERSON: (
        "Only a person of this site may say yes: `studies` in `site.toml` says so, or no rule can "
        "tell whether the study fits the terms of the data set.",
        "`comity consent list --waiting` shows what waits; `comity consent give` or `refuse`.",
    ),
    Rule.SET_NEARLY_EQUAL: (
        "The set of members differs from an earlier one by 1 to c+1 members that have not agreed "
        "to be exposed: the two sums would nearly show their updates.",
        "Wait for the missing members, or ask them for consent to exposure.",
    ),
    Rule.WORK_SUMMED_BEFORE: (
        "The same work was summed, or may have been, over another set of members.",
        "Repeat it with the same members only, or register other work.",
    ),
    Rule.AMNESIA: (
        "The node's journal is older than the log knows it to be: it was restored from a backup.",
        "It leaves every open attempt; read the message, then enrol again.",
    ),
    Rule.CLOCK_APART: (
        "Two clocks differ by more than five minutes.",
        "Set the clock; the message says by how much, and which side is ahead.",
    ),
    Rule.KEYS_NOT_IN_FORCE: (
        "The log has other keys of this member in force than those in use at this node: they were "
        "replaced, or its folder holds an old key file.",
        "Run the node where the newest `keys.pem` or `keys.next.pem` lies.",
    ),
    Rule.HEAD_STALE: (
        "The newest head that enough members cosigned is too old to begin with: a cut-off or old "
        "copy of the log, or heads that are kept back.",
        "Read from another member's mirror, and ask two members for a new anchor.",
    ),
    Rule.SANDBOX_MISSING: (
        "This machine cannot keep up a wall around a study that the site policy demands.",
        "`comity doctor` names it. Use a newer kernel, or let the owner demand less in `sandbox`.",
    ),
}
"""For each rule: what it means, and what to do next."""
