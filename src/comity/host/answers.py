"""What only a host is told and answers: tails of logs, and what became of a statement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, final

import msgspec
from msgspec import Meta, Struct

from comity.errors import Malformed
from comity.host.drafts import Logged, Verdict
from comity.host.tails import Tail
from comity.statements.fields import Count
from comity.values import ENTRIES_PER_REQUEST_MAX, NOTE_BYTES_MAX
from comity.web.answering import error_said


@final
class _TailLine(Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from"}):
    note: Annotated[str, Meta(max_length=NOTE_BYTES_MAX)]
    start: Count
    count: Annotated[int, Meta(ge=0, le=ENTRIES_PER_REQUEST_MAX)]


def read_tail(body: bytes) -> Tail:
    """A tail as a member sends it: a JSON line, then entries, each behind its length as u16.

    Raises: Malformed.
    """
    line, newline, rest = body.partition(b"\n")
    try:
        head = msgspec.json.decode(line, type=_TailLine)
        note = head.note.encode()
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Malformed("expected {note, from, count} and the entries of a tail") from error
    leaves = []
    at = 0
    for _ in range(head.count):
        length = int.from_bytes(rest[at : at + 2], "big")
        if at + 2 + length > len(rest):
            raise Malformed("the entries end before the last one is complete")
        leaves.append(rest[at + 2 : at + 2 + length])
        at += 2 + length
    if not newline or at != len(rest):
        raise Malformed("bytes follow the last entry")
    return Tail(note, head.start, tuple(leaves))


def verdict_words(verdict: Verdict) -> Mapping[str, str | int]:
    """What became of one statement, as JSON."""
    match verdict:
        case Logged(index, None):
            return {"index": index, "outcome": "done"}
        case Logged(index, rule):
            assert rule is not None
            return {"index": index, "outcome": "void", "rule": rule.value}
        case _:
            return error_said(verdict)
