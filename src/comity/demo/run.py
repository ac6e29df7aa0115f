"""The main job in one command: real processes, real data, on this machine.

Decided here: the order of the demo and its words. Each step is what a person does with the
commands; docs/operating.md shows the same by hand on five machines.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from comity.commons.charter import commons_id
from comity.demo.heart import DemoData, prepare
from comity.demo.parties import Parties, Party, make_parties, wait_for
from comity.errors import ExitCode, Misconfigured, Unavailable
from comity.node.evaluating import Evaluation
from comity.node.releasing import Written
from comity.node.reports import AnchorText, Status, StudyStatus
from comity.node.wish_wire import (
    CastVote,
    DeclareDataset,
    EvaluateStudy,
    ProposeRelease,
    RegisterStudy,
    ShowAnchor,
    WriteRelease,
)
from comity.node.wishes import Said

STUDY: Final = "study.py"
METRICS: Final = (("auc", "AUC"), ("log_loss", "log loss"), ("accuracy", "accuracy"))
CLEAR: Final = 0.02
"""Difference from which a gain or loss is called clear, in words."""


def run_demo(
    folder: Path,
    *,
    given: Path | None = None,
    console: Console | None = None,
    kill_in_round: int = 5,
) -> ExitCode:
    """Run the main job and tell what happens.

    Args:
        folder: for everything the demo makes; must not exist or be empty.
        given: a folder with the data files; None looks in the usual places.
        kill_in_round: in which round a node is killed.
    Returns:
        DONE when every step did what it should.
    Raises:
        ComityError: a step failed; the message says where to look.
    """
    screen = console or Console()
    if not screen.is_terminal:
        screen.width = 100
    started = time.monotonic()
    if folder.exists() and any(folder.iterdir()):
        raise Misconfigured(f"{folder} is not empty: name another folder, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    data = prepare(folder / "data", given=given)
    _tell_data(screen, data)
    with make_parties(folder, data) as parties:
        _found(screen, parties)
        _begin_study(screen, parties)
        _train(screen, parties, kill_in_round)
        release, anchor = _release(screen, parties)
        _verify(screen, folder, release, anchor)
        _compare(screen, parties)
        _tell_places(screen, parties, release)
    screen.print(f"\nDone in {time.monotonic() - started:.0f} s.")
    return ExitCode.DONE


def _tell_data(screen: Console, data: DemoData) -> None:
    _title(screen, 0, "The data")
    for remark in data.remarks:
        screen.print(f"  {remark}", style="yellow")
    kind = "four simulated institutions" if data.simulated else "four real institutions"
    screen.print(f"  {kind}, from {data.source}")
    for institution in data.institutions:
        screen.print(
            f"  {institution.name:<12} {institution.train_rows:>4} rows to train,"
            f" {institution.test_rows:>4} to test"
        )
    screen.print(f"  {data.attribution}", style="dim", markup=False, highlight=False)


def _found(screen: Console, parties: Parties) -> None:
    _title(screen, 1, "Four institutions make their keys and sign a charter")
    charter = parties.found("The demo commons")
    screen.print(f"  commons  {commons_id(charter)}")
    screen.print(f"  members  {', '.join(founder.id for founder in charter.founders)}")
    screen.print(
        f"  host     {charter.host}: it orders and relays; it can read no update, forge no result"
    )
    screen.print(
        f"  final    a head of the log once {charter.quorum} of {len(charter.founders)} cosigned it"
    )
    _title(screen, 2, "One host and four nodes start, each a process of its own")
    parties.start_host()
    for party in parties.all:
        parties.start_node(party)
    wait_for(
        lambda: all(party.status().founded for party in parties.all),
        "the founding",
        parties=parties,
    )
    assert parties.host is not None
    screen.print(f"  host        process {parties.host.pid}, listens on {parties.url}")
    for party in parties.all:
        assert party.node is not None
        screen.print(f"  {party.member:<11} process {party.node.pid}, dials out only")
    size = parties.hosting.status().final_size
    screen.print(f"  founded: all four have entered; the head of size {size} is final")


def _begin_study(screen: Console, parties: Parties) -> None:
    _title(screen, 3, "Data sets are declared, a study is registered, each node consents")
    for party in parties.all:
        party.ask(DeclareDataset(dataset=party.member, path=str(party.table)), Said)
    study = parties.root / STUDY
    study.write_text(parties.data.recipe, encoding="utf-8")
    count = len(parties.all)
    wait_for(
        lambda: all(len(party.status().datasets) == 1 for party in parties.all),
        "the declarations",
        parties=parties,
    )
    parties.all[1].ask(RegisterStudy(file=str(study)), Said)
    wait_for(
        lambda: all(len(_study_of(party).enrolled) == count for party in parties.all),
        "the enrolment",
        parties=parties,
    )
    seen = _study_of(parties.hosting)
    screen.print(f"  study    {seen.name}: {seen.title}")
    screen.print(f"  its code {seen.code}  (SHA-256 of {study.name}, one short Python file)")
    screen.print(
        f"  consent  {', '.join(seen.enrolled)}: each by its own site policy, checked by its own"
        " node; the study runs in a locked-in process beside the data"
    )


def _train(screen: Console, parties: Parties, kill_in_round: int) -> None:
    _title(screen, 4, "The rounds: join, ready, start, train, commit, close, confirm, reveal")
    rounds = _study_of(parties.hosting).rounds_max
    victim = parties.all[2]
    with Progress(
        TextColumn("  {task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=screen,
    ) as bar:
        task = bar.add_task("rounds with a result", total=rounds)
        follow = _follower(
            parties.hosting, lambda text, done: bar.update(task, description=text, completed=done)
        )
        wait_for(lambda: follow() >= min(kill_in_round, rounds) - 1, "a round", parties=parties)
        _kill_and_return(screen, parties, victim)
        wait_for(lambda: follow() >= rounds, "the last round", parties=parties)
    seen = _study_of(parties.hosting)
    wait_for(
        lambda: _study_of(victim).model == seen.model, "the return of the node", parties=parties
    )
    screen.print(f"  every node computed the same model by itself: {seen.model}")
    screen.print(f"  attempts made: {seen.attempt} for {rounds} rounds; nothing was lost")


def _follower(party: Party, show: Callable[[str, int], None]) -> Callable[[], int]:
    def follow() -> int:
        seen = _study_of(party)
        show(f"round {min(seen.round_no, seen.rounds_max)}: {seen.phase}", seen.results_count)
        return seen.results_count

    return follow


def _kill_and_return(screen: Console, parties: Parties, victim: Party) -> None:
    """Step 5: a node dies in the middle of a round and comes back."""
    round_no = _study_of(parties.hosting).round_no
    wait_for(
        lambda: _study_of(parties.hosting).phase in ("joining", "readying", "masking"),
        "the middle of a round",
        parties=parties,
    )
    parties.kill(victim)
    _title(screen, 5, f"In round {round_no} the node of {victim.member} is killed (kill -9)")
    wait_for(
        lambda: _study_of(parties.hosting).waits_for == (victim.member,),
        "the wait for the killed node",
        parties=parties,
    )
    seen = _study_of(parties.hosting)
    screen.print(f"  the study waits for {', '.join(seen.waits_for)}: {seen.why}")
    screen.print("  why wait: a sum without one member, beside one with it, would nearly show its")
    screen.print("  update; so nobody is left out, unless it consented to that")
    parties.start_node(victim)
    wait_for(
        lambda: _study_of(parties.hosting).results_count >= round_no,
        "the end of the round",
        parties=parties,
    )
    screen.print(f"  {victim.member} is back: it asked the log what it owes, and the round ended")


def _release(screen: Console, parties: Parties) -> tuple[Path, Path]:
    _title(screen, 6, "The model is released, and a stranger verifies it")
    proposer = parties.all[1]
    proposal = proposer.ask(ProposeRelease(study=_study_of(proposer).id), Said).statement

    for party in parties.all[:3]:
        wait_for(partial(_knows, party, proposal), "the proposal", parties=parties)
        party.ask(CastVote(proposal=proposal, choice="yes"), Said)
    wait_for(lambda: _is_ready(proposer.status(), proposal), "the release", parties=parties)
    out = parties.root / "release"
    written = proposer.ask(WriteRelease(release=proposal, out=str(out)), Written)
    anchor = parties.root / "anchor.txt"
    anchor.write_text(proposer.ask(ShowAnchor(), AnchorText).text, encoding="utf-8")
    signed = next(p.signed for p in proposer.status().proposals if p.id == proposal)
    screen.print(f"  3 of 4 members voted yes; {', '.join(signed)} replayed the log and signed")
    screen.print(f"  release  {written.path}  ({written.files_count} files)")
    screen.print(f"  anchor   {anchor}  (four lines that a stranger is given by hand)")
    return Path(written.path), anchor


def _knows(party: Party, proposal: str) -> bool:
    return any(seen.id == proposal for seen in party.status().proposals)


def _is_ready(status: Status, proposal: str) -> bool:
    return any(seen.id == proposal and seen.ready for seen in status.proposals)


def _verify(screen: Console, folder: Path, release: Path, anchor: Path) -> None:
    screen.print("\n  A separate process, given only the folder and the anchor:", style="bold")
    good = _verifier(release, anchor)
    _quote(screen, good.stdout)
    if good.returncode != ExitCode.DONE:
        raise Unavailable(f"the release does not verify: {good.stdout}{good.stderr}")
    copy = folder / "release-with-one-byte-flipped"
    shutil.copytree(release, copy)
    victim = copy / "content" / "model" / "model.safetensors"
    flipped = bytearray(victim.read_bytes())
    flipped[-1] ^= 1
    victim.write_bytes(flipped)
    screen.print("\n  One byte of the model is changed in a copy:", style="bold")
    bad = _verifier(copy, anchor)
    _quote(screen, "\n".join(line for line in bad.stdout.splitlines() if " FAIL " in line))
    if bad.returncode != ExitCode.NOT_VERIFIED:
        raise Unavailable("a changed release was not refused; this is a fault of Comity")
    screen.print(f"  refused, exit code {bad.returncode}")


def _verifier(release: Path, anchor: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "comity", "verify", str(release), "--anchor", str(anchor)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def _quote(screen: Console, text: str) -> None:
    for line in text.splitlines():
        screen.print(f"    {line}", markup=False, highlight=False)


def _compare(screen: Console, parties: Parties) -> None:
    _title(screen, 7, "What each institution has from it, on test records its model never saw")
    study = _study_of(parties.hosting).id
    found = [party.ask(EvaluateStudy(study=study), Evaluation) for party in parties.all]
    table = Table(box=None, padding=(0, 2))
    table.add_column("institution")
    table.add_column("test rows", justify="right")
    for _, title in METRICS:
        table.add_column(f"{title}\nalone", justify="right")
        table.add_column("\ntogether", justify="right")
    rows = {institution.name: institution.test_rows for institution in parties.data.institutions}
    for party, metrics in zip(parties.all, found, strict=True):
        cells = [party.member, str(rows[party.member])]
        for name, _ in METRICS:
            cells += [_number(metrics.alone, name), _number(metrics.together, name)]
        table.add_row(*cells)
    screen.print(table)
    for party, metrics in zip(parties.all, found, strict=True):
        screen.print(f"  {party.member}: {_verdict(metrics)}")
    screen.print(
        "  With so few test rows, differences of a few hundredths are chance; each institution"
        " computes its own row at home.",
        style="dim",
    )


def _number(metrics: dict[str, float], name: str) -> str:
    return f"{metrics[name]:.3f}" if name in metrics else "not defined"


def _verdict(metrics: Evaluation) -> str:
    """A clear gain, a clear loss, or neither, in plain words; losses are said first."""
    better, worse = [], []
    for name, title in METRICS:
        if name not in metrics.alone or name not in metrics.together:
            continue
        gain = metrics.together[name] - metrics.alone[name]
        if name == "log_loss":
            gain = -gain
        if gain >= CLEAR:
            better.append(title)
        elif gain <= -CLEAR:
            worse.append(title)
    words = []
    if worse:
        words.append(f"loses in {' and '.join(worse)}")
    if better:
        words.append(f"gains in {' and '.join(better)}")
    return "; ".join(words) or "no clear difference"


def _tell_places(screen: Console, parties: Parties, release: Path) -> None:
    screen.print("\nWhere everything lies", style="bold")
    screen.print(f"  {parties.root}   one folder for each institution, with its log and journal")
    screen.print(f"  {release}   the release")
    one = parties.hosting.folder
    screen.print(f"  comity status --folder {one}")
    screen.print(f"  comity log list --folder {one}")


def _study_of(party: Party) -> StudyStatus:
    seen = party.study()
    if seen is None:
        raise Unavailable(f"{party.member} knows no study yet")
    return seen


def _title(screen: Console, number: int, text: str) -> None:
    screen.print(f"\n{number}. {text}" if number else f"\n{text}", style="bold cyan")
