"""What tests of commands share."""

from __future__ import annotations

import pytest

from tests.cli.commands import Terminal


@pytest.fixture
def comity(capsys: pytest.CaptureFixture[str]) -> Terminal:
    """The `comity` command."""
    return Terminal(capsys)
