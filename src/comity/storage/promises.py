"""What a member has promised in an attempt by what it said there, and what it says no more.

Read from the journal's table of statements inside the transaction that would add one, so that a
promise and what it forbids can never pass one another. Source: aggregation.md 5.9; R1 to R3, R8.
"""

from __future__ import annotations

import sqlite3

from comity.errors import Refused, Rule
from comity.storage.ports import Attempt, SaidBefore
from comity.values import StatementId

NOT_AFTER_ABANDON = frozenset(
    f"round.{verb}"
    for verb in ("join", "ready", "resolve", "commit", "confirm", "reveal", "recover", "accept")
)
"""What a member does not say in an attempt it has abandoned (R3)."""


def check_promises(
    reading: sqlite3.Connection, scope: Attempt, tag: str, released: bool | None
) -> None:
    """R1, R2, R3, R8: what a member may still say in this attempt.

    Raises:
        SaidBefore: this tag was said in it.
        Refused: AMNESIA, AFTER_ABANDON, PHASE_NOT_OPEN, NOT_TRUTHFUL.
    """
    if has_amnesia(reading, scope):
        raise Refused(Rule.AMNESIA, f"{tag}: this node was restored and stays out of this attempt")
    said = promised(reading, scope)
    if tag in said:
        raise SaidBefore(said[tag], f"{tag} was said in this attempt; only that one is sent")
    tag = tag.partition("#")[0]
    if tag in NOT_AFTER_ABANDON and "round.abandon" in said:
        raise Refused(Rule.AFTER_ABANDON, f"{tag}: this attempt was abandoned by this node")
    if tag == "round.recover" and "round.reveal" not in said:
        raise Refused(Rule.PHASE_NOT_OPEN, "round.recover comes after one's own round.reveal")
    if released is not None and released != ("round.reveal" in said):
        raise Refused(Rule.NOT_TRUTHFUL, "round.abandon must say whether this node has revealed")


def promised(reading: sqlite3.Connection, scope: Attempt) -> dict[str, StatementId]:
    """Tag to statement id of all that was said in the attempt."""
    rows = reading.execute(
        "SELECT tag, statement_id FROM said WHERE study = ? AND round_no = ? AND attempt = ?", scope
    )
    return {tag: StatementId(statement_id) for tag, statement_id in rows}


def has_amnesia(reading: sqlite3.Connection, scope: Attempt) -> bool:
    """Whether the attempt was marked: this node may have forgotten what it said in it."""
    sql = "SELECT 1 FROM amnesia WHERE study = ? AND round_no = ? AND attempt = ?"
    return reading.execute(sql, scope).fetchone() is not None
