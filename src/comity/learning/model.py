"""A model as named tensors, as one flat float32 vector, and as a safetensors file.

The file is written here, not by a library, so that its bytes are the same everywhere and it can be
written and read in chunks: eight bytes of header length, a JSON header padded with spaces to a
multiple of eight, then the flat vector, little-endian, tensors in the order of the layout without
gaps. A model's digest is the SHA-256 of the file. There is one right header for a layout, so
reading a model of this house is comparing bytes; `read_header` is for files from elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, final

import msgspec
import numpy as np

from comity.aggregation.layout import Layout
from comity.errors import Malformed, StudyFault, StudyFaultKind
from comity.learning.steps import Float32Array
from comity.learning.tensors import plain_name
from comity.values import BLOB_BYTES_MAX, Digest, to_digest

HEADER_BYTES_MAX: Final = 2**21
"""Of the JSON; the layout of 4,096 segments fits."""

WORD_BYTES: Final = 4
TENSORS_MAX: Final = 4_096
_SIZES: Final = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}


@final
@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where a tensor lies in a safetensors file; `start`, `stop` in bytes behind the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def header_bytes(layout: Layout) -> bytes:
    """Everything before the numbers: length and padded JSON header. One answer per layout."""
    entries: dict[str, _Entry] = {}
    place = 0
    for segment in layout.segments:
        stop = place + WORD_BYTES * segment.words
        entries[segment.name] = _Entry("F32", segment.shape, (place, stop))
        place = stop
    text = msgspec.json.encode(entries)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def model_bytes_count(layout: Layout) -> int:
    """How long the file of a model is, in bytes."""
    return len(header_bytes(layout)) + WORD_BYTES * layout.data_words


def model_bytes(layout: Layout, flat: Float32Array) -> bytes:
    """The whole file at once; for small models."""
    _check_flat(layout, flat)
    return header_bytes(layout) + flat.astype("<f4", copy=False).tobytes()


def model_digest(layout: Layout, chunks: Iterable[Float32Array]) -> Digest:
    """SHA-256 of the file whose flat vector comes in chunks of any size."""
    digest = hashlib.sha256(header_bytes(layout))
    count = 0
    for chunk in chunks:
        digest.update(np.ascontiguousarray(chunk, "<f4").data)
        count += len(chunk)
    assert count == layout.data_words
    return to_digest(digest.digest())


def read_model(layout: Layout, raw: bytes) -> Float32Array:
    """The flat vector of a file; float32, shape (data_words,), a copy.

    Raises:
        Malformed: not byte for byte the form of this layout, or a number is NaN or infinite.
    """
    header = header_bytes(layout)
    expected = len(header) + WORD_BYTES * layout.data_words
    if len(raw) != expected:
        raise Malformed(f"a model of this layout has {expected} bytes, this file {len(raw)}")
    if raw[: len(header)] != header:
        raise Malformed("the header of the model file is not the one of this layout")
    flat = np.frombuffer(raw, "<f4", offset=len(header)).astype(np.float32)
    if not np.isfinite(flat).all():
        raise Malformed("the model has a number that is NaN or infinite")
    return flat


def to_flat(layout: Layout, tensors: Mapping[str, Float32Array]) -> Float32Array:
    """The tensors behind each other, in the order of the layout, C order within each.

    Raises:
        StudyFault(WRONG_SHAPE): a tensor is missing, unknown, of another shape or not float32.
        StudyFault(NOT_FINITE): NaN or infinity.
    """
    names = {segment.name for segment in layout.segments}
    if not isinstance(tensors, Mapping) or set(tensors) != names:
        raise StudyFault(
            StudyFaultKind.WRONG_SHAPE, f"expected exactly the {len(names)} declared tensors"
        )
    flat = np.empty(layout.data_words, np.float32)
    place = 0
    for segment in layout.segments:
        tensor = tensors[segment.name]
        if not isinstance(tensor, np.ndarray | np.float32) or tensor.dtype != np.float32:
            raise StudyFault(
                StudyFaultKind.WRONG_SHAPE, f"tensor {segment.name}: expected a float32 array"
            )
        if tensor.shape != segment.shape:
            raise StudyFault(
                StudyFaultKind.WRONG_SHAPE,
                f"tensor {segment.name}: expected shape {segment.shape}, got {tensor.shape}",
            )
        flat[place : place + segment.words] = tensor.reshape(-1)
        place += segment.words
    if not np.isfinite(flat).all():
        raise StudyFault(StudyFaultKind.NOT_FINITE, "a tensor has a number that is NaN or infinite")
    return flat


def finite(name: str, array: Float32Array) -> Float32Array:
    """A copy in C order of one tensor of a model of another library.

    Raises:
        StudyFault(NOT_FINITE): names the tensor that has NaN or infinity.
    """
    if not np.isfinite(array).all():
        raise StudyFault(
            StudyFaultKind.NOT_FINITE,
            f"tensor {name} has a number that is NaN or infinite: look at the loss; a smaller"
            " learning rate or clipped gradients may help",
        )
    return np.array(array, np.float32, order="C")


def fitting(weights: Mapping[str, Float32Array], name: str, shape: tuple[int, ...]) -> Float32Array:
    """A copy of one tensor for a model of another library; `name` as it is there.

    Raises:
        StudyFault(WRONG_SHAPE): names the tensor that is missing or has another shape.
    """
    array = weights.get(plain_name(name))
    if array is None or array.shape != shape:
        came = "has none" if array is None else f"has shape {array.shape}"
        raise StudyFault(
            StudyFaultKind.WRONG_SHAPE, f"tensor {name}: expected shape {shape}, the model {came}"
        )
    return np.array(array, np.float32)


def to_tensors(layout: Layout, flat: Float32Array) -> dict[str, Float32Array]:
    """The tensors of a flat vector, each a copy of its own that may be changed."""
    _check_flat(layout, flat)
    tensors: dict[str, Float32Array] = {}
    place = 0
    for segment in layout.segments:
        part = flat[place : place + segment.words]
        tensors[segment.name] = part.reshape(segment.shape).copy()
        place += segment.words
    return tensors


def read_header(raw: bytes, file_bytes: int) -> tuple[TensorPlace, ...]:
    """The tensors of any safetensors file, in the order they lie; metadata is skipped.

    Args:
        raw: the first bytes of the file, at least up to the end of its header.
        file_bytes: length of the whole file.
    Raises:
        Malformed: header too long or cut off, a name twice, unknown dtype, size and shape apart,
            overlap, gap, or bytes behind the last tensor (log-and-provenance.md, attack 44).
    """
    if not 8 <= file_bytes <= BLOB_BYTES_MAX or len(raw) < 8:
        raise Malformed("a safetensors file starts with eight bytes of header length")
    length = int.from_bytes(raw[:8], "little")
    if length > HEADER_BYTES_MAX:
        raise Malformed(f"a model's header has at most {HEADER_BYTES_MAX} bytes, this {length}")
    if 8 + length > min(len(raw), file_bytes):
        raise Malformed("the header of the model file is cut off")
    places = sorted(
        (_place(name, entry) for name, entry in _entries(raw[8 : 8 + length])),
        key=lambda place: (place.start, place.stop),
    )
    end = 0
    for place in places:
        if place.start != end:
            raise Malformed("two tensors of the model file overlap, or leave a gap")
        end = place.stop
    if 8 + length + end != file_bytes:
        raise Malformed("the model file is longer or shorter than its tensors")
    return tuple(places)


def _entries(text: bytes) -> list[tuple[str, _Entry]]:
    try:
        json.loads(text, object_pairs_hook=_no_name_twice)
        found = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        found.pop("__metadata__", None)
        if len(found) > TENSORS_MAX:
            raise Malformed(f"a model file has at most {TENSORS_MAX} tensors")
        return [(name, msgspec.json.decode(entry, type=_Entry)) for name, entry in found.items()]
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Malformed("the header of the model file is not that of safetensors") from None


def _no_name_twice(items: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in items}) != len(items):
        raise ValueError("a name twice")
    return dict(items)


def _place(name: str, entry: _Entry) -> TensorPlace:
    start, stop = entry.data_offsets
    size = _SIZES.get(entry.dtype)
    if size is None:
        raise Malformed("a tensor of the model file has an unknown dtype")
    for side in entry.shape:
        if not 0 <= side <= BLOB_BYTES_MAX or size > BLOB_BYTES_MAX:
            raise Malformed("a tensor of the model file is too large, or has a negative side")
        size *= side
    if not 0 <= start <= stop or stop - start != size:
        raise Malformed("a tensor of the model file has another size than its shape says")
    return TensorPlace(name, entry.dtype, entry.shape, start, stop)


def _check_flat(layout: Layout, flat: Float32Array) -> None:
    assert flat.dtype == np.float32 and flat.shape == (layout.data_words,)
