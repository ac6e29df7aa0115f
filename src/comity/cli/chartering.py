"""`comity charter new`, `check`, `show`, `diff`: weighed before anybody signs; and `current`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, final

import msgspec
import typer
from msgspec import Struct

from comity.cli.asking import expect, read_node
from comity.cli.plain import LANGUAGES, changes, sentences
from comity.cli.terminal import AsJson, Folder, Screen
from comity.commons.charter import Charter, charter_bytes, commons_id
from comity.errors import Misconfigured
from comity.node import chartering, founding
from comity.node.charter_text import toml_of
from comity.node.chartering import PRESETS
from comity.node.deciding import CharterText
from comity.node.deciding_wire import AskCharter

charter = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Language = Annotated[str, typer.Option(help=f"Of the sentences: {', '.join(LANGUAGES)}.")]


@final
class Said(Struct, frozen=True, tag="charter-plain"):
    """Every key of a charter as a sentence, by its path."""

    commons: str
    sentences: dict[str, str]


@final
class Differs(Struct, frozen=True, tag="charter-diff"):
    """(path, before, after) of every key in which two charters differ."""

    changes: list[tuple[str, str, str]]


@charter.command("new")
def charter_new(
    ids: Annotated[list[Path], typer.Argument(help="The id files of all founders.")],
    name: Annotated[str, typer.Option(help="Name of the commons.")] = "",
    host: Annotated[str, typer.Option(help="Member id of the first host.")] = "",
    out: Annotated[Path, typer.Option(help="The new file.")] = Path("charter.toml"),
    quorum: Annotated[
        int | None, typer.Option(help="Members that make a head final; default two thirds.")
    ] = None,
    preset: Annotated[
        str,
        typer.Option(help=f"Rules of decision to begin with: {', '.join(PRESETS)}."),
    ] = "",
    vote_open_s: Annotated[
        int, typer.Option(help="Without a preset, how long votes are open, in seconds.")
    ] = 7 * 86_400,
    as_json: AsJson = False,
) -> None:
    """Write a charter from the founders' id files, to be read and talked over.

    Without a preset, votes are decided by simple majority. At a terminal it asks for what is not
    said.

    \b
    Example:
      comity charter new a.id.json b.id.json c.id.json --name "Heart" --host hospital-a
      comity charter new *.id.json --name "Heart" --host hospital-a --preset small
    """
    founders = [founding.read_identity(each).key_set.member for each in ids]
    asked = not as_json and sys.stdin.isatty()
    if asked and not (name and host):
        preset = preset or typer.prompt("preset (or: none)", default=_usual(len(founders)))
    name = name or _asked(asked, "--name", "name of the commons", "")
    host = host or _asked(asked, "--host", "member that hosts first", founders[0])
    if preset not in ("", "none", *PRESETS):
        raise Misconfigured(f"--preset: one of {', '.join(PRESETS)}, not {preset!r}")
    made = chartering.new_charter(
        out,
        name=name,
        host=host,
        ids=ids,
        quorum=quorum,
        vote_open_s=vote_open_s,
        preset=preset if preset in PRESETS else None,
    )
    summary = chartering.check_charter(made)
    Screen(as_json).result(
        summary,
        f"written: {out}",
        *_summary(summary),
        "every founder reads it and runs `comity charter sign`; a change gives another commons id",
    )


def _usual(count: int) -> str:
    return "pair" if count == 2 else "small" if count < 10 else "network"


def _asked(asked: bool, option: str, question: str, default: str) -> str:
    if not asked:
        raise Misconfigured(f"{option} is missing: {question}")
    return str(typer.prompt(question, default=default or None))


@charter.command("check")
def charter_check(
    file: Annotated[Path, typer.Argument(help="charter.toml or charter.json")],
    as_json: AsJson = False,
) -> None:
    """Check a charter, and say what it means: the commons id, the quorum, who can decide or block.

    Of each decision: how many must say yes when all others say no, how many can block, and how
    many that are away stop it. Of each group: its weight, and whether it can pass or block alone.

    \b
    Example:
      comity charter check charter.toml
    """
    summary = chartering.check_charter(founding.read_charter(file))
    Screen(as_json).result(summary, *_summary(summary))


@charter.command("show")
def charter_show(
    file: Annotated[Path, typer.Argument(help="charter.toml or charter.json")],
    plain: Annotated[
        bool, typer.Option("--plain", help="Every key as a sentence instead of the signed form.")
    ] = False,
    language: Language = "en",
    as_json: AsJson = False,
) -> None:
    """Show a charter: the canonical form that is hashed, or, with --plain, in sentences.

    \b
    Example:
      comity charter show charter.toml --plain
    """
    read = founding.read_charter(file)
    said = sentences(read, known_language(language))
    result = Said(commons_id(read), {each.path: each.text for each in said})
    form = charter_bytes(read).decode()
    Screen(as_json).result(result, *([each.text for each in said] if plain else [form]))


@charter.command("diff")
def charter_diff(
    before: Annotated[Path, typer.Argument(help="charter.toml or charter.json")],
    after: Annotated[Path, typer.Argument(help="the other one")],
    language: Language = "en",
    as_json: AsJson = False,
) -> None:
    """Say in sentences in what two charters differ.

    \b
    Example:
      comity charter diff charter.toml charter-new.toml
    """
    found = changes(
        founding.read_charter(before), founding.read_charter(after), known_language(language)
    )
    lines = [
        line
        for change in found
        for line in (
            change.path,
            f"  before: {change.before or '-'}",
            f"  after:  {change.after or '-'}",
        )
    ]
    Screen(as_json).result(
        Differs([(each.path, each.before, each.after) for each in found]),
        *(lines or ["the same charter"]),
    )


@charter.command("current")
def charter_current(
    out: Annotated[
        Path | None, typer.Option(help="A new file for it, in TOML, to be changed.")
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Every key as a sentence instead of the signed form.")
    ] = False,
    language: Language = "en",
    folder: Folder = Path("."),
    as_json: AsJson = False,
) -> None:
    """Show the charter in force: the one that was signed, with all amendments.

    \b
    Example:
      comity charter current --plain --folder node-a
      comity charter current --out charter-next.toml
    """
    found = expect(CharterText, read_node(folder, AskCharter()))
    charter = msgspec.json.decode(found.text, type=Charter)
    said = sentences(charter, known_language(language))
    lines = [each.text for each in said] if plain else [found.text]
    if out is not None:
        chartering.write_new(out, toml_of(charter))
        lines = [f"written: {out}"]
    Screen(as_json).result(found, *lines)


def known_language(language: str) -> str:
    """The language, when there is a catalogue of it. Raises Misconfigured."""
    if language not in LANGUAGES:
        raise Misconfigured(f"--language: one of {', '.join(LANGUAGES)}, not {language!r}")
    return language


def _summary(summary: chartering.CharterSummary) -> list[str]:
    return [
        f"commons: {summary.commons}",
        f"name:    {summary.name}",
        f"members: {', '.join(summary.members)}",
        f"host:    {summary.host}",
        *(f"  {line}" for line in summary.meaning),
        *(line for act in summary.acts for line in _power(act, len(summary.members))),
        *(f"  note: {line}" for line in summary.warnings),
    ]


def _power(act: chartering.ActPower, count: int) -> list[str]:
    def members(least: int) -> str:
        return f"{least} of {count}" if least <= count else "nobody"

    lines = [
        f"  {act.act} (rule {act.rule}): {members(act.yes_needed)} carry it against all others,"
        f" {members(act.blocks)} can block it, {members(act.deadlocks)} away stop it"
    ]
    if len(act.shares) < count:
        lines.append(
            "    weight: " + ", ".join(f"{group} {share}" for group, share in act.shares.items())
        )
    for groups, what in ((act.passes_alone, "decide"), (act.blocks_alone, "block")):
        if groups:
            lines.append(f"    alone can {what}: {', '.join(groups)}")
    return lines
