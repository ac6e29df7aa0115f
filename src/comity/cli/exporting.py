"""`comity log export` and `comity log check`: the log as static files, for anybody's tools."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Final, final

import typer
from msgspec import Struct

from comity.cli.asking import expect, read_node
from comity.cli.reading import read_anchor
from comity.cli.terminal import AsJson, Folder, Screen, when
from comity.errors import ExitCode, Forged, Malformed
from comity.node.exporting import ExportTask, LogExported, export_log
from comity.node.founding import CHARTER, read_charter
from comity.node.wish_wire import ExportLog
from comity.release.exported import check_exported
from comity.storage.folder import DiskFolder
from comity.storage.log_store import SqliteLogStore

HERE: Final = Path(".")


@final
class LogChecked(Struct, frozen=True, tag="log-checked"):
    """What `comity log check` found. code: the exit code; the rest is empty when a check failed.

    others: signature lines of keys nobody here knows. beyond: tiles above the head, not checked.
    """

    code: int
    sentence: str
    origin: str = ""
    size: int = 0
    root: str = ""
    cosigned_by: tuple[str, ...] = ()
    cosigned_s: int = 0
    tiles: int = 0
    beyond: int = 0
    others: int = 0


def log_export(
    out: Annotated[Path, typer.Argument(help="The folder; it goes on where it stands.")],
    host_folder: Annotated[
        Path | None,
        typer.Option(help="Export from this host's folder, whose host does not run."),
    ] = None,
    folder: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Write the log up to its newest final head as static files, which other people's tools read.

    The layout is c2sp.org/tlog-tiles. A running host does it by itself: `comity host serve
    --tiles`. Give the folder to outsiders, or to any web server.

    \b
    Example:
      comity log export public/log --folder node-a
    """
    if host_folder is None:
        done = expect(LogExported, read_node(folder, ExportLog(str(out.absolute()))))
    else:
        charter = read_charter(folder / CHARTER)
        store = SqliteLogStore(host_folder / "host.sqlite")
        try:
            done = export_log(ExportTask(store, charter), out)
        finally:
            store.close()
    Screen(as_json).result(
        done, f"{done.folder} shows {done.size} entries ({done.written} files written)"
    )


def log_check(
    exported: Annotated[Path, typer.Argument(help="The folder with `checkpoint` and `tile/`.")],
    anchor_file: Annotated[
        Path | None, typer.Option("--anchor", help="From two members, not from the folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check an exported log: every entry, tile and signature, with no network and no account.

    It ends with 0 when all of it fits the anchor, 4 when a check failed, 6 when no fault was found
    but no anchor was given.

    \b
    Example:
      comity log check public/log --anchor anchor.txt
    """
    anchor = read_anchor(anchor_file) if anchor_file is not None else None
    folder = DiskFolder(exported, hollow=True)
    try:
        found = check_exported(folder, anchor)
    except (Malformed, Forged) as error:
        sentence = f"not to be trusted: {error}"
        Screen(as_json).result(LogChecked(int(ExitCode.NOT_VERIFIED), sentence), sentence)
        raise typer.Exit(int(ExitCode.NOT_VERIFIED)) from error
    code = ExitCode.DONE if found.anchored else ExitCode.NO_ANCHOR
    head = found.head.head
    sentence = (
        f'verified: the log of "{found.commons}" up to entry {head.size}'
        if found.anchored
        else f'no fault found, but no anchor was given: the folder says it is "{found.commons}",'
        " and anybody can make such a folder. Get an anchor from two members"
    )
    shown = LogChecked(
        code=int(code),
        sentence=sentence,
        origin=head.origin,
        size=head.size,
        root=head.root.hex(),
        cosigned_by=found.members,
        cosigned_s=found.cosigned_s,
        tiles=found.tiles,
        beyond=found.beyond,
        others=found.others,
    )
    age_s = max(0, int(time.time()) - found.cosigned_s)
    Screen(as_json).result(
        shown,
        f"origin:     {head.origin}",
        f"entries:    {head.size}, root {shown.root}",
        f"cosigned:   {', '.join(found.members)} ({found.quorum} are needed), a quorum at"
        f" {when(found.cosigned_s)}, {age_s} s ago",
        f"tiles:      {found.tiles} fit, {found.beyond} above the head were not looked at",
        f"signatures: {found.others} more of keys that this commons does not know",
        sentence,
    )
    raise typer.Exit(int(code))
