"""`comity vote` and `comity proposal`: how the members decide."""

from __future__ import annotations

from typing import Annotated, cast, get_args

import typer

from comity.cli.terminal import (
    AsJson,
    Folder,
    NoPassphrase,
    PassphraseFd,
    PassphraseFile,
    unlocker,
)
from comity.cli.work import HERE, Reason, say
from comity.errors import Misconfigured
from comity.node.wish_wire import AnswerObjections, CastVote, WithdrawProposal
from comity.statements.governing import Choice

proposal = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

ProposalId = Annotated[str, typer.Argument(help="Its id or the beginning of it.")]


def vote(
    proposal: ProposalId,
    choice: Annotated[str, typer.Argument(help="yes, no, abstain or object.")],
    reason: Reason = "",
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Vote on a proposal; `comity status` lists those that wait for you.

    The last vote before the end counts. An objection needs a reason; by a rule of consensus the
    proposer has to answer it before anything is decided, by any other rule it counts as no.

    \b
    Example:
      comity vote 3f0a77d2 yes
      comity vote 3f0a77d2 object --reason "the plan names no end"
    """
    if choice not in get_args(Choice):
        raise Misconfigured(f"a vote is yes, no, abstain or object, not {choice!r}")
    if choice == "object" and not reason.strip():
        raise Misconfigured("an objection needs --reason: what is wrong, and what would remove it")
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    wish = CastVote(proposal, cast(Choice, choice), reason)
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
    """Take back a proposal of yours that is not decided yet.

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
