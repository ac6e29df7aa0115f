"""`comity id`, `comity charter`, `comity commons`: from four keys to a founded commons."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from comity.cli.asking import PAUSE_S, expect, node_of
from comity.cli.beginning import begun_lines, patiently, read_anchor, settings_of
from comity.cli.chartering import charter
from comity.cli.terminal import (
    AsJson,
    Folder,
    NoPassphrase,
    PassphraseFd,
    PassphraseFile,
    Screen,
    unlocker,
)
from comity.errors import Misconfigured
from comity.node import founding
from comity.node.beginning import join
from comity.node.keyfile import Unencrypted, load_keys
from comity.node.reports import Status
from comity.node.wish_wire import AskStatus

identity = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
commons = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

HostUrl = Annotated[
    str, typer.Option("--host-url", help="Where the host is reached, http(s)://name:port.")
]
HERE = Path(".")


# -- id ------------------------------------------------------------------------------------------


@identity.command("new")
def id_new(
    member: Annotated[str, typer.Argument(help="Id in the commons, for example hospital-a.")],
    name: Annotated[str, typer.Option(help="Name of the institution, for the charter.")] = "",
    country: Annotated[str, typer.Option(help="Its country, for the charter.")] = "",
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Make the keys of a member for one commons, and the id file to send around.

    The four keys lie in one encrypted file, keys.pem. Keep a copy of it and of its passphrase: the
    keys cannot be made again. Send MEMBER.id.json to whoever writes the charter; nothing in it is
    secret.

    \b
    Example:
      comity id new hospital-a --name "University Hospital A" --folder node-a
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted, new=True)
    made = founding.new_identity(folder, member, passphrase=unlock(), name=name, country=country)
    Screen(as_json).result(
        made,
        f"keys of {made.member}: {folder / founding.KEYS}",
        f"send this file around: {made.id_file}",
        f"key set: {made.digest}",
    )


@identity.command("show")
def id_show(folder: Folder = HERE, as_json: AsJson = False) -> None:
    """Show the member id and the digest of its key set, to read aloud and compare.

    \b
    Example:
      comity id show --folder node-a
    """
    shown = founding.show_identity(folder)
    Screen(as_json).result(
        shown,
        f"member:  {shown.member}",
        f"name:    {shown.name or '-'}",
        f"country: {shown.country or '-'}",
        f"key set: {shown.digest}",
    )


# -- charter -------------------------------------------------------------------------------------


@charter.command("sign")
def charter_sign(
    file: Annotated[Path, typer.Argument(help="The charter that all founders agreed on.")],
    host_url: HostUrl,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Agree to a charter: check that it lists your keys, and make your node folder ready.

    Your signature is the first statement of your node, commons.found, which names the commons id;
    the id is the hash of exactly this charter. Compare it with the other founders by telephone.

    \b
    Example:
      comity charter sign charter.toml --host-url https://host.example:8440 --folder node-a
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    _enter(file, host_url, folder, unlock(), Screen(as_json), None)


def _enter(
    file: Path,
    host_url: str,
    folder: Path,
    passphrase: bytes | Unencrypted,
    screen: Screen,
    expected: str | None,
) -> None:
    agreed = founding.read_charter(file)
    keys = load_keys(folder / founding.KEYS, passphrase=passphrase)
    entered = founding.enter_commons(
        folder, agreed, keys=keys, host_url=host_url, expected=expected
    )
    screen.result(
        entered,
        f"commons: {entered.commons}",
        f"member:  {entered.member}",
        f"written: charter.json, node.toml, site.toml in {entered.folder}",
        "read site.toml, then run `comity commons found`, or `comity node run`",
    )


# -- commons -------------------------------------------------------------------------------------


@commons.command("join")
def commons_join(
    file: Annotated[Path, typer.Argument(help="charter.json as received.")],
    host_url: HostUrl,
    anchor: Annotated[
        Path | None,
        typer.Option(help="An anchor from at least two members, not through the host."),
    ] = None,
    expect_id: Annotated[
        str | None,
        typer.Option("--commons", help="Commons id, as told by telephone; 16 digits or more."),
    ] = None,
    within_s: Annotated[
        int, typer.Option(help="Wait so long until this member is in the epoch in force.", min=0)
    ] = 0,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Make your node folder ready for a commons whose charter you received.

    A founder needs no anchor: the log begins with it. Who was admitted later gives one, and every
    entry is read and checked against it before anything is said: charter, epochs, signatures,
    cosignatures, age, and that you are a member with your keys.

    \b
    Example:
      comity commons join charter.json --host-url https://host.example:8440 --anchor anchor.txt
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    screen = Screen(as_json)
    if anchor is None:
        _enter(file, host_url, folder, unlock(), screen, expect_id)
        return
    trusted = read_anchor(anchor)
    if expect_id is not None and not (
        len(expect_id) >= 16 and trusted.commons.startswith(expect_id)
    ):
        raise Misconfigured(f"expected commons {expect_id}, the anchor is of {trusted.commons}")
    agreed, public = founding.read_charter(file), founding.own_identity(folder)
    settings = settings_of(folder, public.key_set.member, host_url)
    keys = load_keys(folder / founding.KEYS, passphrase=unlock())
    with screen.waiting("reading the log, and checking all of it") as show:
        begun = patiently(
            lambda: join(folder, agreed, trusted, settings, keys), within_s=within_s, show=show
        )
    screen.result(begun, *begun_lines(begun), "read site.toml, then run `comity node run`")


@commons.command("found")
def commons_found(
    within_s: Annotated[int, typer.Option(help="Give up after so many seconds.")] = 7 * 86_400,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Enter the commons, and wait until every founder has, and the log's head is final.

    All founders run this (or `comity node run`) while one of them runs `comity host serve`.

    \b
    Example:
      comity commons found --folder node-a
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    screen = Screen(as_json)
    limit = time.monotonic() + within_s
    with (
        node_of(folder, unlock, screen, patient=True) as ask,
        screen.waiting("entering the commons") as show,
    ):
        while True:
            now = expect(Status, ask(AskStatus()))
            if now.founded:
                break
            if time.monotonic() > limit:
                raise Misconfigured(f"not founded within {within_s} s: {_missing(now)}")
            show(_missing(now))
            time.sleep(PAUSE_S)
    screen.result(
        now,
        f"founded: {now.name}, {len(now.members)} members",
        f"commons: {now.commons}",
    )


def _missing(now: Status) -> str:
    if any(fault.subject == "host" for fault in now.obstacles):
        return f"waiting for the host: {now.host_url} does not answer"
    if now.missing:
        return f"waiting for {', '.join(now.missing)} to enter"
    return "all have entered; waiting for cosignatures of the head"
