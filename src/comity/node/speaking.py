"""Asking a running node, and waiting until what it says is in the log: for commands and Python.

Nothing here prints or unlocks; whoever calls knows a folder in which a node runs, or brings another
way to ask.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar, final

from msgspec import Struct

from comity.errors import Misconfigured, Refused, Rule, Unavailable
from comity.node.control import ask_node
from comity.node.pages import Logged
from comity.node.reports import Status
from comity.node.wish_wire import AskLogged, AskStatus, Result, Wish, check_wish
from comity.node.wishes import Said
from comity.values import StatementId

Ask = Callable[[Wish], Result]
"""Grants a wish; raises what its function raises."""

LOGGED_WITHIN_S: Final = 60.0
PAUSE_S: Final = 0.1
R = TypeVar("R")


@final
class Spoken(Struct, frozen=True, tag="spoken"):
    """A statement that took effect at `index` of the log."""

    statement: StatementId
    about: str
    index: int


def expect(kind: type[R], answer: object) -> R:
    """The answer, of the kind that this wish has."""
    assert isinstance(answer, kind)
    return answer


def ask_running(folder: Path, wish: Wish) -> Result:
    """Ask the node that runs in a folder. Raises Misconfigured: none runs there."""
    check_wish(wish)
    answer = ask_node(folder, wish)
    if answer is None:
        raise Misconfigured(f"no node runs in {folder}: start it with `comity node run`")
    return answer


def logged_within(ask: Ask, said: Said, within_s: float = LOGGED_WITHIN_S) -> Spoken:
    """Wait until a statement is in the log.

    Raises:
        Refused: it is in the log without effect, or must not be said.
        Unavailable: it is said, kept, and not logged in time; the node sends it by itself.
    """
    limit = time.monotonic() + within_s
    while True:
        found = expect(Logged, ask(AskLogged(said.statement, said.size)))
        if found.index >= 0:
            break
        if time.monotonic() > limit:
            why = "; ".join(f.why for f in expect(Status, ask(AskStatus())).obstacles)
            raise Unavailable(
                f"said, but not logged within {within_s:.0f} s: it is kept here and goes out"
                f" with `comity node run` as soon as the host takes it ({why or 'no answer'})"
            )
        time.sleep(PAUSE_S)
    if found.void:
        raise Refused(
            Rule(found.void),
            f"entry {found.index} has no effect: things changed before it was logged; look at"
            " `comity status`",
        )
    return Spoken(said.statement, said.about, found.index)
