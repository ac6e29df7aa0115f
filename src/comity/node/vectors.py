"""The long vectors of a round, as files, one chunk at a time: memory never grows with the model.

update.f32 (the study's output) -> y (masked, R4) -> the host -> S (the sum) -> the next model.
Files hold little-endian words; S holds, chunk by chunk, its low words and then its carry bytes
(aggregation.md 5.6 to 5.8, 5.14). The arithmetic is in `aggregation/` and `learning/`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeVar, final

import numpy as np
import numpy.typing as npt

from comity.aggregation.decoding import decode_words
from comity.aggregation.layout import Layout, Pieces
from comity.aggregation.linear_check import CheckValue
from comity.aggregation.ring import (
    Quantiser,
    RangeCheck,
    SumRoot,
    TotalDigest,
    VectorRoot,
    chunk_count,
    chunk_words,
    data_range,
)
from comity.aggregation.secagg import mask_chunk
from comity.aggregation.stages import Started
from comity.aggregation.unmasking import Unmasker
from comity.errors import Malformed, StudyFault, StudyFaultKind
from comity.learning.model import header_bytes, model_bytes_count
from comity.learning.steps import Rule, first_moments, moments_count, step_chunk
from comity.learning.tensors import model_part
from comity.values import CHUNK_WORDS, HEADER_WORDS, Digest, StatementId, to_digest

WORD_BYTES: Final = 4
SUM_BYTES: Final = 5
"""Bytes of one element of a sum: a word and its carry."""

_BLOCK: Final = 2**15

Floats = npt.NDArray[np.float32]
Words = npt.NDArray[np.uint32]
Carries = npt.NDArray[np.uint8]
Numbers = TypeVar("Numbers", Floats, Words, Carries)


def mask_update(
    update: Path, layout: Layout, quantiser: Quantiser, stage: Started, seat: int, out: Path
) -> Digest:
    """Quantise and mask an update file into `out`; durable on return (R4). Returns root(y).

    Args:
        update: float32 of all data words, as the study's process wrote it.
        quantiser: with the member's weight and rounding seed.
        stage: my stage of the attempt.
        out: a file that is there; all of it is written over.
    Raises:
        StudyFault: the update has another length, or is not finite.
    """
    if update.stat().st_size != WORD_BYTES * layout.data_words:
        raise StudyFault(
            StudyFaultKind.WRONG_SHAPE,
            f"an update has {layout.data_words} float32 numbers; the study wrote another length",
        )
    root = VectorRoot(stage.binding, seat)
    with update.open("rb", buffering=0) as source, out.open("r+b", buffering=0) as target:
        for k in range(chunk_count(layout.words)):
            start, stop = data_range(layout.data_words, k)
            values = _fill(source, np.empty(stop - start, np.float32), WORD_BYTES * start)
            y = mask_chunk(stage, k, quantiser.chunk(k, values))
            root.update(y)
            write_whole(target, y.astype("<u4", copy=False).data)
        target.truncate()
        os.fsync(target.fileno())
    _sync_folder(out.parent)
    return root.digest()


def vector_check(
    path: Path, words: int, binding: Digest, seat: int, closed: StatementId | None
) -> tuple[Digest, bytes]:
    """(root, check value) of a masked vector on disk; the value is b"" without a Close.

    Raises:
        Malformed: the file has another length.
    """
    root = VectorRoot(binding, seat)
    check = CheckValue(Digest(closed), words) if closed else None
    for y in vector_chunks(path, words):
        root.update(y)
        if check:
            check.update(y)
    return root.digest(), check.digest() if check else b""


def sum_sizes(words: int) -> list[int]:
    """How many bytes each chunk of a sum has."""
    return [SUM_BYTES * chunk_words(words, k) for k in range(chunk_count(words))]


@final
class SumFile:
    """A sum on its way to a file, chunk by chunk; goes on after a cut where it was.

    Args:
        path: a file that is there; all of it is written over.
    """

    def __init__(self, path: Path, words: int, binding: Digest, closed: StatementId) -> None:
        self.path = path
        self.chunks_count = 0
        self._bytes_count = 0
        self._root, self._check = SumRoot(binding), CheckValue(Digest(closed), words)

    def take(self, pieces: Iterable[memoryview]) -> None:
        """The next chunks, by `sum_sizes`; each is good until the next one.

        What came before an error stays; the chunk at which it came is asked for again.
        """
        with self.path.open("r+b", buffering=0) as target:
            target.seek(self._bytes_count)
            for piece in pieces:
                write_whole(target, piece)
                count = len(piece) // SUM_BYTES
                lo = np.frombuffer(piece, np.uint32, count)
                hi = np.frombuffer(piece, np.uint8, count, WORD_BYTES * count)
                self._root.update(lo, hi)
                self._check.update(lo, hi)
                self._bytes_count += len(piece)
                self.chunks_count += 1
            target.truncate()

    def end(self) -> tuple[Digest, bytes]:
        """Root and check value, once all chunks are taken."""
        return self._root.digest(), self._check.digest()


def vector_chunks(path: Path, words: int) -> Iterator[Words]:
    """The chunks of a masked vector file, uint32."""
    _expect_size(path, WORD_BYTES * words)
    with path.open("rb", buffering=0) as source:
        for k in range(chunk_count(words)):
            room = np.empty(chunk_words(words, k), np.uint32)
            yield _fill(source, room, WORD_BYTES * CHUNK_WORDS * k)


def sum_chunks(path: Path, words: int) -> Iterator[tuple[Words, Carries]]:
    """The chunks of a sum file: low words uint32, carries uint8."""
    _expect_size(path, SUM_BYTES * words)
    with path.open("rb", buffering=0) as source:
        for k in range(chunk_count(words)):
            count, at = chunk_words(words, k), SUM_BYTES * CHUNK_WORDS * k
            lo = _fill(source, np.empty(count, np.uint32), at)
            hi = _fill(source, np.empty(count, np.uint8), at + WORD_BYTES * count)
            yield lo, hi


@final
@dataclass(frozen=True, slots=True)
class Total:
    """What unmasking one sum needs beside its masks.

    closed: H_close. n: seats in the roster. survivors_count: |U|. declared_weights: their sum over
    U in a study that declares them, else None.
    """

    closed: StatementId
    n: int
    survivors_count: int
    weight_max: int
    declared_weights: int | None


@final
@dataclass(frozen=True, slots=True)
class NextModel:
    """Digests of the total, the next model file and the next state file (None: no state)."""

    total: Digest
    model: Digest
    moments: Digest | None


def state_words(rule: Rule, layout: Layout) -> int:
    """Numbers in the file of the update rule's state: its moments, then c of SCAFFOLD."""
    count = model_part(layout).data_words
    return moments_count(rule) * count + layout.data_words - count


def write_first_moments(rule: Rule, layout: Layout, out: Path) -> Digest | None:
    """The state file before the first round; None and no file for a rule without a state."""
    words, count = state_words(rule, layout), model_part(layout).data_words
    if not words:
        return None
    digest = hashlib.sha256()
    with out.open("wb", buffering=0) as target:
        for which in range(moments_count(rule)):
            for start in range(0, count, CHUNK_WORDS):
                part = first_moments(rule, min(CHUNK_WORDS, count - start))[which]
                digest.update(part.data)
                write_whole(target, part.data)
        for start in range(moments_count(rule) * count, words, CHUNK_WORDS):
            part = np.zeros(min(CHUNK_WORDS, words - start), np.float32)
            digest.update(part.data)
            write_whole(target, part.data)
    return to_digest(digest.digest())


def next_model(
    sum_path: Path,
    layout: Layout,
    unmasker: Unmasker,
    total: Total,
    rule: Rule,
    *,
    model: Path,
    moments: Path | None,
    out_model: Path,
    out_moments: Path,
) -> NextModel:
    """Unmask a checked sum, judge it, and compute the next model and state, in one pass.

    Args:
        model: file of the model before (safetensors of this layout). moments: of the rule's state.
        out_model, out_moments: files that are there; all of them is written over.
    Raises:
        MemberFault(BAD_SUM): the total is out of range; the files written are worth nothing.
    """
    check = RangeCheck(
        layout, total.survivors_count, total.n, total.weight_max, total.declared_weights
    )
    digest = TotalDigest(Digest(total.closed), layout.words)
    part_of_model, words = model_part(layout), state_words(rule, layout)
    header = header_bytes(part_of_model)
    hashed = hashlib.sha256(header)
    _expect_size(model, model_bytes_count(part_of_model))
    count, kept, pieces = part_of_model.data_words, moments_count(rule), Pieces(layout)
    weight_sum = 0
    with ExitStack() as stack:
        before = stack.enter_context(model.open("rb", buffering=0))
        after = stack.enter_context(out_model.open("r+b", buffering=0))
        write_whole(after, header)
        old = stack.enter_context(moments.open("rb", buffering=0)) if moments else None
        new = stack.enter_context(out_moments.open("r+b", buffering=0)) if words else None
        for k, (lo, _) in enumerate(sum_chunks(sum_path, layout.words)):
            x = unmasker.chunk(k, lo)
            check.update(x)
            digest.update(x)
            if k == 0:
                weight_sum = int(x[HEADER_WORDS - 1])  # judged by `check` just now
            start, stop = data_range(layout.data_words, k)
            first = start + HEADER_WORDS - k * CHUNK_WORDS
            data = x[first : first + stop - start]
            if stop > count and new is not None:
                # c of SCAFFOLD is the mean of the members' own, and needs nothing from before.
                low = max(start, count)
                x_of_c, stop, data = data[low - start :], low, data[: low - start]
                mean = decode_words(pieces, low, x_of_c, weight_sum, total.n, total.weight_max)
                place = WORD_BYTES * (kept * count + low - count)
                _put(new, place, mean.astype("<f4").data)
            at = len(header) + WORD_BYTES * start
            weights = _fill(before, np.empty(stop - start, np.float32), at)
            state = tuple(
                _fill(old, np.empty(stop - start, np.float32), WORD_BYTES * (w * count + start))
                for w in range(kept)
                if old is not None
            )
            for low in range(0, stop - start, _BLOCK):  # a block stays in the processor's cache
                here = slice(low, low + _BLOCK)
                mean = decode_words(
                    pieces, start + low, data[here], weight_sum, total.n, total.weight_max
                )
                parts = tuple(part[here] for part in state)
                weights[here], moved = step_chunk(rule, weights[here], parts, mean)
                for part, after_step in zip(state, moved, strict=True):
                    part[here] = after_step
            hashed.update(weights.data)
            write_whole(after, weights.data)
            for which, part in enumerate(state):
                assert new is not None
                _put(new, WORD_BYTES * (which * count + start), part.data)
        after.truncate()
        if new is not None:
            new.truncate(WORD_BYTES * words)
    moments_digest = file_digest(out_moments) if words else None
    return NextModel(digest.digest(), to_digest(hashed.digest()), moments_digest)


def write_whole(target: BinaryIO, piece: bytes | memoryview) -> None:
    """Write all of it to an unbuffered file: near the end of a disk `write` takes only a part.

    Raises:
        OSError: there is no room for all.
    """
    rest = memoryview(piece).cast("B")
    while rest:
        rest = rest[target.write(rest) :]


def file_digest(path: Path) -> Digest:
    """SHA-256 of a file."""
    with path.open("rb") as source:
        return Digest(hashlib.file_digest(source, "sha256").hexdigest())


def _put(target: BinaryIO, at: int, content: memoryview) -> None:
    """Write at a place. Raises OSError: also when the disk takes a part only."""
    target.seek(at)
    write_whole(target, content)


def _fill(source: BinaryIO, room: Numbers, at: int) -> Numbers:
    """Fill the array from byte `at` on, without a copy in between."""
    view = room.view(np.uint8).data
    done = 0
    while done < len(view):
        read = os.preadv(source.fileno(), [view[done:]], at + done)
        if read == 0:
            raise Malformed("a vector file ends too early; fetch or make it again")
        done += read
    return room


def _expect_size(path: Path, size: int) -> None:
    if path.stat().st_size != size:
        raise Malformed(f"expected a file of {size} bytes, this one has {path.stat().st_size}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
