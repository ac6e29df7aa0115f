"""What a host's answers say, parsed strictly: everything here raises `Malformed` and nothing else.

Whether entries, heads and names are true is checked by whoever asked. Source: architecture.md 1.8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeVar, final

import msgspec
from msgspec import Meta, Struct

from comity.errors import ComityError, Malformed, Rule
from comity.node.http_client import error_named
from comity.statements.fields import CommonsIdField, Count, DigestField, MemberField
from comity.values import (
    BLOB_BYTES_MAX,
    ENTRIES_PER_REQUEST_MAX,
    NOTE_BYTES_MAX,
    NOTE_SIGNATURES_MAX,
    STATEMENTS_PER_REQUEST_MAX,
    Digest,
)

_NoteText = Annotated[str, Meta(max_length=NOTE_BYTES_MAX)]
_LineText = Annotated[str, Meta(max_length=1_024)]
T = TypeVar("T", bound=Struct)


@final
@dataclass(frozen=True, slots=True)
class Posted:
    """What became of one statement: at `index`, void by `rule` or in effect; or why it is not in.

    error is None exactly when index is not None.
    """

    index: int | None
    rule: Rule | None
    error: ComityError | None


@final
@dataclass(frozen=True, slots=True)
class PublishedHead:
    """A head as the host shows it: the signed note, and members' cosignature lines; unchecked."""

    note: bytes
    cosignatures: tuple[bytes, ...]


@final
@dataclass(frozen=True, slots=True)
class Batch:
    """A stretch of the log, unchecked.

    version: give it back in the next call. heads: the newest final head when there is one, then the
    newest head, which may cover more entries than came along. entries: from index `start` on.
    """

    version: int
    heads: tuple[PublishedHead, ...]
    start: int
    entries: tuple[bytes, ...]


@final
@dataclass(frozen=True, slots=True)
class SumInfo:
    """The sum of an attempt: a blob named `root` of `size_bytes` bytes."""

    root: Digest
    size_bytes: int


@final
class HostStatus(Struct, frozen=True, forbid_unknown_fields=True):
    """What a host tells anybody. size: entries in its log. host: the member in office there.

    in_office: whether it is that member's; else it is a candidate, or was replaced.
    """

    commons: CommonsIdField
    founded: bool
    host: MemberField
    in_office: bool
    size: Count


@final
class _Result(Struct, frozen=True, forbid_unknown_fields=True):
    index: Count | None = None
    outcome: str | None = None
    rule: str | None = None
    error: str | None = None
    message: str = ""


@final
class _Results(Struct, frozen=True, forbid_unknown_fields=True):
    results: Annotated[tuple[_Result, ...], Meta(max_length=STATEMENTS_PER_REQUEST_MAX)]
    size: Count


@final
class _Head(Struct, frozen=True, forbid_unknown_fields=True):
    note: _NoteText
    cosignatures: Annotated[tuple[_LineText, ...], Meta(max_length=NOTE_SIGNATURES_MAX)]


@final
class _BatchHead(Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from"}):
    version: Count
    note: _NoteText | None
    cosignatures: Annotated[tuple[_LineText, ...], Meta(max_length=2 * NOTE_SIGNATURES_MAX)]
    heads: Annotated[tuple[_Head, ...], Meta(max_length=16)]
    start: Count
    count: Annotated[int, Meta(ge=0, le=ENTRIES_PER_REQUEST_MAX)]


@final
class Token(Struct, frozen=True, forbid_unknown_fields=True):
    """A token to read with, and for how many seconds it is good."""

    token: DigestField
    expires_s: Annotated[int, Meta(ge=1)]


@final
class Stored(Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes of an upload that the host has, and whether it is complete and checked."""

    stored: Annotated[int, Meta(ge=0, le=BLOB_BYTES_MAX)]
    finished: bool


@final
class Sum(Struct, frozen=True, forbid_unknown_fields=True):
    """Root and bytes of an attempt's sum."""

    root: DigestField
    size: Annotated[int, Meta(ge=0, le=BLOB_BYTES_MAX)]


def parse(body: bytes, kind: type[T]) -> T:
    """One JSON value of this kind. Raises Malformed."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Malformed(
            f"the host's answer is not what was asked for ({type(error).__name__});"
            " is there a host of this commons at this address?"
        ) from error


def read_posted(body: bytes, count: int) -> list[Posted]:
    """The answers to `count` statements, in order. Raises Malformed."""
    results = parse(body, _Results).results
    if len(results) != count:
        raise Malformed(f"{count} statements were sent, {len(results)} answers came")
    return [_posted(result) for result in results]


def read_batch(body: bytes, start: int) -> Batch:
    """Entries from `start` on: one JSON line, then each behind its length. Raises Malformed."""
    line, newline, rest = body.partition(b"\n")
    head = parse(line, _BatchHead)
    if not newline or head.start != start:
        raise Malformed("the host answered with other entries than were asked for")
    entries = []
    at = 0
    for _ in range(head.count):
        length = int.from_bytes(rest[at : at + 2], "big")
        if at + 2 > len(rest) or at + 2 + length > len(rest):
            raise Malformed("the entries end before the last one is complete")
        entries.append(rest[at + 2 : at + 2 + length])
        at += 2 + length
    if at != len(rest):
        raise Malformed("bytes follow the last entry")
    return Batch(
        head.version,
        tuple(
            PublishedHead(shown.note.encode(), tuple(line.encode() for line in shown.cosignatures))
            for shown in head.heads
        ),
        start,
        tuple(entries),
    )


def _posted(result: _Result) -> Posted:
    match result:
        case _Result(index=int(index), outcome="done", rule=None, error=None):
            return Posted(index, None, None)
        case _Result(index=int(index), outcome="void", rule=str(code), error=None):
            return Posted(index, _rule(code), None)
        case _Result(index=None, outcome=None, error=str(error)):
            return Posted(None, None, error_named(error, result.rule, result.message))
        case _:
            raise Malformed("the host's answer to a statement is neither an index nor an error")


def _rule(code: str) -> Rule:
    try:
        return Rule(code)
    except ValueError:
        raise Malformed("the host names a rule that does not exist") from None
