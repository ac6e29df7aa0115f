"""A new member with real programs: it applies, is admitted, joins with an anchor, and takes part.

The next study's round has it in its roster and in its sum.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from comity.errors import ExitCode
from comity.node.governing import MembersReport
from comity.node.governing_wire import AskMembers
from comity.node.keyfile import Unencrypted, load_keys
from comity.node.reports import AnchorText
from comity.node.wish_wire import CastVote, DeclareDataset, RegisterStudy, ShowAnchor
from comity.node.wishes import Said
from comity.values import MemberId
from tests.e2e.institutions import ROOT, Institution, Institutions
from tests.e2e.places import Place
from tests.e2e.small_study import study_text, table_of

NEW = MemberId("newcomer")


def command(*words: object, code: int = ExitCode.DONE) -> dict[str, object]:
    """Run a command to its end, and what it prints as JSON; {} when it ends with another code."""
    arguments = [sys.executable, "-m", "comity", *map(str, words), "--json"]
    ran = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert ran.returncode == code, (words, ran.stdout, ran.stderr)
    return json.loads(ran.stdout) if code == ExitCode.DONE else {"said": ran.stderr}


def applied(members: Institutions, root: Path) -> tuple[Institution, Path]:
    """A stranger with keys, and the file with its application."""
    folder = root / NEW
    plain = ("--folder", folder, "--unencrypted-on-purpose")
    command("id", "new", NEW, "--name", "New Hospital", *plain)
    charter = members.all[0].folder / "charter.json"
    made = command("member", "apply", charter, *plain)
    assert command("member", "apply", charter, *plain) == made, "it applies once"
    keys = load_keys(folder / "keys.pem", passphrase=Unencrypted.ON_PURPOSE)
    table = root / f"{NEW}.csv"
    table.write_bytes(table_of(7))
    return Institution(Place(NEW, folder, keys, table)), Path(str(made["file"]))


def is_member(each: Institution, member: str) -> bool:
    report = each.ask(AskMembers(), MembersReport)
    return member in {line.member for line in report.members if line.standing != "applied"}


def admit(members: Institutions, file: Path) -> None:
    """A member hands the application in and proposes; the members vote; their nodes approve."""
    proposer = members.all[1]
    opened = command("member", "admit", file, "--folder", proposer.folder)
    proposal = str(opened["statement"])
    for each in members.all[: len(members.all) // 2 + 1]:
        members.until(
            lambda each=each: bool(each.ask(CastVote(proposal, "yes"), Said)),  # type: ignore[misc]
            "a vote",
        )
    members.until(lambda: all(is_member(each, NEW) for each in members.all), "admitted")


def anchor_of(members: Institutions, each: Institution, path: Path) -> Path:
    """An anchor as a member gives it away, of a head with the newest epoch."""
    size = max(m.hosts().size for m in members.all)
    members.until(lambda: each.hosts().final_size >= size, "final")
    path.write_text(each.ask(ShowAnchor(), AnchorText).text)
    return path


def join(members: Institutions, new: Institution, anchor: Path) -> dict[str, object]:
    """Read and check everything, and let the new node run."""
    done = command(
        *("commons", "join", members.all[0].folder / "charter.json", "--anchor", anchor),
        *("--host-url", members.all[0].url, "--within-s", 120),
        *("--folder", new.folder, "--unencrypted-on-purpose"),
    )
    (new.folder / "site.toml").write_text('studies = "auto"\nsandbox = "warn"\n')
    return done


def test_a_stranger_applies_is_admitted_joins_and_is_in_the_next_study(tmp_path: Path) -> None:
    with Institutions.made(tmp_path, 3) as members:
        members.start()
        new, file = applied(members, tmp_path)
        admit(members, file)
        anchor = anchor_of(members, members.all[2], tmp_path / "anchor.txt")
        done = join(members, new, anchor)
        assert (done["epoch"], done["count"], done["said"]) == (1, 4, 1)
        members.all.append(new)
        new.start_node()
        members.until(lambda: new.status().founded, "the new node runs")
        text = study_text(rounds=1)
        for each in members.all:
            each.place.allow(text)
            each.ask(DeclareDataset(f"rows-{each.member}", str(each.place.table)), object)
        members.until(lambda: len(new.status().datasets) == 1, "its data set")
        file = tmp_path / "study.py"
        file.write_text(text)
        members.all[1].ask(RegisterStudy(str(file), phase_s=60, train_s=120), object)
        members.until(lambda: all(e.study().results_count == 1 for e in members.all), "a result")
        assert len({each.study().model for each in members.all}) == 1
        assert not new.study().without, "everybody is in it, the newcomer too"
