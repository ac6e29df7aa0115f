"""What a dishonest member says in a round: true forms with false content, by its own node."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from comity.aggregation.dealing import dealt_plaintexts, dealt_rows
from comity.aggregation.ring import VectorRoot, chunk_count
from comity.aggregation.secagg import RAND_BYTES, join, mask_chunk
from comity.aggregation.sharing import seal, seal_info
from comity.aggregation.stages import Started
from comity.commons.attempts import Closed, Confirming, Joining, Masking, Revealing, opened_of
from comity.node.machine import random_bytes
from comity.node.models import layout_of
from comity.node.stages import plan_of, scope_of, seat_of
from comity.node.vectors import vector_check
from comity.statements.rounds import JoinedData, RoundCommit, RoundConfirm, RoundJoin
from comity.values import (
    BlobName,
    Digest,
    StatementId,
    sealing_key_id,
    sha256,
    to_digest,
    tree_root,
)
from tests.e2e.steps import Desk, World

Shares = list[bytes]
Words = npt.NDArray[np.uint32]


def join_with(
    world: World,
    liar: Desk,
    *,
    shares: Callable[[Shares], None] | None = None,
    sealed: Callable[[Shares], None] | None = None,
) -> StatementId:
    """Join with changed shares, committed to and sealed as they are, or changed envelopes.

    Args:
        shares: changes the plaintexts by seat - 1, before rows and envelopes are made of them.
        sealed: changes what is sealed by seat - 1, after the rows were made.
    """
    attempt = world.attempt
    assert isinstance(attempt, Joining)
    opened, station = attempt.opened, liar.station
    plan, seat = plan_of(opened), seat_of(station, opened)
    stage, dealing = join(
        plan, seat, rand=random_bytes(RAND_BYTES), member_secret=station.member_secret()
    )
    plaintexts = list(dealt_plaintexts(stage))
    if shares:
        shares(plaintexts)
    rows = dealt_rows(stage, tuple(plaintexts))
    if sealed:
        sealed(plaintexts)
    envelopes = [
        seal(key, seal_info(plan.opened, seat, holder, sealing_key_id(key)), plaintext)
        for holder, (key, plaintext) in enumerate(
            zip(plan.sealing_keys, plaintexts, strict=True), start=1
        )
        if holder != seat
    ]
    blob = b"".join(envelopes) + b"".join(rows)
    name = BlobName(sha256(blob))
    station.blobs.write(name, 0, blob)
    station.blobs.finish(name)
    consent = liar.state.studies[world.study_id].consents[liar.member]
    body = RoundJoin(
        blob=Digest(name),
        datasets=(JoinedData(dataset=consent.dataset, version=consent.version),),
        ephemeral_key=dealing.epk,
        opened=opened.id,
        rows_root=to_digest(tree_root(rows)),
        self_commit=dealing.self_commit,
    )
    return liar.lie(body, stage=stage.to_bytes())


def commit_words(world: World, liar: Desk, change: Callable[[Words], None]) -> StatementId:
    """Commit to a vector with changed plain words; before, all are zero but count and weight."""
    attempt = world.attempt
    assert isinstance(attempt, Masking)
    stage = masking_stage(world, liar)
    layout = layout_of(liar.station, world.study)
    assert chunk_count(layout.words) == 1
    words = np.zeros(layout.words, np.uint32)
    words[4:6] = 1
    change(words)
    return commit_bytes(world, liar, mask_chunk(stage, 0, words).astype("<u4").tobytes())


def masking_stage(world: World, liar: Desk) -> Started:
    """The liar's own stage after the Start, as its node would make it."""
    attempt = world.attempt
    assert isinstance(attempt, Masking)
    opened = attempt.started.opened
    return liar.loop._rounds._masking(attempt.started, scope_of(opened))


def commit_bytes(world: World, liar: Desk, content: bytes) -> StatementId:
    """Commit to these bytes as the masked vector."""
    attempt = world.attempt
    assert isinstance(attempt, Masking)
    started = attempt.started
    seat = seat_of(liar.station, started.opened)
    root = VectorRoot(started.binding, seat)
    root.update(np.frombuffer(content, np.uint32))
    name = BlobName(root.digest())
    path = liar.station.work / "lie"
    path.write_bytes(content)
    liar.station.blobs.adopt(path, name, lambda _: None)
    body = RoundCommit(binding=started.binding, opened=started.opened.id, vector=Digest(name))
    return liar.lie(body)


def confirm_with(
    world: World, liar: Desk, value: bytes | None, tag: str | None = None
) -> StatementId:
    """Confirm the Close with this check value."""
    closed = closed_now(world)
    body = RoundConfirm(closed=closed.id, opened=closed.started.opened.id, check_value=value)
    return liar.lie(body, tag)


def closed_now(world: World) -> Closed:
    """The Close of the attempt under way."""
    attempt = world.attempt
    assert isinstance(attempt, Confirming | Revealing), world.describe()
    return attempt.closed


def true_check_value(world: World, liar: Desk) -> bytes:
    """What an honest Confirm of this member says."""
    closed = closed_now(world)
    opened = opened_of(world.attempt)
    seat = seat_of(liar.station, opened)
    path = liar.station.blobs.path(BlobName(closed.commits[seat].vector))
    return vector_check(path, opened.words, closed.started.binding, seat, closed.id)[1]
