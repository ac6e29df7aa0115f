"""`comity keys`: new keys for this member, and word that keys are in wrong hands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, final

import typer
from msgspec import Struct

from comity.cli.asking import expect, node_of, speak
from comity.cli.terminal import (
    AsJson,
    Folder,
    NoPassphrase,
    PassphraseFd,
    PassphraseFile,
    Screen,
    unlocker,
)
from comity.errors import Misconfigured, Refused, Rule
from comity.node.founding import key_set_of, possession_of
from comity.node.governing import MembersReport
from comity.node.governing_wire import ApproveOwn, AskMembers, RevokeKeys, RotateKeys
from comity.node.reports import Status
from comity.node.rotating import KEYS_NEXT, make_coming_keys
from comity.node.speaking import Ask, Spoken
from comity.node.wish_wire import AskStatus
from comity.statements.keysets import key_set_digest
from comity.values import Digest, MemberId

keys = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
HERE = Path(".")


@final
class Claimed(Struct, frozen=True, tag="claimed"):
    """A claim about keys is logged. document: of the epoch to approve; "" when it is in force.

    keys: digest of the new key set, or of the one that is in wrong hands.
    """

    member: MemberId
    keys: Digest
    statement: str
    index: int
    document: str


@keys.command("rotate")
def keys_rotate(
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Replace the four keys of this member. The others must approve; ask them by telephone.

    The new keys lie in keys.next.pem, under the same passphrase, before anybody hears of them. The
    node goes on with them once the members have approved, and when that is final they become
    keys.pem and the old ones are destroyed. Keep a copy of the new file. Run again, it goes on.

    \b
    Example:
      comity keys rotate --folder node-a
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    screen, passphrase = Screen(as_json), unlock()
    own = make_coming_keys(folder, passphrase=passphrase)
    assert own.coming is not None, "made, or found"
    with node_of(folder, lambda: passphrase, screen) as ask:
        me = expect(Status, ask(AskStatus())).member
        report = expect(MembersReport, ask(AskMembers()))
        line = next((each for each in report.members if each.member == me), None)
        if line is None or line.standing == "applied":
            raise Refused(
                Rule.UNKNOWN_AUTHOR, f"{me} is no member now, so it has no keys to rotate"
            )
        key_set = key_set_of(me, own.coming, line.serial + 1)
        wish = RotateKeys(key_set, possession_of(key_set, own.coming))
        spoken = speak(ask, wish, screen)
        document = _approve_own(ask, spoken, screen)
    digest = key_set_digest(key_set)
    screen.result(
        Claimed(me, digest, spoken.statement, spoken.index, document),
        f"new keys of {me}: {folder / KEYS_NEXT}; keep a copy, and of its passphrase",
        f"key set: {digest}, to be read to the others by telephone",
        f"now the others run: comity host approve {document[:12]}",
    )


@keys.command("revoke")
def keys_revoke(
    who: Annotated[str, typer.Argument(metavar="MEMBER", help="Whose keys are in wrong hands.")],
    reason: Annotated[str, typer.Option(help="In plain words; everybody can read it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Ask for an epoch without a member whose keys are in wrong hands, your own too.

    With it in force those keys sign nothing more, and the member is out: it comes back with new
    keys, under another id, by a new admission. Who still holds its keys alone rotates instead.
    About another member it takes four members or more; about the host, another host first.

    \b
    Example:
      comity keys revoke hospital-c --reason "its key file was copied" --yes --folder node-a
    """
    if not yes:
        raise Misconfigured(f"this takes {who} out of the commons: add --yes to say it")
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    screen = Screen(as_json)
    with node_of(folder, unlock, screen) as ask:
        report = expect(MembersReport, ask(AskMembers()))
        digest = next((line.keys for line in report.members if line.member == who), "")
        spoken = speak(ask, RevokeKeys(who, reason), screen)
        document = _approve_own(ask, spoken, screen)
    screen.result(
        Claimed(MemberId(who), Digest(digest), spoken.statement, spoken.index, document),
        f"said {spoken.about}: entry {spoken.index}",
        f"now the others run: comity host approve {document[:12]}"
        if document
        else "nothing is pending: while this member hosts, another must host first",
    )


def _approve_own(ask: Ask, spoken: Spoken, screen: Screen) -> str:
    """Approve what this member asks for itself; the document's digest, "" when nothing pends."""
    try:
        return speak(ask, ApproveOwn(spoken.statement), screen).about
    except Refused as error:
        if error.rule is Rule.NO_SUCH_THING:
            return ""
        raise
