"""`comity member`: who belongs, who has applied, and leaving."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
from comity.cli.work import Reason, say
from comity.errors import Misconfigured
from comity.node.governing import MembersReport
from comity.node.governing_wire import AdmitMember, AskMembers, LeaveCommons

member = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
HERE = Path(".")


@member.command("list")
def member_list(folder: Folder = HERE, as_json: AsJson = False) -> None:
    """List the members of the epoch in force, who is leaving, and who has applied.

    \b
    Example:
      comity member list --folder node-a
    """
    report = expect(MembersReport, read_node(folder, AskMembers()))
    rows = [
        [line.member, line.standing, str(line.serial), line.keys[:16], line.host_address]
        for line in report.members
    ]
    Screen(as_json).result(
        report,
        f"epoch {report.epoch}, quorum {report.quorum} of {report.count}",
        table(("member", "standing", "serial", "key set", "offers to host at"), rows),
    )


@member.command("admit")
def member_admit(
    who: Annotated[str, typer.Argument(metavar="MEMBER", help="Id of the applicant.")],
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Put the admission of an applicant to the vote. Compare its key set by telephone first.

    \b
    Example:
      comity member admit hospital-f --folder node-a
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    say(folder, as_json, unlock, AdmitMember(who), "opened a")


@member.command("leave")
def member_leave(
    reason: Reason = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Leave the commons. It binds at once; only a new admission undoes it.

    What is summed already stays; no later sum holds anything of this site.

    \b
    Example:
      comity member leave --yes --reason "the project has ended" --folder node-a
    """
    if not yes:
        raise Misconfigured("leaving cannot be undone: add --yes to leave")
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    say(folder, as_json, unlock, LeaveCommons(reason), "left:")
