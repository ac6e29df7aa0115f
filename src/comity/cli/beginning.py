"""`comity node rebuild`, and what it shares with `comity commons join`: a log read from nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from comity.cli.serving import HERE, node
from comity.cli.terminal import (
    AsJson,
    Folder,
    NoPassphrase,
    PassphraseFd,
    PassphraseFile,
    Screen,
    unlocker,
)
from comity.errors import Forged, Malformed, Misconfigured, Refused, Rule, Unavailable
from comity.node.beginning import Begun, rebuild
from comity.node.founding import CHARTER, own_identity, read_charter
from comity.node.rotating import load_own_keys
from comity.node.settings import NodeSettings, read_node_settings
from comity.release.anchor import Anchor, parse_anchor
from comity.values import MemberId

commands = node
"""`comity node`, whole: what runs, and what makes a lost one again."""

_ANCHOR_BYTES_MAX = 512
_AGAIN_S = 1.0


@node.command("rebuild")
def node_rebuild(
    anchor: Annotated[
        Path, typer.Option(help="An anchor from at least two members, as new as you can get.")
    ],
    charter: Annotated[
        Path | None, typer.Option(help="charter.json, from any member; default: the folder's own.")
    ] = None,
    host_url: Annotated[
        str | None, typer.Option(help="Of the host; default: the one in node.toml.")
    ] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option("--from", help="Where to read the log: a host or a mirror; several are best."),
    ] = None,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Make a node whose disk was lost again: from its key file and other members' copies.

    Put keys.pem back first, and charter.json, node.toml and site.toml if you have them. Everything
    is checked before anything is said. The node then goes on where the log has it; it leaves what
    was open, and cosigns nothing until `comity keys rotate`, since nobody knows what it cosigned.

    \b
    Example:
      comity node rebuild --anchor anchor.txt --from https://mirror.hospital-b.example:8441
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    screen = Screen(as_json)
    trusted, agreed = read_anchor(anchor), read_charter(charter or folder / CHARTER)
    settings = settings_of(folder, None, host_url)
    held = load_own_keys(folder, passphrase=unlock()).newest_first
    with screen.waiting("reading the log, and checking all of it"):
        for keys in held:
            try:
                begun = rebuild(
                    folder, agreed, trusted, settings, keys, sources=tuple(sources or ())
                )
                break
            except (Forged, Refused) as error:
                wrong_keys = not isinstance(error, Refused) or error.rule is Rule.KEYS_NOT_IN_FORCE
                if keys is held[-1] or not wrong_keys:
                    raise
    screen.result(
        begun,
        *begun_lines(begun),
        f"{begun.said} statements of this member are in the log; its chain goes on after them",
        "run `comity node run`, then `comity keys rotate`: until then it cosigns nothing",
        "declare the data sets again (`comity data add`) and consent anew",
    )


def begun_lines(begun: Begun) -> list[str]:
    """What was checked, for people."""
    return [
        f"checked: all {begun.size} entries, final up to {begun.final_size}; {begun.member} is one"
        f" of {begun.count} members of epoch {begun.epoch}",
        f"commons: {begun.commons}",
        f"ready: {begun.folder}, host {begun.host_url}",
    ]


def read_anchor(path: Path) -> Anchor:
    """The anchor in a file. Raises Misconfigured: it cannot be read, or is none."""
    try:
        with path.open("rb") as file:
            return parse_anchor(file.read(_ANCHOR_BYTES_MAX + 1))
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from error
    except Malformed as error:
        raise Misconfigured(f"{path} is no anchor: {error}") from error


def settings_of(folder: Path, member: MemberId | None, host_url: str | None) -> NodeSettings:
    """The folder's node.toml, if it has one, with this host; else the defaults.

    Args:
        member: None: the one of node.toml, or of the id file.
    Raises:
        Misconfigured: node.toml is of another member, or the host is not known.
    """
    path = folder / "node.toml"
    if path.exists():
        settings = read_node_settings(path)
        if member is not None and settings.member != member:
            raise Misconfigured(f"{path} is of {settings.member}, the id file is of {member}")
        return msgspec.structs.replace(settings, host_url=host_url or settings.host_url)
    if host_url is None:
        raise Misconfigured(f"no {path}: name the host with --host-url")
    who = member or own_identity(folder).key_set.member
    try:
        return msgspec.convert({"member": who, "host_url": host_url}, NodeSettings)
    except msgspec.ValidationError as error:
        raise Misconfigured(f"--host-url: {error}") from error


def patiently(begin: Callable[[], Begun], *, within_s: float, show: Callable[[str], None]) -> Begun:
    """Begin, and wait for what only time brings: an answer, the admission, cosignatures.

    Raises: what `begin` raises, after `within_s` or because waiting does not help.
    """
    limit = time.monotonic() + within_s
    while True:
        try:
            return begin()
        except (Unavailable, Refused) as error:
            waits = isinstance(error, Unavailable) or error.rule is Rule.UNKNOWN_AUTHOR
            if not waits or time.monotonic() > limit:
                raise
            show(f"waiting: {error}")
        time.sleep(_AGAIN_S)
