"""docs/founding.md: its commands, as they stand, found a commons of three from empty folders.

What a person types or reads takes longer than the machine; the whole test prints the machine's part
alone (`pytest -s -m slow`). In the default run everything before the first server is tried.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from comity.errors import ExitCode
from tests.cli.commands import Terminal
from tests.e2e.places import free_port

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/founding.md").read_text().split("### Between three institutions")[0]
COMMANDS = re.findall(r"^    (\S.*)$", PAGE, re.MULTILINE)


def test_the_page_is_one_page() -> None:
    assert len(PAGE.splitlines()) <= 60 and len(COMMANDS) <= 25
    assert all(c.startswith(("comity ", "(umask", "wait ", "for each")) for c in COMMANDS)


def test_everything_before_the_first_server(
    comity: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = COMMANDS[: next(n for n, c in enumerate(COMMANDS) if " host serve " in c)]
    subprocess.run(["bash", "-ec", before[0]], check=True)
    for command in before[1:]:
        words = shlex.split(command)
        named = [str(each) for word in words[1:] for each in expanded(word)]
        ran = comity(*named)
        assert ran.code == ExitCode.DONE, f"{command}: {ran.err}"
    assert sorted(path.name for path in Path("kit-of-b").iterdir()) == [
        "data-protection.md",
        "it.md",
        "summary.md",
    ]


def expanded(word: str) -> list[Path] | list[str]:
    """As a shell does it."""
    return sorted(Path().glob(word)) if "*" in word else [word]


@pytest.mark.slow
def test_the_commands_of_the_page_found_a_commons(tmp_path: Path) -> None:
    script = "\n".join(COMMANDS).replace("8440", str(free_port()))
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "comity").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m comity "$@"\n')
    (bin_folder / "comity").chmod(0o755)
    place = tmp_path / "empty"
    place.mkdir()
    script += "\nkill -TERM $HOST $(jobs -p)\nwait\n"
    began_s = time.monotonic()
    shell = subprocess.Popen(
        ["bash", "-e"],
        cwd=place,
        env={**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        told, _ = shell.communicate(script, timeout=300)
    finally:
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGKILL)
    took_s = time.monotonic() - began_s
    assert "founded: yes" in told, told
    assert "Traceback" not in told, told
    print(
        f"\nfounding three by the page: {took_s:.1f} s of this machine; no person's time is in it"
    )
    assert took_s < 600
