"""`comity host offer, takeover, handover, approve, follow`: who hosts next, and who agrees."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Annotated, final

import typer
from msgspec import Struct

from comity.cli.asking import ask_running, expect, node_of
from comity.cli.hosts import report_lines
from comity.cli.serving import HERE, Hosting, Listen, TlsChain, TlsKey, Verbose, host, tls_of
from comity.cli.terminal import (
    AsJson,
    Folder,
    NoPassphrase,
    PassphraseFd,
    PassphraseFile,
    Screen,
    log_to_stderr,
    unlocker,
)
from comity.cli.work import say
from comity.errors import ComityError, Unavailable
from comity.host.serve import HostServer
from comity.node.founding import CHARTER, KEYS, read_charter
from comity.node.governing import HostReport, Seeded
from comity.node.governing_wire import (
    ApproveEpoch,
    AskHost,
    FollowHost,
    HandOver,
    OfferToHost,
    SeedHost,
    TakeOver,
)
from comity.node.keyfile import load_host_key
from comity.node.station import describe
from comity.node.wishes import Said

commands = host
"""`comity host`, whole: what serves, and what decides who does."""

_LOG = logging.getLogger(__name__)
_AGAIN_S = 0.2

Url = Annotated[str, typer.Argument(help="Where the host answers others, https://name:port.")]


@final
class Approved(Struct, frozen=True, tag="approved"):
    """An approval that is on its way. about: what was approved. host: this node's view of it."""

    statement: str
    about: str
    in_force: bool


@host.command("offer")
def host_offer(
    url: Url,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Offer to host at an address, now or when the host is gone. Say it while all is well.

    The others' nodes then know where to look when the host does not answer. It binds nobody.

    \b
    Example:
      comity host offer https://comity.hospital-b.example:8440 --folder node-b
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    say(folder, as_json, unlock, OfferToHost(url), "offered to host at")


@host.command("handover")
def host_handover(
    member: Annotated[str, typer.Argument(help="Who shall host; it has offered to.")],
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Hand over to another member: the first time it opens the vote, once decided it hands over.

    The next host runs `comity host takeover` when the hand-over is logged; the members' nodes
    approve it by themselves, since it rests on a vote, and move over.

    \b
    Example:
      comity host handover hospital-b --folder node-a
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    say(folder, as_json, unlock, HandOver(member), "said:")


@host.command("takeover")
def host_takeover(
    url: Annotated[
        str | None,
        typer.Option(help="Where others reach this host; default: the address it listens on."),
    ] = None,
    listen: Listen = "127.0.0.1:8440",
    host_folder: Annotated[
        Path | None, typer.Option(help="The host's own folder; default: host/ in the node's.")
    ] = None,
    tls_chain: TlsChain = None,
    tls_key: TlsKey = None,
    verbose: Verbose = False,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Become host: when the host is silent, has forked or is accused, or hands over to you.

    It starts a host on this node's own copy of the log, offers it to the members, and signs nothing
    until they have made you host: floor(2n/3)+1 of all n members approve, with
    `comity host approve YOU --at URL`. Your node must run. No round and no entry is lost: members
    hand in what they hold, and send again what was not final. Stop it, and nothing has happened.

    \b
    Example:
      comity host takeover --folder node-b --listen 0.0.0.0:8440 --url https://b.example:8440
    """
    tls = tls_of(tls_chain, tls_key)
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    screen = Screen(as_json)
    log_to_stderr(verbose)
    place = host_folder or folder / "host"
    charter = read_charter(folder / CHARTER)
    host_key = load_host_key(folder / KEYS, passphrase=unlock())
    seeded = expect(Seeded, ask_running(folder, SeedHost(str(place.absolute()))))
    server = HostServer(
        place, charter, host_key=host_key, listen=listen, clock=lambda: int(time.time()), tls=tls
    )
    at = url or server.url

    def ready(_: str) -> None:
        screen.result(
            Hosting(at, str(place.resolve())),
            f"{seeded.member} would host at {at}, from entry {seeded.size} on",
            f"now the others run: comity host approve {seeded.member} --at {at}",
        )
        threading.Thread(target=_claim, args=(folder, at), daemon=True).start()

    server.run(ready)


@host.command("approve")
def host_approve(
    what: Annotated[
        str, typer.Argument(help="Who would host, or the beginning of an epoch document's digest.")
    ],
    at: Annotated[str, typer.Option(help="Where it would host; default: where it offered to.")] = (
        ""
    ),
    within_s: Annotated[int, typer.Option(help="Wait so long for the others.", min=0)] = 0,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Approve another host, or another epoch that rests on one member's word.

    First ask by telephone, not through the host, whether it is so. Your node checks that the new
    log holds every entry that it has seen under a signed head. It approves one candidate and no
    second one for the same epoch, and tells the old host nothing more until that one is in force.

    \b
    Example:
      comity host approve hospital-b --at https://b.example:8440 --folder node-c
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    screen = Screen(as_json)
    with node_of(folder, unlock, screen, patient=True) as ask:
        before = expect(HostReport, ask(AskHost()))
        said = expect(Said, ask(ApproveEpoch(what, at)))
        limit = time.monotonic() + within_s
        with screen.waiting("approved; waiting for the others") as _:
            while (now := expect(HostReport, ask(AskHost()))).epoch == before.epoch:
                if time.monotonic() > limit:
                    break
                time.sleep(_AGAIN_S)
    done = now.epoch > before.epoch
    screen.result(
        Approved(said.statement, said.about, done),
        f"approved: {said.about}",
        f"in force: {now.host} hosts at {now.url}" if done else "waits for more approvals",
    )


@host.command("follow")
def host_follow(
    url: Url,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Look for the host at another address. The node moves there only if the log itself says so.

    \b
    Example:
      comity host follow https://b.example:8440 --folder node-c
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    screen = Screen(as_json)
    with node_of(folder, unlock, screen, patient=True) as ask:
        report = expect(HostReport, ask(FollowHost(url)))
    screen.result(report, *report_lines(report))


def _claim(folder: Path, url: str) -> None:
    """Let the node say that it would host, once the host answers; in a thread of its own."""
    while True:
        try:
            ask_running(folder, TakeOver(url))
        except Unavailable as error:
            _LOG.info("not yet offered why=%s", describe(error))
            time.sleep(_AGAIN_S)
        except ComityError as error:
            _LOG.error("cannot become host: %s", describe(error))
            return
        else:
            return
