"""`comity host` and `comity node`: the two programs that run for as long as a commons works."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, final

import typer
from msgspec import Struct

from comity.cli.asking import expect, read_node
from comity.cli.hosts import report_lines
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
from comity.errors import ExitCode, Misconfigured
from comity.host.serve import run_host
from comity.host.service import LOG
from comity.node.answers import HostStatus, parse
from comity.node.doctor import examine
from comity.node.founding import CHARTER, KEYS, read_charter
from comity.node.governing import HostReport
from comity.node.governing_wire import AskHost
from comity.node.http_client import HttpClient, Limits
from comity.node.keyfile import load_host_key
from comity.node.leaving import Ledger
from comity.node.outlet import NoSite
from comity.node.rotating import load_own_keys
from comity.node.running import Running
from comity.node.settings import authorities, read_node_settings
from comity.node.station import Station
from comity.node.stopping import stop_of
from comity.values import CommonsId, MemberId, PlainHttp

host = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
node = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Listen = Annotated[str, typer.Option(help="address:port; port 0 takes a free one.")]
TlsChain = Annotated[Path | None, typer.Option(help="Certificate chain, PEM.")]
TlsKey = Annotated[Path | None, typer.Option(help="Its private key, PEM.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log more, to stderr.")]
HERE = Path(".")
_ANSWER_BYTES_MAX = 65_536
_MARKS = {"ok": "ok    ", "note": "note  ", "fail": "FAIL  ", "skipped": "-     "}


@final
class Hosting(Struct, frozen=True, tag="hosting"):
    """A host that answers at `url`."""

    url: str
    folder: str


@final
class NodeRunning(Struct, frozen=True, tag="node"):
    """A node that runs. socket: where commands reach it."""

    member: MemberId
    commons: CommonsId
    host_url: str
    socket: str


@host.command("serve")
def host_serve(
    listen: Listen = "127.0.0.1:8440",
    host_folder: Annotated[
        Path | None, typer.Option(help="The host's own folder; default: host/ in the node's.")
    ] = None,
    tls_chain: TlsChain = None,
    tls_key: TlsKey = None,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain-http-on-purpose",
            help="No TLS although other machines reach it: a reverse proxy on one of them has it.",
        ),
    ] = False,
    tiles: Annotated[
        Path | None,
        typer.Option(help="A folder that shows every final head as static files (C2SP tiles)."),
    ] = None,
    verbose: Verbose = False,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Host the commons: order and relay what members say. The host sees sizes and times only.

    It unlocks the host key and no other. Where other machines reach it, it needs --tls-chain and
    --tls-key, or a reverse proxy that has them. It never starts behind what --tiles shows.

    \b
    Example:
      comity host serve --folder node-a --listen 0.0.0.0:8440 --tls-chain c.pem --tls-key k.pem
    """
    files = tls_of(tls_chain, tls_key)
    if files and plain:
        raise Misconfigured("name TLS files or --plain-http-on-purpose, not both")
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    screen = Screen(as_json)
    log_to_stderr(verbose)
    charter = read_charter(folder / CHARTER)
    member = read_node_settings(folder / "node.toml").member
    place = host_folder or folder / "host"
    if member != charter.host and not (place / LOG).exists():
        raise Misconfigured(
            f"the charter names {charter.host} as host, this is the folder of {member}: let"
            f" {charter.host} host, or become host with `comity host takeover`"
        )
    host_key = load_host_key(folder / KEYS, passphrase=unlock())
    run_host(
        place,
        charter,
        host_key=host_key,
        listen=listen,
        ready=lambda url: screen.result(
            Hosting(url, str(place.resolve())), f"hosting {charter.name} at {url}"
        ),
        tls=PlainHttp.ON_PURPOSE if plain else files,
        tiles=tiles,
        in_office_only=True,
    )


def tls_of(chain: Path | None, key: Path | None) -> tuple[Path, Path] | None:
    """Both files, or None. Raises Misconfigured: one without the other."""
    if (chain is None) != (key is None):
        raise Misconfigured("--tls-chain and --tls-key go together")
    return (chain, key) if chain and key else None


@host.command("status")
def host_status(
    url: Annotated[
        str | None, typer.Option(help="Of the host; default: the one in node.toml.")
    ] = None,
    folder: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Ask a host what it tells anybody, and this node who hosts by its own verified copy.

    The copy also says who has offered to host, and which change of host waits for approvals.

    \b
    Example:
      comity host status --url https://host.example:8440
    """
    if url is None:
        settings = read_node_settings(folder / "node.toml")
        at, tls, proxy = settings.host_url, authorities(settings), settings.proxy or None
    else:
        at, tls, proxy = url, None, None
    outlet = Ledger(folder) if (folder / "node.toml").exists() else NoSite()
    client = HttpClient(at, tls=tls, proxy=proxy, limits=Limits(), outlet=outlet)
    try:
        answer = client.ask("GET", "/status", bytes_max=_ANSWER_BYTES_MAX, tries=1)
        found = parse(answer.body, HostStatus)
    finally:
        client.close()
    lines = []
    if (folder / "node.toml").exists():
        lines = report_lines(expect(HostReport, read_node(folder, AskHost())))
    Screen(as_json).result(
        found,
        f"host:    {found.host}{'' if found.in_office else ', not the one'} at {at}",
        f"commons: {found.commons}",
        f"entries: {found.size}",
        f"founded: {'yes' if found.founded else 'not yet'}",
        *(f"by this node's copy: {line}" for line in lines),
    )


@node.command("run")
def node_run(
    verbose: Verbose = False,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Run this member's node: follow the log, do what is owed, serve this folder's commands.

    It ends with SIGTERM or Ctrl-C and loses nothing: what is owed follows from the log.

    \b
    Example:
      comity node run --folder node-a --passphrase-file /run/credentials/comity
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    screen = Screen(as_json)
    log_to_stderr(verbose)
    passphrase = unlock()
    stop = stop_of(folder, int(time.time()))
    if stop is not None:
        screen.note(stop.words)

    shown: list[bool] = []

    def ready(station: Station) -> None:
        member, url = station.member, station.settings.host_url
        place = str((folder / "node.sock").resolve())
        begun = NodeRunning(member, station.replica.commons, url, place)
        line = f"node of {member} runs, towards {url}"
        if shown:
            screen.note(line)  # again, after a stop
        else:
            screen.result(begun, line)
        shown.append(True)

    running = Running(folder, lambda: load_own_keys(folder, passphrase=passphrase), ready=ready)
    _stop_on_signals(running)
    running.run()


def doctor(folder: Folder = HERE, as_json: AsJson = False) -> None:
    """Test what this node needs: settings, keys, disk, sandbox, the way to the host, its clock.

    One page for those who run machine and network: each line says what was tested, what came, and
    what to do. It unlocks no key and may run beside the node. It ends with 1 when something fails.

    \b
    Example:
      comity doctor --folder node-a
    """
    examined = examine(folder)
    lines = []
    for each in examined.findings:
        lines.append(f"{_MARKS[each.result]} {each.tested}: {each.found}")
        if each.advice:
            lines.append(f"       do: {each.advice}")
    bad = sum(each.result == "fail" for each in examined.findings)
    end = "nothing stands in the way" if not bad else f"{bad} to put right"
    Screen(as_json).result(examined, *lines, end)
    raise typer.Exit(int(ExitCode.DONE if examined.passed else ExitCode.FAILED))


def _stop_on_signals(running: Running) -> None:
    """SIGTERM and Ctrl-C end the node; where signals are somebody else's, nothing."""
    if threading.current_thread() is not threading.main_thread():
        return

    def stop(number: int, frame: FrameType | None) -> None:
        running.end()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
