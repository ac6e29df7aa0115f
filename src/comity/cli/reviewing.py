"""`comity review`, `comity study pause` and `resume`: whether a study's file may run, and when."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from comity.cli.asking import expect, node_of, read_node
from comity.cli.terminal import (
    AsJson,
    Folder,
    NoPassphrase,
    PassphraseFd,
    PassphraseFile,
    Screen,
    unlocker,
    when,
)
from comity.cli.work import HERE, Reason, StudyName, say
from comity.node.reviewing import POINTS, ReviewFile, ReviewReport, ReviewStatus, hash_of
from comity.node.reviewing_wire import (
    AskReviews,
    FindReviewFile,
    GiveReview,
    PauseStudy,
    ResumeStudy,
)

review = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@review.command("list")
def review_list(folder: Folder = HERE, as_json: AsJson = False) -> None:
    """List the studies that are not finished: who reviewed the file, what is missing, who paused.

    \b
    Example:
      comity review list --folder node-a
    """
    report = expect(ReviewReport, read_node(folder, AskReviews()))
    lines = [line for each in report.studies for line in _lines(each)]
    Screen(as_json).result(report, *(lines or ["no study is under way"]))


@review.command("show")
def review_show(
    name: StudyName,
    diff: Annotated[
        bool, typer.Option("--diff", help="Only what changed since the last reviewed file.")
    ] = False,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Show the very bytes that a review is about, or what changed in them.

    The last reviewed file is that of the newest earlier study of the same name which somebody
    outside its author's organisation approved.

    \b
    Example:
      comity review show risk --diff
    """
    screen = Screen(as_json)
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    with node_of(folder, unlock, screen) as ask:
        found = expect(ReviewFile, ask(FindReviewFile(name)))
    head = f"study {found.name}, sha256 {found.code}"
    if not diff:
        screen.result(found, head, *found.text.splitlines())
    elif not found.before:
        screen.result(found, head, "no file of this name was reviewed before: read all of it")
    else:
        screen.result(found, f"{head}, since {found.before}", *found.diff.splitlines())


@review.command("give")
def review_give(
    name: StudyName,
    holds: Annotated[
        list[str] | None,
        typer.Option("--holds", help=f"A point that holds; again for each: {', '.join(POINTS)}."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="What was read: refused when it is another file.")
    ] = None,
    reason: Reason = "",
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Say what you found when you read the file of a study: five points; all of them approve it.

    At a terminal it asks for each point that is not named. When one does not hold, --reason says
    why. The last word of a member counts; it is about these bytes and no others.

    \b
    Example:
      comity review give risk
      comity review give risk --holds columns --holds output --reason "opens a socket"
    """
    said = tuple(holds or ())
    if not said and not as_json and sys.stdin.isatty():
        said = tuple(point for point, words in POINTS.items() if typer.confirm(words + "?"))
        if len(said) < len(POINTS) and not reason:
            reason = str(typer.prompt("what does not hold, in one line"))
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    wish = GiveReview(name, said, hash_of(file) if file else "", reason)
    done = "approved the file of" if set(said) >= set(POINTS) else "did not approve the file of"
    say(folder, as_json, unlock, wish, done)


def study_pause(
    name: StudyName,
    reason: Reason,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """Pause a study for 72 hours, as any member may once in 30 days; the pause ends by itself.

    No round opens meanwhile, and who has not sent its masked update abandons the one under way. For
    your own site alone, withdraw the consent or `comity stop`.

    \b
    Example:
      comity study pause risk --reason "column age is in months at our site"
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    say(folder, as_json, unlock, PauseStudy(name, reason), "paused")


def study_resume(
    name: StudyName,
    folder: Folder = HERE,
    as_json: AsJson = False,
    passphrase_fd: PassphraseFd = None,
    passphrase_file: PassphraseFile = None,
    unencrypted: NoPassphrase = False,
) -> None:
    """End a pause of your own before its time.

    \b
    Example:
      comity study resume risk
    """
    unlock = unlocker(passphrase_fd, passphrase_file, unencrypted)
    say(folder, as_json, unlock, ResumeStudy(name), "ended the pause of")


def _lines(each: ReviewStatus) -> list[str]:
    missing = (
        "has the reviews that the charter demands"
        if each.reviewed
        else f"lacks {each.reviewers_missing} reviewers, {each.orgs_missing} organisations"
    )
    lines = [f"{each.name} ({each.study[:12]}) by {each.author}, sha256 {each.code}: {missing}"]
    for line in each.reviews:
        verdict = "approves" if line.approves else f"does not approve: {line.reason}"
        aside = " (of the author's organisation)" if line.approves and not line.counts else ""
        lines.append(f"  {line.member} {verdict}{aside}")
    for pause in each.pauses:
        lines.append(f"  {pause.member} paused it until {when(pause.until_s)}: {pause.reason}")
    if each.mine and not each.reviewed:
        lines.append(f"  ASKS YOU: comity review show {each.study[:12]}")
    return lines
