"""The threat model names attacks by number; each must be a test, by its name or in its docstring.

Two studies number their attacks: secure sums from 1 to 58, log and releases to 51 (`log 12`).
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUMS = ("aggregation", "commons", "learning", "node", "e2e", "statements", "promises/*")
LOG = (
    *("log", "statements", "release", "storage", "host", "commons", "node", "e2e"),
    "promises/p3_nobody_shows_two_histories",
)


def numbers_in(text: str) -> set[int]:
    """The numbers of a list like `1 to 9, 20, 36 to 42`."""
    found: set[int] = set()
    for first, last in re.findall(r"(\d+)(?: to (\d+))?", text):
        found |= set(range(int(first), int(last or first) + 1))
    return found


def named_in_threat_model() -> tuple[set[int], set[int]]:
    """The attacks in brackets: on sums, on the log."""
    text = (ROOT / "docs/threat-model.md").read_text(encoding="utf-8")
    sums: set[int] = set()
    log: set[int] = set()
    for kind, listed in re.findall(r"\((log )?(\d+(?:(?:,| to) ?\d+)*)\)", text):
        (log if kind else sums).update(numbers_in(listed))
    return sums, log


def found_in(folders: tuple[str, ...]) -> set[int]:
    """The attacks that tests in these folders name."""
    found: set[int] = set()
    for folder in folders:
        for path in (ROOT / "tests").glob(f"{folder}/*.py"):
            text = path.read_text(encoding="utf-8")
            for numbers in re.findall(r"def test_attacks?((?:_\d+)+)", text):
                found |= set(map(int, numbers.strip("_").split("_")))
            for numbers in re.findall(r"attacks? (\d+(?:(?:,| and| to) ?\d+)*)", text):
                found |= numbers_in(numbers)
    return found


def test_numbers_are_read_as_people_write_them() -> None:
    assert numbers_in("1 to 3, 7, 10 to 11") == {1, 2, 3, 7, 10, 11}
    sums, log = named_in_threat_model()
    assert {1, 9, 58} <= sums and {1, 33, 47} <= log


def test_every_attack_that_the_threat_model_names_is_tested() -> None:
    sums, log = named_in_threat_model()
    assert (sorted(sums - found_in(SUMS)), sorted(log - found_in(LOG))) == ([], [])
