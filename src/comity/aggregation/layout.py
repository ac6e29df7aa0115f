"""The layout of an update: named segments with public ranges, and its one canonical encoding.

Decided here and nowhere else: how a layout blob looks, its bounds, and how many words a vector has.
Source: aggregation.md 5.6, 5.14.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Final, Literal, final

import msgspec

from comity.errors import Malformed
from comity.values import VECTOR_WORDS_MAX, Digest, sha256, words_of_vector

LAYOUT_BYTES_MAX: Final = 2**20
SEGMENTS_MAX: Final = 4_096
DIMENSIONS_MAX: Final = 8
NAME_BYTES_MAX: Final = 200
MANT_MAX: Final = 2**53 - 1
EXP_MAX: Final = 200
"""|exp| at most this: every scale made of `range_max` stays a normal float64."""


class Segment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One named tensor of the update.

    `kind`: "real" is clipped to `range_max`, weighted and rounded; "count" is an integer with
    |v| <= q_max(n), sent as it is and not weighted: it has mant 1 and exp 0. `shape` may be ().
    """

    name: str
    kind: Literal["real", "count"]
    shape: tuple[int, ...]
    mant: int
    exp: int

    @property
    def range_max(self) -> float:
        """The public range of this tensor, mant * 2**exp, exact in float64."""
        return math.ldexp(self.mant, self.exp)

    @property
    def words(self) -> int:
        """How many words the tensor takes, in C order."""
        return math.prod(self.shape)


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The segments of an update, in the order of the vector."""

    segments: tuple[Segment, ...]

    @property
    def data_words(self) -> int:
        """d: words of all segments."""
        return sum(segment.words for segment in self.segments)

    @property
    def words(self) -> int:
        """L: header, data and padding (aggregation.md 5.1)."""
        return words_of_vector(self.data_words)


@final
class Pieces:
    """Where the segments of a layout lie among the data words."""

    def __init__(self, layout: Layout) -> None:
        self._segments = layout.segments
        self._ends = list(accumulate(segment.words for segment in layout.segments))
        self.data_words = self._ends[-1]
        self.words = words_of_vector(self.data_words)

    def between(self, start: int, stop: int) -> Iterator[tuple[Segment, int, int]]:
        """Each segment that meets the data words [start, stop), with its part of them."""
        index = bisect_right(self._ends, start)
        while start < stop:
            end = min(self._ends[index], stop)
            yield self._segments[index], start, end
            start, index = end, index + 1


def parse_layout(blob: bytes) -> Layout:
    """Read a layout blob.

    Raises:
        Malformed: not the canonical JSON of a layout, or a bound is crossed.
    """
    if len(blob) > LAYOUT_BYTES_MAX:
        raise Malformed(f"a layout has at most {LAYOUT_BYTES_MAX} bytes, this has {len(blob)}")
    try:
        layout = msgspec.json.decode(blob, type=Layout)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not a layout: {error}; write it with layout_bytes") from None
    fault = layout_fault(layout)
    if fault is not None:
        raise Malformed(fault)
    if _encode(layout) != blob:
        raise Malformed("a layout is canonical JSON: sorted names, no spaces; use layout_bytes")
    return layout


def layout_bytes(layout: Layout) -> bytes:
    """The canonical JSON of a layout.

    Raises:
        Malformed: the layout crosses a bound.
    """
    fault = layout_fault(layout)
    if fault is not None:
        raise Malformed(fault)
    return _encode(layout)


def layout_digest(layout: Layout) -> Digest:
    """SHA-256 of `layout_bytes`: the name of the layout blob."""
    return sha256(layout_bytes(layout))


def layout_fault(layout: Layout) -> str | None:
    """What is wrong with a layout, in words, or None."""
    if not 1 <= len(layout.segments) <= SEGMENTS_MAX:
        return f"a layout has 1 to {SEGMENTS_MAX} segments, this has {len(layout.segments)}"
    if len({segment.name for segment in layout.segments}) != len(layout.segments):
        return "two segments of a layout have the same name; rename one"
    for index, segment in enumerate(layout.segments):
        fault = _segment_fault(segment)
        if fault is not None:
            return f"segment {index}: {fault}"
    if layout.words > VECTOR_WORDS_MAX:
        return f"a vector has at most {VECTOR_WORDS_MAX} words, this layout gives {layout.words}"
    return None


def _encode(layout: Layout) -> bytes:
    return msgspec.json.encode(layout, order="sorted")


def _segment_fault(segment: Segment) -> str | None:
    try:
        name_bytes = len(segment.name.encode("utf-8"))
    except UnicodeEncodeError:
        return "the name is not valid text"
    if not 1 <= name_bytes <= NAME_BYTES_MAX or not segment.name.isprintable():
        return f"the name has 1 to {NAME_BYTES_MAX} bytes of printable text"
    if segment.kind not in ("real", "count"):
        return "the kind is real or count"
    if len(segment.shape) > DIMENSIONS_MAX:
        return f"a shape has at most {DIMENSIONS_MAX} dimensions"
    if not all(1 <= extent <= VECTOR_WORDS_MAX for extent in segment.shape):
        return f"every extent of a shape lies in 1..{VECTOR_WORDS_MAX}"
    if segment.kind == "count":
        return None if (segment.mant, segment.exp) == (1, 0) else "a count has mant 1 and exp 0"
    if not 1 <= segment.mant <= MANT_MAX:
        return "mant lies in 1..2**53-1"
    if not -EXP_MAX <= segment.exp <= EXP_MAX:
        return f"exp lies in -{EXP_MAX}..{EXP_MAX}"
    return None
