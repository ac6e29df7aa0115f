"""The anchor: what an outsider is given by hand, so that no folder and no host can fool it.

Four lines: a version, the origin (it holds the commons id), size and root of a final head. Get it
from at least two members, over a channel that is not the host's.
Source: log-and-provenance.md 3.4, attack 8.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final, final

from comity.errors import Malformed
from comity.log.heads import TreeHead, parse_tree_head
from comity.values import CommonsId, is_digest, is_slug

_HEADER: Final = "comity-anchor v1"
_BYTES_MAX: Final = 512


@final
@dataclass(frozen=True, slots=True)
class Anchor:
    """A final head of a commons. size: at least 1; root: 32 bytes."""

    origin: str
    size: int
    root: bytes

    @property
    def commons(self) -> CommonsId:
        """The commons id: SHA-256 of the charter."""
        return CommonsId(self.origin.rpartition("/")[2])

    def text(self) -> bytes:
        """The text form; `parse_anchor` gives this value again."""
        root = base64.b64encode(self.root).decode("ascii")
        lines = (_HEADER, f"origin {self.origin}", f"size {self.size}", f"root {root}")
        return "".join(f"{line}\n" for line in lines).encode("ascii")


def anchor_of(head: TreeHead) -> Anchor:
    """The anchor that a member gives away: of a head that it knows to be final, size >= 1."""
    assert head.size > 0
    return Anchor(head.origin, head.size, head.root)


def parse_anchor(raw: bytes) -> Anchor:
    """Read an anchor, strictly.

    Raises:
        Malformed: other than its four lines, an origin that names no commons, size 0 or not a
            plain decimal, a root that is not 32 bytes in base64.
    """
    if len(raw) > _BYTES_MAX:
        raise Malformed(f"an anchor has at most {_BYTES_MAX} bytes")
    try:
        lines = raw.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise Malformed("an anchor is ASCII") from None
    names = ("origin ", "size ", "root ")
    if len(lines) != 5 or lines[0] != _HEADER or lines[4]:
        raise Malformed(f"an anchor is four lines: {_HEADER}, origin, size, root")
    if not all(line.startswith(name) for line, name in zip(lines[1:4], names, strict=True)):
        raise Malformed("the lines of an anchor start with origin, size, root")
    values = [line.removeprefix(name) for line, name in zip(lines[1:4], names, strict=True)]
    head = parse_tree_head("".join(f"{value}\n" for value in values).encode("ascii"))
    prefix, slash, commons = head.origin.partition("/")
    if not slash or not is_slug(prefix) or not is_digest(commons):
        raise Malformed("the origin of an anchor is <prefix>/<64 hex digits of the commons id>")
    if head.size == 0:
        raise Malformed("an anchor is of a final head, so its size is at least 1")
    return anchor_of(head)
