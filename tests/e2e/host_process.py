"""A host as a process of its own, on a fixed port, under a clock that stands still.

python -m tests.e2e.host_process FOLDER CHARTER KEYS PORT NOW_S
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from comity.commons.charter import parse_charter
from comity.host.serve import run_host
from comity.node.keyfile import Unencrypted, load_keys

ROOT = Path(__file__).resolve().parents[2]


def start_host(
    folder: Path, charter: Path, keys: Path, port: int, now_s: int
) -> subprocess.Popen[str]:
    """Start it and wait until it answers; whoever starts it ends it, by its pid, in a finally."""
    arguments = [str(folder), str(charter), str(keys), str(port), str(now_s)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.host_process", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("hosting at ")
    return process


def main(folder: str, charter: str, keys: str, port: str, now_s: str) -> None:
    """Host until told to stop, or dead."""
    run_host(
        Path(folder),
        parse_charter(Path(charter).read_bytes()),
        host_key=load_keys(Path(keys), passphrase=Unencrypted.ON_PURPOSE).host,
        listen=f"127.0.0.1:{port}",
        clock=lambda: int(now_s),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
