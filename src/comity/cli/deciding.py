"""`comity vote`, `comity proposal` and `comity notice`: how the members decide."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from comity.cli.asking import expect, read_node
from comity.cli.terminal import (
    AsJson,
    Folder,
    NoPassphrase,
    PassphraseFd,
    PassphraseFile,
    Screen,
    table,
    unlocker,
)
from comity.cli.work import HERE, Reason, say
from comity.commons.rulebook import duration_s
from comity.errors import Misconfigured
from comity.node.deciding import Decisions, MotionLine
from comity.node.deciding_wire import (
    AskDecisions,
    GiveNotice,
    ProposeAmendment,
    ProposeExclusion,
    ProposeSuspension,
    ReplyToNotice,
)
from comity.node.wish_wire import AnswerObjections, CastVote, WithdrawProposal
from comity.statements.governing import Choice, Criterion
from comity.values import is_digest

proposal = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

notice = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

ProposalId = Annotated[str, typer.Argument(help="Its id or the beginning of it.")]


def vote(
    proposal: ProposalId,
    choice: Annotated[str, typer.Argument(help="yes, no, abstain or object.")],
    reason: Reason = "",
    criterion: Annotated[
        str,
        typer.Option(help=f"On an admission, what is not met: {', '.join(get_args(Criterion))}."),
    ] = "",
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Vote on a proposal; `comity status` lists those that wait for you.

    The last vote before the end counts. An objection needs a reason; by a rule of consensus the
    proposer has to answer it before anything is decided, by any other rule it counts as no. An
    applicant is refused for a criterion of the charter only, which a no names.

    \b
    Example:
      comity vote 3f0a77d2 yes
      comity vote 3f0a77d2 object --reason "the plan names no end"
      comity vote 91c07be4 no --criterion contact --reason "nobody answers there"
    """
    if choice not in get_args(Choice):
        raise Misconfigured(f"a vote is yes, no, abstain or object, not {choice!r}")
    if choice == "object" and not reason.strip():
        raise Misconfigured("an objection needs --reason: what is wrong, and what would remove it")
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    if criterion not in ("", *get_args(Criterion)):
        raise Misconfigured(f"--criterion: {', '.join(get_args(Criterion))}, not {criterion!r}")
    named = cast(Criterion, criterion) if criterion else None
    wish = CastVote(proposal, cast(Choice, choice), reason, named)
    say(folder, as_json, unlock, wish, "voted on")


@proposal.command("withdraw")
def proposal_withdraw(
    proposal: ProposalId,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Take back a proposal of yours, while no other member says yes to it.

    \b
    Example:
      comity proposal withdraw 3f0a77d2
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    say(folder, as_json, unlock, WithdrawProposal(proposal), "withdrew")


@proposal.command("answer")
def proposal_answer(
    proposal: ProposalId,
    answer: Annotated[str, typer.Argument(help="What you say to the objections, in one line.")],
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Answer the objections to a proposal of yours; all vote again, by the fallback rule.

    \b
    Example:
      comity proposal answer 3f0a77d2 "the plan ends after 20 rounds, see section 3"
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    say(folder, as_json, unlock, AnswerObjections(proposal, answer), "answered objections to")


@proposal.command("list")
def proposal_list(
    everything: Annotated[bool, typer.Option("--all", help="What has ended too.")] = False,
    folder: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """List what is put to the vote, the notices that stand, and who is suspended.

    \b
    Example:
      comity proposal list --all --folder node-a
    """
    found = expect(Decisions, read_node(folder, AskDecisions(everything)))
    rows = [_row(line) for line in found.proposals]
    notices = [
        f"notice {each.id[:12]} by {each.author} to {each.member},"
        f" {'answered' if each.reply else 'not answered yet'}"
        for each in found.notices
    ]
    Screen(as_json).result(
        found,
        f"charter {found.charter[:16]}, amended {found.amended} times",
        table(("proposal", "by", "what", "rule", "stands", "votes"), rows),
        *notices,
        *(f"suspended: {member}" for member in found.suspended),
    )


def _row(line: MotionLine) -> list[str]:
    said = list(line.votes.values())
    counts = [f"{said.count(each)} {each}" for each in get_args(Choice) if each in said]
    stands = line.ending or line.stage
    votes = f"{', '.join(counts) or 'none'} of {line.voters}"
    return [line.id[:12], line.author, line.what, line.rule, stands, votes]


@proposal.command("amend")
def proposal_amend(
    file: Annotated[Path, typer.Argument(help="The whole charter as it shall be, TOML or JSON.")],
    reason: Reason = "",
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Put another charter to the vote; the one in force decides, and it binds after a pause.

    The pause is 14 days at least: in it a member may leave on the old terms. A change of the rule
    for amendments must be carried by the old rule and by the new one. Founders, first host, name,
    origin, protocol and quorum stay. Nothing below the floor can be moved: it is refused here, with
    the key. Begin with `comity charter current --out FILE`.

    \b
    Example:
      comity proposal amend charter-next.toml --reason "more time to vote"
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    say(folder, as_json, unlock, ProposeAmendment(str(file.absolute()), reason), "opened a")


@proposal.command("exclude")
def proposal_exclude(
    notice: Annotated[str, typer.Argument(help="Id of the notice the member was given.")],
    reason: Reason = "",
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Put the exclusion of a member to the vote, on a notice that is 14 days old or more.

    The member has no vote on it; its votes on everything that is open stay. A yes takes it off
    every later attempt at once, and out of the commons with the next epoch. What it has learned,
    logged and released stays with it, and no sum may show its update afterwards: a study without
    noise that would, waits. Not below four members.

    \b
    Example:
      comity proposal exclude 5be0c1 --reason "false check values, again after the notice"
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    say(folder, as_json, unlock, ProposeExclusion(notice, reason), "opened a")


@proposal.command("suspend")
def proposal_suspend(
    member: Annotated[str, typer.Argument(help="Id of the member.")],
    time: Annotated[str, typer.Option("--for", help="How long, such as 72h or 10d.")] = "72h",
    notice: Annotated[str, typer.Option(help="Id of its notice; needed for more than 72h.")] = "",
    reason: Reason = "",
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Put to the vote that a member stays out of new attempts of all studies for a while.

    It ends by itself. The member keeps its votes, its copy and its consents, and ends the attempt
    it is in. Up to 72 hours a reason is enough, once in 30 days; longer needs a notice that is 14
    days old or more, and the charter says how long at most. Not below four members.

    \b
    Example:
      comity proposal suspend hospital-c --for 48h --reason "its machine is compromised"
      comity proposal suspend hospital-c --for 10d --notice 5be0c1
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    wish = ProposeSuspension(member, duration_s(time, "--for"), notice, reason)
    say(folder, as_json, unlock, wish, "opened a")


@notice.command("give")
def notice_give(
    member: Annotated[str, typer.Argument(help="Id of the member.")],
    reason: Annotated[str, typer.Option(help="What it did, in plain words.")],
    evidence: Annotated[
        list[str], typer.Option(help="A file (its hash is logged), or a statement's id; repeat it.")
    ],
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Tell a member, with reasons and evidence, why it may be excluded or suspended.

    Nothing is decided by it. It stands for 180 days and serves one vote; the member may answer.

    \b
    Example:
      comity notice give hospital-c --reason "false check values" --evidence report.pdf
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    named = tuple(each if is_digest(each) else str(Path(each).absolute()) for each in evidence)
    say(folder, as_json, unlock, GiveNotice(member, reason, named), "gave")


@notice.command("reply")
def notice_reply(
    notice: Annotated[str, typer.Argument(help="Its id or the beginning of it.")],
    answer: Annotated[str, typer.Argument(help="What you say to it, in one line.")],
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Answer a notice that you were given; your newest answer is shown with it.

    \b
    Example:
      comity notice reply 5be0c1 "a disk had failed; it is replaced, see entry 4711"
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    say(folder, as_json, unlock, ReplyToNotice(notice, answer), "answered")
