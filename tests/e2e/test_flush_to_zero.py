"""Attack 44 against the program: a library that switches flush-to-zero on, under a node."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from comity.errors import ExitCode
from comity.node.keyfile import Unencrypted, write_keys
from tests.e2e.prepared import Make
from tests.learning.test_steps import SET_MXCSR

RUN = """
from comity.cli.main import run
run(["node", "run", "--folder", sys.argv[2], "--unencrypted-on-purpose"])
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="sets the MXCSR register of x86_64")
def test_attack_44_a_node_that_would_compute_other_models_does_not_start(
    commons: Make, tmp_path: Path
) -> None:
    """It says which, before it opens anything; nothing is left running or locked."""
    place = commons(3).copy(tmp_path).all[1]
    write_keys(place.folder / "keys.pem", place.keys, passphrase=Unencrypted.ON_PURPOSE)
    ran = subprocess.run(
        [sys.executable, "-c", SET_MXCSR + RUN, "9f80", str(place.folder)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == ExitCode.USAGE, ran.stderr
    assert "flush-to-zero" in ran.stderr and "Traceback" not in ran.stderr
    assert not (place.folder / "node.sock").exists()
