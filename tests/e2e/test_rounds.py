"""Whole rounds through real nodes: the secure result is the plain one, to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from comity.aggregation.layout import Layout
from comity.aggregation.ring import Quantiser, chunk_count, data_range, q_max
from comity.commons.state import Accepted
from comity.learning.local import first_kept, first_shared, next_shared
from comity.learning.model import model_bytes, read_model
from comity.learning.seeds import rounding_seed, training_seed
from comity.learning.steps import FedAvg, Float32Array
from comity.values import CHUNK_WORDS, HEADER_WORDS, Digest, MemberId, sha256
from tests.e2e.prepared import Make
from tests.e2e.small_study import layout_of_text, loaded, plain_update, table_of
from tests.e2e.steps import World

Whole = npt.NDArray[np.int64]


class Plain:
    """The same rounds without any cryptography: one party that sees every update."""

    def __init__(self, text: str) -> None:
        self.study, self.layout = loaded(text), layout_of_text(text)
        self.rule = self.study.study.rule
        self.shared = first_shared(self.study)
        self.kept: dict[int, Float32Array] = {}

    def round(self, number: int, count: int, took_part: tuple[int, ...]) -> None:
        """Sum the quantised updates of these places in a commons of `count`, and step."""
        seed, weight_max = self.study.study.seed, self.study.study.weight_max
        total = np.zeros(self.layout.data_words, np.int64)
        weights = 0
        for place in took_part:
            member = MemberId(f"m{place}")
            learned = plain_update(
                self.study,
                self.shared,
                self.kept.get(place, first_kept(self.study)),
                table_of(place),
                training_seed(seed, member, number),
            )
            self.kept[place] = learned.kept
            equal = self.study.study.weights == "equal"
            weight = 1 if equal else min(learned.example_count, weight_max)
            rounding = rounding_seed(seed, member, number)
            quantiser = Quantiser(self.layout, count, weight, weight_max, rounding)
            total += whole_vector(quantiser, self.layout, learned.update)
            weights += weight
        mean = np.empty(self.layout.data_words, np.float64)
        at = 0
        for segment in self.layout.segments:
            scale = (segment.range_max * weight_max) / (float(q_max(count)) * float(weights))
            part = slice(at, at + segment.words)
            mean[part] = total[part].astype(np.float64) * scale
            at += segment.words
        self.shared = next_shared(self.study.study, self.shared, mean)

    def digests(self) -> tuple[Digest, Digest | None]:
        """Of the model file and the file of the rule's state."""
        state = b"".join(part.tobytes() for part in self.shared.state)
        model = model_bytes(self.study.study.parts.model, self.shared.model)
        return sha256(model), sha256(state) if state else None


def whole_vector(quantiser: Quantiser, layout: Layout, update: Float32Array) -> Whole:
    """The data words of a quantised update, as signed integers."""
    parts = []
    for k in range(chunk_count(layout.words)):
        start, stop = data_range(layout.data_words, k)
        words = quantiser.chunk(k, update[start:stop]).view(np.int32).astype(np.int64)
        offset = HEADER_WORDS - k * CHUNK_WORDS
        parts.append(words[start + offset : stop + offset])
    return np.concatenate(parts)


def same_as_plain(world: World, plain: Plain, took_part: tuple[int, ...], count: int) -> None:
    """The newest result is what the plain computation gives."""
    result: Accepted = world.study.results[-1]
    plain.round(result.round_no, count, took_part)
    assert (result.model, result.moments) == plain.digests()


@pytest.mark.parametrize(
    ("count", "weights", "weight_max", "rule"),
    [
        (3, "equal", 1, "FedAvg()"),
        (4, "declared", 64, "FedAdam(server_lr=0.1)"),
        (5, "hidden", 4, "FedYogi(server_lr=0.1)"),
        (3, "hidden", 4, "Nesterov()"),
    ],
)
def test_the_secure_result_is_the_plain_one(
    commons: Make, tmp_path: Path, count: int, weights: str, weight_max: int, rule: str
) -> None:
    prepared = commons(count, weights=weights, weight_max=weight_max, rule=rule)
    plain = Plain(prepared.text)
    everybody = tuple(range(count))
    with prepared.world(tmp_path) as world:
        for number in (1, 2, 3):
            world.round(number)
            same_as_plain(world, plain, everybody, count)
        assert world.study.finished
        for desk in world.desks:
            assert desk.stopped is None
            assert not {"SayCommit", "SayReveal", "SayAccept"} & desk.station.faults.keys()
    changed = isinstance(plain.rule, FedAvg)
    assert changed == (plain.digests()[1] is None)


def test_two_chunks_and_a_member_that_drops_out(commons: Make, tmp_path: Path) -> None:
    """The data cross the border of a chunk; the sum is over the three that committed."""
    numbers = CHUNK_WORDS - HEADER_WORDS - 6 + 1_000
    prepared = commons(4, numbers=numbers, rounds=1)
    plain = Plain(prepared.text)
    assert chunk_count(plain.layout.words) == 2
    with prepared.world(tmp_path) as world:
        world.desk("m2").silent_before = {"round.commit"}
        world.settle()
        world.clock.now_s += 4 * 60 + 120
        world.round(1)
        same_as_plain(world, plain, (0, 1, 3), 4)


def test_a_plain_sum_of_other_members_is_another_model(commons: Make, tmp_path: Path) -> None:
    """The comparison can fail: leave one member out, and the digests differ."""
    prepared = commons(3)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        world.round(1)
        plain.round(1, 3, (0, 1))
        assert world.study.results[0].model != plain.digests()[0]


def test_every_member_has_the_model_it_accepted(commons: Make, tmp_path: Path) -> None:
    prepared = commons(3)
    layout = layout_of_text(prepared.text)
    with prepared.world(tmp_path) as world:
        world.settle()
        assert world.study.finished
        digest = world.study.results[-1].model
        models = {desk.station.blob(digest).read_bytes() for desk in world.desks}
        assert len(models) == 1
        assert np.isfinite(read_model(layout, models.pop())).all()
