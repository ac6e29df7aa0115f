"""What the host answers, as bytes: results, errors with their codes, entries; and tails, read.

One framing for entries both ways: a JSON line, then each entry behind its length as u16.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, final

import msgspec
from msgspec import Meta, Struct
from starlette.responses import Response

from comity.errors import ComityError, Forged, Malformed, Refused
from comity.host.bodies import NotHere, TokenMissing, TooLarge, WrongCoding
from comity.host.drafts import Logged, Verdict
from comity.host.tails import Tail
from comity.host.told import Published, ShownHead
from comity.statements.fields import Count
from comity.storage.blobs import WrongOffset
from comity.values import ENTRIES_PER_REQUEST_MAX, NOTE_BYTES_MAX, u16


@final
class _TailLine(Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from"}):
    note: Annotated[str, Meta(max_length=NOTE_BYTES_MAX)]
    start: Count
    count: Annotated[int, Meta(ge=0, le=ENTRIES_PER_REQUEST_MAX)]


def read_tail(body: bytes) -> Tail:
    """A tail as a member sends it. Raises Malformed."""
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


_STATUS: Final[tuple[tuple[type[ComityError], int], ...]] = (
    (TooLarge, 413),
    (WrongCoding, 415),
    (Malformed, 400),
    (Forged, 403),
    (Refused, 403),
    (TokenMissing, 401),
    (NotHere, 404),
    (WrongOffset, 409),
)


def fault_answer(error: ComityError) -> Response:
    """An error as the answer of its code."""
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 503)
    said = _said(error)
    if isinstance(error, WrongOffset):
        said["stored"] = error.stored
    return json_answer(said, status)


def _said(error: ComityError) -> dict[str, str | int]:
    """An error as JSON: the class a client knows, the rule, and words."""
    kinds = (Malformed, Forged, Refused)
    name = next((kind.__name__ for kind in kinds if isinstance(error, kind)), "Unavailable")
    if isinstance(error, Refused):
        code = error.rule.value
        return {"error": name, "rule": code, "message": str(error).removesuffix(f" [{code}]")}
    return {"error": name, "message": str(error)}


def verdict_words(verdict: Verdict) -> Mapping[str, str | int]:
    """What became of one statement, as JSON."""
    match verdict:
        case Logged(index, None):
            return {"index": index, "outcome": "done"}
        case Logged(index, rule):
            assert rule is not None
            return {"index": index, "outcome": "void", "rule": rule.value}
        case _:
            return _said(verdict)


def entries_answer(told: Published, start: int, leaves: Sequence[bytes]) -> bytes:
    """The heads of a picture as a JSON line, then entries from `start` on behind their length."""
    heads = [{"note": h.head.note.decode(), "cosignatures": _lines(h)} for h in told.shown]
    line = {
        "version": told.version,
        "note": heads[-1]["note"] if heads else None,
        "cosignatures": heads[-1]["cosignatures"] if heads else [],
        "heads": heads,
        "from": start,
        "count": len(leaves),
    }
    parts = [part for leaf in leaves for part in (u16(len(leaf)), leaf)]
    return b"".join((msgspec.json.encode(line), b"\n", *parts))


def _lines(shown: ShownHead) -> list[str]:
    return [line.decode() for line in shown.lines]


def json_answer(value: object, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(json.dumps(value).encode(), status, media_type="application/json")
