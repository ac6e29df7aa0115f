"""Where independent vectors and real data lie; tests that need them skip when they are absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def shared_folder() -> Path:
    """The folder with `vectors/` and `data/`: COMITY_SHARED, or beside the checkout."""
    return Path(os.environ.get("COMITY_SHARED", ROOT.parent / "shared"))


def _find(kind: str, parts: tuple[str, ...]) -> Path:
    path = shared_folder().joinpath(kind, *parts)
    if not path.exists():
        pytest.skip(f"independent {kind} not here: {'/'.join(parts)} (set COMITY_SHARED)")
    return path


def vectors(*parts: str) -> Path:
    """A path under `vectors/`; skips the calling test when it is absent."""
    return _find("vectors", parts)


def shared_data(*parts: str) -> Path:
    """A path under `data/`; skips the calling test when it is absent."""
    return _find("data", parts)
