"""Host and members that lie together, against running nodes (aggregation.md 11.3, attack 18)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from comity.aggregation.linear_check import CheckValue, holds
from comity.commons.attempts import End
from comity.node.vectors import vector_check
from comity.statements.rounds import RoundConfirm, RoundReveal
from comity.values import BlobName, Digest
from tests.e2e.lies import closed_now, confirm_with, true_check_value
from tests.e2e.prepared import Make
from tests.e2e.test_lying_host import false_sums
from tests.e2e.test_lying_members import until_asleep
from tests.e2e.test_rounds import Plain

FIELD = 2**127 - 1


def test_attack_18_a_false_check_value_that_fits_a_false_sum_leaves_evidence(
    commons: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host adds 1 to a word and m2 shifts its check value by as much: it passes.

    They could have had that by another update of m2. It is fixed in the Close, before any Reveal,
    and m2's own signatures prove it false to anyone who has its vector.
    """
    prepared = commons(4, rounds=1)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        false_sums(monkeypatch, "1")
        until_asleep(world, "m2", "round.confirm")
        liar, closed = world.desk("m2"), closed_now(world)
        words = closed.started.opened.words
        one = np.zeros(words, np.uint32)
        one[7] = 1
        shift = CheckValue(Digest(closed.id), words)
        shift.update(one)
        true = true_check_value(world, liar)
        shifted = (int.from_bytes(true, "big") + int.from_bytes(shift.digest(), "big")) % FIELD
        false = shifted.to_bytes(16, "big")
        confirm_with(world, liar, false)
        # The audit, by anyone: the signed Confirm, the signed Commit, and the vector it names.
        (confirm,) = world.said("round.confirm", "m2")
        assert isinstance(confirm.body, RoundConfirm)
        seat = 3
        vector = closed.commits[seat].vector  # type: ignore[index]  # it was closed
        path = world.server.host.bulk.find(world.state, BlobName(vector))
        assert path is not None
        root, value = vector_check(path, words, closed.started.binding, seat, closed.id)
        assert root == vector and value != confirm.body.check_value
        assert holds([value], true) and not holds([value], false)
        liar.wake()
        world.let_time_pass(world.results(1))
        assert world.study.ended[0].end is End.ACCEPTED, "it is not seen while the round goes on"
        plain.round(1, 4, (0, 1, 2, 3))
        assert world.study.results[0].model != plain.digests()[0]
        for said in world.said("round.reveal"):
            assert isinstance(said.body, RoundReveal)
            assert said.body.closed == closed.id, "the false sum was fixed before any Reveal"
