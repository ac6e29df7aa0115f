"""The model file: read by the safetensors library, same bytes always, strict to the byte."""

from __future__ import annotations

import contextlib
import hashlib
import json

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from comity.aggregation.layout import Layout, Segment
from comity.errors import Malformed, StudyFault, StudyFaultKind
from comity.learning.model import (
    header_bytes,
    model_bytes,
    model_bytes_count,
    model_digest,
    read_header,
    read_model,
    to_flat,
    to_tensors,
)
from comity.learning.steps import Float32Array

LAYOUT = Layout(
    (
        Segment("slopes", "real", (2, 3), 1, 0),
        Segment("bias", "real", (), 1, -3),
        Segment("a", "real", (5,), 3, 2),
    )
)
FLAT: Float32Array = np.arange(12, dtype=np.float32) / np.float32(8)


def test_the_safetensors_library_reads_the_file() -> None:
    found = safetensors.numpy.load(model_bytes(LAYOUT, FLAT))
    assert set(found) == {"slopes", "bias", "a"}
    for name, tensor in to_tensors(LAYOUT, FLAT).items():
        assert found[name].dtype == np.float32
        assert found[name].shape == tensor.shape
        assert found[name].tobytes() == tensor.tobytes()


def test_the_bytes_are_these() -> None:
    """A change of one byte would change every model digest."""
    raw = model_bytes(LAYOUT, FLAT)
    assert len(raw) == model_bytes_count(LAYOUT)
    assert len(header_bytes(LAYOUT)) % 8 == 0
    assert (
        hashlib.sha256(raw).hexdigest()
        == "8b117279f9da3ad396043227332f77bb35a19d2e0e3ab348c059a61188df8ae2"
    )


def test_digest_of_chunks_is_the_digest_of_the_file() -> None:
    whole = hashlib.sha256(model_bytes(LAYOUT, FLAT)).hexdigest()
    for size in (1, 5, 12):
        chunks = (FLAT[start : start + size] for start in range(0, 12, size))
        assert model_digest(LAYOUT, chunks) == whole


def test_what_is_written_is_read() -> None:
    assert read_model(LAYOUT, model_bytes(LAYOUT, FLAT)).tobytes() == FLAT.tobytes()
    assert to_flat(LAYOUT, to_tensors(LAYOUT, FLAT)).tobytes() == FLAT.tobytes()


def test_tensors_are_copies() -> None:
    to_tensors(LAYOUT, FLAT)["a"][:] = 99
    assert FLAT[-1] == 11 / 8


@pytest.mark.parametrize("place", [0, 7, 8, 9, 40, 100])
def test_a_changed_header_is_malformed(place: int) -> None:
    raw = bytearray(model_bytes(LAYOUT, FLAT))
    raw[place] ^= 1
    with pytest.raises(Malformed):
        read_model(LAYOUT, bytes(raw))


def test_cut_long_and_infinite_models_are_malformed() -> None:
    raw = model_bytes(LAYOUT, FLAT)
    wild = FLAT.copy()
    wild[3] = np.inf
    for bad in (raw[:-1], raw + b"\0", b"", raw[:8], model_bytes(LAYOUT, wild)):
        with pytest.raises(Malformed):
            read_model(LAYOUT, bad)


def test_tensors_that_do_not_fit_are_the_studys_fault() -> None:
    good = to_tensors(LAYOUT, FLAT)
    for name, bad in (
        ("a", np.zeros(6, np.float32)),
        ("a", np.zeros((5, 1), np.float32)),
        ("a", np.zeros(5)),
        ("b", np.zeros(5, np.float32)),
    ):
        with pytest.raises(StudyFault) as caught:
            to_flat(LAYOUT, good | {name: bad})  # type: ignore[arg-type]  # what studies may do
        assert caught.value.kind is StudyFaultKind.WRONG_SHAPE
    with pytest.raises(StudyFault) as caught:
        to_flat(LAYOUT, good | {"a": np.full(5, np.nan, np.float32)})
    assert caught.value.kind is StudyFaultKind.NOT_FINITE


def test_headers_from_elsewhere_are_read() -> None:
    raw = safetensors.numpy.save(
        {"x": np.zeros((2, 2), np.float32), "y": np.zeros(3, np.float64)}, {"made": "elsewhere"}
    )
    found = {place.name: place for place in read_header(raw, len(raw))}
    assert found["x"].shape == (2, 2) and found["x"].stop - found["x"].start == 16
    assert found["y"].dtype == "F64"
    own = model_bytes(LAYOUT, FLAT)
    assert [place.name for place in read_header(own, len(own))] == ["slopes", "bias", "a"]


def header(entries: object, *, length: int | None = None, extra: int = 16) -> tuple[bytes, int]:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    size = len(text) if length is None else length
    return size.to_bytes(8, "little") + text, 8 + len(text) + extra


def entry(start: int, stop: int, shape: list[int], dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


BAD_HEADERS = {
    "huge": header({}, length=2**62),
    "cut off": header({"a": entry(0, 16, [4])}, length=500),
    "overlap": header({"a": entry(0, 16, [4]), "b": entry(8, 16, [2])}),
    "gap": header({"a": entry(0, 8, [2]), "b": entry(12, 16, [1])}),
    "late start": header({"a": entry(4, 16, [3])}),
    "bytes behind": header({"a": entry(0, 8, [2])}),
    "beyond the file": header({"a": entry(0, 32, [8])}),
    "shape and size apart": header({"a": entry(0, 16, [5])}),
    "negative side": header({"a": entry(0, 16, [-4])}),
    "backwards": header({"a": entry(16, 0, [4])}),
    "product too large": header({"a": entry(0, 16, [2**33, 2**33])}),
    "unknown dtype": header({"a": entry(0, 16, [4], "X32")}),
    "unknown field": header({"a": entry(0, 16, [4]) | {"more": 1}}),
    "name twice": header(
        b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},'
        b'"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
    ),
    "not JSON": header(b"\xff\xfe"),
    "deep": header(b"[" * 100_000),
    "list": header([]),
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_attack_44_headers_that_lie_are_malformed(name: str) -> None:
    good, size = header({"a": entry(0, 16, [4])})
    assert read_header(good, size)[0].stop == 16
    with pytest.raises(Malformed):
        read_header(*BAD_HEADERS[name])


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_are_a_header_or_malformed(raw: bytes, size: int) -> None:
    with contextlib.suppress(Malformed):
        read_header(raw, size)


def test_any_changed_byte_of_a_header_is_a_header_or_malformed() -> None:
    raw = model_bytes(LAYOUT, FLAT)
    for place in range(len(header_bytes(LAYOUT))):
        for flip in (1, 0x20, 0x80):
            changed = bytearray(raw)
            changed[place] ^= flip
            with contextlib.suppress(Malformed):
                read_header(bytes(changed), len(raw))
