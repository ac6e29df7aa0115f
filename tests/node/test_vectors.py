"""Long vectors as files: what is masked, checked and unmasked, chunk by chunk."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from comity.aggregation.layout import Layout, Segment
from comity.aggregation.linear_check import holds
from comity.aggregation.ring import VectorRoot, chunk_count
from comity.errors import Malformed, Unavailable
from comity.host.sums import add_vectors
from comity.learning.steps import FedAdam, FedAvg
from comity.node.vectors import (
    SUM_BYTES,
    WORD_BYTES,
    SumFile,
    file_digest,
    sum_chunks,
    sum_sizes,
    vector_check,
    vector_chunks,
    write_first_moments,
)
from comity.values import CHUNK_WORDS, Digest, StatementId, sha256
from tests.e2e.small_study import layout_of_text, study_text

BINDING, CLOSED = Digest("1a" * 32), StatementId("2b" * 32)


def words_of(path: Path, count: int, seed: int) -> Path:
    """A file of random words."""
    path.write_bytes(np.random.default_rng(seed).integers(0, 2**32, count, np.uint32).tobytes())
    return path


def taken(folder: Path, count: int) -> bytes:
    """The check value of the sum, found while it is copied; the copy is the same."""
    content = memoryview((folder / "sum").read_bytes())
    starts = [0, *itertools.accumulate(sum_sizes(count))]
    pieces = [content[a:b] for a, b in itertools.pairwise(starts)]
    out = folder / "copy"
    out.write_bytes(bytes(7 * count))  # a spare file, longer than what comes
    file = SumFile(out, count, BINDING, CLOSED)
    with pytest.raises(Unavailable):  # cut after the first chunk, then gone on with
        file.take(cut_after_first(pieces))
    assert file.chunks_count == 1
    file.take(pieces[1:])
    assert out.read_bytes() == content
    return file.end()[1]


def cut_after_first(pieces: list[memoryview]) -> Iterator[memoryview]:
    """A download that is cut."""
    yield pieces[0]
    raise Unavailable("the host sent too few bytes")


@pytest.mark.parametrize("count", [16, CHUNK_WORDS, CHUNK_WORDS + 16])
def test_the_check_value_of_a_sum_is_that_of_its_vectors(tmp_path: Path, count: int) -> None:
    vectors = [words_of(tmp_path / f"{seat}", count, seat) for seat in (1, 2, 3)]
    add_vectors(tmp_path / "sum", count, vectors, fresh=True, root=None)
    assert (tmp_path / "sum").stat().st_size == SUM_BYTES * count
    values = [vector_check(v, count, BINDING, seat, CLOSED)[1] for seat, v in enumerate(vectors, 1)]
    total = taken(tmp_path, count)
    assert holds(values, total)
    assert not holds(values[:2], total)
    content = bytearray((tmp_path / "sum").read_bytes())
    content[-1] ^= 1
    (tmp_path / "sum").write_bytes(content)
    assert not holds(values, taken(tmp_path, count))


def test_a_root_binds_attempt_and_seat(tmp_path: Path) -> None:
    path = words_of(tmp_path / "y", 40, 1)
    root, no_value = vector_check(path, 40, BINDING, 1, None)
    assert no_value == b""
    other = VectorRoot(Digest("3c" * 32), 1)
    other.update(np.fromfile(path, np.uint32))
    assert root != other.digest()
    assert root != vector_check(path, 40, BINDING, 2, None)[0]


@pytest.mark.parametrize("size", [0, 4 * 40 - 1, 4 * 40 + 1])
def test_a_file_of_another_length_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "y"
    path.write_bytes(bytes(size))
    with pytest.raises(Malformed, match="expected a file of 160 bytes"):
        vector_check(path, 40, BINDING, 1, CLOSED)
    with pytest.raises(Malformed):
        list(sum_chunks(path, 40))


def test_chunks_come_in_order_and_whole(tmp_path: Path) -> None:
    count = CHUNK_WORDS + 24
    path = words_of(tmp_path / "y", count, 5)
    parts = list(vector_chunks(path, count))
    assert [part.size for part in parts] == [CHUNK_WORDS, 24]
    assert np.concatenate(parts).tobytes() == path.read_bytes()


def test_first_moments_are_those_of_the_rule(tmp_path: Path) -> None:
    hundred = Layout((Segment("w", "real", (100,), 1, 0),))
    assert write_first_moments(FedAvg(), hundred, tmp_path / "none") is None
    assert not (tmp_path / "none").exists()
    rule = FedAdam(server_lr=0.1, tau=0.5)
    digest = write_first_moments(rule, hundred, tmp_path / "moments")
    content = (tmp_path / "moments").read_bytes()
    numbers = np.frombuffer(content, np.float32)
    assert digest == sha256(content) == file_digest(tmp_path / "moments")
    assert numbers.size == 200
    assert not numbers[:100].any()
    assert (numbers[100:] == np.float32(0.25)).all()


def test_the_layout_of_the_study_fits_its_words() -> None:
    layout: Layout = layout_of_text(study_text(numbers=40))
    assert layout.data_words == 46
    assert layout.words % 4 == 0
    assert chunk_count(layout.words) == 1
    assert WORD_BYTES * layout.words >= 4 * (6 + 46)
