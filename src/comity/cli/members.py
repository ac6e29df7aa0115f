"""`comity member`: who belongs, who has applied, and leaving."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from comity.cli.asking import PAUSE_S, expect, node_of, read_node, speak
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
from comity.errors import Misconfigured, Unavailable
from comity.node import founding
from comity.node.applying import Applied, make_application, read_application
from comity.node.governing import MembersReport
from comity.node.governing_wire import AdmitMember, AskMembers, HandInApplication, LeaveCommons
from comity.node.keyfile import load_keys
from comity.node.speaking import LOGGED_WITHIN_S, Ask

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


@member.command("apply")
def member_apply(
    file: Annotated[Path, typer.Argument(help="charter.json of the commons, as received.")],
    name: Annotated[str, typer.Option(help="Of the institution; default: the id file's.")] = "",
    country: Annotated[str, typer.Option(help="Its country; default: the id file's.")] = "",
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Ask to be admitted: write the application of this institution, for a member to hand in.

    It needs the keys of `comity id new` and no network. Send the file to a member, and read your
    key set to it by telephone. When you are admitted, ask two members for an anchor, and
    `comity commons join`. Run again, it is the same file: an institution applies once.

    \b
    Example:
      comity member apply charter.json --folder node-f
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    charter = founding.read_charter(file)
    public = founding.own_identity(folder)
    keys = load_keys(folder / founding.KEYS, passphrase=unlock())
    made = make_application(folder, charter, public, keys, name=name, country=country)
    Screen(as_json).result(
        made,
        f"{made.member} applies to {charter.name}, commons {made.commons}",
        f"send this file to a member: {made.file}",
        f"key set: {made.digest}",
        "there: `comity member admit FILE`; once admitted, here: `comity commons join`",
    )


@member.command("admit")
def member_admit(
    who: Annotated[
        str,
        typer.Argument(metavar="MEMBER", help="Id of the applicant, or the file it applied with."),
    ],
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Put the admission of an applicant to the vote. Compare its key set by telephone first.

    A file is handed to the host first, unchanged. When the vote has passed, the members' nodes
    approve the epoch with the new member by themselves.

    \b
    Example:
      comity member admit hospital-f.apply.json --folder node-a
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    screen, file = Screen(as_json), Path(who)
    with node_of(folder, unlock, screen) as ask:
        applicant = who
        if file.suffix == ".json":
            envelope, said, _ = read_application(file)
            handed = expect(Applied, ask(HandInApplication(envelope.decode("ascii"))))
            applicant = said.author
            screen.note(
                f"{applicant} applies with key set {handed.digest}: compare it by telephone"
            )
            _until_known(ask, applicant)
        spoken = speak(ask, AdmitMember(applicant), screen)
    screen.result(
        spoken, f"opened a {spoken.about}: entry {spoken.index}", f"id: {spoken.statement}"
    )


def _until_known(ask: Ask, applicant: str) -> None:
    """Wait until this node's own copy of the log has the application."""
    limit = time.monotonic() + LOGGED_WITHIN_S
    while True:
        report = expect(MembersReport, ask(AskMembers()))
        if applicant in {line.member for line in report.members}:
            return
        if time.monotonic() > limit:
            raise Unavailable(f"the host has not shown the application of {applicant} in time")
        time.sleep(PAUSE_S)


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
