"""Run commands as a person would: in this process, or as processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import pytest

from comity.cli.main import run


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def json(self) -> dict[str, object]:
        """stdout as the one JSON value that it holds."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


@dataclass(frozen=True)
class Terminal:
    """Runs commands in this process, and catches what they print."""

    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: object) -> Ran:
        self.capture.readouterr()
        with pytest.raises(SystemExit) as end:
            run([str(argument) for argument in arguments])
        printed = self.capture.readouterr()
        return Ran(int(end.value.code or 0), printed.out, printed.err)


def start(*arguments: object) -> subprocess.Popen[str]:
    """A command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "comity", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
