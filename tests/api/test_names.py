"""`import comity`: few names, each explained, and nothing loaded before it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import comity

NAMES_MAX = 20
PAGE = Path(__file__).resolve().parents[2] / "docs/python.md"
HEAVY = ("numpy", "comity.node", "comity.api", "matplotlib", "pyarrow", "pandas", "httpx", "typer")


def test_there_are_at_most_twenty_names_and_all_are_explained() -> None:
    assert len(comity.__all__) <= NAMES_MAX
    assert sorted(comity.__all__) == dir(comity)
    page = PAGE.read_text(encoding="utf-8")
    for name in comity.__all__:
        found = getattr(comity, name)
        assert found is getattr(comity, name)
        assert f"`{name}`" in page, f"docs/python.md does not name {name}"
        assert isinstance(found, str) or found.__doc__, name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        comity.nothing  # noqa: B018  # looking is the test


def test_importing_loads_nothing_else() -> None:
    """Which modules, not how long it takes: that says nothing on a busy machine."""
    code = "import sys, comity; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "comity" in loaded
    assert not [name for name in HEAVY if name in loaded]


def test_tables_and_simulations_need_no_extra() -> None:
    code = "import sys, comity; comity.simulate, comity.connect, comity.plot; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "comity.api.simulations" in loaded
    assert not loaded & {"matplotlib", "pandas", "pyarrow", "sklearn", "torch", "typer"}
