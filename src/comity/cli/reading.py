"""`comity status`, `comity log`, `comity anchor`, `comity verify`: what is so, and its proof."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, final

import typer
from msgspec import Struct
from rich.table import Table

from comity.cli.accusing import log_compare, log_head
from comity.cli.asking import expect, read_node
from comity.cli.terminal import AsJson, Folder, Screen, table, when
from comity.errors import Misconfigured
from comity.node.pages import EntryProof, EntryShown, LogPage
from comity.node.reports import AnchorText, ProposalStatus, Status, StudyStatus
from comity.node.rows import StudyShown
from comity.node.wish_wire import AskStatus, ListLog, ProveEntry, ShowAnchor, ShowEntry
from comity.release.anchor import Anchor, parse_anchor
from comity.release.verify import Verdict, verify
from comity.storage.folder import DiskFolder

log = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
anchor = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

HERE = Path(".")
_ANCHOR_BYTES_MAX = 512


@final
class CheckMade(Struct, frozen=True):
    """One numbered check of a release folder."""

    number: int
    name: str
    passed: bool
    detail: str


@final
class Judged(Struct, frozen=True, tag="verdict"):
    """What `comity verify` found. code: the exit code. claims: "" where nothing is claimed."""

    code: int
    sentence: str
    checks: tuple[CheckMade, ...]
    origin: str = ""
    model: str = ""
    manifest: str = ""
    study: str = ""
    round_no: int = 0
    signers: tuple[str, ...] = ()


# -- status --------------------------------------------------------------------------------------


def status(folder: Folder = HERE, as_json: AsJson = False) -> None:
    """Show what this node owes, what it asks you, what stands in the way, and what each study
    waits for.

    \b
    Example:
      comity status --folder node-a
    """
    now = expect(Status, read_node(folder, AskStatus()))
    founded = "yes" if now.founded else f"not yet; missing: {', '.join(now.missing) or 'nobody'}"
    lines = [
        f"{now.member} in {now.name} ({now.commons[:16]}), host {now.host} at {now.host_url}",
        f"founded: {founded}",
        f"log: {now.size} entries, final up to {now.final_size}; commons time"
        f" {when(now.commons_time_s) if now.commons_time_s else 'none yet'}",
    ]
    lines += [f"ASKS YOU: {ask.subject} on {ask.name}: {ask.answer}" for ask in now.asks]
    lines += [f"IN THE WAY: {fault.subject}: {fault.why}" for fault in now.obstacles]
    lines += [f"owes: {duty}" for duty in now.owes]
    lines += [f"data set {data.id}: {data.path or 'not known here'}" for data in now.datasets]
    for study in now.studies:
        lines += study_lines(study)
    lines += [_proposal_line(proposal) for proposal in now.proposals]
    lines += [f"{what}: {path}" for what, path in now.places.items()]
    Screen(as_json).result(now, *lines)


def study_lines(study: StudyStatus) -> list[str]:
    """Where a study stands, for people."""
    head = (
        f"study {study.name} ({study.id[:12]}): {study.results_count} of {study.rounds_max} rounds"
        f" have a result; consent here: {study.consent}; {study.method}"
    )
    if study.without:
        times = (f"{member} in {count}" for member, count in sorted(study.without.items()))
        head = f"{head}\n  NOT EVERYBODY IS IN THE RESULTS: without {', '.join(times)} of them"
    if study.phase == "finished":
        return [head, "  finished"]
    place = f"  round {study.round_no}, attempt {study.attempt}, {study.phase}"
    if study.waits_for:
        names = ", ".join(study.waits_for)
        why = f" {study.why}" if study.why.startswith("to ") else f": {study.why}"
        return [head, f"{place}: waits for {names}{why}"]
    return [head, f"{place}: {study.why}" if study.why else place]


def shown_lines(shown: StudyShown) -> list[str | Table]:
    """What a study has given: rounds, failures that sites told, the rows of an evaluation."""
    lines: list[str | Table] = []
    if shown.rounds:
        rows = [
            [str(each.round_no), str(each.attempt), ", ".join(each.members), each.model[:16]]
            for each in shown.rounds
        ]
        lines.append(table(("round", "attempt", "in the sum", "model"), rows))
    if shown.told:
        rows = [
            [each.member, str(each.round_no), each.kind, str(each.line or "-"), each.raised]
            for each in shown.told
        ]
        lines.append(table(("failed at", "round", "kind", "line", "raised"), rows))
    if shown.pooled or shown.own:
        rows = [
            [name, *(score(row.get(name)) for row in (shown.pooled, shown.own))]
            for name in sorted({*shown.pooled, *shown.own})
        ]
        lines.append(table(("metric", "over all members", "here, and only here"), rows))
    return lines


def score(value: float | None) -> str:
    """A metric, for people."""
    return "undefined" if value is None else f"{value:.4f}"


def _proposal_line(proposal: ProposalStatus) -> str:
    said = list(proposal.votes.values())
    counts = {choice: said.count(choice) for choice in ("yes", "no", "abstain", "object")}
    votes = ", ".join(f"{count} {choice}" for choice, count in counts.items() if count)
    stages = {"answering": ", objections wait for an answer", "waiting": ", passed, not in effect"}
    stage = stages.get(proposal.stage, "") if proposal.decided == "open" else ""
    ready = "; can be written: `comity release write`" if proposal.ready else ""
    return (
        f"proposal {proposal.id[:12]}: release {proposal.name}, round {proposal.round_no}:"
        f" {proposal.decided}{stage} ({votes or 'no votes yet'}),"
        f" {len(proposal.signed)} signed{ready}"
    )


# -- log -----------------------------------------------------------------------------------------


@log.command("list")
def log_list(
    start: Annotated[
        int, typer.Option("--from", help="Index of the first; negative: from the end.")
    ] = -50,
    count: Annotated[int, typer.Option(help="How many entries, at most 1000.")] = 1_000,
    folder: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """List entries of the log, and which of them are void.

    \b
    Example:
      comity log list --from 0 --count 20
    """
    page = expect(LogPage, read_node(folder, ListLog(start, min(max(count, 0), 1_000))))
    rows = [
        [str(line.index), when(line.time_s), line.author, line.tag, line.id[:12], line.void]
        for line in page.lines
    ]
    Screen(as_json).result(page, table(("index", "time", "author", "tag", "id", "void"), rows))


@log.command("show")
def log_show(
    index: Annotated[int, typer.Argument(help="Of the entry, from 0.")],
    folder: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Show one entry whole: what was said, by whom, and what became of it.

    \b
    Example:
      comity log show 12
    """
    shown = expect(EntryShown, read_node(folder, ShowEntry(_index(index))))
    line = shown.line
    # Indented and in ASCII: no text of another institution can steer the terminal.
    payload = json.dumps(json.loads(shown.payload), indent=2)
    Screen(as_json).result(
        shown,
        f"entry {line.index}: {line.tag} by {line.author}, {when(line.time_s)}",
        f"id: {line.id}",
        f"void: {line.void}" if line.void else "in effect",
        *payload.split("\n"),
    )


@log.command("prove")
def log_prove(
    index: Annotated[int, typer.Argument(help="Of the entry, from 0.")],
    folder: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Prove to anyone that an entry is in the log, in the form of c2sp.org/tlog-proof.

    \b
    Example:
      comity log prove 12 > entry-12.tlog-proof
    """
    proof = expect(EntryProof, read_node(folder, ProveEntry(_index(index))))
    Screen(as_json).verbatim(proof, proof.text)


log.command("head")(log_head)
log.command("compare")(log_compare)


def _index(index: int) -> int:
    if index < 0:
        raise Misconfigured(f"an index is 0 or more, not {index}")
    return index


@anchor.command("show")
def anchor_show(folder: Folder = HERE, as_json: AsJson = False) -> None:
    """Print the anchor to give to an outsider, by hand, not through the host.

    \b
    Example:
      comity anchor show > anchor.txt
    """
    shown = expect(AnchorText, read_node(folder, ShowAnchor()))
    Screen(as_json).verbatim(shown, shown.text)


# -- verify --------------------------------------------------------------------------------------


def verify_release(
    release: Annotated[Path, typer.Argument(help="The release folder.")],
    anchor_file: Annotated[
        Path | None, typer.Option("--anchor", help="From two members, not from the folder.")
    ] = None,
    max_age_s: Annotated[
        int | None, typer.Option("--max-age", help="How old the head may be, in seconds.", min=1)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a release folder: no account, no network, no trust in whoever gave it to you.

    It ends with 0 when it is verified, 4 when a check failed, 6 when no fault was found but no
    anchor was given, 7 when it is verified but older than asked for.

    \b
    Example:
      comity verify heart-15 --anchor anchor.txt --max-age 2592000
    """
    verdict = judge(release, anchor_file, max_age_s=max_age_s)
    shown = _judged(verdict)
    Screen(as_json).result(
        shown,
        *(
            f"{check.number:>2} {'ok  ' if check.passed else 'FAIL'} {check.name}: {check.detail}"
            for check in shown.checks
        ),
        shown.sentence,
    )
    raise typer.Exit(int(verdict.code))


def judge(
    release: Path, anchor_file: Path | None = None, *, max_age_s: int | None = None
) -> Verdict:
    """Check a release folder of this machine. Raises Misconfigured: no folder, or no anchor file.

    Raises:
        Malformed: the anchor is none.
    """
    given = read_anchor(anchor_file) if anchor_file is not None else None
    now_s = int(time.time()) if max_age_s is not None else None
    return verify(DiskFolder(release), given, max_age_s=max_age_s, now_s=now_s)


def read_anchor(path: Path) -> Anchor:
    """Read an anchor from a file. Raises Misconfigured: no such file; Malformed: no anchor."""
    try:
        with path.open("rb") as file:
            return parse_anchor(file.read(_ANCHOR_BYTES_MAX + 1))
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from error


def _judged(verdict: Verdict) -> Judged:
    checks = tuple(CheckMade(c.number, c.name, c.passed, c.detail) for c in verdict.checks)
    claims = verdict.claims
    if claims is None:
        return Judged(int(verdict.code), verdict.sentence, checks)
    return Judged(
        code=int(verdict.code),
        sentence=verdict.sentence,
        checks=checks,
        origin=claims.origin,
        model=claims.model,
        manifest=claims.manifest,
        study=claims.study or "",
        round_no=claims.round_no or 0,
        signers=claims.signers,
    )
