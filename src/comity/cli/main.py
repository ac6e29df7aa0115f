"""The command `comity`: its nouns, and the outermost place where an error becomes an exit code."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn, final

import typer
from msgspec import Struct
from rich.console import Console

from comity.cli import (
    accusing,
    beginning,
    chartering,
    deciding,
    entering,
    exporting,
    hosting,
    keying,
    kit,
    leaving,
    members,
    reading,
    reviewing,
    serving,
    simulating,
    studying,
    work,
)
from comity.cli import consenting as consenting  # adds commands to `comity consent`
from comity.cli import fitting as fitting  # adds commands to `comity data`
from comity.cli.terminal import AsJson, Screen, complain, exit_code_of, steady_output
from comity.errors import ComityError, ExitCode

app = typer.Typer(
    name="comity",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # they print local variables, and some of those are secrets
    add_completion=False,
    help="""Institutions build AI together without having to trust each other, or the host.

    \b
    Example:
      comity demo
      comity status --folder node-a

    \b
    Exit codes: 0 done or verified, 1 failed, 2 usage or setting, 3 against the rules,
    4 verification failed, 5 consent missing, 6 no fault found but no anchor given,
    7 verified but older than asked for.
    """,
)

app.add_typer(entering.identity, name="id", help="Keys of a member, and its public id file.")
app.add_typer(chartering.charter, name="charter", help="The constitution that all founders sign.")
app.add_typer(entering.commons, name="commons", help="Found a commons, or join one.")
app.add_typer(hosting.commands, name="host", help="The host, which orders and relays.")
app.add_typer(members.member, name="member", help="Who belongs, and who has applied.")
app.add_typer(keying.keys, name="keys", help="New keys for this member; keys in wrong hands.")
app.add_typer(beginning.commands, name="node", help="A member's running software.")
app.add_typer(work.data, name="data", help="Data sets of this site; they stay at home.")
app.add_typer(studying.study, name="study", help="Joint work, in one file that everybody reads.")
app.add_typer(work.consent, name="consent", help="What the owner of the data alone decides.")
app.add_typer(work.release, name="release", help="Publish a result the members agreed on.")
app.add_typer(reading.log, name="log", help="The one log that everybody holds.")
app.add_typer(accusing.evidence, name="evidence", help="Who broke the protocol, and the proof.")
app.add_typer(reading.anchor, name="anchor", help="What outsiders trust to begin with.")
app.add_typer(reviewing.review, name="review", help="Reading study files before they run.")
studying.study.command("pause")(reviewing.study_pause)
studying.study.command("resume")(reviewing.study_resume)
app.add_typer(leaving.site, name="site", help="This site alone: what left it.")
app.add_typer(deciding.proposal, name="proposal", help="What was put to the vote.")
app.add_typer(deciding.notice, name="notice", help="Reasons a member is given before a vote.")
reading.log.command("export")(exporting.log_export)
reading.log.command("check")(exporting.log_check)
app.command("simulate")(simulating.simulate)
app.command("vote")(deciding.vote)
app.command("kit")(kit.kit)
app.command("stop")(leaving.stop)
app.command("status")(reading.status)
app.command("verify")(reading.verify_release)
app.command("doctor")(serving.doctor)


@final
class DemoDone(Struct, frozen=True, tag="demo"):
    """The demo ran; `folder` holds everything it made."""

    code: int
    folder: str


@app.command("demo")
def demo(
    folder: Annotated[
        Path | None, typer.Option(help="A new folder for all it makes; default: a temporary one.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="A folder with the data files, to use without network.")
    ] = None,
    kill_in_round: Annotated[int, typer.Option(help="When a node is killed.", min=1)] = 5,
    as_json: AsJson = False,
) -> None:
    """Run the whole of it on this machine: found, train, vote, release, verify.

    \b
    Example:
      comity demo
    """
    # Nobody else pays for loading the demo's tools.
    from comity.demo.run import run_demo

    place = folder or Path(tempfile.mkdtemp(prefix="comity-demo-"))
    code = run_demo(place, given=data, console=Console(stderr=as_json), kill_in_round=kill_in_round)
    if as_json:
        Screen(as_json).result(DemoDone(int(code), str(place.resolve())))
    raise typer.Exit(int(code))


def run(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command, and end the process with its exit code.

    Args:
        arguments: without the program's name; those of this process when None.
    """
    steady_output()
    try:
        app(arguments)
    except ComityError as error:
        complain(error)
        sys.exit(exit_code_of(error))
    except SystemExit as end:
        # The table of exit codes has no code for Ctrl-C.
        sys.exit(ExitCode.FAILED if end.code == 130 else end.code)
    sys.exit(ExitCode.DONE)


if __name__ == "__main__":
    run()
