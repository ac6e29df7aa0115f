"""What `comity doctor` says of one thing it tested: a verdict, what came, what to do."""

from __future__ import annotations

from typing import Literal, final

from msgspec import Struct

Result = Literal["ok", "note", "fail", "skipped"]


@final
class Finding(Struct, frozen=True):
    """One line of the page. note: it works, and somebody should know; advice: "" when all is well.

    No secret is ever in it: names, rights, numbers and addresses only.
    """

    tested: str
    result: Result
    found: str
    advice: str = ""


def ok(tested: str, found: str) -> Finding:
    """It is as it should be."""
    return Finding(tested, "ok", found)


def note(tested: str, found: str, advice: str) -> Finding:
    """It works; somebody should know."""
    return Finding(tested, "note", found, advice)


def fail(tested: str, found: str, advice: str) -> Finding:
    """The node cannot work so."""
    return Finding(tested, "fail", found, advice)


def skipped(tested: str, why: str) -> Finding:
    """It could not be tested, because something before it failed."""
    return Finding(tested, "skipped", why)
