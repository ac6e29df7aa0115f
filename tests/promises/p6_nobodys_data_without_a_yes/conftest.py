"""Fixtures of these tests."""

from __future__ import annotations

from tests.e2e.prepared import commons as commons
