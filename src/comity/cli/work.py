"""`comity data`, `consent`, `release` and `vote`: the joint work, day by day."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from comity.cli.asking import expect, node_of, speak
from comity.cli.terminal import (
    AsJson,
    Folder,
    NoPassphrase,
    PassphraseFd,
    PassphraseFile,
    Screen,
    Unlock,
    unlocker,
)
from comity.node.releasing import Written
from comity.node.wish_wire import (
    DeclareDataset,
    GiveConsent,
    ProposeRelease,
    RefuseConsent,
    Wish,
    WithdrawConsent,
    WriteRelease,
)

data = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
consent = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
release = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

StudyName = Annotated[str, typer.Argument(help="Name or id of the study, or its beginning.")]
Reason = Annotated[str, typer.Option(help="In plain words; everybody can read it.")]
HERE = Path(".")


def say(folder: Path, as_json: bool, unlock: Unlock, wish: Wish, done: str) -> None:
    """Say something, wait until it is logged, and show where."""
    screen = Screen(as_json)
    with node_of(folder, unlock, screen) as ask:
        spoken = speak(ask, wish, screen)
    screen.result(spoken, f"{done} {spoken.about}: entry {spoken.index}", f"id: {spoken.statement}")


# -- data ----------------------------------------------------------------------------------------


@data.command("add")
def data_add(
    dataset: Annotated[str, typer.Argument(help="Its id in the commons, for example heart-a.")],
    file: Annotated[Path, typer.Argument(help="The table; it stays where it is.")],
    unit: Annotated[str, typer.Option(help="What one row stands for.")] = "record",
    title: Annotated[str, typer.Option(help="One line for people.")] = "",
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Declare a data file of this site, or its new version. Its bytes never leave this machine.

    The others see its id and a salted hash. When the file changes, run it again and consent anew.

    \b
    Example:
      comity data add heart-a /data/heart.csv --unit patient
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    wish = DeclareDataset(dataset, str(file.absolute()), unit, title)
    say(folder, as_json, unlock, wish, "declared data set")


# -- consent -------------------------------------------------------------------------------------


@consent.command("give")
def consent_give(
    name: StudyName,
    dataset: Annotated[
        str | None, typer.Option(help="Of this site; may be left out if it has one.")
    ] = None,
    exposed: Annotated[
        bool,
        typer.Option(
            "--exposed", help="Accept that absences of others may show nearly this site's update."
        ),
    ] = False,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Let a study use a data set of this site, in exactly the version declared.

    Without --exposed the study waits rather than publish two sums whose difference would nearly
    show one member's update.

    \b
    Example:
      comity consent give risk --dataset heart-a
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    say(folder, as_json, unlock, GiveConsent(name, dataset, exposed), "consented to")


@consent.command("refuse")
def consent_refuse(
    name: StudyName,
    reason: Reason = "",
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Say no to a study. It goes on without this site, if enough others take part.

    \b
    Example:
      comity consent refuse risk --reason "outside our ethics approval"
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    say(folder, as_json, unlock, RefuseConsent(name, reason), "refused")


@consent.command("withdraw")
def consent_withdraw(
    name: StudyName,
    reason: Reason = "",
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Take a consent back. An update that is sent already may still be in a sum.

    \b
    Example:
      comity consent withdraw risk
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    say(folder, as_json, unlock, WithdrawConsent(name, reason), "withdrew the consent to")


# -- release -------------------------------------------------------------------------------------


@release.command("propose")
def release_propose(
    name: StudyName,
    purpose: Annotated[str, typer.Option(help="What the model is for; in its card.")] = "",
    licence: Annotated[str, typer.Option(help="Its licence, by name; in its card.")] = "",
    reason: Reason = "",
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Put the newest result of a study to the vote, with everything it would be published with.

    \b
    Example:
      comity release propose risk --purpose "to find who needs a second look" --licence CC-BY-4.0
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    wish = ProposeRelease(name, purpose, licence, reason)
    say(folder, as_json, unlock, wish, "proposed the release of")


@release.command("write")
def release_write(
    name: Annotated[str, typer.Argument(help="The proposal's id, or the study.")],
    out: Annotated[Path, typer.Option(help="The new folder.")],
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Write the folder of a decided release; anyone checks it with `comity verify`.

    \b
    Example:
      comity release write risk --out risk-15
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    screen = Screen(as_json)
    with node_of(folder, unlock, screen) as ask, screen.waiting("writing the release"):
        written = expect(Written, ask(WriteRelease(name, str(out.absolute()))))
    screen.result(
        written,
        f"written: {written.path}, {written.files_count} files",
        f"model: {written.model}",
        f"check it: comity verify {written.path} --anchor anchor.txt",
    )
