"""`comity site left` and `comity stop`: what left this site, and how nothing more does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, final

import typer
from msgspec import Struct
from rich.table import Table

from comity.cli.terminal import AsJson, Folder, Screen, table, when
from comity.commons.rulebook import duration_s
from comity.node.control import ask_node
from comity.node.leaving import Left, LeftReport, left_since, since_of
from comity.node.stopping import Stop, begin_stop, end_stop
from comity.node.wish_wire import SiteStopped, StopNow

site = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
HERE = Path(".")


@final
class SiteStop(Struct, frozen=True, tag="site-stop"):
    """The site is stopped. node: whether one ran; studies: processes that it ended."""

    stop: Stop
    node: bool
    studies: int


@final
class StopEnded(Struct, frozen=True, tag="stop-ended"):
    """The stop of this site is over."""


@site.command("left")
def site_left(
    since: Annotated[
        str, typer.Option(help="2026-11-23, 2026-11-23T08:00 in UTC, or 24h, 7d.")
    ] = "24h",
    study: Annotated[str, typer.Option(help="Only of this study: the beginning of its id.")] = "",
    each: Annotated[
        bool, typer.Option("--each", help="Every message, not only the sum of each kind.")
    ] = False,
    folder: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Show everything that left this site: when, to whom, what, how many bytes, with their hash.

    Read from the ledger in this node's folder, which has a line before anything is sent. A line
    says that the message was about to leave; whether it arrived, the log says.

    \b
    Example:
      comity site left --since 24h --folder node-a
    """
    found = left_since(folder, since_of(since, int(time.time())))
    messages = tuple(m for m in found.messages if _concerns(m, study))
    report = LeftReport(found.since_s, found.unreadable, messages)
    screen = Screen(as_json)
    total = sum(m.bytes for m in messages)
    end = f"{len(messages)} messages, {total} bytes in their bodies, since {when(found.since_s)}"
    torn = [f"{found.unreadable} torn lines"] if found.unreadable else []
    screen.result(report, _lines(messages) if each else _kinds(messages), end, *torn)


def _concerns(left: Left, study: str) -> bool:
    return not study or any(about.study.startswith(study) for about in left.about)


def _kinds(messages: tuple[Left, ...]) -> Table:
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for left in messages:
        place = (left.kind, left.to)
        count, size = sums.get(place, (0, 0))
        sums[place] = (count + 1, size + left.bytes)
    rows = [[kind, to, str(n), str(size)] for (kind, to), (n, size) in sorted(sums.items())]
    return table(("what", "to", "messages", "bytes"), rows)


def _lines(messages: tuple[Left, ...]) -> Table:
    rows = []
    for left in messages:
        places = dict.fromkeys((a.study[:12], a.round_no) for a in left.about if a.study)
        named = ", ".join(f"{study} round {no}" if no else study for study, no in places)
        rows.append(
            [when(left.time_s), left.to, left.kind, str(left.bytes), left.sha256[:16], named]
        )
    return table(("time", "to", "what", "bytes", "sha256", "study"), rows)


def stop(
    lasting: Annotated[
        str, typer.Option("--for", help="How long, at most 30d; it then ends by itself.")
    ] = "72h",
    reason: Annotated[
        str, typer.Option(help="For your own people; it leaves this site never.")
    ] = "",
    end: Annotated[bool, typer.Option("--end", help="End the stop that holds now.")] = False,
    folder: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Stop everything of this site at once: studies die, connections are cut, nothing more leaves.

    No key is needed, and nobody is told: the other members see a member that is silent. Rounds
    under way wait or go on without it, as their rules say. The running node waits, and goes on by
    itself when the time is over; what it owes then follows from the log. A host that this
    institution runs is a program of its own: end it too if you mean it.

    \b
    Example:
      comity stop --reason "consent form under review" --folder node-a
      comity stop --end --folder node-a
    """
    screen = Screen(as_json)
    if end:
        end_stop(folder)
        screen.result(StopEnded(), "the stop is over: a running node goes on within a second")
        return
    for_s = duration_s(lasting, "--for")
    made = begin_stop(folder, now_s=int(time.time()), for_s=for_s, reason=reason)
    # The file alone keeps everything in; the running node also ends what it has under way.
    answer = ask_node(folder, StopNow(), timeout_s=60)
    ended = answer.studies if isinstance(answer, SiteStopped) else 0
    said = "no node runs here" if answer is None else f"the node ended {ended} study processes"
    screen.result(SiteStop(made, answer is not None, ended), made.words, said)
