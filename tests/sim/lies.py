"""A library of lies: what a dishonest member says, and what a dishonest host answers.

A member's lie is asked before each duty of its node; it says something else and answers True, or
leaves the duty alone. A host's lie bends an answer. Two histories are in `operations.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from comity.aggregation.ring import SumRoot, VectorRoot, chunk_words
from comity.aggregation.secagg import RAND_BYTES, join
from comity.aggregation.sharing import SEALING_RAND_BYTES, sealing_keys
from comity.aggregation.stages import Joined
from comity.commons.attempts import closed_of, opened_of
from comity.commons.dealing import digest_of_joins
from comity.commons.duties import (
    Duty,
    SayAccept,
    SayCommit,
    SayConfirm,
    SayJoin,
    SayReady,
    SayReveal,
)
from comity.errors import Unavailable
from comity.node.http_client import Answer
from comity.node.stages import plan_of, scope_of, seat_of, stage_of
from comity.statements.rounds import (
    JoinedData,
    RoundAbandon,
    RoundAccept,
    RoundCommit,
    RoundConfirm,
    RoundDispute,
    RoundJoin,
    RoundReady,
)
from comity.values import BlobName, Digest, Seat, StatementId, sha256
from tests.sim.network import Asked

if TYPE_CHECKING:
    from tests.sim.hosts import SimHost
    from tests.sim.nodes import SimNode

MemberLie = Callable[["SimNode", Duty], bool]
HostLie = Callable[["SimHost", Asked, Answer], Answer]


def honest(node: SimNode, duty: Duty) -> bool:
    """Does what is owed."""
    return False


def silent_before(kind: type[Duty]) -> MemberLie:
    """Never does one kind of duty, and all others."""

    def lie(node: SimNode, duty: Duty) -> bool:
        return isinstance(duty, kind)

    return lie


def false_check(node: SimNode, duty: Duty) -> bool:
    """Confirms with a check value that is not its vector's."""
    if not isinstance(duty, SayConfirm):
        return False
    closed = duty.closed
    opened = closed.started.opened
    survived = seat_of(node.station, opened) in closed.survivors
    value = node.dice.randbytes(15).rjust(16, b"\0") if survived else None
    body = RoundConfirm(closed=closed.id, opened=opened.id, check_value=value)
    node.say(body, scope_of(opened), "round.confirm")
    return True


def garbage_vector(node: SimNode, duty: Duty) -> bool:
    """Commits to random words."""
    if not isinstance(duty, SayCommit):
        return False
    started = duty.started
    opened = started.opened
    words = np.frombuffer(node.dice.randbytes(4 * opened.words), np.uint32)
    root = VectorRoot(started.binding, seat_of(node.station, opened))
    root.update(words)
    name = BlobName(root.digest())
    path = node.station.work / "garbage"
    path.write_bytes(words.astype("<u4").tobytes())
    node.station.blobs.adopt(path, name, lambda _: None)
    body = RoundCommit(binding=started.binding, opened=opened.id, vector=Digest(name))
    node.say(body, scope_of(opened), "round.commit")
    return True


def broken_shares(node: SimNode, duty: Duty) -> bool:
    """Deals envelopes that nobody can open."""
    if not isinstance(duty, SayJoin):
        return False
    opened, station = duty.opened, node.station
    seat = seat_of(station, opened)
    stage, dealing = join(
        plan_of(opened),
        seat,
        rand=node.dice.randbytes(RAND_BYTES),
        member_secret=station.member_secret(),
    )
    blob = bytes([dealing.blob[0] ^ 1]) + dealing.blob[1:]
    name = BlobName(sha256(blob))
    station.blobs.write(name, 0, blob)
    station.blobs.finish(name)
    consent = node.state.studies[opened.study].consents[node.member]
    body = RoundJoin(
        blob=Digest(name),
        datasets=(JoinedData(dataset=consent.dataset, version=consent.version),),
        ephemeral_key=dealing.epk,
        opened=opened.id,
        rows_root=dealing.rows_root,
        self_commit=dealing.self_commit,
    )
    node.say(body, scope_of(opened), "round.join", stage.to_bytes())
    return True


def false_complaint(node: SimNode, duty: Duty) -> bool:
    """Complains about a dealer that dealt well, and keeps what it got."""
    if not isinstance(duty, SayReady):
        return False
    attempt = duty.attempt
    opened = attempt.opened
    mine = seat_of(node.station, opened)
    others = sorted(seat for seat in attempt.joins if seat != mine)
    stage = stage_of(node.station, scope_of(opened))
    if not others or not isinstance(stage, Joined):
        return False
    secret, public = sealing_keys(node.dice.randbytes(SEALING_RAND_BYTES))
    node.station.journal.keep_sealing(sha256(public), secret.rand)
    body = RoundReady(
        complaints=(Seat(others[0]),),
        joins=Digest(digest_of_joins(attempt)),
        opened=opened.id,
        sealing_key=public,
    )
    node.say(body, scope_of(opened), "round.ready")
    return True


def false_accept(node: SimNode, duty: Duty) -> bool:
    """Accepts another result than the one it computed."""
    if not isinstance(duty, SayAccept):
        return False
    closed = duty.attempt.closed
    opened = closed.started.opened
    false = Digest("5a" * 32)
    body = RoundAccept(closed=closed.id, model=false, opened=opened.id, total=false, moments=None)
    node.say(body, scope_of(opened), "round.accept")
    return True


def false_dispute(node: SimNode, duty: Duty) -> bool:
    """Disputes everybody's check value before it reveals."""
    if not isinstance(duty, SayReveal):
        return False
    closed = duty.attempt.closed
    opened = closed.started.opened
    scope = scope_of(opened)
    if "round.dispute" not in node.station.journal.promised(scope):
        seats = tuple(sorted(closed.survivors))
        body = RoundDispute(closed=closed.id, opened=opened.id, seats=seats)
        node.say(body, scope, "round.dispute")
    return False


def early_abandon(node: SimNode, duty: Duty) -> bool:
    """Abandons every attempt as soon as it is closed, for no reason, and says it kept silent."""
    if not isinstance(duty, SayConfirm):
        return False
    opened = duty.closed.started.opened
    body = RoundAbandon(
        attempt=opened.attempt,
        released=False,
        round_no=opened.round_no,
        study=opened.study,
        closed=None,
    )
    node.say(body, scope_of(opened), "round.abandon")
    return True


def abandon_for_reveal(node: SimNode, duty: Duty) -> bool:
    """Abandons where it should reveal, and says truly that it has revealed nothing."""
    if not isinstance(duty, SayReveal):
        return False
    closed = duty.attempt.closed
    opened = closed.started.opened
    body = RoundAbandon(
        attempt=opened.attempt,
        released=False,
        round_no=opened.round_no,
        study=opened.study,
        closed=closed.id,
    )
    node.say(body, scope_of(opened), "round.abandon")
    return True


MEMBER_LIES: dict[str, MemberLie] = {
    "honest": honest,
    "no join": silent_before(SayJoin),
    "no ready": silent_before(SayReady),
    "no commit": silent_before(SayCommit),
    "no confirm": silent_before(SayConfirm),
    "no reveal": silent_before(SayReveal),
    "no accept": silent_before(SayAccept),
    "false check": false_check,
    "garbage": garbage_vector,
    "broken shares": broken_shares,
    "false complaint": false_complaint,
    "false accept": false_accept,
    "false dispute": false_dispute,
    "early abandon": early_abandon,
    "abandon for reveal": abandon_for_reveal,
}


# -- the host --------------------------------------------------------------------------------------


def bent_sum(delta: int) -> HostLie:
    """Closes over a sum to which `delta` was added in one place, and serves that sum."""

    def lie(host: SimHost, asked: Asked, answer: Answer) -> Answer:
        if not asked.path.startswith("/sums/"):
            return answer
        opened_id = StatementId(asked.path.rpartition("/")[2])
        for study in host.service.published.state.studies.values():
            attempt = study.current
            if attempt is None or opened_of(attempt).id != opened_id or closed_of(attempt):
                continue
            return _with_bent_sum(host, opened_of(attempt).words, attempt, answer, delta)
        return answer

    return lie


def _with_bent_sum(
    host: SimHost, words: int, attempt: object, answer: Answer, delta: int
) -> Answer:
    told = msgspec.json.decode(answer.body)
    store = host.service.bulk._finished
    content = bytearray(store.path(BlobName(told["root"])).read_bytes())
    count = chunk_words(words, 0)
    low = np.frombuffer(content, np.uint32, count).copy()
    high = np.frombuffer(content, np.uint8, count, 4 * count).copy()
    value = int(low[-1]) + (int(high[-1]) << 32) + delta
    low[-1], high[-1] = value & 0xFFFFFFFF, (value >> 32) & 0xFF
    started = getattr(attempt, "started", None)
    if started is None:
        return answer
    root = SumRoot(started.binding)
    root.update(low, high)
    place = host.folder / "bent"
    place.write_bytes(low.tobytes() + high.tobytes())
    store.adopt(place, BlobName(root.digest()), lambda _: None)
    return Answer({}, msgspec.json.encode({"root": root.digest(), "size": told["size"]}))


def other_bytes(host: SimHost, asked: Asked, answer: Answer) -> Answer:
    """Serves blobs and dealings with one byte changed."""
    bulky = asked.method == "GET" and asked.path.startswith(("/blobs/", "/dealings/"))
    if not bulky or not answer.body:
        return answer
    return Answer(answer.headers, bytes([answer.body[0] ^ 1]) + answer.body[1:])


def no_cosignatures(host: SimHost, asked: Asked, answer: Answer) -> Answer:
    """Never publishes a cosignature, so nothing becomes final."""
    if asked.path == "/cosignatures":
        raise Unavailable("simulated: the host is busy")
    return answer


def drops_bytes(host: SimHost, asked: Asked, answer: Answer) -> Answer:
    """Answers with half of every answer."""
    return Answer(answer.headers, answer.body[: len(answer.body) // 2])


def frozen(host: SimHost, asked: Asked, answer: Answer) -> Answer:
    """Shows nobody anything new."""
    if asked.path == "/entries":
        raise Unavailable("simulated: the host is busy")
    return answer


def true_answers(host: SimHost, asked: Asked, answer: Answer) -> Answer:
    """Answers as an honest host, for a while."""
    return answer


HOST_LIES: dict[str, HostLie] = {
    "none": true_answers,
    "sum + 1": bent_sum(1),
    "sum + 2^16": bent_sum(2**16),
    "sum + 2^31": bent_sum(2**31),
    "sum + 2^32": bent_sum(2**32),
    "other bytes": other_bytes,
    "no cosignatures": no_cosignatures,
    "half answers": drops_bytes,
    "frozen": frozen,
}
