"""From entries to meaning: what may enter the log, and what each entry changes.

Two tiers (log-and-provenance.md 1.6). `admit` judges form: bytes, author, chain, head, signature;
a host never appends what it refuses, and nobody cosigns a head above it. `apply` judges meaning
and is total: an admissible entry that is not allowed is `Void(rule)` and stays in the log, so a
quarrel about rules is never a fork. What each tag means is decided in `members`, `belonging`,
`studies`, `reviews`, `votes` and `rounds`.
"""

from __future__ import annotations

from typing import Final, assert_never

from comity.commons import belonging, members, reviews, rounds, studies, votes
from comity.commons.charter import Charter
from comity.commons.copies import changed
from comity.commons.state import Done, Outcome, State, Void
from comity.errors import Refused, Rule
from comity.log.merkle import Tree
from comity.statements.entries import Body, Entry, Statement
from comity.statements.governing import (
    CommonsFound,
    NoticeGive,
    NoticeReply,
    ObjectionAnswer,
    ProposalOpen,
    ProposalWithdraw,
    ReleaseSign,
    Seen,
    VoteCast,
)
from comity.statements.keysets import check as check_envelope
from comity.statements.keysets import check_possession
from comity.statements.membership import (
    EpochApprove,
    EvidenceFile,
    HostHandover,
    HostOffer,
    HostTakeover,
    KeysRevoke,
    KeysRotate,
    MemberApply,
    MemberLeave,
)
from comity.statements.rounds import (
    ROUNDING,
    RoundAbandon,
    RoundAccept,
    RoundClose,
    RoundCommit,
    RoundConfirm,
    RoundDispute,
    RoundJoin,
    RoundOpen,
    RoundReady,
    RoundRecover,
    RoundResolve,
    RoundReveal,
    RoundStart,
)
from comity.statements.studies import (
    CodeReview,
    ConsentGive,
    ConsentRefuse,
    ConsentWithdraw,
    DatasetDeclare,
    StudyEnrol,
    StudyFail,
    StudyLeave,
    StudyPause,
    StudyRegister,
    StudyResume,
)
from comity.statements.wire import Unverified, read
from comity.values import DAY_S, NOTHING, MemberId, StatementId

DONE: Final = Done()
AFTER_LEAVING: Final = (*ROUNDING, EpochApprove, MemberLeave, Seen)
"""What a member that left may say until the next epoch: it ends what it has begun."""
AFTER_EXCLUSION: Final = (*AFTER_LEAVING, VoteCast)
"""The same of one that a vote excluded: it votes on what was open before."""


def found(charter: Charter) -> State:
    """The state of the empty log. The charter is one that `parse_charter` lets pass."""
    return members.found(charter)


def admit(state: State, tree: Tree, envelope: bytes) -> Entry:
    """The entry that these bytes would be at the end of the log; neither state nor tree changes.

    Args:
        tree: of the log that `state` is the meaning of; it may hold later entries already.
    Raises:
        Malformed: not the canonical bytes of one statement.
        Forged: the signature is not that of the author's statement key; a key of a founder does
            not count, or is not shown to be held.
        Refused: WRONG_COMMONS, UNKNOWN_AUTHOR, KEYS_NOT_IN_CHARTER, KEY_USED, CHAIN_BROKEN,
            HEAD_UNKNOWN; of a stranger's member.apply also what `application_fault` answers, for a
            stranger has no quota of void entries.
    """
    assert tree.size >= state.size
    unverified = read(envelope)
    said = unverified.statement
    if said.commons != state.commons:
        raise Refused(
            Rule.WRONG_COMMONS,
            f"expected a statement in commons {state.commons[:8]}, not in {said.commons[:8]}",
        )
    statement_key = _statement_key(state, said)
    stranger = said.author not in state.authors
    seq, prev = (0, NOTHING) if stranger else next_link(state, said.author)
    if (said.seq, said.prev) != (seq, prev):
        raise Refused(
            Rule.CHAIN_BROKEN,
            f"expected statement {seq} of {said.author}, after {prev[:8]}; "
            f"this is {said.seq}, after {said.prev[:8]}: send what lies between first",
        )
    oldest = 0 if stranger else state.authors[said.author].head_size
    if not oldest <= said.head_size <= state.size or not _is_root(state, tree, said):
        raise Refused(
            Rule.HEAD_UNKNOWN,
            f"expected a head of this log of size {oldest} to {state.size}; "
            f"size {said.head_size} has another root here, or none",
        )
    brings_keys = isinstance(said.body, CommonsFound) or stranger
    _check_signed(unverified, statement_key, brings_keys=brings_keys)
    return Entry(state.size, envelope, said)


def apply(state: State, entry: Entry) -> tuple[State, Outcome]:
    """What the log means with this entry. Total: it never raises on an admissible entry.

    The author's chain and clock move in any case, and with them commons time, the votes it closes
    and the phases of rounds. A void entry changes nothing else but its author's count of them.
    """
    assert entry.index == state.size
    said = entry.statement
    if isinstance(said.body, MemberApply) and said.author not in state.authors:
        return belonging.applied(state, entry, said.body), DONE
    moved = _moved(state, entry)
    result = _say(state, moved, entry)
    if isinstance(result, Rule):
        return _counting_void(moved, said.author), Void(result)
    return result, DONE


def check(
    state: State,
    author: MemberId,
    body: Body,
    now_s: int,
    head: tuple[int, bytes] | None = None,
) -> Rule | None:
    """By which rule the statement would be void if its author said it next; None: by none.

    For whoever is about to say it. The fold itself asks the same questions, in `apply`.

    Args:
        author: a member.
        now_s: the `time` it would sign. head: (size, root) of the head that it would name.
    """
    result = suppose(state, author, body, now_s, head)
    return result if isinstance(result, Rule) else None


def suppose(
    state: State,
    author: MemberId,
    body: Body,
    now_s: int,
    head: tuple[int, bytes] | None = None,
) -> State | Rule:
    """What the log would mean if its author said this next, or by which rule it would be void.

    Args:
        author, now_s, head: as in `check`. The statement's id would be `NOTHING`.
    """
    seq, prev = next_link(state, author)
    head_size, head_root = head or (state.authors[author].head_size, b"")
    said = Statement(
        id=StatementId(NOTHING),
        author=author,
        commons=state.commons,
        seq=seq,
        prev=prev,
        head_size=head_size,
        head_root=head_root,
        time_s=now_s,
        body=body,
    )
    entry = Entry(state.size, b"", said)
    return _say(state, _moved(state, entry), entry)


def held_back(state: State, author: MemberId) -> bool:
    """Whether a host may hold the author's statements back until the next commons day.

    True when more of its entries were void in this commons day than the charter allows; anybody
    who replays can check the excuse. A stranger is never held back: it is not admitted at all.
    """
    known = state.authors.get(author)
    return (
        known is not None
        and known.void_day == state.commons_time_s // DAY_S
        and known.void_count > state.charter.void_entries_per_day_max
    )


def next_link(state: State, member: MemberId) -> tuple[int, StatementId]:
    """(seq, prev) that the member's next statement must carry: 0 and zeros for its first."""
    author = state.authors[member]
    return author.seq + 1, author.last


def _statement_key(state: State, said: Statement) -> bytes:
    """The key that the signature must fit: the one in the state, or in the founder's own body."""
    if isinstance(said.body, CommonsFound):
        fault = members.founder_fault(state, said.author, said.body.key_set)
        if fault is not None:
            raise Refused(
                fault,
                f"expected the key set that the charter lists for {said.author}, with keys that "
                "no other member has: found a commons with new keys",
            )
        return said.body.key_set.keys.statement
    if isinstance(said.body, MemberApply) and said.author not in state.authors:
        fault = belonging.application_fault(state, said.author, said.body.key_set)
        if fault is not None:
            raise Refused(
                fault,
                f"{said.author} cannot apply with this: an id and keys that were never used in "
                "this commons, serial 0, and room among the open applications are needed",
            )
        return said.body.key_set.keys.statement
    key_set = state.keys.get(said.author)
    if key_set is None:
        raise Refused(
            Rule.UNKNOWN_AUTHOR,
            f"{said.author} is no member of this commons, or no more: a founder says commons.found "
            "first, another applies and is admitted",
        )
    return key_set.keys.statement


def _is_root(state: State, tree: Tree, said: Statement) -> bool:
    # Many statements in a row name the same head: its root is computed for the first of them.
    named = (said.head_size, said.head_root)
    return named == state.head or tree.root(said.head_size) == said.head_root


def _check_signed(unverified: Unverified, statement_key: bytes, *, brings_keys: bool) -> None:
    body = check_envelope(unverified, statement_key).body
    if brings_keys and isinstance(body, CommonsFound | MemberApply):
        check_possession(body.key_set, body.possession)


def _moved(state: State, entry: Entry) -> State:
    """Chain, clocks, and what the passing of time alone decides."""
    moved = members.with_clock(state, entry)
    if moved.voting and moved.commons_time_s > state.commons_time_s:
        moved = votes.close_due(moved, entry.index)
    return rounds.tick(moved, entry.statement.author)


def _counting_void(state: State, member: MemberId) -> State:
    author, day = state.authors[member], state.commons_time_s // DAY_S
    count = author.void_count + 1 if author.void_day == day else 1
    counted = changed(author, void_day=day, void_count=count)
    return changed(state, authors={**state.authors, member: counted})


def _barred(state: State, entry: Entry) -> Rule | None:
    """Why nothing of the kind is said now: no members yet, or the author is on its way out."""
    if not state.founded_size:
        return Rule.NOT_FOUNDED
    author, changes = entry.statement.author, state.changes
    if author not in changes.going:
        return None
    may = AFTER_LEAVING if author in changes.leaving else AFTER_EXCLUSION
    return None if isinstance(entry.statement.body, may) else Rule.WRONG_PARTY


def _say(before: State, state: State, entry: Entry) -> State | Rule:
    """What the statement itself changes. before: no clock moved yet; only `seen` asks for it."""
    body = entry.statement.body
    if isinstance(body, CommonsFound):
        return members.enter(state, entry, body)
    barred = _barred(state, entry)
    if barred is not None:
        return barred
    match body:
        case Seen():
            said = entry.statement
            return members.seen(before, said.author, said.time_s) or state
        case (
            VoteCast()
            | ProposalOpen()
            | ProposalWithdraw()
            | ObjectionAnswer()
            | ReleaseSign()
            | NoticeGive()
            | NoticeReply()
        ):
            return votes.say(state, entry, body)
        case (
            MemberApply()
            | MemberLeave()
            | KeysRotate()
            | KeysRevoke()
            | EpochApprove()
            | HostOffer()
            | HostHandover()
            | HostTakeover()
            | EvidenceFile()
        ):
            return belonging.say(state, entry, body)
        case DatasetDeclare():
            return studies.declare(state, entry, body)
        case StudyRegister():
            return studies.register(state, entry, body)
        case ConsentGive():
            return studies.give(state, entry, body)
        case ConsentRefuse():
            return studies.refuse(state, entry, body)
        case ConsentWithdraw():
            return studies.withdraw(state, entry, body)
        case StudyEnrol():
            return studies.enrol(state, entry, body)
        case StudyFail():
            return studies.fail(state, entry, body)
        case StudyLeave():
            return studies.leave(state, entry, body)
        case CodeReview() | StudyPause() | StudyResume():
            return reviews.say(state, entry, body)
        case (
            RoundOpen()
            | RoundJoin()
            | RoundReady()
            | RoundResolve()
            | RoundStart()
            | RoundCommit()
            | RoundClose()
            | RoundConfirm()
            | RoundDispute()
            | RoundReveal()
            | RoundRecover()
            | RoundAccept()
            | RoundAbandon()
        ):
            after, rule = rounds.apply_round(state, entry)
            return after if rule is None else rule
        case _:
            assert_never(body)
