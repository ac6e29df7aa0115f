"""`comity evidence` and the heads that members show one another: who broke the protocol, proved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from comity.cli.asking import expect, read_node
from comity.cli.terminal import AsJson, Folder, Screen, complain, table, when
from comity.errors import ExitCode, Forged, Malformed, Misconfigured
from comity.log.evidence_forms import KnownKeys, parse_evidence
from comity.node.evidence_wire import (
    CheckEvidence,
    CompareHead,
    ListEvidence,
    ShowEvidence,
    ShowHead,
)
from comity.node.evidence_wishes import (
    EvidenceChecked,
    EvidenceList,
    EvidenceShown,
    HeadCompared,
    HeadShown,
    check_with_keys,
    read_evidence_file,
)
from comity.node.founding import CHARTER, read_identity
from comity.release.anchor import parse_anchor

evidence = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

HERE = Path(".")
_ANCHOR_BYTES_MAX = 512


@evidence.command("check")
def evidence_check(
    file: Annotated[Path, typer.Argument(help="The file of evidence.")],
    folder: Annotated[
        Path | None, typer.Option("--folder", help="A member's node folder: its log has the keys.")
    ] = None,
    id_files: Annotated[
        list[Path] | None, typer.Option("--key", help="Id file of a member; may be repeated.")
    ] = None,
    anchor_file: Annotated[
        Path | None, typer.Option("--anchor", help="The log it must be about, with --key.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check evidence that somebody broke the protocol: no network, and no trust in its bearer.

    Give a node's folder, or the id files of the accused and of the host. It ends with 0 when it is
    proven, 4 when it proves nothing, 6 when it cannot be decided with what was given.

    \b
    Example:
      comity evidence check host-3f0a77c1d2e4b596.json --key hospital-a.id.json --anchor anchor.txt
    """
    screen = Screen(as_json)
    if folder is not None and (id_files or anchor_file):
        raise Misconfigured("give --folder, or --key with --anchor, not both")
    try:
        found = _check(file, folder, id_files or [], anchor_file)
    except (Malformed, Forged) as error:
        complain(error)
        raise typer.Exit(int(ExitCode.NOT_VERIFIED)) from None
    if found is None:
        screen.note("it is in form; give --folder, or --key, to check who signed it")
        raise typer.Exit(int(ExitCode.NO_ANCHOR))
    screen.result(found, found.sentence, "proven" if found.proven else "not decided")
    if not found.proven:
        raise typer.Exit(int(ExitCode.NO_ANCHOR))


@evidence.command("list")
def evidence_list(folder: Folder = HERE, as_json: AsJson = False) -> None:
    """List what this node has caught: evidence for anyone, and alarms for you.

    \b
    Example:
      comity evidence list --folder node-a
    """
    found = expect(EvidenceList, read_node(folder, ListEvidence()))
    rows = [
        [
            line.name,
            line.kind,
            line.accused,
            when(line.time_s) if line.time_s else "",
            "yes" if line.proven else "no",
            line.sentence,
        ]
        for line in found.lines
    ]
    shown = table(("name", "kind", "accused", "time", "proof", "what"), rows)
    stopped = [f"STOPPED speaking to the host: {found.halted}"] if found.halted else []
    Screen(as_json).result(found, *stopped, shown if rows else "nothing was caught")


@evidence.command("show")
def evidence_show(
    name: Annotated[str, typer.Argument(help="As `comity evidence list` names it.")],
    folder: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Print one file of evidence as it is, to be given to others.

    \b
    Example:
      comity evidence show host-3f0a77c1d2e4b596.json > fork.json
    """
    shown = expect(EvidenceShown, read_node(folder, ShowEvidence(name)))
    Screen(as_json).verbatim(shown, shown.text)


def log_head(
    out: Annotated[Path | None, typer.Option(help="A new file; default: print it.")] = None,
    folder: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Show the newest head of this node's log, to be compared by another member.

    \b
    Example:
      comity log head --out head.txt --folder node-a
    """
    shown = expect(HeadShown, read_node(folder, ShowHead()))
    screen = Screen(as_json)
    if out is None:
        screen.verbatim(shown, shown.text)
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(shown.text)
    except OSError as error:
        raise Misconfigured(f"cannot write {out}: {error.strerror}") from error
    screen.result(shown, f"head of size {shown.size} written to {out}")


def log_compare(
    file: Annotated[Path, typer.Argument(help="A head, from another member.")],
    folder: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Compare another member's head with this node's log: has the host shown both the same?

    If not, the evidence is kept and this node speaks no more to the host.

    \b
    Example:
      comity log compare head.txt --folder node-b
    """
    found = expect(HeadCompared, read_node(folder, CompareHead(str(file.resolve()))))
    words = {
        "same": f"the same history up to {found.size} entries; here are {found.here}",
        "longer": f"it has {found.size} entries and this node {found.here}: compare the other way"
        " round, or again once this node has read as far",
    }
    Screen(as_json).result(found, words[found.verdict])
    if found.verdict == "longer":
        raise typer.Exit(int(ExitCode.NO_ANCHOR))


def _check(
    file: Path, folder: Path | None, id_files: list[Path], anchor_file: Path | None
) -> EvidenceChecked | None:
    """What the evidence shows; None when nothing was given to check it with."""
    if folder is not None:
        if not (folder / CHARTER).is_file():
            raise Misconfigured(f"{folder} is no node's folder: it has no {CHARTER}")
        return expect(EvidenceChecked, read_node(folder, CheckEvidence(str(file.resolve()))))
    if id_files:
        return check_with_keys(file, _known(id_files, anchor_file))
    parse_evidence(read_evidence_file(file))
    return None


def _known(id_files: list[Path], anchor_file: Path | None) -> KnownKeys:
    sets = [read_identity(path).key_set for path in id_files]
    if len({key_set.member for key_set in sets}) != len(sets):
        raise Misconfigured("two id files are of one member: give the one that counts")
    origin = None
    if anchor_file is not None:
        try:
            with anchor_file.open("rb") as file:
                origin = parse_anchor(file.read(_ANCHOR_BYTES_MAX + 1)).origin
        except OSError as error:
            raise Misconfigured(f"cannot read {anchor_file}: {error.strerror}") from error
    return KnownKeys({key_set.member: [key_set.keys] for key_set in sets}, origin)
